"""From grams per kilogram of fuel to grams per kilometre.

One pass is a second of a journey: 30 measurements of a journey give 30 % mean absolute error, 300
give 23 % and more do not help. Arguments are floats, NumPy arrays or Polars expressions; the
functions that sum take what has ``.sum()`` (a float counts as a series of one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rsd.units import Quantity

_G_S_PER_G_KG_G_H: Final = 1 / 3.6e6
"""g/s in 1 g/kg of a fuel rate of 1 g/h: 1000 g/kg · 3600 s/h."""
_KM_PER_M: Final = 1e-3
_KG_KM_PER_KG_L_L_100KM: Final = 0.01


def at_least_zero(x: Quantity) -> Quantity:
    """Return x where it is positive, else 0, as arithmetic: ``(x + |x|)/2``.

    >>> at_least_zero(-3.0), at_least_zero(1.5)
    (0.0, 1.5)
    """
    return (x + abs(x)) * 0.5


def _total(x: Quantity) -> Quantity:
    return x.sum() if hasattr(x, "sum") else x


def g_km_from_fuel_economy(g_kg: Quantity, fuel_l_100km: Quantity,
                           density_kg_l: Quantity) -> Quantity:
    """Return g/km of g/kg fuel, fuel use [L/100 km] and density [kg/L].

    >>> round(g_km_from_fuel_economy(3.0, 7.5, 0.745), 6)
    0.167625
    """
    return g_kg * fuel_l_100km * density_kg_l * _KG_KM_PER_KG_L_L_100KM


def g_km_from_co2(g_kg: Quantity, co2_g_kg: Quantity, co2_g_km: Quantity,
                  uplift: Quantity = 1.0) -> Quantity:
    """Return g/km of g/kg fuel, CO2 [g/kg fuel] and type-approval CO2 [g/km].

    ``uplift`` is real-world over type-approval CO2, 1.2 to 1.4. The way of ICCT and TRUE.

    >>> round(g_km_from_co2(3.0, 3150.0, 180.0), 3)
    0.171
    """
    return g_kg / co2_g_kg * (co2_g_km * uplift)


@dataclass(frozen=True)
class FuelRate:
    """A straight line of the fuel rate [g/h] on VSP [kW/t]: slope and intercept."""

    slope: float
    intercept: float


FUEL_RATE: dict[tuple[str, str], FuelRate] = {
    ("gasoline", "car"): FuelRate(229.0, 552.0),
    ("diesel", "car"): FuelRate(204.0, 221.0),
    ("gasoline", "van"): FuelRate(236.0, 501.0),
    ("diesel", "van"): FuelRate(218.0, 87.0),
}
"""(fuel, kind of vehicle) → fuel rate. Davison et al. 2020 as published in openCARES, for VSP by
``vsp_road_load``; with another VSP say so beside the result."""


def fuel_rate_g_h(vsp_kw_t: Quantity, line: FuelRate) -> Quantity:
    """Return the fuel rate [g/h] at a VSP [kW/t], never below 0.

    >>> fuel_rate_g_h(8.0, FUEL_RATE["diesel", "van"])
    1831.0
    """
    return at_least_zero(line.slope * vsp_kw_t + line.intercept)


def g_s_from_g_kg(g_kg: Quantity, fuel_g_h: Quantity) -> Quantity:
    """Return g/s of g/kg fuel and a fuel rate [g/h].

    >>> round(g_s_from_g_kg(3.0, 2384.0), 12)
    0.001986666667
    """
    return g_kg * fuel_g_h * _G_S_PER_G_KG_G_H


def predicted_g_s(vsp_kw_t: Quantity, intercept_g_s: float, slope_g_s_per_kw_t: float) -> Quantity:
    """Return g/s at a VSP [kW/t] by a line fitted to a group's passes, clipped at 0.

    The clip is of a prediction; readings are never clipped.

    >>> round(predicted_g_s(5.0, 0.0001, 0.0002), 6)
    0.0011
    """
    return at_least_zero(slope_g_s_per_kw_t * vsp_kw_t + intercept_g_s)


def cycle_g_km(emission_g_s: Quantity, speed_m_s: Quantity, step_s: Quantity = 1.0) -> Quantity:
    """Return g/km of a drive cycle: all grams over all kilometres.

    Emission [g/s] and speed [m/s] at each step of the cycle, duration of a step [s]. A step
    without speed (null) counts as no distance; its grams count.

    >>> round(cycle_g_km(0.0016, 12.5), 9)
    0.128
    """
    return _total(emission_g_s * step_s) / (_total(speed_m_s * step_s) * _KM_PER_M)


def co2_weighted_mean_ratio(ratio: Quantity, weight: Quantity) -> Quantity:
    """Return ``Σ(w·Q)/Σw``, the mean of a ratio [mol/mol] weighted with the CO2 rate.

    ``weight`` is any quantity in proportion to it, such as ``fuel_rate_g_h`` of the pass. Report
    it beside the plain mean. In Polars a pass with a null in either counts in neither sum.

    >>> co2_weighted_mean_ratio(0.002, 1500.0)
    0.002
    """
    return _total(weight * ratio) / _total(weight + 0.0 * ratio)
