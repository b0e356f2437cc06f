"""Exact factors between the units that dumps come in and the canonical ones, and slope geometry.

Canonical units are those of ``rsd.columns``. Factors are folded constants and are multiplied,
never divided by: a division by a literal is rewritten by some engines and costs the last bit.
For the same reason powers are written as products (``x * x``): ``x ** 3`` and ``x ** 0.5`` differ
in the last bit between Python, NumPy and Polars.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from rsd.errors import UsageError

Quantity: TypeAlias = Any
"""A float, a NumPy array or a Polars expression (or Series). Null in, null out."""

KM_H_TO_M_S: Final = 1 / 3.6
"""m/s in 1 km/h."""
M_S_TO_KM_H: Final = 3.6
"""km/h in 1 m/s."""
MPH_TO_KM_H: Final = 1.609344
"""km/h in 1 mph: the international mile, exact."""
KM_H_TO_MPH: Final = 1 / 1.609344
"""mph in 1 km/h."""
MPH_TO_M_S: Final = 0.44704
"""m/s in 1 mph, exact."""
M_S_TO_MPH: Final = 1 / 0.44704
"""mph in 1 m/s; also mph/s in 1 m/s2."""
KM_H_S_TO_M_S2: Final = 1 / 3.6
"""m/s2 in 1 km/h per second."""
MPH_S_TO_M_S2: Final = 0.44704
"""m/s2 in 1 mph per second, exact."""
KNOT_TO_M_S: Final = 1852 / 3600
"""m/s in 1 knot: the international nautical mile an hour."""
STANDARD_GRAVITY_M_S2: Final = 9.80665
"""m/s2 in 1 g_n, exact. VSP formulas use their own 9.81."""

PPM_TO_PCT: Final = 1e-4
"""% in 1 ppm."""
PCT_TO_PPM: Final = 1e4
"""ppm in 1 %."""
PPM_PER_PCT_TO_RATIO: Final = 1e-4
"""mol/mol in 1 ppm per 1 % CO2, as Chinese platforms store HC/CO2 and NO/CO2."""
PCT_TO_FRACTION: Final = 0.01
"""Fraction in 1 %."""
FRACTION_TO_PCT: Final = 100.0
"""% in a fraction of 1."""
PROPANE_TO_HEXANE: Final = 0.5
"""ppm hexane in 1 ppm propane, by carbon count; an analyser's own factor is 0.49 to 0.54."""
HEXANE_TO_PROPANE: Final = 2.0
"""ppm propane in 1 ppm hexane, by carbon count."""

ZERO_CELSIUS_K: Final = 273.15
"""K at 0 C, exact."""
HPA_TO_KPA: Final = 0.1
"""kPa in 1 hPa (1 mbar)."""
PA_TO_KPA: Final = 1e-3
"""kPa in 1 Pa."""
MMHG_TO_KPA: Final = 101.325 / 760
"""kPa in 1 mmHg, taken as 1 Torr."""
INHG_TO_KPA: Final = 25.4 * MMHG_TO_KPA
"""kPa in 1 inHg, 25.4 mmHg."""
ATM_TO_KPA: Final = 101.325
"""kPa in 1 standard atmosphere, exact."""
BAR_TO_KPA: Final = 100.0
"""kPa in 1 bar, exact."""
RADIANS_PER_DEGREE: Final = math.pi / 180
"""rad in 1 degree."""
DEGREES_PER_RADIAN: Final = 180 / math.pi
"""Degrees in 1 rad."""

_IDENTITY: Final = (1.0, 0.0)

