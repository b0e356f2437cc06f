"""Processes measured from outside, against each other, round by round, and the table of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_LAUNCHER = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
wall = time.perf_counter() - begin
json.dump({"code": os.waitstatus_to_exitcode(status), "wall_s": wall,
           "cpu_s": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss}, open(sys.argv[1], "w"))
"""
"""Starts the process and waits for it. A small process of its own, because on Linux the peak memory
of a child begins with the size of the process that it was forked from."""

_PEAK_UNITS_PER_MIB = 1 << 20 if sys.platform == "darwin" else 1 << 10  # bytes there, KiB here


@dataclass(frozen=True)
class Run:
    """What one process took, start-up and imports included, and what it printed."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str

    @property
    def answer(self) -> Any:
        """The JSON that the process printed."""
        return json.loads(self.output)


def run(command: Sequence[str | Path]) -> Run:
    """Run a command to its end; AssertionError if it fails."""
    os.sync()  # what others wrote is not written during this one
    with tempfile.TemporaryDirectory(prefix="rsd-bench-") as scratch:
        report = Path(scratch) / "report.json"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", _LAUNCHER, report, *command],
                              cwd=ROOT, env=_environment(), capture_output=True, text=True,
                              check=True)
        facts = json.loads(report.read_text())
    assert facts["code"] == 0, f"{command}: exit {facts['code']}\n{done.stderr[-2000:]}"
    return Run(facts["wall_s"], facts["cpu_s"], facts["peak"] / _PEAK_UNITS_PER_MIB, done.stdout)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("RSD_", "PYTEST"))}


def python(module: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs a module of the benchmarks."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]


def rsd(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of rsd."""
    return [Path(sys.executable).with_name("rsd"), *arguments]


class Clock:
    """A clock that goes on only by what measured processes took.

    Competitors run in turn, before pytest-benchmark asks for them; with this as its timer it
    reports each process's own wall time.
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def replay(self, runs: list[Run]) -> Callable[[], Run]:
        """Return a function that takes the next run's time, and gives the run."""
        left = iter(runs)

        def take() -> Run:
            done = next(left)
            self.now += done.wall_s
            return done

        return take


CLOCK = Clock()


@dataclass(frozen=True)
class Competitor:
    """One way to do a work.

    ``command`` is given a fresh folder, which may already hold what ``prepare`` put there.
    ``beside`` names the competitor that its time is divided by, ``target`` the largest quotient
    that the project wants, with ``at_least`` the smallest. ``most_rounds`` spares a slow one.
    """

    name: str
    command: Callable[[Path], Sequence[str | Path]]
    beside: str | None = None
    target: float | None = None
    at_least: bool = False
    most_rounds: int | None = None
    prepare: Callable[[Path], object] | None = None
    check: Callable[[Run], object] | None = None


@dataclass
class Race:
    """Runs of competitors in turn, so that what disturbs the machine disturbs them alike."""

    competitors: Sequence[Competitor]
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def hold(self, rounds: int, say: Callable[[str], object]) -> Race:
        """Run every competitor once a round."""
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for competitor in self.competitors:
                if competitor.most_rounds is None or number < competitor.most_rounds:
                    self.runs.setdefault(competitor.name, []).append(_once(competitor))
        return self

    def replay(self, name: str, benchmark: Any) -> None:
        """Give a competitor's runs to pytest-benchmark, whose timer must be `CLOCK`."""
        competitor = next(c for c in self.competitors if c.name == name)
        benchmark.pedantic(CLOCK.replay(self.runs[name]), rounds=len(self.runs[name]))
        benchmark.extra_info.update(self.facts(competitor))

    def ratio(self, competitor: Competitor, measure: str) -> float | None:
        """Return the median over rounds of the quotient to the competitor that it stands beside."""
        if competitor.beside is None:
            return None
        pairs = zip(self.runs[competitor.name], self.runs[competitor.beside], strict=False)
        quotients = [getattr(a, measure) / getattr(b, measure) for a, b in pairs]
        return median(quotients)

    def median(self, name: str, measure: str) -> float:
        """Return the median of a measure of a competitor."""
        return median(getattr(r, measure) for r in self.runs[name])

    def peak_mib(self, name: str) -> float:
        """Return the largest peak memory of a competitor's runs."""
        return max(r.peak_mib for r in self.runs[name])

    def facts(self, competitor: Competitor) -> dict[str, Any]:
        """Return what is kept beside the wall time in the machine-readable report."""
        name = competitor.name
        return {
            "wall_s": [r.wall_s for r in self.runs[name]],
            "cpu_s": [r.cpu_s for r in self.runs[name]], "peak_mib": self.peak_mib(name),
            "beside": competitor.beside, "target": competitor.target,
            "wall_ratio": self.ratio(competitor, "wall_s"),
            "cpu_ratio": self.ratio(competitor, "cpu_s"),
        }

    def table(self, digits: int = 2) -> list[str]:
        """Return the lines of the table of this race."""
        rows = [("", "wall s", "(min … max)", "cpu s", "wall ×", "cpu ×", "target ×", "to",
                 "peak MiB")]
        for c in self.competitors:
            walls = [r.wall_s for r in self.runs[c.name]]
            wall, cpu = self.ratio(c, "wall_s"), self.ratio(c, "cpu_s")
            sign = "≥" if c.at_least else "≤"
            rows.append((
                c.name, f"{median(walls):.{digits}f}",
                f"{min(walls):.{digits}f} … {max(walls):.{digits}f}",
                f"{self.median(c.name, 'cpu_s'):.{digits}f}",
                "" if wall is None else f"{wall:.2f}", "" if cpu is None else f"{cpu:.2f}",
                "" if c.target is None else f"{sign} {c.target:g}",
                c.beside or "", f"{self.peak_mib(c.name):,.0f}"))
        return columns(rows)


def _once(competitor: Competitor) -> Run:
    place = Path(tempfile.mkdtemp(prefix="rsd-bench-"))
    try:
        if competitor.prepare is not None:
            competitor.prepare(place)
        done = run(competitor.command(place))
        if competitor.check is not None:
            competitor.check(done)
        return done
    finally:
        shutil.rmtree(place)


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows of text as lines; columns of numbers stand to the right."""
    rows = list(rows)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    is_text = [k == 0 or not any(row[k][:1].isdigit() for row in rows[1:])
               for k in range(len(widths))]
    return ["  ".join(cell.ljust(width) if text else cell.rjust(width)
                      for cell, width, text in zip(row, widths, is_text, strict=True)).rstrip()
            for row in rows]
