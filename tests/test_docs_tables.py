"""The documents say what the code says: generated pages, links, and every command that is shown."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import commands
from rsd import columns, quality
from rsd.intake.formats import formats
from rsd.law import rulebook
from rsd.reasons import REASONS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BY_NAME = {p.name: p for p in PAGES}


def load_generator():
    path = ROOT / "tools" / "write_tables.py"
    spec = importlib.util.spec_from_file_location("write_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_generated_page_is_up_to_date(name):
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == GENERATOR.PAGES[name](), "run: python tools/write_tables.py"


@pytest.mark.parametrize("name", columns.TABLES)
def test_every_column_of_a_table_is_described(name):
    text = BY_NAME["tables.md"].read_text(encoding="utf-8")
    section = text.partition(f"/{name}`\n")[2].partition("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert described == [c.name for c in columns.TABLES[name]]


def test_every_reason_code_and_profile_is_described():
    text = BY_NAME["quality.md"].read_text(encoding="utf-8")
    for name in (*(r.code for r in REASONS), *quality.profile_names()):
        assert f"`{name}`" in text


@pytest.mark.parametrize("name", quality.profile_names())
def test_an_unverified_gate_is_marked(name):
    profile = quality.load_profile(name)
    section = "\n".join(GENERATOR.profile_lines(profile, quality.load_profile("hj845")))
    for rule in profile.rules:
        for line in section.splitlines():
            if line.startswith(f"| `{rule.code}` "):
                assert ("**unverified**" in line) is not rule.verified


def test_every_format_and_regulation_is_described():
    for name in formats():
        assert f"`{name}`" in BY_NAME["formats.md"].read_text(encoding="utf-8")
    for name in rulebook.available():
        assert f"`{name}`" in BY_NAME["regulations.md"].read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [t for t in targets if not (page.parent / t).exists()] == []


def shown_commands(text):
    """Every line of a sh block that calls rsd; a line that ends with a backslash goes on."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for found in re.finditer(r"^rsd (?:[^\"\n]|\"[^\"]*\")*", block.replace("\\\n", " "),
                                 re.MULTILINE):
            yield found[0]


SHOWN = [c for page in PAGES for c in shown_commands(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("shown", SHOWN)
def test_a_shown_command_exists_with_its_options(shown):
    words = shlex.split(shown, comments=True)[1:]
    command = commands
    while isinstance(command, click.Group):
        known, default = command.commands, getattr(command, "default", None)
        if default is not None and words[:1] not in [[name] for name in known]:
            words = [default, *words]
        if words[0].startswith("-"):
            break
        assert words[0] in known, f"rsd has no command {words[0]}"
        command, words = known[words[0]], words[1:]
    names = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    assert [w for w in words if w.startswith("-") and w.partition("=")[0] not in names] == []


def test_commands_are_shown():
    used = {shlex.split(c)[1] for c in SHOWN}
    assert used >= {"init", "run", "export", "explain", "aggregate", "query", "quarantine"}
