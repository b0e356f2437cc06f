"""What a pass takes from the small tables: site list and registry."""

from __future__ import annotations

from functools import reduce
from math import atan, degrees
from operator import or_

import polars as pl

from rsd.columns import PASSES, VEHICLES, schema, travelling
from rsd.errors import IntegrityError

MAX_SLOPE_DEG = degrees(atan(0.12))
"""Slopes beyond 12 % are not used (practice of remote sensing, from memory)."""
_TYPES = travelling(PASSES)
_REGISTRY = ("vehicle_class", "fuel", "emission_stage", "first_registered", "use")


def look_up(frame: pl.LazyFrame, key: str, small: pl.DataFrame, prefix: str) -> pl.LazyFrame:
    """Add the columns of a small table by its key, under a prefix; null where it has no such key.

    A left join by other means: the key becomes the row number in the small table (the physical
    value of an Enum) and its columns are gathered by it. The big table's columns and order stay
    as they are; an ordered streaming join copies them, at more than twice the cost.
    """
    if small.is_empty():
        return gather(frame, pl.lit(None, pl.UInt32), small.drop(key), prefix)
    try:
        rows = pl.Enum(small[key])
    except (pl.exceptions.PolarsError, TypeError, ValueError):
        raise IntegrityError(f"{key} is no key of its table", found="a value twice, or null",
                             expected="each value once") from None  # fmt: skip
    row = pl.col(key).cast(rows, strict=False).to_physical()
    return gather(frame, row, small.drop(key), prefix)


def gather(frame: pl.LazyFrame, row: pl.Expr, small: pl.DataFrame, prefix: str) -> pl.LazyFrame:
    """Add the columns of a small table by its row numbers, under a prefix; null where null is."""
    if small.is_empty():
        types = small.schema
        return frame.with_columns(pl.lit(None, types[n]).alias(prefix + n) for n in types)
    # One literal for all columns: Polars 2.1 takes two literals that are all null for one, also
    # where their types differ.
    found = pl.lit(small.to_struct()).gather(row).alias("_found")
    fields = [pl.col("_found").struct.field(name).alias(prefix + name) for name in small.columns]
    return frame.with_columns(found).with_columns(fields)


def site_facts(sites: pl.DataFrame) -> pl.DataFrame:
    """Return what a pass takes from its site: segment (the site itself where blank) and slope."""
    segment = pl.coalesce("road_segment", "site_id").cast(_TYPES["road_segment"]).alias("segment")
    return sites.select("site_id", segment, "slope_deg")


def registry_facts(vehicles: pl.LazyFrame) -> pl.LazyFrame:
    """Return what a pass takes from the registry; null where it is silent or says "unknown"."""
    types = schema(VEHICLES)
    known = [
        pl.col(name).replace("unknown", None).cast(_TYPES[name])
        if types[name] == pl.String else pl.col(name) for name in _REGISTRY
    ]  # fmt: skip
    return vehicles.select("vehicle_id", *known).filter(
        pl.any_horizontal(pl.col(name).is_not_null() for name in _REGISTRY)
    )


def place() -> list[pl.Expr]:
    """Road segment and slope; the record's slope wins over the site's."""
    slope = pl.coalesce("slope_deg", "_site_slope_deg")
    return [
        pl.coalesce("_site_segment", "site_id").alias("road_segment"),
        slope.alias("slope_deg"),
        (pl.col("slope_deg").is_null() & pl.col("_site_slope_deg").is_not_null())
        .alias("is_site_slope"),
        pl.when(slope.abs() <= MAX_SLOPE_DEG).then(slope).alias("_usable_slope_deg"),
    ]


def identity(local_plates: tuple[str, ...]) -> list[pl.Expr]:
    """What the registry says, else the dump; whether the plate is of the lake's own city."""
    local = [pl.col("plate").str.starts_with(prefix) for prefix in local_plates if prefix]
    is_local = reduce(or_, local) if local else pl.lit(None, pl.Boolean)
    return [is_local.alias("is_local"), *merged()]


def merged() -> list[pl.Expr]:
    """What the registry says, else the dump."""
    columns = {
        name: pl.coalesce(f"_registry_{name}", reported)
        for name, reported in (
            ("vehicle_class", "vehicle_class_reported"),
            ("fuel", "fuel_reported"),
            ("emission_stage", "emission_stage_reported"),
            ("first_registered", "first_registered_reported"),
            ("use", "use_reported"),
        )
    }
    for name in ("vehicle_class", "fuel"):
        columns[name] = columns[name].fill_null(pl.lit("unknown", _TYPES[name]))
    return [expr.alias(name) for name, expr in columns.items()]
