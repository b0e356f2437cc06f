"""Regulations: one TOML file each → frozen dataclasses, read strictly.

A file states dated periods, to whom they apply, when a reading may be judged, the limits with unit,
basis and clause (or the groups of registered vehicles), and the verb with its numbers. Every number
says whether it was compared with the law's own text (``verified``). A file that says anything
unknown, incomplete or contradictory is refused with the line and the key to mend. A city's own
folder may add regulations, or replace a built-in one by a file of the same name; a finding keeps
the hash of the file it was made by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rsd.columns import FUELS, MEASURED_VALUE, VEHICLE_CLASSES
from rsd.errors import UsageError
from rsd.law.rules import (
    BASES,
    BOUND_OPS,
    KIND_OF_ROLE,
    LIMIT_OPS,
    QUANTITIES,
    Bound,
    Group,
    Limit,
    Period,
    Regulation,
    Scope,
    VerbRule,
)
from rsd.law.strict_toml import StrictTable, read_table
from rsd.law.verbs import VERBS, Settings, Verb

__all__ = ["BUILT_IN", "KIND_OF_ROLE", "QUANTITIES", "Bound", "Group", "Limit", "Period",
           "Regulation", "Scope", "VerbRule", "available", "load", "load_file", "read_settings"]

BUILT_IN = Path(__file__).parent / "regulations"

STAGES = range(7)
"""Emission stages: before the first (0) to the sixth."""


def load(regulation_id: str, folders: Sequence[Path | str] = ()) -> Regulation:
    """Return a regulation by its id; ``folders`` are searched in order, the built-in ones last.

    Raises `UsageError` for an unknown id or a faulty file.

    >>> load("cn_hj845_2017").pollutants
    ('opacity', 'ringelmann', 'no')
    """
    files = _files(folders)
    if regulation_id not in files:
        raise UsageError(
            f"no regulation {regulation_id!r}", expected=f"one of {', '.join(sorted(files))}",
            remedy="List them with `rsd regulations`, or add a file to the lake's regulations.",
        )
    return load_file(files[regulation_id])


def available(folders: Sequence[Path | str] = ()) -> tuple[str, ...]:
    """Return the ids of all regulations, sorted; the files are not read.

    >>> "cn_hj845_2017" in available()
    True
    """
    return tuple(sorted(_files(folders)))


def load_file(path: Path | str) -> Regulation:
    """Read one regulation's file. Raises `UsageError` that names file, key and remedy."""
    path = Path(path)
    table, data = read_table(path)
    regulation = _regulation(table, path, hashlib.sha256(data).hexdigest())
    table.refuse_unknown()
    return regulation


def _files(folders: Sequence[Path | str]) -> dict[str, Path]:
    """Map id → file; the first folder that has an id wins."""
    found: dict[str, Path] = {}
    for folder in (*map(Path, folders), BUILT_IN):
        for file in sorted(folder.glob("*.toml")):
            if "." not in file.stem:  # <id>.cases.toml beside it is no regulation
                found.setdefault(file.stem, file)
    return found


def _regulation(table: StrictTable, path: Path, sha256: str) -> Regulation:
    if table.text("id") != path.stem:
        raise table.error("id", "the id differs from the file's name", repr(path.stem),
                          "Name the file <id>.toml.")
    scope, verb_table = table.table("applies_to"), table.table("verb")
    verb = _verb(verb_table)
    return Regulation(
        id=path.stem, title=table.text("title"), jurisdiction=table.text("jurisdiction"),
        citation=table.text("citation"), notes=table.texts("notes"), scope=_scope(scope),
        verb=verb, periods=_periods(table, VERBS[verb.name]), path=str(path), sha256=sha256,
    )


def _scope(table: StrictTable) -> Scope:
    scope = Scope(
        fuels=table.texts("fuel", FUELS), vehicle_classes=table.texts("vehicle_class",
                                                                      VEHICLE_CLASSES),
        emission_stages=table.wholes("emission_stage", STAGES), citation=table.text("citation"),
    )
    table.refuse_unknown()
    return scope


