"""Aggregates for analysts: one row a group, every mean with its interval, every rate with both
of its denominators.

The passes are flow-weighted: fixed sites are no random roads, and the motion window leaves
congestion out (science specification, section 5, item 12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import polars as pl

from rsd.columns import PASSES, VALIDITY
from rsd.errors import UsageError

if TYPE_CHECKING:
    from rsd.sql import Session

QUANTITIES = ("co_pct", "hc_ppm", "no_ppm", "opacity_pct", "co_g_kg", "hc_g_kg", "nox_g_kg")
"""What is averaged unless the caller says otherwise."""

Z_95 = 1.959964
"""Two-sided 95 % quantile of the standard normal distribution."""

VSP_EDGES_KW_T = (0, 3, 6, 9, 12, 15, 18, 22)
"""Edges of the reporting bins (science specification, 1.4): lower edge included, 22 in the last."""

VSP_BINS = ("<0", "[0,3)", "[3,6)", "[6,9)", "[9,12)", "[12,15)", "[15,18)", "[18,22]", ">22")

VALUES_AT_ONCE = 40_000_000
"""Values that one statement may hold for exact quantiles (8 bytes each); choice of this project."""

_STORED = (
    "vehicle_class", "road_segment", "site_id", "line_id", "lane", "date", "hour", "fuel",
    "emission_stage", "emission_standard", "plate_color", "use", "is_local", "convention",
    "nox_source", "derived_from", "is_valid",
)


def _vsp_bin_sql() -> str:
    vsp = "coalesce(vsp_device_kw_t, vsp_kw_t)"
    below = "".join(f" WHEN {vsp} < {edge} THEN '{label}'"
                    for edge, label in zip(VSP_EDGES_KW_T[:-1], VSP_BINS, strict=False))
    return f"CASE{below} WHEN {vsp} <= 22 THEN '{VSP_BINS[-2]}' WHEN {vsp} > 22 THEN '>22' END"


_DERIVED = {
    "month": "strftime(date, '%Y-%m')",
    "year": "CAST(year(date) AS INTEGER)",
    "weekday": "CAST(isodow(date) AS TINYINT)",
    "vsp_bin": _vsp_bin_sql(),
}

GROUPS = (*_STORED, *_DERIVED)
"""What passes can be grouped by; `weekday` is 1 for Monday, `vsp_bin` takes the device's value."""


