"""What a column is, how one is declared, and the values that columns take.

The tables themselves stand in `rsd.columns`, which gives out these names too.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

Type = type[pl.DataType] | pl.DataType


@dataclass(frozen=True)
class Column:
    """One column: what it holds, in which unit, and which values are plausible."""
    name: str
    dtype: Type
    unit: str
    meaning: str
    low: float | None = None
    high: float | None = None
    travels: Type | None = None


def label(name: str, meaning: str, values: tuple[str, ...] | None = None) -> Column:
    """Declare a text of few values (see `rsd.columns.travelling`)."""
    travels = pl.Categorical() if values is None else pl.Enum(values)
    return Column(name, pl.String, "", meaning, travels=travels)


def text(name: str, meaning: str) -> Column:
    """Declare any other text."""
    return Column(name, pl.String, "", meaning)


def real(name: str, unit: str, meaning: str, low: float | None = None,
          high: float | None = None) -> Column:
    """Declare a measured quantity with its unit and plausible range."""
    return Column(name, pl.Float64, unit, meaning, low, high)


def flag(name: str, meaning: str) -> Column:
    """Declare a yes or no."""
    return Column(name, pl.Boolean, "", meaning)


PLATE_COLORS = ("blue", "yellow", "white", "black", "green", "yellow_green", "other", "unknown")
FUELS = ("gasoline", "diesel", "cng", "lpg", "hybrid", "electric", "methanol", "hydrogen", "other",
         "unknown")
VEHICLE_CLASSES = ("mini_small_bus", "medium_bus", "large_bus", "small_truck", "medium_truck",
                   "heavy_truck", "special", "other", "unknown")
POLLUTANTS = ("co", "hc", "no", "no2", "nox", "nh3", "opacity", "ringelmann")
DERIVED_FROM = ("concentrations", "ratios:co2_pct", "ratios:co2_pct+concentrations",
                *(f"ratios:{denominator}" for denominator in ("feat121", "cn042")))

MEASURED_VALUE: dict[str, tuple[str, str]] = {
    "co": ("co_pct", "%"),
    "hc": ("hc_ppm", "ppm"),
    "no": ("no_ppm", "ppm"),
    "no2": ("no2_ppm", "ppm"),
    "nox": ("nox_g_kg", "g/kg"),
    "nh3": ("nh3_g_kg", "g/kg"),
    "opacity": ("opacity_pct", "%"),
    "ringelmann": ("ringelmann", "grade"),
}
"""Pollutant → the column of a pass that limits are compared with, and its unit."""

VALIDITY = ("co", "hc", "no", "no2", "nox", "nh3", "opacity", "ringelmann")
"""Pollutants that have a flag `is_valid_<pollutant>`."""

# Groups of columns that several tables share.

MOTION = (
    real("speed_km_h", "km/h", "speed", 0, 250),
    real("acceleration_m_s2", "m/s2", "acceleration", -10, 10),
    real("slope_deg", "degree", "road slope, uphill in direction of travel positive", -7, 7),
    real("vsp_device_kw_t", "kW/t", "specific power as the instrument gave it", -150, 150),
)
RATIOS = (
    real("co_co2", "mol/mol", "molar ratio CO to CO2"),
    real("hc_co2", "mol/mol", "molar ratio HC (propane, infrared) to CO2"),
    real("no_co2", "mol/mol", "molar ratio NO to CO2"),
    real("no2_co2", "mol/mol", "molar ratio NO2 to CO2"),
    real("nh3_co2", "mol/mol", "molar ratio NH3 to CO2"),
)
CONCENTRATIONS = (
    real("co2_pct", "%", "CO2 in dry exhaust without excess air", 0, 16),
    real("co_pct", "%", "CO likewise", -1, 21),
    real("hc_ppm", "ppm", "HC as propane likewise", -1000, 40000),
    real("no_ppm", "ppm", "NO likewise", -700, 7000),
    real("no2_ppm", "ppm", "NO2 likewise", -500, 7000),
    real("opacity_pct", "%", "smoke opacity", -2, 100),
    real("ringelmann", "grade", "Ringelmann grade", 0, 5),
)
WEATHER = (
    real("air_temperature_c", "C", "air temperature", -30, 45),
    real("relative_humidity_pct", "%", "relative humidity", 0, 100),
    real("pressure_kpa", "kPa", "air pressure", 70, 106),
    real("wind_speed_m_s", "m/s", "wind speed", 0, 40),
)
PHOTOS = tuple(text(f"photo_{k}", "reference of a photograph") for k in range(1, 6))
REPORTED_G_KG = tuple(
    real(f"{p}_g_kg_reported", "g/kg", f"{p.upper()} per kg fuel as the file gave it")
    for p in ("co", "hc", "no", "nox")
)
