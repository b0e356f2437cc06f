"""Names that vehicles had under the key of before: answered to until a date."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl

from rsd.lake import Lake
from rsd.privacy import VehicleKey, hash_vehicles

ROTATION = "key rotate"
"""Operation that the entries of a change of the key are known by."""

UNTIL = "grace_until"
"""Key of their note: the last local day on which former names are answered to."""

_PIECE = 200_000  # vehicles that are hashed at a time


def answered_until(lake: Lake) -> dt.date | None:
    """Return the last day on which former names are answered to; None when there are none."""
    notes = [c.info for c in lake.table("vehicles").history()
             if c.info.get("operation") in (ROTATION, "key forget")]
    until = notes[-1].get(UNTIL) if notes else None
    return None if until is None else dt.date.fromisoformat(str(until))


def present_id(lake: Lake, vehicle_id: str) -> str:
    """Return the present pseudonym of a vehicle that is called by its former one.

    Whoever may not read ``restricted/`` gets back what was given: what the new name of an old one
    is tells whoever has the old key as much as the key itself.
    """
    if not lake.may_read_restricted:
        return vehicle_id
    until, today = answered_until(lake), dt.datetime.now(ZoneInfo(lake.timezone)).date()
    vehicles = lake.table("vehicles").scan()
    if until is not None and today <= until:
        found = vehicles.filter(pl.col("former_id") == vehicle_id)
        names = found.select("vehicle_id").collect().to_series().to_list()
        if names:
            return str(names[0])
    return _by_retired_key(lake, vehicle_id, today)


def _by_retired_key(lake: Lake, vehicle_id: str, today: dt.date) -> str:
    """Return the present pseudonym of one from before several changes of the key."""
    parts = vehicle_id.split(".")
    # names of before the last change stand in the rows: only those of earlier ones are asked for
    rotations = [c.info for c in lake.table("vehicles").history()
                 if c.info.get("operation") == ROTATION]
    notes = [n for n in rotations[:-1] if n.get("from") == parts[1]] if len(parts) > 1 else []
    if not notes or dt.date.fromisoformat(str(notes[-1][UNTIL])) < today:
        return vehicle_id
    path = lake.key_path.with_name(f"{lake.key_path.name}.{parts[1]}.retired")
    if not path.exists():  # forgotten
        return vehicle_id
    key = VehicleKey.load(path)
    stored = lake.table("vehicles").scan().select("vehicle_id", "plate", "plate_color").collect()
    for piece in stored.iter_slices(_PIECE):
        found = piece.filter(hash_vehicles(key, piece) == vehicle_id)["vehicle_id"]
        if found.len():
            return str(found[0])
    return vehicle_id
