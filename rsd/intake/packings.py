"""What a dump is packed in, told by its first bytes, and the limits that stop a bomb.

Every stream here has one method, ``read(size)``: bytes, none at the end. A checksum that stands in
the archive is verified; the end of the bytes is given only where the archive is whole.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any, NoReturn, Protocol

from rsd.errors import InputRefused

PLAIN, GZIP, ZSTD, ZIP, XLSX = "plain", "gzip", "zstd", "zip", "xlsx"

MAX_UNPACKED_BYTES = 64 << 30
"""What one file may unpack to, all its members together."""
MAX_RATIO = 200
"""Unpacked to packed bytes; dumps reach 5 to 30, deflate ends at 1032, zstd knows no end."""
RATIO_FREE_BYTES = 64 << 20
"""Up to here any ratio is taken: a small file may be as repetitive as it likes."""
MAX_STREAM_MEMBERS = 1_000_000
"""Members of a gzip file, frames of a zstd file; block gzip makes one of 64 KiB."""
MAX_WINDOW_LOG = 27
"""zstd: 128 MiB of memory for a frame, the limit of its own command line."""
_PIECE_BYTES = 128 << 10

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "RAR", b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress (.Z)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old .xls workbook, or one with a password",
    b"PAR1": "Parquet", b"%PDF-": "PDF",
}  # fmt: skip


class Readable(Protocol):
    """Anything that gives bytes."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


class Broken(Exception):  # noqa: N818 - it never leaves intake: `stream_chunks` refuses the file
    """An archive that is cut, damaged, or not what it says of itself."""


def packing_of(head: bytes, where: str) -> str:
    """Return what a file is packed in, by its first bytes and never by its name.

    A workbook begins as any zip does: who lists the members tells them apart.

    Raises:
        InputRefused: an archive of a kind that is not read.
    """
    if head.startswith(_GZIP_MAGIC):
        return GZIP
    if head.startswith(_ZSTD_MAGIC) or _is_skippable(head):
        return ZSTD
    if head.startswith(_ZIP_MAGICS):
        return ZIP
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic) and not (magic == b"BZh" and head[4:10] != b"1AY&SY"):
            raise InputRefused("no dump, and packed in a way that is not read", where=where,
                               found=kind, expected="CSV, plain or in .gz, .zst or .zip, or .xlsx",
                               remedy="Unpack it, or ask the sender for CSV.")
    return PLAIN


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F


class Limited:
    """Count what a packed stream gives and stop a bomb."""

    def __init__(self, stream: Readable, packed: int, where: str) -> None:
        self._stream, self._packed, self._where, self._given = stream, packed, where, 0

    def read(self, size: int, /) -> bytes:
        """Return the next bytes; InputRefused beyond a limit."""
        data = self._stream.read(size)
        self._given += len(data)
        if self._given > max(RATIO_FREE_BYTES, MAX_RATIO * self._packed):
            self._stop(f"at most {MAX_RATIO} to 1 beyond {RATIO_FREE_BYTES >> 20} MiB")
        if self._given > MAX_UNPACKED_BYTES:
            self._stop(f"at most {MAX_UNPACKED_BYTES >> 30} GiB")
        return data

    def _stop(self, limit: str) -> NoReturn:
        raise InputRefused(
            "the archive unpacks beyond the limit", where=self._where,
            found=f"more than {self._given} bytes from {self._packed}", expected=limit,
            remedy="If it is genuine, unpack it by hand and ingest the plain file.")


class _Decoder(Protocol):
    """One member of an archive. ``eof`` is true once its checksum was found right."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """A zlib stream: with 31 window bits gzip, its checksum and length verified; with -15 bare."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        except zlib.error as error:
            raise Broken(str(error)) from error


class _Zstd:
    """A zstd frame; a frame that asks for too large a window is refused before it is unpacked."""

    def __init__(self, where: str) -> None:
        zstd = _zstd()
        limit = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
        self._inner: Any = zstd.ZstdDecompressor(options=limit)
        self._where, self._error = where, zstd.ZstdError

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return bytes(self._inner.decompress(data, max_length))
        except self._error as error:
            if "memory" not in str(error):
                raise Broken(str(error)) from error
            raise InputRefused(
                "the zstd archive asks for too much memory", where=self._where,
                found=f"a window above {1 << MAX_WINDOW_LOG - 20} MiB",
                expected=f"at most {1 << MAX_WINDOW_LOG - 20} MiB (--long={MAX_WINDOW_LOG})",
                remedy="Ask the sender to pack it without --ultra --long.") from error


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:  # the same module for older Pythons
        from backports import zstd
    return zstd


class Unpacked:
    """The bytes of a packed stream, member after member.

    Behind a gzip member zeros may stand, which fill a block of a tape or a disk; anything else that
    is no further member breaks the archive, for it may be the rest of a member that was lost.
    """

    def __init__(self, raw: Readable, packing: str, where: str, *, bare: bool = False) -> None:
        self._raw, self._packing, self._where, self._bare = raw, packing, where, bare
        self._decoder, self._rest, self._members = self._new(), b"", 1

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes. Raises Broken."""
        parts, wanted = [], size
        while wanted > 0 and (piece := self._piece(wanted)):
            parts.append(piece)
            wanted -= len(piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _new(self) -> _Decoder:
        if self._packing == ZSTD:
            return _Zstd(self._where)
        return _Inflate(-zlib.MAX_WBITS if self._bare else zlib.MAX_WBITS + 16)

    def _piece(self, wanted: int) -> bytes:
        while True:
            if self._decoder.eof and not self._next_member():
                return b""
            data = b""
            if self._decoder.needs_input:
                data, self._rest = self._rest or self._raw.read(_PIECE_BYTES), b""
            piece = self._decoder.decompress(data, wanted)
            if piece:
                return piece
            if not data and self._decoder.needs_input and not self._decoder.eof:
                raise Broken("it ends in the middle")

    def _next_member(self) -> bool:
        rest = self._decoder.unused_data
        if self._packing == GZIP and not self._bare:
            rest = rest.lstrip(b"\0")
            while not rest and (more := self._raw.read(_PIECE_BYTES)):
                rest = more.lstrip(b"\0")
        while len(rest) < len(_ZSTD_MAGIC) and (more := self._raw.read(_PIECE_BYTES)):
            rest += more
        if not rest:
            return False
        if self._bare or not (
                rest.startswith(_GZIP_MAGIC) if self._packing == GZIP else
                rest.startswith(_ZSTD_MAGIC) or _is_skippable(rest)):
            raise Broken("something stands behind its end")
        self._members += 1
        if self._members > MAX_STREAM_MEMBERS:
            raise InputRefused("an archive of too many members", where=self._where,
                               found=f"more than {MAX_STREAM_MEMBERS}",
                               expected=f"at most {MAX_STREAM_MEMBERS}",
                               remedy="If it is genuine, unpack it by hand.")
        self._decoder, self._rest = self._new(), rest
        return True
