"""Cells of records as text → typed cells, with the first cell to blame where one is no value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from rsd import clock
from rsd.intake.layout import Layout
from rsd.intake.times import read_any

TIMES = ("measured_local", "is_second_hour")
"""The columns that the time cell becomes."""
_WIDE = {chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)} | {"\u3000": " "}
"""Full-width forms of ASCII. Not all that Unicode calls compatible: 5² is not 52."""
NOT_A_NUMBER = "not_a_number"


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
    typed = _typed(frame, layout)
    if frame.is_empty():
        return typed.select(*layout.used, "line", *TIMES), []
    asked = dict(faults(layout))
    is_bad = pl.any_horizontal(asked.values())
    bad = typed.filter(is_bad)
    good = typed.filter(~is_bad).select(*layout.used, "line", *TIMES)
    if bad.is_empty():
        return good, []
    first = pl.coalesce(pl.when(fault).then(pl.lit(f"{reason}\0{column}"))
                        for (reason, column), fault in asked.items())
    named = bad.select("line", first.alias("why"))
    return good, [(line, *_pair(why)) for line, why in named.iter_rows()]


def _pair(why: str) -> tuple[str, str]:
    reason, _, column = why.partition("\0")
    return reason, column


def _text(name: str) -> str:
    return f"{name}\0text"


def _typed(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    nulls = ["", *layout.format.null_text]
    trimmed = pl.col(layout.used).str.strip_chars()
    lazy = frame.lazy().with_columns(pl.when(~trimmed.is_in(nulls)).then(trimmed).name.keep())
    wide = _beyond_ascii(frame, layout.reals)
    texts = [(_narrow(pl.col(n)) if n in wide else pl.col(n)).alias(_text(n))
             for n in layout.reals]
    lazy = lazy.with_columns(texts).with_columns(
        pl.col(_text(n)).cast(pl.Float64, strict=False).alias(n) for n in layout.reals)
    return lazy.with_columns(
        read_any(layout.time_text, layout.format, layout.timezone)).collect()


def _beyond_ascii(frame: pl.DataFrame, names: Sequence[str]) -> set[str]:
    """Return the columns with anything but ASCII, of some."""
    text = pl.col(names).str
    found = frame.select((text.len_bytes() != text.len_chars()).any()) if names else frame.head(0)
    return {name for name in names if found[name][0]}


def _narrow(text: pl.Expr) -> pl.Expr:
    return text.str.replace_many(list(_WIDE), list(_WIDE.values())).str.strip_chars()


def faults(layout: Layout, *, may_skip_an_hour: bool = True,
           ) -> Iterator[tuple[tuple[str, str], pl.Expr]]:
    """Yield ``(reason, column)`` and which records have that fault, the first to blame first.

    Asked of typed records; `NOT_A_NUMBER` needs the text of the numbers too.

    Args:
        layout: the format bound to the header.
        may_skip_an_hour: some of the times may be one that the zone's clock skips.
    """
    for name in layout.required:
        yield ("blank_required", name), pl.col(name).is_null()
    local = pl.col("measured_local")
    given = pl.col(layout.time).is_not_null()
    yield ("impossible_time", layout.time), given & local.is_null()
    if may_skip_an_hour:
        yield (("impossible_time (skipped when the clock is set forward)", layout.time),
               local.is_not_null() & ~clock.exists(local, layout.timezone))
    for name in layout.dates:
        date = clock.parse_date(pl.col(name))
        yield ("impossible_date", name), pl.col(name).is_not_null() & date.is_null()
    for name in layout.reals:
        value = pl.col(name)
        yield (NOT_A_NUMBER, name), pl.col(_text(name)).is_not_null() & value.is_null()
        yield ("not_finite", name), value.is_not_null() & ~value.is_finite()
        if name in layout.whole:
            yield ("not_whole", name), value.is_not_null() & (value != value.floor())
