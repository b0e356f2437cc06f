"""How long `rsd --help` takes beside the least that a click program can do."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from benchmarks import measure
from benchmarks.measure import CLOCK, Competitor, Race

CLICK = "import click"
HELP = "rsd --help"
TARGET = 3.0
ROUNDS = 15


@pytest.fixture(scope="module")
def race(show: Callable[[str, list[str]], None]) -> Race:
    competitors = [
        Competitor(CLICK, lambda _: [sys.executable, "-c", "import click"]),
        Competitor(HELP, lambda _: measure.rsd("--help"), CLICK, TARGET,
                   check=lambda done: done.output.startswith("Usage") or pytest.fail("no help")),
        Competitor("import polars", lambda _: [sys.executable, "-c", "import polars"], CLICK),
    ]
    race = Race(competitors).hold(1, lambda _: None)  # compiles what is not compiled
    race.runs.clear()
    race.hold(ROUNDS, lambda _: None)
    show(f"Start-up, {ROUNDS} rounds", race.table(digits=3))
    return race


@pytest.mark.benchmark(group="start-up", timer=CLOCK)
@pytest.mark.parametrize("name", [CLICK, HELP, "import polars"])
def test_startup(name: str, race: Race, benchmark) -> None:
    race.replay(name, benchmark)
