"""A record's time as its format writes it → the clock of the lake's zone."""

from __future__ import annotations

import polars as pl

from rsd import clock
from rsd.intake.formats import Format

_ZONED = ("%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M:%S%.f%#z",
          "%Y-%m-%d %H:%M:%S%.f%#z")


def read_naive(text: pl.Expr, fmt: Format, timezone: str,
               patterns: tuple[str, ...]) -> tuple[pl.Expr, pl.Expr | None]:
    """Return the lake's local time of texts without an offset, null where they are none.

    Args:
        text: the time as it came.
        fmt: its zone and its dial.
        timezone: the lake's zone.
        patterns: shapes that are tried in turn.

    Returns:
        The local time, and which of two equal local times it is; None where nothing tells.
    """
    naive = pl.coalesce(clock.parse_local(text, p) for p in patterns)
    naive = clock.afternoon(naive, fmt.afternoon_hours)
    if not fmt.time_zone:
        return naive, None
    return in_zone(clock.instant(naive, fmt.time_zone, "earliest"), timezone)


def read_any(text: pl.Expr, fmt: Format, timezone: str) -> list[pl.Expr]:
    """Return ``measured_local`` and ``is_second_hour`` of texts with or without an offset."""
    naive, second = read_naive(text, fmt, timezone, fmt.time_formats)
    full = text.str.replace(r"[Zz]$", "+00:00")
    zoned, zoned_second = in_zone(
        pl.coalesce(clock.parse_instant(full, p) for p in _ZONED), timezone)
    zoned = pl.when(clock.is_measured(zoned)).then(zoned)  # else a date beyond the calendar's end
    known = zoned_second if second is None else pl.coalesce(second, zoned_second)
    return [pl.coalesce(naive, zoned).alias("measured_local"), known.alias("is_second_hour")]


def in_zone(instant: pl.Expr, timezone: str) -> tuple[pl.Expr, pl.Expr]:
    """Return the local clock of instants, and whether it is the second of two equal times."""
    local = instant.dt.convert_time_zone(timezone).dt.replace_time_zone(None)
    first = clock.instant(local, timezone, "earliest")
    return local, instant != first
