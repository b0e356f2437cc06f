"""One vendor format as its TOML file declares it: names, units, codes, time, null, validity."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsd.columns import REPORTED
from rsd.errors import UsageError
from rsd.intake.codes import CodeTable, code_tables, fold
from rsd.units import is_convertible

SEPARATORS = (",", ";", "\t", "|")
"""What may stand between two cells, where the format does not insist on one."""
BASES = ("propane", "hexane")
"""Gases that HC may be counted as, in concentrations and ratios. rsd's own is propane."""

_HC = ("hc_ppm", "hc_co2")
_UNIT = {c.name: c.unit for c in REPORTED}
_KEYS = {
    "id", "title", "citation", "required", "encodings", "final_newline", "null_text", "sentinels",
    "plates", "convention", "co2_denominator", "impute_nox", "quality_profile", "notes", "time",
    "text", "date", "real", "code", "class", "known", "separator", "alias", "valid", "hc_basis",
    "site_from_file", "record_id_within", "unverified", "unverified_columns", "long",
}  # fmt: skip
_TABLES: dict[str, tuple[set[str], set[str]]] = {
    "real": ({"to", "unit"}, {"whole", "null"}),
    "code": ({"to", "table"}, set()),
    "valid": ({"of", "good", "bad"}, set()),
}


@dataclass(frozen=True)
class Real:
    """A number's target column, the unit that the source writes, and whether it is whole.

    ``null`` are numbers that mean "no value" in this column only.
    """

    to: str
    unit: str
    whole: bool = False
    null: tuple[float, ...] = ()


@dataclass(frozen=True)
class Validity:
    """Letters of a flag column that allow, or take away, the values of other source columns."""

    of: tuple[str, ...]
    good: frozenset[str]
    bad: frozenset[str]


@dataclass(frozen=True)
class Long:
    """A format with one row a measured value: `key` tells which rows are one pass.

    ``parameters`` maps what stands in the column ``parameter`` to a target and its unit; names in
    ``known`` are read over. ``unit`` is a column that names the value's unit, or blank.
    """

    key: str
    parameter: str
    value: str
    unit: str
    parameters: Mapping[str, Real]
    known: frozenset[str]


@dataclass(frozen=True)
class Format:
    """One vendor format, as its TOML file declares it. Source names are folded (`fold`)."""

    id: str
    title: str
    citation: str
    required: tuple[tuple[str, ...], ...]
    encodings: tuple[str, ...]
    needs_final_newline: bool
    null_text: tuple[str, ...]
    sentinels: tuple[float, ...]
    plates: str
    convention: str
    co2_denominator: str
    impute_nox: bool
    quality_profile: str
    notes: tuple[str, ...]
    time_columns: tuple[str, ...]
    time_pairs: tuple[tuple[str, str], ...]
    time_formats: tuple[str, ...]
    time_zone: str
    afternoon_hours: tuple[int, ...]
    text: Mapping[str, str]
    date: Mapping[str, str]
    real: Mapping[str, Real]
    code: Mapping[str, tuple[str, CodeTable]]
    vehicle_class: tuple[str, CodeTable] | None
    known: frozenset[str]
    alias: Mapping[str, str]
    valid: Mapping[str, Validity]
    hc_basis: str
    site_from_file: bool
    record_id_within: str
    unverified: tuple[str, ...]
    unverified_columns: frozenset[str]
    long: Long | None
    separators: tuple[str, ...]
    separator: str

    def names(self) -> set[str]:
        """Return every source column that the format knows, aliases not included."""
        used = {*self.time_columns, *self.text, *self.date, *self.real, *self.code, *self.valid}
        used |= {name for pair in self.time_pairs for name in pair}
        if self.vehicle_class:
            used.add(self.vehicle_class[0])
        if self.long:
            used |= {self.long.key, self.long.parameter, self.long.value, self.long.unit} - {""}
        return used | self.known

    def missing(self, header: Iterable[str]) -> list[str]:
        """Return the required columns that a folded header lacks, alternatives joined by or."""
        there = set(header)
        lacking = [" or ".join(names) for names in self.required if not there & set(names)]
        if lacking or there & set(self.time_columns) or any(
                there.issuperset(pair) for pair in self.time_pairs):
            return lacking
        return [" or ".join([*self.time_columns, *(" and ".join(p) for p in self.time_pairs)])]

    def nulls_of(self, column: str) -> tuple[float, ...]:
        """Return the numbers that mean "no value" in a source column."""
        own = self.real[column].null if column in self.real else ()
        return (*self.sentinels, *own)

    def is_unverified(self, column: str) -> bool:
        """Say whether nobody has read this column's name or unit in a source."""
        return "*" in self.unverified_columns or column in self.unverified_columns


