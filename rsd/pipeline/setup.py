"""Make a lake: its folders, key, sites, road segments and registry."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from rsd import geography
from rsd.columns import VEHICLES, schema
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.pipeline import trail
from rsd.pipeline.inspections import read_inspections, store
from rsd.pipeline.kept import keep
from rsd.pipeline.nightly import regulations_of
from rsd.pipeline.vehicles import read_registry
from rsd.privacy import VehicleKey, vehicle_ids
from rsd.review.calendar import read_calendar
from rsd.storage.making import marked


def init_lake(path: str | Path, *, sites: Path | None = None, segments: Path | None = None,
              registry: Path | None = None, calendar: Path | None = None,
              inspections: Path | None = None,
              timezone: str = "Asia/Shanghai",
              regulations: Sequence[str] = ("cn_hj845_2017",)) -> tuple[Lake, list[str]]:
    """Make a lake.

    Every file is read before anything is made, so that a wrong one leaves no half lake.

    Args:
        path: a new or empty folder.
        sites, segments, registry: files as the README describes them.
        calendar: working days (`rsd.review.calendar`), for deadlines.
        inspections: inspections and re-tests (`rsd.pipeline.inspections`).
        timezone: IANA name of the zone of dumps and calendar arithmetic.
        regulations: ids of the regulations that findings are made by.

    Returns:
        The lake, and remarks on what was read (a site far from its road segment).

    Raises:
        InputRefused: a file cannot be used.
        UsageError: a zone or regulation cannot be used; the folder is not empty.
    """
    for regulation in regulations:
        rulebook.load(regulation).require_runnable()
    site_rows = geography.read_sites(sites) if sites is not None else None
    segment_rows = geography.read_segments(segments) if segments is not None else None
    vehicles = read_registry(registry) if registry is not None else None
    days = read_calendar(calendar) if calendar is not None else None
    inspected = None if inspections is None else read_inspections(inspections, timezone)
    remarks: list[str] = []
    if site_rows is not None and segment_rows is not None:
        remarks = geography.check_sites(site_rows, segment_rows)
    place, existed = Path(path).expanduser().absolute(), Path(path).exists()
    try:
        with marked(place) as is_again:
            lake = Lake.create(place, timezone=timezone, regulations=tuple(regulations))
            _fill(lake, site_rows, segment_rows, vehicles, days, inspected, is_again=is_again)
    except BaseException:
        if not existed:  # a failed init leaves things as they were
            with suppress(OSError):
                place.rmdir()
        raise
    return Lake.open(place), remarks


def _fill(lake: Lake, sites: pl.DataFrame | None, segments: pl.DataFrame | None,
          vehicles: pl.DataFrame | None, days: pl.DataFrame | None,
          inspected: pl.DataFrame | None, *, is_again: bool) -> None:
    # a key outside of the lake (RSD_KEY_FILE) outlives an init that was killed
    is_kept = is_again and lake.key_path.exists()
    key = (VehicleKey.load if is_kept else VehicleKey.create)(lake.key_path)
    with lake.writer():
        trail.collect(lake)
        trail.record(lake, "init", {"regulations": list(lake.regulations)})
        keep(lake, regulations_of(lake))
        for name, rows in (("sites", sites), ("segments", segments), ("calendar", days)):
            if rows is not None:
                table = lake.table(name)
                table.commit([table.write(rows, "init")], overwrite=True)
        if vehicles is not None:
            named = vehicles.with_columns(vehicle_ids(key, vehicles).alias("vehicle_id"))
            table = lake.table("vehicles")
            rows = named.select(schema(VEHICLES).names())
            table.commit([table.write(rows, "init")], overwrite=True)
        if inspected is not None:
            store(lake, inspected)
