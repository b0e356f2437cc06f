"""UTF-16 read as UTF-8, and back, without losing a byte.

Every sequence of bytes has exactly one image, so that a quarantined record gets back its own bytes
and its place: a lone surrogate becomes its three bytes (which are no UTF-8), and a byte that is
half a unit becomes two, the first of F8 to FB (which no UTF-8 has). A record with either is refused
as no text; all others are what they would be in a UTF-8 file.

Where a byte was lost, all that follows would stand shifted by one. A line end at the wrong parity,
with text behind it that is text only at that parity, brings the reading back into step: the record
that lost the byte is lost, the next one is whole.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.intake.packings import Readable

LITTLE, BIG = "utf-16-le", "utf-16-be"
Ints = npt.NDArray[np.int64]

_UNITS = {LITTLE: "<u2", BIG: ">u2"}
_HEADER_BYTES = 512  # looked at first: damage further on decides nothing
_AHEAD_UNITS = 32
_LEAD = 3
_HELD_BYTES = 2 * _AHEAD_UNITS + 4
_HALF = re.compile(rb"[\xf8-\xfb][\x80-\xbf]")
# bytes of UTF-16 that a byte of the image stands for, given where a character begins
_SIZES = np.zeros(256, np.uint8)
_SIZES[:0x80], _SIZES[0xC0:0xF0], _SIZES[0xF0:0xF8], _SIZES[0xF8:] = 2, 2, 4, 1


def evident(head: bytes) -> str | None:
    """Return the byte order of UTF-16 text, by its mark or by its zeros; None for other text.

    >>> evident("id,时间".encode("utf-16-be")), evident("id,时间".encode())
    ('utf-16-be', None)
    """
    if head.startswith(b"\xff\xfe"):
        return LITTLE
    if head.startswith(b"\xfe\xff"):
        return BIG
    return by_zeros(head[:_HEADER_BYTES]) or by_zeros(head)


def by_zeros(head: bytes) -> str | None:
    """Return the byte order of UTF-16 text that has no mark; None for other text."""
    units = len(head) // 2
    first, second = head[:2 * units:2].count(0), head[1:2 * units:2].count(0)
    few, many = sorted((first, second))
    # the separators alone are a sixth of a Chinese header's units; other text has no zeros at all
    if units < 2 or many < 0.1 * units or 8 * few > many:
        return None
    return LITTLE if second > first else BIG


class Transcoder:
    """UTF-16 in, its image in UTF-8 out."""

    def __init__(self, stream: Readable, codec: str) -> None:
        self._stream, self._codec, self._held = stream, codec, b""

    def read(self, size: int, /) -> bytes:
        """Return the image of about ``size`` more bytes, none at the end."""
        while True:
            block = self._stream.read(max(size, 2))
            data, is_last = self._held + block, not block
            if not data:
                return b""
            text, taken = _transcoded(data, self._codec, is_last)
            self._held = data[taken:]
            if text or is_last:
                return text


def _transcoded(data: bytes, codec: str, is_last: bool) -> tuple[bytes, int]:
    """Return the image of what is decided, and how many bytes that is."""
    end = len(data) if is_last else len(data) - _HELD_BYTES
    if end <= 0:
        return b"", 0
    parts: list[bytes] = []
    at = 0
    for step in _steps(data, codec, end):
        parts += [image(data[at:step - 1], codec), _half(data[step - 1])]
        at = step
    stop = end - (end - at) % 2
    if not is_last and stop > at and _is_high(data[stop - 2:stop], codec):
        stop -= 2
    parts.append(image(data[at:stop], codec))
    if is_last and stop < len(data):
        parts.append(_half(data[stop]))
        stop = len(data)
    return b"".join(parts), stop


def _steps(data: bytes, codec: str, end: int) -> list[int]:
    """Return where the text comes back into step, each time at the other parity."""
    steps: dict[int, Ints] = {}  # by parity; those of text that is in step are seldom asked for
    found: list[int] = []
    parity = 1
    while True:
        if parity not in steps:
            steps[parity] = _better(data, codec, _line_ends(data, codec, parity, end))
        there = steps[parity]
        next_one = int(np.searchsorted(there, found[-1] + 1)) if found else 0
        if next_one == there.size:
            return found
        found.append(int(there[next_one]))
        parity = 1 - parity


def _line_ends(data: bytes, codec: str, parity: int, end: int) -> Ints:
    count = max(0, (min(end + 1, len(data)) - parity) // 2)
    units = np.frombuffer(data, _UNITS[codec], count, parity) if count else np.zeros(0, np.uint16)
    ends = np.flatnonzero((units == 0x0A) | (units == 0x0D)).astype(np.int64) * 2 + parity
    after_start: Ints = ends[ends > 0]
    return after_start


def _better(data: bytes, codec: str, places: Ints) -> Ints:
    """Return the places from where on the text is ASCII in their step, not in that one byte before.

    The first step to lead by three units is taken: a second damage soon after decides nothing.
    """
    if not places.size:
        return places
    view = np.frombuffer(data + bytes(_HELD_BYTES), np.uint8)
    lead, winner = np.zeros(places.size, np.int8), np.zeros(places.size, np.int8)
    for ahead in range(0, 2 * _AHEAD_UNITS, 2):
        lead += _is_ascii(view, codec, places + ahead)
        lead -= _is_ascii(view, codec, places + (ahead - 1))
        winner = np.where((winner == 0) & (np.abs(lead) >= _LEAD), np.sign(lead), winner)
    better: Ints = places[(winner > 0) | ((winner == 0) & (lead >= _LEAD - 1))]
    return better


def _is_ascii(view: npt.NDArray[np.uint8], codec: str, at: Ints) -> npt.NDArray[np.int8]:
    first, second = view[at], view[at + 1]
    low, high = (first, second) if codec == LITTLE else (second, first)
    is_ascii: npt.NDArray[np.int8] = ((high == 0) & (low > 0) & (low < 0x80)).astype(np.int8)
    return is_ascii


def _is_high(unit: bytes, codec: str) -> bool:
    return 0xD8 <= unit[1 if codec == LITTLE else 0] <= 0xDB


def _half(byte: int) -> bytes:
    return bytes((0xF8 | byte >> 6, 0x80 | byte & 0x3F))


def image(data: bytes, codec: str) -> bytes:
    """Return the image of whole units."""
    return data.decode(codec, "surrogatepass").encode("utf-8", "surrogatepass")


def original(text: bytes, codec: str) -> bytes:
    """Return the bytes whose image a text is.

    >>> original(b"a\\xed\\xa0\\x80\\xf8\\x87", LITTLE)
    b'a\\x00\\x00\\xd8\\x07'
    """
    parts, at = [], 0
    for half in _HALF.finditer(text):
        parts += [_whole(text[at:half.start()], codec),
                  bytes(((half[0][0] & 3) << 6 | half[0][1] & 0x3F,))]
        at = half.end()
    return b"".join([*parts, _whole(text[at:], codec)])


def _whole(text: bytes, codec: str) -> bytes:
    return text.decode("utf-8", "surrogatepass").encode(codec, "surrogatepass")


def original_size(text: bytes) -> int:
    """Return how many bytes of UTF-16 a text is the image of."""
    return 2 * len(text) if text.isascii() else int(
        _SIZES[np.frombuffer(text, np.uint8)].sum(dtype=np.int64))


def located(bad: pl.DataFrame, text: bytes, offset: int, end: int, codec: str) -> pl.DataFrame:
    """Give quarantined records their own bytes and places back.

    Args:
        bad: columns ``byte_offset`` and ``raw`` of the image, in order of the offset.
        text: the image that they were found in.
        offset: where in the whole image it begins.
        end: where in the original it ends.
        codec: `LITTLE` or `BIG`.
    """
    if bad.is_empty():
        return bad
    at = bad["byte_offset"].to_numpy() - offset
    sizes = np.add.reduceat(_SIZES[np.frombuffer(text, np.uint8)], at, dtype=np.int64)
    places = end - np.cumsum(sizes[::-1])[::-1]
    return bad.with_columns(
        pl.Series("byte_offset", places, pl.Int64),
        pl.Series("raw", [original(raw, codec) for raw in bad["raw"]], pl.Binary))
