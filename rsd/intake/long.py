"""Long dumps: one row a measured value; the consecutive rows of one pass become one record.

The account is kept by rows and passes: every row is part of exactly one pass, or is one quarantined
record, or is blank. A file's records are its passes and its quarantined rows, so that records =
accepted + quarantined + duplicates holds as everywhere, and rows = rows of passes + quarantined.

A row that cannot be used never takes its pass with it. Memory holds one chunk, the rows of the one
pass that is still open at its end, and eight bytes for every pass that is closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.columns import QUARANTINE, REPORTED, empty
from rsd.errors import InputRefused
from rsd.intake.chunks import Chunk
from rsd.intake.codes import fold
from rsd.intake.format_file import Format, Long, with_basis
from rsd.intake.layout import Layout
from rsd.intake.lines import find_lines
from rsd.intake.passes import to_reported
from rsd.intake.source import Source
from rsd.units import unit_named

_MOST_APART = 1000
_SHARE_APART = 0.1
_MOST_IGNORED = 20
_NAME = r"^[a-z][a-z0-9_ .%/-]{0,30}$"

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Rows:
    """Accepted rows of a chunk (a frame of the layout), its quarantine, and where they stand."""

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    chunk: Chunk
    first_line: int


@dataclass
class _Closed:
    """Hashes of the passes that are closed, in sorted runs of about doubling length."""

    runs: list[Hashes] = field(default_factory=list)

    def holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        found = np.zeros(hashes.size, bool)
        for run in self.runs:
            at = np.minimum(np.searchsorted(run, hashes), run.size - 1)
            found |= run[at] == hashes
        return found

    def add(self, hashes: Hashes) -> None:
        if not hashes.size:
            return
        new = np.sort(hashes)
        while self.runs and self.runs[-1].size <= new.size:
            new = np.sort(np.concatenate([self.runs.pop(), new]))
        self.runs.append(new)


class Joiner:
    """Joins rows to passes, chunk after chunk in the file's order."""

    def __init__(self, layout: Layout, source: Source) -> None:
        if layout.format.long is None:
            raise AssertionError("the format is not long")
        self.layout, self.source, self.long = layout, source, layout.format.long
        self._wide = _wide_layout(layout, self.long)
        self._open: pl.DataFrame | None = None
        self._closed = _Closed()
        self._rows, self._apart = 0, 0

    def add(self, rows: Rows) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the passes that these rows close, and the quarantine with the rows that fail.

        Raises:
            InputRefused: the rows of the passes do not stand together.
        """
        named = self._named(rows.frame)
        unit_is_other = self._unit_is_other(named)
        bad = [_blamed(named.filter(unit_is_other), "other_unit", self.long.unit)]
        ordered = _stacked(self._open, named.filter(~unit_is_other))
        judged = self._judged(ordered)
        bad += [_blamed(judged.filter(pl.col("fault") == name), name, column)
                for name, column in self._faults()]
        self._rows += named.height
        self._apart += bad[-1].height
        if self._apart > max(_MOST_APART, _SHARE_APART * self._rows):
            raise self._refusal()
        good = judged.filter(pl.col("fault").is_null()).drop("fault")
        is_open = pl.col("pass") == pl.col("pass").max()
        self._open = good.filter(is_open).drop("pass")
        quarantine = pl.concat([rows.quarantine, self._quarantined(pl.concat(bad), rows)])
        return self._passes(good.filter(~is_open)), quarantine.sort("line")

    def close(self) -> pl.DataFrame:
        """Return the last pass."""
        rest, self._open = self._open, None
        if rest is None:
            return empty(REPORTED)
        return self._passes(rest.with_columns(pl.lit(0).alias("pass")))

    def _named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with ``name``, the parameter as the format names it, null if unknown."""
        texts = frame[self.long.parameter].unique().to_list()
        folded = {t: fold(t) for t in texts}
        self._note_ignored(set(folded.values()) - set(self.long.parameters) - self.long.known)
        known = {t: f for t, f in folded.items() if f in self.long.parameters}
        name = pl.col(self.long.parameter).replace_strict(
            list(known), list(known.values()), default=None, return_dtype=pl.String)
        if "is_second_hour" not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.Boolean).alias("is_second_hour"))
        return frame.with_columns(name.alias("name"))

    def _note_ignored(self, names: set[str]) -> None:
        """Name the parameters that are read over where the columns are named that are."""
        clean = pl.Series(sorted(names), dtype=pl.String)
        ignored = self.layout.ignored
        for name in clean.filter(clean.str.contains(_NAME)):
            text = f"{self.long.parameter}={name}"
            if text not in ignored and len(ignored) < _MOST_IGNORED:
                ignored.append(text)

    def _unit_is_other(self, rows: pl.DataFrame) -> pl.Series:
        """Return which rows say another unit than the one their parameter has."""
        column = self.long.unit
        if column not in rows.columns:
            return pl.repeat(False, rows.height, eager=True)
        pairs = rows.select("name", column).unique().drop_nulls().rows()
        other = pl.DataFrame([p for p in pairs if not self._is_unit_of(*p)], orient="row",
                             schema={"name": pl.String, column: pl.String})
        return rows.select(pl.struct("name", column).is_in(other.to_struct().implode())).to_series()

    def _is_unit_of(self, name: str, text: str) -> bool:
        real = self.long.parameters[name]
        unit = unit_named(text) or text
        return with_basis(unit, real.to, self.layout.format.hc_basis) == real.unit

    def _judged(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with the number of their ``pass``, and the ``fault`` of those that fail.

        A pass is open until a row of a new one comes; a row of a closed pass stands apart.
        """
        key = self.long.key
        was_closed = self._closed.holds(rows[key].hash().to_numpy())
        numbered = rows.with_columns(was_closed=pl.Series(was_closed, dtype=pl.Boolean))
        begins = pl.col(key).is_first_distinct() & ~pl.col("was_closed")
        numbered = numbered.with_columns(begun=begins.cum_sum()).with_columns(
            pl.col("begun").first().over(key).alias("pass"))
        apart = pl.col("was_closed") | (pl.col("pass") < pl.col("begun"))
        same, rest = _parted(numbered, apart, "apart_from_its_pass")
        differs = pl.any_horizontal(
            pl.col(n).ne_missing(pl.col(n).first().over("pass")) for n in self._attributes())
        same, other = _parted(same, differs, "differs_from_its_pass")
        repeats = pl.col("name").is_not_null() & ~pl.struct("pass", "name").is_first_distinct()
        same, twice = _parted(same, repeats, "repeated_parameter")
        good = same.with_columns(fault=pl.lit(None, pl.String))
        return pl.concat([good, rest, other, twice]).drop("was_closed", "begun").sort(
            "source_line")

    def _faults(self) -> list[tuple[str, str]]:
        return [("differs_from_its_pass", self.long.key),
                ("repeated_parameter", self.long.parameter), ("apart_from_its_pass", self.long.key)]

    def _attributes(self) -> list[str]:
        rows_own = {self.long.key, self.long.parameter, self.long.value, self.long.unit}
        return [*(n for n in self.layout.used if n not in rows_own), "measured_local",
                "is_second_hour"]

    def _passes(self, rows: pl.DataFrame) -> pl.DataFrame:
        value = pl.col(self.long.value)
        wide = rows.group_by("pass", maintain_order=True).agg(
            pl.col(self.long.key, "source_line", *self._attributes()).first(),
            *(value.filter(pl.col("name") == name).first().alias(f"{self.long.parameter}={name}")
              for name in self.long.parameters))
        self._closed.add(wide[self.long.key].hash().to_numpy())
        return to_reported(wide, self._wide)

    def _quarantined(self, bad: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        if bad.is_empty():
            return empty(QUARANTINE)
        known = np.sort(np.concatenate([rows.frame["source_line"].to_numpy(),
                                        rows.quarantine["line"].to_numpy()]))
        raw = _raw_of(bad["line"].to_list(), known, rows)
        return bad.with_columns(
            pl.Series("byte_offset", [offset for offset, _ in raw], pl.Int64),
            pl.Series("raw", [data for _, data in raw], pl.Binary),
            source_sha256=pl.lit(self.source.sha256), file=pl.lit(self.source.name),
        ).select(empty(QUARANTINE).columns)

    def _refusal(self) -> InputRefused:
        return InputRefused(
            "the rows of one pass do not stand together", where=str(self.source.path),
            found=f"{self._apart} of {self._rows} rows belong to a pass that was over",
            expected=f"all rows with one value of {self.long.key}, one after the other",
            remedy=f"Sort the file by {self.long.key} and try again; nothing was stored.")


def _wide_layout(layout: Layout, long: Long) -> Layout:
    """Return the layout of joined rows: a column a parameter."""
    columns = {f"{long.parameter}={name}": real for name, real in long.parameters.items()}
    rows_own = (long.parameter, long.value, long.unit)
    names = tuple(n for n in layout.names if n not in rows_own)
    fmt: Format = replace(layout.format, real={**layout.format.real, **columns}, long=None)
    return replace(layout, format=fmt, names=(*names, *columns))


def _parted(rows: pl.DataFrame, is_bad: pl.Expr,
            fault: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that are not bad, and those that are with their ``fault``."""
    asked = rows.with_columns(is_bad=is_bad)
    bad = asked.filter("is_bad").drop("is_bad").with_columns(fault=pl.lit(fault))
    return asked.filter(~pl.col("is_bad")).drop("is_bad"), bad


def _stacked(above: pl.DataFrame | None, below: pl.DataFrame) -> pl.DataFrame:
    return below if above is None else pl.concat([above.select(below.columns), below])


def _blamed(rows: pl.DataFrame, reason: str, column: str) -> pl.DataFrame:
    return rows.select(line="source_line", reason=pl.lit(reason), column=pl.lit(column))


def _raw_of(wanted: list[int], known: npt.NDArray[np.int64],
            rows: Rows) -> list[tuple[int, bytes]]:
    """Return offset and bytes of the records that begin at some lines; quotes may span lines."""
    data, lines, found = rows.chunk.data, find_lines(rows.chunk.data), []
    for line in wanted:
        first = last = line - rows.first_line
        after = int(np.searchsorted(known, line, side="right"))
        if after < known.size:
            last = int(known[after]) - rows.first_line - 1
        while last > first and not data[lines.starts[last]:lines.stops[last]].strip():
            last -= 1  # blank lines between two records are none of theirs
        start = int(lines.starts[first])
        found.append((rows.chunk.offset + start, data[start:lines.stops[last]]))
    return found
