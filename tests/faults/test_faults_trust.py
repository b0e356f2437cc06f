"""What others did to a lake behind its back, keys, and settings: faults 70, 71 and 72."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import checker
import pytest
from chain import dump, record
from machine import End, Job, Machine
from scenario import PLATES, Night, check_message

from rsd import audit
from rsd.lake import Lake


@pytest.fixture
def lake(together: Night, place: Path) -> Path:
    return together.copy(place)


def done(machine: Machine, lake: Path, command: str, *rest: str) -> End:
    end = machine.run(Job([[*command.split(), str(lake), *rest]], str(lake)))
    assert not [p for p in PLATES if p in end.out + end.err]
    assert "Traceback" not in end.err
    assert end.code != 1, end.err
    return end


def a_file(lake: Path, table: str) -> Path:
    return next(checker.table_folder(lake, table).glob("*.parquet"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


TAMPERING: dict[str, Callable[[Path], None]] = {
    "a bit of a file's pages": lambda lake: flip(a_file(lake, "passes"), 100),
    "a bit of a file's footer": lambda lake: flip(a_file(lake, "passes"), -30),
    "a file cut": lambda lake: a_file(lake, "evidence").write_bytes(
        a_file(lake, "evidence").read_bytes()[:-1]),
    "a file that is gone": lambda lake: a_file(lake, "quarantine").unlink(),
    "a file of another table": lambda lake: shutil.copy(
        a_file(lake, "vehicles"), a_file(lake, "passes")),
}


@pytest.mark.parametrize("kind", TAMPERING)
def test_a_changed_file_is_found(machine: Machine, lake: Path, kind: str):
    """Fault 70: by us and from outside; size and hash stand in the log."""
    assert Lake.open(lake).problems() == []
    TAMPERING[kind](lake)
    (problem,) = Lake.open(lake).problems()
    assert problem.startswith(str(lake))
    assert len(checker.problems(lake)) == 1
    end = done(machine, lake, "doctor", "--format", "json")
    assert end.code == 7, end.err
    assert Path(problem.split(":")[0]).name in end.out


@pytest.mark.parametrize("kind", TAMPERING)
def test_nothing_is_built_upon_a_changed_file_that_is_read(
    machine: Machine, lake: Path, place: Path, kind: str
):
    """A run either ends as if nothing was, or says what is wrong; the history stays as it is."""
    TAMPERING[kind](lake)
    more = dump(place / "more.csv", [record(jlbh="m1"), record(jlbh="a1")])
    end = done(machine, lake, "run", str(more))
    assert end.code in (0, 6, 7), end.err
    if end.code:
        check_message(end, end.code)


def test_a_log_entry_that_was_changed_is_no_state(machine: Machine, lake: Path, together: Night):
    """Fault 70: an entry in the middle that is torn or gone is told; no later one is believed."""
    machine.run(together.job(lake))
    first = min((checker.table_folder(lake, "passes") / "_delta_log").glob("*.json"))
    kept = first.read_bytes()
    for content in (kept[:-20], b"", None):
        first.unlink() if content is None else first.write_bytes(content)
        end = machine.run(together.job(lake))
        check_message(end, 7)
        assert "passes" in end.err
        first.write_bytes(kept)
    assert machine.run(together.job(lake)).code == together.code


@pytest.mark.parametrize("table", ["passes", "evidence", "quarantine", "vehicles", "findings"])
def test_the_last_entry_that_is_lost_takes_nothing_with_it(
    machine: Machine, lake: Path, together: Night, place: Path, table: str
):
    """Fault 70: at the end of a log, where it looks like one that a crash never finished."""
    machine.run(together.job(lake))
    state = checker.view(lake)
    last = max((checker.table_folder(lake, table) / "_delta_log").glob("*.json"))
    kept, files = last.read_bytes(), sorted(lake.rglob("*.parquet"))
    for content in (kept[:-20], b"", None):
        last.unlink() if content is None else last.write_bytes(content)
        for command in ("find", "doctor", "doctor --repair" if table != "findings" else "doctor"):
            end = done(machine, lake, command)
            assert end.code == 7, (command, end.err)
            assert table in end.out + end.err
        check_message(machine.run(together.job(lake)), 7)
        assert sorted(lake.rglob("*.parquet")) == files
        last.write_bytes(kept)
    assert machine.run(together.job(lake)).code == together.code
    assert checker.view(lake) == state


@pytest.mark.parametrize("table", ["passes", "vehicles", "runs"])
def test_a_log_entry_that_was_rewritten_is_found(
    machine: Machine, lake: Path, together: Night, table: str
):
    """Fault 70: a whole entry in an entry's place, which no reader can tell from a true one."""
    machine.run(together.job(lake))
    assert done(machine, lake, "doctor").code == 0
    entry = min((checker.table_folder(lake, table) / "_delta_log").glob("*.json"))
    entry.write_bytes(b'{"commitInfo": {"timestamp": 1, "rsdActions": 0}}\n')
    end = done(machine, lake, "doctor")
    assert end.code == 7, end.err
    assert table in end.out + end.err


