"""Bytes → raw records, every one accounted for.

Prove, else fall back. A chunk that has no quote, NUL or stray CR, and which the strict typed parse
takes whole, is proven: the parse refuses every long row, and a short one leaves the last column
null, where the separators are counted. Any other chunk takes the path
of `rsd.intake.damaged`, record by record where it must.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.columns import QUARANTINE, empty
from rsd.errors import InputRefused
from rsd.intake import damaged, long, utf16
from rsd.intake.chunks import Chunk
from rsd.intake.formats import Format, header_separator, recognise, split_header
from rsd.intake.layout import Layout
from rsd.intake.lines import MAX_FIELD_BYTES
from rsd.intake.passes import to_reported
from rsd.intake.source import STANDARD_INPUT, Source, beginning, stream_chunks

_BLOCK_BYTES = 1 << 18
_SAMPLE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_PLATE_IN_GB = re.compile(rb'(?:^|[,;|\t" ])(?:\xc2\xb3|\xd4\xa5)[A-Z]')
"""\u9c81 and \u8c6b, the only provinces whose GB18030 bytes are UTF-8 too."""


@dataclass(frozen=True)
class Records:
    """Reported passes of one chunk (`rsd.intake.passes`), and what could not be used.

    ``rows`` says where the rows of a long dump stand before they are joined to passes.
    """

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    blank: int
    rows: tuple[Chunk, int] | None = None


_Read = tuple[Records, int, bytes]


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
        first = next(self._chunks, None)
        if first is None:
            raise InputRefused("the file is empty", where=source.where,
                               expected="a header line")
        head, body, line_bytes = _split_first_line(first.data)
        self._encoding: str | None = None
        if head.startswith(_BOM):
            head, self._encoding = head[len(_BOM):], "utf-8"
        elif first.codec is not None:
            self._encoding = "utf-8"
        else:
            self._encoding = self._sampled_encoding(source)
        text = _header_text(head, source)
        names, separator = split_header(text, f"{source.where}, line 1"), header_separator(text)
        self.format: Format = recognise(names, source.where, format_id, separator)
        self.layout = Layout.of(self.format, names, timezone, separator=separator,
                                site=place_named(source.name))
        if self.layout.site and source.name.startswith(STANDARD_INPUT):
            raise InputRefused("nothing names the site", where=source.where,
                               expected="a file whose name is that of the place",
                               remedy="Standard input has no name; give the file itself.")
        self._header_bytes = head
        self._first = replace(first, data=body, offset=first.offset + line_bytes,
                              torn=first.torn and bool(body))

    @staticmethod
    def _sampled_encoding(source: Source) -> str | None:
        """Guess from the beginning of the file, so that one damaged line decides nothing."""
        sample = beginning(source, _SAMPLE_BYTES)
        return None if sample.isascii() else _guess_encoding(sample)

    def __iter__(self) -> Iterator[Records]:
        """Yield the records of each chunk in the file's order; rows of a long dump are joined."""
        if self.format.long is None:
            yield from self._chunk_records()
            return
        joiner = long.Joiner(self.layout, self.source)
        for part in self._chunk_records():
            if part.rows is not None:
                passes, quarantine = joiner.add(
                    long.Rows(part.frame, part.quarantine, *part.rows))
                yield Records(passes, _located(quarantine, part.rows[0]), part.blank)
        yield Records(joiner.close(), empty(QUARANTINE), 0)

    def _chunk_records(self) -> Iterator[Records]:
        """Yield each chunk's records, of a long dump its rows.

        While the caller works on one chunk, the next one is read in a thread, as if none before it
        left anything over; where one did, it is read again behind that.
        """
        line, carry = self._first.line + 1, b""
        with ThreadPoolExecutor(1, "rsd-read") as pool:
            for chunk, begun in _ahead(self._all(), lambda c: pool.submit(self._read, c)):
                if carry:
                    whole = replace(chunk, data=carry + chunk.data,
                                    offset=chunk.offset - len(carry))
                    records, lines, carry = self._damaged(whole, more_follows=not chunk.torn)
                else:
                    records, lines, carry = begun.result()
                yield _from_line(records, line)
                line += lines
        if carry:
            whole = replace(chunk, data=carry, torn=False,
                            offset=chunk.offset + len(chunk.data) - len(carry))
            yield _from_line(self._damaged(whole, more_follows=False)[0], line)

    def _all(self) -> Iterator[Chunk]:
        for chunk in chain([self._first] if self._first.data else [], self._chunks):
            self._choose_encoding(chunk.data)  # here, in the file's order, not where threads race
            yield chunk

    def _read(self, chunk: Chunk) -> _Read:
        """Return a chunk's records, lines numbered from 0, how many lines it has, and what is left
        over for the next.
        """
        reported = self._prove(chunk)
        if reported is None:
            return self._damaged(chunk, more_follows=not chunk.torn)
        return Records(reported, empty(QUARANTINE), 0, self._where(chunk)), reported.height, b""

    def _prove(self, chunk: Chunk) -> pl.DataFrame | None:
        """Return the reported passes of a chunk that is proven whole, lines numbered from 0."""
        if chunk.torn and self.format.needs_final_newline:
            return None
        data = chunk.data
        if b"\r" in data and data.count(b"\r") == data.count(b"\r\n"):
            data = data.replace(b"\r\n", b"\n")
        counts = _count_lines(data, self.layout.separator)
        text = self._as_utf8(data) if counts is not None else None
        if counts is None or text is None or (not text.isascii() and _has_wide_blank(text)):
            return None
        rows, spaces = counts
        frame = self.layout.parse_strict(text, rows)
        if frame is None or (spaces != self.layout.blanks_in_times(frame)
                             and not _is_trimmed(data, self.layout.separator)):
            return None
        numbered = frame.with_columns(source_line=pl.int_range(rows, dtype=pl.Int64))
        return self._reported(numbered)

    def _reported(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame if self.format.long else to_reported(frame, self.layout)

    def _where(self, chunk: Chunk) -> tuple[Chunk, int] | None:
        """Return where a long dump's rows stand; other formats need not keep the bytes."""
        return (chunk, 0) if self.format.long else None

    def _as_utf8(self, data: bytes) -> bytes | None:
        if data.isascii() or (encoding := self._choose_encoding(data)) == "utf-8":
            return data  # the typed parse refuses bytes that are no UTF-8
        try:
            return data.decode(encoding).encode()
        except UnicodeDecodeError:
            return None

    def _damaged(self, chunk: Chunk, *, more_follows: bool) -> _Read:
        encoding = self._choose_encoding(chunk.data)
        result = damaged.read(chunk, self.layout, encoding, 0, self._header_bytes,
                              more_follows=more_follows)
        where = {"source_sha256": pl.lit(self.source.sha256), "file": pl.lit(self.source.name)}
        quarantine = result.quarantine.with_columns(**where).select(empty(QUARANTINE).columns)
        if not self.format.long:
            quarantine = _located(quarantine, chunk)
        records = Records(self._reported(result.frame), quarantine, result.blank,
                          self._where(chunk))
        return records, result.lines, result.carry

    def _choose_encoding(self, data: bytes) -> str:
        """Decide once: UTF-8 if most lines beyond ASCII are UTF-8 (GB18030 hardly ever is)."""
        if self._encoding is None and not data.isascii():
            self._encoding = _guess_encoding(data)
        known = self._encoding in self.format.encodings
        return self._encoding if self._encoding is not None and known else "utf-8"


def _from_line(records: Records, line: int) -> Records:
    """Return records whose lines were numbered from 0 with those of the file."""
    return Records(
        records.frame.with_columns(pl.col("source_line") + line),
        records.quarantine.with_columns(pl.col("line") + line), records.blank,
        None if records.rows is None else (records.rows[0], line))


def _located(quarantine: pl.DataFrame, chunk: Chunk) -> pl.DataFrame:
    """Return quarantined records of UTF-16 with the bytes and places of the file."""
    if chunk.codec is None:
        return quarantine
    return utf16.located(quarantine, chunk.data, chunk.offset, chunk.end, chunk.codec)


def place_named(name: str) -> str:
    """Return the place that a file's name tells: without folders and endings.

    >>> place_named("2024.zip/Example Road.csv.gz")
    'Example Road'
    """
    last = re.split(r"[/\\]", name)[-1]
    return last.split(".")[0].strip() or last


def _ahead(chunks: Iterator[Chunk], start: Callable[[Chunk], Future[_Read]],
           ) -> Iterator[tuple[Chunk, Future[_Read]]]:
    """Yield each chunk with its started work, one chunk ahead of the caller."""
    before: tuple[Chunk, Future[_Read]] | None = None
    for chunk in chunks:
        begun = (chunk, start(chunk))
        if before is not None:
            yield before
        before = begun
    if before is not None:
        yield before


def _split_first_line(data: bytes) -> tuple[bytes, bytes, int]:
    ends = [p for p in (data.find(b"\n"), data.find(b"\r")) if p >= 0]
    if not ends:
        return data, b"", len(data)
    end = min(ends)
    length = end + (2 if data[end:end + 2] == b"\r\n" else 1)
    return data[:end], data[length:], length


def _header_text(head: bytes, source: Source) -> str:
    if b"\0" in head or len(head) > 1 << 20:
        raise InputRefused("the first line is no header", where=f"{source.where}, line 1",
                           found="bytes that are no text" if b"\0" in head else "an endless line",
                           expected="column names separated by commas",
                           remedy="This is no dump; check the file.")
    for encoding in ("utf-8", "gb18030"):
        try:
            return head.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the first line is no text", where=f"{source.where}, line 1",
                       found="bytes that are neither UTF-8 nor GB18030",
                       expected="column names separated by commas",
                       remedy="This is no dump; check the file.")


