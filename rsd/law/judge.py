"""What a regulation says of one reading: does it apply, was it tested, does it exceed.

Each question is an expression over the columns of PASSES, in Polars and, word for word, in DuckDB
SQL. A reading is *tested* where the regulation applies, the record and its pollutant are valid,
no bound of the law's validity window is known to fail, and the value is a finite number. It
*exceeds* where it is tested and passes the limit of its date's period; null where not tested,
because "not measured" is not "clean".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_, ge, gt, le, lt, or_

import polars as pl

from rsd.columns import MEASURED_VALUE
from rsd.law.rulebook import QUANTITIES, Bound, Period, Regulation

_COMPARE: dict[str, Callable[[pl.Expr, float], pl.Expr]] = {">": gt, ">=": ge, "<": lt, "<=": le}


def applies(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a pass falls under the regulation's limit by fuel, class and local date. Not null."""
    return _under(regulation, pollutant, _in_force)


def tested(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a pass gives a reading that may be judged. Not null."""
    value = pl.col(MEASURED_VALUE[pollutant][0])
    usable = pl.col("is_valid") & pl.col(f"is_valid_{pollutant}") & value.is_finite()
    return _under(regulation, pollutant, _in_window) & usable.fill_null(False)


def exceeds(regulation: Regulation, pollutant: str) -> pl.Expr:
    """Whether a reading exceeds its limit; null where it was not tested."""
    value = pl.col(MEASURED_VALUE[pollutant][0])
    verdict = pl.lit(None, dtype=pl.Boolean)
    for period in reversed(regulation.periods):
        limit = period.limit(pollutant)
        if limit is not None:
            over = _COMPARE[limit.op](value, limit.value)
            verdict = pl.when(_in_force(period)).then(over).otherwise(verdict)
    return pl.when(tested(regulation, pollutant)).then(verdict)


def by_period(regulation: Regulation, pollutant: str,
              pick: Callable[[Period], float | str | bool | None]) -> pl.Expr:
    """Return what ``pick`` takes from the period of a pass's date; null outside all periods."""
    chosen = pl.lit(None)
    for period in reversed(regulation.periods):
        if period.limit(pollutant) is not None:
            chosen = pl.when(_in_force(period)).then(pl.lit(pick(period))).otherwise(chosen)
    return chosen


def columns_read(regulation: Regulation, pollutant: str) -> tuple[str, ...]:
    """Return the columns of a pass that these questions read."""
    bounds = {b.quantity for period in regulation.periods for b in period.validity}
    names = ["date", "fuel", "vehicle_class", "is_valid", f"is_valid_{pollutant}"]
    names += [column for quantity in sorted(bounds) for column in QUANTITIES[quantity][0]]
    return (*names, MEASURED_VALUE[pollutant][0])


def _under(regulation: Regulation, pollutant: str,
           holds: Callable[[Period], pl.Expr]) -> pl.Expr:
    """Scope, and ``holds`` in any of the periods that have a limit of the pollutant."""
    periods = [holds(p) for p in regulation.periods if p.limit(pollutant) is not None]
    terms = [reduce(or_, periods, pl.lit(False))]
    if regulation.fuels:
        terms.append(pl.col("fuel").is_in(regulation.fuels))
    if regulation.vehicle_classes:
        terms.append(pl.col("vehicle_class").is_in(regulation.vehicle_classes))
    return reduce(and_, terms).fill_null(False)


def _in_force(period: Period) -> pl.Expr:
    since = pl.col("date") >= period.start
    return since if period.until is None else since & (pl.col("date") < period.until)


def _in_window(period: Period) -> pl.Expr:
    return reduce(and_, map(_within, period.validity), _in_force(period))


def _within(bound: Bound) -> pl.Expr:
    quantity = pl.coalesce(QUANTITIES[bound.quantity][0])
    return _COMPARE[bound.op](quantity, bound.value).fill_null(True)


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
    verdict = f"CASE {' '.join(whens)} END"
    return f"(CASE WHEN {tested_sql(regulation, pollutant)} THEN {verdict} END)"


def _under_sql(regulation: Regulation, pollutant: str, holds: Callable[[Period], str]) -> str:
    periods = [holds(p) for p in regulation.periods if p.limit(pollutant) is not None]
    terms = [f"({' OR '.join(periods) or 'false'})"]
    scope = (("fuel", regulation.fuels), ("vehicle_class", regulation.vehicle_classes))
    for column, names in scope:
        if names:
            terms.append(f"{column} IN ({', '.join(map(_quoted, names))})")
    return f"coalesce({' AND '.join(terms)}, false)"


def _in_force_sql(period: Period) -> str:
    since = f"\"date\" >= DATE '{period.start}'"
    return f"({since})" if period.until is None else (
        f"({since} AND \"date\" < DATE '{period.until}')")


def _in_window_sql(period: Period) -> str:
    return f"({' AND '.join([_in_force_sql(period), *map(_within_sql, period.validity)])})"


def _within_sql(bound: Bound) -> str:
    quantity = f"coalesce({', '.join(QUANTITIES[bound.quantity][0])})"
    return f"coalesce({quantity} {bound.op} {_double(bound.value)}, true)"


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
