"""What safety costs: ingest as it is beside the same ingest without any safeguard, in one run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import CLOCK, Competitor, Race, Run

UNSAFE, SAFE, SMALL_UNSAFE, SMALL_SAFE = (
    "no safeguards", "rsd ingest", "no safeguards, 100 files", "rsd ingest, 100 files")
TARGET = 1.1
"""Largest quotient: the whole safety protocol costs at most a tenth of an unsafe writer's time."""


@pytest.fixture(scope="module")
def race(data: Path, rows: int, rounds: int, say: Callable[[str], None],
         show: Callable[[str, list[str]], None]) -> Race:
    def check(done: Run) -> None:
        totals = json.loads(done.output)["totals"]
        assert totals["accepted"] == totals["records"] == rows

    def prepare(place: Path) -> None:
        measure.run(measure.rsd("init", place / "lake", "--sites", data / "sites.csv"))

    def one(name: str, safety: str, folder: str, beside: str | None = None) -> Competitor:
        return Competitor(
            name, lambda place: measure.python("unsafe", safety, place / "lake", data / folder),
            beside, None if beside is None else TARGET, prepare=prepare, check=check)

    held = Race([one(UNSAFE, "off", "clean"), one(SAFE, "on", "clean", UNSAFE),
                 one(SMALL_UNSAFE, "off", "hundred"),
                 one(SMALL_SAFE, "on", "hundred", SMALL_UNSAFE)]).hold(max(rounds, 5), say)
    show(f"What safety costs, {rows:,} records", held.table())
    return held


@pytest.mark.benchmark(group="what safety costs", timer=CLOCK)
@pytest.mark.parametrize("name", [UNSAFE, SAFE, SMALL_UNSAFE, SMALL_SAFE])
def test_safety(name: str, race: Race, benchmark) -> None:
    """Each run stored every record; what was taken out is named in `benchmarks.unsafe`."""
    race.replay(name, benchmark)
