"""What a regulation says of one record: does it apply, was it tested, does it exceed.

Each question is an expression over the columns of PASSES, in Polars and, word for word, in DuckDB
SQL. A reading is *tested* where the regulation applies, the record and its pollutant are valid,
no bound of the law's validity window is known to fail, and the value is a finite number. It
*exceeds* where it is tested and passes the limit of its date's period; null where not tested,
because "not measured" is not "clean".

The *verdict* on a record is what a verb walks over: of one pollutant whether it exceeds; for a
verb of all pollutants whether any does, and null where none does but one was not tested; for a
verb of registration whether the vehicle stands in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_, ge, gt, le, lt, or_
from typing import Any

import polars as pl

from rsd.columns import MEASURED_VALUE
from rsd.law.rules import (
    NO_POLLUTANT,
    QUANTITIES,
    Bound,
    Group,
    Limit,
    Period,
    Regulation,
)

_COMPARE: dict[str, Callable[[pl.Expr, float], pl.Expr]] = {">": gt, ">=": ge, "<": lt, "<=": le}
_UNKNOWN = "unknown"


def verdict(regulation: Regulation, subject: str) -> pl.Expr:
    """Return the verdict on a record under one of `Regulation.subjects`; null where there is none.

    >>> from rsd.law.rulebook import load
    >>> law, car = load("xm_375_2019_registration"), {"date": ["2021-05-01"], "fuel": "gasoline",
    ...     "emission_stage": 1, "vehicle_class": None, "first_registered": None}
    >>> pl.DataFrame(car).with_columns(pl.col("date").str.to_date()).select(
    ...     verdict(law, "none")).item()
    True
    """
    if subject == NO_POLLUTANT:
        return _registered(regulation)
    if regulation.how.subject == "all pollutants":
        return _exceeds_any(regulation)
    return exceeds(regulation, subject)


def applies(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a pass falls under the regulation's limit by scope and local date. Not null."""
    return _under(regulation, pollutant, _in_force)


def tested(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a pass gives a reading that may be judged. Not null."""
    value = pl.col(MEASURED_VALUE[pollutant][0])
    usable = pl.col("is_valid") & pl.col(f"is_valid_{pollutant}") & value.is_finite()
    return _under(regulation, pollutant, _in_window) & usable.fill_null(False)


def exceeds(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a reading exceeds its limit; null where it was not tested."""
    value = pl.col(MEASURED_VALUE[pollutant][0])
    over = pl.lit(None, dtype=pl.Boolean)
    for period in reversed(regulation.periods):
        limit = period.limit(pollutant)
        if limit is not None:
            compared = _COMPARE[limit.op](value, limit.value)
            over = pl.when(_in_force(period)).then(compared).otherwise(over)
    return pl.when(tested(regulation, pollutant)).then(over)


def stated(regulation: Regulation, subject: str, name: str) -> pl.Expr:
    """Return an attribute of the rule behind a verdict: of the limit, or of the group.

    ``name``: ``kind``, ``value``, ``unit``, ``clause`` or ``verified``; the last asks for every
    number that the verdict rests on: the limit (all limits, for a verb of all pollutants) and the
    validity bounds.
    """
    chosen = pl.lit(None)
    for holds, rule, period in reversed(list(_rules(regulation, subject))):
        said: Any = getattr(rule, name)
        if name == "verified":
            rests_on = period.limits if regulation.how.subject == "all pollutants" else (rule,)
            said = all(x.verified for x in (*rests_on, *period.validity))
        chosen = pl.when(holds).then(pl.lit(said)).otherwise(chosen)
    return chosen


def columns_read(regulation: Regulation, subject: str) -> tuple[str, ...]:
    """Return the columns of a pass that these questions read."""
    names = ["date", "fuel", "vehicle_class", "emission_stage"]
    if subject == NO_POLLUTANT:
        return (*names, "first_registered")
    together = regulation.how.subject == "all pollutants"
    bounds = {b.quantity for period in regulation.periods for b in period.validity}
    names += ["is_valid", *(c for quantity in sorted(bounds) for c in QUANTITIES[quantity][0])]
    for pollutant in regulation.pollutants if together else (subject,):
        names += [f"is_valid_{pollutant}", MEASURED_VALUE[pollutant][0]]
    return tuple(names)


def _rules(regulation: Regulation, subject: str) -> Iterator[tuple[pl.Expr, Limit | Group, Period]]:
    """Yield each limit or group of a subject with when it is the one that speaks."""
    for period in regulation.periods:
        limit = period.limit(subject)
        if limit is not None:
            yield _in_force(period), limit, period
        if subject == NO_POLLUTANT:
            for group in period.groups:
                yield _in_force(period) & _belongs(group), group, period


def _exceeds_any(regulation: Regulation) -> pl.Expr:
    """Whether any pollutant exceeds; null where none does and one with a limit was not tested."""
    asked = {p: applies(regulation, p) for p in regulation.pollutants}
    over = [pl.when(under).then(exceeds(regulation, p)).otherwise(False)
            for p, under in asked.items()]
    return pl.when(pl.any_horizontal(*asked.values())).then(pl.any_horizontal(*over))


def _registered(regulation: Regulation) -> pl.Expr:
    """Whether a pass's vehicle stands in a group; null outside, or where it cannot be said."""
    member = pl.lit(None, dtype=pl.Boolean)
    for period in reversed(regulation.periods):
        groups = reduce(or_, map(_belongs, period.groups), pl.lit(False))
        member = pl.when(_in_force(period)).then(groups).otherwise(member)
    return pl.when(_of_scope(regulation)).then(member)


def _belongs(group: Group) -> pl.Expr:
    """Whether a vehicle stands in a group: false if anything known says no, else null if unknown.
    """
    terms = [_known(column).is_in(names) for column, names in (
        ("fuel", group.fuels), ("vehicle_class", group.vehicle_classes)) if names]
    if group.emission_stages:
        terms.append(pl.col("emission_stage").is_in(group.emission_stages))
    if group.registered_before is not None:
        terms.append(pl.col("first_registered") < group.registered_before)
    return reduce(and_, terms)


def _known(column: str) -> pl.Expr:
    """A text of the registry, null where it says unknown."""
    return pl.when(pl.col(column) != _UNKNOWN).then(pl.col(column))


def _under(regulation: Regulation, pollutant: str,
           holds: Callable[[Period], pl.Expr]) -> pl.Expr:
    """Scope, and ``holds`` in any of the periods that have a limit of the pollutant."""
    periods = [holds(p) for p in regulation.periods if p.limit(pollutant) is not None]
    return (reduce(or_, periods, pl.lit(False)) & _of_scope(regulation)).fill_null(False)


def _of_scope(regulation: Regulation) -> pl.Expr:
    scope = regulation.scope
    asked: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("fuel", scope.fuels), ("vehicle_class", scope.vehicle_classes),
        ("emission_stage", scope.emission_stages))
    terms = [pl.col(column).is_in(names) for column, names in asked if names]
    return reduce(and_, terms, pl.lit(True))


