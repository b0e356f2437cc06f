"""Letters to the audit log, from users who may not write to it.

``open/audit-inbox`` lets everybody put a file into it and nobody but the lake's owner list it
(mode 1733). A letter is one JSON object in a file with a name that cannot be guessed; who wrote it
is told by the file's owner, which only the system's administrator can forge.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rsd.storage import disk

MODE = 0o1733
"""All may put a file there, and remove their own; the owner alone may list them."""

LARGEST_BYTES = 1 << 20
"""Larger letters are no letters of rsd; choice of this project."""

MOST_LETTERS = 10_000
"""Letters that are taken at a time; choice of this project."""

_NOT_OURS_TO_WRITE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT}

Deliver = Callable[[str, dict[str, Any], int], object]
"""Called with the action, the details and the user id of a letter's writer."""


def inbox_path(lake: Path) -> Path:
    """Return the folder of the letters."""
    return lake / "open" / "audit-inbox"


def make(lake: Path) -> None:
    """Make the folder, and give it its mode if it lost that; the lake's owner does."""
    path = inbox_path(lake)
    with disk.guard(path, "the audit's inbox cannot be made"):
        disk.ensure_folder(path)
        if stat.S_IMODE(path.stat().st_mode) != MODE:
            path.chmod(MODE)


def leave(lake: Path, action: str, details: Mapping[str, object]) -> bool:
    """Leave a letter, flushed to the disk; say whether there is an inbox that takes one.

    Raises:
        StorageError: the disk is full or faulty.
    """
    now = dt.datetime.now(dt.UTC)
    path = inbox_path(lake) / f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(16)}.json"
    letter = {"at": now.isoformat(timespec="milliseconds"), "action": action,
              "details": dict(details)}
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with disk.guard(path.parent, "the audit's inbox cannot be written"):
        try:
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            if error.errno in _NOT_OURS_TO_WRITE:
                return False
            raise
        try:
            os.fchmod(descriptor, 0o644)  # the owner of the lake must be able to read it
            disk.write_all(descriptor, json.dumps(letter).encode())
            os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
    return True


def collect(lake: Path, deliver: Deliver) -> int:
    """Hand over every letter and remove it; return how many.

    A crash between the two hands a letter over again: a record may stand twice, never be missing.
    What is no letter is handed over as such, by size and owner, and removed.
    """
    folder = inbox_path(lake)
    try:
        names = sorted(os.listdir(folder))[:MOST_LETTERS]
    except (FileNotFoundError, PermissionError):
        return 0
    handed = 0
    for name in names:
        path = folder / name
        found = _open(path)
        if found is None:
            continue
        action, details, writer = found
        deliver(action, details | {"letter": name[:60]}, writer)
        with disk.guard(path, "a letter to the audit cannot be removed"):
            os.unlink(path)
        handed += 1
    return handed


def _open(path: Path) -> tuple[str, dict[str, Any], int] | None:
    """Return a letter and its writer; None for a folder, or what is gone already.

    Anybody may put anything there: nothing of it may stop a run.
    """
    try:
        facts = os.lstat(path)
        if stat.S_ISDIR(facts.st_mode):
            return None
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError:
        return "no letter", {"bytes": facts.st_size}, facts.st_uid
    with os.fdopen(descriptor, "rb") as stream:
        facts = os.fstat(descriptor)
        is_fit = stat.S_ISREG(facts.st_mode) and facts.st_size <= LARGEST_BYTES
        raw = stream.read(LARGEST_BYTES) if is_fit else b""
    try:
        letter = json.loads(raw)
        details = dict(letter["details"])
        return str(letter["action"]), details | {"asked_at": str(letter["at"])}, facts.st_uid
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no letter", {"bytes": facts.st_size}, facts.st_uid
