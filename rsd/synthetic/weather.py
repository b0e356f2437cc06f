"""The weather of the synthetic city: a mean year of about 21 °C, with a daily wave (assumed)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from rsd.synthetic import tables as t
from rsd.synthetic.passes import WEATHER, Draws, stream


@dataclass(frozen=True)
class Weather:
    """Weather at each pass, without instrument noise."""

    temperature_c: np.ndarray
    humidity_pct: np.ndarray
    wind_m_s: np.ndarray
    wind_direction_deg: np.ndarray
    pressure_kpa: np.ndarray
    is_rain_day: bool


def weather(draws: Draws, seed: int, day: int, on: date) -> Weather:
    """Return the weather of a day's passes.

    Temperature: annual mean 21 C, amplitude 8 with its top on 24 July, daily amplitude 4 with its
    top at 14 h. Humidity 78 ± 12 % by day. Wind and pressure are a choice.
    """
    rng = stream(seed, WEATHER, day)
    is_rain = bool(on.month in t.RAIN_MONTHS and rng.random() < t.RAIN_PROBABILITY)
    warm, humid, high = rng.standard_normal(3)
    season = 21 + 8 * np.cos(2 * np.pi * (on.timetuple().tm_yday - 205) * (1 / 365)) + 2 * warm
    wave = 4 * np.cos(2 * np.pi * (draws.second * (1 / 3600) - 14) * (1 / 24))
    humidity = 78 + 10 * humid + 6 * draws.z["humidity"] + (12 if is_rain else 0)
    return Weather(
        season + wave + 0.5 * draws.z["temperature"],
        np.clip(humidity, 25.0, 99.0),
        2.0 * np.exp(0.4 * draws.z["wind"]),
        np.floor(360 * draws.u["wind_direction"]),
        101.1 + 0.5 * high + 0.05 * draws.z["pressure"],
        is_rain,
    )
