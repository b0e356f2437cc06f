"""The reason codes that scoring itself finds; those of the gates are in `rsd.quality`."""

from __future__ import annotations

from functools import reduce
from operator import or_

import polars as pl

from rsd import quality
from rsd.scoring.attributes import MAX_SLOPE_DEG
from rsd.scoring.gases import is_fuel

MAX_VSP_DIFFERENCE_KW_T = 2.0
"""Device's and own specific power may differ by this much (choice of this project)."""
G_KG_TOLERANCE = (0.05, 0.005)
"""Own g/kg may differ from the file's by 0.05 g/kg + 0.5 %. Rounding of the ratios, and a balance
with HC before its zero correction, stay below 0.05 g/kg + 0.2 % on 70,022 CONOX records; records
that carry another vehicle's g/kg lie far above."""


def own_reasons(
    has_plates: bool, profile: quality.QualityProfile
) -> list[tuple[str, pl.Expr]]:
    """Return the reason codes that scoring itself finds, each with its condition."""
    slope, vsp = pl.col("slope_deg"), pl.col("vsp_kw_t")
    co_known = pl.col("co_co2").is_not_null()
    hc_unknown = pl.col("hc_co2").is_null()
    registry, dump = pl.col("_registry_fuel"), pl.col("fuel_reported")
    no_vehicle = [("plate_unreadable", pl.col("vehicle_id").is_null())] if has_plates else []
    return [
        ("DEVICE_INVALID", ~pl.col("is_device_valid")),
        ("SITE_UNKNOWN", pl.col("_site_segment").is_null()),
        ("TIME_AMBIGUOUS", pl.col("_ambiguous")),
        ("GRADE_MISSING", slope.is_null()),
        ("SLOPE_RANGE", slope.abs() > MAX_SLOPE_DEG),
        ("VSP_DIFFERS", (pl.col("vsp_device_kw_t") - vsp).abs() > MAX_VSP_DIFFERENCE_KW_T),
        ("fuel_conflict", (registry != dump) & (dump != "unknown")),
        ("RATIO_MISSING_CO2", pl.col("_ratios_missing")),
        ("RATIO_INCONSISTENT", pl.col("_ratios_differ")),
        ("HC_ASSUMED_ZERO", co_known & hc_unknown),
        ("HC_NOT_COMPARABLE", is_fuel("cng", "lpg") & pl.col("hc_ppm").is_not_null()),
        ("BEV_PLUME", is_fuel("electric") & co_known & (pl.col("co2_pct") > 0.0) & _plume(profile)),
        ("G_KG_DIFFERS", _masses_differ() & ~hc_unknown),
        *no_vehicle,
    ]


def _plume(profile: quality.QualityProfile) -> pl.Expr:
    """Return "the plume is strong enough, as far as is known"."""
    for rule in profile.rules:
        if rule.code == "PLUME_LOW":
            return rule.failure().not_().fill_null(True)
    return pl.lit(True)


def _masses_differ() -> pl.Expr:
    """Return "own g/kg and the file's differ"; an imputed NOx is not compared."""
    absolute, relative = G_KG_TOLERANCE
    differ = []
    for gas in ("co", "hc", "no", "nox"):
        given = pl.col(f"{gas}_g_kg_reported")
        gap = (pl.col(f"{gas}_g_kg") - given).abs() > given.abs() * relative + absolute
        differ.append(gap & (pl.col("nox_source") == "measured") if gas == "nox" else gap)
    return reduce(or_, differ)
