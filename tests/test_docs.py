"""The README tells the truth: what it says to type can be typed."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import click
import pytest
from chain import rsd

from cli.main import commands
from rsd.law import rulebook

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
CALL = re.compile(r"^(?:\$ )?(?:\w+=\$\()?rsd(?=\s|$)|/bin/rsd(?=\s)")
SHELL = re.compile(r"[|<>&;()]+")
"""What ends a call."""


def blocks(text: str) -> list[list[str]]:
    """The code blocks, line by line; a line that goes on in the next one is one line."""
    return [m[1].replace("\\\n", " ").splitlines() for m in BLOCK.finditer(text)]


def words(call: str) -> list[str] | None:
    """The words of a call up to a pipe or the like; None where a quotation is still open."""
    split = shlex.shlex(call, posix=True, punctuation_chars="|<>&;()")
    split.whitespace_split = True
    try:
        return list(takewhile(lambda word: not SHELL.fullmatch(word), split))
    except ValueError:
        return None


def calls(text: str) -> list[str]:
    """Every call of rsd in the code blocks; a quotation may go over several lines."""
    found = []
    for lines in blocks(text):
        for number, line in enumerate(lines):
            if match := CALL.search(line):
                call = "rsd" + line[match.end():]
                for more in lines[number + 1:]:
                    if words(call) is not None:
                        break
                    call += f"\n{more}"
                found.append(call)
    return found


def parse(call: str) -> click.Context:
    """Parse a call as `rsd` would, without doing it; files need not exist.

    Raises click.ClickException where rsd would refuse it.
    """
    rest = (words(call) or [])[1:]
    found: click.Command = commands
    while isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
        inner = found.commands.get(rest[0])
        if inner is None and (default := getattr(found, "default", None)):
            inner, rest = found.commands[default], ["", *rest]
        if inner is None:
            raise click.UsageError(f"no such command: {rest[0]}")
        found, rest = inner, rest[1:]
    try:
        context = found.make_context(found.name or "rsd", list(rest))
    except click.exceptions.Exit:  # --help, --version
        return click.Context(found)
    except click.exceptions.NoArgsIsHelpError:
        raise click.UsageError(f"{found.name} needs a command") from None
    except click.BadParameter as error:
        if "does not exist" in error.message:
            return click.Context(found)
        raise
    if isinstance(found, click.Group) and not hasattr(found, "default"):
        raise click.UsageError(f"{found.name} needs a command")
    return context


@pytest.fixture
def readme() -> str:
    if not README.is_file():
        pytest.skip("README.md is not written yet")
    return README.read_text(encoding="utf-8")


def test_every_call_in_the_readme_can_be_parsed(readme: str):
    found = calls(readme)
    assert len(found) >= 6
    wrong = {}
    for line in found:
        try:
            parse(line)
        except click.ClickException as error:
            wrong[line] = error.format_message()
    assert wrong == {}


def test_the_readme_opens_with_both_commands(readme: str):
    first = {line.removeprefix("$ ").split("#")[0].strip() for line in blocks(readme)[0]}
    assert {"make demo", "make test"} <= first


def test_every_make_target_of_the_readme_exists(readme: str):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {line.split()[1] for lines in blocks(readme) for line in lines
             if re.match(r"make [a-z]", line)}
    named |= set(re.findall(r"`make ([a-z]+)`", readme))
    assert named
    assert named <= targets


def test_every_file_that_the_readme_links_to_is_there(readme: str):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", readme)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_regulation_and_format_that_the_readme_names_is_built_in(readme: str):
    named = set(re.findall(r"\bcn_[a-z]+\d+[a-z0-9_]*\b", readme))
    assert named <= set(rulebook.available())


def test_what_demo_says_to_try_next_can_be_parsed(tmp_path: Path):
    answer = rsd("demo", tmp_path / "demo", "--vehicles", 100, "--days", 1)
    hints = re.findall(r"^ +(rsd .+?)(?: {3,}.*)?$", answer.out.partition("Try next")[2],
                       re.MULTILINE)
    assert len(hints) >= 4
    for hint in hints:
        parse(hint)


def test_a_wrong_call_does_not_parse():
    for line in ("rsd frobnicate", "rsd run LAKE", "rsd aggregate LAKE --buy fuel", "rsd export",
                 "rsd query LAKE 'SELECT 1' --format yaml"):
        with pytest.raises(click.ClickException):
            parse(line)
    for line in ("rsd --help", "rsd run LAKE DUMP… --format json | jq .totals",
                 "rsd init LAKE --sites sites.csv  # a comment", "rsd query LAKE 'SELECT 1' > x"):
        parse(line)


def test_calls_are_found_in_blocks_alone():
    text = ("rsd frob\n```sh\n$ rsd run LAKE \\\n  DUMP\nX=$(rsd query LAKE \"SELECT\n1\" | head)\n"
            "0 1 * * * /opt/bin/rsd find LAKE >> log\nrsd: made LAKE\n```\n")
    assert [words(call) for call in calls(text)] == [
        ["rsd", "run", "LAKE", "DUMP"], ["rsd", "query", "LAKE", "SELECT\n1"],
        ["rsd", "find", "LAKE"]]
