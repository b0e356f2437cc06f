"""Names that vehicles had under the key of before: answered to until a date."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import polars as pl

from rsd.lake import Lake

ROTATION = "key rotate"
"""Operation that the entries of a change of the key are known by."""

UNTIL = "grace_until"
"""Key of their note: the last local day on which former names are answered to."""


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
    until = answered_until(lake)
    if until is None or dt.datetime.now(ZoneInfo(lake.timezone)).date() > until:
        return vehicle_id
    found = lake.table("vehicles").scan().filter(pl.col("former_id") == vehicle_id)
    names = found.select("vehicle_id").collect().to_series().to_list()
    return str(names[0]) if names else vehicle_id
