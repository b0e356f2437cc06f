"""Purge: what is older than a date goes, from the tables as they stand and from all of before.

Removed are passes by their local date, with what hangs on them: evidence, the quarantine of their
dumps, plates of vehicles that have no pass left and stand in no registry, findings whose proof is
gone. A finding under review holds its proofs, their evidence and the plate. All tables change at
one moment; then the files of earlier versions are removed, so no earlier version can be read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rsd import audit
from rsd.errors import UsageError
from rsd.keeping import deletion, purge_plan
from rsd.keeping.carrying import carry
from rsd.keeping.staging import Staging, count, versions
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.vehicles import check_key
from rsd.privacy import VehicleKey
from rsd.storage import change, disk
from rsd.version import VERSION

TABLES = ("passes", "evidence", "quarantine", "inspections", "vehicles", "findings")
"""Tables that rows are removed from."""


@dataclass(frozen=True)
class Purged:
    """What a purge removed, or would remove.

    ``tables``: table → ``removed`` and ``left`` rows. ``held``: passes older than the date that a
    finding under review holds. ``record``: the signed record; None when nothing was removed.
    """

    before: dt.date
    tables: Mapping[str, Mapping[str, int]]
    held: int
    record: Path | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was that old."""
        return not any(counts["removed"] for counts in self.tables.values())


def purge(lake: Lake, before: dt.date, reason: str, *, dry_run: bool = False) -> Purged:
    """Remove what is older than a date.

    Args:
        lake: the lake.
        before: first local day that stays.
        reason: why, for the record; plates in it are masked.
        dry_run: only count.

    Returns:
        What was removed. A purge that a crash interrupted is finished by whoever next opens the
        lake for writing; then nothing is left to remove, and its record stands in
        ``restricted/deletions``.

    Raises:
        UsageError: a date to come, or no reason.
        LakeBusy: another run holds the lake.
        IntegrityError: the key is not the lake's.
        StorageError: nothing could be written, or the purge waits to be finished by the next run.
    """
    _check(lake, before, reason)
    with lake.writer():
        for path in deletion.leftovers(lake):
            path.unlink()
        key = VehicleKey.load(lake.key_path)
        check_key(lake, key)
        staging = Staging(lake, "purge")
        try:
            plan = purge_plan.make(lake, staging, before)
            left = {name: count(staging.rows(name)) for name in TABLES}
            tables = {name: {"removed": plan.removed[name], "left": left[name]} for name in TABLES}
            done = Purged(before, tables, plan.held, None)
            if dry_run or done.is_empty:
                staging.discard()
                return done
            return _publish(lake, staging, key, plan, done, trail.masked(reason))
        except BaseException:
            staging.discard()
            raise


def _check(lake: Lake, before: dt.date, reason: str) -> None:
    today = dt.datetime.now(ZoneInfo(lake.timezone)).date()
    if before > today:
        raise UsageError("that day is yet to come", where="--before", found=before.isoformat(),
                         expected=f"at most {today}")
    if not reason.strip():
        raise UsageError("a purge needs a reason", where="--reason",
                         remedy="Say by which rule the data go: it stands in the record.")


def _publish(lake: Lake, staging: Staging, key: VehicleKey, plan: purge_plan.Plan, done: Purged,
             reason: str) -> Purged:
    with disk.guard(deletion.folder(lake), "the record of the deletion cannot be written"):
        record = _record(lake, staging, done, reason)
        text = deletion.signed(key, record)
        staged, place = deletion.stage(lake, staging.id, text)
        staging.other(staged)
    carried = carry(lake, staging, plan.stays_proven)
    trail.record(lake, "purge", {
        "change": staging.id, "before": done.before.isoformat(), "tables": dict(done.tables),
        "held": done.held, "record_sha256": hashlib.sha256(text).hexdigest()}, reason=reason)
    steps = [*staging.steps(), *carried.steps]
    touched = {step.table for step in steps}
    steps += [change.Step(name, (), ()) for name in TABLES
              if name not in touched and lake.table(name).version() >= 0]
    change.publish(lake, change.Change(
        staging.id, "purge", versions(lake), steps,
        info={"operation": "purge", "before": done.before.isoformat(), change.ERASES: True,
              "sources_removed": plan.sources},
        vacuum=TABLES, keep=carried.keep, moves=carried.moves,
        closes=[(str(staged), str(place))]))
    return Purged(done.before, done.tables, done.held, place)


def _record(lake: Lake, staging: Staging, done: Purged, reason: str) -> dict[str, Any]:
    contents = {name: staging.contents(name) for name in TABLES}
    return {
        "id": staging.id, "lake": lake.path.name, "rsd": VERSION,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "by": audit.user_name(os.getuid()), "before": done.before.isoformat(), "reason": reason,
        "timezone": lake.timezone, "held": done.held,
        "tables": {name: {**done.tables[name], "content_before": str(before),
                          "content_after": str(after),
                          "version_before": lake.table(name).version()}
                   for name, (before, after) in contents.items()},
    }
