"""Cells of records as text → typed cells, with the first cell to blame where one is no value."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from rsd import clock
from rsd.intake.layout import Layout

_TIMES = ("measured_local", "is_second_hour")
_WIDE = {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)} | {"\u3000": " "}
"""Full-width forms of ASCII. Not all that Unicode calls compatible: 5² is not 52."""
_ZONED = ("%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M:%S%.f%#z",
          "%Y-%m-%d %H:%M:%S%.f%#z")


def judge(frame: pl.DataFrame,
          layout: Layout) -> tuple[pl.DataFrame, list[tuple[int, str, str]]]:
    """Type the cells of records.

    Args:
        frame: the layout's used columns as String, and ``line``.
        layout: the format bound to the header.

    Returns:
        The records whose every cell is what its column needs, typed as `Layout.parse_strict` types
        them, and for the others ``(line, reason, column)``.
    """
    if frame.is_empty():
        typed = _typed(frame.lazy(), layout).collect()
        return typed.select(*layout.used, "line", *_TIMES), []
    typed = _typed(frame.lazy(), layout).collect()
    faults = dict(_faults(layout))
    is_bad = pl.any_horizontal(faults.values())
    bad = typed.filter(is_bad)
    good = typed.filter(~is_bad).select(*layout.used, "line", *_TIMES)
    if bad.is_empty():
        return good, []
    first = pl.coalesce(pl.when(fault).then(pl.lit(f"{reason}\0{column}"))
                        for (reason, column), fault in faults.items())
    named = bad.select("line", first.alias("why"))
    return good, [(line, *_pair(why)) for line, why in named.iter_rows()]


def _pair(why: str) -> tuple[str, str]:
    reason, _, column = why.partition("\0")
    return reason, column


def _text(name: str) -> str:
    return f"{name}\0text"


def _typed(frame: pl.LazyFrame, layout: Layout) -> pl.LazyFrame:
    nulls = ["", *layout.format.null_text]
    trimmed = pl.col(layout.used).str.strip_chars()
    frame = frame.with_columns(pl.when(~trimmed.is_in(nulls)).then(trimmed).name.keep())
    numbers = [pl.col(n).str.replace_many(list(_WIDE), list(_WIDE.values())).str.strip_chars()
               .alias(_text(n)) for n in layout.reals]
    frame = frame.with_columns(numbers).with_columns(
        pl.col(_text(n)).cast(pl.Float64, strict=False).alias(n) for n in layout.reals)
    return frame.with_columns(_times(layout))


def _times(layout: Layout) -> list[pl.Expr]:
    """Return the local time, and which of two equal ones it is where an offset tells."""
    text = pl.col(layout.time)
    naive = pl.coalesce(clock.parse_local(text, p) for p in layout.format.time_formats)
    full = text.str.replace(r"[Zz]$", "+00:00")
    instant = pl.coalesce(clock.parse_instant(full, p) for p in _ZONED)
    zoned = instant.dt.convert_time_zone(layout.timezone).dt.replace_time_zone(None)
    first = zoned.dt.replace_time_zone(layout.timezone, ambiguous="earliest",
                                       non_existent="null").dt.convert_time_zone("UTC")
    return [
        pl.coalesce(clock.afternoon(naive, layout.format.afternoon_hours), zoned)
        .alias("measured_local"),
        (instant != first).alias("is_second_hour"),
    ]


def _faults(layout: Layout) -> Iterator[tuple[tuple[str, str], pl.Expr]]:
    for name in layout.required:
        yield ("blank_required", name), pl.col(name).is_null()
    local = pl.col("measured_local")
    given = pl.col(layout.time).is_not_null()
    yield ("impossible_time", layout.time), given & local.is_null()
    yield (("impossible_time (skipped when the clock is set forward)", layout.time),
           local.is_not_null() & ~clock.exists(local, layout.timezone))
    for name in layout.dates:
        date = clock.parse_date(pl.col(name))
        yield ("impossible_date", name), pl.col(name).is_not_null() & date.is_null()
    for name in layout.reals:
        value = pl.col(name)
        yield ("not_a_number", name), pl.col(_text(name)).is_not_null() & value.is_null()
        yield ("not_finite", name), value.is_not_null() & ~value.is_finite()
        if name in layout.whole:
            yield ("not_whole", name), value.is_not_null() & (value != value.floor())
