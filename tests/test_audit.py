"""The audit log: every change of it is found."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rsd import audit
from rsd.errors import IntegrityError, StorageError


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for k in range(5):
        audit.append(tmp_path, "export findings", {"rows": k, "plates": True}, actor="officer")
    return tmp_path


def lines(lake: Path) -> list[bytes]:
    return audit.audit_path(lake).read_bytes().splitlines(keepends=True)


def store(lake: Path, changed: list[bytes]) -> list[str]:
    audit.audit_path(lake).write_bytes(b"".join(changed))
    return audit.verify(audit.audit_path(lake))


def test_a_log_that_nobody_touched_holds(lake: Path) -> None:
    path = audit.audit_path(lake)
    head = audit.head(lake)
    assert head is not None
    assert head.seq == 5
    assert audit.verify(path) == audit.verify(path, head) == []
    first = json.loads(lines(lake)[0])
    assert (first["seq"], first["prev"], first["actor"]) == (1, audit.GENESIS, "officer")
    assert first["details"] == {"rows": 0, "plates": True}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert audit.append(lake, "x", {}).seq == 6
    assert audit.verify(path, head) == []


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert audit.head(tmp_path) is None
    assert audit.verify(audit.audit_path(tmp_path)) == []
    assert audit.verify(audit.audit_path(tmp_path), audit.Head(1, "x")) != []


def test_an_edit_is_found(lake: Path) -> None:
    all_lines = lines(lake)
    all_lines[2] = all_lines[2].replace(b'"rows":2', b'"rows":0')
    assert store(lake, all_lines) == ["line 3: record 3 was edited"]


def test_an_edit_with_a_new_hash_is_found(lake: Path) -> None:
    all_lines = lines(lake)
    record = json.loads(all_lines[2]) | {"actor": "nobody"}
    record["hash"] = audit._hash(record)
    all_lines[2] = audit._canonical(record).encode() + b"\n"
    assert store(lake, all_lines) == ["line 4: record 4 does not follow the one before it"]


def test_another_spelling_is_found(lake: Path) -> None:
    all_lines = lines(lake)
    all_lines[2] = all_lines[2].replace(b",", b", ", 1)
    assert store(lake, all_lines) == ["line 3: no record"]


@pytest.mark.parametrize("change", [
    lambda x: [*x[:2], *x[3:]],  # deleted
    lambda x: [*x[:2], x[0], *x[2:]],  # inserted, numbered twice
    lambda x: [x[0], x[2], x[1], *x[3:]],  # swapped
    lambda x: [*x, x[-1]],  # the last one doubled
    lambda x: x[1:],  # the first one deleted
    lambda x: [*x[:2], b"\n", *x[2:]],
    lambda x: [*x[:2], b"[]\n", *x[2:]],
    lambda x: [*x, x[-1][:20]],
])
def test_every_other_change_is_found(lake: Path, change: object) -> None:
    assert store(lake, change(lines(lake))) != []  # type: ignore[operator]


def test_a_number_that_stands_twice_is_named(lake: Path) -> None:
    all_lines = lines(lake)
    assert "line 6: number 5 stands twice" in store(lake, [*all_lines, all_lines[-1]])


def test_a_cut_tail_and_a_rollback_are_found_by_the_kept_head(lake: Path) -> None:
    path, head = audit.audit_path(lake), audit.head(lake)
    assert store(lake, lines(lake)[:3]) == []
    assert audit.verify(path, head) == ["the kept head, record 5, is gone: the tail was cut off"]
    audit.append(lake, "other", {})
    audit.append(lake, "other", {})
    assert audit.verify(path) == []
    assert audit.verify(path, head) == [
        "record 5 is not the one of the kept head: the log was rewritten"]


def test_nothing_is_appended_to_a_changed_last_record(lake: Path) -> None:
    all_lines = lines(lake)
    store(lake, [*all_lines[:-1], all_lines[-1].replace(b"officer", b"nobody!")])
    with pytest.raises(IntegrityError, match="was changed"):
        audit.append(lake, "x", {})


def test_what_a_crash_left_is_set_aside_and_told(lake: Path) -> None:
    before, torn = audit.head(lake), lines(lake)[-1][:33]
    store(lake, [*lines(lake), torn])
    assert audit.head(lake) == before
    assert audit.append(lake, "x", {}).seq == 7
    assert audit.verify(audit.audit_path(lake), before) == []
    told = json.loads(lines(lake)[5])
    assert told["action"] == audit.TORN
    kept = audit.audit_path(lake).with_name(told["details"]["kept_as"])
    assert kept.read_bytes() == torn


def test_a_crash_before_the_first_record_was_whole(tmp_path: Path) -> None:
    audit.audit_path(tmp_path).parent.mkdir(parents=True)
    audit.audit_path(tmp_path).write_bytes(b'{"act')
    assert audit.append(tmp_path, "x", {}).seq == 2
    assert audit.verify(audit.audit_path(tmp_path)) == []


def test_a_record_larger_than_a_block_and_odd_details(lake: Path) -> None:
    details = {"sql": "闽\n\x1b[31m\u202e\"" * 30_000, 10: 1, 9: float("inf")}
    audit.append(lake, "query", details)  # type: ignore[arg-type]
    audit.append(lake, "query", {})
    assert audit.verify(audit.audit_path(lake)) == []
    raw = audit.audit_path(lake).read_bytes()
    assert raw.count(b"\n") == 7
    assert b"\x1b" not in raw
    assert raw.isascii()


def test_it_is_durable_before_it_returns(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        audit.append(lake, "x", {})


def test_two_processes_make_one_chain(lake: Path) -> None:
    program = ("import sys; from pathlib import Path; from rsd import audit\n"
               "for k in range(20): audit.append(Path(sys.argv[1]), 'x', {'k': k})")
    both = [subprocess.Popen([sys.executable, "-c", program, str(lake)]) for _ in range(2)]
    assert [p.wait() for p in both] == [0, 0]
    head = audit.head(lake)
    assert head is not None
    assert head.seq == 45
    assert audit.verify(audit.audit_path(lake), head) == []