def _in_force(period: Period) -> pl.Expr:
    since = pl.col("date") >= period.start
    return since if period.until is None else since & (pl.col("date") < period.until)


def _in_window(period: Period) -> pl.Expr:
    return reduce(and_, map(_within, period.validity), _in_force(period))


def _within(bound: Bound) -> pl.Expr:
    quantity = pl.coalesce(QUANTITIES[bound.quantity][0])
    return _COMPARE[bound.op](quantity, bound.value).fill_null(not bound.required)


# The same in SQL. Names and choices come from closed lists of this project, never from a user's
# text; numbers are spelled so that DuckDB reads the very same double, not a decimal.


def applies_sql(regulation: Regulation, pollutant: str) -> str:
    """`applies` as a DuckDB expression over the columns of PASSES."""
    return _under_sql(regulation, pollutant, _in_force_sql)


def tested_sql(regulation: Regulation, pollutant: str) -> str:
    """`tested` as a DuckDB expression over the columns of PASSES."""
    value = MEASURED_VALUE[pollutant][0]
    usable = f"coalesce(is_valid AND is_valid_{pollutant} AND isfinite({value}), false)"
    return f"({_under_sql(regulation, pollutant, _in_window_sql)} AND {usable})"


def exceeds_sql(regulation: Regulation, pollutant: str) -> str:
    """`exceeds` as a DuckDB expression over the columns of PASSES."""
    value = MEASURED_VALUE[pollutant][0]
    limits = [(p, p.limit(pollutant)) for p in regulation.periods]
    whens = [f"WHEN {_in_force_sql(p)} THEN {value} {x.op} {_double(x.value)}"
             for p, x in limits if x is not None]
    if not whens:
        return "CAST(NULL AS BOOLEAN)"
    over = f"CASE {' '.join(whens)} END"
    return f"(CASE WHEN {tested_sql(regulation, pollutant)} THEN {over} END)"


def _under_sql(regulation: Regulation, pollutant: str, holds: Callable[[Period], str]) -> str:
    periods = [holds(p) for p in regulation.periods if p.limit(pollutant) is not None]
    terms = [f"({' OR '.join(periods) or 'false'})"]
    scope = regulation.scope
    for column, names in (("fuel", scope.fuels), ("vehicle_class", scope.vehicle_classes)):
        if names:
            terms.append(f"{column} IN ({', '.join(map(_quoted, names))})")
    if scope.emission_stages:
        terms.append(f"emission_stage IN ({', '.join(map(str, scope.emission_stages))})")
    return f"coalesce({' AND '.join(terms)}, false)"


def _in_force_sql(period: Period) -> str:
    since = f"\"date\" >= DATE '{period.start}'"
    return f"({since})" if period.until is None else (
        f"({since} AND \"date\" < DATE '{period.until}')")


def _in_window_sql(period: Period) -> str:
    return f"({' AND '.join([_in_force_sql(period), *map(_within_sql, period.validity)])})"


def _within_sql(bound: Bound) -> str:
    quantity = f"coalesce({', '.join(QUANTITIES[bound.quantity][0])})"
    unknown = str(not bound.required).lower()
    return f"coalesce({quantity} {bound.op} {_double(bound.value)}, {unknown})"


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
