"""Regulations: one TOML file each → frozen dataclasses, read strictly.

A file states dated periods, to whom they apply, when a reading may be judged, the limits with unit
and clause, and the verb with its numbers. Every number says whether it was compared with the law's
own text (``verified``). A file that says anything unknown, incomplete or contradictory is refused
with the key to mend. A city's own folder may add regulations, or replace a built-in one by a file
of the same name; a finding keeps the hash of the file it was made by.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from rsd.columns import FUELS, MEASURED_VALUE, VEHICLE_CLASSES
from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.law.strict_toml import StrictTable
from rsd.law.verbs import VERBS, Settings

BUILT_IN = Path(__file__).parent / "regulations"

KIND_OF_ROLE = {"enforceable": "violation", "screening": "screening"}
"""Role of a limit → kind of the finding it makes."""

QUANTITIES: dict[str, tuple[tuple[str, ...], str]] = {
    # the instrument's own VSP decides; ours only where it has none
    "vsp": (("vsp_device_kw_t", "vsp_kw_t"), "kW/t"),
    "wind_speed": (("wind_speed_m_s",), "m/s"),
    "speed": (("speed_km_h",), "km/h"),
}
"""Quantity of a validity bound → the columns of a pass that give it (first not null), its unit."""

LIMIT_OPS = (">", ">=")
BOUND_OPS = (">", ">=", "<", "<=")


@dataclass(frozen=True)
class Limit:
    """A reading exceeds where ``value <op> limit``. Unit: that of the pollutant's column."""

    pollutant: str
    value: float
    unit: str
    op: str
    role: str
    clause: str
    citation: str
    verified: bool

    @property
    def kind(self) -> str:
        """Kind of the findings this limit makes: violation or screening."""
        return KIND_OF_ROLE[self.role]


@dataclass(frozen=True)
class Bound:
    """A reading may be judged where ``quantity <op> value`` holds or the quantity is unknown."""

    quantity: str
    op: str
    value: float
    unit: str
    citation: str
    verified: bool


@dataclass(frozen=True)
class Period:
    """What holds from one local date (inclusive) until another (exclusive; None: still)."""

    start: date
    until: date | None
    citation: str
    validity: tuple[Bound, ...]
    limits: tuple[Limit, ...]

    def limit(self, pollutant: str) -> Limit | None:
        """Return the period's limit of a pollutant, or None."""
        return next((x for x in self.limits if x.pollutant == pollutant), None)

    def is_verified(self, pollutant: str) -> bool:
        """Whether the pollutant's limit and all validity bounds were verified."""
        limit = self.limit(pollutant)
        return limit is not None and limit.verified and all(b.verified for b in self.validity)


@dataclass(frozen=True)
class VerbRule:
    """The verb of a regulation: its name in `rsd.law.verbs.VERBS`, its numbers, its source."""

    name: str
    settings: Settings
    clause: str
    citation: str
    verified: bool


@dataclass(frozen=True)
class Regulation:
    """One regulation, as its file states it. ``sha256`` is the hash of the file's bytes."""

    id: str
    title: str
    jurisdiction: str
    citation: str
    notes: tuple[str, ...]
    fuels: tuple[str, ...]
    vehicle_classes: tuple[str, ...]
    scope_citation: str
    verb: VerbRule
    periods: tuple[Period, ...]
    path: str
    sha256: str

    @property
    def pollutants(self) -> tuple[str, ...]:
        """Pollutants with a limit in any period, in the order of the file."""
        return tuple(dict.fromkeys(x.pollutant for p in self.periods for x in p.limits))

    def require_runnable(self) -> None:
        """Raise `PolicyRefusal` where the file has no limit to judge by."""
        if not self.pollutants:
            raise PolicyRefusal(
                f"regulation {self.id} has no limits, so nobody can be judged by it",
                where=self.path,
                expected="at least one [[period.limit]]",
                remedy=f"Copy the file to the lake's folder regulations/{self.id}.toml and add the "
                "limits from the standard's own text, each with its clause and citation.",
            )


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the regulation: {error.strerror}", where=str(path),
                           remedy="Check that the file exists and may be read.") from error
    try:
        content = tomllib.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"this is no TOML in UTF-8 ({error})", where=str(path),
                         remedy="Mend the line; the built-in files are examples.") from error
    table = StrictTable(content, str(path), "")
    regulation = _regulation(table, path, hashlib.sha256(data).hexdigest())
    table.refuse_unknown()
    return regulation


