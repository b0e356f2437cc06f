"""Case files: situations and what must follow from them, as a lawyer reads them, and run here.

A case file is TOML beside a regulation: readings of invented vehicles on the local clock, the
verdict on each reading, and the findings that must come of them. ``rsd regulations check`` runs a
city's own, the test suite those of the built-in regulations. It is read as strictly as a
regulation: a slip in a column's name would make a case that proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd import findings
from rsd.columns import FINDINGS, MEASURED_VALUE, PASSES, VALIDITY, schema
from rsd.errors import UsageError
from rsd.law import judge
from rsd.law.explain import unverified_numbers
from rsd.law.rulebook import load_file, read_settings
from rsd.law.rules import LIMIT_OPS, NO_POLLUTANT, Limit, Regulation
from rsd.law.strict_toml import StrictTable, read_table

_MADE = {"measured_at", "date", "hour", "vehicle_id", "record_id", "is_valid",
         *(f"is_valid_{p}" for p in VALIDITY)}
GIVEN = {c.name: c.dtype for c in PASSES if c.name not in _MADE}
"""Columns of a pass that a reading of a case may give."""

EXPECTED = {c.name for c in FINDINGS} - {"regulation_id", "vehicle_id", "first_record_id",
                                        "second_record_id", "regulation_sha256"} | {
    "plate", "first", "second"}
"""What a case may say of a finding; ``first`` and ``second`` are the readings of the proof, by
their ``record`` or else their time; "none" where there is none."""

_SAID = {True: True, False: False, None: "untested"}
_CLOCK = "%F %T"
_UNKNOWN = "unknown"
"""A number that a reading of a case takes away from the defaults."""


@dataclass(frozen=True)
class Checked:
    """A regulation's file checked: ``cases`` has ``case, title, outcome, complaint``."""

    regulation: Regulation
    cases: pl.DataFrame
    remarks: tuple[str, ...]

    def require_sound(self) -> None:
        """Raise `UsageError` if a case ended otherwise than it says."""
        wrong = self.cases.filter(pl.col("complaint").is_not_null())
        if wrong.height:
            first = wrong.row(0, named=True)
            raise UsageError(
                f"{wrong.height} of {self.cases.height} cases end otherwise than they say",
                where=self.regulation.path, found=f"case {first['case']!r}: {first['complaint']}",
                remedy="Mend the regulation or the case; both were read as they stand.")


def check(file: Path, cases: Path | None = None) -> Checked:
    """Read a regulation's file strictly and run its case file.

    ``cases``: by default ``<id>.cases.toml`` beside the file, if it is there. Raises `UsageError`
    for a fault in either file, `StorageError` for one that cannot be read.
    """
    regulation = load_file(file)
    beside = file.with_name(f"{file.stem}.cases.toml")
    chosen = beside if cases is None and beside.exists() else cases
    found = [] if chosen is None else run(regulation, chosen)
    frame = pl.DataFrame(found, schema=["case", "title", "complaint"], orient="row",
                         schema_overrides={"complaint": pl.String, "case": pl.String,
                                           "title": pl.String})
    outcome = pl.when(pl.col("complaint").is_null()).then(pl.lit("as it says")).otherwise(
        pl.lit("OTHERWISE"))
    return Checked(regulation, frame.select("case", "title", outcome.alias("outcome"), "complaint"),
                   tuple(_remarks(regulation, file, chosen, len(found))))


def _remarks(regulation: Regulation, file: Path, cases: Path | None, count: int) -> Iterator[str]:
    periods = len(regulation.periods)
    rules = sum(len(p.limits) + len(p.groups) for p in regulation.periods)
    what = "group" if regulation.how.subject == "registration" else "limit"
    yield (f"{file} is sound: {regulation.id}, verb {regulation.verb.name}, {periods} "
           f"period{'s' * (periods != 1)}, {rules} {what}{'s' * (rules != 1)}")
    unverified = unverified_numbers(regulation)
    if unverified:
        yield f"not compared with the law's own text: {', '.join(unverified)}"
    if not regulation.subjects:
        yield "it has no limits, so it refuses to run until they are given"
    yield f"{cases}: {count} cases" if cases else "there is no case file for it"


