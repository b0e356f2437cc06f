"""A dump as a stream of bytes: hashed, unpacked, cut into chunks at line ends."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from rsd.errors import InputRefused, StorageError

CHUNK_BYTES = 16 << 20
"""Size of a chunk: large enough to amortise a parse, small enough to keep memory flat."""
_MAX_LINE_BYTES = 64 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_RATIO = 1000
_RATIO_FREE_BYTES = 64 << 20


@dataclass(frozen=True)
class Source:
    """A dump on disk, with the hash of its bytes and what the file system said of it."""

    path: Path
    sha256: str
    size: int
    modified_ns: int
    is_packed: bool
    inode: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return self.path.name


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a dump. ``torn`` tells that the last one has no line end."""

    data: bytes
    offset: int
    torn: bool = False


def fingerprint(path: Path) -> Source:
    """Hash a file.

    Raises:
        InputRefused: no regular file, empty, or not readable.
    """
    try:
        with _open_regular(path) as stream:
            before = os.fstat(stream.fileno())
            packed = stream.read(2) == _GZIP_MAGIC
            stream.seek(0)
            sha = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise refused(path, error) from error
    if before.st_size == 0:
        raise InputRefused("the file is empty", where=str(path), found="0 bytes",
                           expected="a header line",
                           remedy="Ask the sender for the file again.")
    return Source(path, sha, before.st_size, before.st_mtime_ns, packed,
                  (before.st_dev, before.st_ino))


def _open_regular(path: Path) -> BufferedReader:
    # O_NONBLOCK: a named pipe must not hang the nightly run before it is seen to be no file
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise InputRefused("not a regular file", where=str(path),
                           remedy="Name a file, or a folder's files by a pattern.")
    return os.fdopen(descriptor, "rb")


def refused(path: Path, error: OSError) -> InputRefused:
    """Return the refusal that an operating system error on a dump means."""
    if isinstance(error, FileNotFoundError):
        return InputRefused("no such file", where=str(path),
                            remedy="Check the name; a pattern that matches nothing stays as typed.")
    if isinstance(error, IsADirectoryError):
        return InputRefused("a folder, not a file", where=str(path), remedy="Name its files.")
    return InputRefused("cannot be read", where=str(path), found=str(error.strerror or error),
                        remedy="Check permissions and the disk, then run again.")


class _Limited:
    """Count what a packed stream gives and stop a bomb."""

    def __init__(self, stream: BinaryIO, packed: int, path: Path) -> None:
        self._stream, self._packed, self._path, self._given = stream, packed, path, 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._given += len(data)
        if self._given > max(_RATIO_FREE_BYTES, _MAX_RATIO * self._packed):
            raise InputRefused(
                "the archive unpacks beyond the limit", where=str(self._path),
                found=f"more than {self._given} bytes from {self._packed}",
                expected=f"at most {_MAX_RATIO} to 1",
                remedy="Unpack it by hand if it is genuine.")
        return data


def stream_chunks(source: Source, size: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield a dump's unpacked bytes in chunks that end at a line end, the last one excepted.

    Raises:
        InputRefused: broken or oversized archive, or the file changed while it was read.
    """
    try:
        with _open_regular(source.path) as raw:
            if source.is_packed:
                unpacked = cast(BinaryIO, gzip.GzipFile(fileobj=raw))
                yield from _cut(_Limited(unpacked, source.size, source.path), size, source.path)
            else:
                yield from _cut(raw, size, source.path)
            after = os.fstat(raw.fileno())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputRefused(
            "the gzip archive is broken", where=str(source.path), found=str(error),
            expected="a whole archive whose checksum is right",
            remedy="Ask the sender for the file again; nothing of it was stored.") from error
    except OSError as error:
        raise StorageError("cannot be read", where=str(source.path),
                           found=str(error.strerror or error),
                           remedy="Check the disk, then run again.") from error
    now = (after.st_size, after.st_mtime_ns, (after.st_dev, after.st_ino))
    if now != (source.size, source.modified_ns, source.inode):
        raise InputRefused(
            "the file changed while it was read", where=str(source.path),
            found=f"{after.st_size} bytes", expected=f"{source.size} bytes",
            remedy="Wait until it is written to its end, then run again.")


def beginning(source: Source, size: int) -> bytes:
    """Return the first bytes of a dump, unpacked; less where it is broken, which its reading says.
    """
    try:
        with _open_regular(source.path) as raw:
            if not source.is_packed:
                return raw.read(size)
            return gzip.GzipFile(fileobj=raw).read(size)
    except (EOFError, zlib.error, OSError):
        return b""


def _cut(stream: BinaryIO | _Limited, size: int, path: Path) -> Iterator[Chunk]:
    offset, rest = 0, b""
    while block := stream.read(size):
        data = b"".join((rest, block)) if rest else block
        cut = data.rfind(b"\n") + 1
        if cut == 0:  # lone CR line ends: the last CR may still get its LF
            cut = data.rfind(b"\r", 0, len(data) - 1) + 1
        if cut == 0:
            if len(data) > _MAX_LINE_BYTES:
                raise InputRefused("a line is too long", where=str(path),
                                   found=f"more than {len(data)} bytes without a line end",
                                   expected=f"at most {_MAX_LINE_BYTES}",
                                   remedy="This is no dump; check the file.")
            rest = data
            continue
        rest = data[cut:]
        yield Chunk(data[:cut], offset)
        offset += cut
    if rest:
        yield Chunk(rest, offset, torn=rest[-1:] not in b"\r\n")