TO_CANONICAL: dict[tuple[str, str], tuple[float, float]] = {
    # speed and wind
    ("km/h", "km/h"): _IDENTITY,
    ("m/s", "km/h"): (M_S_TO_KM_H, 0.0),
    ("mph", "km/h"): (MPH_TO_KM_H, 0.0),
    ("knot", "km/h"): (1.852, 0.0),
    ("m/s", "m/s"): _IDENTITY,
    ("km/h", "m/s"): (KM_H_TO_M_S, 0.0),
    ("mph", "m/s"): (MPH_TO_M_S, 0.0),
    ("knot", "m/s"): (KNOT_TO_M_S, 0.0),
    # acceleration
    ("m/s2", "m/s2"): _IDENTITY,
    ("km/h/s", "m/s2"): (KM_H_S_TO_M_S2, 0.0),
    ("mph/s", "m/s2"): (MPH_S_TO_M_S2, 0.0),
    ("g", "m/s2"): (STANDARD_GRAVITY_M_S2, 0.0),
    # specific power: 1 kW/t = 1 W/kg = 1 m2/s3
    ("kW/t", "kW/t"): _IDENTITY,
    ("W/kg", "kW/t"): _IDENTITY,
    # slope; percent and rise/run are not linear: see to_canonical
    ("degree", "degree"): _IDENTITY,
    ("rad", "degree"): (DEGREES_PER_RADIAN, 0.0),
    # concentrations and shares
    ("%", "%"): _IDENTITY,
    ("ppm", "%"): (PPM_TO_PCT, 0.0),
    ("fraction", "%"): (FRACTION_TO_PCT, 0.0),
    ("ppm", "ppm"): _IDENTITY,
    ("ppb", "ppm"): (1e-3, 0.0),
    ("%", "ppm"): (PCT_TO_PPM, 0.0),
    ("ppm propane", "ppm"): _IDENTITY,
    ("ppm hexane", "ppm"): (HEXANE_TO_PROPANE, 0.0),
    ("% propane", "ppm"): (PCT_TO_PPM, 0.0),
    ("% hexane", "ppm"): (PCT_TO_PPM * HEXANE_TO_PROPANE, 0.0),
    # molar ratios to CO2
    ("mol/mol", "mol/mol"): _IDENTITY,
    ("%/%", "mol/mol"): _IDENTITY,
    ("ppm/ppm", "mol/mol"): _IDENTITY,
    ("ppm/%", "mol/mol"): (PPM_PER_PCT_TO_RATIO, 0.0),
    ("mol/mol hexane", "mol/mol"): (HEXANE_TO_PROPANE, 0.0),
    ("%/% hexane", "mol/mol"): (HEXANE_TO_PROPANE, 0.0),
    ("ppm/ppm hexane", "mol/mol"): (HEXANE_TO_PROPANE, 0.0),
    ("ppm/% hexane", "mol/mol"): (PPM_PER_PCT_TO_RATIO * HEXANE_TO_PROPANE, 0.0),
    # fuel-specific mass
    ("g/kg", "g/kg"): _IDENTITY,
    ("mg/kg", "g/kg"): (1e-3, 0.0),
    # weather
    ("C", "C"): _IDENTITY,
    ("K", "C"): (1.0, -ZERO_CELSIUS_K),
    ("F", "C"): (5 / 9, -160 / 9),
    ("kPa", "kPa"): _IDENTITY,
    ("hPa", "kPa"): (HPA_TO_KPA, 0.0),
    ("mbar", "kPa"): (HPA_TO_KPA, 0.0),
    ("Pa", "kPa"): (PA_TO_KPA, 0.0),
    ("mmHg", "kPa"): (MMHG_TO_KPA, 0.0),
    ("inHg", "kPa"): (INHG_TO_KPA, 0.0),
    ("atm", "kPa"): (ATM_TO_KPA, 0.0),
    ("bar", "kPa"): (BAR_TO_KPA, 0.0),
    # scales
    ("grade", "grade"): _IDENTITY,
}
"""(unit of the source, canonical unit) → (factor, offset): canonical = value · factor + offset."""

