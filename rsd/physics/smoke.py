"""Smoke: opacity, light absorption, and particle mass by optics.

Raw opacity without a CO2 column depends on how diluted the plume is: never compare its means
across sites. Arguments are floats, NumPy arrays or Polars expressions; null in, null out. Opacity
of 100 % gives infinity, above it NaN, below 0 (noise) a negative value.
"""

from __future__ import annotations

from typing import Final

from rsd.units import FRACTION_TO_PCT, PCT_TO_FRACTION, ZERO_CELSIUS_K, Quantity, elementary

EFFECTIVE_PATH_M: Final = 0.43
"""Effective path of a smoke meter, m; from memory, high."""
MASS_EXTINCTION_M2_G: Final = 8.0
"""Mass extinction of diesel soot, m2/g, of 6 to 10; from memory, medium."""
GAS_CONSTANT_J_MOL_K: Final = 8.314462618
"""Molar gas constant, J/(mol K); exact in SI to the digits given."""
PM_G_KG_PER_SMOKE_FACTOR: Final = 10.0
"""g/kg in a smoke factor of 1, which is 1 g of soot in 100 g of fuel; from memory, medium."""

_MOL_K_M3_PER_PPM_KPA: Final = 1e-6 * 1e3 / GAS_CONSTANT_J_MOL_K


def optical_depth(opacity_pct: Quantity) -> Quantity:
    """Return the optical depth ``-ln(1 - N/100)`` of an opacity N [%], Beer–Lambert.

    >>> round(optical_depth(2.0), 6)
    0.020203
    """
    return -elementary("log", 1.0 - opacity_pct * PCT_TO_FRACTION)


def absorption_1_m(opacity_pct: Quantity, path_m: Quantity = EFFECTIVE_PATH_M) -> Quantity:
    """Return the light absorption coefficient k [1/m] of an opacity N [%] over a path L [m].

    ``k = -ln(1 - N/100)/L``.

    >>> [round(absorption_1_m(n), 3) for n in (20.0, 30.0, 40.0)]
    [0.519, 0.829, 1.188]
    """
    return optical_depth(opacity_pct) * (1.0 / path_m)


def opacity_pct(absorption_1_m: Quantity, path_m: Quantity = EFFECTIVE_PATH_M) -> Quantity:
    """Return the opacity N [%] of a light absorption coefficient k [1/m] over a path L [m].

    ``N = 100·(1 - exp(-kL))``, the inverse of ``absorption_1_m``.

    >>> round(opacity_pct(1.0), 6)
    34.949091
    """
    return FRACTION_TO_PCT * (1.0 - elementary("exp", -absorption_1_m * path_m))


def co2_column_mol_m2(co2_ppm_m: Quantity, air_temperature_c: Quantity,
                      pressure_kpa: Quantity) -> Quantity:
    """Return a CO2 column [mol/m2] of one in [ppm·m], by the ideal gas law.

    ``ppm·m · 1e-6 · P/(R·T)``, air temperature [C], pressure [kPa].

    >>> round(co2_column_mol_m2(2400.0, 25.0, 101.325), 5)
    0.0981
    """
    kelvin = air_temperature_c + ZERO_CELSIUS_K
    return co2_ppm_m * _MOL_K_M3_PER_PPM_KPA * pressure_kpa / kelvin


def pm_g_kg_optical(plume_opacity_pct: Quantity, co2_column_mol_m2: Quantity, co_co2: Quantity,
                    hc_co2: Quantity, carbon_mol_per_kg: float, hc_denominator: float = 6.0,
                    mass_extinction_m2_g: float = MASS_EXTINCTION_M2_G) -> Quantity:
    """Return particle mass [g/kg fuel], ``(τ/σ)/c · n_C/(1 + Q + 6Q')``.

    Plume opacity along the beam [%] (τ is its optical depth), CO2 column c of the plume in the
    same beam [mol/m2], ratios [mol/mol], carbon n_C [mol/kg fuel], mass extinction σ [m2/g].
    Derived here; as uncertain as σ.

    >>> round(pm_g_kg_optical(2.0, 0.09810, 0.004, 0.0003, 72.0173), 2)
    1.84
    """
    scale = carbon_mol_per_kg / mass_extinction_m2_g
    balance = 1.0 + co_co2 + hc_denominator * hc_co2
    return scale * optical_depth(plume_opacity_pct) / (co2_column_mol_m2 * balance)


def pm_g_kg_from_smoke_factor(smoke_factor: Quantity) -> Quantity:
    """Return particle mass [g/kg fuel] of an ultraviolet smoke factor.

    >>> round(pm_g_kg_from_smoke_factor(0.12), 9)
    1.2
    """
    return smoke_factor * PM_G_KG_PER_SMOKE_FACTOR
