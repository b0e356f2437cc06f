"""Cells of sound lines → typed cells: a lenient parse, and an exact judge for what it leaves open.

The lenient parse types whole columns and says null where it cannot. A row is suspect where that
null, or anything else, could be other than what `rsd.intake.cells` says of the row's text: only
suspects are read as text and judged by it. So the outcome is the judge's, whatever the row.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from rsd import clock
from rsd.intake import cells
from rsd.intake.layout import Layout
from rsd.intake.lines import Bools, Ints, Lines, find_bytes, keep_lines
from rsd.intake.times import read_any, read_naive

_WIDE_BLANKS = tuple(
    chr(c).encode() for c in (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                              0x205F, 0x3000))
_MANY = 16
"""Where more than one row in so many has the same peculiarity, all rows are treated for it."""
_PASSES = 8
_BLANKS = b" \t\v\f"
_BLOCK_BYTES = 1 << 18  # stays in the processor's cache


def judge(text: bytes, numbers: Ints, extra: pl.DataFrame,
          layout: Layout) -> tuple[pl.DataFrame, list[tuple[int, str, str]]]:
    """Type the cells of lines.

    Args:
        text: UTF-8 lines, each ended by LF and of the right number of fields; no quote means
            anything.
        numbers: the number of each line.
        extra: records that are split already, as `rsd.intake.cells.judge` takes them.
        layout: the format bound to the header.

    Returns:
        What `rsd.intake.cells.judge` says of all of them, in order of their numbers.
    """
    text, ends, is_padded = _trim(text, layout.separator)
    frame = layout.parse_lenient(text) if text and is_padded is not None else None
    if frame is None or is_padded is None:
        return cells.judge(_as_text(text, numbers, extra, layout), layout)
    if not frame.height == ends.size == numbers.size:
        raise AssertionError(f"{frame.height} records parsed of {numbers.size} lines")
    frame = _with_time(frame.with_columns(pl.Series("line", numbers, pl.Int64)), layout)
    is_suspect = _open_questions(text, ends, frame, layout)
    is_suspect |= is_padded
    if not is_suspect.any() and extra.is_empty():
        return _done(frame, layout), []
    doubtful = _as_text(_rows(text, ends, is_suspect), numbers[is_suspect], extra, layout)
    good, failures = cells.judge(doubtful, layout)
    sure = _done(frame.filter(pl.Series(~is_suspect)), layout)
    good = good.cast(sure.schema)  # labels come as text from the judge
    return (sure if good.is_empty() else pl.concat([sure, good]).sort("line")), failures


def _done(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    return frame.select(*layout.used, "line", *cells.TIMES)


def _as_text(text: bytes, numbers: Ints, extra: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    frame = layout.parse_text(text)
    if frame.height != numbers.size:
        raise AssertionError(f"{frame.height} records parsed of {numbers.size} lines")
    frame = frame.with_columns(pl.Series("line", numbers, pl.Int64))
    return frame if extra.is_empty() else pl.concat([frame, extra]).sort("line")


def _rows(text: bytes, ends: Ints, is_wanted: Bools) -> bytes:
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    return keep_lines(text, Lines(starts, ends, ends + 1, is_torn=False), is_wanted)


# --- what the lenient parse leaves open -----------------------------------------------------------


def _with_time(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Add `rsd.intake.cells.TIMES`; where the time is null, the judge may still find one."""
    fmt, text = layout.format, layout.time_text
    for tried in range(1, len(fmt.time_formats) + 1):  # mostly the first is the one
        local, second = read_naive(text, fmt, layout.timezone, fmt.time_formats[:tried])
        second = pl.lit(None, pl.Boolean) if second is None else second
        frame = frame.with_columns(local.alias("measured_local"), second.alias("is_second_hour"))
        if frame["measured_local"].null_count() * _MANY <= frame.height:
            return frame
    return frame.with_columns(read_any(text, fmt, layout.timezone))


def _open_questions(text: bytes, ends: Ints, frame: pl.DataFrame, layout: Layout) -> Bools:
    """Return which rows of the lenient parse only the judge can tell."""
    local = pl.col("measured_local")
    span = frame.select(local.min().alias("low"), local.max().alias("high")).row(0)
    may_skip = clock.may_skip_an_hour(layout.timezone, *span)
    doubts = [fault for (reason, _), fault in cells.faults(layout, may_skip_an_hour=may_skip)
              if reason != cells.NOT_A_NUMBER]
    is_open = frame.select(pl.any_horizontal(doubts).fill_null(True)).to_series().to_numpy()
    return is_open | _nulls_that_are_no_blanks(text, ends, frame, layout)


