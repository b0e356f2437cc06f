"""Make a lake: its folders, key, sites, road segments and registry."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from rsd import geography
from rsd.columns import VEHICLES, schema
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.pipeline.vehicles import read_registry
from rsd.privacy import VehicleKey, vehicle_ids


def init_lake(path: str | Path, *, sites: Path | None = None, segments: Path | None = None,
              registry: Path | None = None, timezone: str = "Asia/Shanghai",
              regulations: Sequence[str] = ("cn_hj845_2017",)) -> tuple[Lake, list[str]]:
    """Make a lake.

    Every file is read before anything is made, so that a wrong one leaves no half lake.

    Args:
        path: a new or empty folder.
        sites, segments, registry: files as the README describes them.
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
    remarks: list[str] = []
    if site_rows is not None and segment_rows is not None:
        remarks = geography.check_sites(site_rows, segment_rows)
    place, existed = Path(path), Path(path).exists()
    lake = Lake.create(path, timezone=timezone, regulations=tuple(regulations))
    try:
        _fill(lake, site_rows, segment_rows, vehicles)
    except BaseException:
        # nobody has used the lake yet: a failed init leaves the folder as it was
        for child in lake.path.iterdir() if existed else [lake.path]:
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        raise
    return Lake.open(place), remarks


def _fill(lake: Lake, sites: pl.DataFrame | None, segments: pl.DataFrame | None,
          vehicles: pl.DataFrame | None) -> None:
    key = VehicleKey.create(lake.key_path)
    with lake.writer():
        for name, rows in (("sites", sites), ("segments", segments)):
            if rows is not None:
                table = lake.table(name)
                table.commit([table.write(rows, "init")], overwrite=True)
        if vehicles is not None:
            named = vehicles.with_columns(vehicle_ids(key, vehicles).alias("vehicle_id"))
            table = lake.table("vehicles")
            rows = named.select(schema(VEHICLES).names())
            table.commit([table.write(rows, "init")], overwrite=True)
