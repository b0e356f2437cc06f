"""Reported passes → scored passes: places, times, ratios, masses, specific power, reasons, flags.

One lazy chain of `with_columns`, no window and no sort: it streams, and gives one row a record in
the order of the records. The small tables (sites, registry) are looked up, never the big one.
Formulas are those of `rsd.physics`, gates those of `rsd.quality`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from math import atan, degrees
from operator import or_
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from rsd import quality
from rsd.columns import PASSES
from rsd.errors import UsageError
from rsd.physics.exhaust import (
    CONVENTIONS,
    FUEL_BLEND,
    NO2_FRACTION,
    Convention,
    co2_pct_cn042,
    co2_pct_feat121,
    co_g_kg,
    convention_for_fuel,
    hc_g_kg,
    nh3_g_kg,
    no2_g_kg,
    no_g_kg,
    nox_as_no2_imputed,
    nox_g_kg_from_no_no2,
    pct_from_ratio,
    ppm_from_ratio,
    ratio_from_pct,
    ratio_from_ppm,
)
from rsd.physics.vsp import vsp_rs_si
from rsd.units import KM_H_TO_M_S, grade_from_slope_deg

CO2_DENOMINATORS = ("cn042", "feat121")
MAX_SLOPE_DEG = degrees(atan(0.12))
"""Slopes beyond 12 % are not used (practice of remote sensing, from memory)."""
MAX_VSP_DIFFERENCE_KW_T = 2.0
"""Device's and own specific power may differ by this much (choice of this project)."""
RATIO_TOLERANCE = 0.005
"""Relative difference between a ratio and its concentration: consistency test on a public platform
record. Differences within the rounding of the concentration do not count:"""
ROUNDING = {"co": 0.01, "hc": 1.0, "no": 1.0, "no2": 1.0}
"""Rounding of concentrations as platforms store them: CO in %, the others in ppm."""
G_KG_TOLERANCE = (0.05, 0.005)
"""Own g/kg may differ from the file's by 0.05 g/kg + 0.5 %. Rounding of the ratios, and a balance
with HC before its zero correction, stay below 0.05 g/kg + 0.2 % on 70,022 CONOX records; records
that carry another vehicle's g/kg lie far above."""

CONCENTRATION = {"co": "co_pct", "hc": "hc_ppm", "no": "no_ppm", "no2": "no2_ppm"}
_REGISTRY = ("vehicle_class", "fuel", "emission_stage", "first_registered", "use")
_MAX_SPAN = timedelta(days=50 * 366)
_DAY_US, _HOUR_US = 86_400_000_000, 3_600_000_000


@dataclass(frozen=True)
class ScoringRules:
    """How a lake's passes are scored.

    ``timezone`` is the IANA name of the lake's zone, ``span`` the first and last local time of the
    records where known (a zone without a change of clocks within it is far faster).
    ``convention`` names the g/kg convention, ``co2_denominator`` the form for concentrations from
    ratios, ``quality_profile`` the gates. ``impute_nox`` takes NOx from NO where there is no NO2,
    ``local_plates`` are the prefixes of the lake's own city, ``has_plates`` is false for a format
    without plates. Raises UsageError for a name that is not known.
    """

    timezone: str
    convention: str = "feat"
    co2_denominator: str = "cn042"
    impute_nox: bool = True
    quality_profile: str = "hj845"
    local_plates: tuple[str, ...] = ("闽D",)
    has_plates: bool = True
    span: tuple[datetime, datetime] | None = None

    def __post_init__(self) -> None:
        _one_of("g/kg convention", self.convention, tuple(CONVENTIONS))
        _one_of("CO2 denominator", self.co2_denominator, CO2_DENOMINATORS)
        _one_of("quality profile", self.quality_profile, quality.profile_names())
        _zone(self.timezone)


def score(
    reported: pl.LazyFrame, sites: pl.DataFrame, vehicles: pl.DataFrame, rules: ScoringRules
) -> pl.LazyFrame:
    """Return the scored passes, with exactly the columns of `PASSES`, a row a record, in order.

    ``reported`` has the columns of `REPORTED` with a ``record_id`` that is not null, and
    ``vehicle_id`` (null without a plate) and ``source_sha256``; ``sites`` those of `SITES`;
    ``vehicles`` those of `VEHICLES`, one row a ``vehicle_id`` at most.
    """
    profile = quality.load_profile(rules.quality_profile)
    frame = _with_registry(reported, vehicles)
    for columns in (
        _site(sites),
        _place() + _clock(rules) + _identity(rules),
        _motion() + _ratios(),
        _concentrations(rules),
        _masses(rules),
        _nox(rules),
        [quality.add_bits(pl.col("intake_bits").fill_null(0),
                          [*_own_reasons(rules, profile), *quality.failures(profile)])
         .alias("reason_bits")],
        quality.validity(profile),
    ):  # fmt: skip
        frame = frame.with_columns(columns)
    # Which versions of a record are current is the lake's knowledge; each is until corrected.
    return frame.with_columns(is_current=pl.lit(True)).select(column.name for column in PASSES)


