"""Accounts of dumps in `runs`, those too whose run died between their commit and its last word."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from rsd.columns import RUNS, schema
from rsd.lake import Commit, Lake, Table
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.storage import log
from rsd.version import VERSION

PENDING = "pending"
"""State of a dump that is not done yet."""

_NOTED = "passes_version"  # up to this version of passes every dump has its account in runs
_COUNTED = ("file", "format", "records", "accepted", "quarantined", "duplicates",
            "duplicates_in_file", "duplicates_earlier", "corrected", "blank")


def counts_of(file: FileSummary) -> dict[str, object]:
    """Return what the commit of a dump says of it: enough to tell its account from the log."""
    return {name: getattr(file, name) for name in _COUNTED}


def record(lake: Lake, run: RunSummary) -> None:
    """Store the accounts of a run, and those that an earlier run could not store any more."""
    columns, version = schema(RUNS), lake.table("passes").version()
    files = [f for f in run.files if f.state != PENDING]
    told = {f.sha256 for f in files if f.state == "done"}
    rows = _missing(lake, told) + [
        {"run_id": run.run_id, "started_at": dt.datetime.fromisoformat(run.started_at),
         "version": VERSION, **{n: getattr(f, n) for n in columns if hasattr(f, n)}}
        for f in files
    ]
    if rows:
        runs = lake.table("runs")
        runs.commit([runs.write(pl.DataFrame(rows, schema=columns), run.run_id)],
                    info={_NOTED: version})  # as it stood before the missing ones were told


def _missing(lake: Lake, told: set[str | None]) -> list[dict[str, object]]:
    """Return rows of `RUNS` for committed dumps that neither ``told`` nor the table knows."""
    noted = next((int(c.info[_NOTED]) for c in _newest_first(lake.table("runs"))
                  if _NOTED in c.info), -1)
    found: dict[str, dict[str, object]] = {}
    for commit in _newest_first(lake.table("passes")):
        if commit.version <= noted:
            break
        found |= {sha: _row(commit, sha, counts)
                  for sha, counts in commit.info.get("sources", {}).items() if sha not in told}
    if not found:
        return []
    stored = lake.table("runs").scan().filter(pl.col("state") == "done").select("sha256").collect()
    known: Sequence[str] = stored["sha256"].to_list()
    return [row for sha, row in found.items() if sha not in known]


def _row(commit: Commit, sha256: str, counts: dict[str, object]) -> dict[str, object]:
    # the run that died has no name any more: the first dump of its batch gives it one
    run_id = min(commit.info["sources"])[:32]
    return {"run_id": run_id, "started_at": commit.at, "sha256": sha256, "state": "done",
            "version": VERSION, **counts}


def _newest_first(table: Table) -> Iterator[Commit]:
    entries = table.folder / "_delta_log"
    for version in reversed(log.versions(entries)[0]):
        actions = log.read_entry(log.entry_path(entries, version)) or []
        info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        at = dt.datetime.fromtimestamp(info.get("timestamp", 0) / 1000, dt.UTC)
        yield Commit(version, at, info.get("rsd", {}))
