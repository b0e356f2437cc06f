"""Standard input as a file: a dump is read twice, and what is hashed must be what is stored."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from rsd.errors import InputRefused
from rsd.intake.packings import MAX_UNPACKED_BYTES
from rsd.lake import Lake
from rsd.storage import disk

_PIECE_BYTES = 1 << 20


@contextlib.contextmanager
def spooled(lake: Lake) -> Iterator[tuple[Path, str]]:
    """Give standard input as a file of the lake's restricted side, and the hash of its bytes.

    The file can be read by nobody else (0600) and is removed afterwards, whatever happens; after a
    kill the next writer removes it, for its name is that of a file that was never published.

    Raises:
        InputRefused: there is no standard input, or it has no end within the limit.
        StorageError: the disk is full, or the lake's restricted side cannot be written.
    """
    folder = lake.table("quarantine").folder
    path = folder / f".stdin.{secrets.token_hex(4)}{disk.TEMPORARY}"
    with disk.guard(path, "standard input cannot be kept"):
        disk.ensure_folder(folder, 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    try:
        try:
            sha256 = _copied(descriptor, path)
        finally:
            os.close(descriptor)
        yield path, sha256
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _copied(descriptor: int, path: Path) -> str:
    if sys.stdin is None:
        raise InputRefused("there is no standard input", remedy="Name a file.")
    sha, taken = hashlib.sha256(), 0
    while data := sys.stdin.buffer.read(_PIECE_BYTES):
        taken += len(data)
        if taken > MAX_UNPACKED_BYTES:
            raise InputRefused("standard input has no end", found=f"more than {taken} bytes",
                               expected=f"at most {MAX_UNPACKED_BYTES >> 30} GiB",
                               remedy="Write it into files and ingest those.")
        sha.update(data)
        with disk.guard(path, "standard input cannot be kept"):
            disk.write_all(descriptor, data)
    return sha.hexdigest()
