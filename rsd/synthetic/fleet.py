"""The vehicles of the synthetic city and what they truly emit.

log mean = log median of the cell + ageing + spread between vehicles, the spread partly common to
all pollutants; a fault multiplies the mean from its onset to its repair. Arrays have one row a
vehicle; the vehicle number is the row. The means are those over the reference driving of
`emission.reference_response`, bursts included, at 25 °C.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from rsd.synthetic import tables as t
from rsd.synthetic.plates import BLUE, LARGE_GREEN, PREFIXES, SMALL_GREEN, YELLOW, make_plates
from rsd.synthetic.sites import SITES

NEVER = 10**6
"""A day number that no simulation reaches."""
_HOMES = 4
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Fleet:
    """One row a vehicle; days count from the first day of the simulation."""

    vehicle_class: np.ndarray  # index of CLASSES
    fuel: np.ndarray  # index of FUELS
    stage: np.ndarray  # index of STAGES
    registered: np.ndarray  # days since 1970-01-01
    plate_kind: np.ndarray
    plate_prefix: np.ndarray  # index of PREFIXES; 0 is local
    plates: pl.Series
    passes_per_day: np.ndarray
    homes: np.ndarray  # vehicles × 4 indices of SITES
    home_shares: np.ndarray
    log_mean: np.ndarray  # vehicles × pollutants: g/kg, smoke as mean opacity in %
    fault: np.ndarray  # index of FAULTS
    log_fault: np.ndarray  # vehicles × pollutants, added while the fault lasts
    onset_day: np.ndarray
    repair_day: np.ndarray
    fuel_is_known: np.ndarray  # the platform's vehicle data have the fuel

    def __len__(self) -> int:
        return len(self.fuel)

    def is_faulty(self, vehicle: np.ndarray, day: int) -> np.ndarray:
        """Return whether each of the vehicles has its fault on that day."""
        return np.asarray(
            (self.onset_day[vehicle] <= day) & (day < self.repair_day[vehicle])
        )

    def faulty_share(self, days: int) -> np.ndarray:
        """Return each vehicle's share of the first `days` days with its fault."""
        first, last = np.clip(self.onset_day, 0, days), np.clip(self.repair_day, 0, days)
        return np.asarray((last - first) / days)

    def long_run_mean(self, days: int) -> np.ndarray:
        """Return vehicles × pollutants: the true mean over the first `days` days."""
        share = self.faulty_share(days)[:, None]
        mean: np.ndarray = np.exp(self.log_mean.astype(float))
        mean *= 1 + share * np.expm1(self.log_fault)
        return mean


def class_of(attribute: str) -> np.ndarray:
    """Return an attribute of all classes as an array indexed by class."""
    return np.array([getattr(c, attribute) for c in t.CLASSES])