def _one_of(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"unknown {what}", found=repr(name), expected=", ".join(known))


# ---- time -------------------------------------------------------------------------------------


def to_utc(
    local: pl.Expr, timezone: str, first: datetime | None = None, last: datetime | None = None
) -> pl.Expr:
    """Return the UTC instant of a local clock (Datetime without zone) in an IANA zone.

    Where the zone keeps one offset from ``first`` to ``last`` (local), a constant is subtracted.
    Otherwise a time that occurs twice is the earlier instant, one that never occurs is null.
    """
    offset = constant_offset(timezone, first, last)
    if offset is not None:
        return (local - offset).dt.replace_time_zone("UTC")
    return _instant(local, timezone, "earliest")


def _instant(local: pl.Expr, timezone: str, ambiguous: Any) -> pl.Expr:
    zoned = local.dt.replace_time_zone(timezone, ambiguous=ambiguous, non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


def constant_offset(
    timezone: str, first: datetime | None, last: datetime | None
) -> timedelta | None:
    """Return the zone's offset from UTC if it is the same on each day of the span, else None.

    None too without a span, or with one of more than fifty years. Raises UsageError for a zone that is not known.

    >>> constant_offset("Asia/Shanghai", datetime(2017, 7, 27), datetime(2026, 1, 1))
    datetime.timedelta(seconds=28800)
    """
    zone = _zone(timezone)
    if first is None or last is None or last - first > _MAX_SPAN:
        return None
    start = first.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    days = (start + timedelta(days=n) for n in range((last - start).days + 3))
    offsets = {day.replace(tzinfo=zone).utcoffset() for day in days}
    return offsets.pop() if len(offsets) == 1 else None


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError("unknown time zone", found=repr(timezone),
                         expected="an IANA name such as Asia/Shanghai") from None  # fmt: skip


def _clock(rules: ScoringRules) -> list[pl.Expr]:
    """Instant, local date and hour, and whether the local time occurs twice."""
    local, span = pl.col("measured_local"), rules.span or (None, None)
    microseconds = local.to_physical()
    if constant_offset(rules.timezone, *span) is None:
        earliest, latest = (_instant(local, rules.timezone, end) for end in ("earliest", "latest"))
        ambiguous = earliest != latest
    else:
        ambiguous = pl.lit(False)
    return [
        to_utc(local, rules.timezone, *span).alias("measured_at"),
        local.dt.date().alias("date"),
        # The remainder is never negative, also before 1970; three times faster than dt.hour().
        ((microseconds % _DAY_US) // _HOUR_US).cast(pl.Int8).alias("hour"),
        ambiguous.alias("_ambiguous"),
    ]


# ---- places and vehicles ----------------------------------------------------------------------


def _site(sites: pl.DataFrame) -> list[pl.Expr]:
    """Look up segment and slope of the site; both null where it is not in the list.

    A look-up within the column: a join would copy every other column of the big table.
    """
    sites = sites.unique("site_id", keep="last", maintain_order=True)
    if sites.is_empty():
        return [pl.lit(None, pl.String).alias("_site_segment"),
                pl.lit(None, pl.Float64).alias("_site_slope_deg")]  # fmt: skip
    known, site_id = sites["site_id"], pl.col("site_id")
    segments = sites.select(pl.coalesce("road_segment", "site_id")).to_series()
    return [
        site_id.replace_strict(known, segments, default=None).alias("_site_segment"),
        site_id.replace_strict(known, sites["slope_deg"], default=None).alias("_site_slope_deg"),
    ]


def _place() -> list[pl.Expr]:
    """Road segment and slope; the record's slope wins over the site's."""
    slope = pl.coalesce("slope_deg", "_site_slope_deg")
    return [
        pl.coalesce("_site_segment", "site_id").alias("road_segment"),
        slope.alias("slope_deg"),
        pl.when(slope.abs() <= MAX_SLOPE_DEG).then(slope).alias("_usable_slope_deg"),
    ]


def _with_registry(reported: pl.LazyFrame, vehicles: pl.DataFrame) -> pl.LazyFrame:
    """Add the registry's attributes as ``_registry_*``; null where it is silent or "unknown"."""
    small = vehicles.select(
        "vehicle_id",
        *(_silence_unknown(name, vehicles.schema[name]).alias(f"_registry_{name}")
          for name in _REGISTRY),
    ).filter(pl.any_horizontal(pl.exclude("vehicle_id").is_not_null()))  # fmt: skip
    if small.is_empty():
        return reported.with_columns(
            pl.lit(None, vehicles.schema[name]).alias(f"_registry_{name}") for name in _REGISTRY
        )
    return reported.join(small.lazy(), on="vehicle_id", how="left", maintain_order="left")


def _silence_unknown(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    return pl.when(value != "unknown").then(value) if dtype == pl.String else value


def _identity(rules: ScoringRules) -> list[pl.Expr]:
    """What the registry says, else the dump; whether the plate is of the lake's own city."""
    merged = {
        name: pl.coalesce(f"_registry_{name}", reported)
        for name, reported in (
            ("vehicle_class", "vehicle_class_reported"),
            ("fuel", "fuel_reported"),
            ("emission_stage", "emission_stage_reported"),
            ("first_registered", "first_registered_reported"),
            ("use", "use_reported"),
        )
    }
    merged["vehicle_class"] = merged["vehicle_class"].fill_null("unknown")
    merged["fuel"] = merged["fuel"].fill_null("unknown")
    local = [pl.col("plate").str.starts_with(prefix) for prefix in rules.local_plates]
    is_local = reduce(or_, local) if local and rules.has_plates else pl.lit(None, pl.Boolean)
    return [is_local.alias("is_local"), *(expr.alias(name) for name, expr in merged.items())]


# ---- motion, ratios, concentrations -----------------------------------------------------------


def _motion() -> list[pl.Expr]:
    """Own specific power; null without a slope that can be used."""
    grade = grade_from_slope_deg(pl.col("_usable_slope_deg"))
    vsp = vsp_rs_si(pl.col("speed_km_h") * KM_H_TO_M_S, pl.col("acceleration_m_s2"), grade)
    return [vsp.alias("vsp_kw_t")]


def _ratios() -> list[pl.Expr]:
    """Ratios as reported, else of the concentrations; and what is odd about the two."""
    co2 = pl.col("co2_pct")
    positive = pl.when(co2 > 0.0).then(co2)
    derived, missing, differing = [], [], []
    columns = [positive.alias("_co2_positive_pct")]
    for gas, name in CONCENTRATION.items():
        ratio, value = pl.col(f"{gas}_co2"), pl.col(name)
        of_ratio, of_value = (
            (pct_from_ratio, ratio_from_pct) if gas == "co" else (ppm_from_ratio, ratio_from_ppm)
        )
        only_value = ratio.is_null() & value.is_not_null()
        derived.append(only_value & (co2 > 0.0))
        missing.append(only_value & (co2 <= 0.0))
        gap = (of_ratio(ratio, positive) - value).abs()
        differing.append((gap > value.abs() * RATIO_TOLERANCE) & (gap > ROUNDING[gas]))
        columns.append(pl.coalesce(ratio, of_value(value, positive)).alias(f"{gas}_co2"))
    return [
        *columns,
        reduce(or_, derived).alias("_ratios_derived"),
        reduce(or_, missing).alias("_ratios_missing"),
        reduce(or_, differing).alias("_ratios_differ"),
    ]


def _concentrations(rules: ScoringRules) -> list[pl.Expr]:
    """Concentrations as reported, else of the ratios: by reported CO2, else by the denominator."""
    co, hc, no = (pl.col(f"{gas}_co2") for gas in ("co", "hc", "no"))
    hc = hc.fill_null(0.0)
    dry = co2_pct_cn042(co, hc) if rules.co2_denominator == "cn042" else (
        co2_pct_feat121(co, hc, no.fill_null(0.0)))  # fmt: skip
    reported = pl.col("_co2_positive_pct")
    co2 = pl.coalesce(reported, dry)
    columns = [pl.coalesce("co2_pct", dry).alias("co2_pct")]
    derived = [pl.col("co2_pct").is_null() & co.is_not_null()]
    for gas, name in CONCENTRATION.items():
        ratio, value = pl.col(f"{gas}_co2"), pl.col(name)
        of_ratio = pct_from_ratio if gas == "co" else ppm_from_ratio
        derived.append(value.is_null() & ratio.is_not_null())
        columns.append(pl.coalesce(value, of_ratio(ratio, co2)).alias(name))
    known = reported.is_not_null() | co.is_not_null()
    return [*columns, _derived_from(rules, reduce(or_, derived) & known).alias("derived_from")]


def _derived_from(rules: ScoringRules, concentrations: pl.Expr) -> pl.Expr:
    """Return what was derived from what: "ratios:…" are concentrations made of ratios."""
    ratios, has_co2 = pl.col("_ratios_derived"), pl.col("_co2_positive_pct").is_not_null()
    return (
        pl.when(concentrations & ~has_co2)
        .then(pl.lit(f"ratios:{rules.co2_denominator}"))
        .when(concentrations & ratios)
        .then(pl.lit("ratios:co2_pct+concentrations"))
        .when(concentrations)
        .then(pl.lit("ratios:co2_pct"))
        .when(ratios)
        .then(pl.lit("concentrations"))
    )


# ---- mass per fuel ----------------------------------------------------------------------------


def _convention(rules: ScoringRules) -> Convention:
    """Return the convention; ``per_fuel`` with the carbon of each row's fuel as an expression."""
    convention = CONVENTIONS[rules.convention]
    if rules.convention != "per_fuel":
        return convention
    carbon = pl.lit(convention.carbon_mol_per_kg)
    fuels_of: dict[float, list[str]] = {}
    for fuel in FUEL_BLEND:
        fuels_of.setdefault(convention_for_fuel(fuel).carbon_mol_per_kg, []).append(fuel)
    for value, fuels in fuels_of.items():
        if value != convention.carbon_mol_per_kg:
            carbon = pl.when(_is(*fuels)).then(pl.lit(value)).otherwise(carbon)
    return replace(convention, carbon_mol_per_kg=cast(float, carbon))


def _is(*fuels: str) -> pl.Expr:
    return reduce(or_, (pl.col("fuel") == fuel for fuel in fuels))


def _masses(rules: ScoringRules) -> list[pl.Expr]:
    """Masses per kg fuel; HC that is missing counts as 0 in the carbon balance."""
    convention = _convention(rules)
    co, hc = pl.col("co_co2"), pl.col("hc_co2").fill_null(0.0)
    fraction = _no2_fraction() if rules.impute_nox else pl.lit(None, pl.Float64)
    single: dict[str, Callable[..., Any]] = {"no": no_g_kg, "no2": no2_g_kg, "nh3": nh3_g_kg}
    return [
        pl.lit(convention.name).alias("convention"),
        co_g_kg(co, hc, convention).alias("co_g_kg"),
        hc_g_kg(co, pl.col("hc_co2"), convention).alias("hc_g_kg"),
        *(mass(co, hc, pl.col(f"{gas}_co2"), convention).alias(f"{gas}_g_kg")
          for gas, mass in single.items()),
        fraction.alias("_no2_fraction"),
    ]  # fmt: skip


def _nox(rules: ScoringRules) -> list[pl.Expr]:
    """NOx as NO2: of NO and NO2 where both were measured, else of NO by the assumed share."""
    convention = CONVENTIONS[rules.convention]
    no = pl.col("no_g_kg")
    measured = nox_g_kg_from_no_no2(no, pl.col("no2_g_kg"), convention)
    imputed = nox_as_no2_imputed(no, pl.col("_no2_fraction"), convention)
    source = (
        pl.when(measured.is_not_null()).then(pl.lit("measured"))
        .when(imputed.is_not_null()).then(pl.lit("imputed"))
    )  # fmt: skip
    return [pl.coalesce(measured, imputed).alias("nox_g_kg"), source.alias("nox_source")]


def _no2_fraction() -> pl.Expr:
    """Return the assumed molar NO2/NOx by fuel and emission stage; null where none is known."""
    stage, fraction = pl.col("emission_stage"), pl.lit(None, pl.Float64)
    by_fuel: dict[str, dict[int | None, float]] = {}
    for (fuel, of_stage), value in NO2_FRACTION.items():
        by_fuel.setdefault(fuel, {})[of_stage] = value
    alike: dict[float, list[str]] = {}
    for fuel, stages in by_fuel.items():
        if None in stages and len(set(stages.values())) == 1:
            alike.setdefault(stages[None], []).append(fuel)
            continue
        of_fuel = pl.lit(stages.get(None), pl.Float64)
        for of_stage, value in stages.items():
            if of_stage is not None:
                of_fuel = pl.when(stage == of_stage).then(pl.lit(value)).otherwise(of_fuel)
        fraction = pl.when(_is(fuel)).then(of_fuel).otherwise(fraction)
    for value, fuels in alike.items():
        fraction = pl.when(_is(*fuels)).then(pl.lit(value)).otherwise(fraction)
    return fraction


# ---- reasons ----------------------------------------------------------------------------------


def _own_reasons(
    rules: ScoringRules, profile: quality.QualityProfile
) -> list[tuple[str, pl.Expr]]:
    """Return the reason codes that scoring itself finds, each with its condition."""
    slope, vsp = pl.col("slope_deg"), pl.col("vsp_kw_t")
    co_known = pl.col("co_co2").is_not_null()
    hc_unknown = pl.col("hc_co2").is_null()
    registry, dump = pl.col("_registry_fuel"), pl.col("fuel_reported")
    no_vehicle = [("plate_unreadable", pl.col("vehicle_id").is_null())] if rules.has_plates else []
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
        ("HC_NOT_COMPARABLE", _is("cng", "lpg") & pl.col("hc_ppm").is_not_null()),
        ("BEV_PLUME", _is("electric") & co_known & (pl.col("co2_pct") > 0.0) & _plume(profile)),
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
