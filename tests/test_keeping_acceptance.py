"""An audit log that begins late stays a fault until somebody answers for it, by name."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import rsd
from keeping_lake import copy, doctor, make, memory

from rsd import audit
from rsd.errors import StorageError
from rsd.keeping.purge import purge
from rsd.lake import Lake
from rsd.pipeline import review, review_acts, trail

WHY = "the disk's fault of 3 May; the old log is kept in the safe"


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    """A lake with reviews and the record of a purge, all of it known to its audit."""
    with memory() as folder:
        place = make(folder)
        purge(Lake.open(place), dt.date(2026, 7, 1), "two years are over")
        assert doctor(place) == []
        yield place


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path / "lake")


def lose_the_log(lake: Path) -> None:
    path = audit.audit_path(lake)
    path.rename(lake.parent / "damaged.jsonl")


def codes(lake: Path) -> tuple[int, int]:
    return rsd("audit", "verify", lake).code, rsd("doctor", lake).code


@pytest.mark.parametrize("used_since", [False, True])
def test_who_answers_is_shown_ever_after_and_the_lake_is_in_order(lake: Path, used_since: bool):
    lose_the_log(lake)
    if used_since:
        assert rsd("run", lake, "--format", "json", lake.parent).code in (0, 3)
        assert codes(lake) == (7, 7)
        assert "rsd audit accept" in rsd("audit", "verify", lake).message
    answer = rsd("audit", "accept", lake, "--reason", WHY)
    assert answer.code == 0, answer.err
    assert codes(lake) == (0, 0), rsd("doctor", lake).out
    said = rsd("audit", "verify", lake).err
    assert f"answers for the beginning: {WHY}" in said
    assert rsd("review", "verify", lake).code == 0
    assert rsd("doctor", lake, "--compact").code == 0  # which a problem keeps from being done
    shown = rsd("audit", "show", lake, "--action", "accepted", "--format", "json").json
    assert [r["reason"] for r in shown] == [WHY]


def test_a_head_kept_before_still_tells(lake: Path, tmp_path: Path):
    heads = tmp_path / "heads.jsonl"
    assert rsd("audit", "head", lake, "-o", heads).code == 0
    lose_the_log(lake)
    assert rsd("audit", "accept", lake, "--reason", WHY).code == 0
    answer = rsd("audit", "verify", lake, "--head", heads)
    assert answer.code == 7
    assert "cut off" in answer.message or "rewritten" in answer.message


def test_an_answer_is_for_one_beginning_only(lake: Path):
    lose_the_log(lake)
    assert rsd("audit", "accept", lake, "--reason", WHY).code == 0
    lose_the_log(lake)
    assert rsd("run", lake, lake.parent).code in (0, 3)
    assert codes(lake) == (7, 7)


def test_nobody_answers_for_another_fault(lake: Path):
    lose_the_log(lake)
    rsd("run", lake, lake.parent)
    path = audit.audit_path(lake)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) > 2
    path.write_text("".join([lines[0], *lines[2:]]), encoding="utf-8")
    answer = rsd("audit", "accept", lake, "--reason", WHY)
    assert answer.code == 7
    assert "does not follow" in answer.message
    assert all(json.loads(x)["action"] != audit.ACCEPTED for x in path.read_text().splitlines())


def test_a_log_that_is_whole_needs_no_answer_and_an_answer_a_reason(lake: Path):
    before = audit.audit_path(lake).read_bytes()
    assert rsd("audit", "accept", lake, "--reason", WHY).code == 2
    assert rsd("audit", "accept", lake, "--reason", "  ").code == 2
    assert audit.audit_path(lake).read_bytes() == before


def test_a_record_of_a_deletion_that_comes_later_is_not_answered_for(lake: Path):
    lose_the_log(lake)
    assert rsd("audit", "accept", lake, "--reason", WHY).code == 0
    (record,) = (lake / "restricted" / "deletions").glob("*.json")
    (record.with_name("other.json")).write_bytes(record.read_bytes() + b"\n")
    assert rsd("doctor", lake).code == 7


def decide(lake: Path) -> int:
    (first, *_) = json.loads(rsd("review", "list", lake, "--format", "json").out)
    return rsd("review", "note", lake, first["finding_id"], "--reason", "seen").code


def test_an_act_that_could_not_be_stored_is_given_up(lake: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(review_acts, "_commit", full)
    assert decide(lake) == 6
    monkeypatch.undo()
    assert rsd("review", "verify", lake).code == 0
    assert codes(lake) == (0, 0)
    assert decide(lake) == 0
    assert rsd("review", "verify", lake).code == 0


def test_an_act_that_a_crash_left_in_the_audit_alone_is_answered_for(lake: Path):
    opened = Lake.open(lake)
    trail.record(opened, review.ACTION, {"events": 1, "last": 99, "head": "never stored"})
    assert rsd("review", "verify", lake).code == 7
    assert codes(lake) == (0, 7)
    assert "rsd audit accept" in rsd("doctor", lake, "--format", "json").out
    assert rsd("audit", "accept", lake, "--reason", "power cut").code == 0
    assert rsd("review", "verify", lake).code == 0
    assert codes(lake) == (0, 0)
    assert rsd("audit", "accept", lake, "--reason", "again").code == 2, "nothing is left"
    trail.record(opened, review.ACTION, {"events": 1, "last": 100, "head": "another"})
    assert rsd("review", "verify", lake).code == 7, "an answer is for that act alone"