def run(regulation: Regulation, file: Path) -> list[tuple[str, str, str | None]]:
    """Run a case file on a regulation: of each case its id, title and complaint (None: none).

    Raises `UsageError` for a fault in the file.
    """
    table, _ = read_table(file)
    if table.text("regulation") != regulation.id:
        raise table.error("regulation", "the cases are of another regulation", regulation.id)
    zone = _zone(table)
    regulation = _with_examples(regulation, table)
    defaults, cases = table.table("defaults"), table.tables("case")
    table.refuse_unknown()
    ids = [case.text("id") for case in cases]
    for case in cases:
        if ids.count(case.content["id"]) > 1:
            raise case.error("id", "two cases have this id", "an id of its own")
    if not cases:
        raise table.error("case", "there is no case", "at least one [[case]]")
    return [_case(regulation, case, defaults, zone) for case in cases]


def _zone(table: StrictTable) -> ZoneInfo:
    try:
        return ZoneInfo(table.text("timezone"))
    except (KeyError, ValueError, OSError) as error:
        raise table.error("timezone", "the time zone is unknown",
                          "an IANA name, for example Asia/Shanghai") from error


def _with_examples(regulation: Regulation, table: StrictTable) -> Regulation:
    """Return the regulation with the invented limits of a case file, where it has none itself."""
    examples = tuple(map(_example, table.tables("example_limit")))
    if not examples:
        regulation.require_runnable()
        return regulation
    if regulation.subjects:
        raise table.error("example_limit", "the regulation has limits of its own",
                          "no example limits", "Remove them: cases are judged by the law.")
    return replace(regulation, periods=tuple(replace(p, limits=examples)
                                             for p in regulation.periods))


def _example(table: StrictTable) -> Limit:
    pollutant = table.text("pollutant", MEASURED_VALUE)
    limit = Limit(
        pollutant, table.number("value"), table.text("unit", [MEASURED_VALUE[pollutant][1]]),
        basis="example", op=table.text("op", LIMIT_OPS), role="enforceable", clause="example",
        citation="example", verified=False)
    table.refuse_unknown()
    return limit


def _case(regulation: Regulation, case: StrictTable, defaults: StrictTable,
          zone: ZoneInfo) -> tuple[str, str, str | None]:
    """Run one case; a case with an outcome for each window is run once for each."""
    readings = [_reading(t, defaults.content, zone) for t in case.tables("readings")]
    if not readings:
        raise case.error("readings", "the case has no reading", "at least one")
    passes = pl.DataFrame([values for values, _ in readings], schema=schema(PASSES))
    inspections = _inspections(case, passes, zone)
    law = case.table("law").content if "law" in case.content else {}
    verdicts = case.tables("exceeds")
    outcomes = {"": case.get("expect", (list, dict), "a list of findings")}
    if isinstance(outcomes[""], dict):
        outcomes = case.table("expect").content
    case.text("title")
    case.asked |= {"law", "inspections"}
    case.refuse_unknown()
    complaints = list(_on_verdicts(regulation, passes, verdicts))
    for window, wanted in outcomes.items():
        read = _changed(regulation, law | ({"window": window} if window else {}), case)
        found = findings.find(passes.lazy(), [read], timezone=zone.key, inspections=inspections)
        expected = StrictTable({"expect": wanted}, case.file, case.name, case.lines)
        prefix = f"{window}: " if window else ""
        complaints += [prefix + c for c in _on_findings(found, expected.tables("expect"), zone)]
    return case.content["id"], case.content["title"], "; ".join(complaints) or None


def _reading(table: StrictTable, defaults: dict[str, Any],
             zone: ZoneInfo) -> tuple[dict[str, Any], str]:
    """Turn a reading into a pass; its record is named by ``record``, else by its time."""
    given = StrictTable(defaults | table.content, table.file, table.name, table.lines)
    at = given.text("at")
    record = given.text("record") if "record" in given.content else at
    flags = dict.fromkeys(("is_valid", *(f"is_valid_{p}" for p in VALIDITY)), given.flag("valid"))
    vehicle = f"{given.text('plate')} {given.text('plate_color')}"
    values = {key: _value(given, key) for key in GIVEN if key in given.content}
    given.asked |= {"record", *GIVEN}
    given.refuse_unknown()
    measured = _instant(given, "at", at, zone)
    return {**values, **flags, "record_id": record, "vehicle_id": vehicle, "measured_at": measured,
            "date": measured.astimezone(zone).date()}, record


