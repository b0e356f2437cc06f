"""A format bound to one header: which cell is what, and the strict typed parse of whole rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from rsd import clock
from rsd.columns import REPORTED, travelling
from rsd.intake.formats import Format, bind
from rsd.intake.times import read_naive

LABEL = pl.Categorical()
_TRAVELS = travelling(REPORTED)
_BLOCK_BYTES = 1 << 18  # what stays in the processor's cache

_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Layout:
    """The columns of one header in order, as the format reads them.

    ``names`` are folded source names, made unique where blank. A frame "of the layout" has the
    columns `used`: numbers as Float64, `labels` as Categorical (as String from the careful path),
    everything else as String, and the parsed time as ``measured_local``; blank cells and the
    format's null texts are null.
    """

    format: Format
    names: tuple[str, ...]
    timezone: str
    time: str = field(default="")
    clock: str = field(default="")
    site: str = field(default="")

    @classmethod
    def of(cls, fmt: Format, header: list[str], timezone: str, *, separator: str | None = None,
           site: str = "") -> Layout:
        """Bind a format to a folded header.

        ``site`` is the place of all records where the format says that the file's name tells it.
        """
        bound = bind(fmt, header, separator)
        names = tuple(n or f"\0{k}" for k, n in enumerate(bound.names))
        times = [(n, "") for n in fmt.time_columns if n in names]
        times += [(d, c) for d, c in fmt.time_pairs if d in names and c in names]
        has_site = any(fmt.text.get(n) == "site_id" for n in names)
        site = site if fmt.site_from_file and not has_site else ""
        return cls(bound.format, names, timezone, *times[0], site)

    @property
    def time_text(self) -> pl.Expr:
        """The time as it came; a date and a clock in two columns are joined by a blank."""
        if not self.clock:
            return pl.col(self.time)
        return pl.concat_str(pl.col(self.time), pl.col(self.clock), separator=" ")

    @property
    def separator(self) -> int:
        """The byte between two cells."""
        return ord(self.format.separator)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Source columns that hold texts of few values: codes, places, classes."""
        f = self.format
        if f.long:
            return ()  # its rows are joined as text first
        texts = {n for n, target in f.text.items() if _TRAVELS[target] != pl.String}
        classes = {f.vehicle_class[0]} if f.vehicle_class else set()
        return tuple(n for n in self.names if n in texts | set(f.code) | classes)

    @cached_property
    def reals(self) -> tuple[str, ...]:
        """Source columns that hold numbers."""
        value = self.format.long.value if self.format.long else None
        return tuple(n for n in self.names if n in self.format.real or n == value)

    @cached_property
    def used(self) -> tuple[str, ...]:
        """Source columns that rsd reads."""
        f = self.format
        classes = {f.vehicle_class[0]} if f.vehicle_class else set()
        wanted = {self.time, self.clock, *f.text, *f.date, *f.real, *f.code, *f.valid, *classes}
        if f.long:
            wanted |= {f.long.key, f.long.parameter, f.long.value, f.long.unit}
        return tuple(n for n in self.names if n in wanted)

    @cached_property
    def ignored(self) -> list[str]:
        """Columns of the header that the format does not know."""
        return [n for n in self.names if n not in self.format.names() and not n.startswith("\0")]

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Source columns whose cells may not be blank: the site and the time."""
        site = [n for n in self.names if self.format.text.get(n) == "site_id"]
        clock_column = (self.clock,) if self.clock else ()
        rows = (self.format.long.key, self.format.long.parameter) if self.format.long else ()
        return (*site, self.time, *clock_column, *rows)

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """Numbers that must be whole."""
        return tuple(n for n in self.reals if n in self.format.real and self.format.real[n].whole)

    @cached_property
    def _schema(self) -> pl.Schema:
        types = dict.fromkeys(self.labels, LABEL) | dict.fromkeys(self.reals, pl.Float64())
        return pl.Schema([(n, types.get(n, pl.String())) for n in self.names])

    def parse_strict(self, data: bytes, rows: int) -> pl.DataFrame | None:
        """Parse so many UTF-8 rows; None where anything at all is not what its column needs.

        No column is left out of the parse: with a projection Polars takes long rows in silence.
        """
        whole = self._parse(data)
        if whole is None or whole.height != rows:
            return None
        # a short row is filled with nulls, so that its last cell is one
        if whole[self.names[-1]].null_count() and (
                _count_byte(data, self.separator) != rows * (len(self.names) - 1)):
            return None
        frame = whole.select(self.used)
        if not self._numbers_are_sound(frame):
            return None
        if any(frame[name].null_count() for name in self.required):
            return None
        timed = self._with_time(frame)
        if timed is None or any(not _dates_are_sound(timed[n]) for n in self.dates):
            return None
        return timed

    def blanks_in_times(self, frame: pl.DataFrame) -> int:
        """Return how many blanks the times of a strict parse hold: all have one shape."""
        if self.clock or frame.is_empty():
            return 0
        return int(frame.height * frame[self.time][0].count(" "))

    def parse_lenient(self, data: bytes) -> pl.DataFrame | None:
        """Parse whole UTF-8 rows; a cell that is not what its column needs is null, as a blank is.

        None where Polars cannot parse at all. Times and dates are still text.
        """
        frame = self._parse(data, ignore_errors=True)
        return None if frame is None else frame.select(self.used)

    def parse_text(self, data: bytes) -> pl.DataFrame:
        """Parse whole UTF-8 rows, every cell as the text that it is; only ``""`` is null."""
        text = pl.Schema(dict.fromkeys(self.names, pl.String))
        if not data:
            return pl.DataFrame(schema=text).select(self.used)
        return pl.read_csv(_marked(data), has_header=False, schema=text, quote_char=None,
                           separator=self.format.separator).select(self.used)

    def _parse(self, data: bytes, *, ignore_errors: bool = False) -> pl.DataFrame | None:
        try:
            return pl.read_csv(_marked(data), has_header=False, schema=self._schema,
                               quote_char=None, separator=self.format.separator,
                               null_values=list(self.format.null_text) or None,
                               ignore_errors=ignore_errors, low_memory=False)
        except (pl.exceptions.PolarsError, OverflowError):
            return None

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
                local, second = read_naive(self.time_text, self.format, self.timezone, (pattern,))
                more = [] if second is None else [second.alias("is_second_hour")]
                timed = frame.with_columns(local.alias("measured_local"), *more)
            except pl.exceptions.PolarsError:
                return None
            if timed["measured_local"].null_count():
                continue
            if not self.format.time_zone and clock.may_skip_an_hour(self.timezone, *_span(timed)):
                return None
            return timed
        return None


def _marked(data: bytes) -> bytes:
    """Return rows with a mark before them if they begin with one, which Polars would take away."""
    return _MARK + data if data.startswith(_MARK) else data


def _count_byte(data: bytes, byte: int) -> int:
    view = np.frombuffer(data, np.uint8)
    return sum(int(np.count_nonzero(view[start:start + _BLOCK_BYTES] == byte))
               for start in range(0, view.size, _BLOCK_BYTES))


def _span(frame: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    low, high = frame.select(pl.col("measured_local").min().alias("low"),
                             pl.col("measured_local").max().alias("high")).row(0)
    return low, high


def _dates_are_sound(dates: pl.Series) -> bool:
    parsed = pl.select(clock.parse_date(dates)).to_series()
    return parsed.null_count() == dates.null_count()