def _cut(u: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return for each u in [0, 1) the index of its share; shares row by row, or one row."""
    edges: np.ndarray = np.cumsum(shares, axis=-1)
    edges /= edges[..., -1:]
    return np.asarray(np.minimum((u[:, None] >= edges).sum(axis=1), shares.shape[-1] - 1))


def _classes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vehicles = class_of("pass_share") / class_of("passes_per_year")
    vehicle_class = _cut(rng.random(n), vehicles)
    fuels = np.array([[c.fuels.get(f, 0.0) for f in range(len(t.FUELS))] for c in t.CLASSES])
    fuel = _cut(rng.random(n), fuels[vehicle_class])
    stage = _cut(rng.random(n), class_of("stages_pct").astype(float)[vehicle_class])
    return vehicle_class.astype(np.int8), fuel.astype(np.int8), stage.astype(np.int8)


def day_number(day: date) -> int:
    """Return the days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _registered(
    rng: np.random.Generator, is_heavy: np.ndarray, stage: np.ndarray, start: date
) -> tuple[np.ndarray, np.ndarray]:
    """Return the registration days, and each vehicle's age [years] less its stage's middle age."""
    today = day_number(start)
    windows = np.array([[(day_number(t.REGISTERED_FROM[h][s]), day_number(t.REGISTERED_TO[h][s]))
                         for s in range(6)] for h in (False, True)])
    windows[..., 1] = np.minimum(windows[..., 1], today)
    windows[..., 0] = np.minimum(windows[..., 0], windows[..., 1] - 365)
    first, last = np.moveaxis(windows[is_heavy.astype(int), stage], -1, 0)
    registered = first + (rng.random(len(stage)) * (last - first)).astype(np.int64)
    return registered, ((first + last) / 2 - registered) / _DAYS_PER_YEAR


def _homes(rng: np.random.Generator, is_truck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw 1 to 4 home sites a vehicle, shares by Dirichlet(0.5)."""
    n = len(is_truck)
    weights = np.array([[s.lanes * (s.truck_factor if truck else 1.0) for s in SITES]
                        for truck in (False, True)])
    edges = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    u = rng.random((n, _HOMES))
    homes = np.where(is_truck[:, None], np.searchsorted(edges[1], u), np.searchsorted(edges[0], u))
    shares = rng.standard_gamma(0.5, (n, _HOMES)) + 1e-9
    shares *= np.arange(_HOMES) < rng.integers(1, _HOMES + 1, n)[:, None]
    shares /= shares.sum(axis=1, keepdims=True)
    return np.minimum(homes, len(SITES) - 1).astype(np.int8), shares.astype(np.float32)


def _passes_per_day(
    rng: np.random.Generator, vehicle_class: np.ndarray, total: float
) -> np.ndarray:
    """Draw how often each passes: 1 + gamma(0.7) a year, scaled to `total` passes a day."""
    mean = class_of("passes_per_year")[vehicle_class]
    shape = t.GAMMA_SHAPE_OF_PASSES
    yearly = 1 + rng.standard_gamma(shape, len(mean)) * (mean - 1) / shape
    # the expected sum, not the drawn one: a class keeps its share, a small fleet its luck
    vehicles = class_of("pass_share") / class_of("passes_per_year")
    expected = len(mean) * class_of("pass_share").sum() / vehicles.sum()
    return np.asarray(yearly * (total / expected))


def _spread(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the log spread between vehicles: correlated by 0.4, CO with HC by 0.6."""
    own_share = 1 - t.COMMON_SHARE - np.array([t.CO_HC_SHARE, t.CO_HC_SHARE, 0, 0])
    z: np.ndarray = np.sqrt(own_share) * rng.standard_normal((n, 4))
    z += np.sqrt(t.COMMON_SHARE) * rng.standard_normal((n, 1))
    z[:, :2] += np.sqrt(t.CO_HC_SHARE) * rng.standard_normal((n, 1))
    z *= t.SIGMA_BETWEEN
    return z


def _log_medians() -> np.ndarray:
    """Return log median of healthy vehicles: fuel × heavy × stage × pollutant."""
    log_median = np.full((len(t.FUELS), 2, 6, 4), -np.inf)
    for fuel in range(len(t.FUELS)):
        if fuel == t.ELECTRIC:
            continue
        mixture = np.einsum("sf,sfp->sp", t.fault_shares(fuel), t.fault_factors())
        for heavy in (False, True):
            means = np.log(t.stage_means(fuel, heavy) / mixture)
            log_median[fuel, int(heavy)] = means - 0.5 * t.SIGMA_BETWEEN**2
    return log_median


def _ageing(fuel: np.ndarray, years: np.ndarray) -> np.ndarray:
    per_year: np.ndarray = np.tile(t.AGEING_PER_YEAR, (len(fuel), 1))
    per_year[fuel == t.DIESEL, t.NO] = t.AGEING_PER_YEAR_DIESEL_NO
    per_year *= years[:, None]
    return per_year


def _faults(
    rng: np.random.Generator, fuel: np.ndarray, stage: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw faults: who has one at the start, and who will get one; one a vehicle.

    Onset hazard h and repair hazard r keep the share p of the table: h (1 − p) = r p.
    """
    n = len(fuel)
    shares = np.stack([t.fault_shares(f) for f in range(len(t.FUELS))])[fuel, stage]
    share = 1 - shares[:, 0]
    at_start = rng.random(n) < share
    kind = 1 + _cut(rng.random(n), shares[:, 1:] + 1e-300)
    years_to_repair = rng.standard_exponential(n) / t.REPAIR_HAZARD_PER_YEAR
    waiting = rng.standard_exponential(n)
    with np.errstate(divide="ignore"):
        years_to_onset = waiting * (1 - share) / (t.REPAIR_HAZARD_PER_YEAR * share)
    years_to_onset = np.where(at_start, -waiting / t.REPAIR_HAZARD_PER_YEAR, years_to_onset)
    onset = np.minimum(years_to_onset * _DAYS_PER_YEAR, NEVER).astype(np.int64)
    repair = np.maximum(onset, 0) + 1 + (years_to_repair * _DAYS_PER_YEAR).astype(np.int64)
    severity = t.FAULT_LOG_SD * rng.standard_normal(n) - 0.5 * t.FAULT_LOG_SD**2
    factor = t.fault_factors()[stage, kind]
    log_fault = np.where(factor != 1.0, np.log(factor) + severity[:, None], 0.0)
    return kind, log_fault, onset, np.minimum(repair, NEVER)


def make_fleet(rng: np.random.Generator, vehicles: int, start: date, passes: float) -> Fleet:
    """Draw a fleet of `vehicles`, together expected to make `passes` passes on a mean day."""
    vehicle_class, fuel, stage = _classes(rng, vehicles)
    is_heavy = class_of("is_heavy")[vehicle_class]
    registered, years = _registered(rng, is_heavy, stage, start)
    kind = np.where(fuel == t.ELECTRIC, np.where(is_heavy, LARGE_GREEN, SMALL_GREEN),
                    np.where(is_heavy, YELLOW, BLUE))
    elsewhere = rng.integers(1, len(PREFIXES), vehicles)
    prefix = np.where(rng.random(vehicles) < t.NONLOCAL, elsewhere, 0)
    homes, shares = _homes(rng, class_of("is_truck")[vehicle_class])
    log_mean = _log_medians()[fuel, is_heavy.astype(int), stage] + _spread(rng, vehicles)
    log_mean += _ageing(fuel, years)
    fault, log_fault, onset, repair = _faults(rng, fuel, stage)
    return Fleet(
        vehicle_class, fuel, stage, registered.astype(np.int32), kind.astype(np.int8),
        prefix.astype(np.int8), make_plates(kind, prefix, int(rng.integers(1, 10**6))),
        _passes_per_day(rng, vehicle_class, passes), homes, shares,
        log_mean.astype(np.float32), fault.astype(np.int8), log_fault.astype(np.float32),
        onset.astype(np.int32), repair.astype(np.int32),
        rng.random(vehicles) < t.FUEL_KNOWN_TO_DEVICE,
    )
