"""What writers that died left behind, and how it goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from rsd.storage import disk, log
from rsd.storage.table import Table, is_own_name


def of_lake(lake: Path) -> Iterator[Path]:
    """Yield unfinished files beside the tables."""
    places = [lake, lake / "restricted", lake / "restricted" / "deletions"]
    places += [p for n in ("law", "settings") for p in (lake / "open" / n).glob("**")]
    yield from (p for folder in places if folder.is_dir() for p in folder.iterdir()
                if is_own_name(p.name, staged=False))


def of_table(table: Table) -> Iterator[Path]:
    """Yield files of a table that no version of it names, and unfinished ones of its log."""
    staged = [p for p in table.folder.iterdir() if is_own_name(p.name)]
    entries = table.folder / "_delta_log"
    active = table.snapshot().files
    if unsure := [p for p in staged if p.name not in active]:
        kept = log.names_ever(entries)  # older versions stay readable
        yield from (p for p in unsure if p.name not in kept)
    if entries.is_dir():
        yield from (p for p in entries.iterdir() if is_own_name(p.name, staged=False))


def remove(paths: Iterable[Path]) -> list[Path]:
    """Remove files and folders, and return them. Raises StorageError."""
    removed = []
    for path in paths:
        with disk.guard(path, "what a dead writer left cannot be removed"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                os.unlink(path)
        removed.append(path)
    return removed
