"""Reason codes, once: why a pass, or one of its pollutants, is doubted or was changed.

Stored as a bit mask (``reason_bits``, Int64); views and exports show the codes as a list. A code
never removes a record. ``unsets`` says which validity flag the code takes away, if any, under the
quality profile that applies the rule.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason code: its bit, what it means, which flag it unsets, where the rule is from."""

    code: str
    bit: int
    meaning: str
    unsets: str
    source: str


_SCIENCE = "FEAT criteria, from memory (high confidence)"
_CHOICE = "choice of this project"

REASONS: tuple[Reason, ...] = (
    Reason("DEVICE_INVALID", 0, "the instrument calls the record invalid", "is_valid", "device"),
    Reason("VSP_WINDOW", 1, "specific power outside the profile's window", "is_valid",
           "HJ 845-2017, unverified: VSP > 0"),
    Reason("SPEED_RANGE", 2, "speed outside 8 to 160 km/h", "is_valid", "from memory, medium"),
    Reason("ACC_RANGE", 3, "acceleration outside -5 to 5 m/s2", "is_valid", _CHOICE),
    Reason("WEATHER_WIND", 4, "wind above the profile's limit", "is_valid",
           "HJ 845-2017, unverified: 5 m/s"),
    Reason("WEATHER_HUMIDITY", 5, "relative humidity above 95 %: a warning", "", _CHOICE),
    Reason("WEATHER_TEMPERATURE", 6, "air temperature outside -30 to 45 C: a warning", "",
           "HJ 845-2017, unverified"),
    Reason("WEATHER_PRESSURE", 7, "air pressure outside 70 to 106 kPa: a warning", "",
           "HJ 845-2017, unverified"),
    Reason("PLUME_LOW", 8, "too little CO2 in the beam", "pollutants", _SCIENCE),
    Reason("CO_RANGE", 9, "CO outside -1 to 21 %", "is_valid_co", _SCIENCE),
    Reason("HC_RANGE", 10, "HC outside -1000 to 40000 ppm propane", "is_valid_hc", _SCIENCE),
    Reason("NO_RANGE", 11, "NO outside -700 to 7000 ppm", "is_valid_no", _SCIENCE),
    Reason("NO2_RANGE", 12, "NO2 outside -500 to 7000 ppm", "is_valid_no2", "memory, medium"),
    Reason("NH3_RANGE", 13, "NH3 outside -80 to 7000 ppm", "is_valid_nh3", "memory, medium"),
    Reason("OPACITY_RANGE", 14, "opacity outside -2 to 100 %", "is_valid_opacity", _CHOICE),
    Reason("RINGELMANN_RANGE", 15, "Ringelmann grade outside 0 to 5", "is_valid_ringelmann",
           "scale of the Ringelmann chart"),
    Reason("GRADE_MISSING", 16, "no slope in the record or the site list: own VSP is null", "",
           _CHOICE),
    Reason("PLATE_LOWCONF", 17, "plate read with less than the profile's confidence", "", _CHOICE),
    Reason("plate_unreadable", 18, "no plate, or a text that is no plate: no vehicle", "",
           "contract"),
    Reason("fuel_conflict", 19, "registry and dump disagree about the fuel", "", "contract"),
    Reason("SENTINEL", 20, "a null code of the format (-999, 9999 …) was read as null", "",
           "format"),
    Reason("BEV_PLUME", 21, "a battery vehicle with a plume: plate or overlap error", "", _CHOICE),
    Reason("VSP_DIFFERS", 22, "device's and own VSP differ by more than 2 kW/t", "", _CHOICE),
    Reason("RATIO_INCONSISTENT", 23, "ratio and concentration differ by more than 0.5 %", "",
           "consistency test on a public platform record"),
    Reason("CLOCK_REPAIRED", 24, "a 12-hour clock was read as the afternoon", "", "format"),
    Reason("HC_ASSUMED_ZERO", 25, "no HC: the carbon balance took HC as 0", "", _CHOICE),
    Reason("G_KG_DIFFERS", 26, "own g/kg and the file's g/kg differ: perhaps swapped records", "",
           "CONOX files swap records of one second"),
    Reason("DUP_NEAR", 27, "the same values at the same second under another number", "",
           "CONOX files double records"),
    Reason("CODE_UNKNOWN", 28, "a code that the format's table does not know", "", "format"),
    Reason("TIME_AMBIGUOUS", 29, "local time occurs twice (clock set back): the first was taken",
           "", _CHOICE),
    Reason("SLOPE_RANGE", 30, "slope beyond 12 %: not used", "", "RSD practice, from memory"),
    Reason("SITE_UNKNOWN", 31, "the site is not in the site list", "", _CHOICE),
    Reason("HC_NOT_COMPARABLE", 32, "infrared HC of a gas vehicle is not comparable",
           "is_valid_hc", "from memory, high"),
    Reason("RATIO_MISSING_CO2", 33, "CO2 is zero or negative: no ratio", "", _CHOICE),
    Reason("OUT_OF_REGION", 34, "coordinates zero or outside the format's region", "", _CHOICE),
    Reason("VALUE_INVALID", 35, "the instrument calls a single value invalid: it was read as null",
           "", "format"),
)

BIT: dict[str, int] = {r.code: r.bit for r in REASONS}
"""Code → bit number."""


def mask(*codes: str) -> int:
    """Return the bit mask of some codes.

    >>> mask("DEVICE_INVALID", "SPEED_RANGE")
    5
    """
    total = 0
    for code in codes:
        total |= 1 << BIT[code]
    return total


def codes(bits: int) -> list[str]:
    """Return the codes of a bit mask, in the order of their bits.

    >>> codes(5)
    ['DEVICE_INVALID', 'SPEED_RANGE']
    """
    return [r.code for r in REASONS if bits >> r.bit & 1]
