"""What a column of an unknown dump may be: by its name, and by what stands in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rsd.columns import FUELS, PLATE_COLORS, REPORTED, VEHICLE_CLASSES
from rsd.intake.codes import code_tables, fold
from rsd.intake.cross_checks import MOTION
from rsd.intake.figures import Declared, converted
from rsd.intake.format_file import Format
from rsd.intake.forms import CODES_OF_NULL, Column, plates_in, time_patterns
from rsd.intake.ranges import ranges
from rsd.units import is_convertible, unit_named

SURE, LIKELY, MAYBE = "sure", "likely", "a guess"
_FILE = Path(__file__).parent / "guesses.toml"
CANONICAL = {c.name: c.unit for c in REPORTED}
"""Our columns of a dump → their units."""
_BRACKETS = re.compile(r"[(\[（【]([^()\[\]（）【】]+)[)\]）】]\s*$")
_WORD = re.compile(r"co2|no2|nh3|nox|[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+",
                   re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GASES = ("co2", "no2", "nox", "nh3", "co", "hc", "no")
_VALUE = {"co": "co_pct", "hc": "hc_ppm", "no": "no_ppm", "no2": "no2_ppm", "co2": "co2_pct"}
_MASS = ("co", "hc", "no", "nox")
_UNIT_WORDS = {"kph": "km/h", "kmh": "km/h", "mph": "mph", "mps": "m/s", "percent": "%",
               "pct": "%", "perc": "%", "ppm": "ppm", "gpkg": "g/kg", "gkg": "g/kg", "fm": "g/kg",
               "kelvin": "K", "kpa": "kPa", "hpa": "hPa", "mmhg": "mmHg", "degc": "C",
               "deg": "degree"}
_ENOUGH = 5  # values to choose a unit by, where units are worlds apart
_ENOUGH_MOTION = 50


@dataclass(frozen=True)
class Guess:
    """What a column may be. ``kind`` is the table of the format file that it belongs to."""

    kind: str
    to: str
    confidence: str
    reason: str
    unit: str = ""
    table: str = ""


@cache
def vocabulary() -> Mapping[str, Mapping[str, Any]]:
    """Return the words of ``guesses.toml``, each as a tuple of words."""
    raw = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {kind: {to: [tuple(words_of(n)) for n in names] for to, names in table.items()}
            for kind, table in raw.items()}


def words_of(name: str) -> list[str]:
    """Return the words of a name, folded, without a unit in brackets.

    >>> words_of("Ratio_CO_CO2"), words_of("AccelKPHPerSec"), words_of("车速(km/h)")
    (['ratio', 'co', 'co2'], ['accel', 'kph', 'per', 'sec'], ['车速'])
    """
    bare = _CAMEL.sub(" ", _BRACKETS.sub("", name.strip()).replace("NOx", "NOX"))
    return [fold(w) for w in _WORD.findall(bare)]


def unit_in(name: str) -> str:
    """Return the unit that a name says, in brackets or as a word; blank where it says none.

    >>> unit_in("车速（km/h）"), unit_in("SpeedKPH"), unit_in("AccelKPHPerSec"), unit_in("speed")
    ('km/h', 'km/h', 'km/h/s', '')
    """
    found = _BRACKETS.search(name)
    if found and (unit := unit_named(found[1])):
        return unit
    words = words_of(name)
    if {"per", "sec"} <= set(words) and (over := [w for w in ("kph", "mph") if w in words]):
        return f"{_UNIT_WORDS[over[0]]}/s"
    joined = "_".join(words)
    if joined.endswith("m_s_2"):
        return "m/s2"
    if joined.endswith(("km_h", "g_kg")):
        return "km/h" if joined.endswith("h") else "g/kg"
    return next((_UNIT_WORDS[w] for w in words if w in _UNIT_WORDS), "")


def by_formats(column: Column, known: Iterable[Format], own: Format | None,
               ) -> tuple[list[Guess], bool]:
    """Return what the first of some formats that knows a name says, and whether one knows it.

    The units of ``own`` count, the format that the whole header is like; those of others do not.
    """
    for fmt in known:
        name = fmt.alias.get(column.name, column.name)
        if name not in fmt.names() or (fmt is not own and name in fmt.known):
            continue
        why = f"the name stands in format {fmt.id}"
        found = [Guess("text", fmt.text[name], SURE, why)] if name in fmt.text else []
        if name in fmt.date:
            found.append(Guess("date", fmt.date[name], SURE, why))
        if name in fmt.real:
            unit, about = unit_of(column, fmt.real[name].to)
            if fmt is own and not unit_in(column.shown):
                unit, about = fmt.real[name].unit.removesuffix(" hexane"), "its unit too"
            found.append(Guess("real", fmt.real[name].to, SURE, f"{why}; {about}", unit=unit))
        if name in fmt.code:
            to, table = fmt.code[name]
            found.append(Guess("code", to, SURE, why, table=table.name))
        if fmt.vehicle_class is not None and fmt.vehicle_class[0] == name:
            found.append(Guess("class", "vehicle_class", SURE, why,
                               table=fmt.vehicle_class[1].name))
        if name in fmt.time_columns or any(name in pair for pair in fmt.time_pairs):
            found.append(Guess("time", "measured_local", SURE, why))
        return found, True
    return [], False


def by_words(column: Column) -> list[Guess]:
    """Return what the words of a name say, and the cells do not deny."""
    words = words_of(column.shown)
    gas = _gas(column, words)
    if gas is not None:
        return gas
    found = []
    for kind, table in vocabulary().items():
        if kind == "words":
            continue
        best = max(((_held(words, names), to) for to, names in table.items()), default=(0.0, ""))
        if best[0] and (guess := _of_kind(column, kind, best[1], best[0])):
            found.append(guess)
    closest = max((_held(words, vocabulary()[g.kind if g.kind != "class" else "code"][g.to])
                   for g in found), default=0.0)
    return [g for g in found
            if _held(words, vocabulary()["code" if g.kind == "class" else g.kind][g.to]) == closest]


def _held(words: Sequence[str], names: Sequence[tuple[str, ...]]) -> float:
    """Return how much of a name the longest of some rows of words explains, 0 to 1."""
    said = [w for w in words if w not in _UNIT_WORDS and w not in ("per", "sec")] or list(words)
    total = sum(map(len, said))
    best = 0
    for name in names:
        is_chinese = not name[0].isascii()
        if (is_chinese and name[0] in "".join(said)) or _contains(said, name):
            best = max(best, sum(map(len, name)))
    share = best / total if total else 0.0
    return share if share >= 0.4 else 0.0


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(list(words[k:k + len(part)]) == list(part) for k in range(len(words)))


def says(words: Sequence[str], topic: str) -> bool:
    """Say whether a name has a word of a topic of ``guesses.toml``, section words."""
    listed = [w for row in vocabulary()["words"][topic] for w in row]
    return any(w in listed or any(not t.isascii() and t in w for t in listed) for w in words)


def _of_kind(column: Column, kind: str, to: str, share: float) -> Guess | None:
    confidence = SURE if share > 0.9 else LIKELY if share > 0.6 else MAYBE
    why = "by its name"
    if kind == "real":
        if column.filled and not column.is_numeric:
            return None
        unit, about = unit_of(column, to)
        return Guess("real", to, confidence, f"{why}; {about}", unit=unit)
    if kind == "code":
        table, about = table_of(column, to)
        if not table:
            return None
        return Guess("class" if to == "vehicle_class" else "code", to,
                     confidence, f"{why}; {about}", table=table)
    if kind == "time" and column.filled and not time_patterns(column.filled):
        return None
    return Guess(kind, to, confidence, why)


def _gas(column: Column, words: Sequence[str]) -> list[Guess] | None:
    """Return the guess for a gas's column; None where the name has no gas."""
    gases = [w for k, w in enumerate(words) if w in _GASES and not _is_number_sign(words, k)]
    if not gases:
        return None
    if column.filled and not column.is_numeric:
        return [] if says(words, "flag") else None
    to, why = _gas_target(words, gases, unit_in(column.shown))
    return [_real(column, to, why)] if to in CANONICAL else []


