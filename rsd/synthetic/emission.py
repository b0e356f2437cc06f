"""What a vehicle truly emits in one pass.

log r = log mean + response to load + temperature + cold start + burst + spread within the vehicle,
in g/kg of fuel (smoke: optical depth); ratios to CO2 by inverting the carbon balance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from rsd.physics import exhaust, smoke
from rsd.physics.vsp import MOVES, vsp_moves, vsp_rs_si
from rsd.synthetic import tables as t
from rsd.synthetic.fleet import Fleet, class_of
from rsd.synthetic.sites import SITES

BALANCE = exhaust.CONVENTIONS["per_fuel"]  # CH2 fuel, exact molar masses, carbon-doubled HC
SPEED_SD_KM_H, ACCELERATION_MEAN, ACCELERATION_SD = 9.0, 0.25, 0.45  # assumed
TRUNCATE_SD = 2.5  # choice: speeds and accelerations are cut there
_MOST_CARBON = 0.65  # of the fuel's carbon in CO and HC: beyond it an engine does not run (choice)
_NODES = 21  # of the reference driving, in speed and in acceleration


@dataclass(frozen=True)
class Emission:
    """True values of passes; gases in the order CO, HC, NO, one column a pass."""

    vsp_kw_t: np.ndarray  # remote-sensing form
    load_kw_t: np.ndarray  # by the class's own form
    g_kg: np.ndarray  # 3 × passes
    ratio: np.ndarray  # 3 × passes, mol/mol to CO2
    no2_ratio: np.ndarray
    opacity_pct: np.ndarray
    is_burst: np.ndarray
    is_cold: np.ndarray
    is_faulty: np.ndarray


def log_response(vsp_kw_t: np.ndarray) -> np.ndarray:
    """Return pollutant × passes: how log emission follows the specific power (assumed).

    >>> log_response(np.array([5.0, 10.0])).round(3).tolist()
    [[0.061, 0.104], [-0.101, -0.173], [0.243, 0.416], [0.203, 0.347]]
    """
    power = np.maximum(vsp_kw_t, 0.0)
    log_power = np.log1p(0.1 * power)
    co = 0.15 * log_power + 0.08 * np.maximum(vsp_kw_t - 20.0, 0.0)
    hc = np.where(vsp_kw_t < 0, 1.0, -0.25 * log_power)
    no = 0.6 * np.log1p(0.1 * np.minimum(power, 30.0))
    return np.stack([co, hc, no, 0.5 * log_power])


def load_kw_t(
    moves_type: np.ndarray, speed: np.ndarray, acceleration: np.ndarray, grade: np.ndarray
) -> np.ndarray:
    """Return the specific power [kW/t] by each pass's own form; speed in m/s, grade rise/run."""
    load = np.asarray(vsp_rs_si(speed, acceleration, grade))
    sin_slope = grade / np.sqrt(1 + grade * grade)
    for kind in sorted({c.moves_type for c in t.CLASSES} - {0}):
        rows = np.flatnonzero(moves_type == kind)
        load[rows] = vsp_moves(speed[rows], acceleration[rows], sin_slope[rows], MOVES[kind])
    return load


@lru_cache(maxsize=1)
def reference_response() -> np.ndarray:
    """Return class × pollutant: the mean of exp(response) over the reference driving.

    The reference driving gives all sites one weight, and speed and acceleration their truncated
    normal distributions by equal quantiles; it is frozen, so that "long-run mean" means one thing.
    """
    normal = NormalDist()
    z = np.array([normal.inv_cdf((k + 0.5) / _NODES) for k in range(_NODES)])
    z = np.clip(z, -TRUNCATE_SD, TRUNCATE_SD)
    grade, speed, acceleration = (a.ravel() for a in np.meshgrid(np.arange(len(SITES)), z, z))
    site = grade.astype(int)
    speed = (np.array([s.speed_km_h for s in SITES])[site] + SPEED_SD_KM_H * speed) * (1 / 3.6)
    acceleration = ACCELERATION_MEAN + ACCELERATION_SD * acceleration
    grade = np.array([s.grade_pct for s in SITES])[site] * 0.01
    means = []
    for c in t.CLASSES:
        load = load_kw_t(np.full(len(site), c.moves_type), speed, acceleration, grade)
        means.append(np.exp(log_response(load)).mean(axis=1))
    return np.array(means)