def _nulls_that_are_no_blanks(text: bytes, ends: Ints, frame: pl.DataFrame,
                              layout: Layout) -> Bools:
    """Return the rows in which a number is null although its cell holds something."""
    found = np.zeros(ends.size, bool)
    gaps = [name for name in layout.reals if frame[name].null_count()]
    if not gaps:
        return found
    numbers = frame.select(gaps)
    has_gap = numbers.select(pl.any_horizontal(pl.all().is_null())).to_series()
    numbers = numbers.filter(has_gap)
    rows = np.flatnonzero(has_gap.to_numpy())
    text = _rows(text, ends, has_gap.to_numpy())
    view, ends = np.frombuffer(text, np.uint8), find_bytes(text, 0x0A)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    edges = np.column_stack([starts - 1, find_bytes(text, layout.separator).reshape(
        ends.size, -1), ends])
    for name in gaps:
        at = layout.names.index(name)
        begins, size = edges[:, at] + 1, np.diff(edges[:, at:at + 2])[:, 0] - 1
        is_blank = size == 0
        for null in layout.format.null_text:
            wanted = np.frombuffer(null.encode(), np.uint8)
            same = np.flatnonzero(size == wanted.size)
            is_blank[same] |= (view[begins[same, None] + np.arange(wanted.size)] == wanted).all(
                axis=1)
        found[rows[numbers[name].is_null().to_numpy() & ~is_blank]] = True
    return found


# --- blanks around cells --------------------------------------------------------------------------


def _trim(text: bytes, separator: int) -> tuple[bytes, Ints, Bools | None]:
    """Take the blanks around cells away where many rows have some.

    Returns the text, the places of its line ends and which rows still have such blanks: a few. No
    such mask: there is no end of them, leave it to the judge.
    """
    ends = np.zeros(0, np.int64)
    for _ in range(_PASSES):
        shorter = _without(_wide_blanks(text), text, separator)
        if len(shorter) < len(text):
            text = shorter
            continue
        ends, padding = _scan(text, separator)
        is_padded = np.zeros(ends.size, bool)
        is_padded[np.searchsorted(ends, padding)] = True
        if np.count_nonzero(is_padded) * _MANY <= ends.size:
            return text, ends, is_padded
        text = _without([bytes([b]) for b in _BLANKS if b != separator], text, separator)
    return text, ends, None


def _scan(text: bytes, separator: int) -> tuple[Ints, Ints]:
    """Return the places of line ends, and of the blanks that begin or end a cell."""
    view, ends, padding = np.frombuffer(text, np.uint8), [], []
    is_blank, is_edge = np.zeros(256, bool), np.zeros(256, bool)
    is_blank[list(_BLANKS)] = True
    is_edge[[separator, 0x0A]] = True
    is_blank[separator] = False
    for at in range(0, len(text), _BLOCK_BYTES):
        low = np.flatnonzero(view[at:at + _BLOCK_BYTES] <= 0x20) + at
        found = view[low]
        ends.append(low[found == 0x0A])
        blanks = low[is_blank[found]]  # the last byte is LF: one stands before the first byte too
        padding.append(blanks[is_edge[view[blanks - 1]] | is_edge[view[blanks + 1]]])
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *ends]), np.concatenate([empty, *padding])


def _wide_blanks(text: bytes) -> list[bytes]:
    """Return the blanks beyond ASCII that occur in UTF-8 text."""
    leads = {lead for lead in (b"\xc2", b"\xe1", b"\xe2", b"\xe3") if lead in text}
    return [blank for blank in _WIDE_BLANKS if blank[:1] in leads and blank in text]


def _without(blanks: list[bytes], text: bytes, separator: int) -> bytes:
    """Leave out blanks that begin or end a cell; of very long runs of them, some stay."""
    edges = (bytes([separator]), b"\n")
    for run in [blank * n for blank in blanks for n in (32, 8, 2, 1) if blank * n in text]:
        for edge in edges:
            text = text.replace(edge + run, edge).replace(run + edge, edge)
        text = text.removeprefix(run)
    return text