def read_format(path: Path) -> Format:
    """Read one format file.

    Raises:
        UsageError: no TOML, a key that is unknown or lacks, an unknown code table, unit or basis,
            named with the file.
    """
    try:
        return _read(_parsed(path), str(path))
    except (KeyError, TypeError, AttributeError, ValueError) as error:  # text where a table must be
        raise UsageError("an entry of the format file is not as it must be", where=str(path),
                         found=f"{type(error).__name__}: {str(error)[:80]}",
                         expected="what docs/formats.md describes") from None


def _read(raw: dict[str, Any], where: str) -> Format:
    time, by_class = raw["time"], raw.get("class")
    basis = _one_of(raw.get("hc_basis", BASES[0]), BASES, "hc_basis", where)
    separator = raw.get("separator", "")
    chosen = Format(
        id=raw["id"],
        title=raw["title"],
        citation=raw["citation"],
        required=tuple(tuple(fold(n) for n in item.split("|")) for item in raw["required"]),
        encodings=tuple(raw["encodings"]),
        needs_final_newline=raw["final_newline"] == "required",
        null_text=tuple(raw["null_text"]),
        sentinels=tuple(raw["sentinels"]),
        plates=raw["plates"],
        convention=raw["convention"],
        co2_denominator=raw["co2_denominator"],
        impute_nox=raw["impute_nox"],
        quality_profile=raw["quality_profile"],
        notes=tuple(raw["notes"]),
        time_columns=tuple(fold(n) for n in time["columns"] if " + " not in n),
        time_pairs=tuple(_pair(n, where) for n in time["columns"] if " + " in n),
        time_formats=tuple(time["formats"]),
        time_zone=time.get("zone", ""),
        afternoon_hours=tuple(time.get("afternoon_hours", ())),
        text={fold(k): v for k, v in raw.get("text", {}).items()},
        date={fold(k): v for k, v in raw.get("date", {}).items()},
        real=_reals(raw.get("real", {}), basis, where),
        code={fold(k): (v["to"], _table(v["table"], where))
              for k, v in raw.get("code", {}).items()},
        vehicle_class=(fold(by_class["column"]), _table(by_class["table"], where))
        if by_class else None,
        known=frozenset(fold(n) for n in raw["known"]["names"]),
        alias={fold(k): fold(v) for k, v in raw.get("alias", {}).items()},
        valid={fold(k): _validity(v) for k, v in raw.get("valid", {}).items()},
        hc_basis=basis,
        site_from_file=raw.get("site_from_file", False),
        record_id_within=raw.get("record_id_within", ""),
        unverified=tuple(raw.get("unverified", ())),
        unverified_columns=frozenset(fold(n) for n in raw.get("unverified_columns", ())),
        long=_long(raw["long"], basis, where) if "long" in raw else None,
        separators=(separator,) if separator else SEPARATORS,
        separator=separator or SEPARATORS[0],
    )
    _check_names(chosen, where)
    return chosen


