"""The truth beside the dumps: joined only by vehicle number and pass id.

Nothing else in this package reads it; it is there to measure how well findings do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from rsd.physics import concentration
from rsd.synthetic import tables as t
from rsd.synthetic.dumps import is_doubled, is_shifted
from rsd.synthetic.emission import Emission, ratios
from rsd.synthetic.fleet import Fleet, day_number
from rsd.synthetic.instrument import Measurement
from rsd.synthetic.passes import Draws
from rsd.synthetic.plates import COLOR_NAME, PREFIXES
from rsd.synthetic.reading import STATES, Reading
from rsd.synthetic.sites import SITES

_ROWS_PER_GROUP = 131_072


def emission_stage(fleet: Fleet) -> np.ndarray:
    """Return the emission stage 0 to 6 as a registry numbers it."""
    oldest = fleet.registered < day_number(t.FIRST_STAGE_I)
    return np.where(oldest & (fleet.stage == 0), 0, fleet.stage + 1).astype(np.int8)


def _names(names: tuple[str, ...], index: np.ndarray) -> pl.Series:
    return pl.Series(names, dtype=pl.String).gather(index.astype(np.int64))


def _concentrations(ratio: np.ndarray) -> dict[str, np.ndarray]:
    co2 = np.asarray(concentration.co2_pct_cn042(ratio[0], ratio[1]))
    return {
        "co_pct": np.asarray(concentration.pct_from_ratio(ratio[0], co2)),
        "hc_ppm": np.asarray(concentration.ppm_from_ratio(ratio[1], co2)),
        "no_ppm": np.asarray(concentration.ppm_from_ratio(ratio[2], co2)),
    }


def _day(first: int, offset: np.ndarray, happens: np.ndarray) -> pl.Series:
    days = pl.Series(np.where(happens, first + offset, 0).astype(np.int32)).cast(pl.Date)
    return days.set(~pl.Series(happens), None)


def write_vehicles(path: Path, fleet: Fleet, first_day: int, days: int) -> None:
    """Write the true vehicles: what they are, their long-run means, their fault.

    Means are over the reference driving at 25 C and over the simulated days (a fault counts for
    its share of them): co_pct, hc_ppm, no_ppm as of dry exhaust without excess air, opacity_pct,
    and g/kg. `healthy_…` leave the fault out. `first_day` counts from 1970-01-01.
    """
    mean, healthy = fleet.long_run_mean(days), np.exp(fleet.log_mean.astype(float))
    happens = fleet.onset_day < days
    columns = {
        "vehicle": np.arange(len(fleet)),
        "plate": fleet.plates,
        "plate_color": _names(COLOR_NAME, fleet.plate_kind),
        "is_local": _names(PREFIXES, fleet.plate_prefix) == PREFIXES[0],
        "true_class": _names(tuple(c.name for c in t.CLASSES), fleet.vehicle_class),
        "fuel": _names(t.FUELS, fleet.fuel),
        "emission_stage": emission_stage(fleet),
        "first_registered": pl.Series(fleet.registered).cast(pl.Date),
        "passes_per_day": fleet.passes_per_day,
        **{f"{p}_g_kg": mean[:, k] for k, p in enumerate(("co", "hc", "no"))},
        **_concentrations(ratios(mean[:, :3].T)),
        "opacity_pct": mean[:, t.SMOKE],
        **{f"healthy_{k}": v for k, v in _concentrations(ratios(healthy[:, :3].T)).items()},
        "healthy_opacity_pct": healthy[:, t.SMOKE],
        "fault": _names(t.FAULTS, np.where(happens, fleet.fault, 0)),
        "fault_onset": _day(first_day, fleet.onset_day, happens),
        "fault_repair": _day(first_day, fleet.repair_day, happens),
        "faulty_share": fleet.faulty_share(days),
    }
    pl.DataFrame(columns).write_parquet(path)


def pass_frame(
    fleet: Fleet, draws: Draws, emission: Emission, m: Measurement, reading: Reading,
    dump: pl.DataFrame, speed: np.ndarray, acceleration: np.ndarray, day: int,
) -> pl.DataFrame:
    """Return the true passes of a day: values without noise, and what went wrong.

    `pass_id` is the dump's jlbh. Gas concentrations are those of the vehicle itself, also where
    another's plume was measured (`is_overlap`).
    """
    return pl.DataFrame({
        "pass_id": dump["jlbh"],
        "vehicle": np.asarray(draws.vehicle, np.int64),
        "site_id": dump["dwbh"],
        "true_second_of_day": draws.second,
        "speed_km_h": speed * 3.6,
        "acceleration_m_s2": acceleration,
        "vsp_kw_t": emission.vsp_kw_t,
        "load_kw_t": emission.load_kw_t,
        **{f"{p}_g_kg": emission.g_kg[k] for k, p in enumerate(("co", "hc", "no"))},
        **_concentrations(emission.ratio),
        "no2_co2": emission.no2_ratio,
        "opacity_pct": emission.opacity_pct,
        "plume_strength": m.plume,
        "has_plume": m.plume >= t.PLUME_MINIMUM,
        "is_overlap": m.is_overlap,
        "is_valid": m.is_valid,
        **{f"is_valid_{p}": ~np.isnan(m.ratio[k]) for k, p in enumerate(("co", "hc", "no"))},
        "is_valid_opacity": ~np.isnan(m.opacity_pct),
        "is_burst": emission.is_burst,
        "is_cold": emission.is_cold,
        "is_faulty": emission.is_faulty,
        "plate_reading": _names(STATES, reading.state),
        "shown_vehicle": reading.shown,
        "is_duplicated": is_doubled(draws),
        "is_clock_wrong": is_shifted(draws, day),
    })


def join_days(parts: list[Path], path: Path) -> None:
    """Join the days' files into one, streaming, and remove them."""
    pl.scan_parquet(parts).sink_parquet(path, row_group_size=_ROWS_PER_GROUP)
    for part in parts:
        part.unlink()


def site_of_passes(attribute: str, draws: Draws) -> np.ndarray:
    """Return an attribute of each pass's site."""
    return np.asarray(np.array([getattr(s, attribute) for s in SITES])[draws.site])
