"""Bytes → raw records, every one accounted for.

Prove, else fall back. A chunk whose separators number exactly rows × (columns - 1), which has no
quote, NUL or stray CR, and which the strict typed parse takes whole, is proven: short and long rows
cannot cancel out, because the strict parse refuses every long one. Any other chunk takes the path
of `rsd.intake.damaged`, record by record where it must.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from rsd.columns import QUARANTINE, empty
from rsd.errors import InputRefused
from rsd.intake import damaged
from rsd.intake.formats import Format, recognise, split_header
from rsd.intake.layout import Layout
from rsd.intake.lines import MAX_FIELD_BYTES
from rsd.intake.source import Chunk, Source, stream_chunks

_BOM = b"\xef\xbb\xbf"


@dataclass
class Account:
    """What became of a file's records. ``accepted`` counts before duplicates are taken out."""

    records: int = 0
    quarantined: int = 0
    blank: int = 0
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Records:
    """Records of one chunk: raw cells typed by the layout, and what could not be used."""

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    blank: int


class Reader:
    """Read one dump: the header first, then chunk after chunk.

    Args:
        source: the dump.
        timezone: IANA name of the lake's zone.
        format_id: force this format.

    Raises:
        InputRefused: no text, no known header, a required column missing.
    """

    def __init__(self, source: Source, timezone: str, format_id: str | None = None) -> None:
        self.source = source
        self._chunks = stream_chunks(source)
        self._first = next(self._chunks, None)
        if self._first is None:
            raise InputRefused("the file is empty", where=str(source.path),
                               expected="a header line")
        head, body, line_bytes = _split_first_line(self._first.data)
        self._encoding: str | None = None
        if head.startswith(_BOM):
            head, self._encoding = head[len(_BOM):], "utf-8"
        names = split_header(_header_text(head, source))
        self.format: Format = recognise(names, str(source.path), format_id)
        self.layout = Layout.of(self.format, names, timezone)
        self._header_bytes = head
        self._torn_header = self._first.torn and not body
        self._first = Chunk(body, self._first.offset + line_bytes,
                            self._first.torn and bool(body))

    def __iter__(self) -> Iterator[Records]:
        """Yield the records of each chunk in the file's order."""
        line, carry = 2, Chunk(b"", self._first.offset if self._first else 0)
        for chunk in self._all():
            data, offset = carry.data + chunk.data, chunk.offset - len(carry.data)
            whole = Chunk(data, offset, chunk.torn)
            records = self._prove(whole, line)
            if records is not None:
                line += records.frame.height
                carry = Chunk(b"", 0)
            else:
                encoding = self._choose_encoding(data)
                result = damaged.read(whole, self.layout, encoding, line, self._header_bytes,
                                      more_follows=not chunk.torn)
                records = Records(result.frame, self._located(result.quarantine), result.blank)
                line += result.lines
                carry = Chunk(result.carry, offset + len(data) - len(result.carry))
            yield records
        if carry.data:
            whole = Chunk(carry.data, carry.offset)
            result = damaged.read(whole, self.layout, self._choose_encoding(carry.data), line,
                                  self._header_bytes, more_follows=False)
            yield Records(result.frame, self._located(result.quarantine), result.blank)

    def _all(self) -> Iterator[Chunk]:
        if self._first is not None and self._first.data:
            yield self._first
        yield from self._chunks

    def _prove(self, chunk: Chunk, line: int) -> Records | None:
        if chunk.torn and self.format.needs_final_newline:
            return None
        data = chunk.data
        if b'"' in data or b"\0" in data:
            return None
        if b"\r" in data:
            if data.count(b"\r") != data.count(b"\r\n"):
                return None
            data = data.replace(b"\r\n", b"\n")
        rows = _count_rows(data, len(self.layout.names))
        if rows is None:
            return None
        encoding = "utf-8" if data.isascii() else self._choose_encoding(data)
        if encoding != "utf-8":
            try:
                data = data.decode(encoding).encode()
            except UnicodeDecodeError:
                return None
        frame = self.layout.parse_strict(data)
        if frame is None or frame.height != rows:
            return None
        numbered = frame.with_columns(
            pl.int_range(line, line + rows, dtype=pl.Int64).alias("source_line"))
        return Records(numbered, empty(QUARANTINE), 0)

    def _choose_encoding(self, data: bytes) -> str:
        """Decide once: UTF-8 if most lines beyond ASCII are UTF-8 (GB18030 hardly ever is)."""
        if self._encoding is None and not data.isascii():
            self._encoding = _guess_encoding(data, self.format.encodings)
        return self._encoding or "utf-8"

    def _located(self, quarantine: pl.DataFrame) -> pl.DataFrame:
        return quarantine.with_columns(
            source_sha256=pl.lit(self.source.sha256), file=pl.lit(self.source.name),
        ).select(list(empty(QUARANTINE).columns))


def _split_first_line(data: bytes) -> tuple[bytes, bytes, int]:
    ends = [p for p in (data.find(b"\n"), data.find(b"\r")) if p >= 0]
    if not ends:
        return data, b"", len(data)
    end = min(ends)
    length = end + (2 if data[end:end + 2] == b"\r\n" else 1)
    return data[:end], data[length:], length


def _header_text(head: bytes, source: Source) -> str:
    if b"\0" in head or len(head) > 1 << 20:
        raise InputRefused("the first line is no header", where=f"{source.path}, line 1",
                           found="bytes that are no text" if b"\0" in head else "an endless line",
                           expected="column names separated by commas",
                           remedy="This is no dump; check the file.")
    for encoding in ("utf-8", "gb18030"):
        try:
            return head.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the first line is no text", where=f"{source.path}, line 1",
                       found="bytes that are neither UTF-8 nor GB18030",
                       expected="column names separated by commas",
                       remedy="This is no dump; check the file.")


def _count_rows(data: bytes, columns: int) -> int | None:
    """Return the number of rows if line ends and separators agree with the columns."""
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == 0x0A)
    rows = ends.size + (0 if data.endswith(b"\n") else 1)
    separators = int(np.count_nonzero(view == 0x2C))
    longest = int(np.diff(ends, prepend=-1).max()) if ends.size else len(data)
    if separators != rows * (columns - 1) or longest > MAX_FIELD_BYTES:
        return None
    return rows


def _guess_encoding(data: bytes, allowed: tuple[str, ...]) -> str:
    lines = [piece for piece in data[:1 << 20].splitlines() if not piece.isascii()]
    good = 0
    for piece in lines:
        try:
            piece.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            continue
    if 2 * good >= len(lines) or "gb18030" not in allowed:
        return "utf-8"
    return "gb18030"
