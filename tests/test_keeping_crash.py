"""Compaction, purge and a change of the key under kill and power loss, moved one step at a time."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from keeping_lake import copy, held, make, memory, named, plates
from test_lake_crash import DEATHS, Killed, Machine

from rsd.errors import LakeBusy
from rsd.keeping import deletion
from rsd.keeping.compaction import compact
from rsd.keeping.doctor import examine
from rsd.keeping.plate_search import files_with_plates
from rsd.keeping.purge import purge
from rsd.keeping.rotation import rotate
from rsd.lake import Lake
from rsd.storage import change
from rsd.storage.lock import WriterLock

BEFORE = dt.date(2026, 7, 1)
GONE = {"闽D12340", "闽D12341"}
Work = Callable[[Lake], object]


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def prepared(scratch: Path) -> Path:
    return make(scratch, (6, 7))


class Host(Machine):
    """A machine on which a file that is there already does not vanish for being opened."""

    def open(self, real: Callable[..., int]) -> Callable[..., int]:
        counted = super().open(real)

        def call(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if os.path.exists(path):
                return real(path, flags, *args, **kwargs)
            return counted(path, flags, *args, **kwargs)
        return call


def every_death(prepared: Path, scratch: Path, work: Work, after: str,
                every: int) -> Iterator[tuple[Path, int]]:
    """Yield the lake after a death at each step of ``work``."""
    for dies_at in range(1, 3000, every):
        place = copy(prepared, scratch / f"at {dies_at}")
        machine = Host(dies_at)
        try:
            lake = Lake.open(place)
            with machine.running():
                work(lake)
            shutil.rmtree(place)
            return
        except Killed:
            pass
        if after != "kill":
            machine.lose_power(names=after == "power loss, names too")
        yield place, dies_at
        shutil.rmtree(place)
    raise AssertionError("the work has no end")


def as_a_reader_sees(place: Path) -> Lake:
    """Open a lake as one does who may not finish what a dead writer began: another holds it."""
    other = WriterLock(place / ".lock")
    other.acquire()
    try:
        return Lake.open(place).pinned()
    finally:
        other.release()


def disorder(place: Path) -> list[tuple[object, ...]]:
    """What the doctor finds that is not put right already."""
    problems = examine(Lake.open(place)).problems
    return problems.filter(~pl.col("repaired") & (pl.col("severity") != "note")).rows()


@pytest.mark.parametrize(("after", "every"), list(zip(DEATHS, (1, 7, 5), strict=True)))
def test_compaction_at_every_death(prepared: Path, scratch: Path, after: str, every: int) -> None:
    before, deaths = held(Lake.open(prepared)), 0
    for place, step in every_death(prepared, scratch, compact, after, every):
        deaths += 1
        assert held(as_a_reader_sees(place)) == before, step
        compact(Lake.open(place))
        assert held(Lake.open(place)) == before, step
        assert compact(Lake.open(place)) == [], step
        assert step % 4 or disorder(place) == [], step
    assert deaths > 20 / every


@pytest.mark.parametrize(("after", "every"), list(zip(DEATHS, (1, 7, 5), strict=True)))
def test_purge_at_every_death(prepared: Path, scratch: Path, after: str, every: int) -> None:
    old = held(Lake.open(prepared))
    whole = copy(prepared, scratch / "whole")
    purge(Lake.open(whole), BEFORE, "rule")
    new = held(Lake.open(whole))
    shutil.rmtree(whole)
    assert old != new
    states = []
    for place, step in every_death(prepared, scratch,
                                   lambda lake: purge(lake, BEFORE, "rule"), after, every):
        states.append(held(as_a_reader_sees(place)))
        assert states[-1] in (old, new), step
        purge(Lake.open(place), BEFORE, "rule")  # it was finished by the opening, or is done now
        lake = Lake.open(place)
        assert held(lake) == new, step
        assert files_with_plates(place, ["闽D12341"]) == [], step
        assert len(deletion.records(lake)) == 1, step
        assert change.under_way(place) is None, step
        assert step % 4 or disorder(place) == [], step
    assert len(states) > 60 / every
    assert states == sorted(states, key=lambda state: state == new)
    assert new in states


@pytest.mark.parametrize(("after", "every"), list(zip(DEATHS, (1, 7, 5), strict=True)))
def test_a_new_key_at_every_death(prepared: Path, scratch: Path, after: str, every: int) -> None:
    before = Lake.open(prepared)
    passes, vault = named(before), plates(before)
    old_key = before.table("vehicles").scan().collect()["vehicle_id"][0].split(".")[1]
    seen = []
    for place, step in every_death(prepared, scratch, lambda lake: rotate(lake, "leak"), after,
                                   every):
        for lake in (as_a_reader_sees(place), Lake.open(place)):
            keys = {i.split(".")[1] for name in ("passes", "findings", "vehicles")
                    for i in lake.table(name).scan().collect()["vehicle_id"].drop_nulls()}
            assert len(keys) == 1, step  # all old or all new
            assert named(lake).equals(passes), step
            assert plates(lake) == vault, step
        seen.append(keys != {old_key})
        if not seen[-1]:
            rotate(Lake.open(place), "leak")
        with Lake.open(place).writer():  # sweeps what the dead one left
            pass
        assert named(Lake.open(place)).equals(passes), step
        assert step % 4 or disorder(place) == [], step
    assert len(seen) > 60 / every
    assert seen == sorted(seen)
    assert True in seen


def test_nobody_else_writes_while_a_change_waits(prepared: Path, scratch: Path) -> None:
    place = copy(prepared, scratch / "waiting")
    lock = WriterLock(place / ".lock")
    lock.acquire()
    with pytest.raises(LakeBusy):
        purge(Lake.open(place), BEFORE, "rule")
    lock.release()
    shutil.rmtree(place)
