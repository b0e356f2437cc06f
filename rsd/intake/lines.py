"""Physical lines of a chunk as arrays, and the records that quotes make of them."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_FIELD_BYTES = 1 << 20
"""A longer field is no measurement; its record goes to quarantine."""
_MAX_JOINED_LINES = 100
_CSV_LIMIT = 100_000  # the library takes no field above 131,072 characters

_REGULAR = re.compile(r'(?:"(?:[^"]|"")*"|[^",]*)(?:,(?:"(?:[^"]|"")*"|[^",]*))*', re.DOTALL)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lines:
    """Where each physical line begins, ends (terminator excluded) and where the next begins."""

    starts: Ints
    stops: Ints
    nexts: Ints
    is_torn: bool

    def __len__(self) -> int:
        return int(self.starts.size)


def find_lines(data: bytes) -> Lines:
    """Find the lines of a chunk; LF, CRLF and a lone CR each end one.

    >>> lines = find_lines(b"a\\r\\nb\\rc\\nd")
    >>> [b"a\\r\\nb\\rc\\nd"[i:j] for i, j in zip(lines.starts, lines.stops)], lines.is_torn
    ([b'a', b'b', b'c', b'd'], True)
    """
    view = np.frombuffer(data, np.uint8)
    feeds = np.flatnonzero(view == 0x0A)
    returns = np.flatnonzero(view == 0x0D)
    followed = np.zeros(returns.size, bool)
    inside = returns + 1 < view.size
    followed[inside] = view[returns[inside] + 1] == 0x0A
    ends = np.sort(np.concatenate([feeds, returns[~followed]]))
    stops = ends.copy()
    after_cr = (view[ends] == 0x0A) & (ends > 0) & (view[np.maximum(ends - 1, 0)] == 0x0D)
    stops[after_cr] -= 1
    nexts = ends + 1
    starts = np.concatenate([[0], nexts]).astype(np.int64)
    is_torn = bool(starts[-1] < view.size)
    if is_torn:
        stops = np.append(stops, view.size)
        nexts = np.append(nexts, view.size)
    else:
        starts = starts[:-1]
    return Lines(starts, stops.astype(np.int64), nexts.astype(np.int64), is_torn)


def count_in_lines(data: bytes, byte: int, lines: Lines) -> Ints:
    """Return how often a byte occurs in each line."""
    if not len(lines):
        return np.zeros(0, np.int64)
    hits = np.frombuffer(data, np.uint8) == byte
    return np.add.reduceat(hits, lines.starts, dtype=np.int64)


def has_more_than_blanks(data: bytes, lines: Lines) -> npt.NDArray[np.bool_]:
    """Return which lines hold anything but blanks."""
    if not len(lines):
        return np.zeros(0, bool)
    view = np.frombuffer(data, np.uint8)
    blank = (view == 0x20) | ((view >= 0x09) & (view <= 0x0D))
    return np.add.reduceat(~blank, lines.starts, dtype=np.int64) > 0


def keep_lines(data: bytes, lines: Lines, keep: npt.NDArray[np.bool_]) -> bytes:
    """Return the kept lines, each ended by LF."""
    chosen = np.repeat(keep, lines.nexts - lines.starts)
    kept = np.frombuffer(data, np.uint8)[chosen].tobytes()
    kept = kept.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return kept if not kept or kept.endswith(b"\n") else kept + b"\n"


def split_fields(text: str) -> list[str] | None:
    """Split one record that has quotes; None where a quoted field is still open at its end.

    A quote opens a field only as its first character; elsewhere it is text.

    >>> split_fields('a,"b,c",d"e')
    ['a', 'b,c', 'd"e']
    >>> split_fields('a,"b') is None
    True
    """
    if len(text) < _CSV_LIMIT and "\n" not in text and "\r" not in text and (
            _REGULAR.fullmatch(text)):
        return next(csv.reader([text], strict=True))
    return _walk(text)[0]


def _walk(text: str) -> tuple[list[str] | None, bool]:
    """Return the fields, and whether every closing quote is followed by a comma or the end."""
    fields: list[str] = []
    is_tidy = True
    at, end = 0, len(text)
    while True:
        if at < end and text[at] == '"':
            close = at + 1
            while True:
                close = text.find('"', close)
                if close < 0:
                    return None, False
                if text[close + 1:close + 2] != '"':
                    break
                close += 2
            stop = text.find(",", close + 1)
            stop = end if stop < 0 else stop
            is_tidy &= stop == close + 1
            fields.append(text[at + 1:close].replace('""', '"') + text[close + 1:stop])
        else:
            stop = text.find(",", at)
            stop = end if stop < 0 else stop
            fields.append(text[at:stop])
        if stop >= end:
            return fields, is_tidy
        at = stop + 1


@dataclass(frozen=True)
class Joined:
    """A record that begins at line ``first`` and takes ``count`` lines; fields None: unusable."""

    first: int
    count: int
    fields: list[str] | None
    is_open: bool = False


def join_quoted(data: bytes, lines: Lines, first: int, columns: int, encoding: str) -> Joined:
    """Read the record that begins at a line with a quote, over later lines while it is open.

    A field that stays open, or closes with another number of fields, condemns its first line only.
    """
    limit = min(len(lines), first + _MAX_JOINED_LINES)
    for last in range(first, limit):
        piece = data[lines.starts[first]:lines.stops[last]]
        if len(piece) > MAX_FIELD_BYTES:
            return Joined(first, 1, None)
        try:
            fields = split_fields(piece.decode(encoding))
        except UnicodeDecodeError:
            return Joined(first, 1, None)
        if fields is not None:
            # over lines, a stray quote must not swallow records up to the next one
            fits = last == first or (
                len(fields) == columns and _walk(piece.decode(encoding))[1])
            return Joined(first, last - first + 1 if fits else 1, fields if fits else None)
    return Joined(first, 1, None, is_open=limit == len(lines))
