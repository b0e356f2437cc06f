"""What a record says twice: a column in a wrong unit contradicts the others of its record.

Each check asks first whether the declared units fit, under any innocent reading (another set of
coefficients, a device that leaves the slope out). Only where they do not, and other units do, very
much better and in most records, a column is suspected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from rsd.intake.figures import MIN_VALUES, Array, Sample, converted, median, quantile
from rsd.physics.concentration import co2_pct_cn042, co2_pct_feat121
from rsd.physics.vsp import vsp_jp1999, vsp_mph_4364, vsp_rs_si
from rsd.units import KM_H_TO_M_S, M_S_TO_MPH, PPM_TO_PCT

if TYPE_CHECKING:
    from rsd.intake.ranges import Range

MOTION: Final = ("speed_km_h", "acceleration_m_s2", "slope_deg")

_BETTER = 0.2  # a residual that is to convince is at most this share of the declared one
_IN_MOST = 0.8  # of the records
_VSP_SHARE = 0.04  # of the spread of specific power: what rounding leaves (CONOX: 0.006)
_VSP_LEAST_KW_T = 0.05  # misses below it are rounding
_ONE_SLOPE_KW_T = 0.05  # where the slope does not vary, a rolling term could pass for it
_CO2_PCT = 0.15  # CO2 that the carbon balance gives back; HC and NO left out cost 0.05
_DECADE = 0.35  # of a power of ten: HC as hexane and NO as NO2 lie within
_TIGHT = 0.3  # spread of the logarithm of two columns that are one quantity
_CO_WITH_RATIO = {"co_co2": ("co_pct", 1.0), "hc_co2": ("hc_ppm", 1e4), "no_co2": ("no_ppm", 1e4),
                  "no2_co2": ("no2_ppm", 1e4)}
_MASS_WITH_RATIO = {"co_co2": ("co_g_kg_reported", 860 / 12 * 28),
                    "hc_co2": ("hc_g_kg_reported", 860 / 12 * 88),
                    "no_co2": ("no_g_kg_reported", 860 / 12 * 46)}
_ENOUGH = 8192  # rows; a median of more tells no more


@dataclass(frozen=True)
class Suspicion:
    """Units that would explain a column's values, and the evidence in words."""

    likely: tuple[str, ...]
    evidence: tuple[str, ...]


def _units(column: str, sample: Sample, ranges: Mapping[str, Range]) -> list[str]:
    """Return the declared unit first, then the others that the column may be in."""
    own = sample.declared[column].unit
    return [own, *(u for u in ranges[column].units if u != own)]


# -- specific power ---------------------------------------------------------------------------