_SPELLINGS: Final = {
    "km/h": "kph kmh kmph km/hr km·h-1 公里/小时 公里/时 千米/小时 千米/时",
    "m/s": "mps m·s-1 米/秒",
    "mph": "mi/h miles/h",
    "knot": "kn kt knots",
    "m/s2": "m/s^2 m/s/s m·s-2 米/秒2 米/秒^2 米/秒方",
    "km/h/s": "kph/s kmh/s km/(h·s) 公里/小时/秒 千米/小时/秒",
    "mph/s": "mi/h/s",
    "kW/t": "kw/ton kw/tonne kw·t-1 千瓦/吨",
    "W/kg": "",
    "g": "g_n",
    "degree": "° deg degrees 度",
    "rad": "radian 弧度",
    "%": "percent pct vol% %vol vol.% 百分比",
    "ppm": "10-6 10^-6 ×10-6 x10-6",
    "ppb": "10-9 10^-9",
    "fraction": "",
    "rise/run": "ratio tan",
    "ppm propane": "ppmc3 ppm_c3 ppmpropane ppmc3h8",
    "ppm hexane": "ppmc6 ppm_c6 ppmhexane ppmc6h14",
    "mol/mol": "molar",
    "ppm/%": "",
    "g/kg": "gpkg g·kg-1 g/kgfuel 克/千克",
    "mg/kg": "mg·kg-1",
    "C": "°c degc celsius 摄氏度",
    "K": "kelvin 开",
    "F": "°f degf fahrenheit",
    "kPa": "千帕",
    "hPa": "百帕",
    "mbar": "millibar mb 毫巴",
    "Pa": "帕",
    "mmHg": "torr 毫米汞柱",
    "inHg": "in.hg inchhg",
    "atm": "",
    "bar": "巴",
    "grade": "级",
}
"""Unit → how else it is written in headers and unit columns, in lower case, without blanks."""


def unit_named(text: str) -> str | None:
    """Return the unit that a text writes, in whatever spelling; None where it is none.

    >>> unit_named("Km/h"), unit_named("℃"), unit_named("m/s²"), unit_named("V")
    ('km/h', 'C', 'm/s2', None)
    """
    asked = unicodedata.normalize("NFKC", text).replace(" ", "").casefold()
    for unit, others in _SPELLINGS.items():
        if asked in (unit.replace(" ", "").casefold(), *others.split()):
            return unit
    return None


def conversion(source: str, canonical: str) -> str | None:
    """Return in words how a unit becomes the canonical one; None where nothing is done.

    >>> conversion("mph", "km/h"), conversion("K", "C"), conversion("%", "degree")
    ('x 1.60934', '- 273.15', 'arc tangent')
    """
    if (source, canonical) in _NOT_LINEAR:
        return "arc tangent"
    factor, offset = TO_CANONICAL[source, canonical]
    scaled = [] if factor == 1.0 else [f"x {factor:.6g}"]
    shifted = [] if offset == 0.0 else [f"{'-' if offset < 0 else '+'} {abs(offset):.6g}"]
    return " ".join([*scaled, *shifted]) or None


def is_convertible(source: str, canonical: str) -> bool:
    """Say whether `to_canonical` knows this pair of units."""
    return (source, canonical) in TO_CANONICAL or (source, canonical) in _NOT_LINEAR

_TAN: Final = (1.0, 1 / 3, 2 / 15, 17 / 315, 62 / 2835, 1382 / 155925, 21844 / 6081075,
               929569 / 638512875)
_ATAN: Final = tuple((1.0 - 2.0 * (k % 2)) / (2 * k + 1) for k in range(12))


def elementary(name: str, x: Quantity) -> Quantity:
    """Return ``sqrt``, ``log`` or ``exp`` of a float, an array or an expression.

    The one place where the kind of the argument is asked for. ``sqrt`` is correctly rounded
    everywhere and agrees bit for bit; ``log`` and ``exp`` agree to about one unit in the last
    place. Outside the domain all kinds give the same: log 0 is -inf, log of a negative NaN.

    >>> elementary("sqrt", 2.25), elementary("log", 0.0)
    (1.5, -inf)
    """
    if hasattr(x, "__array_namespace__"):  # NumPy array, found without importing NumPy
        xp = x.__array_namespace__()
        with xp.errstate(all="ignore"):
            return getattr(xp, name)(x)
    if hasattr(x, name):  # Polars expression or Series
        return getattr(x, name)()
    try:
        return getattr(math, name)(x)
    except OverflowError:
        return math.inf
    except ValueError:
        return -math.inf if x == 0 else math.nan


