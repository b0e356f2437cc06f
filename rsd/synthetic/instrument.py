"""What the instruments make of the truth: noise, gain, drift, offset, failures.

Measured ratio = gain · ratio · exp(0.08 ε) + offset of site and day + σ/plume · t4/√2, the last
two in concentration units of CO2-free dry exhaust and turned into ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsd.physics import concentration
from rsd.physics.vsp import vsp_rs_si
from rsd.synthetic import tables as t
from rsd.synthetic.emission import Emission
from rsd.synthetic.fleet import Fleet, class_of
from rsd.synthetic.passes import INSTRUMENT, Draws, stream
from rsd.synthetic.sites import SITES

_GAS_KEYS = ("co", "hc", "no")
_CO2_CLEAN_PCT = 42.0 / 2.79  # of exhaust without CO and HC
_RATIO_PER_UNIT = np.array([1.0, 1e-4, 1e-4]) / _CO2_CLEAN_PCT  # of 1 % CO, 1 ppm HC, 1 ppm NO
_T4_TO_SD_1 = 0.5**0.5  # a Student t of 4 degrees of freedom has variance 2
NO_REASON, NO_PLUME, NO_SPEED, RAIN, GAS_BENCH = "-1", "1", "2", "3", "4"
"""wxyy: -1 is seen in a stored record; the other codes are this city's own."""


@dataclass(frozen=True)
class Measurement:
    """One column a pass; NaN where there is no value."""

    ratio: np.ndarray  # 3 × passes: CO, HC, NO to CO2, mol/mol
    co2_pct: np.ndarray
    opacity_pct: np.ndarray
    plume: np.ndarray  # strength, 1 is typical
    speed_km_h: np.ndarray
    acceleration: np.ndarray
    vsp_kw_t: np.ndarray
    is_overlap: np.ndarray  # a battery vehicle in another's plume
    is_valid: np.ndarray  # the record as a whole
    reason: np.ndarray  # index of REASONS


REASONS = (NO_REASON, NO_PLUME, NO_SPEED, RAIN, GAS_BENCH)


def instruments(seed: int, day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gain, offset and noise sd of each site's instrument that day: 3 × sites each."""
    gain, offset = np.empty((3, len(SITES))), np.empty((3, len(SITES)))
    for site in range(len(SITES)):
        own = stream(seed, INSTRUMENT, site).standard_normal((2, 3))
        days_since_audit = (day + 3 * site) % t.AUDIT_EVERY_DAYS
        gain[:, site] = 1 + t.GAIN_SD * own[0] + t.DRIFT_PER_DAY_SD * days_since_audit * own[1]
        today = stream(seed, INSTRUMENT, site, day).standard_normal(3)
        offset[:, site] = t.OFFSET_SD * today
    noise = t.NOISE[[int(s.is_bad_unit) for s in SITES]].T
    return gain, offset, noise


def _plume(fleet: Fleet, draws: Draws, overlap: np.ndarray) -> np.ndarray:
    is_high = class_of("is_heavy")[fleet.vehicle_class[draws.vehicle]]
    strength = np.exp(t.PLUME_LOG_SD * draws.z["plume"])
    is_electric = fleet.fuel[draws.vehicle] == t.ELECTRIC
    background = np.where(is_electric & ~overlap, 0.02, 1.0)  # breath of the road: choice
    return strength * np.where(is_high, t.PLUME_HIGH_STACK, 1.0) * background


def _donor(fleet: Fleet, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Return whose plume is measured (its row), and whether it is another's."""
    before = np.maximum(np.arange(len(draws)) - 1, 0)
    is_electric = fleet.fuel[draws.vehicle] == t.ELECTRIC
    overlap = is_electric & ~is_electric[before] & (draws.u["overlap"] < t.BEV_OVERLAP)
    return np.where(overlap, before, np.arange(len(draws))), overlap


def _gases(emission: Emission, draws: Draws, plume: np.ndarray, donor: np.ndarray, seed: int,
           day: int) -> np.ndarray:
    gain, offset, noise = (x[:, draws.site] for x in instruments(seed, day))
    error = np.stack([draws.z[f"error_{g}"] for g in _GAS_KEYS])
    random = np.stack([draws.t4[g] for g in _GAS_KEYS]) * _T4_TO_SD_1
    added = (offset + noise / plume * random) * _RATIO_PER_UNIT[:, None]
    seen = gain * emission.ratio[:, donor] * np.exp(t.PROPORTIONAL_ERROR * error)
    return np.asarray(seen + added)


def _fails(draws: Draws, key: str, total: float) -> np.ndarray:
    """Return own failures: with the shared ones they make up the total share."""
    own = (total - t.INVALID_SHARED) / (1 - t.INVALID_SHARED)
    return draws.u[key] < own


def measure(
    fleet: Fleet, draws: Draws, emission: Emission, speed: np.ndarray, acceleration: np.ndarray,
    grade: np.ndarray, is_rain_day: bool, seed: int, day: int,
) -> Measurement:
    """Return what the instruments report of passes; arguments as `emission.emit` has them."""
    donor, overlap = _donor(fleet, draws)
    plume = _plume(fleet, draws, overlap)
    ratio = _gases(emission, draws, plume, donor, seed, day)
    co2_pct = np.asarray(concentration.co2_pct_cn042(ratio[0], ratio[1]))
    opacity = emission.opacity_pct[donor] + t.OPACITY_NOISE * _T4_TO_SD_1 * draws.t4["opacity"]
    is_bench_down = draws.u["shared"] < t.INVALID_SHARED
    has_no_gas = is_bench_down | (plume < 0.5 * t.PLUME_MINIMUM)
    for k, gas in enumerate(_GAS_KEYS):
        ratio[k, has_no_gas | _fails(draws, gas, t.INVALID[k])] = np.nan
    co2_pct[has_no_gas] = np.nan
    opacity[is_bench_down | _fails(draws, "opacity", t.INVALID[3])] = np.nan
    has_no_speed = draws.u["speed_valid"] < t.INVALID_SPEED
    speed = speed + t.SPEED_SD_M_S * draws.z["speed_noise"]
    acceleration = acceleration + t.ACCELERATION_SD * draws.z["acceleration_noise"]
    speed, acceleration = (np.where(has_no_speed, np.nan, x) for x in (speed, acceleration))
    is_rained = is_rain_day & (draws.u["rain"] < t.RAIN_INVALID)
    reason = np.select([is_bench_down, plume < t.PLUME_MINIMUM, has_no_speed, is_rained],
                       [4, 1, 2, 3], 0)
    return Measurement(
        ratio, co2_pct, np.minimum(opacity, 99.9), plume, speed * 3.6, acceleration,
        np.asarray(vsp_rs_si(speed, acceleration, grade)), overlap, reason == 0, reason,
    )
