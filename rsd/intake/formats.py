"""Vendor formats: one TOML file each under ``formats/``, recognised by the header."""

from __future__ import annotations

import csv
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from rsd.errors import InputRefused, UsageError

_FOLDER = Path(__file__).parent / "formats"
_CODES = Path(__file__).parent / "codes.toml"
_KEYS = {
    "id", "title", "citation", "required", "encodings", "final_newline", "null_text", "sentinels",
    "plates", "convention", "co2_denominator", "impute_nox", "quality_profile", "notes", "time",
    "text", "date", "real", "code", "class", "known", "separator",
}  # fmt: skip

CodeValue = str | int | bool | None


@dataclass(frozen=True)
class CodeTable:
    """What a vendor writes → our names; a trailing ``*`` in a key matches by prefix."""

    name: str
    source: str
    values: Mapping[str, CodeValue]
    unknown: frozenset[str]
    default: CodeValue

    def decode(self, text: str | None) -> tuple[CodeValue, bool]:
        """Return our value of a code and whether the table knows it; blank is known and null."""
        key = "" if text is None else fold(text)
        if not key:
            return ("unknown" if self.default == "unknown" else None), True
        if key in self.values:
            return self.values[key], True
        if key in self.unknown:
            return ("unknown" if isinstance(self.default, str) else None), True
        for length in range(len(key), 0, -1):
            if (hit := self.values.get(f"{key[:length]}*")) is not None:
                return hit, True
        return self.default, False


@dataclass(frozen=True)
class Real:
    """A number's target column, the unit that the source writes, and whether it is whole."""

    to: str
    unit: str
    whole: bool = False


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
    time_formats: tuple[str, ...]
    afternoon_hours: tuple[int, ...]
    text: Mapping[str, str]
    date: Mapping[str, str]
    real: Mapping[str, Real]
    code: Mapping[str, tuple[str, CodeTable]]
    vehicle_class: tuple[str, CodeTable] | None
    known: frozenset[str]
    separator: str = ","

    def names(self) -> set[str]:
        """Return every source column that the format knows."""
        classes = {self.vehicle_class[0]} if self.vehicle_class else set()
        used = {*self.time_columns, *self.text, *self.date, *self.real, *self.code}
        return used | classes | self.known

    def missing(self, header: Iterable[str]) -> list[str]:
        """Return the required columns that a folded header lacks, alternatives joined by or."""
        there = set(header)
        return [" or ".join(names) for names in self.required if not there & set(names)]


def fold(name: str) -> str:
    """Return a column name or code as it is compared: no case, no width, no outer space.

    >>> fold(" ＣＯ2JG ")
    'co2jg'
    """
    return unicodedata.normalize("NFKC", name).strip().casefold()


@cache
def code_tables() -> Mapping[str, CodeTable]:
    """Return all code tables by name."""
    raw = tomllib.loads(_CODES.read_text(encoding="utf-8"))
    return {
        name: CodeTable(
            name,
            table["source"],
            {fold(k): v for k, v in table["values"].items()},
            frozenset(fold(k) for k in table["unknown"]),
            table["default"] or None,
        )
        for name, table in raw.items()
    }


def read_format(path: Path) -> Format:
    """Read one format file.

    Raises:
        UsageError: an unknown key or code table, named with the file.
    """
    raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    if extra := sorted(set(raw) - _KEYS):
        raise UsageError("unknown key", where=str(path), found=", ".join(extra),
                         expected=", ".join(sorted(_KEYS)))
    tables = code_tables()

    def table(name: str) -> CodeTable:
        if name not in tables:
            raise UsageError("unknown code table", where=str(path), found=name,
                             expected=", ".join(tables))
        return tables[name]

    time, by_class = raw["time"], raw.get("class")
    return Format(
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
        time_columns=tuple(fold(n) for n in time["columns"]),
        time_formats=tuple(time["formats"]),
        afternoon_hours=tuple(time.get("afternoon_hours", ())),
        text={fold(k): v for k, v in raw.get("text", {}).items()},
        date={fold(k): v for k, v in raw.get("date", {}).items()},
        real={fold(k): Real(**v) for k, v in raw.get("real", {}).items()},
        code={fold(k): (v["to"], table(v["table"])) for k, v in raw.get("code", {}).items()},
        vehicle_class=(fold(by_class["column"]), table(by_class["table"])) if by_class else None,
        known=frozenset(fold(n) for n in raw["known"]["names"]),
        separator=raw.get("separator", ","),
    )


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


def split_header(line: str, where: str = "header") -> list[str]:
    """Return the folded column names of a header line; InputRefused where it is none."""
    try:
        return [fold(name) for name in next(csv.reader([line]), [])]
    except csv.Error as error:
        raise InputRefused("the first line is no header", where=where, found=str(error),
                           expected="column names separated by commas",
                           remedy="This is no dump; check the file.") from None


def recognise(header: list[str], where: str, format_id: str | None = None) -> Format:
    """Return the format of a folded header.

    Args:
        header: folded column names.
        where: file name, for the error.
        format_id: use this format, whatever the header looks like.

    Raises:
        InputRefused: no format fits, a required column is missing, or a name stands twice.
    """
    place = f"{where}, line 1"
    # A file without a header has data in its first line, a plate perhaps: names that no format
    # knows are counted and never shown.
    if twice := [n for n, times in Counter(header).items() if n and times > 1]:
        columns = [str(k) for k, n in enumerate(header, 1) if n == twice[0]][:3]
        raise InputRefused("a column name stands twice", where=place,
                           found=f"the same name in columns {' and '.join(columns)}",
                           remedy="Rename or remove one of them.")
    if format_id is not None:
        chosen = get_format(format_id)
    else:
        def fit(f: Format) -> tuple[bool, int]:
            return not f.missing(header), len(f.names() & set(header))

        chosen = max(formats().values(), key=fit)
        if len(chosen.names() & set(header)) < 2:
            raise InputRefused(
                "the header is of no known format", where=place, found=_known_of(header),
                expected=f"the columns of {' or '.join(formats())}",
                remedy="See `rsd formats`; force one with --input-format.",
            )
    if missing := chosen.missing(header):
        raise InputRefused(
            f"a required column of format {chosen.id} is missing", where=place,
            found=_known_of(header), expected=", ".join(missing),
            remedy="Add the column, or force another format with --input-format.",
        )
    return chosen


def _known_of(header: list[str]) -> str:
    every = set().union(*(f.names() for f in formats().values()))
    known = [n for n in header if n in every]
    shown = ", ".join(known[:8]) + (" …" if len(known) > 8 else "")
    return f"{len(header)} columns, of known names {shown or 'none'}"
