"""Reviews as people read them: the list of cases with their deadlines, and one case's history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd import audit
from rsd.errors import IntegrityError, PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.masking import mask_plates_in_text
from rsd.privacy import mask_plate_expr
from rsd.review import cases as review_cases
from rsd.review import deadlines, events, flow
from rsd.review.calendar import WorkingDays
from rsd.review.identity import CASE

ACTION = "review"
"""Name of the audit's records of acts."""

GIVEN_UP = "review given up"
"""Name of those that say which acts, by their last events' ids, never came to be."""

SHORTEST_PREFIX = 4
"""Characters of a finding's id that must be given at least."""

_FIRST = ("finding_id", "state", "standing", "regulation_id", "kind", "pollutant", "vehicle_id",
          "plate", "plate_color", "found_at", "due", "deadline_id", "is_overdue", "reviewer",
          "reviewed_at", "review_reason", "earlier_finding_id", "earlier_state")
_HISTORY = ("seq", "at", "finding_id", "action", "from_state", "to_state", "reviewer",
            "entered_by", "acted_on", "due", "deadline_id", "reason", "findings_version",
            "event_id")


def require_right(lake: Lake) -> None:
    """Raise PolicyRefusal for somebody who may not read ``restricted/``."""
    if not lake.may_read_restricted:
        raise PolicyRefusal("reviews hold names and reasons", where=str(lake.path / "restricted"),
                            found="no right to read it", remedy="Ask who holds the right.")


def reviews_of(lake: Lake) -> pl.DataFrame:
    """Return all events of reviews, by number.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
        IntegrityError: an event was changed, deleted or inserted.
    """
    require_right(lake)
    found = lake.table("reviews").scan().collect().sort("seq")
    if faults := events.faults(found):
        raise IntegrityError("the events of reviews were changed", where="reviews",
                             found=faults[0],
                             remedy="Restore the table from a backup; see rsd review verify.")
    return found


def cases_of(lake: Lake) -> pl.DataFrame:
    """Return every finding and every reviewed case, as `rsd.review.cases.cases` says.

    Errors as `reviews_of`.
    """
    view = lake.pinned()
    return review_cases.cases(view.table("findings").scan().collect(), reviews_of(view))


def working_days(lake: Lake) -> WorkingDays:
    """Return the lake's calendar to count with; it may hold no day."""
    return WorkingDays(lake.table("calendar").scan().collect())


def list_cases(lake: Lake, *, states: Sequence[str] = (), standings: Sequence[str] = (),
               regulation: str | None = None, pollutant: str | None = None,
               vehicles: Sequence[str] | None = None, overdue: bool = False,
               on: dt.date | None = None, show_plates: bool = False,
               reason: str | None = None) -> tuple[pl.DataFrame, list[str]]:
    """Return the cases with their deadlines, most pressing first, and remarks.

    Args:
        lake: the lake.
        states, standings: only these; all where none is given.
        regulation, pollutant, vehicles: only of these.
        overdue: only cases whose last day is before ``on``.
        on: the local day that is asked about, today by default.
        show_plates: plates in clear, which is audited with the ``reason``.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``; plates without a reason where the
            lake wants one.
        UsageError: with ``overdue``, a last day beyond the calendar, or no calendar.
    """
    require_right(lake)
    if show_plates:
        trail.require_reason(lake, reason)
    view = lake.pinned()
    rows = _filtered(cases_of(view), states, standings, regulation, pollutant, vehicles)
    day = on or today(view)
    rows, beyond = with_review_deadlines(view, rows)
    if overdue and beyond is not None:
        raise beyond
    rows = rows.with_columns((pl.col("due") < day).fill_null(False).alias("is_overdue"))
    rows = rows.filter("is_overdue") if overdue else rows
    rank = pl.col("standing").replace_strict(
        flow.STANDINGS, range(len(flow.STANDINGS)), return_dtype=pl.Int64)
    rows = rows.sort(rank, "due", "found_at", *CASE, descending=[True] + [False] * 5,
                     nulls_last=True)
    named = with_plates(view, rows, show_plates)
    trail.record(view, "show reviews", {"rows": rows.height, "plates": show_plates,
                                        "plates_shown": rows.height if show_plates else 0},
                 reason=reason)
    more = [n for n in named.columns if n not in _FIRST and n != "last_at"]
    return named.select(*_FIRST, *more), [] if beyond is None else [f"no due day: {beyond}"]


