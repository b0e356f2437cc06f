"""A new key: every vehicle gets its new pseudonym in all tables at one moment.

The new names come from the plates in the vault. With the pseudonyms change the record ids that end
in a part of one, else a record that is sent again would be a new one. Reviews are a chain that
nobody rewrites: they get an event for each new name. Earlier versions keep the old names until
`forget` removes them, and the former names are answered to for a time.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from rsd.errors import UsageError
from rsd.keeping import renaming
from rsd.keeping.carrying import carry
from rsd.keeping.staging import Staging, versions
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.aliases import ROTATION, UNTIL
from rsd.pipeline.vehicles import check_key
from rsd.privacy import KEY_SIZE, VehicleKey
from rsd.storage import change, disk

GRACE_DAYS = 90
"""Days that former names are answered to; choice of this project."""

_MOST_DAYS = 36_500  # a hundred years
NEXT = ".next"
RETIRED = ".retired"
_FORGOTTEN = ("passes", "findings", "vehicles", "evidence", "inspections")


@dataclass(frozen=True)
class Rotated:
    """What was done: the ids of both keys, the vehicles, and until when old names are known."""

    old_key: str
    new_key: str
    vehicles: int
    answered_until: dt.date
    retired: Path


def rotate(lake: Lake, reason: str, *, grace_days: int = GRACE_DAYS) -> Rotated:
    """Give the lake a new key.

    Args:
        lake: the lake.
        reason: why, for the audit.
        grace_days: how long `rsd explain` answers to former names.

    Returns:
        What was done. After a crash nothing has happened, or whoever next opens the lake for
        writing finishes it.

    Raises:
        UsageError: no reason, or days below 0.
        PolicyRefusal, StorageError: the key may be read by others, or not by us.
        IntegrityError: an id does not follow from its plate, or passes name an unknown vehicle.
        LakeBusy: another run holds the lake.
    """
    if not reason.strip():
        raise UsageError("a change of the key needs a reason", where="--reason")
    if grace_days < 0:
        raise UsageError("days below zero", where="--grace-days", found=str(grace_days))
    if grace_days > _MOST_DAYS:
        raise UsageError("too many days", where="--grace-days", found=str(grace_days),
                         expected=f"at most {_MOST_DAYS}")
    with lake.writer():
        place = lake.key_path
        old = VehicleKey.load(place)
        check_key(lake, old)
        new = VehicleKey(secrets.token_bytes(KEY_SIZE))
        until = dt.datetime.now(ZoneInfo(lake.timezone)).date() + dt.timedelta(grace_days)
        staging = Staging(lake, "rotate")
        try:
            names = renaming.Names(lake, old, new)
            return _publish(lake, staging, names, old, new, until, trail.masked(reason))
        except BaseException:
            staging.discard()
            raise


def _publish(lake: Lake, staging: Staging, names: renaming.Names, old: VehicleKey,
             new: VehicleKey, until: dt.date, reason: str) -> Rotated:
    place = lake.key_path
    following = place.with_name(place.name + NEXT)
    retired = place.with_name(f"{place.name}.{old.key_id}{RETIRED}")
    renaming.stage(lake, staging, names)
    carried = carry(lake, staging, names.of_findings)
    with disk.guard(following, "the next key cannot be written"):
        disk.replace(staging.other(following), new.secret, 0o600)
    trail.record(lake, ROTATION, {"change": staging.id, "from": old.key_id, "to": new.key_id,
                                  "vehicles": names.count, UNTIL: until.isoformat()},
                 reason=reason)
    change.publish(lake, change.Change(
        staging.id, ROTATION, versions(lake), [*staging.steps(), *carried.steps],
        info={"operation": ROTATION, "from": old.key_id, "to": new.key_id,
              UNTIL: until.isoformat()},
        moves=carried.moves, key=(str(place), str(following), str(retired))))
    return Rotated(old.key_id, new.key_id, names.count, until, retired)


def forget(lake: Lake, reason: str) -> list[Path]:
    """Forget former names: the retired keys, and all versions of before that hold old names.

    Afterwards the lake cannot be shown as it stood before. Returns the keys that were removed.

    Raises:
        UsageError: no reason, or there is nothing to forget.
        LakeBusy, StorageError: as in `rotate`.
    """
    if not reason.strip():
        raise UsageError("forgetting needs a reason", where="--reason")
    with lake.writer():
        check_key(lake, VehicleKey.load(lake.key_path))
        retired = sorted(lake.key_path.parent.glob(f"{lake.key_path.name}.*{RETIRED}"))
        stored = lake.table("vehicles").scan()
        has_names = stored.select(pl.col("former_id").is_not_null().any()).collect().item()
        if not retired and not has_names:
            raise UsageError("there is nothing to forget", where=str(lake.path),
                             found="no change of the key, or forgotten already")
        staging = Staging(lake, "forget")
        try:
            trail.record(lake, "key forget", {"change": staging.id,
                                              "keys": [p.name for p in retired]}, reason=reason)
            _forget(lake, staging, stored)
        except BaseException:
            staging.discard()
            raise
        for path in retired:
            path.unlink(missing_ok=True)
    return retired


def _forget(lake: Lake, staging: Staging, stored: pl.LazyFrame) -> None:
    staging.drop("vehicles", lake.visible_files("vehicles"))
    staging.add("vehicles", stored.with_columns(former_id=pl.lit(None, pl.String)))
    carried = carry(lake, staging, lambda findings: findings)
    steps = [*staging.steps(), *carried.steps]
    touched = {step.table for step in steps}
    steps += [change.Step(name, (), ()) for name in _FORGOTTEN
              if name not in touched and lake.table(name).version() >= 0]
    change.publish(lake, change.Change(
        staging.id, "key forget", versions(lake), steps,
        info={"operation": "key forget", change.ERASES: True}, vacuum=_FORGOTTEN,
        keep=carried.keep, moves=carried.moves))