def _is_number_sign(words: Sequence[str], place: int) -> bool:
    """Say whether a "no" is that of a number, as in record_no."""
    others = [w for w in words[:place] if w.isascii()]
    return words[place] == "no" and any(
        w not in _GASES and w not in _UNIT_WORDS and w != "ratio" for w in others)


def _gas_target(words: Sequence[str], gases: Sequence[str], unit: str) -> tuple[str, str]:
    """Return the column that a gas's name means, blank for none, and why."""
    others = [g for g in gases if g != "co2"]
    gas = others[0] if others else "co2"
    is_beam = gas == "co2" and says(words, "beam")
    if says(words, "flag") or (says(words, "no_value") and not is_beam):
        return "", ""
    if is_beam:
        return "co2_raw_pct", "CO2 in the beam, by its name"
    if others and "co2" in gases:
        return f"{gas}_co2", "a gas over CO2, by its name"
    if unit == "g/kg":
        return f"{gas}_g_kg_reported", "a mass per fuel, by its name"
    return _VALUE.get(gas, ""), "a gas, by its name"


def _real(column: Column, to: str, why: str) -> Guess:
    unit, about = unit_of(column, to)
    return Guess("real", to, LIKELY, f"{why}; {about}", unit=unit)


def unit_of(column: Column, to: str) -> tuple[str, str]:
    """Return the unit that a number's column is likely in, and why."""
    said, canonical = unit_in(column.shown), CANONICAL[to]
    if said and is_convertible(said, canonical):
        return said, f"{said} by its name"
    expected = ranges().get(to)
    values = np.array([x for x in column.numbers if x and x not in CODES_OF_NULL])
    if expected is None or values.size < (_ENOUGH_MOTION if to in MOTION else _ENOUGH):
        return canonical, f"TODO: is it in {canonical}?"
    as_is = Declared(column.name, canonical, canonical)
    fitting = [u for u in expected.units if is_convertible(u, canonical)
               and expected.is_usual(converted(values, as_is, u))]
    if not fitting:
        return canonical, f"TODO: is it in {canonical}?"
    others = f"; TODO: they suit {' and '.join(fitting[1:])} too" if fitting[1:] else ""
    return fitting[0], f"the values suit {fitting[0]}{others}"


