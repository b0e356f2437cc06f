"""What opening a lake put right is told by every command, once, and in the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import dump, record, rsd
from keeping_lake import copy, make, memory

from rsd.lake import Lake

COMMANDS = {
    "find": ["find", "LAKE"],
    "run": ["run", "LAKE", "DUMP"],
    "query": ["query", "LAKE", "select count(*) from passes"],
    "aggregate": ["aggregate", "LAKE", "--by", "vehicle_class"],
    "export": ["export", "findings", "LAKE", "-o", "OUT"],
    "status": ["status", "LAKE"],
    "purge": ["purge", "LAKE", "--before", "2026-05-01", "--reason", "rule"],
    "audit": ["audit", "verify", "LAKE"],
    "review": ["review", "list", "LAKE"],
}
LOGGED = ("find", "run")


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        yield make(folder)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_torn_entry_that_was_set_aside_is_told(original: Path, tmp_path: Path, name: str) -> None:
    lake = copy(original, tmp_path / "lake")
    log = Lake.open(lake).table("passes").folder / "_delta_log"
    (log / f"{4:020d}.json").write_bytes(b"{")
    words = {"LAKE": lake, "OUT": tmp_path / "list.csv",
             "DUMP": dump(tmp_path / "x.csv", [record(jlbh="X1", jcsj="2026-09-03 08:00:00")])}
    options = ["--log", tmp_path / "log.jsonl"] if name in LOGGED else []
    answer = rsd(*[words.get(word, word) for word in COMMANDS[name]], *options)
    assert answer.code == 0, answer.err
    told = [line for line in answer.err.splitlines() if "torn, not committed; set aside" in line]
    assert len(told) == 1
    if options:
        events = (tmp_path / "log.jsonl").read_text().splitlines()
        assert len([e for e in events if "set aside" in e and '"warning"' in e]) == 1
    assert "torn" not in rsd("status", lake).err
