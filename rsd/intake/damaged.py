"""The path of a chunk that is not proven whole: good records are kept, bad ones told apart.

Vectorised: structure is judged on arrays of line offsets, cells on columns. One by one are touched
only records whose quotes are part of a cell or take several lines, and the raw bytes of those that
fail. Cells are typed by `rsd.intake.suspects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rsd.intake import suspects
from rsd.intake.chunks import Chunk
from rsd.intake.layout import Layout
from rsd.intake.lines import (
    MAX_FIELD_BYTES,
    Bools,
    Ints,
    Lines,
    are_blank,
    are_simply_quoted,
    count_in_lines,
    find_bytes,
    find_lines,
    find_separators,
    join_quoted,
    keep_lines,
    line_of,
)

_BAD = {"line": pl.Int64, "byte_offset": pl.Int64, "reason": pl.String, "column": pl.String,
        "raw": pl.Binary}
_DECODED_BYTES = 1 << 16  # decoded at a time: an error costs its block again, not the chunk


@dataclass(frozen=True)
class Damaged:
    """What a damaged chunk gave: good records, bad ones, blank lines, and bytes for the next."""

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    blank: int
    lines: int
    carry: bytes


class _Verdicts:
    """Line → why it is bad; the first reason stays."""

    def __init__(self, chunk: Chunk, lines: Lines, first_line: int) -> None:
        self.chunk, self.lines, self.first_line = chunk, lines, first_line
        self.bad: dict[int, tuple[str, str | None, int]] = {}

    def add(self, index: int | np.integer[Any], reason: str, column: str | None = None,
            count: int = 1) -> None:
        self.bad.setdefault(int(index), (reason, column, count))

    def frame(self) -> pl.DataFrame:
        data, at = self.chunk.data, self.lines
        rows = [
            (self.first_line + i, self.chunk.offset + int(at.starts[i]), reason, column,
             data[at.starts[i]:at.stops[i + count - 1]])
            for i, (reason, column, count) in sorted(self.bad.items())
        ]
        return pl.DataFrame(rows, schema=_BAD, orient="row")


def read(chunk: Chunk, layout: Layout, encoding: str, first_line: int, header: bytes, *,
         more_follows: bool) -> Damaged:
    """Read a chunk record by record.

    Args:
        chunk: bytes of the dump that begin at a line's start.
        layout: the format bound to the header.
        encoding: ``utf-8`` or ``gb18030``.
        first_line: physical number of the chunk's first line.
        header: the header's bytes, to tell a repeated one.
        more_follows: an open quote at the end may be closed by the next chunk.
    """
    data = chunk.data
    lines = find_lines(data)
    separators = find_separators(data, layout.separator, encoding)
    verdicts = _Verdicts(chunk, lines, first_line)
    quoted, is_plain, end = _take_quoted(data, lines, separators, layout, header, encoding,
                                         verdicts, more_follows)
    carry = data[lines.starts[end]:] if end < len(lines) else b""
    is_plain[end:] = False
    is_blank = is_plain & are_blank(data, lines)
    is_plain &= ~is_blank
    if lines.is_torn and not carry and layout.format.needs_final_newline and not is_blank[-1]:
        quoted = _condemn_torn(quoted, lines, verdicts)
    _judge_structure(data, lines, is_plain, count_in_lines(separators, lines) + 1, layout, header,
                     verdicts)
    del separators  # the parse is what takes memory
    if verdicts.bad:
        is_plain[list(verdicts.bad)] = False
    kept = keep_lines(data, lines, is_plain).replace(b'"', b"")  # quotes that are no part of a cell
    text, numbers = _decode(kept, np.flatnonzero(is_plain), encoding, verdicts)
    del kept
    extra = pl.DataFrame([[*fields, index] for index, fields, _ in quoted], orient="row",
                         schema=[*((n, pl.String) for n in layout.names), ("line", pl.Int64)])
    good, failures = suspects.judge(text, numbers, extra.select(*layout.used, "line"), layout)
    spans = {index: count for index, _, count in quoted}
    for index, reason, column in failures:
        verdicts.add(index, reason, column, spans.get(index, 1))
    good = good.with_columns((pl.col("line") + first_line).alias("source_line")).drop("line")
    return Damaged(good, verdicts.frame(), int(is_blank.sum()), end, carry)


_Quoted = list[tuple[int, list[str], int]]


def _condemn_torn(quoted: _Quoted, lines: Lines, verdicts: _Verdicts) -> _Quoted:
    """Condemn the last record, whose line end is missing; it may take several lines."""
    last = len(lines) - 1
    taken = [(index, count) for index, _, count in quoted]
    taken += [(index, count) for index, (_, _, count) in verdicts.bad.items()]
    first, count = next(((i, n) for i, n in taken if i <= last < i + n), (last, 1))
    verdicts.add(first, "torn_last_record (no line end follows it)", None, count)
    return [q for q in quoted if q[0] != first]


def _take_quoted(data: bytes, lines: Lines, separators: Ints, layout: Layout, header: bytes,
                 encoding: str, verdicts: _Verdicts, more_follows: bool,
                 ) -> tuple[_Quoted, Bools, int]:
    """Return the records whose quotes mean something, and the line where a carry begins.

    With them comes the mask of the other lines: all quotes in those can be left out.
    """
    is_plain = np.ones(len(lines), bool)
    if b'"' not in data:
        return [], is_plain, len(lines)
    columns = len(layout.names)
    taken: _Quoted = []
    done = 0
    quotes = find_bytes(data, 0x22)
    is_simple = are_simply_quoted(data, quotes, separators, lines)
    for index in np.flatnonzero((count_in_lines(quotes, lines) > 0) & ~is_simple).tolist():
        if index < done:
            continue
        record = join_quoted(data, lines, index, columns, encoding, layout.format.separator)
        if record.is_open and more_follows and (
                len(data) - lines.starts[index] <= MAX_FIELD_BYTES):
            return taken, is_plain, index
        done = index + record.count
        is_plain[index:done] = False
        piece = data[lines.starts[index]:lines.stops[done - 1]]
        if record.fields is None:
            verdicts.add(index, record.why)
        elif b"\0" in piece:
            verdicts.add(index, "nul_byte", None, record.count)
        elif piece == header:
            verdicts.add(index, "repeated_header")
        elif len(record.fields) != columns:
            verdicts.add(index, _count_text(len(record.fields), columns), None, record.count)
        else:
            taken.append((index, record.fields, record.count))
    return taken, is_plain, len(lines)


def _count_text(found: int, expected: int) -> str:
    return f"wrong_field_count (found {found}, expected {expected})"


def _judge_structure(data: bytes, lines: Lines, is_plain: Bools, fields: Ints, layout: Layout,
                     header: bytes, verdicts: _Verdicts) -> None:
    length, columns = lines.stops - lines.starts, len(layout.names)
    if b"\0" in data:
        with_nul = line_of(find_bytes(data, 0), lines)
        for index in np.unique(with_nul[is_plain[with_nul]]):
            verdicts.add(index, "nul_byte")
    for index in np.flatnonzero(is_plain & (length == len(header))):
        if data[lines.starts[index]:lines.stops[index]] == header:
            verdicts.add(index, "repeated_header")
    for index in np.flatnonzero(is_plain & (fields != columns)):
        verdicts.add(index, _count_text(int(fields[index]), columns))
    for index in np.flatnonzero(is_plain & (length > MAX_FIELD_BYTES)):
        pieces = data[lines.starts[index]:lines.stops[index]].split(bytes([layout.separator]))
        if max(map(len, pieces)) > MAX_FIELD_BYTES:
            verdicts.add(index, f"field_too_long (more than {MAX_FIELD_BYTES} bytes)")


def _decode(data: bytes, numbers: Ints, encoding: str, verdicts: _Verdicts) -> tuple[bytes, Ints]:
    """Return the lines as UTF-8 without those that are no text, and their numbers."""
    if data.isascii():
        return data, numbers
    parts: list[bytes] = []
    bad: list[int] = []
    at = counted = line = 0
    while at < len(data):
        end = data.find(b"\n", at + _DECODED_BYTES) + 1 or len(data)
        block = data[at:end]
        decoded = _as_utf8(block, encoding)
        if decoded is None:
            line, counted = line + data.count(b"\n", counted, at), at
            each = [_as_utf8(piece, encoding) for piece in block.splitlines(keepends=True)]
            bad += [line + k for k, piece in enumerate(each) if piece is None]
            decoded = b"".join(piece for piece in each if piece is not None)
        parts.append(decoded)
        at = end
    for index in bad:
        verdicts.add(numbers[index], f"not_text (bytes that are no {encoding})")
    return (b"".join(parts), np.delete(numbers, bad)) if bad or encoding != "utf-8" else (
        data, numbers)


def _as_utf8(data: bytes, encoding: str) -> bytes | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return data if encoding == "utf-8" else text.encode()