def table_of(column: Column, to: str) -> tuple[str, str]:
    """Return the code table that knows most cells of a column, and how many; blank for none."""
    values = _vocabulary_of(to)
    distinct = set(column.filled)
    best, known = "", 0
    for table in code_tables().values():
        meant = {v for v in table.values.values() if v is not None}
        if not meant or not meant <= values or any(
                isinstance(a, bool) != isinstance(b, bool) for a in meant for b in values):
            continue
        hits = sum(table.decode(c)[1] for c in distinct)
        if hits > known:
            best, known = table.name, hits
        if not distinct and not best:
            best = table.name
    if not best:
        return "", ""
    if not distinct:
        return best, f"TODO: no cell tells whether {best} is right"
    doubt = "" if known == len(distinct) else ", TODO: the others become unknown"
    more = "; TODO: another vendor may number them otherwise" if all(
        c.isdigit() for c in distinct) else ""
    return best, f"{best} knows {known} of {len(distinct)} codes{doubt}{more}"


def _vocabulary_of(to: str) -> set[Any]:
    meant: dict[str, set[Any]] = {
            "plate_color": set(PLATE_COLORS), "fuel_reported": set(FUELS),
            "vehicle_class": set(VEHICLE_CLASSES), "emission_stage_reported": set(range(7)),
            "is_device_valid": {True, False}}
    return meant.get(to, set())


def by_cells(column: Column) -> list[Guess]:
    """Return what the cells alone say: plates, times, a place's code."""
    filled = column.filled
    if len(filled) < 2:
        return []
    if (share := plates_in(filled)) >= 0.5:
        return [Guess("text", "plate", SURE, f"{share:.0%} of the cells have a plate's form")]
    if any("%S" in p for p in time_patterns(filled)):
        return [Guess("time", "measured_local", LIKELY, "the cells are times")]
    if all(re.fullmatch(r"[A-D]\d{9}", c) for c in filled):
        return [Guess("text", "site_id", LIKELY, "a letter and nine digits, as point codes")]
    return []
