"""The files of tables against what the logs say of them, and what lies there besides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from rsd.keeping import deletion
from rsd.keeping.carrying import LIST_STAGED
from rsd.keeping.problem import ERROR, NOTE, WARNING, Problem
from rsd.keeping.rotation import NEXT
from rsd.lake import Lake
from rsd.storage import change, log
from rsd.storage.table import is_own_name

_MEND = "Run: rsd doctor --repair"


def check(lake: Lake, name: str) -> Iterator[Problem]:
    """Yield which files of a table, of now and of earlier versions, are not as the log says."""
    folder = lake.table(name).folder
    active = lake.table(name).snapshot().files
    for add in _added(lake, name):
        path = folder / log.file_name(add["path"], folder)
        wrong = _wrong(lake, name, path, add)
        if wrong is None:
            continue
        found, expected = wrong
        is_past = path.name not in active
        where = " (of an earlier version)" if is_past else ""
        yield Problem(ERROR, name, str(path), found + where, expected,
                      _remedy(lake, name, path, is_past=is_past))


def _added(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Return what the log says of each file that a version still needs."""
    table = lake.table(name)
    erased = [c for c in table.history() if c.info.get(change.ERASES)]
    first = erased[-1].info.get(change.READABLE, erased[-1].version) if erased else -1
    kept = set(table.snapshot(int(first)).files)
    found = {}
    for version, actions in log.actions_of(table.folder / "_delta_log"):
        for add in (a["add"] for a in actions if "add" in a):
            if version > int(first) or log.file_name(add["path"], table.folder) in kept:
                found[add["path"]] = add
    return list(found.values())


def _wrong(lake: Lake, name: str, path: Path, add: dict[str, Any]) -> tuple[str, str] | None:
    """Return what was found and what was expected of one file, None where it is right."""
    if not path.is_file() or path.is_symlink():
        return "missing", "a file"
    size = path.stat().st_size
    if size != add["size"]:
        return f"{size} bytes", f"{add['size']} bytes"
    sha256 = (add.get("tags") or {}).get("sha256")
    if sha256 is not None and _sha256(path) != sha256:
        return "other bytes than were committed", f"SHA-256 {sha256[:16]}…"
    try:
        columns = pl.read_parquet_schema(path)
        rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    except pl.exceptions.PolarsError:
        return "no whole Parquet file", "a Parquet file"
    told = json.loads(add.get("stats") or "{}").get("numRecords")
    if told is not None and rows != told:
        return f"{rows} rows", f"{told} rows"
    declared = lake.table(name).schema
    odd = [c for c, kind in columns.items() if declared.get(c) != kind]
    return (f"column {odd[0]} is {columns[odd[0]]}", str(declared.get(odd[0]))) if odd else None


def _remedy(lake: Lake, name: str, path: Path, *, is_past: bool) -> str:
    if is_past:
        return "Restore it from a backup; only answers --as-of an earlier time need it."
    if name == "findings":
        return "Restore it from a backup. Or: rsd find LAKE computes the findings anew."
    dumps = _dumps_in(lake, path)
    held = f" It holds rows of {', '.join(dumps[:5])}{' …' if len(dumps) > 5 else ''}." \
        if dumps else ""
    return (f"Restore it from a backup.{held} Without one, make a new lake from the dumps: "
            "this one takes them for known.")


def _dumps_in(lake: Lake, path: Path) -> list[str]:
    """Return the names of the dumps whose commit brought a file of passes."""
    if path.parent.name != "passes":
        return []
    for version, actions in log.actions_of(path.parent / "_delta_log"):
        if any(path.name == a["add"]["path"] for a in actions if "add" in a):
            notes = [c.info for c in lake.table("passes").history() if c.version == version]
            sources = notes[0].get("sources", {}) if notes else {}
            return sorted(str(told.get("file", sha)) for sha, told in sources.items())
    return []


def litter(lake: Lake, names: list[str]) -> Iterator[Problem]:
    """Yield what dead writers left, and what nobody of ours put there."""
    def of(found: list[Path], table: str | None) -> Iterator[Problem]:
        for path in found:
            yield Problem(WARNING, table, str(path), "left by a run that died", "nothing", _MEND,
                          lambda path=path: path.unlink(missing_ok=True))  # type: ignore[misc]

    root = [p for p in lake.path.iterdir() if is_own_name(p.name, staged=False) and p.is_file()]
    yield from of(root, None)
    if lake.may_read_restricted and change.under_way(lake.path) is None:
        others = [lake.path / "restricted" / LIST_STAGED,
                  lake.key_path.with_name(lake.key_path.name + NEXT)]
        yield from of([*deletion.leftovers(lake), *(p for p in others if p.exists())], None)
    for name in names:
        folder = lake.table(name).folder
        if not folder.is_dir():
            continue
        known = log.names_ever(folder / "_delta_log")
        files = [p for p in sorted(folder.iterdir()) if p.is_file() and p.name not in known]
        yield from of([p for p in files if is_own_name(p.name)], name)
        if (folder / "_delta_log").is_dir():
            yield from of([p for p in (folder / "_delta_log").iterdir()
                           if is_own_name(p.name, staged=False)], name)
        for path in files:
            if not is_own_name(path.name):
                yield Problem(NOTE, name, str(path), "a file that rsd did not put there",
                              remedy="No reader sees it. Move it elsewhere.")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
