"""A change of several tables at once: readers see the state before it, or the one after.

What is to be committed is staged first, then written down in ``LAKE/.change``. From that moment the
change will happen: whoever next holds the lake for writing goes on where a dead writer stopped, and
until all tables have their entries readers stay at the versions that the file names. Then the file
is marked published, old files that may not stay are removed, and the file goes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from rsd.errors import IntegrityError, StorageError, UsageError
from rsd.storage import disk, log
from rsd.storage.table import Table, is_own_name

NAME = ".change"
"""Name of the file that says which change is under way."""

MARK = "change:"
"""Prefix of the transactions by which the entries of a change are known."""

ERASES = "erases_history"
"""Key of an entry's note: the files of earlier versions were removed on purpose."""

READABLE = "readable_from"
"""Key of the same note: the first version whose files are still there, where it is an older one."""


class Home(Protocol):
    """What a change needs of its lake."""

    path: Path
    notices: list[str]

    def table(self, name: str) -> Table:
        """Return a table."""


@dataclass(frozen=True)
class Step:
    """One entry of one table: names of files that come, and of files that go."""

    table: str
    add: tuple[str, ...]
    remove: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A change, ready to happen; all its files are staged.

    ``versions``: where readers stay until it is published. ``info``: the note of every entry.
    ``moves``: finished files that get their names, (from, to); ``vacuum``: tables whose files of
    earlier versions are then removed, but for those of ``keep``; ``closes``: moves after that.
    ``key``: the vehicle key's file, that of the next key, and where the one of before is kept.
    """

    id: str
    operation: str
    versions: Mapping[str, int]
    steps: Sequence[Step]
    info: Mapping[str, Any] = field(default_factory=dict)
    vacuum: Sequence[str] = ()
    keep: Sequence[str] = ()
    moves: Sequence[tuple[str, str]] = ()
    closes: Sequence[tuple[str, str]] = ()
    key: tuple[str, str, str] | None = None
    is_published: bool = False


def under_way(lake: Path) -> Change | None:
    """Return the change that is under way, None when there is none."""
    try:
        with disk.guard(lake / NAME, "the change under way cannot be read"):
            text = (lake / NAME).read_bytes()
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    try:
        content = json.loads(text)
        steps = tuple(Step(s["table"], tuple(s["add"]), tuple(s["remove"]))
                      for s in content.pop("steps"))
        key = content.pop("key")
        return Change(steps=steps, key=None if key is None else tuple(key), **content)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("no change of rsd", where=str(lake / NAME), found=str(error),
                             remedy="Restore the file from a backup.") from None


def held_back(lake: Path, table: str) -> int | None:
    """Return the version at which readers of a table stay for now; None: its last one."""
    change = under_way(lake)
    return None if change is None or change.is_published else change.versions.get(table)


def publish(lake: Home, change: Change) -> None:
    """Let a change happen; the lake is held for writing. After a fault the next writer goes on."""
    # From here on the files are counted on: a power loss may no longer take a byte of them.
    for step in change.steps:
        for file in step.add:
            disk.sync(lake.table(step.table).folder / file)
    for name in {step.table for step in change.steps}:
        with contextlib.suppress(FileNotFoundError):
            disk.sync(lake.table(name).folder)
    with disk.guard(lake.path, "the change cannot be written down"):
        disk.publish(lake.path / NAME, _text(change))
    roll_forward(lake)


def roll_forward(lake: Home) -> Change | None:
    """Finish the change that is under way and return it; the lake is held for writing."""
    change = under_way(lake.path)
    if change is None:
        return None
    with disk.guard(lake.path, f"the {change.operation} that was begun cannot be finished"):
        if not change.is_published:
            _commit(lake, change)
            if change.key is not None:
                _switch_key(*map(Path, change.key))
            disk.replace(lake.path / NAME, _text(replace(change, is_published=True)))
        _move(change.moves)
        for name in change.vacuum:
            vacuum(lake.table(name), change.keep)
        _move(change.closes)
        os.unlink(lake.path / NAME)
        disk.sync(lake.path)
    return change


def vacuum(table: Table, keep: Iterable[str] = ()) -> list[Path]:
    """Remove the files that no current version of a table names; the lake is held for writing."""
    try:
        present = [path for path in table.folder.iterdir() if path.is_file()]
    except FileNotFoundError:
        return []
    kept = {*table.snapshot().files, *keep}
    ever = log.names_ever(table.folder / "_delta_log")
    gone = [p for p in present if p.name not in kept and (p.name in ever or is_own_name(p.name))]
    for path in gone:
        os.unlink(path)
    if gone:
        disk.sync(table.folder)
    return gone


def check_present(table: Table, paths: Sequence[Path]) -> None:
    """Raise UsageError for files that were removed on purpose, StorageError for lost ones.

    Raises IntegrityError for a file of another size than the log says.
    """
    known = Table.snapshot(table).files
    missing = None
    for path in paths:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            missing = path
            break
        if path.name in known and size != known[path.name].size:
            raise IntegrityError("a file of the table was changed", where=str(path),
                                 found=f"{size} bytes", expected=f"{known[path.name].size}",
                                 remedy="See what else is: rsd doctor LAKE. Restore it from a "
                                        "backup.")
    if missing is None:
        return
    erased = [commit for commit in Table.history(table) if commit.info.get(ERASES)]
    if erased and missing.name not in Table.snapshot(table).files:
        last = erased[-1]
        raise UsageError("that version of the table is gone", where=table.name,
                         found=f"its files were removed by {last.info.get('operation')} on "
                               f"{last.at:%Y-%m-%d}",
                         expected=f"version {last.info.get(READABLE, last.version)} or later",
                         remedy="Take a later time, or a backup of that time.")
    raise StorageError("a file of the table is missing", where=str(missing),
                       remedy="See what else is: rsd doctor LAKE. Restore it from a backup.")


def _text(change: Change) -> bytes:
    return (json.dumps(asdict(change), ensure_ascii=False) + "\n").encode()


def _commit(lake: Home, change: Change) -> None:
    for number, step in enumerate(change.steps):
        table, mark = lake.table(step.table), f"{MARK}{change.id}:{number}"
        if not table.has_transaction(mark):
            table.commit([table.folder / name for name in step.add],
                         remove=[table.folder / name for name in step.remove],
                         transactions=[mark], info=change.info)


def _move(moves: Sequence[tuple[str, str]]) -> None:
    for source, target in moves:
        if os.path.exists(source):
            disk.ensure_folder(Path(target).parent, 0o700)
            disk.move_in(Path(source), Path(target))


def _switch_key(key: Path, following: Path, retired: Path) -> None:
    """Put the next key in the place of the key; each step may have been done already."""
    if following.exists():
        if not retired.exists():
            disk.replace(retired, key.read_bytes(), 0o600)
        disk.move_in(following, key)
    elif not retired.exists():
        raise IntegrityError("the next vehicle key is gone", where=str(following),
                             remedy="Restore it; the tables are being changed to it.")
