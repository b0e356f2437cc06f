"""A lake that is being made carries a mark: what a killed `rsd init` left can be made again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rsd.errors import LakeBusy, UsageError
from rsd.storage import disk
from rsd.storage.table import is_own_name

MARK = ".unfinished"
"""Stands in the folder of a lake until everything in it is durable."""

SETTINGS_FILE = "rsd.toml"
"""A folder that has it is a lake."""


def already(place: Path) -> UsageError:
    """Return the error for a folder that is a lake."""
    return UsageError("already a lake", where=str(place), remedy="Open it, or name another.")


def refuse_occupied(place: Path) -> None:
    """Raise UsageError for a folder in which no lake can be made: a lake, or somebody's files."""
    if (place / SETTINGS_FILE).exists():
        raise already(place)
    others = [p.name for p in place.iterdir()
              if p.name != MARK and not is_own_name(p.name, staged=False)]
    if others:
        raise UsageError("the folder is not empty and no lake", where=str(place),
                         found=", ".join(sorted(others)[:3]), remedy="Name a new folder.")


def refuse_unfinished(place: Path) -> None:
    """Raise UsageError for a lake that was never finished."""
    if (place / MARK).exists():
        raise UsageError("the lake is being made, or its making was stopped", where=str(place),
                         remedy="Run the same `rsd init` again: nothing is in it yet.")


@contextlib.contextmanager
def marked(place: Path) -> Iterator[bool]:
    """Hold a folder while a lake is made in it; tell whether an earlier making had died here.

    What that one left is removed first. When the block fails, what it made is removed. Raises
    LakeBusy when another process is at it, UsageError when the folder is not free.
    """
    mark = place / MARK
    with disk.guard(place, "no lake can be made here"):
        if place.exists() and not place.is_dir():
            raise UsageError("no folder", where=str(place), expected="a new or empty folder")
        disk.ensure_folder(place)
        descriptor = _open(mark, os.O_RDWR)
        is_again = descriptor >= 0
        if not is_again:
            refuse_occupied(place)
            descriptor = _open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        with disk.guard(place, "no lake can be made here"):
            _lock(descriptor, mark)
            disk.sync(place)
            _clear(place)
        yield is_again
        with disk.guard(place, "the lake cannot be finished"):
            os.unlink(mark)
            disk.sync(place)
    except LakeBusy:
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            _clear(place)
            os.unlink(mark)
        raise
    finally:
        os.close(descriptor)


def _open(mark: Path, flags: int) -> int:
    try:
        return os.open(mark, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except FileNotFoundError:
        return -1
    except FileExistsError:
        raise _busy(mark) from None


def _lock(descriptor: int, mark: Path) -> None:
    """Lock the mark; LakeBusy when another has it, or finished in between."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine, named = os.fstat(descriptor), os.stat(mark)
    except (BlockingIOError, FileNotFoundError):
        raise _busy(mark) from None
    if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
        raise _busy(mark)


def _busy(mark: Path) -> LakeBusy:
    return LakeBusy("another process is making this lake", where=str(mark.parent),
                    remedy="Wait until it ends.")


def _clear(place: Path) -> None:
    # The folder was empty when the mark was put into it: all else is of a making that died.
    for path in place.iterdir():
        if path.name == MARK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    disk.sync(place)