def _filtered(rows: pl.DataFrame, states: Sequence[str], standings: Sequence[str],
              regulation: str | None, pollutant: str | None,
              vehicles: Sequence[str] | None) -> pl.DataFrame:
    wanted: dict[str, Sequence[str]] = {
        "state": states, "standing": standings, "regulation_id": [regulation] if regulation else (),
        "pollutant": [pollutant] if pollutant else ()}
    for column, values in wanted.items():
        if values:
            rows = rows.filter(pl.col(column).is_in(list(values)))
    return rows if vehicles is None else rows.filter(pl.col("vehicle_id").is_in(list(vehicles)))


def with_review_deadlines(lake: Lake, rows: pl.DataFrame) -> tuple[pl.DataFrame, UsageError | None]:
    """Fill ``due`` of cases that nobody has decided yet, and return what the calendar lacks."""
    rules = deadlines.load(lake.path)
    jurisdiction, calendar = str(lake.settings["jurisdiction"]), working_days(lake)
    local = pl.col("found_at").dt.convert_time_zone(lake.timezone).dt.date()
    waits = pl.col("state").is_in(flow.UNDECIDED) & pl.col("due").is_null()
    open_ = rows.filter(waits).select("regulation_id", local.alias("day")).unique().drop_nulls()
    found, beyond = [], None
    for regulation, day in open_.sort("day", "regulation_id").iter_rows():
        try:
            end = deadlines.due(rules, regulation, jurisdiction, deadlines.FOUND, day, calendar)
        except UsageError as error:
            beyond = beyond or error
            continue
        if end is not None:
            found.append((regulation, day, *end))
    ends = pl.DataFrame(found, orient="row", schema={
        "regulation_id": pl.String, "day": pl.Date, "_due": pl.Date, "_id": pl.String})
    joined = rows.with_columns(local.alias("day")).join(
        ends, on=["regulation_id", "day"], how="left", maintain_order="left")
    filled = joined.with_columns(
        pl.when(waits).then(pl.col("_due")).otherwise(pl.col("due")).alias("due"),
        pl.when(waits).then(pl.col("_id")).otherwise(pl.col("deadline_id")).alias("deadline_id"))
    return filled.drop("day", "_due", "_id"), beyond


def with_plates(lake: Lake, rows: pl.DataFrame, show_plates: bool) -> pl.DataFrame:
    """Add ``plate``, masked unless it may be shown, and mask what looks like one in reasons."""
    plate = pl.col("plate") if show_plates else mask_plate_expr("plate")
    known = lake.table("vehicles").scan().select("vehicle_id", plate).collect()
    named = rows.join(known.unique("vehicle_id", keep="first", maintain_order=True),
                      on="vehicle_id", how="left", maintain_order="left")
    return named if show_plates else masked(named, "reviewer", "review_reason")


