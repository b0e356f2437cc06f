"""The path of a chunk that is not proven whole: good records are kept, bad ones told apart.

Vectorised: structure is judged on arrays of line offsets, cells on columns; only records with
quotes, and the raw bytes of those that fail, are touched one by one.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.intake import cells
from rsd.intake.layout import Layout
from rsd.intake.lines import (
    MAX_FIELD_BYTES,
    Lines,
    count_in_lines,
    find_lines,
    has_more_than_blanks,
    join_quoted,
    keep_lines,
)
from rsd.intake.source import Chunk

_BAD = {"line": pl.Int64, "byte_offset": pl.Int64, "reason": pl.String, "column": pl.String,
        "raw": pl.Binary}


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
    data, columns = chunk.data, len(layout.names)
    lines = find_lines(data)
    verdicts = _Verdicts(chunk, lines, first_line)
    quoted, is_plain, end = _take_quoted(data, lines, columns, encoding, verdicts, more_follows)
    carry = data[lines.starts[end]:] if end < len(lines) else b""
    is_plain[end:] = False
    is_blank = _blank(data, lines, is_plain)
    is_plain &= ~is_blank
    if lines.is_torn and not carry and layout.format.needs_final_newline and not is_blank[-1]:
        quoted = _condemn_torn(quoted, lines, verdicts)
    _judge_structure(data, lines, is_plain, columns, header, verdicts)
    if verdicts.bad:
        is_plain[list(verdicts.bad)] = False
    text, numbers = _decode(keep_lines(data, lines, is_plain), np.flatnonzero(is_plain), encoding,
                            verdicts)
    frame = _as_text(text, numbers, layout)
    if quoted:
        extra = pl.DataFrame([[*fields, index] for index, fields, _ in quoted],
                             schema=[*((n, pl.String) for n in layout.names), ("line", pl.Int64)],
                             orient="row").select(*layout.used, "line")
        frame = pl.concat([frame, extra]).sort("line")
    spans = {index: count for index, _, count in quoted}
    good, failures = cells.judge(frame, layout)
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


def _take_quoted(data: bytes, lines: Lines, columns: int, encoding: str, verdicts: _Verdicts,
                 more_follows: bool,
                 ) -> tuple[list[tuple[int, list[str], int]], npt.NDArray[np.bool_], int]:
    """Return records with quotes, the mask of lines without, and the line where a carry begins."""
    is_plain = np.ones(len(lines), bool)
    if b'"' not in data:
        return [], is_plain, len(lines)
    taken: list[tuple[int, list[str], int]] = []
    done = 0
    for index in np.flatnonzero(count_in_lines(data, 0x22, lines)):
        if index < done:
            continue
        record = join_quoted(data, lines, int(index), columns, encoding)
        if record.is_open and more_follows and (
                len(data) - lines.starts[index] <= MAX_FIELD_BYTES):
            return taken, is_plain, int(index)
        done = int(index) + record.count
        is_plain[index:done] = False
        piece = data[lines.starts[index]:lines.stops[done - 1]]
        if record.fields is None:
            verdicts.add(int(index), "unbalanced_quote or bytes that are no text")
        elif b"\0" in piece:
            verdicts.add(int(index), "nul_byte", None, record.count)
        elif len(record.fields) != columns:
            verdicts.add(int(index), _count_text(len(record.fields), columns), None, record.count)
        else:
            taken.append((int(index), record.fields, record.count))
    return taken, is_plain, len(lines)


def _count_text(found: int, expected: int) -> str:
    return f"wrong_field_count (found {found}, expected {expected})"


def _blank(data: bytes, lines: Lines, is_plain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    blank: npt.NDArray[np.bool_] = is_plain & ~has_more_than_blanks(data, lines)
    return blank


def _judge_structure(data: bytes, lines: Lines, is_plain: npt.NDArray[np.bool_], columns: int,
                     header: bytes, verdicts: _Verdicts) -> None:
    length = lines.stops - lines.starts
    if b"\0" in data:
        for index in np.flatnonzero(is_plain & (count_in_lines(data, 0, lines) > 0)):
            verdicts.add(index, "nul_byte")
    for index in np.flatnonzero(is_plain & (length == len(header))):
        if data[lines.starts[index]:lines.stops[index]] == header:
            verdicts.add(index, "repeated_header")
    fields = count_in_lines(data, 0x2C, lines) + 1
    for index in np.flatnonzero(is_plain & (fields != columns)):
        verdicts.add(index, _count_text(int(fields[index]), columns))
    for index in np.flatnonzero(is_plain & (length > MAX_FIELD_BYTES)):
        pieces = data[lines.starts[index]:lines.stops[index]].split(b",")
        if max(map(len, pieces)) > MAX_FIELD_BYTES:
            verdicts.add(index, f"field_too_long (more than {MAX_FIELD_BYTES} bytes)")


def _decode(data: bytes, numbers: npt.NDArray[np.int64], encoding: str,
            verdicts: _Verdicts) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return the lines as UTF-8 without those that are no text, and their numbers."""
    if data.isascii():
        return data, numbers
    decode = codecs.getdecoder(encoding)
    try:
        text = decode(data)[0]
    except UnicodeDecodeError:
        pass
    else:
        return (data if encoding == "utf-8" else text.encode()), numbers
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0x0A) + 1
    view, at, parts, bad = memoryview(data), 0, [], []
    while at < len(data):
        try:
            parts.append(decode(view[at:])[0].encode())
            break
        except UnicodeDecodeError as error:
            index = int(np.searchsorted(ends, at + error.start, side="right"))
            start = int(ends[index - 1]) if index else 0
            parts.append(decode(view[at:start])[0].encode())
            bad.append(index)
            verdicts.add(int(numbers[index]), f"not_text (bytes that are no {encoding})")
            at = int(ends[index])
    return b"".join(parts), np.delete(numbers, bad)


def _as_text(data: bytes, numbers: npt.NDArray[np.int64], layout: Layout) -> pl.DataFrame:
    schema = dict.fromkeys(layout.names, pl.String)
    if not data:
        frame = pl.DataFrame(schema=schema)
    else:
        frame = pl.read_csv(data, has_header=False, schema=schema, quote_char=None)
    if frame.height != numbers.size:
        raise AssertionError(f"{frame.height} records parsed of {numbers.size} lines")
    return frame.select(layout.used).with_columns(pl.Series("line", numbers, pl.Int64))
