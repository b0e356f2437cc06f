"""Is a column in the unit that its format declares? Judged by a whole file, before it is stored.

Two kinds of evidence. The range: figures that no road, fleet or instrument gives (`ranges.toml`).
And the record itself (`rsd.intake.cross_checks`): specific power against speed, acceleration and
slope; concentrations against ratios; the carbon balance. A doubt is raised only where the declared
unit cannot be right and another one explains the values; a file of few values is never doubted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from rsd.columns import REPORTED
from rsd.intake import cross_checks
from rsd.intake.cross_checks import Suspicion
from rsd.intake.figures import (
    MIN_VALUES,
    Array,
    Declared,
    Sample,
    converted,
    median,
    quantile,
)
from rsd.intake.layout import Layout
from rsd.units import unit_named

ROWS_A_CHUNK = 1000
"""Rows that are looked at of a chunk of some 80,000: a quantile of a thousand is good to 1 %."""
_MOST_ROWS = 1 << 16
_FILE = Path(__file__).parent / "ranges.toml"
_CANONICAL = {c.name: c.unit for c in REPORTED}


@dataclass(frozen=True)
class Range:
    """What the values of a column look like, in its canonical unit (`ranges.toml`)."""

    statistic: str
    possible: tuple[float, float]
    usual: tuple[float, float]
    units: tuple[str, ...]
    reason: str

    def figure(self, values: Array) -> float:
        """Return the figure that the bounds speak of."""
        if self.statistic == "median":
            return median(values)
        return quantile(np.abs(values[values != 0.0]), 0.9)

    def is_usual(self, values: Array) -> bool:
        """Say whether the figure of some values lies where it usually does."""
        return self.usual[0] <= self.figure(values) <= self.usual[1]


@cache
def ranges() -> Mapping[str, Range]:
    """Return the ranges by column."""
    raw = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {name: Range(r["statistic"], (r["possible"][0], r["possible"][1]),
                        (r["usual"][0], r["usual"][1]), tuple(r["units"]), r["reason"])
            for name, r in raw.items()}


@dataclass(frozen=True)
class Doubt:
    """A column that is likely in another unit than its format declares.

    ``column`` is ours, ``source`` the name in the header, ``likely`` the units that would explain
    the values, ``evidence`` the figures in words.
    """

    column: str
    source: str
    declared: str
    likely: tuple[str, ...]
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        """Return the doubt in words: what, why, and what to do."""
        unit = next(filter(unit_named, self.likely), self.declared)
        return (f"column {self.source} ({self.column}): declared {self.declared}, likely "
                f"{' or '.join(self.likely)}: {'; '.join(self.evidence)}. Ask who made the file; "
                "if its unit is another one, read it by a format that says so, or say so in its "
                f"header: {self.source} ({unit}).")


class RangeProfile:
    """The figures of one file; `add` its chunks, then ask for `findings`.

    Args:
        declared: our column → its name in the source, and the unit that the format declares.
    """

    def __init__(self, declared: Mapping[str, tuple[str, str]]) -> None:
        self._declared = {c: Declared(n, unit, _CANONICAL[c]) for c, (n, unit) in declared.items()
                          if c in _CANONICAL}
        self._parts: list[pl.DataFrame] = []
        self._rows = 0

    @classmethod
    def of(cls, layout: Layout) -> RangeProfile:
        """Return the empty profile of a file with this layout."""
        reals = layout.format.real
        declared = {n: reals[n] for n in layout.reals if n in reals}
        if layout.format.long is not None:
            declared |= layout.format.long.parameters
        return cls({r.to: (n, r.unit) for n, r in declared.items()})

    def add(self, frame: pl.DataFrame) -> None:
        """Look at every so-manieth row of a chunk of reported passes (canonical units)."""
        if not self._declared or frame.is_empty():
            return
        wanted = [c for c in self._declared if c in frame.columns]
        thin = frame.select("site_id", *wanted)
        if (step := frame.height // ROWS_A_CHUNK) > 1:
            thin = thin[pl.int_range(0, frame.height, step, eager=True)]
        thin = thin.with_columns(pl.col("site_id").cast(pl.String))
        self._parts.append(thin)
        self._rows += thin.height
        if self._rows > _MOST_ROWS:  # of a huge file every second row: it stays a sample of all
            self._parts = [pl.concat(self._parts).gather_every(2)]
            self._rows = self._parts[0].height

    def clear(self) -> None:
        """Forget every row."""
        self._parts, self._rows = [], 0

    def findings(self) -> list[Doubt]:
        """Return the columns in doubt, in the order of the format; none for a small file."""
        if self._rows < MIN_VALUES:
            return []
        sample = Sample.of(pl.concat(self._parts), self._declared)
        found: dict[str, Suspicion] = {}
        for column in self._declared:
            if (doubt := _beyond(column, sample)) is not None:
                found[column] = doubt
                if len(doubt.likely) == 1 and column not in cross_checks.MOTION:
                    sample = sample.with_unit(column, doubt.likely[0])
        for check in cross_checks.CHECKS:
            for column, doubt in check(sample, ranges()).items():
                earlier = found.get(column)
                found[column] = doubt if earlier is None else replace(
                    doubt, evidence=(*earlier.evidence, *doubt.evidence))
                if len(doubt.likely) == 1:
                    sample = sample.with_unit(column, doubt.likely[0])
        return [Doubt(c, d.source, d.unit, found[c].likely, found[c].evidence)
                for c, d in self._declared.items() if c in found]


def _beyond(column: str, sample: Sample) -> Suspicion | None:
    """Return the doubt about a column whose figure no road gives but another unit explains."""
    expected = ranges().get(column)
    values = sample.values(column)
    if expected is None or np.count_nonzero(values) < MIN_VALUES:
        return None
    figure, (low, high) = expected.figure(values), expected.possible
    if low <= figure <= high:
        return None
    declared = sample.declared[column]
    likely = tuple(u for u in expected.units if u != declared.unit
                   and expected.is_usual(converted(values, declared, u)))
    if not likely:
        return None
    what = ("the median is" if expected.statistic == "median"
            else "nine tenths of the values that are not 0 are at most")
    raw = f"{figure:.4g} {declared.canonical}"
    then = ", ".join(f"{expected.figure(converted(values, declared, u)):.4g} {declared.canonical} "
                     f"if the column is in {u}" for u in likely)
    return Suspicion(likely, (f"{what} {raw} as declared ({values.size:,} values), where "
                              f"{low:g} to {high:g} is possible; {then}",))