def _value(table: StrictTable, key: str) -> object:
    """Read a column of a pass in the column's type; measured values may be negative."""
    dtype = GIVEN[key]
    if dtype == pl.Float64 and table.content[key] == _UNKNOWN:
        return None
    if dtype == pl.Float64:
        return float(table.get(key, (int, float), "a number"))
    readers = {pl.Boolean: table.flag, pl.Date: table.day, pl.String: table.text}
    return readers[dtype](key) if dtype in readers else table.whole(key)  # type: ignore[index]


def _instant(table: StrictTable, key: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
    except ValueError as error:
        raise table.error(key, "this is no time", "a local time as 2024-01-15 10:00:00") from error


def _inspections(case: StrictTable, passes: pl.DataFrame, zone: ZoneInfo) -> pl.LazyFrame | None:
    """Return the case's passed inspections, of every vehicle in it."""
    if "inspections" not in case.content:
        return None
    times = [_instant(case, "inspections", t, zone) for t in case.texts("inspections")]
    at = pl.Series("inspected_at", times, pl.Datetime("us", "UTC"))
    return passes.select("vehicle_id").unique().join(at.to_frame(), how="cross").lazy()


def _changed(regulation: Regulation, law: dict[str, Any], case: StrictTable) -> Regulation:
    """Return the regulation with some of its verb's settings changed for a case."""
    settings: Any = regulation.verb.settings
    table = StrictTable(asdict(settings) | law, case.file, case.path("law"), case.lines)
    changed = read_settings(table, regulation.verb.name)
    table.refuse_unknown()
    return replace(regulation, verb=replace(regulation.verb, settings=changed))


def _on_verdicts(regulation: Regulation, passes: pl.DataFrame,
                 wanted: list[StrictTable]) -> Iterator[str]:
    """Complain of readings whose verdict is another than the case says."""
    asked = {p: judge.exceeds(regulation, p) for p in regulation.pollutants}
    if NO_POLLUTANT in regulation.subjects:
        asked[NO_POLLUTANT] = judge.verdict(regulation, NO_POLLUTANT)
    if wanted and len(wanted) != passes.height:
        raise wanted[0].error("", "not one verdict a reading", f"{passes.height} of them")
    rows = passes.select(verdict.alias(p) for p, verdict in asked.items()).rows(named=True)
    for number, (table, got) in enumerate(zip(wanted, rows, strict=False), 1):
        for pollutant, verdict in table.content.items():
            if pollutant not in got or verdict not in _SAID.values():
                raise table.error(pollutant, "this is no verdict",
                                  f"true, false or untested of one of {', '.join(got)}")
            if _SAID[got[pollutant]] != verdict:
                yield f"reading {number}: {pollutant} {_SAID[got[pollutant]]}, not {verdict}"


def _on_findings(found: pl.DataFrame, wanted: list[StrictTable], zone: ZoneInfo) -> Iterator[str]:
    """Complain of findings other than those that the case expects."""
    clock = [pl.col(c).dt.convert_time_zone(zone.key).dt.strftime(_CLOCK) for c in (
        "found_at", "first_measured_at", "second_measured_at")]
    shown = found.with_columns(
        *clock, plate=pl.col("vehicle_id").str.split(" ").list.first(),
        first="first_record_id", second=pl.col("second_record_id").fill_null("none"))
    if found.height != len(wanted):
        told = [f"{r['pollutant']} at {r['found_at']}" for r in shown.rows(named=True)]
        yield f"{len(told)} findings ({', '.join(told) or 'none'}), not {len(wanted)}"
        return
    for number, (got, table) in enumerate(zip(shown.rows(named=True), wanted, strict=True), 1):
        for key, value in table.content.items():
            if key not in EXPECTED:
                raise table.error(key, "a finding has no such value",
                                  f"one of {', '.join(sorted(EXPECTED))}")
            if got[key] != value:
                yield f"finding {number}: {key} is {_told(got[key])}, not {_told(value)}"


def _told(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
