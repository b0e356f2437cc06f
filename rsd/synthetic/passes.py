"""Who passes which site when: one day at a time, each site by its own random stream.

A stream is named by (seed, purpose, day, site), so a day is the same whatever came before it and
however many days are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from rsd.synthetic import tables as t
from rsd.synthetic.fleet import Fleet, class_of
from rsd.synthetic.sites import SITES

FLEET, WEATHER, PASSES, INSTRUMENT, REGISTRY = range(5)
"""Purposes of random streams."""

UNIFORM = ("vehicle", "hour", "second", "lane", "burst", "cold", "shared", "co", "hc", "no",
           "opacity", "speed_valid", "rain", "overlap", "plate", "plate_other", "plate_real",
           "unreadable", "duplicate", "duplicate_at", "wind_direction")
NORMAL = ("speed", "acceleration", "within_co", "within_hc", "within_no", "within_opacity",
          "plume", "error_co", "error_hc", "error_no", "speed_noise", "acceleration_noise",
          "temperature", "humidity", "wind", "pressure", "confidence", "smoke_spread")
STUDENT = ("co", "hc", "no", "opacity")


def stream(seed: int, purpose: int, *key: int) -> np.random.Generator:
    """Return the random stream of a seed, a purpose and a key (day and site)."""
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, *key))
    return np.random.Generator(np.random.Philox(sequence))


@dataclass(frozen=True)
class Traffic:
    """For each site: which vehicles pass it, and their cumulated passes a day."""

    vehicles: list[np.ndarray]
    weekday: list[np.ndarray]
    weekend: list[np.ndarray]


@dataclass(frozen=True)
class Draws:
    """The raw draws of passes, sorted by site and time; one column a pass."""

    site: np.ndarray
    vehicle: np.ndarray
    second: np.ndarray  # of the day, true clock
    lane: np.ndarray
    sequence: np.ndarray  # of passes in one second and lane
    u: dict[str, np.ndarray]
    z: dict[str, np.ndarray]
    t4: dict[str, np.ndarray]  # Student t, 4 degrees of freedom

    def __len__(self) -> int:
        return len(self.vehicle)


def make_traffic(fleet: Fleet) -> Traffic:
    """Return the traffic of each site from the vehicles' homes and weekly rhythm."""
    is_truck = class_of("is_truck")[fleet.vehicle_class]
    weekend = np.where(is_truck, t.WEEKEND_TRUCKS, t.WEEKEND_CARS)
    rate = fleet.passes_per_day * 7 / (5 + 2 * weekend)
    traffic = Traffic([], [], [])
    for site in range(len(SITES)):
        share = np.where(fleet.homes == site, fleet.home_shares, 0).sum(axis=1)
        vehicles = np.flatnonzero(share)
        here = (rate * share)[vehicles]
        traffic.vehicles.append(vehicles.astype(np.int32))
        traffic.weekday.append(np.cumsum(here))
        traffic.weekend.append(np.cumsum(here * weekend[vehicles]))
    return traffic


def _hours(u: np.ndarray, is_truck: np.ndarray) -> np.ndarray:
    cars, trucks = (np.cumsum(h) / h.sum() for h in (t.HOURS, t.HOURS_TRUCK))
    hour = np.where(is_truck, np.searchsorted(trucks, u), np.searchsorted(cars, u))
    return np.minimum(hour, 23)


def _sequence(lane: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the running number of each pass among those of its lane and second (sorted)."""
    place = np.arange(len(lane))
    is_new = np.ones(len(lane), dtype=bool)
    is_new[1:] = (np.diff(lane) != 0) | (np.diff(second) != 0)
    return np.asarray(place - np.maximum.accumulate(np.where(is_new, place, 0)))


def _draw_site(
    fleet: Fleet, traffic: Traffic, seed: int, day: int, is_weekend: bool, site: int
) -> tuple[np.ndarray, ...]:
    rng = stream(seed, PASSES, day, site)
    edges = (traffic.weekend if is_weekend else traffic.weekday)[site]
    n = int(rng.poisson(edges[-1])) if len(edges) else 0
    u = rng.random((len(UNIFORM), n))
    z = rng.standard_normal((len(NORMAL), n))
    t4 = rng.standard_t(4, (len(STUDENT), n))
    if n == 0:
        none = np.zeros(0, dtype=np.int64)
        return none, none, none, none, none, u, z, t4
    at = np.searchsorted(edges, u[0] * edges[-1], side="right")
    vehicle = traffic.vehicles[site][np.minimum(at, len(edges) - 1)]
    is_truck = class_of("is_truck")[fleet.vehicle_class[vehicle]]
    second = _hours(u[1], is_truck) * 3600 + (u[2] * 3600).astype(np.int64)
    lane = 1 + (u[3] * SITES[site].lanes).astype(np.int64)
    order = np.lexsort((lane, second))
    sequence = _sequence(lane[order], second[order])
    return (np.full(n, site), vehicle[order], second[order], lane[order], sequence,
            u[:, order], z[:, order], t4[:, order])


def draw_day(fleet: Fleet, traffic: Traffic, seed: int, day: int, on: date) -> Draws:
    """Return the passes of one day (`day` counts from 0, `on` is its date)."""
    is_weekend = on.weekday() >= 5
    parts = [_draw_site(fleet, traffic, seed, day, is_weekend, s) for s in range(len(SITES))]
    whole = [np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)]
    site, vehicle, second, lane, sequence, u, z, t4 = whole
    return Draws(
        site, vehicle, second, lane, sequence,
        dict(zip(UNIFORM, u, strict=True)),
        dict(zip(NORMAL, z, strict=True)),
        dict(zip(STUDENT, t4, strict=True)),
    )
