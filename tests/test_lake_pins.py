"""A report made of several queries sees one version of all tables, and no writer is in its way."""

from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest

from rsd.columns import FINDINGS, PASSES, QUARANTINE, TABLES, empty, schema
from rsd.errors import UsageError
from rsd.lake import Lake, Pin


def put(lake: Lake, table: str, batch: str, *, rows: int = 1, **options: object) -> None:
    """Commit rows that say nothing but that they are there."""
    columns = {"passes": PASSES, "quarantine": QUARANTINE, "findings": FINDINGS}[table]
    blank = empty(columns)
    frame = pl.concat([blank, pl.DataFrame({n: [None] * rows for n in blank.columns},
                                           schema=schema(columns))])
    target = lake.table(table)
    target.commit([target.write(frame, batch)], **options)  # type: ignore[arg-type]


def batch(lake: Lake, name: str) -> None:
    put(lake, "quarantine", name)
    put(lake, "passes", name, transactions=[f"batch:{name}"])


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake.create(tmp_path / "lake")
    batch(made, "b1")
    return made


def rows(lake: Lake, table: str) -> int:
    return int(lake.table(table).scan().select(pl.len()).collect().item())


def test_a_view_stays_while_the_lake_goes_on(lake: Lake):
    view = lake.pinned()
    batch(lake, "b2")
    put(lake, "findings", "f")
    assert [rows(lake, t) for t in ("passes", "quarantine", "findings")] == [2, 2, 1]
    assert [rows(view, t) for t in ("passes", "quarantine", "findings")] == [1, 1, 0]
    assert view.table("passes").version() == 0
    assert [commit.version for commit in view.table("passes").history()] == [0]
    assert view.committed_batches() == {"b1"}
    assert view.pinned() is view


def test_a_gated_row_needs_its_batch_in_the_pinned_passes(lake: Lake):
    put(lake, "quarantine", "b2")
    view = lake.pinned()  # the batch's last commit is still to come
    put(lake, "passes", "b2", transactions=["batch:b2"])
    assert view.table("quarantine").version() == 1
    assert rows(view, "quarantine") == 1
    assert rows(lake, "quarantine") == 2


def test_a_view_reads_earlier_versions_and_no_later_one(lake: Lake):
    batch(lake, "b2")
    view = lake.pinned()
    batch(lake, "b3")
    assert len(view.table("passes").files(0)) == 1
    with pytest.raises(UsageError, match="later version"):
        view.table("passes").files(2)


def test_nothing_can_be_written_through_a_view(lake: Lake, tmp_path: Path):
    view = lake.pinned()
    table = view.table("passes")
    for write in (lambda: table.write(empty(PASSES), "x"), lambda: table.commit([]),
                  lambda: view.configure(timezone="UTC"), lambda: view.writer().__enter__(),
                  lambda: view.holding().__enter__()):
        with pytest.raises(UsageError, match="read-only"):
            write()


def test_a_view_needs_no_lock_and_takes_none(lake: Lake):
    with lake.writer():
        assert rows(Lake.open(lake.path).pinned(), "passes") == 1


def test_a_commit_between_two_readings_is_in_the_view_as_a_whole(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    """The writer commits just after passes were read: the view is taken anew."""
    reader, writer = Lake.open(lake.path), Lake.open(lake.path)
    passes = reader.table("passes")
    first, read = [True], passes.snapshot

    def late(version: int | None = None) -> object:
        found = read(version)
        if first.pop() if first else False:
            batch(writer, "b2")
        return found

    monkeypatch.setattr(passes, "snapshot", late)
    view = reader.pinned()
    assert view.pin.snapshots["passes"].version == view.pin.snapshots["quarantine"].version == 1
    assert rows(view, "quarantine") == 2


def test_views_under_a_busy_writer_never_mix_batches(lake: Lake):
    wrong: list[tuple[int, int]] = []
    done = threading.Event()

    def look() -> None:
        reader = Lake.open(lake.path)
        while not done.is_set():
            view = reader.pinned()
            both = rows(view, "passes"), rows(view, "quarantine")
            if both[0] != both[1]:
                wrong.append(both)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        for number in range(2, 12):
            batch(lake, f"b{number}")
    finally:
        done.set()
        watching.join()
    assert wrong == []


def test_a_pin_by_hand_names_every_table_it_fixes(lake: Lake):
    batch(lake, "b2")
    view = lake.at(Pin({"passes": lake.table("passes").snapshot(0)}, lake.configuration))
    assert rows(view, "passes") == 1
    assert rows(view, "quarantine") == 1  # not pinned, and gated by the pinned passes
    assert set(lake.pinned().pin.snapshots) == set(TABLES)