def aggregate(
    session: Session,
    by: Sequence[str],
    *,
    min_vehicles: int = 0,
    quantities: Sequence[str] | None = None,
    all_records: bool = False,
    where: str | None = None,
) -> pl.DataFrame:
    """Return one row a group: counts, means with intervals, quantiles, exceedance rates.

    by: some of `GROUPS`; none gives one row over everything.
    min_vehicles: a group with fewer distinct vehicles keeps its row and its three counts, and
        loses every measure; totals over groups are not protected by that.
    quantities: Float64 columns of a pass; by default those of `QUANTITIES` that have values.
    all_records: take every value, whatever the validity flags say.
    where: an SQL condition on the passes and on `GROUPS`.

    For a quantity q: `n_q, mean_q, ci_low_q, ci_high_q, p50_q, p95_q` in the unit of q; the
    interval is mean ± 1.959964 SE with vehicles as clusters, null for a single cluster. For a
    pollutant p that is judged: `n_judged_p, n_tested_p, n_exceed_p, rate_valid_p, rate_all_p`.
    Rows are in the order of the groups, nulls last. Raises `UsageError` for an unknown name, and
    what `Session.query` raises for a condition that is none.
    """
    _check(by, GROUPS, "group column")
    real = [c.name for c in PASSES if c.dtype == pl.Float64]
    chosen = QUANTITIES if quantities is None else quantities
    _check(chosen, real, "quantity")

    source = _source_sql(where)
    rows = session.query(f"SELECT count(*) AS n FROM ({source})", deadline_s=None)["n"][0]
    at_once = max(1, VALUES_AT_ONCE // max(1, rows))
    batches = [chosen[i : i + at_once] for i in range(0, len(chosen), at_once)] or [()]
    frames = [session.query(_statement(source, by, batch, session.judged, all_records),
                            deadline_s=None) for batch in batches]
    counts = [*by, "n_records", "n_valid", "n_vehicles"]
    rates = [name for p in session.judged for name in _rate_columns(p)]
    frame = pl.concat(
        [frames[0].select(counts), *(f.drop(counts + rates) for f in frames),
         frames[0].select(rates)], how="horizontal")
    if quantities is None:
        frame = frame.drop([name for q in chosen if not frame[f"n_{q}"].sum()
                            for name in _measure_columns(q)])
    return frame.with_columns(
        pl.when(pl.col("n_vehicles") >= min_vehicles).then(pl.exclude(counts)).name.keep()
    ) if frame.width > len(counts) else frame


def _measure_columns(quantity: str) -> list[str]:
    return [f"{s}_{quantity}" for s in ("n", "mean", "ci_low", "ci_high", "p50", "p95")]


def _rate_columns(pollutant: str) -> list[str]:
    return [f"{s}_{pollutant}"
            for s in ("n_judged", "n_tested", "n_exceed", "rate_valid", "rate_all")]


def _source_sql(where: str | None) -> str:
    """Return SQL for the passes with every group column, and the caller's condition."""
    derived = ", ".join(f"{sql} AS {name}" for name, sql in _DERIVED.items())
    source = f"SELECT *, {derived} FROM judged_passes"
    return source if where is None else f"SELECT * FROM ({source}) WHERE (\n{where}\n)"


def _value_sql(quantity: str, all_records: bool) -> str:
    """Return SQL for a quantity where the record and its pollutant may be used."""
    pollutant = quantity.partition("_")[0]
    # what the file itself reported does not depend on whether ours could be computed
    own = pollutant in VALIDITY and not quantity.endswith("_reported")
    flags = ["is_valid", *([f"is_valid_{pollutant}"] if own else [])]
    return quantity if all_records else f"CASE WHEN {' AND '.join(flags)} THEN {quantity} END"


def _statement(source: str, by: Sequence[str], quantities: Sequence[str], judged: Sequence[str],
               all_records: bool) -> str:
    """Return the statement for some quantities.

    `totals` is a row a group; `clusters` a row a group and vehicle, for the variance alone. With
    e the sum of y - mean over a vehicle's passes, N passes and G vehicles,
    SE = sqrt(G/(G-1) * sum(e**2)) / N (science specification, section 5, item 2 iii). A pass
    without a vehicle is a cluster of its own.
    """
    same = " AND ".join(f"r.{g} IS NOT DISTINCT FROM t.{g}" for g in by) or "true"
    order = ", ".join(f"{_order_sql(g)} NULLS LAST" for g in by) or "1"
    values = [f"{_value_sql(q, all_records)} AS value_{q}" for q in quantities]
    offs = [f"value_{q} - mean_{q}" for q in quantities]
    sums = [f"fsum({off}) AS sum_{q}" for q, off in zip(quantities, offs, strict=True)]
    spreads = [f"count(sum_{q}) AS clusters_{q}, fsum(sum_{q} * sum_{q}) AS squares_{q}"
               for q in quantities]
    return f"""
WITH records AS NOT MATERIALIZED (SELECT {_list(by, ["vehicle_id", "is_valid AS ok"], values,
    [f"{v}_{p}" for p in judged for v in ("applies", "tested", "exceeds")])} FROM ({source})),
totals AS MATERIALIZED (SELECT {_list(by, ["row_number() OVER () AS number",
    "count(*) AS n_records", "count(*) FILTER (ok) AS n_valid"], map(_totals_sql, quantities),
    map(_counts_sql, judged))} FROM records {f"GROUP BY {_list(by)}" if by else ""}),
clusters AS (
    SELECT {_list(["number", "vehicle_id"], sums)} FROM records r JOIN totals t ON {same}
    WHERE vehicle_id IS NOT NULL GROUP BY number, vehicle_id
    UNION ALL SELECT {_list(["number", "NULL"], offs)} FROM records r JOIN totals t ON {same}
    WHERE vehicle_id IS NULL),
spreads AS (SELECT {_list(["number", "count(vehicle_id) AS n_vehicles"], spreads)}
    FROM clusters GROUP BY number)
SELECT {_list(by, ["n_records", "n_valid", "coalesce(n_vehicles, 0) AS n_vehicles"],
    map(_measures_sql, quantities), map(_rates_sql, judged))}
FROM totals LEFT JOIN spreads USING (number) ORDER BY {order}"""


def _totals_sql(q: str) -> str:
    """Kahan sums, so that the order of threads hardly shows; quantiles exact and linear."""
    return (f"count(value_{q}) AS n_{q}, favg(value_{q}) AS mean_{q}, "
            f"quantile_cont(value_{q}, [0.5, 0.95]) AS quantiles_{q}")


def _measures_sql(q: str) -> str:
    k = f"clusters_{q}::DOUBLE"
    half = f"CASE WHEN {k} > 1 THEN {Z_95!r} * sqrt({k} / ({k} - 1) * squares_{q}) / n_{q} END"
    return (f"n_{q}, mean_{q}, mean_{q} - {half} AS ci_low_{q}, mean_{q} + {half} AS ci_high_{q}, "
            f"quantiles_{q}[1] AS p50_{q}, quantiles_{q}[2] AS p95_{q}")


def _counts_sql(p: str) -> str:
    return (f"count(*) FILTER (applies_{p}) AS n_judged_{p}, "
            f"count(*) FILTER (tested_{p}) AS n_tested_{p}, "
            f"count(*) FILTER (exceeds_{p}) AS n_exceed_{p}")


def _rates_sql(p: str) -> str:
    return (f"n_judged_{p}, n_tested_{p}, n_exceed_{p}, "
            f"n_exceed_{p}::DOUBLE / nullif(n_tested_{p}, 0) AS rate_valid_{p}, "
            f"n_exceed_{p}::DOUBLE / nullif(n_judged_{p}, 0) AS rate_all_{p}")


def _order_sql(group: str) -> str:
    """Return what a group column is ordered by: bins by their edges, not by their letters."""
    return f"list_position({list(VSP_BINS)}, vsp_bin)" if group == "vsp_bin" else group


def _list(*parts: Iterable[str]) -> str:
    return ", ".join(item for part in parts for item in part)


def _check(given: Sequence[str], valid: Sequence[str], what: str) -> None:
    """Refuse a name that is unknown or stands twice."""
    for name in given:
        if name not in valid:
            near = get_close_matches(name, valid, 1)
            raise UsageError(f"no such {what}", found=name, expected=f"one of {', '.join(valid)}",
                             remedy=f"Did you mean {near[0]}?" if near else None)
        if list(given).count(name) > 1:
            raise UsageError(f"a {what} stands twice", found=name)