def ratios(g_kg: np.ndarray) -> np.ndarray:
    """Return 3 × passes molar ratios of CO, HC, NO to CO2 from g/kg: the carbon balance inverted.

    >>> ratios(np.array([[26.0], [3.6], [5.2]])).round(6).ravel().tolist()
    [0.013212, 0.000581, 0.002467]
    """
    molar_mass = np.array([BALANCE.co_g_mol, BALANCE.hc_g_mol, BALANCE.no_g_mol])
    share = g_kg / (BALANCE.carbon_mol_per_kg * molar_mass)[:, None]
    denominator = 1 / (1 - share[0] - BALANCE.hc_denominator * share[1])
    return np.asarray(share * denominator)


def _cap_carbon(g_kg: np.ndarray) -> np.ndarray:
    """Scale CO and HC so that at most `_MOST_CARBON` of the fuel's carbon leaves as CO and HC."""
    carbon = g_kg[0] / (BALANCE.carbon_mol_per_kg * BALANCE.co_g_mol)
    carbon = carbon + g_kg[1] * BALANCE.hc_denominator / (
        BALANCE.carbon_mol_per_kg * BALANCE.hc_g_mol
    )
    g_kg[:2] *= np.minimum(1.0, _MOST_CARBON / np.maximum(carbon, _MOST_CARBON))
    return g_kg


def no2_share(fuel: np.ndarray, stage: np.ndarray) -> np.ndarray:
    """Return the molar share of NO2 in NOx."""
    return np.where(fuel == t.DIESEL, t.NO2_SHARE_DIESEL[stage], t.NO2_SHARE_OTHER)


def _within(fuel: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return pollutant × passes log spread within a vehicle, of mean 1 after exp."""
    sigma = np.tile(t.SIGMA_WITHIN[:, None], (1, len(fuel)))
    sigma[t.NO] = np.where(fuel == t.DIESEL, t.SIGMA_WITHIN_DIESEL_NO, sigma[t.NO])
    return np.asarray(sigma * z - 0.5 * sigma * sigma)


def emit(
    fleet: Fleet, vehicle: np.ndarray, day: int, speed: np.ndarray, acceleration: np.ndarray,
    grade: np.ndarray, temperature: np.ndarray, is_depot: np.ndarray, z: np.ndarray,
    u_burst: np.ndarray, u_cold: np.ndarray,
) -> Emission:
    """Return the true emission of passes (arrays of one length; z is pollutant × passes).

    Speed in m/s without noise, acceleration in m/s2, grade rise/run, temperature in C.
    """
    vehicle_class, fuel = fleet.vehicle_class[vehicle], fleet.fuel[vehicle]
    is_burst = u_burst < t.BURST_PROBABILITY
    is_cold = (u_cold < t.COLD_PROBABILITY) & is_depot
    is_faulty = fleet.is_faulty(vehicle, day)
    load = load_kw_t(class_of("moves_type")[vehicle_class], speed, acceleration, grade)
    burst_mean = 1 + t.BURST_PROBABILITY * (t.BURST_FACTOR - 1)
    log_mean = fleet.log_mean[vehicle].T.astype(float)
    log_mean += np.where(is_faulty, fleet.log_fault[vehicle].T, 0.0)
    log = log_mean + log_response(load) - np.log(reference_response()[vehicle_class].T * burst_mean)
    log += _within(fuel, z) + np.where(is_burst, np.log(t.BURST_FACTOR), 0.0)
    log += np.where(is_cold, np.log(t.COLD_FACTOR)[:, None], 0.0)
    per_k = np.where(fuel == t.DIESEL, *t.TEMPERATURE_PER_K.values())
    log[t.NO] += per_k * (temperature - 25.0)
    value = np.exp(log)
    g_kg = _cap_carbon(value[:3])
    ratio = ratios(g_kg)
    f = no2_share(fuel, fleet.stage[vehicle])
    # mean opacities are small, so that the mean optical depth stands for them
    depth = value[t.SMOKE] * 0.01
    return Emission(
        np.asarray(vsp_rs_si(speed, acceleration, grade)), load, g_kg, ratio,
        ratio[t.NO] * f / (1 - f), np.asarray(smoke.opacity_pct(depth, 1.0)),
        is_burst, is_cold, is_faulty,
    )
