"""Findings beside their reviews: how each case stands now."""

from __future__ import annotations

import polars as pl

from rsd.review import events
from rsd.review.flow import CHANGED, CURRENT, UNDECIDED, WITHDRAWN
from rsd.review.identity import CASE, finding_ids

CLOSED_UNDONE = "withdraw"
"""The act that puts away a finding which late data undid."""

REFERABLE = ("confirmed", "notified")
"""States of a finding that is confirmed and not yet handed over."""

HANDED_OVER = ("referred", "retested_fail")

CASE_COLUMNS = ("finding_id", "state", "standing", "due", "deadline_id", "reviewer", "reviewed_at",
                "review_reason", "earlier_finding_id", "earlier_state", "last_at")
"""What a case adds to a finding."""


def cases(findings: pl.DataFrame, reviews: pl.DataFrame) -> pl.DataFrame:
    """Return one row a case: every finding of now, and every reviewed one that stands no more.

    Args:
        findings: the findings as they stand.
        reviews: the events, renames among them.

    Returns:
        The columns of ``findings`` and `CASE_COLUMNS`. A state belongs to one proof: where the
        last event of a case speaks of another, the finding is ``auto_flagged`` again and
        ``changed since review``. Of a withdrawn finding only the key is known.
    """
    known = events.with_new_names(reviews)
    current = findings.with_columns(finding_ids(findings))
    now = current.join(events.latest(known), on=CASE, how="left").join(
        events.earlier_proofs(known, current), on=CASE, how="left")
    # what was put away because it was undone, and stands again, was never decided upon
    holds = ((pl.col("finding_id") == pl.col("reviewed_id"))
             & (pl.col("last_move").fill_null("") != CLOSED_UNDONE)).fill_null(False)
    stood = pl.when(holds).then(pl.col("last_state")).otherwise(pl.lit(UNDECIDED[0]))
    is_back = (~holds & pl.col("was_taken_up")).fill_null(False)
    is_changed = is_back | (stood.is_in(UNDECIDED) & pl.col("earlier_state").is_not_null())
    standing = pl.when(is_changed).then(pl.lit(CHANGED)).otherwise(pl.lit(CURRENT))
    mine = [pl.when(holds).then(pl.col(n)).alias(n)
            for n in ("due", "deadline_id", "reviewer", "reviewed_at", "review_reason")]
    back = [pl.coalesce(c, pl.when(is_back).then(pl.col(of))).alias(c)
            for c, of in (("earlier_finding_id", "reviewed_id"), ("earlier_state", "last_state"))]
    standing_now = now.with_columns(stood.alias("state"), standing.alias("standing"), *mine, *back)
    names = [*findings.columns, *CASE_COLUMNS]
    gone = _withdrawn(known, current)
    undone = gone.select(n for n in names if n in gone.columns)
    return pl.concat([standing_now.select(names), undone], how="diagonal").select(names)


def _withdrawn(known: pl.DataFrame, current: pl.DataFrame) -> pl.DataFrame:
    """Return the reviewed cases whose finding stands no more."""
    gone = events.latest(known).join(current, on=CASE, how="anti")
    first = known.sort("seq").group_by(CASE, maintain_order=True).agg(
        pl.col("first_record_id", "second_record_id", "regulation_sha256").last())
    return gone.join(first, on=CASE, how="left").rename(
        {"reviewed_id": "finding_id", "last_state": "state"}
    ).with_columns(pl.lit(WITHDRAWN).alias("standing"))


def referable(rows: pl.DataFrame, *, again: bool = False) -> pl.DataFrame:
    """Return the cases that a referral may hold: confirmed by a person, and unchanged since.

    ``again`` adds those that were handed over before. A finding of the kind ``clean`` never is.
    """
    states = REFERABLE + HANDED_OVER if again else REFERABLE
    return rows.filter(pl.col("state").is_in(states), pl.col("standing") == CURRENT,
                       pl.col("kind") != "clean")
