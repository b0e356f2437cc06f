"""From molar ratios to grams per kilogram of fuel, by named conventions.

Notation: Q = CO/CO2, Q' = HC/CO2 (HC as propane, by infrared), Q'' = NO/CO2, all molar. The ratio
is the primary quantity. Negative ratios are noise and give negative results. Arguments are floats,
NumPy arrays or Polars expressions; null in, null out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from rsd.errors import UsageError
from rsd.physics.concentration import IR_TO_FID, PROPANE_CARBONS
from rsd.units import Quantity

CARBON_G_MOL: Final = 12.011
"""Molar mass of carbon, g/mol."""
CO2_G_MOL: Final = 44.009
"""Molar mass of CO2, g/mol."""
CO_G_MOL: Final = 28.010
"""Molar mass of CO, g/mol."""
PROPANE_G_MOL: Final = 44.096
"""Molar mass of propane, g/mol."""
NO_G_MOL: Final = 30.006
"""Molar mass of NO, g/mol."""
NO2_G_MOL: Final = 46.0055
"""Molar mass of NO2, g/mol."""
NH3_G_MOL: Final = 17.031
"""Molar mass of NH3, g/mol."""
SO2_G_MOL: Final = 64.066
"""Molar mass of SO2, g/mol."""


# Fuels and conventions --------------------------------------------------------------------------


@dataclass(frozen=True)
class Fuel:
    """A fuel CHxOy: H/C and O/C (molar; None where unknown), carbon fraction w_C (mass), density.

    ``density_kg_l`` is None where it is unknown or the fuel is not sold by the litre.
    """

    h_c: float | None
    o_c: float | None
    carbon_fraction: float
    density_kg_l: float | None

    @property
    def carbon_mol_per_kg(self) -> float:
        """Mol of carbon in 1 kg of the fuel, ``1000·w_C/12.011``."""
        return 1000 * self.carbon_fraction / CARBON_G_MOL


FUELS: dict[str, Fuel] = {
    "ch2": Fuel(2.0, 0.0, CARBON_G_MOL / 14.0, None),
    "gasoline_e0": Fuel(1.87, 0.0, 0.8644, 0.745),
    "gasoline_e5": Fuel(None, None, CARBON_G_MOL / 14.384, None),
    "gasoline_e10": Fuel(1.93, 0.033, 0.8258, 0.75),
    "diesel_b0": Fuel(1.86, 0.0, 0.8650, 0.835),
    "diesel_b7": Fuel(None, None, 0.8521, 0.84),
    "cng": Fuel(3.9, 0.0, 0.7534, None),
    "lpg": Fuel(2.58, 0.0, 0.8220, 0.54),
    "methanol": Fuel(4.0, 1.0, CARBON_G_MOL / 32.042, None),
}
"""Fuel blend → composition. E5 from a public implementation (14.384 g fuel per mol C); methanol
from its formula CH3OH; the others typical values of the literature."""

FUEL_BLEND: dict[str, str] = {
    "gasoline": "gasoline_e0",
    "diesel": "diesel_b0",
    "cng": "cng",
    "lpg": "lpg",
    "hybrid": "gasoline_e0",
    "methanol": "methanol",
    "electric": "ch2",
    "hydrogen": "ch2",
    "other": "ch2",
    "unknown": "ch2",
}
"""Canonical fuel → blend. E0 and B0 because the first users are in Fujian; hybrids are taken as
gasoline; a fuel that is unknown, or has no carbon and yet a plume, is taken as CH2 (choices)."""


@dataclass(frozen=True)
class Convention:
    """A named way from ratios to g/kg: carbon of the fuel, weight of HC in it, molar masses.

    ``no_g_mol`` is the mass that NO is expressed in (``no_expressed_as``); ``hc_g_mol`` includes
    the infrared response; ``hc_denominator`` is the weight of Q' in ``1 + Q + weight·Q'``.
    """

    name: str
    carbon_mol_per_kg: float
    hc_denominator: float
    co_g_mol: float
    hc_g_mol: float
    no_g_mol: float
    no2_g_mol: float
    nh3_g_mol: float
    no_expressed_as: str
    source: str


CONVENTIONS: dict[str, Convention] = {
    "conox": Convention("conox", 860 / 12, 6.0, 28.0, 88.0, 46.0, 46.0, 17.0, "NO2",
                        "the columns of the CONOX database, reproduced to their rounding"),
    "feat": Convention("feat", 860 / 12, 6.0, 28.0, 88.0, 30.0, 46.0, 17.0, "NO",
                       "University of Denver carbon balance; NO as in awelZH/airquality"),
    "emitr": Convention("emitr", 1 / 0.014, 3.0, 28.0, 88.0, 30.0, 46.0, 17.0, "NO",
                        "skgrange/emitr, pollutant_ratio_to_fuel_specific_emission"),
    "per_fuel": Convention("per_fuel", 1 / 0.014, PROPANE_CARBONS * IR_TO_FID, CO_G_MOL,
                           PROPANE_G_MOL * IR_TO_FID, NO_G_MOL, NO2_G_MOL, NH3_G_MOL, "NO",
                           "carbon of the fuel, exact molar masses; here for CH2"),
}
"""Convention by name. ``per_fuel`` stands here for the fuel CH2; ``convention_for_fuel`` gives
that of another fuel."""


def convention_for_fuel(fuel: str) -> Convention:
    """Return the convention ``per_fuel`` of a canonical fuel or of a blend of ``FUELS``.

    Raises ``UsageError`` for a name that is neither.

    >>> round(convention_for_fuel("diesel").carbon_mol_per_kg, 4)
    72.0173
    """
    blend = FUEL_BLEND.get(fuel, fuel)
    if blend not in FUELS:
        raise UsageError("no such fuel", found=repr(fuel),
                         expected=f"one of {sorted({*FUEL_BLEND, *FUELS})}")
    return replace(CONVENTIONS["per_fuel"], carbon_mol_per_kg=FUELS[blend].carbon_mol_per_kg)


# Grams per kilogram of fuel ---------------------------------------------------------------------


def pollutant_g_kg(co_co2: Quantity, hc_co2: Quantity, ratio: Quantity, convention: Convention,
                   g_mol: float) -> Quantity:
    """Return ``n_C·M·Q_p/(1 + Q + k·Q')`` [g/kg fuel] of any pollutant with molar mass M [g/mol].

    Ratios [mol/mol]; n_C [mol/kg] and k of the convention.

    >>> round(pollutant_g_kg(0.004, 0.0003, 1e-5, CONVENTIONS["per_fuel"], SO2_G_MOL), 5)
    0.0455
    """
    scale = convention.carbon_mol_per_kg * g_mol
    return scale * ratio / (1.0 + co_co2 + convention.hc_denominator * hc_co2)


def co_g_kg(co_co2: Quantity, hc_co2: Quantity, convention: Convention) -> Quantity:
    """Return CO [g/kg fuel] from ratios [mol/mol].

    >>> round(co_g_kg(0.01273401, 0.0069588, CONVENTIONS["emitr"]), 4)
    24.6399
    """
    return pollutant_g_kg(co_co2, hc_co2, co_co2, convention, convention.co_g_mol)


def hc_g_kg(co_co2: Quantity, hc_co2: Quantity, convention: Convention) -> Quantity:
    """Return HC [g/kg fuel] from ratios [mol/mol], the infrared response made good.

    >>> round(hc_g_kg(0.02, 0.0012, CONVENTIONS["feat"]), 6)
    7.367601
    """
    return pollutant_g_kg(co_co2, hc_co2, hc_co2, convention, convention.hc_g_mol)


def no_g_kg(co_co2: Quantity, hc_co2: Quantity, no_co2: Quantity,
            convention: Convention) -> Quantity:
    """Return NO [g/kg fuel] from ratios [mol/mol], as NO or as NO2: ``no_expressed_as``.

    >>> round(no_g_kg(0.02, 0.0012, 0.0025, CONVENTIONS["feat"]), 6)
    5.232671
    """
    return pollutant_g_kg(co_co2, hc_co2, no_co2, convention, convention.no_g_mol)


def no2_g_kg(co_co2: Quantity, hc_co2: Quantity, no2_co2: Quantity,
             convention: Convention) -> Quantity:
    """Return NO2 [g/kg fuel] from ratios [mol/mol].

    >>> round(no2_g_kg(-0.002124, -0.000684, 0.000524, CONVENTIONS["conox"]), 2)
    1.74
    """
    return pollutant_g_kg(co_co2, hc_co2, no2_co2, convention, convention.no2_g_mol)


def nh3_g_kg(co_co2: Quantity, hc_co2: Quantity, nh3_co2: Quantity,
             convention: Convention) -> Quantity:
    """Return NH3 [g/kg fuel] from ratios [mol/mol].

    >>> round(nh3_g_kg(-0.002124, -0.000684, -5.7e-05, CONVENTIONS["conox"]), 2)
    -0.07
    """
    return pollutant_g_kg(co_co2, hc_co2, nh3_co2, convention, convention.nh3_g_mol)


def co2_g_kg(co_co2: Quantity, hc_co2: Quantity, convention: Convention) -> Quantity:
    """Return CO2 [g/kg fuel] from ratios [mol/mol].

    >>> round(co2_g_kg(0.0, 0.0, CONVENTIONS["per_fuel"]), 1)
    3143.5
    """
    return pollutant_g_kg(co_co2, hc_co2, 1.0, convention, CO2_G_MOL)


# NOx --------------------------------------------------------------------------------------------

NO2_FRACTION: dict[tuple[str, int | None], float] = {
    **{(fuel, stage): 0.05 for fuel in ("gasoline", "lpg", "cng", "hybrid")
       for stage in (None, 0, 1, 2, 3, 4, 5, 6)},
    ("diesel", 0): 0.07,
    ("diesel", 1): 0.07,
    ("diesel", 2): 0.07,
    ("diesel", 3): 0.07,
    ("diesel", 4): 0.08,
    ("diesel", 5): 0.12,
    ("diesel", 6): 0.35,
}
"""(canonical fuel, emission stage) → molar NO2/NOx. From memory, medium: unverified; gasoline and
gas 0.03 to 0.05 (the upper end, as HBEFA has it), diesel VI 0.2 to 0.5. Choices: hybrids as
gasoline, diesel before III as III. A diesel of unknown stage has no entry: its NOx is not imputed.
"""

NO2_FRACTION_LIGHT_DIESEL_CATALYST: Final = 0.30
"""Molar NO2/NOx of light diesels IV to V with an oxidation catalyst; from memory, medium."""

NO2_FRACTION_HBEFA: dict[tuple[str, int], float] = {
    **{("gasoline", stage): 0.05 for stage in range(7)},
    ("diesel", 0): 0.08,
    ("diesel", 1): 0.08,
    ("diesel", 2): 0.11,
    ("diesel", 3): 0.34,
    ("diesel", 4): 0.40,
    ("diesel", 5): 0.28,
    ("diesel", 6): 0.23,
}
"""(canonical fuel, Euro class) → molar NO2/NOx of cars and vans, HBEFA 4.2 as Kanton Zürich/AWEL
publishes it (rsd_auxiliary.csv; diesel 3 to 6 at 100,000 km). For European light vehicles."""


def nox_g_kg_from_no_no2(no_g_kg: Quantity, no2_g_kg: Quantity,
                         convention: Convention) -> Quantity:
    """Return NOx as NO2 [g/kg fuel] of measured NO and NO2 [g/kg fuel] of one convention.

    >>> round(nox_g_kg_from_no_no2(6.960671, 4.174981, CONVENTIONS["emitr"]), 5)
    14.84801
    """
    return no_g_kg * (convention.no2_g_mol / convention.no_g_mol) + no2_g_kg


def nox_as_no2_imputed(no_g_kg: Quantity, f_no2: Quantity, convention: Convention) -> Quantity:
    """Return NOx as NO2 [g/kg fuel] of NO alone and an assumed molar fraction f = NO2/NOx < 1.

    ``E_NO·(M_NO2/M_NO)/(1 - f)``. Say "imputed" beside the result; f from ``NO2_FRACTION``.

    >>> round(nox_as_no2_imputed(10.0, 0.1, CONVENTIONS["per_fuel"]), 2)
    17.04
    """
    as_no2 = convention.no2_g_mol / convention.no_g_mol
    return (as_no2 / (1.0 - f_no2)) * no_g_kg


# Grams per gallon -------------------------------------------------------------------------------


def _gallon_balance(co_pct: Quantity, hc_pct: Quantity) -> Quantity:
    return 15.0 + 0.285 * co_pct + (2 * 2.87) * hc_pct


def co_g_gal(co_pct: Quantity, hc_pct: Quantity) -> Quantity:
    """Return CO [g per US gallon of gasoline] from CO [%] and HC [% propane], FEAT form.

    ``5506·%CO/(15 + 0.285·%CO + 2·2.87·%HC)``; from memory of the Denver reports, high.

    >>> round(co_g_gal(1.0, 0.02), 1)
    357.5
    """
    return 5506.0 * co_pct / _gallon_balance(co_pct, hc_pct)


def hc_g_gal(co_pct: Quantity, hc_pct: Quantity) -> Quantity:
    """Return HC [g/gal] from CO [%] and HC [% propane], as ``co_g_gal``: ``2·8644·%HC/D``.

    >>> round(hc_g_gal(1.0, 0.02), 2)
    22.45
    """
    return (2 * 8644.0) * hc_pct / _gallon_balance(co_pct, hc_pct)


def no_g_gal(co_pct: Quantity, hc_pct: Quantity, no_pct: Quantity) -> Quantity:
    """Return NO [g/gal] from CO, NO [%] and HC [% propane], as ``co_g_gal``: ``5900·%NO/D``.

    >>> round(no_g_gal(1.0, 0.02, 0.05), 2)
    19.16
    """
    return 5900.0 * no_pct / _gallon_balance(co_pct, hc_pct)
