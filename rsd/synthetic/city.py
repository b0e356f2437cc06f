"""A city with known truth: dumps, sites, segments, registry and truth, day by day.

Days are written one after the other; what is kept in between is the fleet, so a year of 600,000
vehicles needs no more memory than a day of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from rsd.errors import StorageError, UsageError
from rsd.synthetic import emission, tables
from rsd.synthetic.dumps import day_frame, is_doubled, site_files
from rsd.synthetic.fleet import Fleet, day_number, make_fleet
from rsd.synthetic.instrument import measure
from rsd.synthetic.passes import FLEET, REGISTRY, Traffic, draw_day, make_traffic, stream
from rsd.synthetic.reading import OTHER_VEHICLE, UNREADABLE, WRONG_CHARACTER, read_plates
from rsd.synthetic.reading import vehicle_columns as known_columns
from rsd.synthetic.registry import write_registry
from rsd.synthetic.sites import SITES, write_segments, write_sites
from rsd.synthetic.truth import join_days, pass_frame, site_of_passes, write_vehicles
from rsd.synthetic.weather import weather

START = date(2026, 9, 1)
PASSES_PER_VEHICLE_DAY = 1 / 3
"""Default intensity: a demonstration, about 20 times a real fleet's, so that a month has repeats
enough. A city of 600,000 vehicles with 5 million passes a year is `passes_per_day=13_700`."""
_MOST_VEHICLES = 20_000_000


@dataclass(frozen=True)
class SimulationSummary:
    """What was written; counts, and where."""

    out: Path
    start: date
    days: int
    vehicles: int
    registered: int
    sites: int
    files: int
    passes: int
    records: int  # lines in the dumps: passes and copies
    duplicates: int
    invalid: int  # by the instruments' own verdict, also where a site does not write it
    plates_unreadable: int
    plates_wrong: int
    bytes: int

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields as plain text and numbers, for printing and JSON."""
        return {k: v if isinstance(v, int) else str(v) for k, v in vars(self).items()}


@dataclass(frozen=True)
class _Day:
    passes: int
    records: int
    duplicates: int
    invalid: int
    plates_unreadable: int
    plates_wrong: int
    bytes: int


def _check(vehicles: int, days: int, seed: int, passes_per_day: float) -> None:
    for name, value, low, high in (
        ("vehicles", vehicles, 1, _MOST_VEHICLES), ("days", days, 1, 36_500),
        ("seed", seed, 0, 2**63), ("passes_per_day", passes_per_day, 0, 1e8),
    ):
        if not low <= value <= high:
            raise UsageError(f"{name} is out of range", found=str(value),
                             expected=f"{low} to {high}")


def _make_folders(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("a simulation wants an empty folder", where=str(out),
                         remedy="Name a new folder, or empty this one.")
    for folder in ("dumps", "truth"):
        (out / folder).mkdir(parents=True)


def _write_day(out: Path, fleet: Fleet, traffic: Traffic, known: pl.DataFrame, seed: int,
               day: int, on: date) -> _Day:
    """Write one day's dumps and its part of the truth."""
    draws = draw_day(fleet, traffic, seed, day, on)
    air = weather(draws, seed, day, on)
    z = {k: np.clip(draws.z[k], -emission.TRUNCATE_SD, emission.TRUNCATE_SD)
         for k in ("speed", "acceleration")}
    km_h = site_of_passes("speed_km_h", draws) + emission.SPEED_SD_KM_H * z["speed"]
    speed = km_h * (1 / 3.6)
    acceleration = emission.ACCELERATION_MEAN + emission.ACCELERATION_SD * z["acceleration"]
    grade = site_of_passes("grade_pct", draws) * 0.01
    within = np.stack([draws.z[f"within_{p}"] for p in tables.POLLUTANTS])
    true = emission.emit(
        fleet, draws.vehicle, day, speed, acceleration, grade, air.temperature_c,
        site_of_passes("is_depot", draws), within, draws.u["burst"], draws.u["cold"])
    seen = measure(fleet, draws, true, speed, acceleration, grade, air.is_rain_day, seed, day)
    reading = read_plates(fleet, known, draws, air.is_rain_day)
    dump = day_frame(draws, seen, reading, air, day, on)
    records = size = 0
    for site, lines, content in site_files(dump, draws):
        (out / "dumps" / f"{on}_{site.site_id}.csv").write_bytes(content)
        records, size = records + lines, size + len(content)
    truth = pass_frame(fleet, draws, true, seen, reading, dump, speed, acceleration, day)
    truth.write_parquet(out / "truth" / f"{on}.parquet")
    wrong = np.isin(reading.state, (OTHER_VEHICLE, WRONG_CHARACTER)).sum()
    return _Day(len(draws), records, int(is_doubled(draws).sum()), int((~seen.is_valid).sum()),
                int((reading.state == UNREADABLE).sum()), int(wrong), size)


def simulate(
    out: Path, *, vehicles: int, days: int, seed: int, start: date = START,
    passes_per_day: float | None = None, progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Write a synthetic city into the empty folder `out`, with its truth under `out/truth`.

    `dumps/<date>_<site>.csv` (format `cn_platform`), `sites.csv`, `segments.geojson`,
    `registry.csv`, `truth/vehicles.parquet`, `truth/passes.parquet`. `passes_per_day` is the
    expected number on a mean day; by default a third of `vehicles`, so 30,000 vehicles make about
    300,000 passes in 30 days. The same arguments give the same bytes; a day's dumps do not
    depend on `days`. `progress(done, days)` is called after each day.

    Raises UsageError for numbers out of range or a folder that is not empty, StorageError where
    it cannot be written. Everything is made up: see `tables` and `sites`.
    """
    passes = vehicles * PASSES_PER_VEHICLE_DAY if passes_per_day is None else passes_per_day
    _check(vehicles, days, seed, passes)
    try:
        _make_folders(out)
        return _simulate(out, vehicles, days, seed, start, passes, progress)
    except OSError as error:
        raise StorageError("the simulation cannot be written", where=str(out),
                           found=error.strerror or str(error),
                           remedy="Check free space and permission.") from error


def _simulate(
    out: Path, vehicles: int, days: int, seed: int, start: date, passes: float,
    progress: Callable[[int, int], None] | None,
) -> SimulationSummary:
    fleet = make_fleet(stream(seed, FLEET), vehicles, start, passes)
    write_sites(out / "sites.csv")
    write_segments(out / "segments.geojson")
    registered = write_registry(out / "registry.csv", fleet, stream(seed, REGISTRY))
    write_vehicles(out / "truth" / "vehicles.parquet", fleet, day_number(start), days)
    traffic, known = make_traffic(fleet), known_columns(fleet)
    totals = np.zeros(7, dtype=np.int64)
    parts = []
    for day in range(days):
        on = start + timedelta(days=day)
        done = _write_day(out, fleet, traffic, known, seed, day, on)
        totals += (done.passes, done.records, done.duplicates, done.invalid,
                   done.plates_unreadable, done.plates_wrong, done.bytes)
        parts.append(out / "truth" / f"{on}.parquet")
        if progress is not None:
            progress(day + 1, days)
    join_days(parts, out / "truth" / "passes.parquet")
    total = [int(x) for x in totals]
    return SimulationSummary(out, start, days, vehicles, registered, len(SITES),
                             days * len(SITES), *total)
