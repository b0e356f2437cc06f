"""A run that is stopped while its thread commits: what has begun is finished, the rest given up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import dump, record

from rsd.errors import LakeBusy, StorageError
from rsd.lake import Lake
from rsd.pipeline import batch, committing
from rsd.pipeline import ingest as pipeline_ingest
from rsd.pipeline.ingest import ingest
from rsd.pipeline.permit import GivenUpError, Permit
from rsd.pipeline.setup import init_lake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    init_lake(tmp_path / "lake")
    return Lake.open(tmp_path / "lake")


@pytest.fixture
def interrupted() -> Iterator[None]:
    """A signal that raises in the main thread, as Ctrl-C does."""
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def stop_the_run() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def commit_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == committing.THREAD]


def staged(lake: Lake) -> list[str]:
    return [p.name for name in ("passes", "evidence", "quarantine")
            for p in lake.table(name).folder.glob("*.parquet")]


def told(lake: Lake) -> list[tuple]:
    rows = lake.table("runs").scan().select("file", "state", "records", "accepted").collect()
    return sorted(rows.rows())


@pytest.mark.parametrize("place", ["_settle", "_check"])
def test_a_stopped_run_keeps_the_lake_until_its_thread_has_given_up(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: None, place: str
):
    """A disk may hold the thread up for minutes: meanwhile no other run may clean up beside it."""
    path = dump(tmp_path / "a.csv", [record(jlbh="1", tp1="x.jpg"), "torn"])
    truly, go_on = getattr(batch, place), threading.Event()

    def slow(*arguments: object) -> None:
        truly(*arguments)
        stop_the_run()
        go_on.wait(60)

    monkeypatch.setattr(batch, place, slow)
    monkeypatch.setattr(committing, "PATIENCE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, [path])
    monkeypatch.setattr(batch, place, truly)
    (thread,) = commit_threads()
    other = Lake.open(lake.path)
    with pytest.raises(LakeBusy, match=f"process {os.getpid()}"), other.writer():
        pass
    assert staged(lake) != []
    assert lake.table("passes").version() == -1
    go_on.set()
    thread.join()
    assert staged(lake) == []
    assert [lake.table(n).version() for n in ("passes", "evidence", "quarantine")] == [-1, -1, -1]
    with other.writer():
        pass
    assert ingest(other, [path]).files[0].state == "done"
    assert told(other) == [("a.csv", "done", 2, 1)]


def test_a_run_beside_a_thread_that_gives_up_is_not_disturbed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: None
):
    """In one program, with one lake: the lock lets both in, so it is the permit that counts."""
    path = dump(tmp_path / "a.csv", [record(jlbh="1", tp1="x.jpg"), "torn"])
    truly, go_on = batch._check, threading.Event()

    def slow(*arguments: object) -> None:
        truly(*arguments)
        stop_the_run()
        go_on.wait(60)

    monkeypatch.setattr(batch, "_check", slow)
    monkeypatch.setattr(committing, "PATIENCE_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, [path])
    monkeypatch.setattr(batch, "_check", truly)
    (thread,) = commit_threads()
    assert ingest(lake, [path]).files[0].state == "done"
    versions = {n: lake.table(n).version() for n in ("passes", "evidence", "quarantine", "runs")}
    go_on.set()
    thread.join()
    assert {n: lake.table(n).version() for n in versions} == versions
    assert sorted(staged(lake)) == sorted(
        p.name for n in ("passes", "evidence", "quarantine") for p in lake.table(n).files())
    assert lake.problems() == []
    assert told(lake) == [("a.csv", "done", 2, 1)]


@pytest.mark.parametrize("times", [1, 3])
def test_a_stop_waits_for_the_entries_of_the_batch_that_is_being_committed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: None, times: int
):
    """Accounts are told after it, so that they tell it; also if the stop is asked for again."""
    path = dump(tmp_path / "a.csv", [record(jlbh="1")])
    truly, tell, events = batch._commit, pipeline_ingest.record, []

    def slow(*arguments: object) -> None:
        for _ in range(times):
            stop_the_run()
            time.sleep(0.2)
        truly(*arguments)
        events.append("committed")

    def tell_it(*arguments: object) -> None:
        events.append("told")
        tell(*arguments)

    monkeypatch.setattr(batch, "_commit", slow)
    monkeypatch.setattr(pipeline_ingest, "record", tell_it)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, [path])
    for thread in commit_threads():
        thread.join()
    assert events == ["committed", "told"]
    assert told(lake) == [("a.csv", "done", 1, 1)]
    with Lake.open(lake.path).writer():
        pass
    monkeypatch.setattr(batch, "_commit", truly)
    assert ingest(lake, [path]).files[0].state == "already"


def test_the_batch_behind_one_that_fails_leaves_no_file(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [dump(tmp_path / f"{n}.csv", [record(jlbh=str(n))]) for n in range(3)]

    def fail(*_: object) -> None:
        raise StorageError("the disk is full", where="disk", remedy="Free some.")

    monkeypatch.setattr(batch, "_commit", fail)
    monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)  # each dump is a batch of its own
    with pytest.raises(StorageError, match="the disk is full"):
        ingest(lake, paths)
    assert staged(lake) == []
    assert commit_threads() == []


def test_litter_that_cannot_be_removed_hides_no_error(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise StorageError("the disk is full", where="disk", remedy="Free some.")

    def keep(*_: object) -> None:
        raise PermissionError(13, "no right")

    monkeypatch.setattr(batch, "_commit", fail)
    monkeypatch.setattr(batch.Stage, "discard", keep)
    with pytest.raises(StorageError, match="the disk is full"):
        ingest(lake, [dump(tmp_path / "a.csv", [record()])])
    monkeypatch.undo()
    assert ingest(lake, [tmp_path / "a.csv"]).files[0].state == "done"
    assert len(staged(lake)) == 1


def test_a_permit_lets_through_until_it_is_withdrawn():
    permit = Permit()
    permit.check()
    with permit.using():
        pass
    permit.withdraw()
    permit.withdraw()
    with pytest.raises(GivenUpError):
        permit.check()
    with pytest.raises(GivenUpError), permit.using():
        raise AssertionError
