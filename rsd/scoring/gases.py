"""Specific power, ratios, concentrations and masses of a pass: `rsd.physics` on its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, cast

import polars as pl

from rsd.columns import PASSES, travelling
from rsd.physics.concentration import (
    co2_pct_cn042,
    co2_pct_feat121,
    pct_from_ratio,
    ppm_from_ratio,
    ratio_from_pct,
    ratio_from_ppm,
)
from rsd.physics.exhaust import (
    CONVENTIONS,
    FUEL_BLEND,
    NO2_FRACTION,
    Convention,
    co_g_kg,
    convention_for_fuel,
    hc_g_kg,
    nh3_g_kg,
    no2_g_kg,
    no_g_kg,
    nox_as_no2_imputed,
    nox_g_kg_from_no_no2,
)
from rsd.physics.vsp import vsp_rs_si
from rsd.units import KM_H_TO_M_S, grade_from_slope_deg

RATIO_TOLERANCE = 0.005
"""Relative difference between a ratio and its concentration: consistency test on a public platform
record. Differences within the rounding of the concentration do not count:"""
ROUNDING = {"co": 0.01, "hc": 1.0, "no": 1.0, "no2": 1.0}
"""Rounding of concentrations as platforms store them: CO in %, the others in ppm."""
_TYPES = travelling(PASSES)
CONCENTRATION = {"co": "co_pct", "hc": "hc_ppm", "no": "no_ppm", "no2": "no2_ppm"}


def motion() -> list[pl.Expr]:
    """Own specific power; null without a slope that can be used."""
    grade = grade_from_slope_deg(pl.col("_usable_slope_deg"))
    vsp = vsp_rs_si(pl.col("speed_km_h") * KM_H_TO_M_S, pl.col("acceleration_m_s2"), grade)
    return [vsp.alias("vsp_kw_t")]


def ratios() -> list[pl.Expr]:
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


def concentrations(co2_denominator: str) -> list[pl.Expr]:
    """Concentrations as reported, else of the ratios: by reported CO2, else by the denominator."""
    co, hc, no = (pl.col(f"{gas}_co2") for gas in ("co", "hc", "no"))
    hc = hc.fill_null(0.0)
    dry = co2_pct_cn042(co, hc) if co2_denominator == "cn042" else (
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
    made = reduce(or_, derived) & (reported.is_not_null() | co.is_not_null())
    return [*columns, _derived_from(co2_denominator, made).alias("derived_from")]


def _derived_from(co2_denominator: str, concentrations: pl.Expr) -> pl.Expr:
    """Return what was derived from what: "ratios:…" are concentrations made of ratios."""
    ratios, has_co2 = pl.col("_ratios_derived"), pl.col("_co2_positive_pct").is_not_null()
    return (
        pl.when(concentrations & ~has_co2)
        .then(_label("derived_from", f"ratios:{co2_denominator}"))
        .when(concentrations & ratios)
        .then(_label("derived_from", "ratios:co2_pct+concentrations"))
        .when(concentrations)
        .then(_label("derived_from", "ratios:co2_pct"))
        .when(ratios)
        .then(_label("derived_from", "concentrations"))
    )


def _label(column: str, value: str) -> pl.Expr:
    return pl.lit(value, _TYPES[column])


def _convention(name: str) -> Convention:
    """Return the convention; ``per_fuel`` with the carbon of each row's fuel as an expression."""
    convention = CONVENTIONS[name]
    if name != "per_fuel":
        return convention
    carbon = pl.lit(convention.carbon_mol_per_kg)
    fuels_of: dict[float, list[str]] = {}
    for fuel in FUEL_BLEND:
        fuels_of.setdefault(convention_for_fuel(fuel).carbon_mol_per_kg, []).append(fuel)
    for value, fuels in fuels_of.items():
        if value != convention.carbon_mol_per_kg:
            carbon = pl.when(is_fuel(*fuels)).then(pl.lit(value)).otherwise(carbon)
    return replace(convention, carbon_mol_per_kg=cast(float, carbon))


def is_fuel(*fuels: str) -> pl.Expr:
    """Return whether the pass's fuel is one of some."""
    return reduce(or_, (pl.col("fuel") == fuel for fuel in fuels))


def masses(convention_name: str, impute_nox: bool) -> list[pl.Expr]:
    """Masses per kg fuel; HC that is missing counts as 0 in the carbon balance."""
    convention = _convention(convention_name)
    co, hc = pl.col("co_co2"), pl.col("hc_co2").fill_null(0.0)
    fraction = _no2_fraction() if impute_nox else pl.lit(None, pl.Float64)
    single: dict[str, Callable[..., Any]] = {"no": no_g_kg, "no2": no2_g_kg, "nh3": nh3_g_kg}
    return [
        _label("convention", convention.name).alias("convention"),
        co_g_kg(co, hc, convention).alias("co_g_kg"),
        hc_g_kg(co, pl.col("hc_co2"), convention).alias("hc_g_kg"),
        *(mass(co, hc, pl.col(f"{gas}_co2"), convention).alias(f"{gas}_g_kg")
          for gas, mass in single.items()),
        fraction.alias("_no2_fraction"),
    ]  # fmt: skip


def nox(convention_name: str) -> list[pl.Expr]:
    """NOx as NO2: of NO and NO2 where both were measured, else of NO by the assumed share."""
    convention = CONVENTIONS[convention_name]
    no = pl.col("no_g_kg")
    measured = nox_g_kg_from_no_no2(no, pl.col("no2_g_kg"), convention)
    imputed = nox_as_no2_imputed(no, pl.col("_no2_fraction"), convention)
    source = (
        pl.when(measured.is_not_null()).then(_label("nox_source", "measured"))
        .when(imputed.is_not_null()).then(_label("nox_source", "imputed"))
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
        fraction = pl.when(is_fuel(fuel)).then(of_fuel).otherwise(fraction)
    for value, fuels in alike.items():
        fraction = pl.when(is_fuel(*fuels)).then(pl.lit(value)).otherwise(fraction)
    return fraction
