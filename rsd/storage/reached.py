"""How far the logs of a lake had come: without it, a log whose last entry is gone looks whole.

``LAKE/.versions`` names the last version of each table that a writer left behind when it let go of
the lake. An entry up to there was committed, and answered for: if it is torn or gone it was damaged
afterwards, and nobody may take it for one that a crash left unfinished. A lake of an earlier rsd,
or one whose writer died, has no such word on its last entries.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from rsd.errors import StorageError
from rsd.storage import disk, log

NAME = ".versions"
"""Name of the file."""


def told(lake: Path) -> dict[str, int]:
    """Return table → version that was reached; {} where nothing readable says so."""
    try:
        content = json.loads((lake / NAME).read_bytes())
        return {str(name): int(version) for name, version in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def last(folder: Path) -> int:
    """Return the last version that a table's log names, torn or whole; -1 when there is none."""
    entries, checkpoints = log.versions(folder / "_delta_log")
    return max([*entries, *checkpoints], default=-1)


def lost(told_of: Mapping[str, int], folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return, a table, the first entry at the end of its log that was reached and is not there.

    ``told_of`` must have been read before: a writer may go on meanwhile. Tables that this user may
    not read are left out.
    """
    found = {}
    for name, version in told_of.items():
        if name not in folders:
            continue
        entries = folders[name] / "_delta_log"
        with contextlib.suppress(StorageError):
            whole = last(folders[name]) - (log.torn_tail(entries) is not None)
            if whole < version:
                found[name] = log.entry_path(entries, whole + 1)
    return found


def note(lake: Path, folders: Mapping[str, Path]) -> None:
    """Write down how far the tables are; what was told before is never taken back.

    Raises:
        StorageError: it cannot be written.
    """
    before = told(lake)
    now = dict(before)
    for name, folder in folders.items():
        with contextlib.suppress(StorageError):  # one that this user may not read stays as told
            now[name] = max(before.get(name, -1), last(folder))
    if now != before and max(now.values()) >= 0:
        _write(lake, now)


def forget(lake: Path, name: str, folder: Path) -> None:
    """Let a table count as whole as it is, without the entries that are lost.

    Raises:
        StorageError: it cannot be written.
    """
    torn = log.torn_tail(folder / "_delta_log")
    _write(lake, {**told(lake), name: last(folder) - (torn is not None)})


def _write(lake: Path, versions: Mapping[str, int]) -> None:
    with disk.guard(lake, "the versions that were reached cannot be written down"):
        disk.replace(lake / NAME, (json.dumps(versions) + "\n").encode())


def unreadable(lake: Path) -> bool:
    """Say whether the file is there and says nothing."""
    return os.path.lexists(lake / NAME) and not told(lake)