def _count_lines(data: bytes, separator: int) -> tuple[int, int] | None:
    """Return the numbers of lines and of blanks; None where a quote or control character stands, or
    where a line could hold a huge field.
    """
    if b'"' in data:
        return None
    view = np.frombuffer(data, np.uint8)
    ends, low, spaces, is_dense = 0, 0, 0, True
    for start in range(0, view.size, _BLOCK_BYTES):  # blocks that stay in the processor's cache
        block = view[start:start + _BLOCK_BYTES]
        found = int(np.count_nonzero(block == 0x0A))
        is_dense &= found > 0 or block.size < _BLOCK_BYTES
        ends += found
        low += int(np.count_nonzero(block < 0x20))
        spaces += int(np.count_nonzero(block == 0x20))
    tabs = 0 if separator != 0x09 else int(np.count_nonzero(view == separator))
    if low != ends + tabs or not (is_dense or _longest_line(view) <= MAX_FIELD_BYTES):
        return None
    return ends + (0 if data.endswith(b"\n") else 1), spaces


def _longest_line(view: npt.NDArray[np.uint8]) -> int:
    ends = np.flatnonzero(view == 0x0A)
    return int(np.diff(ends, prepend=-1, append=view.size).max())


def _is_trimmed(data: bytes, separator: int) -> bool:
    """Say whether no blank begins or ends a cell."""
    view = np.frombuffer(data, np.uint8)
    if view[0] == 0x20 or view[-1] == 0x20:
        return False
    for start in range(0, view.size, _BLOCK_BYTES):
        block = view[start:start + _BLOCK_BYTES + 1]
        is_edge = (block == separator) | (block == 0x0A)
        is_space = block == 0x20
        if (is_edge[:-1] & is_space[1:]).any() or (is_space[:-1] & is_edge[1:]).any():
            return False
    return True


def _has_wide_blank(text: bytes) -> bool:
    """Tell whether UTF-8 text holds a blank beyond ASCII: one look a lead byte, mostly in vain."""
    return ((b"\xc2" in text and (b"\xc2\xa0" in text or b"\xc2\x85" in text))
            or (b"\xe3" in text and b"\xe3\x80\x80" in text)
            or (b"\xe2" in text and (b"\xe2\x80" in text or b"\xe2\x81\x9f" in text))
            or (b"\xe1" in text and b"\xe1\x9a\x80" in text))


def _guess_encoding(data: bytes) -> str:
    sample = data[:1 << 20]
    if len(sample) == 1 << 20:  # its last line may be cut within a character
        sample = sample[:sample.rfind(b"\n") + 1] or sample
    lines = [piece for piece in sample.splitlines() if not piece.isascii()]
    good = 0
    for piece in lines:
        try:
            piece.decode("utf-8")
            good += not _PLATE_IN_GB.search(piece)
        except UnicodeDecodeError:
            continue
    return "utf-8" if 2 * good >= len(lines) else "gb18030"
