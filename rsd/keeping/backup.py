"""Backup and restore: a lake as of one moment, copied beside whatever runs.

Files of tables never change, so what was copied once is not copied again. A copy counts from the
moment that ``backup.json`` names its versions; what a crash left of a later one is not looked at.
The vehicle key is not copied: it belongs elsewhere.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsd import audit
from rsd.columns import OPEN_TABLES, TABLES
from rsd.errors import IntegrityError, PolicyRefusal, StorageError, UsageError
from rsd.keeping import deletion
from rsd.lake import Lake
from rsd.pipeline import as_of, trail
from rsd.storage import change, disk, log, reached
from rsd.storage.table import is_own_name
from rsd.version import VERSION

MANIFEST = "backup.json"
FORMAT = "rsd backup 1"
_RESTORING, _BEGUN = ".restoring", ".backing-up"  # stand there while it goes on
_TRIES = 3
_LEFT_OUT = {".lock", change.NAME, reached.NAME, "status.json", MANIFEST, _RESTORING, _BEGUN}


@dataclass(frozen=True)
class Copied:
    """What a backup or a restore did."""

    versions: Mapping[str, int]
    files: int
    bytes: int
    removed: int = 0


def backup(lake: Lake, target: Path) -> Copied:
    """Copy a lake as it stands now; a run may write to it meanwhile.

    Args:
        lake: the lake; its owner does it, for ``restricted/`` belongs to it.
        target: a new folder, or one of an earlier backup of this lake: then only what is new is
            copied, and what was purged is removed from it too.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
        UsageError: the folder holds something else, or another lake's backup.
        IntegrityError: a file of the lake is missing.
        StorageError: nothing can be written.
    """
    if not lake.may_read_restricted:
        raise PolicyRefusal("a backup needs the right to all of the lake",
                            where=str(lake.path / "restricted"))
    target = Path(os.path.abspath(target))
    _check_target(lake, target)
    trail.record(lake, "backup", {"to": str(target)})
    for attempt in range(_TRIES):
        try:
            with disk.guard(target, "the backup cannot be written"):
                return _backup(lake, target)
        except StorageError as error:
            # a purge beside us may take files away: its state is copied then
            if not isinstance(error.__cause__, FileNotFoundError) or attempt == _TRIES - 1:
                raise
    raise AssertionError


def _backup(lake: Lake, target: Path) -> Copied:
    # What speaks of the tables is copied as it was before their versions were taken: it may not
    # speak of what the copy has not. The audit only grows.
    log_file, exports = audit.audit_path(lake.path), as_of.exports_file(lake)
    length = log_file.stat().st_size if log_file.exists() else 0
    exported = exports.read_bytes() if exports.exists() else b""
    deletions = {path.name for path in deletion.folder(lake).glob("*")}
    view = lake.pinned()
    versions = {name: view.table(name).version() for name in TABLES}
    disk.ensure_folder(target, 0o700)
    _check_history(lake, target, versions)
    (target / _BEGUN).touch(0o600)
    count = size = 0
    for name in TABLES:
        for path in _files_of(lake, name, versions[name]):
            copied = _copy(path, target / path.relative_to(lake.path), is_fixed=True)
            count, size = count + (copied > 0), size + copied
    for path in _others(lake.path, lake.key_path):
        if path.parent == deletion.folder(lake) and path.name not in deletions:
            continue
        place = target / path.relative_to(lake.path)
        copied = _copy(path, place, is_fixed=False, length=length if path == log_file else None)
        if path == exports:
            disk.replace(place, exported, 0o600)
        count, size = count + (copied > 0), size + copied
    _check_not_erased(lake, versions)
    manifest = {"format": FORMAT, "rsd": VERSION, "versions": versions, "lake": _identity(lake),
                "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    disk.replace(target / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode(), 0o600)
    (target / _BEGUN).unlink()
    return Copied(versions, count, size, _remove_erased(lake, target, versions))


def _check_not_erased(lake: Lake, versions: Mapping[str, int]) -> None:
    """Raise FileNotFoundError where a purge beside us took files away since these versions."""
    for name, version in versions.items():
        for commit in lake.table(name).history():
            if commit.version > version and commit.info.get(change.ERASES):
                raise FileNotFoundError(2, "removed meanwhile", str(lake.table(name).folder))


def _check_history(lake: Lake, target: Path, versions: Mapping[str, int]) -> None:
    """Raise UsageError where the copy has entries that are not those of the lake.

    So it is after a lake was restored from an older copy and went on: names of entries recur.
    """
    for name in TABLES:
        folder = lake.table(name).folder / "_delta_log"
        for version in range(versions[name] + 1):
            path = log.entry_path(folder, version)
            copy = target / path.relative_to(lake.path)
            if copy.exists() and path.exists() and copy.read_bytes() != path.read_bytes():
                raise UsageError("the folder holds another history of this lake", where=str(copy),
                                 remedy="Run: rsd doctor LAKE. If the lake was restored from an "
                                        "older backup, take a new folder.")


def _files_of(lake: Lake, name: str, version: int) -> list[Path]:
    """Return the files and the log of a table up to a version, data before entries."""
    folder = lake.table(name).folder
    entries, checkpoints = log.versions(folder / "_delta_log")
    wanted = [log.entry_path(folder / "_delta_log", v) for v in entries if v <= version]
    wanted += [log.checkpoint_path(folder / "_delta_log", v) for v in checkpoints if v <= version]
    active = set(log.read(folder / "_delta_log", version).files) if version >= 0 else set()
    ever = {log.file_name(a["add"]["path"], folder) for v, actions in log.actions_of(
        folder / "_delta_log") if v <= version for a in actions if "add" in a}
    missing = sorted(n for n in active if not (folder / n).exists())
    if missing and lake.table(name).version() == version:
        raise IntegrityError("a file of the lake is missing", where=str(folder / missing[0]),
                             remedy="Run: rsd doctor LAKE. An earlier backup may have it.")
    if missing:
        raise FileNotFoundError(2, "removed meanwhile", str(folder / missing[0]))
    return [folder / n for n in sorted(ever) if (folder / n).exists()] + wanted


def _others(root: Path, key: Path) -> Iterator[Path]:
    """Yield all files beside the tables, but for keys and what is there for a moment only."""
    tables = {root / ("open" if n in OPEN_TABLES else "restricted") / n for n in TABLES}
    for folder, folders, files in os.walk(root):
        place = Path(folder)
        folders[:] = sorted(f for f in folders if place / f not in tables)
        for name in sorted(files):
            path = place / name
            is_key = name == "vehicle.key" or name.startswith(("vehicle.key.", f"{key.name}."))
            if not (is_key or path == key or is_own_name(name, staged=False)
                    or path.is_symlink() or (place == root and name in _LEFT_OUT)
                    or name.endswith(".staged")):
                yield path


def _copy(source: Path, target: Path, *, is_fixed: bool, length: int | None = None) -> int:
    """Copy a file durably under its name; return its bytes, 0 if it was there.

    Of a file that only grows, as much as ``length`` says.
    """
    status = source.stat()
    if is_fixed and target.exists() and target.stat().st_size == status.st_size:
        return 0
    mode = 0o700 if "restricted" in target.parts else 0o755
    _folders(target.parent, mode)
    staged = target.with_name(f".{target.name}.{os.urandom(4).hex()}{disk.TEMPORARY}")
    try:
        shutil.copyfile(source, staged)
        if length is not None:
            os.truncate(staged, length)
        staged.chmod(status.st_mode & 0o777)
        disk.move_in(staged, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            staged.unlink()
    return max(1, status.st_size)


def _folders(path: Path, mode: int) -> None:
    if not path.is_dir():
        _folders(path.parent, mode)
        disk.ensure_folder(path, mode)


def _remove_erased(lake: Lake, target: Path, versions: Mapping[str, int]) -> int:
    """Remove from a backup what had been removed from the lake on purpose, as of some versions."""
    removed = 0
    for name in TABLES:
        table = lake.table(name)
        erased = [c for c in table.history() if c.info.get(change.ERASES)
                  and c.version <= versions[name]]
        copy = target / table.folder.relative_to(lake.path)
        if not erased or not copy.is_dir():
            continue
        active = table.snapshot(versions[name]).files
        for path in copy.iterdir():
            if path.is_file() and path.name not in active and not (
                    table.folder / path.name).exists():
                path.unlink()
                removed += 1
        disk.sync(copy)
    return removed


def _identity(lake: Lake) -> str:
    """Return what tells a lake from another: the id of a table that every lake has first."""
    ids = [lake.table(n).snapshot().table_id for n in ("passes", "sites", "vehicles", "runs")]
    return ",".join(str(i) for i in ids)


def _check_target(lake: Lake, target: Path) -> None:
    if target == lake.path or lake.path in target.parents or target in lake.path.parents:
        raise UsageError("a backup belongs outside the lake", where=str(target))
    if not target.exists() or not any(target.iterdir()):
        return
    if not (target / MANIFEST).exists() and (target / _BEGUN).exists():
        return  # a first backup that was interrupted
    theirs = manifest_of(target)["lake"].split(",")
    ours = _identity(lake).split(",")
    if any(a != b for a, b in zip(theirs, ours, strict=True) if a != "None"):
        raise UsageError("the folder holds the backup of another lake", where=str(target))


def manifest_of(source: Path) -> dict[str, Any]:
    """Return what a backup says of itself; UsageError where there is none."""
    try:
        content = json.loads((source / MANIFEST).read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        content["versions"] = {str(k): int(v) for k, v in content["versions"].items()}
        content["lake"] = str(content["lake"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError("no whole backup here", where=str(source / MANIFEST),
                         found=type(error).__name__, expected=f'"format": "{FORMAT}"',
                         remedy="Make one with: rsd backup LAKE DIR") from None
    return dict(content)


def restore(source: Path, target: Path) -> Copied:
    """Make a lake from a backup, in a new or empty folder; what was interrupted may be run again.

    The key is put to ``restricted/vehicle.key`` by hand, or named by ``RSD_KEY_FILE``.

    Raises:
        UsageError: no backup, or the folder holds something.
        StorageError: nothing can be written.
    """
    source, target = Path(os.path.abspath(source)), Path(os.path.abspath(target))
    versions = manifest_of(source)["versions"]
    with disk.guard(target, "the lake cannot be restored"):
        if target.exists() and any(target.iterdir()) and not (target / _RESTORING).exists():
            raise UsageError("the folder is not empty", where=str(target),
                             remedy="Name a new folder.")
        disk.ensure_folder(target)
        (target / _RESTORING).touch()
        for folder, mode in (("open", 0o755), ("restricted", 0o700)):
            disk.ensure_folder(target / folder, mode)
        count = size = 0
        for path in _wanted(source, versions):
            copied = _copy(path, target / path.relative_to(source), is_fixed=False)
            count, size = count + 1, size + copied
        # the settings make it a lake: they come last
        size += _copy(source / "rsd.toml", target / "rsd.toml", is_fixed=False)
        (target / _RESTORING).unlink()
        disk.sync(target)
    return Copied(versions, count + 1, size)


def _wanted(source: Path, versions: Mapping[str, int]) -> Iterator[Path]:
    for name in TABLES:
        folder = source / ("open" if name in OPEN_TABLES else "restricted") / name
        version = versions.get(name, -1)
        if version < 0:
            continue
        entries = [log.entry_path(folder / "_delta_log", v) for v in range(version + 1)]
        added: set[str] = set()
        for path in entries:
            if not path.exists():
                raise StorageError("the backup lacks an entry of a log", where=str(path),
                                   remedy="Take another backup.")
            added |= {log.file_name(a["add"]["path"], folder)
                      for a in log.read_entry(path) or [] if "add" in a}
        yield from (folder / n for n in sorted(added) if (folder / n).exists())
        yield from entries
        yield from (p for v in range(version + 1)
                    if (p := log.checkpoint_path(folder / "_delta_log", v)).exists())
    yield from (p for p in _others(source, source / "restricted" / "vehicle.key")
                if p != source / "rsd.toml")
