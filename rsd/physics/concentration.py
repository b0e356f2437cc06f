"""From molar ratios to concentrations, and back.

Notation: Q = CO/CO2, Q' = HC/CO2 (HC as propane, by infrared), Q'' = NO/CO2, all molar. The ratio
is the primary quantity. A concentration derived from ratios is that of dry exhaust without excess
air (stoichiometric-equivalent): for a lean diesel it overstates the tailpipe. Negative ratios are
noise and give negative results. Arguments are floats, NumPy arrays or Polars expressions; null in,
null out.
"""

from __future__ import annotations

from typing import Final

from rsd.units import HEXANE_TO_PROPANE, PCT_TO_PPM, PPM_TO_PCT, PROPANE_TO_HEXANE, Quantity

IR_TO_FID: Final = 2.0
"""HC carbon seen by a flame ionisation detector per carbon seen by infrared (Singer et al. 1998;
2.2 in older work)."""
PROPANE_CARBONS: Final = 3
"""Carbon atoms of propane."""


def ratio_from_pct(pollutant_pct: Quantity, co2_pct: Quantity) -> Quantity:
    """Return the molar ratio [mol/mol] of concentrations in percent; CO2 must not be 0.

    >>> round(ratio_from_pct(0.02462312, 14.818), 9)
    0.001661703
    """
    return pollutant_pct / co2_pct


def ratio_from_ppm(pollutant_ppm: Quantity, co2_pct: Quantity) -> Quantity:
    """Return the molar ratio [mol/mol] of a pollutant [ppm] and CO2 [%]; CO2 must not be 0.

    >>> round(ratio_from_ppm(250.0, 14.9), 12)
    0.001677852349
    """
    return pollutant_ppm * PPM_TO_PCT / co2_pct


def pct_from_ratio(ratio: Quantity, co2_pct: Quantity) -> Quantity:
    """Return the concentration [%] of a pollutant from its ratio [mol/mol] and CO2 [%].

    >>> pct_from_ratio(0.1, 14.0)
    1.4000000000000001
    """
    return ratio * co2_pct


def ppm_from_ratio(ratio: Quantity, co2_pct: Quantity) -> Quantity:
    """Return the concentration [ppm] of a pollutant from its ratio [mol/mol] and CO2 [%].

    >>> round(ppm_from_ratio(0.0008, 14.994), 3)
    119.952
    """
    return ratio * co2_pct * PCT_TO_PPM


def co2_pct_feat121(co_co2: Quantity, hc_co2: Quantity, no_co2: Quantity) -> Quantity:
    """Return CO2 [%] of dry exhaust without excess air: ``42/(2.79 + 2Q + 1.21Q' + Q'')``.

    The form of the University of Denver (FEAT), for the literature. Ratios [mol/mol].

    >>> round(co2_pct_feat121(0.005, 0.0002, 0.0008), 3)
    14.994
    """
    return 42.0 / (2.79 + 2.0 * co_co2 + 1.21 * hc_co2 + no_co2)


def co2_pct_cn042(co_co2: Quantity, hc_co2: Quantity) -> Quantity:
    """Return CO2 [%] of dry exhaust without excess air: ``42/(2.79 + 2Q + 0.42Q')``.

    The form that gives back a stored Chinese platform record; use it to check imports. Ratios
    [mol/mol]: a platform's HC/CO2 of 43.48 is in ppm per % CO2, so 0.004348.

    >>> round(co2_pct_cn042(0.82 / 14.46, 0.004348), 3)  # the platform stored 14.46
    14.457
    """
    return 42.0 / (2.79 + 2.0 * co_co2 + 0.42 * hc_co2)


_AIR_MOL_PER_O: Final = 1 / 0.42
"""mol of air that bring one mol of O atoms (21 % O2)."""
_N2_MOL_PER_O: Final = 0.79 / 0.42
"""mol of N2 that come with one mol of O atoms."""


def co2_pct_general(co_co2: Quantity, hc_co2: Quantity, no_co2: Quantity, no2_co2: Quantity,
                    h_c: float, o_c: float) -> Quantity:
    """Return CO2 [%] of dry exhaust without excess air for a fuel CHxOy.

    Ratios [mol/mol], x = H/C and y = O/C of the fuel. With HC as C3H8: fuel carbon
    t = 1+Q+3Q'; water h = xt/2 - 4Q'; oxygen from air o = Q + h + 2 + Q'' + 2Q_NO2 - yt; per mol
    CO2 the dry exhaust has 1+Q+Q'+Q''+Q_NO2 + N2 of the air - (Q''+Q_NO2)/2. Derived here; for
    CH2 it is ``42/(2.79 + 2Q - 0.37Q' + Q'')`` (0.37 rounded).

    >>> round(co2_pct_general(0.004, 0.0008, 0.002, 0.0, 3.9, 0.0), 6)  # natural gas
    11.814322
    """
    carbon = 1.0 + co_co2 + 3.0 * hc_co2
    water = (0.5 * h_c) * carbon - 4.0 * hc_co2
    oxygen = co_co2 + water + 2.0 + no_co2 + 2.0 * no2_co2 - o_c * carbon
    nitrogen = _N2_MOL_PER_O * oxygen - 0.5 * (no_co2 + no2_co2)
    return 100.0 / (1.0 + co_co2 + hc_co2 + no_co2 + no2_co2 + nitrogen)


def tailpipe_from_stoichiometric(concentration: Quantity, co2_actual_pct: Quantity,
                                 co2_stoichiometric_pct: Quantity) -> Quantity:
    """Return the real tailpipe concentration, in the unit given, where CO2 is measured or assumed.

    >>> round(tailpipe_from_stoichiometric(1795.0, 8.0, 15.05))  # a lean diesel
    954
    """
    return concentration * (co2_actual_pct / co2_stoichiometric_pct)


def hc_ppm_hexane(hc_ppm_propane: Quantity) -> Quantity:
    """Return HC as hexane [ppm] of HC as propane [ppm], by carbon count.

    >>> hc_ppm_hexane(100.0)
    50.0
    """
    return hc_ppm_propane * PROPANE_TO_HEXANE


def hc_ppm_propane(hc_ppm_hexane: Quantity) -> Quantity:
    """Return HC as propane [ppm] of HC as hexane [ppm], by carbon count.

    >>> hc_ppm_propane(50.0)
    100.0
    """
    return hc_ppm_hexane * HEXANE_TO_PROPANE


def hc_ppm_c1_fid(hc_ppm_propane_ir: Quantity, ir_to_fid: float = IR_TO_FID) -> Quantity:
    """Return HC as a flame ionisation detector sees it [ppm C1] of infrared HC [ppm propane].

    >>> hc_ppm_c1_fid(100.0)
    600.0
    """
    return hc_ppm_propane_ir * (PROPANE_CARBONS * ir_to_fid)


def hc_co2_before_offset(hc_co2: Quantity, co_co2: Quantity, no_co2: Quantity,
                         offset_ppm: Quantity) -> Quantity:
    """Return HC/CO2 [mol/mol] as it was before a zero offset [ppm propane] was taken off.

    The FEAT part of CONOX used the HC before its zero correction in the carbon balance of the
    other gases: ``Q' + offset·1e-4/%CO2`` with %CO2 by ``co2_pct_feat121``. Ratios as published.

    >>> round(hc_co2_before_offset(0.0002, 0.005, 0.0008, 40.0), 7)
    0.0004668
    """
    return hc_co2 + offset_ppm * PPM_TO_PCT / co2_pct_feat121(co_co2, hc_co2, no_co2)