def _parsed(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError("this is no format file", where=str(path), found=str(error),
                         expected="a TOML file as docs/formats.md describes it") from None
    if extra := sorted(set(raw) - _KEYS):
        raise UsageError("unknown key", where=str(path), found=", ".join(extra),
                         expected=", ".join(sorted(_KEYS)))
    needed = {"id", "title", "citation", "required", "encodings", "final_newline", "null_text",
              "sentinels", "plates", "convention", "co2_denominator", "impute_nox",
              "quality_profile", "notes", "time", "known"}
    if lacking := sorted(needed - set(raw)):
        raise UsageError("a key is missing", where=str(path), expected=", ".join(lacking))
    for table, (must, may) in _TABLES.items():
        for column, entry in raw.get(table, {}).items():
            if not must <= set(entry) <= must | may:
                raise UsageError(f"an entry of [{table}] has other keys", where=str(path),
                                 found=f"{column}: {', '.join(entry)}",
                                 expected=", ".join(sorted(must)))
    return raw


def _table(name: str, where: str) -> CodeTable:
    tables = code_tables()
    return tables[_one_of(name, tuple(tables), "code table", where)]


def _one_of(name: str, allowed: tuple[str, ...], what: str, where: str) -> str:
    if name not in allowed:
        raise UsageError(f"unknown {what}", where=where, found=name, expected=", ".join(allowed))
    return name


def _pair(names: str, where: str) -> tuple[str, str]:
    parts = [fold(n) for n in names.split(" + ")]
    if len(parts) != 2:
        raise UsageError("a time is one column, or a date and a clock", where=where, found=names,
                         expected='such as "Date + Time"')
    return parts[0], parts[1]


def _reals(entries: dict[str, Any], basis: str, where: str) -> dict[str, Real]:
    return {fold(k): _real(v, basis, where) for k, v in entries.items()}


def _real(entry: dict[str, Any], basis: str, where: str) -> Real:
    to = _one_of(entry["to"], tuple(_UNIT), "target column", where)
    unit = with_basis(entry["unit"], to, basis)
    if not is_convertible(unit, _UNIT[to]):
        raise UsageError("unknown unit", where=where, found=f"{unit} for {to}",
                         expected=f"a unit that rsd can turn into {_UNIT[to]}")
    return Real(to, unit, entry.get("whole", False), tuple(map(float, entry.get("null", ()))))


def with_basis(unit: str, to: str, basis: str) -> str:
    """Return the unit of an HC column with its basis, where that is not propane.

    >>> with_basis("ppm", "hc_ppm", "hexane"), with_basis("ppm", "no_ppm", "hexane")
    ('ppm hexane', 'ppm')
    """
    is_plain = to in _HC and not any(b in unit for b in BASES)
    return f"{unit} {basis}" if is_plain and basis != BASES[0] else unit


def _validity(entry: dict[str, Any]) -> Validity:
    return Validity(tuple(fold(n) for n in entry["of"]),
                    frozenset(fold(x) for x in entry["good"]),
                    frozenset(fold(x) for x in entry["bad"]))


def _long(entry: dict[str, Any], basis: str, where: str) -> Long:
    return Long(key=fold(entry["key"]), parameter=fold(entry["parameter"]),
                value=fold(entry["value"]), unit=fold(entry.get("unit", "")),
                parameters=_reals(entry["parameters"], basis, where),
                known=frozenset(fold(n) for n in entry.get("known", ())))


def _check_names(chosen: Format, where: str) -> None:
    """Refuse an alias of nothing, and a flag of a column that is no number."""
    for alias, name in chosen.alias.items():
        if name not in chosen.names():
            raise UsageError("an alias of an unknown column", where=where, found=f"{alias}: {name}")
    for flag, validity in chosen.valid.items():
        if strange := [n for n in validity.of if n not in chosen.real]:
            raise UsageError("a validity flag of a column that is no number", where=where,
                             found=f"{flag}: {', '.join(strange)}")
