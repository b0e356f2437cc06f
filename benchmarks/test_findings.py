"""Findings over a long history beside a plain window of DuckDB over the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import CLOCK, Competitor, Race

LAG = "DuckDB, lag over all"
FIND = "rsd.findings.find"
COPIES = 5


@pytest.fixture(scope="module")
def passes(data: Path, tmp_path_factory: pytest.TempPathFactory,
           say: Callable[[str], None]) -> tuple[Path, int]:
    """A folder of passes over some months, and their number."""
    place = tmp_path_factory.mktemp("history")
    measure.run(measure.rsd("init", place / "lake", "--sites", data / "sites.csv"))
    measure.run(measure.rsd("ingest", place / "lake", data / "clean"))
    say("writing the history to find in")
    folder = place / "passes"
    answer = measure.run(
        measure.python("baselines", "history", place / "lake", folder, str(COPIES))).answer
    return folder, answer["rows"]


@pytest.fixture(scope="module")
def race(passes: tuple[Path, int], rounds: int, say: Callable[[str], None],
         show: Callable[[str, list[str]], None]) -> Race:
    folder, number = passes
    held = Race([
        Competitor(LAG, lambda _: measure.python("baselines", "lag", folder)),
        Competitor(FIND, lambda _: measure.python("baselines", "find", folder), LAG),
    ]).hold(rounds, say)
    found = held.runs[FIND][0].answer["findings"]
    show(f"Findings over {number:,} passes: {found:,} found", held.table())
    return held


@pytest.mark.benchmark(group="findings", timer=CLOCK)
@pytest.mark.parametrize("name", [LAG, FIND])
def test_findings(name: str, race: Race, benchmark) -> None:
    """Both name the same vehicles at the same instants."""
    race.replay(name, benchmark)
    assert race.runs[FIND][0].answer == race.runs[LAG][0].answer
