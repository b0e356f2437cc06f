"""Some rows of a file as arrays, and what they would be if a column were in another unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.errors import UsageError
from rsd.units import to_canonical

MIN_VALUES: Final = 200
"""Values below which nothing is said: a handful of odd vehicles is no distribution."""
_MORE_UNITS = {"% of CO2": 1e-2, "ppm of CO2": 1e-6}  # a ratio in percent, in millionths
_RUN = {"%": 0.01, "rise/run": 1.0}  # rise/run in one unit of a slope

Array = npt.NDArray[Any]


def quantile(values: Array, share: float) -> float:
    """Return the value below which a share of some finite values lies: one of them (NaN of none).

    >>> quantile(np.array([3.0, 1.0, 2.0]), 0.5)
    2.0
    """
    if not values.size:
        return float("nan")
    place = min(values.size - 1, int(share * values.size))
    return float(np.partition(values, place)[place])


def median(values: Array) -> float:
    """Return the middle one of some finite values."""
    return quantile(values, 0.5)


@dataclass(frozen=True)
class Declared:
    """A column's name in the source, the unit that the format declares, and our unit."""

    source: str
    unit: str
    canonical: str


@dataclass(frozen=True)
class Sample:
    """Some rows of a file: Float64 arrays of one length, NaN for null, and the site of each."""

    columns: Mapping[str, Array]
    site: Array
    declared: Mapping[str, Declared]

    @classmethod
    def of(cls, frame: pl.DataFrame, declared: Mapping[str, Declared]) -> Sample:
        """Return the sample of a frame with ``site_id`` and the declared columns."""
        names = [c for c in declared if c in frame.columns]
        table = frame.select(names).to_numpy()
        codes = frame["site_id"].fill_null("").rank("dense").to_numpy()
        return cls(dict(zip(names, table.T, strict=True)), codes, declared)

    def __contains__(self, column: str) -> bool:
        """Say whether a column has enough values to be judged by."""
        return column in self.columns and self.values(column).size >= MIN_VALUES

    def values(self, column: str) -> Array:
        """Return the values that are there."""
        values = self.columns.get(column, np.empty(0))
        found: Array = values[np.isfinite(values)]
        return found

    def rows(self, *columns: str) -> tuple[Array, ...]:
        """Return columns of the rows that have all of them."""
        whole = np.all([np.isfinite(self.columns[c]) for c in columns], axis=0)
        return tuple(self.columns[c][whole] for c in columns)

    def part(self, rows: Array) -> Sample:
        """Return some rows, by a mask or by numbers."""
        return replace(self, columns={c: v[rows] for c, v in self.columns.items()},
                       site=self.site[rows])

    def with_unit(self, column: str, unit: str) -> Sample:
        """Return the sample as if a column were in another unit."""
        values = converted(self.columns[column], self.declared[column], unit)
        return replace(self, columns={**self.columns, column: values})


def converted(values: Array, declared: Declared, unit: str) -> Array:
    """Return canonical values of a column that is in ``unit`` and was read as declared."""
    return _forward(_back(values, declared), unit, declared.canonical)


def _back(values: Array, declared: Declared) -> Array:
    """Return what stood in the file, of canonical values."""
    if declared.canonical == "degree" and declared.unit in _RUN:
        return np.tan(np.radians(values)) * (1 / _RUN[declared.unit])
    offset = float(to_canonical(0.0, declared.unit, declared.canonical))
    factor = float(to_canonical(1.0, declared.unit, declared.canonical)) - offset
    return (values - offset) * (1 / factor)


def _forward(raw: Array, unit: str, canonical: str) -> Array:
    if unit in _MORE_UNITS:
        return raw * _MORE_UNITS[unit]
    if canonical == "degree" and unit in _RUN:
        # the arc tangent itself: absurd slopes stay absurd, where a polynomial need not
        return np.degrees(np.arctan(raw * _RUN[unit]))
    try:
        return np.asarray(to_canonical(raw, unit, canonical))
    except UsageError:  # a unit that this rsd cannot convert explains nothing
        return np.full_like(raw, np.nan)
