"""Findings beside a plain window of DuckDB over the same files, and a day's beside all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import CLOCK, Competitor, Race

LAG = "DuckDB, lag over all"
FIND = "rsd.findings.find"
LAWS = {"HJ 845 alone": "cn_hj845_2017",
        "diesel and gasoline": "cn_hj845_2017,platform_observed_gasoline"}
COPIES = int(os.environ.get("RSD_BENCH_COPIES", "5"))
"""How often the dumps' passes stand in the history, a month apart."""
EVERYTHING = "rsd find --everything"
DAY = "rsd find, one more day"
DAY_SHARE = 100
"""One day's passes are this part of the history."""


@pytest.fixture(scope="module")
def lake(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the clean dumps."""
    place = tmp_path_factory.mktemp("history") / "lake"
    measure.run(measure.rsd("init", place, "--sites", data / "sites.csv"))
    measure.run(measure.rsd("ingest", place, data / "clean"))
    return place


@pytest.fixture(scope="module")
def passes(lake: Path, say: Callable[[str], None]) -> tuple[Path, int]:
    """A folder of passes over some months, and their number."""
    say("writing the history to find in")
    folder = lake.with_name("passes")
    answer = measure.run(
        measure.python("baselines", "history", lake, folder, str(COPIES))).answer
    return folder, answer["rows"]


@pytest.fixture(scope="module", params=LAWS)
def race(request: pytest.FixtureRequest, passes: tuple[Path, int], rounds: int,
         say: Callable[[str], None], show: Callable[[str, list[str]], None]) -> Race:
    folder, number = passes
    laws = LAWS[request.param]
    held = Race([
        Competitor(LAG, lambda _: measure.python("baselines", "lag", folder, laws)),
        Competitor(FIND, lambda _: measure.python("baselines", "find", folder, laws), LAG,
                   target=0.25),
    ]).hold(rounds, say)
    found = held.runs[FIND][0].answer["findings"]
    show(f"Findings over {number:,} passes, {request.param}: {found:,} found", held.table())
    return held


@pytest.mark.benchmark(group="findings", timer=CLOCK)
@pytest.mark.parametrize("name", [LAG, FIND])
def test_findings(name: str, race: Race, benchmark) -> None:
    """Both name the same vehicles at the same instants."""
    race.replay(name, benchmark)
    assert race.runs[FIND][0].answer == race.runs[LAG][0].answer


def linked(lake: Path) -> Callable[[Path], object]:
    """Return what makes a copy of a lake: its data are never written to, so links will do."""
    def copy(source: str, target: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy2)(source, target)

    return lambda place: shutil.copytree(lake, place / "lake", copy_function=copy)


@pytest.fixture(scope="module")
def daily(lake: Path, rows: int, rounds: int, say: Callable[[str], None],
          show: Callable[[str, list[str]], None]) -> Race:
    """A lake whose findings stand, and one more day that nobody has judged yet."""
    say("judging the history, and bringing one more day")
    day = lake.with_name("day.csv")
    measure.run(measure.rsd("find", lake, "--format", "json"))
    measure.run(measure.python("baselines", "day", day, str(rows // DAY_SHARE)))
    measure.run(measure.rsd("ingest", lake, day))
    held = Race([
        Competitor(EVERYTHING, lambda place: measure.rsd(
            "find", place / "lake", "--everything", "--format", "json"), prepare=linked(lake)),
        Competitor(DAY, lambda place: measure.rsd("find", place / "lake", "--format", "json"),
                   EVERYTHING, prepare=linked(lake)),
    ]).hold(rounds, say)
    show(f"Findings after one more day of {rows // DAY_SHARE:,} passes, {rows:,} in the lake",
         held.table())
    return held


@pytest.mark.benchmark(group="findings of a day", timer=CLOCK)
@pytest.mark.parametrize("name", [EVERYTHING, DAY])
def test_a_day(name: str, daily: Race, benchmark) -> None:
    """Both bring the same findings."""
    daily.replay(name, benchmark)
    assert daily.runs[DAY][0].answer == daily.runs[EVERYTHING][0].answer
