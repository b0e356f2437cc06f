"""A format bound to one header: which cell is what, and the strict typed parse of whole rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import polars as pl

from rsd import clock
from rsd.intake.formats import Format


@dataclass(frozen=True)
class Layout:
    """The columns of one header in order, as the format reads them.

    ``names`` are folded source names, made unique where blank. A frame "of the layout" has the
    columns `used`: numbers as Float64, everything else as String, and the parsed time as
    ``measured_local``; blank cells and the format's null texts are null.
    """

    format: Format
    names: tuple[str, ...]
    timezone: str
    time: str = field(default="")

    @classmethod
    def of(cls, fmt: Format, header: list[str], timezone: str) -> Layout:
        """Bind a format to a folded header."""
        names = tuple(n or f"\0{k}" for k, n in enumerate(header))
        time = next(n for n in fmt.time_columns if n in names)
        return cls(fmt, names, timezone, time)

    @property
    def separator(self) -> int:
        """The byte between two cells."""
        return ord(self.format.separator)

    @cached_property
    def reals(self) -> tuple[str, ...]:
        """Source columns that hold numbers."""
        return tuple(n for n in self.names if n in self.format.real)

    @cached_property
    def used(self) -> tuple[str, ...]:
        """Source columns that rsd reads."""
        f = self.format
        classes = {f.vehicle_class[0]} if f.vehicle_class else set()
        wanted = {self.time, *f.text, *f.date, *f.real, *f.code, *classes}
        return tuple(n for n in self.names if n in wanted)

    @cached_property
    def ignored(self) -> list[str]:
        """Columns of the header that the format does not know."""
        return [n for n in self.names if n not in self.format.names() and not n.startswith("\0")]

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Source columns whose cells may not be blank: the site and the time."""
        site = [n for n in self.names if self.format.text.get(n) == "site_id"]
        return (*site, self.time)

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """Numbers that must be whole."""
        return tuple(n for n in self.reals if self.format.real[n].whole)

    @cached_property
    def _schema(self) -> pl.Schema:
        reals = set(self.reals)
        return pl.Schema([(n, pl.Float64 if n in reals else pl.String) for n in self.names])

    def parse_strict(self, data: bytes) -> pl.DataFrame | None:
        """Parse whole UTF-8 rows; None where anything at all is not what its column needs.

        No column is left out of the parse: with a projection Polars takes long rows in silence.
        """
        try:
            frame = pl.read_csv(data, has_header=False, schema=self._schema, quote_char=None,
                                separator=self.format.separator,
                                null_values=list(self.format.null_text) or None,
                                low_memory=False).select(self.used)
        except (pl.exceptions.PolarsError, OverflowError):
            return None
        if not self._numbers_are_sound(frame):
            return None
        if any(frame[name].null_count() for name in self.required):
            return None
        timed = self._with_time(frame)
        if timed is None or any(not _dates_are_sound(timed[n]) for n in self.dates):
            return None
        return timed

    @cached_property
    def dates(self) -> tuple[str, ...]:
        """Source columns that hold dates."""
        return tuple(n for n in self.names if n in self.format.date)

    def _numbers_are_sound(self, frame: pl.DataFrame) -> bool:
        # a sum is finite only if every addend is; one pass instead of one per cell
        if not self.reals:
            return True
        total = pl.col(self.reals).sum()
        sums = frame.select(total.is_finite() | total.is_null())
        whole = frame.select((pl.col(n) == pl.col(n).floor()).all() for n in self.whole)
        return all(sums.row(0)) and (not self.whole or all(whole.row(0)))

    def _with_time(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        for pattern in self.format.time_formats:
            try:
                local = clock.parse_local(pl.col(self.time), pattern)
                timed = frame.with_columns(
                    clock.afternoon(local, self.format.afternoon_hours).alias("measured_local"))
            except pl.exceptions.PolarsError:
                return None
            if timed["measured_local"].null_count():
                continue
            if clock.may_skip_an_hour(self.timezone, *_span(timed)):
                return None
            return timed
        return None


def _span(frame: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    low, high = frame.select(pl.col("measured_local").min().alias("low"),
                             pl.col("measured_local").max().alias("high")).row(0)
    return low, high


def _dates_are_sound(dates: pl.Series) -> bool:
    parsed = pl.select(clock.parse_date(dates)).to_series()
    return parsed.null_count() == dates.null_count()
