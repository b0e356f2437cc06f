"""Vehicle specific power, its sensitivity and its bins.

Notation: v speed, a acceleration, G grade as rise/run (uphill in the direction of travel is
positive), θ = atan G. VSP in kW/t, which is W/kg and m²/s³. Arguments are floats, NumPy arrays or
Polars expressions of one length; null in, null out. Powers are products, so that all kinds of
argument agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rsd.units import Quantity, elementary

GRAVITY_M_S2: Final = 9.81
"""Acceleration of gravity as all VSP forms have it, m/s2."""


@dataclass(frozen=True)
class VspCoefficients:
    """Coefficients of ``v·(inertia·a + gravity·slope + rolling + drag·v²)``."""

    inertia: float
    gravity: float
    rolling: float
    drag: float
    source: str


JP1999: Final = VspCoefficients(
    1.1, GRAVITY_M_S2, 0.132, 0.000302, "Jimenez-Palacios 1999, generic light-duty vehicle; SI")
RS_SI: Final = VspCoefficients(
    1.1, GRAVITY_M_S2, 0.213, 0.000305,
    "remote-sensing form; SI; from memory (high), confirmed on real records")
MPH_439: Final = VspCoefficients(
    0.22, 4.39, 0.0954, 0.0000272,
    "remote-sensing form; mph, mph/s, sine of the slope; from memory (high), unit check")
MPH_4364: Final = VspCoefficients(
    0.22, 4.364, 0.0657, 0.000027,
    "attributed to EPA or Denver; mph, mph/s, sine of the slope; from memory (medium)")


def _vsp(speed: Quantity, acceleration: Quantity, slope: Quantity, c: VspCoefficients,
         headwind: Quantity = 0.0) -> Quantity:
    air_speed = speed + headwind
    drag = c.drag * air_speed * air_speed
    return speed * (c.inertia * acceleration + c.gravity * slope + c.rolling + drag)


def vsp_jp1999(speed_m_s: Quantity, acceleration_m_s2: Quantity, grade: Quantity) -> Quantity:
    """Return VSP [kW/t] by Jimenez-Palacios: ``v·(1.1a + 9.81G + 0.132) + 0.000302v³``.

    Speed [m/s], acceleration [m/s2], grade [rise/run]. Source: J. L. Jimenez-Palacios, thesis,
    MIT 1999, generic light-duty coefficients.

    >>> round(vsp_jp1999(50 / 3.6, 0.5, 0.02), 8)
    13.00633573
    """
    return _vsp(speed_m_s, acceleration_m_s2, grade, JP1999)


def vsp_rs_si(speed_m_s: Quantity, acceleration_m_s2: Quantity, grade: Quantity,
              headwind_m_s: Quantity = 0.0) -> Quantity:
    """Return VSP [kW/t], remote-sensing form: ``1.1va + 9.81Gv + 0.213v + 0.000305(v+w)²v``.

    Speed and headwind w [m/s], acceleration [m/s2], grade [rise/run]. The default form here: it
    gives back the stored VSP of a Chinese platform record and of real European records. Whether
    HJ 845-2017 prints these coefficients is unverified.

    >>> round(vsp_rs_si(46.81 / 3.6, 0.21, 0.003490672682), 3)  # a platform stored 6.89
    6.889
    """
    return _vsp(speed_m_s, acceleration_m_s2, grade, RS_SI, headwind_m_s)


def vsp_mph_439(speed_mph: Quantity, acceleration_mph_s: Quantity,
                sin_slope: Quantity) -> Quantity:
    """Return VSP [kW/t]: ``4.39·sinθ·V + 0.22VA + 0.0954V + 0.0000272V³``.

    Speed [mph], acceleration [mph/s], sine of the slope. ``vsp_rs_si`` in other units, to 0.1 %.

    >>> round(vsp_mph_439(45.0, -1.5, 0.0), 4)
    -8.0784
    """
    return _vsp(speed_mph, acceleration_mph_s, sin_slope, MPH_439)


def vsp_mph_4364(speed_mph: Quantity, acceleration_mph_s: Quantity,
                 sin_slope: Quantity) -> Quantity:
    """Return VSP [kW/t]: ``4.364·sinθ·V + 0.22VA + 0.0657V + 0.000027V³``.

    Speed [mph], acceleration [mph/s], sine of the slope. Attributed to EPA, from memory.

    >>> round(vsp_mph_4364(30.0, 1.0, 0.0), 9)
    9.3
    """
    return _vsp(speed_mph, acceleration_mph_s, sin_slope, MPH_4364)


@dataclass(frozen=True)
class MovesSourceType:
    """Road-load coefficients of a MOVES source type; masses in tonnes."""

    name: str
    rolling_kw_s_m: float
    rotating_kw_s2_m2: float
    drag_kw_s3_m3: float
    mass_t: float
    fixed_mass_t: float


HEAVY_FIXED_MASS_T: Final = 17.1
"""Fixed mass factor of heavy MOVES types, t; newer MOVES versions have others."""

MOVES: dict[int, MovesSourceType] = {
    11: MovesSourceType("motorcycle", 0.0251, 0, 0.000315, 0.285, 0.285),
    21: MovesSourceType("passenger car", 0.156461, 0.002001, 0.000492, 1.4788, 1.4788),
    31: MovesSourceType("passenger truck", 0.22112, 0.002837, 0.000698, 1.86686, 1.86686),
    32: MovesSourceType("light commercial", 0.235008, 0.003038, 0.000747, 2.05979, 2.05979),
    41: MovesSourceType("intercity bus", 1.23039, 0, 0.003714, 19.593, HEAVY_FIXED_MASS_T),
    42: MovesSourceType("transit bus", 1.03968, 0, 0.003587, 16.556, HEAVY_FIXED_MASS_T),
    43: MovesSourceType("school bus", 0.709382, 0, 0.002175, 9.0698, HEAVY_FIXED_MASS_T),
    51: MovesSourceType("refuse truck", 1.50429, 0, 0.003572, 23.113, HEAVY_FIXED_MASS_T),
    52: MovesSourceType("single unit short", 0.596526, 0, 0.001603, 8.5389, HEAVY_FIXED_MASS_T),
    53: MovesSourceType("single unit long", 0.529399, 0, 0.001473, 6.9844, HEAVY_FIXED_MASS_T),
    61: MovesSourceType("combination short", 1.43052, 0, 0.003792, 22.828, HEAVY_FIXED_MASS_T),
    62: MovesSourceType("combination long", 1.47389, 0, 0.003681, 24.419, HEAVY_FIXED_MASS_T),
}
"""MOVES source type id → coefficients (``sourceusetypephysics``, as two public repositories list
it). Real loads differ from the mass by ±40 %."""


def _moves_power_kw(speed: Quantity, acceleration: Quantity, sin_slope: Quantity,
                    t: MovesSourceType) -> Quantity:
    resistance = t.rolling_kw_s_m + t.rotating_kw_s2_m2 * speed + t.drag_kw_s3_m3 * speed * speed
    return speed * (resistance + t.mass_t * (acceleration + GRAVITY_M_S2 * sin_slope))


def moves_stp(speed_m_s: Quantity, acceleration_m_s2: Quantity, sin_slope: Quantity,
              source_type: MovesSourceType) -> Quantity:
    """Return MOVES scaled tractive power, ``(Av + Bv² + Cv³ + mv(a + g·sinθ))/f``.

    Speed [m/s], acceleration [m/s2], sine of the slope. For heavy types it is a scaled power and
    no kW/t (f = 17.1 t is not the mass): ``vsp_moves`` gives the specific power.

    >>> round(moves_stp(50 / 3.6, 0.5, 0.02, MOVES[62]), 6)
    15.581926
    """
    power_kw = _moves_power_kw(speed_m_s, acceleration_m_s2, sin_slope, source_type)
    return (1.0 / source_type.fixed_mass_t) * power_kw


def vsp_moves(speed_m_s: Quantity, acceleration_m_s2: Quantity, sin_slope: Quantity,
              source_type: MovesSourceType) -> Quantity:
    """Return the true specific power [kW/t] with MOVES road-load coefficients.

    Arguments as ``moves_stp``; divided by the type's mass. Equal to it for light types.

    >>> round(vsp_moves(50 / 3.6, 0.5, 0.02, MOVES[62]), 6)
    10.911623
    """
    power_kw = _moves_power_kw(speed_m_s, acceleration_m_s2, sin_slope, source_type)
    return (1.0 / source_type.mass_t) * power_kw


def vsp_road_load(speed_m_s: Quantity, acceleration_m_s2: Quantity, grade: Quantity,
                  mass_kg: Quantity = 1750.0, rolling_n: float = 157.0,
                  rotating_n_s_m: float = 0.95, drag_area_m2: float = 0.66,
                  auxiliary_w: float = 2500.0, air_density_kg_m3: float = 1.2,
                  rotating_mass_factor: float = 1.04) -> Quantity:
    """Return VSP [kW/t] by road load, ``[(R0 + R1·v + ½ρCdA·v²)v + 1.04mav + mgGv + P]/m``.

    Speed [m/s], acceleration [m/s2], grade [rise/run], mass [kg]. The form that the fuel-rate
    lines of ``rsd.physics.distance`` belong to. Defaults: jdavisonmisc ``calc_vsp``; the factor
    1.04 and the absence of a driveline loss are assumptions.

    >>> round(vsp_road_load(15.0, 0.3, 0.01), 6)
    9.811643
    """
    drag_n = (0.5 * air_density_kg_m3 * drag_area_m2) * speed_m_s * speed_m_s
    resistance_w = (rolling_n + rotating_n_s_m * speed_m_s + drag_n) * speed_m_s + auxiliary_w
    motion = rotating_mass_factor * acceleration_m_s2 + GRAVITY_M_S2 * grade
    return (1.0 / mass_kg) * resistance_w + motion * speed_m_s


def vsp_sigma(speed_m_s: Quantity, acceleration_m_s2: Quantity, grade: Quantity,
              sd_speed_m_s: Quantity, sd_acceleration_m_s2: Quantity,
              sd_grade: Quantity) -> Quantity:
    """Return the standard deviation [kW/t] of ``vsp_rs_si``, to first order.

    Standard deviations of independent errors of speed [m/s], acceleration [m/s2] and grade
    [rise/run]. dVSP/dv = 1.1a + 9.81G + 0.213 + 3·0.000305v², dVSP/da = 1.1v, dVSP/dG = 9.81v.

    >>> round(vsp_sigma(50 / 3.6, 0.5, 0.02, 0.447, 0.22, 0.003), 2)
    3.42
    """
    c = RS_SI
    per_speed = (c.inertia * acceleration_m_s2 + c.gravity * grade + c.rolling
                 + (3 * c.drag) * speed_m_s * speed_m_s)
    by_speed = per_speed * sd_speed_m_s
    by_acceleration = c.inertia * speed_m_s * sd_acceleration_m_s2
    by_grade = c.gravity * speed_m_s * sd_grade
    variance = by_speed * by_speed + by_acceleration * by_acceleration + by_grade * by_grade
    return elementary("sqrt", variance)


NCSU_EDGES_KW_T: Final = (-2, 0, 1, 4, 7, 10, 13, 16, 19, 23, 28, 33, 39)
"""Lower edges of NCSU modes 2 to 14, kW/t; each edge belongs to the mode above it."""
REPORTING_EDGES_KW_T: Final = (0, 3, 6, 9, 12, 15, 18)
"""Lower edges of the reporting bins 1 to 7, kW/t; the last bin ends with 22, included."""
REPORTING_END_KW_T: Final = 22
"""Upper end of the last reporting bin, kW/t, included."""


def _count_at_least(x: Quantity, edges: tuple[float, ...]) -> Quantity:
    """Return how many edges x has reached; ``* 1`` makes an integer of every kind of boolean."""
    return sum((x >= edge) * 1 for edge in edges)


def ncsu_mode(vsp_kw_t: Quantity) -> Quantity:
    """Return the NCSU mode, 1 to 14, of a VSP [kW/t]. Intervals contain their lower edge.

    Edges -2, 0, 1, 4, 7, 10, 13, 16, 19, 23, 28, 33, 39 (Frey et al.; closure as in pems.utils).
    Integers; null stays null. NaN is no value here: Polars would rank it highest.

    >>> [ncsu_mode(x) for x in (-2.1, -2.0, 7.0, 39.0)]
    [1, 2, 6, 14]
    """
    return 1 + _count_at_least(vsp_kw_t, NCSU_EDGES_KW_T)


def reporting_bin(vsp_kw_t: Quantity) -> Quantity:
    """Return the reporting bin: 1 … 7 for [0,3) [3,6) [6,9) [9,12) [12,15) [15,18) [18,22].

    Lower edges are included, of the last bin the upper one too; 0 outside. VSP [kW/t].

    >>> [reporting_bin(x) for x in (-0.1, 0.0, 3.0, 22.0, 22.1)]
    [0, 1, 2, 7, 0]
    """
    inside = (vsp_kw_t <= REPORTING_END_KW_T) * 1
    return inside * _count_at_least(vsp_kw_t, REPORTING_EDGES_KW_T)


def moves_operating_mode(speed_mph: Quantity, vsp_kw_t: Quantity, acceleration_mph_s: Quantity,
                         acceleration_1_s_before_mph_s: Quantity = 0.0,
                         acceleration_2_s_before_mph_s: Quantity = 0.0) -> Quantity:
    """Return the MOVES operating mode code: 0 braking, 1 idle, 11–16, 21–30, 33–40.

    Speed [mph], VSP [kW/t], acceleration [mph/s]. In this order: braking a ≤ -2, or below -1 for
    three seconds (an instrument at the road has one sample: leave the earlier ones at 0); idle
    V < 1; then by VSP within 1 ≤ V < 25, 25 ≤ V < 50, V ≥ 50. Lower edges are included. Bounds as
    in two public implementations. Every argument must be known: null gives null.

    >>> [moves_operating_mode(v, p, 0.0) for v, p in ((0.5, 0.0), (20.0, 3.0), (49.9, 12.0))]
    [1, 13, 27]
    >>> moves_operating_mode(30.0, -1.0, -2.0)
    0
    """
    three = ((acceleration_mph_s < -1) * 1 * (acceleration_1_s_before_mph_s < -1)
             * (acceleration_2_s_before_mph_s < -1))
    rolling = ((acceleration_mph_s > -2) * 1) * (1 - three)
    above_1, above_25, above_50 = ((speed_mph >= edge) * 1 for edge in (1, 25, 50))
    # The gaps in the codes (26, 34, 36 …) are edges counted twice.
    slow = 11 + _count_at_least(vsp_kw_t, (0, 3, 6, 9, 12))
    medium = 21 + _count_at_least(vsp_kw_t, (0, 3, 6, 9, 12, 12, 18, 24, 30))
    fast = 33 + _count_at_least(vsp_kw_t, (6, 6, 12, 12, 18, 24, 30))
    return rolling * ((1 - above_1) + (above_1 - above_25) * slow
                      + (above_25 - above_50) * medium + above_50 * fast)
