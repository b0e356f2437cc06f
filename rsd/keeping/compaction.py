"""Compaction: many small files become few large ones; the rows, and all earlier versions, stay.

One entry a table takes the small files out and the merged one in. Readers go on with the files of
the version that they began with. A crash leaves staged files that the next writer sweeps.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from rsd.columns import TABLES
from rsd.errors import IntegrityError
from rsd.keeping.content import BATCH_ROWS, content
from rsd.keeping.staging import Staging
from rsd.lake import Lake
from rsd.pipeline import as_of
from rsd.storage import change, disk, log

TARGET_BYTES = 192 << 20
"""Size at which a merged file is full: between 128 and 256 MB; choice of this project."""

_SMALL_BYTES = TARGET_BYTES // 2
COMPACTED_TABLES = ("quarantine", "evidence", "vehicles", "runs", "reviews", "passes")
_IN_ORDER = ("runs", "reviews", "vehicles")  # small; their rows keep the order of commits


@dataclass(frozen=True)
class Merged:
    """What became of a table."""

    table: str
    files_before: int
    files_after: int
    rows: int


def compact(lake: Lake, tables: Sequence[str] = COMPACTED_TABLES, *,
            target_bytes: int = TARGET_BYTES) -> list[Merged]:
    """Merge the small files of tables; return what was merged.

    Each merged file is compared with its parts, row by row, before it is committed. Memory does
    not grow with the lake. Running it again changes nothing.

    Raises:
        LakeBusy: another run holds the lake.
        StorageError: nothing can be written; each table is as before or merged.
        IntegrityError: a file is not what the log says; see `rsd doctor`.
    """
    with lake.writer():
        return [merged for name in tables if (merged := _compact(lake, name, target_bytes))]


def _compact(lake: Lake, name: str, target_bytes: int) -> Merged | None:
    files = _visible(lake, name)
    groups = [g for g in _groups(files, target_bytes, name in _IN_ORDER) if len(g) > 1]
    if not groups:
        return None
    table, staging = lake.table(name), Staging(lake, "compact")
    rows = 0
    try:
        for group in groups:
            paths = [table.folder / file.name for file in group]
            made = staging.add_frames(name, (
                piece.collect() for piece in table.pieces(BATCH_ROWS, paths)))
            before, after = (content(table.pieces(BATCH_ROWS, rows)) for rows in (paths, [made]))
            if before != after:
                raise IntegrityError("the merged file does not hold the rows of its parts",
                                     where=str(table.folder), found=str(after),
                                     expected=str(before), remedy="Nothing was changed.")
            staging.drop(name, paths)
            rows += after.rows
        table.commit(staging.added[name], remove=staging.removed[name],
                     info={"operation": "compact", "rows": rows})
    except BaseException:
        staging.discard()
        raise
    return Merged(name, len(files), len(files) - sum(map(len, groups)) + len(groups), rows)


def _visible(lake: Lake, name: str) -> list[log.DataFile]:
    files = lake.table(name).snapshot().files
    return [files[path.name] for path in lake.visible_files(name)]


def _groups(files: list[log.DataFile], target_bytes: int,
            in_order: bool) -> list[list[log.DataFile]]:
    """Return which files become one: small neighbours in time, until the target is reached."""
    small = files if in_order else sorted(
        (f for f in files if f.size < target_bytes // 2), key=_first_instant)
    groups: list[list[log.DataFile]] = [[]]
    for file in small:
        if sum(f.size for f in groups[-1]) + file.size > target_bytes and groups[-1]:
            groups.append([])
        groups[-1].append(file)
    return groups


def _first_instant(file: log.DataFile) -> tuple[str, int]:
    low = file.statistics.get("minValues", {}).get("measured_at", "")
    return str(low), file.version


def vacuum(lake: Lake, before: dt.date) -> int:
    """Remove files that only versions from before a date need; return how many went.

    What stood at the beginning of that day, in the lake's zone, and all later versions stay
    readable, and so do the findings that were exported.
    """
    moment = dt.datetime.combine(before, dt.time(), ZoneInfo(lake.timezone))
    removed = 0
    with lake.writer():
        exported = [v for v, _ in as_of.exported_versions(lake)]
        for name in TABLES:
            table = lake.table(name)
            keep = _needed(lake, name, table.version_at(moment))
            keep |= {f for v in exported for f in table.snapshot(v).files} if (
                name == "findings") else set()
            doomed = _present(table.folder) & log.names_ever(table.folder / "_delta_log") - keep
            if doomed:
                table.commit([], info={"operation": "vacuum", change.ERASES: True,
                                       change.READABLE: table.version_at(moment)})
                with disk.guard(table.folder, "old files cannot be removed"):
                    removed += len(change.vacuum(table, keep))
    return removed


def _needed(lake: Lake, name: str, version: int) -> set[str]:
    """Return the files of a version and of all later ones."""
    table = lake.table(name)
    kept = set(table.snapshot(version).files)
    for number, actions in log.actions_of(table.folder / "_delta_log"):
        if number > version:
            kept |= {str(a["add"]["path"]) for a in actions if "add" in a}
    return kept


def _present(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()