def masked(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Return rows in whose free texts nothing looks like a plate."""
    return rows.with_columns(
        pl.Series(c, [None if t is None else mask_plates_in_text(t) for t in rows[c]], pl.String)
        for c in columns)


def today(lake: Lake) -> dt.date:
    """Return the day on the lake's clock."""
    return dt.datetime.now(ZoneInfo(lake.timezone)).date()


def find_case(rows: pl.DataFrame, wanted: str) -> dict[str, object]:
    """Return the case whose finding has an id, or the only one whose id begins so.

    Raises:
        UsageError: no such id, more than one, a prefix too short, or the id of a proof that stands
            no more because the data changed.
    """
    text = wanted.strip().lower()
    if len(text) < SHORTEST_PREFIX:
        raise UsageError("too short for a finding's id", found=repr(wanted),
                         expected=f"{SHORTEST_PREFIX} characters or more")
    found = rows.filter(pl.col("finding_id").str.starts_with(text))
    if found.height == 1:
        return found.row(0, named=True)
    if found.height > 1:
        raise UsageError("several findings begin so", found=repr(wanted),
                         expected="one of " + ", ".join(found["finding_id"].head(5).sort()),
                         remedy="Give more of the id.")
    earlier = rows.filter(pl.col("earlier_finding_id").str.starts_with(text))
    if not earlier.is_empty():
        raise UsageError("the finding has changed since it was reviewed", found=repr(wanted),
                         expected=f"{earlier['finding_id'][0]}, which stands now",
                         remedy="Look at it with rsd review show, and review it anew.")
    raise UsageError("no such finding", found=repr(wanted),
                     expected="an id, or its beginning, from rsd review list",
                     remedy="If late data changed the finding, it has another id now.")


def pick(lake: Lake, vehicles: Sequence[str], regulation: str | None,
         pollutant: str | None) -> str:
    """Return the id of the one case of a vehicle, narrowed by regulation and pollutant.

    Raises:
        UsageError: none, or several: the message names them.
    """
    rows = _filtered(cases_of(lake), (), (), regulation, pollutant, vehicles)
    if rows.height == 1:
        return str(rows["finding_id"][0])
    told = [f"{i} ({r}, {p})" for i, r, p in
            rows.select("finding_id", "regulation_id", "pollutant").sort("finding_id").rows()]
    raise UsageError("no finding of the vehicle" if not told else "several findings of the vehicle",
                     expected=f"one of {', '.join(told)}" if told else None,
                     remedy="Give --regulation and --pollutant." if told
                     else "See rsd review list.")


def show_case(lake: Lake, wanted: str, *, show_plates: bool = False,
              reason: str | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return one case as a row of `list_cases`, and its events of all proofs, the first one first.

    Errors as `list_cases` and `find_case`.
    """
    require_right(lake)
    if show_plates:
        trail.require_reason(lake, reason)
    view = lake.pinned()
    row = find_case(cases_of(view), wanted)
    listed, _ = list_cases(view, regulation=str(row["regulation_id"]),
                           pollutant=str(row["pollutant"]), vehicles=[str(row["vehicle_id"])],
                           show_plates=show_plates, reason=reason)
    history = events.of_case(events.with_new_names(reviews_of(view)), [str(row[c]) for c in CASE])
    shown = history.select(_HISTORY)
    return listed, shown if show_plates else masked(shown, "reviewer", "reason")


def deadlines_of(lake: Lake) -> pl.DataFrame:
    """Return the deadlines that are known, one row a period, and whether they run in this lake.

    Raises UsageError for a file of the lake that says anything unknown or incomplete.
    """
    jurisdiction = str(lake.settings["jurisdiction"])
    rows = [(d.id, d.regulation, d.jurisdiction, d.starts, d.purpose, p.start, p.days, p.unit,
             (d.regulation is None or d.regulation in lake.regulations)
             and d.jurisdiction in (None, jurisdiction), p.verified, p.citation)
            for d in deadlines.load(lake.path) for p in d.periods]
    texts = dict.fromkeys(("deadline_id", "regulation_id", "jurisdiction", "starts", "purpose"),
                          pl.String)
    return pl.DataFrame(rows, orient="row", schema={
        **texts, "from": pl.Date, "days": pl.Int64, "unit": pl.String, "runs_here": pl.Boolean,
        "is_verified": pl.Boolean, "citation": pl.String})


def problems(lake: Lake) -> list[str]:
    """Return what is wrong with the events, a sentence each; [] when nothing is.

    The chain shows edits; that the tail was cut off shows beside the audit log, which knows the
    last event of each act.
    """
    require_right(lake)
    stored = lake.table("reviews").scan().collect()
    found = events.faults(stored)
    found += [f"record {record['seq']} of the audit speaks of event "
              f"{record['details'].get('last')}, which is not stored: the table was cut, or the "
              "act was interrupted" for record in unstored(lake)]
    return found


def unstored(lake: Lake) -> list[dict[str, Any]]:
    """Return the audit's records of acts whose events are not stored, and that nobody gave up.

    An act is audited before it is committed: where the commit fails, a second record gives it up.
    """
    stored = lake.table("reviews").scan().select("event_id").collect()
    records = list(audit.records(audit.audit_path(lake.path)))
    known = {*stored["event_id"], *(head for record in records if record["action"] == GIVEN_UP
                                    for head in record["details"].get("heads", ()))}
    return [record for record in records
            if record["action"] == ACTION and record["details"].get("head") not in known]