def _files(folders: Sequence[Path | str]) -> dict[str, Path]:
    """Map id → file; the first folder that has an id wins."""
    found: dict[str, Path] = {}
    for folder in (*map(Path, folders), BUILT_IN):
        for file in sorted(folder.glob("*.toml")):
            found.setdefault(file.stem, file)
    return found


def _regulation(table: StrictTable, path: Path, sha256: str) -> Regulation:
    if table.text("id") != path.stem:
        raise table.error("id", "the id differs from the file's name", repr(path.stem),
                          "Name the file <id>.toml.")
    scope = table.table("applies_to")
    regulation = Regulation(
        id=path.stem, title=table.text("title"), jurisdiction=table.text("jurisdiction"),
        citation=table.text("citation"), notes=table.texts("notes"),
        fuels=scope.texts("fuel", FUELS),
        vehicle_classes=scope.texts("vehicle_class", VEHICLE_CLASSES),
        scope_citation=scope.text("citation"), verb=_verb(table.table("verb")),
        periods=_periods(table), path=str(path), sha256=sha256,
    )
    scope.refuse_unknown()
    return regulation


def _periods(table: StrictTable) -> tuple[Period, ...]:
    read = sorted(((_period(t), t) for t in table.tables("period")), key=lambda x: x[0].start)
    if not read:
        raise table.error("period", "there is no dated period", "at least one [[period]]",
                          "Say from which date the regulation holds.")
    for (earlier, _), (later, t) in pairwise(read):
        if earlier.until is None or earlier.until > later.start:
            raise t.error("from", "two periods overlap", "a date after the earlier one's end",
                          f"End the period from {earlier.start} with until = {later.start}.")
    return tuple(period for period, _ in read)


def _period(table: StrictTable) -> Period:
    until = table.day("until") if "until" in table.content else None
    period = Period(
        start=table.day("from"), until=until, citation=table.text("citation"),
        validity=tuple(map(_bound, table.tables("validity"))),
        limits=tuple(map(_limit, table.tables("limit"))),
    )
    if until is not None and until <= period.start:
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
        unit=table.text("unit", [QUANTITIES[quantity][1]]), citation=table.text("citation"),
        verified=table.flag("verified"),
    )
    table.refuse_unknown()
    return bound


def _limit(table: StrictTable) -> Limit:
    pollutant = table.text("pollutant", MEASURED_VALUE)
    limit = Limit(
        pollutant=pollutant, value=table.number("value"),
        unit=table.text("unit", [MEASURED_VALUE[pollutant][1]]), op=table.text("op", LIMIT_OPS),
        role=table.text("role", KIND_OF_ROLE), clause=table.text("clause"),
        citation=table.text("citation"), verified=table.flag("verified"),
    )
    table.refuse_unknown()
    return limit


def _verb(table: StrictTable) -> VerbRule:
    name = table.text("name", VERBS)
    kind = VERBS[name].settings
    hints = get_type_hints(kind)
    values = {f.name: _setting(table, f.name, hints[f.name]) for f in fields(kind)}
    try:
        settings: Settings = kind(**values)
    except ValueError as error:
        raise UsageError(f"the verb's numbers contradict: {error}", where=f"{table.file}, key verb",
                         remedy="Mend the value in the file.") from error
    verb = VerbRule(name, settings, table.text("clause"), table.text("citation"),
                    table.flag("verified"))
    table.refuse_unknown()
    return verb


def _setting(table: StrictTable, key: str, hint: Any) -> Any:
    """Read a verb's setting by the type of its field: bool, int, float or a choice of texts."""
    if get_origin(hint) is Literal:
        return table.text(key, get_args(hint))
    readers: dict[Any, Callable[[str], Any]] = {
        bool: table.flag, int: table.whole, float: table.number, str: table.text,
    }
    return readers[hint](key)
