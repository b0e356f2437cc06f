"""Vendor formats: one TOML file each under ``formats/``, recognised by the header.

A header is matched by name, whatever its order, letter case and width of characters. A column may
have other names (``[alias]``), and may say its unit: ``Speed (m/s)`` is the column ``Speed`` in
m/s, whatever unit the format declares.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from rsd.columns import REPORTED
from rsd.errors import InputRefused, UsageError
from rsd.intake.codes import CodeTable, CodeValue, code_tables, fold
from rsd.intake.format_file import (
    SEPARATORS,
    Format,
    Long,
    Real,
    Validity,
    read_format,
    with_basis,
)
from rsd.units import is_convertible, unit_named

__all__ = [
    "SEPARATORS", "Bound", "CodeTable", "CodeValue", "Format", "Long", "Real", "Validity", "bind",
    "code_tables", "fold", "formats", "get_format", "header_separator", "read_format", "recognise",
    "split_header",
]  # fmt: skip

_FOLDER = Path(__file__).parent / "formats"
_UNIT = {c.name: c.unit for c in REPORTED}
_WITH_UNIT = re.compile(r"(?P<name>.+?)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]")
_OFFSET = re.compile(r"(?:utc|gmt)\s*(?P<sign>[+-])(?P<hours>\d{1,2})(?::?00)?")
_UTC = ("utc", "gmt", "z", "utc+0", "utc+00:00")


@cache
def formats() -> Mapping[str, Format]:
    """Return the built-in formats by id."""
    found = [read_format(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return {f.id: f for f in found}


def get_format(format_id: str) -> Format:
    """Return a format by its id.

    Raises:
        UsageError: no such format.
    """
    known = formats()
    if format_id not in known:
        near = get_close_matches(format_id, known, 1)
        hint = f"Did you mean {near[0]}?" if near else "See `rsd formats`."
        raise UsageError("unknown input format", found=format_id, expected=", ".join(known),
                         remedy=hint)
    return known[format_id]


def header_separator(line: str) -> str:
    """Return what separates the names of a header line: what makes the most of them.

    >>> header_separator("a;b (x, y);c"), header_separator("a,b"), header_separator("a")
    (';', ',', ',')
    """
    return max(SEPARATORS, key=lambda s: len(_split(line, s)))


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def split_header(line: str, where: str = "header") -> list[str]:
    """Return the folded column names of a header line; InputRefused where it is none."""
    try:
        return [fold(n) for n in next(csv.reader([line], delimiter=header_separator(line)), [])]
    except csv.Error as error:
        raise InputRefused("the first line is no header", where=where, found=str(error),
                           expected="column names separated by commas",
                           remedy="This is no dump; check the file.") from None


@dataclass(frozen=True)
class Bound:
    """A format bound to a header: the format's own names, and the units that the header says."""

    format: Format
    names: tuple[str, ...]


def bind(fmt: Format, header: list[str], separator: str | None = None) -> Bound:
    """Bind a format to a folded header.

    A name that the format does not know stays as it is.

    Raises:
        InputRefused: a column says a unit that rsd cannot turn into what the column means.
    """
    known, reals, zone = fmt.names(), dict(fmt.real), fmt.time_zone
    names = []
    for shown in header:
        name, unit = _own_name(fmt, known, shown)
        if unit and name in reals:
            reals[name] = _in_unit(fmt, shown, reals[name], unit)
        elif unit and (name in fmt.time_columns or any(name in p for p in fmt.time_pairs)):
            said = _zone_of(unit)
            zone, name = (said, name) if said else (zone, shown)
        names.append(name)
    if lacking := [n for n in fmt.missing(names) if n not in fmt.missing(
            [_own_name(fmt, known, shown)[0] for shown in header])]:
        raise InputRefused("the time says something in brackets that is no zone", where="line 1",
                           expected=f"{', '.join(lacking)} with (UTC), (UTC+8) or nothing",
                           remedy="Correct the header; without brackets times are the lake's.")
    bound = replace(fmt, real=reals, time_zone=zone, separator=separator or fmt.separator)
    return Bound(bound, tuple(names))


def _own_name(fmt: Format, known: set[str], shown: str) -> tuple[str, str]:
    """Return the format's name of a header cell, and what the cell says in brackets."""
    if shown in known or not shown:
        return shown, ""
    if shown in fmt.alias:
        return fmt.alias[shown], ""
    found = _WITH_UNIT.fullmatch(shown)
    if found is None:
        return shown, ""
    name = found["name"].strip()
    name = fmt.alias.get(name, name)
    return (name, found["unit"].strip()) if name in known else (shown, "")


