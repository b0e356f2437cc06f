"""Events of reviews: appended, never changed, each carrying the hash of the one before it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from rsd.columns import REVIEWS, schema
from rsd.review.flow import UNDECIDED
from rsd.review.identity import CASE

GENESIS = "0" * 64
"""What the first event has as its predecessor."""

RENAME = "rename"
"""Action of the event that says that a vehicle got a new pseudonym; it belongs to no finding."""

NOTE = "note"
DECISIONS = ("confirm", "reject")

_SCHEMA = schema(REVIEWS)


def chained(stored: pl.DataFrame, new: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return new events with number, predecessor and hash, to follow the stored ones.

    Args:
        stored: all events, by ``seq``.
        new: what each event says, without ``seq``, ``event_id`` and ``previous_id``.
    """
    seq, previous = (0, GENESIS) if stored.is_empty() else stored.select("seq", "event_id").row(-1)
    rows = []
    for content in new:
        seq += 1
        row = dict.fromkeys(_SCHEMA) | dict(content) | {"seq": seq, "previous_id": previous}
        previous = row["event_id"] = _hash(row)
        rows.append(row)
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def faults(events: pl.DataFrame) -> list[str]:
    """Return what is wrong with the chain of events, a sentence each; [] when nothing is.

    Finds an event that was edited, deleted, inserted or moved; a cut tail only shows beside the
    audit log. One event follows from the one before it, so this walks through them.
    """
    found: list[str] = []
    previous = GENESIS
    for expected, row in enumerate(events.sort("seq").iter_rows(named=True), 1):
        if row["seq"] != expected:
            return [*found, f"event {row['seq']} where number {expected} belongs"]
        if row["previous_id"] != previous:
            found.append(f"event {expected} does not follow the one before it")
        if row["event_id"] != _hash(row):
            found.append(f"event {expected} was edited")
        previous = row["event_id"]
    return found


def _hash(row: Mapping[str, Any]) -> str:
    content = {name: _plain(row[name]) for name in _SCHEMA if name != "event_id"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, dt.date) else value


def with_new_names(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of findings, under the present names of vehicles and of their proofs.

    What was renamed twice has the last name; the stored events keep the old ones. A rename with a
    ``finding_id`` is one of a proof: its record ids hold parts of a pseudonym.
    """
    renames = events.filter(pl.col("action") == RENAME).sort("seq")
    of_findings = events.filter(pl.col("action") != RENAME)
    return of_findings.with_columns(
        pl.col(name).replace(_last_names(renames.filter(kind).select(name, "renamed_to")))
        for name, kind in (("vehicle_id", pl.col("finding_id").is_null()),
                           ("finding_id", pl.col("finding_id").is_not_null())))


def _last_names(renames: pl.DataFrame) -> dict[str, str]:
    last: dict[str, str] = {}
    for old, new in reversed(renames.rows()):
        last[old] = last.get(new, new)
    return last


def signatures(history: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return who has confirmed since a case was taken up: (reviewer, user of the system).

    ``history``: the events of one case, in order.
    """
    found: list[tuple[str, str]] = []
    for row in history:
        if not row["from_state"] == row["to_state"] == "pending_review":
            found = []
        elif row["action"] == "confirm":
            found.append((row["reviewer"], row["entered_by"]))
    return found


def latest(events: pl.DataFrame) -> pl.DataFrame:
    """Return of each case how its review stands: one row a case.

    ``reviewed_id, last_state, last_move`` of the last event; ``was_taken_up`` whether it ever left
    the first state; ``due, deadline_id`` of the last act that changed the state or set a
    day by hand; ``reviewer, reviewed_at, review_reason`` of the decision since it was last taken
    up.
    """
    ordered = events.sort("seq")
    move = pl.col("action") != NOTE
    sets_due = (pl.col("from_state") != pl.col("to_state")) | pl.col("due").is_not_null()
    taken_up = (pl.col("to_state") == "pending_review") & (pl.col("from_state") != "pending_review")
    rounds = ordered.with_columns(taken_up.cast(pl.Int64).cum_sum().over(CASE).alias("round"))
    states = rounds.group_by(CASE, maintain_order=True).agg(
        pl.col("finding_id").last().alias("reviewed_id"),
        pl.col("to_state").last().alias("last_state"),
        pl.col("action").filter(move).last().alias("last_move"),
        pl.col("round").last(),
        (pl.col("to_state") != UNDECIDED[0]).any().alias("was_taken_up"),
        pl.col("due").filter(sets_due).last(),
        pl.col("deadline_id").filter(sets_due).last(),
        pl.col("at").last().alias("last_at"),
        pl.len().cast(pl.Int64).alias("events"),
    )
    decided = rounds.filter(pl.col("action").is_in(DECISIONS)).group_by(*CASE, "round").agg(
        pl.col("reviewer").unique(maintain_order=True).str.join("; "),
        pl.col("at").last().alias("reviewed_at"),
        pl.col("reason").str.join(" / ").alias("review_reason"),
    )
    return states.join(decided, on=[*CASE, "round"], how="left", nulls_equal=True).drop("round")


def earlier_proofs(events: pl.DataFrame, current: pl.DataFrame) -> pl.DataFrame:
    """Return of each case the last state of a proof that is not the current one: one row a case.

    ``current`` has the columns `CASE` and ``finding_id``. Proofs that nobody took up do not count.
    """
    other = events.sort("seq").join(
        current.select(*CASE, pl.col("finding_id").alias("now")), on=CASE, how="inner"
    ).filter((pl.col("finding_id") != pl.col("now")) & (pl.col("to_state") != UNDECIDED[0]))
    return other.group_by(CASE, maintain_order=True).agg(
        pl.col("finding_id").last().alias("earlier_finding_id"),
        pl.col("to_state").last().alias("earlier_state"))


def of_case(events: pl.DataFrame, case: Sequence[str]) -> pl.DataFrame:
    """Return the events of one case (regulation, vehicle, pollutant), by ``seq``."""
    same = [pl.col(n) == v for n, v in zip(CASE, case, strict=True)]
    return events.filter(*same).sort("seq")