def _odd_polynomial(x: Quantity, coefficients: tuple[float, ...]) -> Quantity:
    """Return ``x · (c0 + c1·x² + c2·x⁴ + …)`` by Horner's rule."""
    square = x * x
    total: Quantity = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = total * square + coefficient
    return total * x


def grade_from_slope_deg(slope_deg: Quantity) -> Quantity:
    """Return the grade [rise/run], ``tan θ``, of a slope [degree].

    Taylor polynomial of the tangent to θ¹⁵: relative error below 1e-13 for -12 ≤ θ ≤ 12 degrees
    (21 % grade); beyond that it grows (2e-6 at 30 degrees) and the slope is implausible anyway.

    >>> round(grade_from_slope_deg(2.0), 11)
    0.03492076949
    """
    return _odd_polynomial(slope_deg * RADIANS_PER_DEGREE, _TAN)


def slope_deg_from_grade(grade: Quantity) -> Quantity:
    """Return the slope [degree], ``atan G``, of a grade [rise/run].

    Taylor polynomial of the arc tangent to G²³: relative error below 1e-13 for -0.2126 ≤ G ≤
    0.2126 (12 degrees), the range of its inverse ``grade_from_slope_deg``; useless near ±1.

    >>> round(slope_deg_from_grade(0.03492076949), 9)
    2.0
    """
    third = grade
    for _ in range(3):  # the half angle: a polynomial is exact near 0 only
        third = third / (1.0 + elementary("sqrt", 1.0 + third * third))
    return _odd_polynomial(third, _ATAN) * (8.0 * DEGREES_PER_RADIAN)


def grade_from_slope_pct(slope_pct: Quantity) -> Quantity:
    """Return the grade [rise/run] of a slope in percent.

    >>> grade_from_slope_pct(2.0)
    0.02
    """
    return slope_pct * PCT_TO_FRACTION


def slope_deg_from_pct(slope_pct: Quantity) -> Quantity:
    """Return the slope [degree] of a slope in percent, for -21 to 21 %.

    >>> round(slope_deg_from_pct(6.0), 6)
    3.43363
    """
    return slope_deg_from_grade(slope_pct * PCT_TO_FRACTION)


def slope_pct_from_deg(slope_deg: Quantity) -> Quantity:
    """Return the slope in percent of a slope [degree], for -12 to 12 degrees.

    >>> round(slope_pct_from_deg(2.0), 6)
    3.492077
    """
    return grade_from_slope_deg(slope_deg) * FRACTION_TO_PCT


def sin_slope_from_grade(grade: Quantity) -> Quantity:
    """Return the sine of the slope, ``G / sqrt(1 + G²)``, of a grade [rise/run]; any grade.

    >>> round(sin_slope_from_grade(0.06), 11)
    0.05989229073
    """
    return grade / elementary("sqrt", 1.0 + grade * grade)


_NOT_LINEAR: dict[tuple[str, str], Callable[[Quantity], Quantity]] = {
    ("%", "degree"): slope_deg_from_pct,
    ("rise/run", "degree"): slope_deg_from_grade,
}


def to_canonical(value: Quantity, source: str, canonical: str) -> Quantity:
    """Return a value in the canonical unit; slopes in percent or as rise/run included.

    Raises ``UsageError`` for a pair of units without a conversion.

    >>> to_canonical(36.0, "km/h", "m/s"), to_canonical(1013.0, "hPa", "kPa")
    (10.0, 101.30000000000001)
    """
    if (source, canonical) in _NOT_LINEAR:
        return _NOT_LINEAR[source, canonical](value)
    if (source, canonical) not in TO_CANONICAL:
        known = sorted(s for s, c in [*TO_CANONICAL, *_NOT_LINEAR] if c == canonical)
        raise UsageError(f"no conversion to {canonical!r}", found=repr(source),
                         expected=f"one of {known}", remedy="Correct the unit of the column.")
    factor, offset = TO_CANONICAL[source, canonical]
    scaled = value if factor == 1.0 else value * factor
    return scaled if offset == 0.0 else scaled + offset
