"""The clock of a dump: local times of a zone, and the hours that a zone skips or repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

_STEP = timedelta(days=7)


def constant_offset(first: datetime, last: datetime, timezone: str) -> timedelta | None:
    """Return the zone's offset from UTC if it is one and the same from a day before to a day after.

    Zones keep a clock change for weeks, so one look a week finds each; spans beyond 50 years give
    None.

    Args:
        first, last: local times without zone, first <= last.
        timezone: IANA name.

    >>> from datetime import datetime
    >>> constant_offset(datetime(2026, 1, 1), datetime(2026, 12, 31), "Asia/Shanghai")
    datetime.timedelta(seconds=28800)
    >>> constant_offset(datetime(2026, 1, 1), datetime(2026, 12, 31), "Europe/London") is None
    True
    """
    zone, day = ZoneInfo(timezone), timedelta(days=1)
    if not (datetime.min + 2 * day < first <= last < datetime.max - 2 * day):
        return None
    if last - first > timedelta(days=50 * 366):
        return None
    at, end = (first - day).replace(tzinfo=UTC), (last + day).replace(tzinfo=UTC)
    offset = at.astimezone(zone).utcoffset()
    while at < end:
        at = min(at + _STEP, end)
        if at.astimezone(zone).utcoffset() != offset:
            return None
    return offset


def may_skip_an_hour(first: datetime | None, last: datetime | None, timezone: str) -> bool:
    """Tell whether some local time in the span may not exist in the zone."""
    if first is None or last is None:
        return False
    return constant_offset(first, last, timezone) is None


def exists(local: pl.Expr, timezone: str) -> pl.Expr:
    """Return whether a local time occurs on the zone's clock."""
    there = local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return there.is_not_null()


def afternoon(local: pl.Expr, hours: tuple[int, ...]) -> pl.Expr:
    """Return the times of a 12-hour dial with these hours read as the afternoon."""
    late = local.dt.hour().is_in(list(hours))
    return pl.when(late).then(local + pl.duration(hours=12)).otherwise(local)
