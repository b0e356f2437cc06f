"""Durable steps on disk, each one named thing, so that a test can fail every one of them.

A file is durable when its bytes and the folder that names it were both fsynced. A fault of the
disk becomes a `StorageError` that names the path and what to do; an fsync that failed is never
tried again as if it could succeed, because the kernel may have dropped the pages.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from rsd.errors import StorageError

TEMPORARY = ".tmp"
"""Ending of files that were never published; the next writer removes them."""

_FREE = "Free space or raise the quota, then run again: nothing was half committed."
_RIGHTS = "Give the user that runs rsd the right to it, then run again."
_LOOK = "Check free space, quota and limits on files, then run again."
_REMEDY = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "Raise the limit on the size of a file, then run again.",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "Mount the file system for writing, then run again.",
    errno.EIO: "The disk reports a fault: check it before the next run.",
    errno.ENOLCK: "Keep the lake on a file system that has flock.",
}
_OS_ERROR = re.compile(r"os error (\d+)")  # how Polars spells an error of the system


def storage_error(number: int | None, path: Path | str, what: str) -> StorageError:
    """Return the error that says what failed at ``path`` and what to do about it."""
    found = os.strerror(number) if number else "a fault that the system did not name"
    unknown = "Mend the cause, then run again." if number else _LOOK
    remedy = _REMEDY.get(number or 0, unknown)
    return StorageError(what, where=str(path), found=found, remedy=remedy)


@contextlib.contextmanager
def guard(path: Path | str, what: str) -> Iterator[None]:
    """Turn a fault of the system into a `StorageError` about ``path``."""
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        raise storage_error(error.errno or system_error(error), named, what) from error


def system_error(error: BaseException) -> int | None:
    """Return the error number that a text of Polars carries, or None.

    >>> system_error(ValueError("IO error: No space left on device (os error 28)"))
    28
    """
    match = _OS_ERROR.search(str(error))
    return int(match.group(1)) if match else None


def is_unnamed_write_fault(error: BaseException) -> bool:
    """Say whether Polars speaks of a write that failed without saying why.

    So it does where the fault met the header of a page or the footer of a Parquet file.
    """
    return "Invalid thrift: transport error" in str(error)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and those above it, each named durably in its parent."""
    if path.is_dir():
        return
    ensure_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
    sync(path.parent)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that must not exist yet, and flush its bytes; on a fault nothing stays."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: the system may take fewer at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest):]


def read_up_to(descriptor: int, size: int) -> bytes:
    """Read ``size`` bytes, or all up to the end: the system may give fewer at a time."""
    data = b""
    while len(data) < size and (piece := os.read(descriptor, size - len(data))):
        data += piece
    return data


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read ``size`` bytes at a place, or all up to the end, in as many pieces as it takes."""
    data = b""
    while len(data) < size and (piece := os.pread(descriptor, size - len(data),
                                                  offset + len(data))):
        data += piece
    return data


def publish(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Make a file appear under its name whole and durable, or not at all.

    Raises FileExistsError when the name is taken: a hard link never replaces.
    """
    staged = _temporary(path)
    write_new(staged, data, mode)
    try:
        os.link(staged, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(staged)
    sync(path.parent)


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put new content under a name at once: readers see the old or the new bytes."""
    staged = _temporary(path)
    write_new(staged, data, mode)
    try:
        os.replace(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(staged)
        raise
    sync(path.parent)


def move_in(source: Path, path: Path) -> None:
    """Give a finished file its place: flush it, rename it, flush the folder."""
    sync(source)
    os.replace(source, path)
    sync(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
