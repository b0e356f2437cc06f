"""Frames as people like to read them; the machine formats keep the contract's columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from cli.tables import Look

_INTERVAL = " [95 % CI]"
_COUNTS = ("n_records", "n_valid", "n_vehicles")
_CLOCK = "%Y-%m-%d %H:%M:%S"
_ID_SHOWN = 12


def aggregate_view(frame: pl.DataFrame, by: Sequence[str]) -> tuple[pl.DataFrame, Look]:
    """Return an aggregate for people: groups, counts, means with intervals, rates, then the rest.

    >>> row = pl.DataFrame({"n_no": [9], "mean_no": [1.5], "ci_low_no": [1.0], "ci_high_no": [2.0]})
    >>> aggregate_view(row, [])[0].to_dicts()
    [{'mean_no [95 % CI]': '1.5 [1, 2]', 'n_no': 9}]
    """
    quantities = [n.removeprefix("ci_low_") for n in frame.columns if n.startswith("ci_low_")]
    means = [_with_interval(frame, q) for q in quantities]
    rates = [n for kind in ("rate_valid_", "rate_all_") for n in frame.columns
             if n.startswith(kind)]
    first = [*by, *(n for n in _COUNTS if n in frame.columns)]
    told = {*first, *rates, *(f"{s}_{q}" for s in ("mean", "ci_low", "ci_high")
                              for q in quantities)}
    rest = [n for n in frame.columns if n not in told]
    return (frame.select(*first, *means, *rates, *rest),
            Look(right=[mean.name for mean in means]))


def _with_interval(frame: pl.DataFrame, quantity: str) -> pl.Series:
    columns = [frame[f"{s}_{quantity}"] for s in ("mean", "ci_low", "ci_high")]
    cells = [_mean_text(*values) for values in zip(*columns, strict=True)]
    return pl.Series(f"mean_{quantity}{_INTERVAL}", cells, pl.String)


def _mean_text(mean: float | None, low: float | None, high: float | None) -> str | None:
    if mean is None or low is None or high is None:
        return None if mean is None else _digits(mean, 4)
    return f"{_digits(mean, 4)} [{_digits(low, 3)}, {_digits(high, 3)}]"


def _digits(value: float, digits: int) -> str:
    """Return a number with so many significant digits, whole where it has more before the point."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _sentence(finding: dict[str, Any], zone: ZoneInfo, blind: set[str]) -> str:
    proofs = [(finding[f"{n}_record_id"], finding[f"{n}_measured_at"], finding[f"{n}_value"])
              for n in ("first", "second") if finding[f"{n}_record_id"]]
    ids = " and ".join(record for record, _, _ in proofs)
    readings = "; ".join(
        f"{_local(at, zone)}: {value:g} {finding['unit']}"
        f"{', VSP unknown' if record in blind else ''}" for record, at, value in proofs)
    mark = "" if finding["is_verified"] else " (numbers unverified)"
    return (f"{finding['kind']} of {finding['regulation_id']}: {finding['pollutant']}, found at "
            f"{_local(finding['found_at'], zone)}, proven by {ids} ({readings}); "
            f"{finding['clause']}{mark}")


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).strftime(_CLOCK)


_CASE_VIEW = ("state", "standing", "regulation_id", "kind", "pollutant", "plate", "found", "due",
              "is_overdue", "first_value", "second_value", "limit", "unit", "reviewer",
              "review_reason")


def case_view(frame: pl.DataFrame, timezone: str) -> tuple[pl.DataFrame, Look]:
    """Return reviewed findings for people: what is pressing, what was found, who decided."""
    local = pl.col("found_at").dt.convert_time_zone(timezone).dt.strftime(_CLOCK)
    shown = frame.with_columns(
        local.alias("found"), pl.when("is_overdue").then(pl.lit("yes")).alias("is_overdue"))
    # the beginning of an id is enough to name it, as long as it is the only one
    return (shown.select(pl.col("finding_id").str.head(_ID_SHOWN), *_CASE_VIEW).rename(
        {"is_overdue": "overdue"}),
        Look(after=["", f"found: the clock of {timezone}. One finding: rsd review show"]))


def review_view(case: pl.DataFrame, history: pl.DataFrame,
                timezone: str) -> tuple[pl.DataFrame, Look]:
    """Return the events of a review for people, with the finding before them."""
    (row,) = case.iter_rows(named=True)
    zone = ZoneInfo(timezone)
    before = [
        f"Finding {row['finding_id']}",
        f"  {row['state']}, {row['standing']}"
        + (f", due {row['due']}{' (overdue)' if row['is_overdue'] else ''}" if row["due"] else ""),
        f"  {row['regulation_id']}: {row['kind'] or 'finding'} of {row['pollutant']}",
        f"  vehicle {row['vehicle_id']}, plate {row['plate'] or 'unknown'}",
    ]
    if row["found_at"] is not None:
        before += [f"  {_sentence(row, zone, set())}"]
        before += [f"  {_known_of(row, n)}" for n in ("first", "second") if row[f"{n}_record_id"]]
    if row["earlier_finding_id"]:
        before += [f"  Before late data came it was {row['earlier_finding_id']}, "
                   f"{row['earlier_state']}: that decision counts no more."]
    local = pl.col("at").dt.convert_time_zone(timezone).dt.strftime(_CLOCK)
    events = history.select(
        local.alias("local_time"), "action", "from_state", "to_state", "reviewer", "acted_on",
        "due", "reason", pl.col("finding_id").str.head(_ID_SHOWN))
    return events, Look(before=[*before, ""], more_rows="use --rows 0 for all",
                        after=[] if events.height else ["nobody has looked at it yet"])


def _known_of(row: dict[str, Any], place: str) -> str:
    value, limit = row[f"{place}_value"], row["limit"]
    over = f", {value / limit:.2f} times the limit {limit:g}" if value and limit else ""
    return f"{place} record {row[f'{place}_record_id']}: {value} {row['unit']}{over}"
