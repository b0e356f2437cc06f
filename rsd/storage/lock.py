"""The one writer of a lake: an exclusive flock on ``LAKE/.lock``.

The kernel gives the lock back when its holder dies, so a stale one cannot stay, and what the file
says (pid, boot, start) is only there to name the holder: it never decides who may write.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from rsd.errors import LakeBusy
from rsd.storage import disk

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WriterLock:
    """The lock of one lake as one object of this process; taking it again while held is free."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._descriptor = -1
        self._guard = threading.Lock()

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._depth > 0

    def acquire(self) -> bool:
        """Take the lock and return whether this was the outermost taking.

        Raises LakeBusy, naming the holder, when another process or object has it.
        """
        with self._guard:
            if self._depth == 0:
                self._descriptor = self._take()
            self._depth += 1
            return self._depth == 1

    def release(self, before: Callable[[], None] = lambda: None) -> None:
        """Give back one taking; the last one frees the lock, right after ``before`` was done."""
        with self._guard:
            self._depth -= 1
            if self._depth > 0:
                return
            try:
                before()
            finally:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, 0)
                os.close(self._descriptor)

    def _take(self) -> int:
        while True:
            with disk.guard(self._path, "the lake cannot be locked for writing"):
                descriptor = self._open_and_lock()
            if self._is_current(descriptor):
                _write_holder(descriptor)
                return descriptor
            os.close(descriptor)  # the file was replaced between opening and locking

    def _open_and_lock(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _describe_holder(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise LakeBusy(
                "another run is writing to this lake", where=str(self._path.parent), found=holder,
                remedy="Wait until it ends, or stop that process.",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _is_current(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def identity() -> dict[str, str | int]:
    """Return what names this process for good: a number alone may be used again."""
    return {"pid": os.getpid(), "boot_id": _boot_id(),
            "process_start": _process_start(os.getpid()), "host": socket.gethostname()}


def is_alive(pid: int, boot_id: str, process_start: str) -> bool:
    """Say whether the process that had this identity on this machine still runs."""
    return boot_id == _boot_id() and process_start == _process_start(pid) != ""


def _write_holder(descriptor: int) -> None:
    holder = {**identity(), "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    with contextlib.suppress(OSError):  # a courtesy: a full disk shows itself at the first write
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _describe_holder(text: bytes) -> str:
    try:
        holder = json.loads(text)
        pid, since, host = int(holder["pid"]), str(holder["since"]), str(holder["host"])
        boot, start = holder["boot_id"], holder["process_start"]
    except (ValueError, KeyError, TypeError):
        return "a process that left no name"
    named = f"process {pid} on {host}, since {since}"
    if is_alive(pid, str(boot), str(start)):
        return named
    return f"a process that holds the lock, last named as {named}"


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def _process_start(pid: int) -> str:
    """Return the start of a process in clock ticks since boot; empty where it is not to be had."""
    with contextlib.suppress(OSError, IndexError):
        # The command name, in brackets, may itself hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
