"""The page for the operator tells the truth: its commands, codes, messages and unit files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from test_docs import calls, parse

from cli.main import commands
from rsd.storage.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNITS = ROOT / "docs" / "systemd"
SYSTEMS_OWN = {"No space left on device", "Permission denied", "Read-only file system",
               "Input/output error"}


def sources() -> str:
    files = [*ROOT.glob("rsd/**/*.py"), *ROOT.glob("cli/*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_call_can_be_parsed():
    found = calls(PAGE)
    assert len(found) >= 12
    for line in found:
        try:
            parse(line)
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_every_exit_code_has_its_part():
    told = set(re.findall(r"\d+", (commands.help or "").partition("Exit codes:")[2]))
    parts = set(re.findall(r"\d+", " ".join(re.findall(r"^### (\d.*)$", PAGE, re.MULTILINE))))
    assert told == parts == {*"012345678", "130", "143"}


def test_every_message_is_one_of_the_program():
    text = sources()
    rows = re.findall(r"^\| (`[^|]*`) \| [^|]*\|$", PAGE.partition("## What to do when")[2],
                      re.MULTILINE)
    messages = [m for row in rows for m in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 20
    assert [m for m in messages if m not in SYSTEMS_OWN and m not in text] == []


def test_every_event_and_field_is_one_of_the_program():
    text = sources()
    for part in ("## Is it running", "## The log"):
        table = PAGE.partition(part)[2].partition("\n## ")[0]
        names = [n for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
                 for n in re.findall(r"`([^`]+)`", row)]
        assert len(names) > 7
        assert [n for n in names if f'"{n}"' not in text and f"    {n}: " not in text
                and n not in ("file done", "file already")] == []


def test_every_setting_is_one_of_a_lake():
    named = set(re.findall(r"`(\w+) = ", PAGE))
    assert named == {"require_reason", "audit_head_path"}
    assert named <= SETTINGS.keys()


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", PAGE)
    assert links
    missing = [link for link in links if not (ROOT / "docs" / link).exists()]
    assert missing == []


def test_the_service_calls_rsd_as_it_can_be_called():
    unit = (UNITS / "rsd-nightly.service").read_text(encoding="utf-8")
    (call,) = re.findall(r"^ExecStart=\S*/(rsd .*)$", unit, re.MULTILINE)
    parse(call)
    assert re.search(r"^OnCalendar=.* Asia/Shanghai$",
                     (UNITS / "rsd-nightly.timer").read_text(encoding="utf-8"), re.MULTILINE)


def test_systemd_takes_the_units(tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS.glob("rsd-nightly.*"):
        # the program and the user are those of the machine that is to come
        text = re.sub(r"/opt/rsd/bin/rsd\b", "/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(re.sub(r"^(User|Group)=rsd$", r"\1=root", text,
                                                 flags=re.MULTILINE), encoding="utf-8")
    done = subprocess.run([analyze, "verify", *map(str, tmp_path.glob("rsd-nightly.*"))],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_watchdog_of_the_page_works(tmp_path: Path):
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("jq is not installed")
    (program,) = re.findall(r"jq -e '(.*?)' >", PAGE, re.DOTALL)
    cases = [("done", 0, "2999", True), ("done", 3, "2999", False), ("died", None, "2999", False),
             ("running", None, "2999", True), ("done", 0, "2000", False)]
    for state, code, year, is_well in cases:
        status = {"state": state, "exit_code": code, "updated_at": f"{year}-01-01T00:00:00Z"}
        done = subprocess.run([jq, "-e", program], input=json.dumps(status), text=True,
                              capture_output=True, check=False)
        assert (done.returncode == 0) is is_well, (status, done.stderr)
