"""The clock of a pass: its instant, its local date and hour."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from rsd.clock import instant, is_ambiguous, to_utc

_DAY_US, _HOUR_US = 86_400_000_000, 3_600_000_000


def clock(timezone: str, span: tuple[datetime, datetime] | None,
          has_hours: bool = True) -> list[pl.Expr]:
    """Return instant, local date and hour, and whether the local time occurs twice."""
    local = pl.col("measured_local")
    first, last = span or (None, None)
    known = pl.col("is_second_hour")  # the dump gave an instant, not a local time
    second = instant(pl.when(known).then(local), timezone, "latest")
    # The remainder is never negative, also before 1970; three times faster than dt.hour().
    clock_us = local.to_physical() % _DAY_US
    hour = clock_us // _HOUR_US
    if not has_hours:  # a date alone was read as midnight
        hour = pl.when(clock_us != 0).then(hour)
    return [
        pl.when(known).then(second).otherwise(to_utc(local, timezone, first, last))
        .alias("measured_at"),
        local.dt.date().alias("date"),
        hour.cast(pl.Int8).alias("hour"),
        (is_ambiguous(local, timezone, first, last) & known.is_null()).alias("_ambiguous"),
    ]
