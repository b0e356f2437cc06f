"""Tables for people: aligned text, whole in a file or a pipe, fitted to a terminal.

No head is ever folded: a terminal shows the first columns that have room, each long text in several
lines, and stderr tells what is left out and how to see it.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from cli.text import terminal_width, width_of, wrap

if TYPE_CHECKING:
    import polars as pl

MAX_ROWS = 50
"""Rows that a table shows; every other format is complete."""

_GAP = 2
_SHORT_TEXT, _LONGEST_WORD, _LEAST_WIDTH = 24, 40, 20
"""Widths: no shorter text is broken, no shorter word; a column with a longer word has the last."""


@dataclass(frozen=True)
class Look:
    """How a table looks: the lines around it, its rows, and the cells of some columns.

    ``max_rows``: 0 for all. ``percent``: shares, beside the columns ``rate_…``; ``right``: texts
    that are set like numbers. ``more_rows`` and ``more_columns`` say how to see what is left out.
    """

    title: str | None = None
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    max_rows: int = MAX_ROWS
    percent: Sequence[str] = ()
    right: Sequence[str] = ()
    more_rows: str = "use --rows 0 or --format csv for all"
    more_columns: str = "choose with --columns A,B,…, or use --format csv"


def write_table(frame: pl.DataFrame, stream: Any, look: Look) -> None:
    """Write a frame as a table, with the lines before and after it."""
    from rsd.exports.safety import plain

    limit = look.max_rows or frame.height
    head = plain(frame.head(limit))
    shares = {n for n in frame.columns if n.startswith("rate_") or n in look.percent}
    rows = [[_cell(value, name in shares) for name, value in zip(head.columns, row, strict=True)]
            for row in head.iter_rows()]
    right = [dtype.is_numeric() or name in look.right for name, dtype in frame.schema.items()]
    write_lines(look.before, stream)
    _print_table(frame.columns, rows, right, stream, look.title, look.more_columns)
    if frame.height > limit:
        sys.stderr.write(f"{limit:,} of {frame.height:,} rows; {look.more_rows}\n")
    write_lines(look.after, stream)


def write_sections(document: Mapping[str, Any], stream: Any) -> None:
    """Print the plain facts first, then each object or list of objects under its name."""
    facts = {key: value for key, value in document.items() if not _is_section(value)}
    sections = ({"": facts} if facts else {}) | {k: v for k, v in document.items()
                                                 if _is_section(v)}
    for title, section in sections.items():
        _print_section(section, stream, title or None)


def write_lines(lines: Sequence[str], stream: Any) -> None:
    """Write lines of text to a stream of text or of bytes, each harmless and on its own line."""
    from rsd.exports.safety import printable

    text = "".join(f"{printable(line)}\n" for line in lines)
    if isinstance(stream, io.TextIOBase):
        code = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(code, "replace").decode(code))
    else:
        stream.write(text.encode())


def _cell(value: Any, is_share: bool = False) -> str:
    """Return what a person reads: six digits, percent for shares, nothing for null."""
    from rsd.exports.safety import printable

    match value:
        case None:
            text = ""
        case bool():
            text = str(value).lower()
        case int() | float() if is_share:
            text = f"{value * 100:.2f} %"
        case float():
            text = f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case list() | tuple():
            text = ", ".join(_cell(v) for v in value)
        case dict():
            text = ", ".join(f"{_cell(k)}={_cell(v)}" for k, v in value.items())
        case _:
            text = printable(str(value))
    return text


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value))


def _print_section(section: Any, stream: Any, title: str | None) -> None:
    """Print an object as names and values, a list of objects as a row each."""
    more = "use --format json"
    if isinstance(section, dict):
        _print_table(("what", "value"), [(_cell(k), _cell(v)) for k, v in section.items()],
                     (False, False), stream, title, more)
        return
    names = list(dict.fromkeys(name for row in section for name in row))
    right = [all(isinstance(row.get(name), (int, float, type(None))) for row in section)
             for name in names]
    rows = [[_cell(row.get(name)) for name in names] for row in section]
    _print_table(names, rows, right, stream, title, more)


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool],
                 stream: Any, title: str | None, more: str) -> None:
    """Print cells as aligned text; on a terminal the columns that fit, and the rest on stderr."""
    from rsd.exports.safety import printable

    heads = [printable(name) for name in names]
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(width_of, column)) for column in columns]
    if stream.isatty():
        least = [w if r else _least_width(c, w) for c, w, r in
                 zip(columns, widths, right, strict=True)]
        widths = _fit(widths, least, terminal_width())
    lines = [] if title is None else [*wrap(title, max(1, terminal_width())), ""]
    shown = range(len(widths))
    lines += _lines(heads, widths, right)
    lines.append("  ".join("-" * width for width in widths))
    for row in rows:
        lines += _lines([row[k] for k in shown], widths, right)
    write_lines(lines, stream)
    hidden = heads[len(widths):]
    if hidden:
        sys.stderr.write(f"{len(hidden)} of {len(heads)} columns do not fit and are not shown "
                         f"({_listed(hidden)}); {more}\n")


def _least_width(column: Sequence[str], width: int) -> int:
    """Return the width below which a column of text (its head first) is better left out."""
    if width <= _SHORT_TEXT:
        return width
    longest = max(width_of(word) for cell in column for word in cell.split(" "))
    whole = longest if longest <= _LONGEST_WORD else 0
    return min(width, max(width_of(column[0]), whole, _LEAST_WIDTH))


def _fit(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return the widths of the first columns that fit, one at least, none wider than needed."""
    count, used = 1, least[0] if least else 0
    while count < len(least) and used + _GAP + least[count] <= room:
        used += _GAP + least[count]
        count += 1
    given = list(least[:count])
    for k in sorted(range(count), key=lambda k: widths[k]):
        more = max(0, min(widths[k] - given[k], room - used))
        given[k] += more
        used += more
    return given


def _lines(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """Return the lines of one row: a cell that is longer than its column takes several."""
    broken = [wrap(c, w) if width_of(c) > w else [c] for c, w in zip(cells, widths, strict=False)]
    lines = []
    for parts in zip_longest(*broken, fillvalue=""):
        fields = [" " * (w - width_of(c)) + c if r else c + " " * (w - width_of(c))
                  for c, w, r in zip(parts, widths, right, strict=False)]
        lines.append((" " * _GAP).join(fields).rstrip())
    return lines


def _listed(names: Sequence[str]) -> str:
    """Return the first names; without what a head says beside the name."""
    plain = [name.partition(" ")[0] for name in names]
    return ", ".join(plain if len(plain) <= 8 else [*plain[:7], "…"])
