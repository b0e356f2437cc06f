"""A regulation's verb asked for proofs, and what kind of finding each of them makes."""

from __future__ import annotations

import polars as pl

from rsd.law import judge
from rsd.law.rules import KIND_OF_ROLE, Regulation
from rsd.law.verbs import Context

VIOLATION, SCREENING = KIND_OF_ROLE["enforceable"], KIND_OF_ROLE["screening"]


def decide(regulation: Regulation, subject: str, readings: pl.DataFrame,
           context: Context) -> pl.DataFrame:
    """Return the proofs of one of `Regulation.subjects`, with their ``kind`` behind.

    ``readings``, ``context`` and proofs are as `rsd.law.verbs.base.Decide` says; the readings have
    their ``date`` too. Where a limit only screens in one period and is enforceable in another,
    a violation is proven by readings above enforceable limits alone, whatever was found before
    (`firm`). A vehicle without such a proof may still be found, as a matter of screening.

    Source: what a limit that only screens cannot do, no convicting of its own, it cannot do
    beside another either: a choice of this project, in favour of the vehicle.
    """
    verb, settings = regulation.how, regulation.verb.settings
    proofs = verb.decide(readings, settings, context)
    kinds = regulation.kinds(subject)
    if len(kinds) == 1:
        return proofs.with_columns(kind=pl.lit(next(iter(kinds)), pl.String))
    proven = verb.decide(firm(regulation, subject, readings), settings, context)
    vehicles = readings["vehicle"]
    has_better = vehicles.gather(proofs["first"]).is_in(
        vehicles.gather(proven["first"]).implode())
    return pl.concat([proven.with_columns(kind=pl.lit(VIOLATION)),
                      proofs.filter(~has_better).with_columns(kind=pl.lit(SCREENING))])


def firm(regulation: Regulation, subject: str, readings: pl.DataFrame) -> pl.DataFrame:
    """Return readings of which only those above an enforceable limit exceed."""
    is_enforceable = judge.stated(regulation, subject, "kind") == VIOLATION
    return readings.with_columns(exceeds=pl.col("exceeds") & is_enforceable.fill_null(value=False))
