"""Deadlines as data: which one runs for a finding, and when it ends."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rsd.errors import StorageError, UsageError
from rsd.law.strict_toml import StrictTable
from rsd.review import flow
from rsd.review.calendar import WorkingDays

BUILT_IN = Path(__file__).parent / "deadlines.toml"
OWN_FILE = "deadlines.toml"
"""Name of a city's own file, in the lake."""

FOUND = "found"
UNITS = ("working_days", "days")


@dataclass(frozen=True)
class Period:
    """How long a deadline is when it starts on or after a local date."""

    start: dt.date
    days: int
    unit: str
    citation: str
    verified: bool


@dataclass(frozen=True)
class Deadline:
    """What must be done within how many days of what, by which law."""

    id: str
    regulation: str | None
    jurisdiction: str | None
    starts: str
    purpose: str
    periods: tuple[Period, ...]

    def runs_for(self, regulation: str, jurisdiction: str) -> bool:
        """Whether it runs for findings by a regulation in a lake of a jurisdiction."""
        if self.regulation is not None and self.regulation != regulation:
            return False
        return self.jurisdiction is None or self.jurisdiction == jurisdiction

    def period_on(self, start: dt.date) -> Period | None:
        """Return the period that a start falls in, None before the first."""
        return next((p for p in reversed(self.periods) if p.start <= start), None)


def load(lake: Path | None = None) -> list[Deadline]:
    """Return the built-in deadlines and those of a lake's own file, by id.

    Raises UsageError for a file that says anything unknown, incomplete or contradictory.
    """
    found = {d.id: d for d in _read(BUILT_IN)}
    if lake is not None and (own := lake / OWN_FILE).is_file():
        found |= {d.id: d for d in _read(own)}
    return list(found.values())


def due(deadlines: Iterable[Deadline], regulation: str, jurisdiction: str, starts: str,
        day: dt.date, working_days: WorkingDays) -> tuple[dt.date, str] | None:
    """Return the earliest due day and the deadline's id; None where none runs.

    Raises UsageError where the calendar does not reach.
    """
    running = [(d, p) for d in deadlines
               if d.starts == starts and d.runs_for(regulation, jurisdiction)
               and (p := d.period_on(day)) is not None]
    ends = [(day + dt.timedelta(days=p.days) if p.unit == "days"
             else working_days.after(day, p.days), d.id) for d, p in running]
    return min(ends, default=None)


def _read(path: Path) -> list[Deadline]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError("the deadlines cannot be read", where=str(path),
                           found=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("the deadlines are no TOML", where=str(path), found=str(error)) from None
    table = StrictTable(content, str(path), "")
    found = [_deadline(item) for item in table.tables("deadline")]
    table.refuse_unknown()
    ids = [d.id for d in found]
    if twice := [i for i in ids if ids.count(i) > 1]:
        raise UsageError("a deadline stands twice", where=str(path), found=twice[0],
                         remedy="Remove one of them.")
    return found


def _deadline(item: StrictTable) -> Deadline:
    bound = {key: item.text(key) for key in ("regulation", "jurisdiction") if key in item.content}
    if not bound:
        raise item.error("regulation", "a deadline of no regulation and no jurisdiction",
                         "regulation, jurisdiction, or both", "Add one of them to the file.")
    item.asked |= {"regulation", "jurisdiction"}
    made = Deadline(item.text("id"), bound.get("regulation"), bound.get("jurisdiction"),
                    item.text("starts", (FOUND, *flow.load().states)), item.text("for"),
                    tuple(_period(p) for p in item.tables("period")))
    item.refuse_unknown()
    starts = [p.start for p in made.periods]
    if not starts or sorted(set(starts)) != starts:
        raise item.error("period", "periods missing or out of order", "periods by date, each once")
    return made


def _period(item: StrictTable) -> Period:
    made = Period(item.day("from"), item.whole("days"), item.text("unit", UNITS),
                  item.text("citation"), item.flag("verified"))
    item.refuse_unknown()
    if not made.days:
        raise item.error("days", "a deadline of no day", "1 or more")
    return made
