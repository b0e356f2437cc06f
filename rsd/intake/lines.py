"""Physical lines of a chunk as arrays, and the records that quotes make of them."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

MAX_FIELD_BYTES = 1 << 20
"""A longer field is no measurement; its record goes to quarantine."""
_MAX_JOINED_LINES = 100
_CSV_LIMIT = 100_000  # the library takes no field above 131,072 characters

_BLOCK_BYTES = 1 << 18  # stays in the processor's cache

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Lines:
    """Where each physical line begins, ends (terminator excluded) and where the next begins."""

    starts: Ints
    stops: Ints
    nexts: Ints
    is_torn: bool

    def __len__(self) -> int:
        return int(self.starts.size)


def find_bytes(data: bytes, byte: int) -> Ints:
    """Return the places of a byte, in order."""
    view = np.frombuffer(data, np.uint8)
    found = [np.flatnonzero(view[at:at + _BLOCK_BYTES] == byte) + at
             for at in range(0, view.size, _BLOCK_BYTES)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def find_separators(data: bytes, separator: int, encoding: str) -> Ints:
    """Return the places of separators; in GB18030 ``|`` may be the second byte of a character."""
    found = find_bytes(data, separator)
    if separator < 0x40 or encoding != "gb18030" or data.isascii():
        return found
    view = np.frombuffer(data, np.uint8)
    after_high = found[(found > 0) & (view[found - 1] > 0x80)]
    low = np.append(-1, np.flatnonzero(view <= 0x80))
    run = after_high - low[np.searchsorted(low, after_high) - 1] - 1
    return np.setdiff1d(found, after_high[run % 2 == 1], assume_unique=True)


def find_lines(data: bytes) -> Lines:
    """Find the lines of a chunk; LF, CRLF and a lone CR each end one.

    >>> lines = find_lines(b"a\\r\\nb\\rc\\nd")
    >>> [b"a\\r\\nb\\rc\\nd"[i:j] for i, j in zip(lines.starts, lines.stops)], lines.is_torn
    ([b'a', b'b', b'c', b'd'], True)
    """
    ends = find_bytes(data, 0x0A)
    stops = ends.copy()
    if b"\r" in data:
        ends, stops = _with_returns(np.frombuffer(data, np.uint8), ends)
    nexts = ends + 1
    starts = np.concatenate([np.zeros(1, np.int64), nexts])
    is_torn = bool(starts[-1] < len(data))
    if is_torn:
        stops, nexts = np.append(stops, len(data)), np.append(nexts, len(data))
    else:
        starts = starts[:-1]
    return Lines(starts, stops, nexts, is_torn)


def _with_returns(view: npt.NDArray[np.uint8], feeds: Ints) -> tuple[Ints, Ints]:
    """Return the last byte of every line end, and where the lines stop."""
    returns = np.flatnonzero(view == 0x0D)
    followed = np.zeros(returns.size, bool)
    inside = returns + 1 < view.size
    followed[inside] = view[returns[inside] + 1] == 0x0A
    ends = np.sort(np.concatenate([feeds, returns[~followed]]))
    after_cr = (view[ends] == 0x0A) & (ends > 0) & (view[np.maximum(ends - 1, 0)] == 0x0D)
    return ends, ends - after_cr


def count_in_lines(places: Ints, lines: Lines) -> Ints:
    """Return how many of some places lie in each line."""
    before = np.searchsorted(places, np.append(lines.starts, lines.nexts[-1:]))
    counts: Ints = np.diff(before)
    return counts


def line_of(places: Ints, lines: Lines) -> Ints:
    """Return the index of the line that each place lies in."""
    return np.searchsorted(lines.nexts, places, side="right")


def are_blank(data: bytes, lines: Lines) -> Bools:
    """Return which lines hold nothing but blanks; most are told by their first byte."""
    blank: Bools = lines.starts == lines.stops
    first = np.frombuffer(data, np.uint8)[np.where(blank, 0, lines.starts)] if data else blank
    for index in np.flatnonzero(~blank & ((first == 0x20) | ((first >= 0x09) & (first <= 0x0C)))):
        blank[index] = not data[lines.starts[index]:lines.stops[index]].strip()
    return blank


def keep_lines(data: bytes, lines: Lines, keep: Bools) -> bytes:
    """Return the kept lines, each ended by LF."""
    if b"\r" in data:  # a CR and the LF of a later line must not become one line end
        pieces = [data[start:stop] for start, stop in zip(
            lines.starts[keep].tolist(), lines.stops[keep].tolist(), strict=True)]
        return b"\n".join([*pieces, b""]) if pieces else b""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], keep, [False]])))
    view = memoryview(data)
    runs = zip(lines.starts[edges[::2]].tolist(), lines.nexts[edges[1::2] - 1].tolist(),
               strict=True)
    kept = b"".join(view[start:stop] for start, stop in runs)
    return kept if not kept or kept.endswith(b"\n") else kept + b"\n"


def are_simply_quoted(data: bytes, quotes: Ints, separators: Ints, lines: Lines) -> Bools:
    """Return which lines mean the same with their quotes left out.

    Each quote there begins or ends a cell, and no separator stands between the two of a cell.

    Args:
        data: the chunk.
        quotes: places of all quotes.
        separators: places of all separators.
        lines: the chunk's lines.
    """
    counts = count_in_lines(quotes, lines)
    is_opening = np.zeros(quotes.size, bool)
    is_opening[::2] = True
    is_opening ^= np.repeat((np.cumsum(counts) - counts) % 2 == 1, counts)
    opening, closing = quotes[is_opening], np.append(quotes[1:], len(data))[is_opening]
    following = np.append(separators, len(data))[np.searchsorted(separators, opening)]
    edges = np.zeros(256, bool)
    view = np.frombuffer(data, np.uint8)
    edges[[0x0A, 0x0D]] = True
    edges[view[separators[:1]]] = True
    begins = (opening == 0) | edges[view[opening - 1]]
    ended = quotes[~is_opening]
    ends = (ended + 1 == len(data)) | edges[view[(ended + 1) % len(data)]]
    wrong = np.concatenate([opening[~begins | (following < closing)], ended[~ends]])
    is_short = lines.stops - lines.starts <= MAX_FIELD_BYTES
    simple: Bools = (counts > 0) & (counts % 2 == 0) & is_short
    simple[line_of(wrong, lines)] = False
    return simple


def split_fields(text: str, separator: str = ",") -> list[str] | None:
    """Split one record that has quotes; None where a quoted field is still open at its end.

    A quote opens a field only as its first character; elsewhere it is text.

    >>> split_fields('a,"b,c",d"e')
    ['a', 'b,c', 'd"e']
    >>> split_fields('a,"b') is None
    True
    """
    if len(text) < _CSV_LIMIT and "\n" not in text and "\r" not in text and (
            _regular(separator).fullmatch(text)):
        return next(csv.reader([text], strict=True, delimiter=separator))
    fields, is_open, _ = _walk(text, separator)
    return None if is_open else fields


@cache
def _regular(separator: str) -> re.Pattern[str]:
    s = re.escape(separator)
    cell = rf'(?:"(?:[^"]|"")*"|[^"{s}]*)'
    return re.compile(f"{cell}(?:{s}{cell})*", re.DOTALL)


def _walk(text: str, separator: str) -> tuple[list[str], bool, bool]:
    """Return the closed fields, whether one more is open, and whether the quotes are tidy.

    They are if every closing quote is followed by a separator or the end.
    """
    fields: list[str] = []
    is_tidy = True
    at, end = 0, len(text)
    while True:
        if at < end and text[at] == '"':
            close = at + 1
            while True:
                close = text.find('"', close)
                if close < 0:
                    return fields, True, is_tidy
                if text[close + 1:close + 2] != '"':
                    break
                close += 2
            stop = text.find(separator, close + 1)
            stop = end if stop < 0 else stop
            is_tidy &= stop == close + 1
            fields.append(text[at + 1:close].replace('""', '"') + text[close + 1:stop])
        else:
            stop = text.find(separator, at)
            stop = end if stop < 0 else stop
            fields.append(text[at:stop])
        if stop >= end:
            return fields, False, is_tidy
        at = stop + 1


@dataclass(frozen=True)
class Joined:
    """A record that begins at line ``first`` and takes ``count`` lines; fields None: unusable."""

    first: int
    count: int
    fields: list[str] | None
    is_open: bool = False
    why: str = "unbalanced_quote"


def join_quoted(data: bytes, lines: Lines, first: int, columns: int, encoding: str,
                separator: str = ",") -> Joined:
    """Read the record that begins at a line with a quote, over later lines while it is open.

    A field that stays open, or closes with another number of fields, condemns its first line only.
    So does a join of which a later line has the right number of fields alone: a stray quote, closed
    by a later one, would make one record of them and of all in between.
    """
    limit = min(len(lines), first + _MAX_JOINED_LINES)
    start, end = lines.starts[first], lines.stops[limit - 1]
    last = first
    while True:
        text, why = _decoded(data[start:lines.stops[last]], encoding)
        if text is None:
            return Joined(first, 1, None, why=why if last == first else "unbalanced_quote")
        if last == first and (alone := split_fields(text, separator)) is not None:
            return Joined(first, 1, alone)
        fields, is_open, is_tidy = _walk(text, separator)
        if not is_open:
            # a stray quote must not swallow records up to the next one
            fits = len(fields) == columns and is_tidy and (
                not _has_whole_line(data, lines, first, last, columns, separator))
            return Joined(first, last - first + 1 if fits else 1, fields if fits else None)
        if not is_tidy or len(fields) >= columns:
            break  # no later line can mend that; without this, each line costs a hundred
        closing = data.find(b'"', lines.nexts[last], end)  # only a line with a quote can close it
        if closing < 0:
            break
        last = int(np.searchsorted(lines.nexts, closing, side="right"))
    may_close = limit == len(lines) and is_tidy and len(fields) < columns
    is_open = may_close and _decoded(data[start:end], encoding)[0] is not None
    return Joined(first, 1, None, is_open)


def _has_whole_line(data: bytes, lines: Lines, first: int, last: int, columns: int,
                    separator: str) -> bool:
    """Say whether a line after the first could be a record; the last one may end the first cell."""
    cell_ends = separator.encode()
    for k in range(first + 1, last + 1):
        line = data[lines.starts[k]:lines.stops[k]]
        inside = line if k < last else line.partition(b'"')[0]
        if line.count(cell_ends) == columns - 1 and cell_ends in inside:
            return True
    return False


def _decoded(piece: bytes, encoding: str) -> tuple[str | None, str]:
    """Return the text of a record's bytes, or why there is none."""
    if len(piece) > MAX_FIELD_BYTES:
        return None, f"field_too_long (a record with quotes above {MAX_FIELD_BYTES} bytes)"
    try:
        return piece.decode(encoding), ""
    except UnicodeDecodeError:
        return None, f"not_text (bytes that are no {encoding})"