def check_power(sample: Sample, ranges: Mapping[str, Range]) -> dict[str, Suspicion]:
    """Compare the device's specific power with speed, acceleration and slope."""
    needed = [*MOTION[:2], "vsp_device_kw_t"]
    if not all(c in sample for c in needed):
        return {}
    has_slope = "slope_deg" in sample
    columns = MOTION if has_slope else MOTION[:2]
    whole = np.all([np.isfinite(sample.columns[c]) for c in (*columns, needed[-1])], axis=0)
    some = np.flatnonzero(whole)
    rows = sample.part(some[::1 + some.size // _ENOUGH])
    found = _best_units(rows, columns, ranges)
    if found or not has_slope:
        return found
    return _slope_by_site(rows, ranges)


def _best_units(rows: Sample, columns: tuple[str, ...], ranges: Mapping[str, Range],
                ) -> dict[str, Suspicion]:
    """Return the fewest units that must be others so that the power comes out."""
    power = rows.columns["vsp_device_kw_t"]
    if power.size < MIN_VALUES:
        return {}
    choices = [_units(c, rows, ranges) for c in columns]
    own = tuple(c[0] for c in choices)
    spread = quantile(power, 0.75) - quantile(power, 0.25)
    if median(_miss(rows, columns, vsp_rs_si)) < _VSP_LEAST_KW_T:
        return {}
    kind = {only: _declared_miss(rows, columns, slope_only=only) for only in (False, True)}

    def changes(units: tuple[str, ...]) -> list[str]:
        return [c for c, a, b in zip(columns, units, own, strict=True) if a != b]

    for units in sorted(product(*choices), key=lambda u: len(changes(u)))[1:]:
        changed = changes(units)
        as_declared = kind[changed == ["slope_deg"]]
        before = median(as_declared)
        if before < max(_VSP_LEAST_KW_T, _VSP_SHARE * spread * _BETTER):
            continue
        then = rows
        for c, unit in zip(columns, units, strict=True):
            then = then if unit == rows.declared[c].unit else then.with_unit(c, unit)
        miss = _miss(then, columns, vsp_rs_si)
        after = median(miss)
        limit = min(_VSP_SHARE * spread, _BETTER * before)
        if changed == ["slope_deg"] and not _varies(rows):
            limit = min(limit, _ONE_SLOPE_KW_T)
        if after <= limit and np.mean(miss < as_declared) >= _IN_MOST:
            named = dict(zip(columns, units, strict=True))
            why = (f"the device's specific power follows from speed, acceleration and slope to "
                   f"{after:.2g} kW/t with {' and '.join(named[c] for c in changed)}, and misses "
                   f"by {before:.2g} as declared (medians of {power.size:,} records)")
            return {c: Suspicion((named[c],), (why,)) for c in changed}
    return {}


def _slope_by_site(rows: Sample, ranges: Mapping[str, Range]) -> dict[str, Suspicion]:
    """Return the slope of a single site in another unit than the others."""
    for site in np.unique(rows.site):
        here = rows.site == site
        part = rows.part(here)
        if np.count_nonzero(here) < MIN_VALUES or np.all(here):
            continue
        only_slope = {c: r if c == "slope_deg" else replace(r, units=())
                      for c, r in ranges.items()}
        if found := _best_units(part, MOTION, only_slope):
            return {c: replace(s, evidence=tuple(f"at one of the sites {e}" for e in s.evidence))
                    for c, s in found.items()}
    return {}


def _varies(rows: Sample) -> bool:
    return float(np.ptp(rows.columns["slope_deg"])) > 0.1  # degree


def _declared_miss(rows: Sample, columns: tuple[str, ...], *, slope_only: bool) -> Array:
    """Return the misses under the kindest reading of the declared units."""
    forms: list[Callable[..., Array]] = [vsp_rs_si, vsp_jp1999, _vsp_4364, _vsp_flat]
    misses = [_miss(rows, columns, form) for form in forms]
    if "slope_deg" in columns and (_varies(rows) or not slope_only):
        misses.append(_miss(rows, columns, vsp_rs_si, is_rolling_free=True))
    return min(misses, key=median)


def _vsp_4364(speed: Array, acceleration: Array, grade: Array) -> Array:
    sine = grade / np.sqrt(1.0 + grade * grade)
    return np.asarray(vsp_mph_4364(speed * M_S_TO_MPH, acceleration * M_S_TO_MPH, sine))


def _vsp_flat(speed: Array, acceleration: Array, grade: Array) -> Array:
    return np.asarray(vsp_rs_si(speed, acceleration, 0.0 * grade))


def _miss(rows: Sample, columns: tuple[str, ...], form: Callable[..., Array], *,
          is_rolling_free: bool = False) -> Array:
    """Return |device − own| specific power [kW/t]; without slopes each site has a constant one."""
    speed = rows.columns["speed_km_h"] * KM_H_TO_M_S
    acceleration, power = rows.columns["acceleration_m_s2"], rows.columns["vsp_device_kw_t"]
    if "slope_deg" in columns:
        grade = np.tan(np.radians(rows.columns["slope_deg"]))
    else:
        grade = np.zeros_like(speed)
    gap = power - np.asarray(form(speed, acceleration, grade))
    if "slope_deg" not in columns or is_rolling_free:
        group = rows.site if "slope_deg" not in columns else np.zeros_like(rows.site)
        gap = gap - _constant_by(group, gap, speed) * speed
    return np.asarray(np.abs(gap))


def _constant_by(group: Array, gap: Array, speed: Array) -> Array:
    """Return for each row the median of gap/speed of its group: a slope or a rolling term."""
    constant = np.zeros_like(gap)
    for one in np.unique(group):
        here = (group == one) & (speed > 1.0)
        if here.any():
            constant[group == one] = median(gap[here] / speed[here])
    return constant


# -- one quantity in two columns --------------------------------------------------------------


def check_ratios(sample: Sample, ranges: Mapping[str, Range]) -> dict[str, Suspicion]:
    """Compare concentrations with ratio × CO2, and masses per kg fuel with ratios."""
    found: dict[str, Suspicion] = {}
    for ratio, (value, factor) in _CO_WITH_RATIO.items():
        if all(c in sample for c in (ratio, value, "co2_pct")):
            r, v, co2 = sample.rows(ratio, value, "co2_pct")
            found |= _one_of_two(sample, ranges, ratio, value, v, r * co2 * factor, "ratio × CO2")
    for ratio, (value, factor) in _MASS_WITH_RATIO.items():
        if all(c in sample for c in (ratio, value)) and ratio not in found:
            r, v = sample.rows(ratio, value)
            found |= _one_of_two(sample, ranges, ratio, value, v, r * factor, "the ratio's mass")
    return found


def _one_of_two(sample: Sample, ranges: Mapping[str, Range], ratio: str, value: str, one: Array,
                other: Array, name: str) -> dict[str, Suspicion]:
    """Suspect one of two columns that should be the same up to rounding and are decades apart."""
    keep = one * other > 0
    one, other = one[keep], other[keep]
    large = np.abs(other) >= median(np.abs(other)) if other.size else keep[:0]
    if np.count_nonzero(large) < MIN_VALUES // 4:
        return {}
    logs = np.log10(one[large] / other[large])
    gap = median(logs)
    if abs(gap) < 2 * _DECADE or quantile(logs, 0.75) - quantile(logs, 0.25) > _TIGHT:
        return {}
    explained: dict[str, list[str]] = {}
    for column, sign in ((value, 1.0), (ratio, -1.0)):
        rest = ratio if column == value else value
        if not ranges[rest].is_usual(sample.values(rest)):
            continue
        for unit in _units(column, sample, ranges)[1:]:
            shift = _decades(sample, column, unit)
            is_usual = ranges[column].is_usual(
                converted(sample.values(column), sample.declared[column], unit))
            if is_usual and abs(gap + sign * shift) <= _DECADE:
                explained.setdefault(column, []).append(unit)
    if len(explained) > 1 and value == "co_pct":
        explained = _by_balance(sample, explained)
    why = (f"{sample.declared[value].source} is {10.0 ** gap:.3g} times {name} "
           f"({np.count_nonzero(large):,} records)")
    alone = len(explained) == 1
    return {c: Suspicion(tuple(u), (why if alone else f"{why}, so it or the other is wrong",))
            for c, u in explained.items()}


def _decades(sample: Sample, column: str, unit: str) -> float:
    one = np.ones(1)
    return float(np.log10(converted(one, sample.declared[column], unit)[0]))


def _by_balance(sample: Sample, explained: dict[str, list[str]]) -> dict[str, list[str]]:
    """Choose between ratio and concentration of CO by the carbon balance, if it tells."""
    misses = {c: median(_balance_miss(sample.with_unit(c, units[0]), c))
              for c, units in explained.items()}
    best, *others = sorted(misses, key=lambda c: misses[c])
    tells = misses[best] <= min(_CO2_PCT, _BETTER * misses[others[0]])
    return {best: explained[best]} if tells else explained


# -- the carbon balance -----------------------------------------------------------------------


def check_balance(sample: Sample, ranges: Mapping[str, Range]) -> dict[str, Suspicion]:
    """Compare CO2 of dry exhaust without excess air with what CO leaves of it."""
    has_both = "co_co2" in sample and "co_pct" in sample
    column = "co_co2" if "co_co2" in sample else "co_pct"
    if has_both or column not in sample or "co2_pct" not in sample:
        return {}  # of both, the ratio check has judged
    as_declared = _balance_miss(sample, column)
    before = median(as_declared)
    for unit in _units(column, sample, ranges)[1:]:
        then = sample.with_unit(column, unit)
        miss = _balance_miss(then, column)
        after = median(miss)
        is_better = after <= min(_CO2_PCT, _BETTER * before) and before >= _CO2_PCT
        if (is_better and np.mean(miss < as_declared) >= _IN_MOST
                and ranges[column].is_usual(then.values(column))):
            why = (f"CO2 follows from the carbon balance to {after:.2g} % with {unit}, and misses "
                   f"by {before:.2g} % as declared (medians of {miss.size:,} records)")
            return {column: Suspicion((unit,), (why,))}
    return {}


def _balance_miss(sample: Sample, column: str) -> Array:
    """Return |reported − balanced| CO2 [%] by the better of the two denominators."""
    co, co2 = sample.rows(column, "co2_pct")
    whole = np.isfinite(sample.columns[column]) & np.isfinite(sample.columns["co2_pct"])
    with np.errstate(all="ignore"):
        q = co if column == "co_co2" else co / co2
        hc, no = (_ratio_or_zero(sample, gas, whole) for gas in ("hc", "no"))
        forms = (np.abs(co2 - co2_pct_cn042(q, hc)), np.abs(co2 - co2_pct_feat121(q, hc, no)))
        return np.asarray(np.nan_to_num(min(forms, key=median), nan=np.inf))


def _ratio_or_zero(sample: Sample, gas: str, whole: Array) -> Array:
    for name, factor in ((f"{gas}_co2", None), (f"{gas}_ppm", PPM_TO_PCT)):
        if name in sample:
            values = sample.columns[name][whole]
            ratio = values if factor is None else values * factor / sample.columns["co2_pct"][whole]
            return np.nan_to_num(ratio, nan=0.0, posinf=0.0, neginf=0.0)
    return np.zeros(int(np.count_nonzero(whole)))


CHECKS: Final = (check_power, check_ratios, check_balance)
"""The checks, in the order in which they are asked."""
