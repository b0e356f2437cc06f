"""Intake, scoring and the whole nightly run beside a bare parse and beside pandas, in one run.

Every competitor is a fresh process on the same records. What is asserted is what came out, never
how long it took.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import dumps, measure
from benchmarks.measure import CLOCK, Competitor, Race, Run

FLOOR = "bare typed parse"
INGEST = "rsd ingest"
PANDAS = "pandas (1 round)"
NAMES = (
    FLOOR, INGEST, "rsd run", "gzip", "GB18030", "one bad in 600", "registry", "one file",
    "100 files", PANDAS,
)
INGEST_TARGET, RUN_TARGET = 1.8, 2.2
GZIP_TARGET, GB18030_TARGET, DAMAGED_TARGET, PANDAS_TARGET = 1.3, 1.4, 1.5, 8.0
PEAK_TARGET_MIB = 1024


def _made(data: Path, *, with_registry: bool = False) -> Callable[[Path], object]:
    beside = ["--registry", data / "registry.csv"] if with_registry else []
    return lambda place: measure.run(
        measure.rsd("init", place / "lake", "--sites", data / "sites.csv", *beside))


def _rsd(verb: str, folder: Path) -> Callable[[Path], list[str | Path]]:
    return lambda place: measure.rsd(
        verb, place / "lake", folder, "--max-quarantine", "1", "--format", "json")


def _balanced(records: int, quarantined: int = 0) -> Callable[[Run], None]:
    def check(done: Run) -> None:
        totals = json.loads(done.output)["totals"]
        assert totals["records"] == records
        assert totals["quarantined"] == quarantined
        assert totals["accepted"] == records - quarantined

    return check


@pytest.fixture(scope="module")
def race(data: Path, clean: list[Path], rows: int, rounds: int, say: Callable[[str], None],
         show: Callable[[str, list[str]], None]) -> Race:
    """All rounds of all competitors."""
    per_file = [rows * (k + 1) // len(clean) - rows * k // len(clean) for k in range(len(clean))]
    bad = sum(dumps.count_damaged(n) for n in per_file)
    whole, init = _balanced(rows), _made(data)

    def ours(name: str, verb: str, folder: str, beside: str, target: float | None = None,
             check: Callable[[Run], None] = whole,
             prepare: Callable[[Path], object] = init) -> Competitor:
        return Competitor(name, _rsd(verb, data / folder), beside, target, prepare=prepare,
                          check=check)

    competitors = [
        Competitor(FLOOR, lambda _: measure.python("baselines", "parse", *clean)),
        ours(INGEST, "ingest", "clean", FLOOR, INGEST_TARGET),
        ours("rsd run", "run", "clean", FLOOR, RUN_TARGET),
        ours("gzip", "ingest", "gzip", INGEST, GZIP_TARGET),
        ours("GB18030", "ingest", "gb18030", INGEST, GB18030_TARGET),
        ours("one bad in 600", "ingest", "damaged", INGEST, DAMAGED_TARGET,
             check=_balanced(rows, bad)),
        ours("registry", "ingest", "clean", INGEST, prepare=_made(data, with_registry=True)),
        ours("one file", "ingest", "one", INGEST),
        ours("100 files", "ingest", "hundred", INGEST),
        Competitor(PANDAS, lambda place: measure.python("baselines", "pandas", place, *clean),
                   "rsd run", PANDAS_TARGET, at_least=True, most_rounds=1),
    ]
    held = Race(competitors).hold(rounds, say)
    _show(held, rows, show)
    return held


def _show(race: Race, rows: int, show: Callable[[str, list[str]], None]) -> None:
    rate = rows / race.median("rsd run", "wall_s")
    peak = max(race.peak_mib(n) for n in NAMES if n not in (FLOOR, PANDAS))
    show(f"A night's dumps, {rows:,} records", [
        *race.table(),
        f"rsd run: {rate:,.0f} records a second; largest peak of all rsd runs {peak:,.0f} MiB, "
        f"target ≤ {PEAK_TARGET_MIB:,} MiB"])


@pytest.mark.benchmark(group="a night's dumps", timer=CLOCK)
@pytest.mark.parametrize("name", NAMES)
def test_night(name: str, race: Race, benchmark) -> None:
    """Each account was balanced, and both ways convict as many vehicles."""
    race.replay(name, benchmark)
    if name == PANDAS:
        ours, theirs = (race.runs[n][0].answer["findings"] for n in ("rsd run", PANDAS))
        assert ours["total"] == theirs


@pytest.mark.benchmark(group="spoilt records")
def test_spoilt_records_in_pandas(data: Path, tmp_path: Path, benchmark,
                                  show: Callable[[str, list[str]], None]) -> None:
    """What pandas makes of records that rsd, in the race above, quarantined to the last."""
    path = min((data / "damaged").iterdir())
    records = path.read_bytes().count(b"\n") - 1
    spoilt = dumps.count_damaged(records)
    command = measure.python("baselines", "pandas", tmp_path / "out", path)
    found = benchmark.pedantic(measure.run, args=(command,)).answer
    quarantined = found["quarantined"]
    lost = records - found["accepted"] - quarantined - found["duplicates"]
    show(f"{spoilt:,} spoilt of {records:,} records", [
        f"rsd: {spoilt:,} quarantined with their bytes",
        f"pandas: {quarantined:,} quarantined, {lost:,} lost without a word, "
        f"{spoilt - quarantined - lost:,} taken for good"])
    assert found["accepted"] >= records - spoilt


@pytest.mark.benchmark(group="stages")
def test_stages(data: Path, clean: list[Path], rows: int, tmp_path: Path, benchmark,
                show: Callable[[str, list[str]], None]) -> None:
    """Where the time goes; every chunk of a clean dump is proven on the fast path."""
    _made(data)(tmp_path)
    command = measure.python("stages", tmp_path / "lake", *clean)
    answer = benchmark.pedantic(measure.run, args=(command,)).answer
    stages = answer["cpu_s"]
    cpu = sum(stages.values())
    lines = [("stage", "cpu s", "%", "µs a record")]
    for name, spent in [*stages.items(), ("sum", cpu)]:
        share, each = 100 * spent / cpu, spent / rows * 1e6
        lines.append((name, f"{spent:.2f}", f"{share:.1f}", f"{each:.2f}"))
    show("CPU time of the stages of rsd run, start-up left out", measure.columns(lines))
    benchmark.extra_info.update(stages)
    assert answer["slow_chunks"] == 0