def _in_unit(fmt: Format, shown: str, real: Real, text: str) -> Real:
    unit = unit_named(text)
    basis = with_basis(unit, real.to, fmt.hc_basis) if unit else ""
    if not is_convertible(basis, _UNIT[real.to]):
        raise InputRefused(
            "a column says a unit that cannot be used", where=f"the column of {real.to}",
            found=repr(text) if len(text) < 20 else "a long text",
            expected=f"{real.unit}, or another unit that can become {_UNIT[real.to]}",
            remedy="Correct the header; the values are read in the unit that it says.")
    null = real.null if basis == real.unit else ()  # 0 K is no temperature, 0 C is one
    return replace(real, unit=basis, null=null)


def _zone_of(text: str) -> str:
    """Return the zone that a time column's header says: UTC, or whole hours from it; else ""."""
    if text in _UTC:
        return "UTC"
    hours = _OFFSET.fullmatch(text)
    if hours is None or not 1 <= int(hours["hours"]) <= 12:
        return ""
    return f"Etc/GMT{'-' if hours['sign'] == '+' else '+'}{int(hours['hours'])}"  # its signs are so


def recognise(header: list[str], where: str, format_id: str | None = None,
              separator: str | None = None) -> Format:
    """Return the format of a folded header.

    Args:
        header: folded column names.
        where: file name, for the error.
        format_id: use this format, whatever the header looks like.
        separator: what separates the columns; None where nobody asked.

    Raises:
        InputRefused: no format fits, or two fit equally; a required column is missing, a name
            stands twice, or the format insists on another separator.
    """
    place = f"{where}, line 1"
    # A file without a header has data in its first line, a plate perhaps: names that no format
    # knows are counted and never shown.
    _refuse_twice(header, place)
    chosen = get_format(format_id) if format_id is not None else _best(header, place)
    own = [_own_name(chosen, chosen.names(), n)[0] for n in header]
    _refuse_twice(own, place)
    if missing := chosen.missing(own):
        raise InputRefused(
            f"a required column of format {chosen.id} is missing", where=place,
            found=_known_of(header), expected=", ".join(missing),
            remedy="Add the column, or force another format with --input-format.",
        )
    if separator is not None and separator not in chosen.separators and len(header) > 1:
        raise InputRefused(f"the columns of format {chosen.id} are separated otherwise",
                           where=place, found=repr(separator),
                           expected=repr(chosen.separators[0]),
                           remedy="Export the file anew, or force another format.")
    return chosen


def _refuse_twice(names: list[str], place: str) -> None:
    if twice := [n for n, times in Counter(names).items() if n and times > 1]:
        columns = [str(k) for k, n in enumerate(names, 1) if n == twice[0]][:3]
        raise InputRefused("a column name stands twice", where=place,
                           found=f"the same name in columns {' and '.join(columns)}",
                           remedy="Rename or remove one of them.")


def _best(header: list[str], place: str) -> Format:
    fits = {f.id: fit(f, header) for f in formats().values()}
    best = max(fits.values())
    chosen = [k for k, v in fits.items() if v == best]
    if best[1] < 2:
        raise InputRefused(
            "the header is of no known format", where=place, found=_known_of(header),
            expected=f"the columns of {' or '.join(formats())}",
            remedy="See `rsd formats`; force one with --input-format.",
        )
    if best[0] and len(chosen) > 1:
        raise InputRefused("the header is of several formats", where=place,
                           found=" and ".join(chosen), expected="one",
                           remedy="Force one with --input-format.")
    winner = formats()[chosen[0]]
    others = [f.id for f in formats().values() if f.id != winner.id and fits[f.id][0]
              and _read_by(f, header) - _read_by(winner, header)]
    if best[0] and others:
        raise InputRefused("the header is of several formats", where=place,
                           found=" and ".join([winner.id, *others]), expected="one",
                           remedy="Force one with --input-format.")
    return winner


def _read_by(fmt: Format, header: list[str]) -> set[str]:
    """Return which names of a header a format knows."""
    known = fmt.names()
    return {n for n in header if _own_name(fmt, known, n)[0] in known}


def fit(fmt: Format, header: list[str]) -> tuple[bool, int]:
    """Return how well a format fits a folded header: all it requires, and how much it knows."""
    known = fmt.names()
    own = {_own_name(fmt, known, n)[0] for n in header}
    return not fmt.missing(own), len(known & own)


def _known_of(header: list[str]) -> str:
    every = set().union(*(f.names() | set(f.alias) for f in formats().values()))
    known = [n for n in header if n in every]
    shown = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
    return f"{len(header)} columns, of known names {shown or 'none'}"
