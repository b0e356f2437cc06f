"""A lake of findings without passes: all that a review needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from rsd.columns import FINDINGS, VEHICLES, schema
from rsd.lake import Lake

NOW = dt.datetime(2026, 11, 23, 4, 0, tzinfo=dt.UTC)
FIRST = dt.datetime(2026, 9, 1, 0, 0, tzinfo=dt.UTC)


def finding(vehicle: str = "v1.KEY.A", **changed: Any) -> dict[str, Any]:
    """An ordinary finding of a vehicle, some columns changed."""
    later = FIRST + dt.timedelta(days=1)
    return {
        "regulation_id": "cn_hj845_2017", "kind": "violation", "pollutant": "opacity",
        "vehicle_id": vehicle, "plate_color": "yellow", "vehicle_class": "heavy_truck",
        "fuel": "diesel", "emission_stage": 3, "found_at": later,
        "first_record_id": f"{vehicle}-1", "first_measured_at": FIRST, "first_value": 55.0,
        "second_record_id": f"{vehicle}-2", "second_measured_at": later, "second_value": 56.0,
        "limit": 30.0, "unit": "%", "exceedances": 2, "passes": 2, "road_segment": "S1",
        "clause": "HJ 845-2017, clause 5, table 1", "is_verified": False,
        "regulation_sha256": "a" * 64,
    } | changed


def frame(findings: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Findings with all the columns of the table."""
    return pl.DataFrame([dict.fromkeys(schema(FINDINGS)) | f for f in findings],
                        schema=schema(FINDINGS), orient="row")


def store(lake: Lake, findings: Iterable[dict[str, Any]]) -> None:
    """Make these the findings of the lake, as `find` does."""
    table = lake.table("findings")
    with lake.writer():
        table.commit([table.write(frame(findings), "findings")], overwrite=True)


def make(path: Path, findings: Iterable[dict[str, Any]], *, plates: dict[str, str] | None = None,
         **settings: Any) -> Lake:
    """A lake with findings and, for some vehicles, plates."""
    lake = Lake.create(path, settings=settings)
    store(lake, findings)
    if plates:
        rows = pl.DataFrame([{"vehicle_id": v, "plate": p} for v, p in plates.items()])
        missing = [pl.lit(None, t).alias(n) for n, t in schema(VEHICLES).items()
                   if n not in rows.columns]
        table = lake.table("vehicles")
        with lake.writer():
            table.commit([table.write(rows.with_columns(missing).select(schema(VEHICLES).names()),
                                      "init")])
    return lake