def test_a_checkpoint_that_was_changed_is_not_believed(lake: Path):
    """Fault 70: a checkpoint saves time; what the entries say counts."""
    log = checker.table_folder(lake, "passes") / "_delta_log"
    (log / f"{0:020d}.checkpoint.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert Lake.open(lake).table("passes").files()
    assert Lake.open(lake).problems() == []


def test_a_changed_audit_log_is_found(machine: Machine, lake: Path):
    """Fault 70: an edit shows in the chain, and the next record is refused."""
    for k in range(3):
        audit.append(lake, "test", {"number": k})
    path = audit.audit_path(lake)
    assert audit.verify(path) == []
    head = audit.head(lake)
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "edit": [lines[0].replace(b'"seq":1', b'"seq": 1'), *lines[1:]],
        "deletion": [lines[0], *lines[2:]],
        "swap": [lines[1], lines[0], *lines[2:]],
        "twice": [*lines, lines[-1]],
        "cut tail": lines[:-1],
        "rolled back": lines[:1],
    }
    for kind, content in changed.items():
        path.write_bytes(b"".join(content))
        assert audit.verify(path, head), kind
    path.write_bytes(b"".join(lines))
    assert audit.verify(path, head) == []


# --- keys ---------------------------------------------------------------------------------------

KEYS: dict[str, tuple[Callable[[Path], object], int]] = {
    "missing": (lambda key: key.unlink(), 6),
    "another": (lambda key: key.write_bytes(b"x" * 32), 7),
    "empty": (lambda key: key.write_bytes(b""), 7),
    "short": (lambda key: key.write_bytes(b"x" * 31), 7),
    "long": (lambda key: key.write_bytes(b"x" * 4000), 7),
    "read by a group": (lambda key: key.chmod(0o640), 8),
    "read by all": (lambda key: key.chmod(0o604), 8),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_wrong_key_changes_nothing(
    machine: Machine, lake: Path, together: Night, kind: str
):
    """Fault 71: with another key every vehicle would be a new one."""
    change, code = KEYS[kind]
    kept = (lake / "restricted" / "vehicle.key").read_bytes()
    change(lake / "restricted" / "vehicle.key")
    end = machine.run(together.job(lake))
    check_message(end, code)
    together.check_end(end)
    assert "vehicle.key" in end.err
    assert checker.view(lake) == together.old
    key = lake / "restricted" / "vehicle.key"
    key.write_bytes(kept)
    key.chmod(0o600)
    together.check_converges(machine, lake)


# --- settings -----------------------------------------------------------------------------------

SETTINGS = {
    "unknown key": ('timezone = "Asia/Shanghai"\n', 'timezone = "Asia/Shanghai"\ncolour = 1\n'),
    "bad type": ('timezone = "Asia/Shanghai"', "timezone = 8"),
    "no zone": ('timezone = "Asia/Shanghai"', 'timezone = "../../etc/passwd"'),
    "hostile path": ('"cn_hj845_2017"', '"../../../etc/passwd"'),
    "absolute path": ('"cn_hj845_2017"', '"/etc/passwd"'),
    "no toml": ('timezone = "Asia/Shanghai"', 'timezone = "Asia'),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_that_mean_nothing_are_told_and_nothing_happens(
    machine: Machine, lake: Path, together: Night, kind: str
):
    """Fault 72."""
    path = lake / "rsd.toml"
    before, after = SETTINGS[kind]
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    end = machine.run(together.job(lake))
    assert end.code == 2, (end.code, end.err)
    together.check_end(end)
    assert "root:" not in end.err
    assert checker.view(lake) == together.old
    path.write_text(text, encoding="utf-8")
    together.check_converges(machine, lake)


def test_a_setting_out_of_its_range(machine: Machine, lake: Path, together: Night):
    path = lake / "rsd.toml"
    for line in ("max_quarantine = 7.0", 'max_quarantine = "no"', "max_quarantine = nan"):
        kept = path.read_text(encoding="utf-8")
        rest = [x for x in kept.splitlines() if not x.startswith("max_quarantine")]
        at = next((k for k, x in enumerate(rest) if x.startswith("[")), len(rest))
        path.write_text("\n".join([*rest[:at], line, *rest[at:]]) + "\n", encoding="utf-8")
        end = machine.run(together.job(lake))
        assert end.code == 2, (line, end.code, end.err)
        path.write_text(kept, encoding="utf-8")
    assert json.dumps(checker.view(lake)) == json.dumps(together.old)