def _periods(table: StrictTable, verb: Verb) -> tuple[Period, ...]:
    read = sorted(((_period(t, verb), t) for t in table.tables("period")),
                  key=lambda x: x[0].start)
    if not read:
        raise table.error("period", "there is no dated period", "at least one [[period]]",
                          "Say from which date the regulation holds.")
    for (earlier, _), (later, t) in pairwise(read):
        if earlier.until is None or earlier.until > later.start:
            raise t.error("from", "two periods overlap", "a date after the earlier one's end",
                          f"End the period from {earlier.start} with until = {later.start}.")
    return tuple(period for period, _ in read)


def _period(table: StrictTable, verb: Verb) -> Period:
    """Read a period. What the verb does not read there is an unknown key."""
    by_registration = verb.subject == "registration"
    limits, groups, validity = (
        ([], table.tables("group"), []) if by_registration
        else (table.tables("limit"), [], table.tables("validity")))
    period = Period(
        start=table.day("from"), until=table.day("until") if "until" in table.content else None,
        citation=table.text("citation"), validity=tuple(map(_bound, validity)),
        limits=tuple(_limit(t, verb) for t in limits), groups=tuple(map(_group, groups)),
    )
    if period.until is not None and period.until <= period.start:
        raise table.error("until", "the period ends before it begins", f"after {period.start}")
    names = [x.pollutant for x in period.limits]
    if len(set(names)) < len(names):
        raise table.error("limit", "a pollutant has two limits", "one limit a pollutant",
                          "Remove one, or put them into periods of their own.")
    table.asked.add("until")
    table.refuse_unknown()
    return period


def _bound(table: StrictTable) -> Bound:
    quantity = table.text("quantity", QUANTITIES)
    bound = Bound(
        quantity=quantity, op=table.text("op", BOUND_OPS), value=table.number("value"),
        unit=table.text("unit", [QUANTITIES[quantity][1]]), required=table.flag("required"),
        citation=table.text("citation"), verified=table.flag("verified"),
    )
    table.refuse_unknown()
    return bound


def _limit(table: StrictTable, verb: Verb) -> Limit:
    pollutant = table.text("pollutant", MEASURED_VALUE)
    limit = Limit(
        pollutant=pollutant, value=table.number("value"),
        unit=table.text("unit", [MEASURED_VALUE[pollutant][1]]),
        basis=table.text("basis", BASES[pollutant]), op=table.text("op", LIMIT_OPS),
        role=table.text("role", [r for r in KIND_OF_ROLE if r in verb.roles]),
        clause=table.text("clause"), citation=table.text("citation"),
        verified=table.flag("verified"),
    )
    table.refuse_unknown()
    return limit


def _group(table: StrictTable) -> Group:
    group = Group(
        name=table.text("name"), fuels=table.texts("fuel", FUELS),
        vehicle_classes=table.texts("vehicle_class", VEHICLE_CLASSES),
        emission_stages=table.wholes("emission_stage", STAGES),
        registered_before=(table.day("registered_before")
                           if "registered_before" in table.content else None),
        clause=table.text("clause"), citation=table.text("citation"),
        verified=table.flag("verified"),
    )
    table.asked.add("registered_before")
    asks = (group.fuels, group.vehicle_classes, group.emission_stages, group.registered_before)
    if not any(asks):
        raise table.error("name", "the group takes in every vehicle",
                          "fuel, vehicle_class, emission_stage or registered_before")
    table.refuse_unknown()
    return group


def _verb(table: StrictTable) -> VerbRule:
    name = table.text("name", VERBS)
    verb = VerbRule(name, read_settings(table, name), table.text("clause"),
                    table.text("citation"), table.flag("verified"))
    table.refuse_unknown()
    return verb


def read_settings(table: StrictTable, verb: str) -> Settings:
    """Read the numbers of a verb from a table, whose other keys are left unasked."""
    kind = VERBS[verb].settings
    hints = get_type_hints(kind)
    values = {f.name: _setting(table, f.name, hints[f.name]) for f in fields(kind)}
    try:
        settings: Settings = kind(**values)
    except ValueError as error:
        raise UsageError(f"the verb's numbers contradict: {error}", where=table.where(""),
                         remedy="Mend the value in the file.") from error
    return settings


def _setting(table: StrictTable, key: str, hint: Any) -> Any:
    """Read a verb's setting by the type of its field: bool, int, float or a choice of texts."""
    if get_origin(hint) is Literal:
        return table.text(key, get_args(hint))
    readers: dict[Any, Callable[[str], Any]] = {bool: table.flag, int: table.whole,
                                                float: table.number}
    return readers[hint](key)
