"""A vehicle's story under a regulation: what each record means, or why it was not judged.

Everything is said as notes, keys with facts; `rsd.law.phrases` puts them into words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from operator import ge, gt, le, lt
from typing import Any

import polars as pl

from rsd import reasons
from rsd.columns import MEASURED_VALUE
from rsd.law.decide import firm
from rsd.law.rules import NO_POLLUTANT, QUANTITIES, Bound, Period, Regulation
from rsd.law.verbs import Context, Note

_COMPARE = {">": gt, ">=": ge, "<": lt, "<=": le}
_SCOPE = {"fuel": "fuels", "vehicle_class": "vehicle_classes", "emission_stage": "emission_stages"}


def tell(regulation: Regulation, subject: str, readings: pl.DataFrame,
         context: Context) -> list[Note]:
    """Return what each judged reading of one vehicle means to a regulation's verb.

    ``readings`` and ``context`` are as `rsd.law.decide.decide` asks. A verb that does not tell its
    own story has it told by what it decides: which records prove a finding, what came before and
    after.
    """
    if len(regulation.kinds(subject)) > 1:
        strong = firm(regulation, subject, readings)
        if regulation.how.decide(strong, regulation.verb.settings, context).height:
            weak = readings["exceeds"] & ~strong["exceeds"]
            told = _tell(regulation, strong, context)
            return [Note("only_screens") if is_weak else note
                    for note, is_weak in zip(told, weak, strict=True)]
    return _tell(regulation, readings, context)


def _tell(regulation: Regulation, readings: pl.DataFrame, context: Context) -> list[Note]:
    verb, settings = regulation.how, regulation.verb.settings
    if verb.tell is not None:
        return verb.tell(readings, settings, context)
    proofs = verb.decide(readings, settings, context)
    kind = "clean" if regulation.acquits else (
        "member" if verb.subject == "registration" else "rule")
    first, second = proofs.row(0) if proofs.height else (None, None)
    deciding = first if second is None else second
    instants, count = readings["measured_at"].to_list(), 0
    told = []
    for row, exceeds in enumerate(readings["exceeds"]):
        count += bool(exceeds)
        if row == deciding:
            key = f"{kind}_found"
        elif row == first:
            key = f"{kind}_proof"
        elif deciding is not None and row > deciding:
            key = f"{kind}_after" if exceeds else f"{kind}_within"
        else:
            key = f"{kind}_counts" if exceeds else f"{kind}_within"
        told.append(Note(key, {
            "count": count, "found_at": None if deciding is None else instants[deciding]}))
    return told


def why(regulation: Regulation, subject: str, record: Mapping[str, Any]) -> list[Note]:
    """Return why a record of `PASSES` gives no verdict for a subject; [] where it does.

    The same questions as `rsd.law.judge` asks, one by one, so that each can be named.
    """
    period = _in_force(regulation, record["date"])
    if period is None:
        return [Note("no_period", {"since": min(p.start for p in regulation.periods)})]
    outside = [Note(f"scope_{column}", {"found": record[column]})
               for column, names in _SCOPE.items()
               if (asked := getattr(regulation.scope, names)) and record[column] not in asked]
    if outside:
        return outside
    if subject == NO_POLLUTANT:
        return [Note("registration_unknown")]
    if period.limit(subject) is None:
        return [Note("no_limit")]
    return _not_tested(period, subject, record)


def _in_force(regulation: Regulation, day: date) -> Period | None:
    return next((p for p in regulation.periods
                 if p.start <= day and (p.until is None or day < p.until)), None)


def _not_tested(period: Period, pollutant: str, record: Mapping[str, Any]) -> list[Note]:
    value = record[MEASURED_VALUE[pollutant][0]]
    if value is None:
        return [Note("not_measured")]
    told = [Note("not_finite")] if not math.isfinite(value) else []
    if not record["is_valid"] or not record[f"is_valid_{pollutant}"]:
        told += _invalid(pollutant, record)
    return told + [note for bound in period.validity if (note := _outside(bound, record))]


def _invalid(pollutant: str, record: Mapping[str, Any]) -> list[Note]:
    """Return the reasons that took a validity flag away; where none is known, that it is gone."""
    flags = ("is_valid", f"is_valid_{pollutant}", "pollutants")
    unsets = {r.code: r.unsets for r in reasons.REASONS}
    named = [Note("reason", {"reason": code}) for code in reasons.codes(record["reason_bits"] or 0)
             if unsets[code] in flags]
    return named or [Note("invalid")]


def _outside(bound: Bound, record: Mapping[str, Any]) -> Note | None:
    known = (record[column] for column in QUANTITIES[bound.quantity][0])
    value = next((v for v in known if v is not None), None)
    facts = {"quantity": bound.quantity, "op": bound.op, "value": bound.value, "unit": bound.unit}
    if value is None:
        return Note("bound_unknown", facts) if bound.required else None
    holds = _COMPARE[bound.op](value, bound.value)
    return None if holds else Note("bound", {**facts, "found": value})
