"""What the plate camera reads, and what the platform then looks up about that plate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from rsd.synthetic import tables as t
from rsd.synthetic.fleet import Fleet, class_of
from rsd.synthetic.passes import Draws
from rsd.synthetic.plates import COLOR_CODE, PLATE_TYPE, misread

RIGHT, UNREADABLE, OTHER_VEHICLE, WRONG_CHARACTER = range(4)
STATES = ("right", "unreadable", "other_vehicle", "wrong_character")
_DUSK, _DAWN = 19, 6
_NO_PLATE = ("", "无牌", "未识别")
_OTHER_COLOR = 5


@dataclass(frozen=True)
class Reading:
    """One row a pass: the state of the reading, whose plate it shows, what stands in the dump."""

    state: np.ndarray
    shown: np.ndarray  # vehicle number whose plate is shown; the vehicle itself if unreadable
    columns: pl.DataFrame  # hphm, cpys, hpzl, cllx, rlzl, sbzxd


def vehicle_columns(fleet: Fleet) -> pl.DataFrame:
    """Return what the platform knows of each vehicle: hphm, cpys, hpzl, cllx, rlzl."""
    fuel = pl.Series(np.array(t.FUEL_CODE)[fleet.fuel].tolist(), dtype=pl.String)
    return pl.DataFrame({
        "hphm": fleet.plates,
        "cpys": np.array(COLOR_CODE, dtype=np.int8)[fleet.plate_kind],
        "hpzl": pl.Series(np.array(PLATE_TYPE)[fleet.plate_kind].tolist(), dtype=pl.String),
        "cllx": pl.Series(class_of("vehicle_type")[fleet.vehicle_class].tolist(),
                          dtype=pl.String),
        "rlzl": fuel.set(~pl.Series(fleet.fuel_is_known), None),
    })


def _states(draws: Draws, is_rain_day: bool) -> np.ndarray:
    hour = draws.second // 3600
    is_dark = (hour >= _DUSK) | (hour < _DAWN) | is_rain_day
    wrong = np.where(is_dark, t.WRONG_AT_NIGHT, t.WRONG)
    u = draws.u["plate"]
    is_real = draws.u["plate_real"] < t.WRONG_IS_REAL
    state = np.where(is_real, OTHER_VEHICLE, WRONG_CHARACTER)
    return np.select([u < t.UNREADABLE, u < t.UNREADABLE + wrong], [UNREADABLE, state], RIGHT)


def _shown(fleet: Fleet, draws: Draws, state: np.ndarray) -> np.ndarray:
    """Return the vehicle whose plate is shown: another of the same plate kind when misread."""
    shown = draws.vehicle.astype(np.int64)
    kind = fleet.plate_kind[shown]
    for one in range(len(COLOR_CODE)):
        rows = np.flatnonzero((state == OTHER_VEHICLE) & (kind == one))
        if len(rows):
            same = np.flatnonzero(fleet.plate_kind == one)
            at = (draws.u["plate_other"][rows] * len(same)).astype(np.int64)
            shown[rows] = np.where(same[at] == shown[rows], same[at - 1], same[at])
    return shown


def read_plates(
    fleet: Fleet, known: pl.DataFrame, draws: Draws, is_rain_day: bool
) -> Reading:
    """Return the camera's readings of a day's passes; `known` is `vehicle_columns(fleet)`."""
    state = _states(draws, is_rain_day)
    shown = _shown(fleet, draws, state)
    state = np.where((state == OTHER_VEHICLE) & (shown == draws.vehicle), RIGHT, state)
    text = np.array(_NO_PLATE)[(draws.u["unreadable"] * len(_NO_PLATE)).astype(int)]
    mean = np.array([96.5, 30.0, 84.0, 84.0])[state]
    confidence = mean + np.array([2.0, 12.0, 6.0, 6.0])[state] * draws.z["confidence"]
    columns = known[shown].with_columns(
        state=pl.Series(state), no_plate=pl.Series(text.tolist(), dtype=pl.String),
        sbzxd=pl.Series(np.clip(confidence, 1.0, 99.9).round(1)),
    )
    is_lost, is_wrong = pl.col("state") == UNREADABLE, pl.col("state") == WRONG_CHARACTER
    columns = columns.with_columns(
        hphm=pl.when(is_lost).then(pl.col("no_plate").replace("", None))
        .when(is_wrong).then(misread(pl.col("hphm"))).otherwise(pl.col("hphm")),
        cpys=pl.when(is_lost).then(pl.lit(_OTHER_COLOR, pl.Int8)).otherwise(pl.col("cpys")),
        hpzl=pl.when(~is_lost).then(pl.col("hpzl")),
        cllx=pl.when(~is_lost & ~is_wrong).then(pl.col("cllx")),
        rlzl=pl.when(~is_lost & ~is_wrong).then(pl.col("rlzl")),
    )
    return Reading(state, shown, columns.drop("state", "no_plate"))
