"""Local clocks of a zone: to instants, and the hours that a zone skips or repeats."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from rsd.errors import UsageError

USUAL_SPAN = (datetime(2015, 1, 1), datetime(2035, 12, 31))
"""Local times that most records lie in, for records whose span is not known beforehand."""
_TIMES = (datetime(1950, 1, 1), datetime(2199, 12, 31, 23, 59, 59, 999_999))
_DATES = (date(1, 1, 1), date(9999, 12, 31))
_MAX_SPAN = timedelta(days=50 * 366)


def to_utc(
    local: pl.Expr, timezone: str, first: datetime | None = None, last: datetime | None = None
) -> pl.Expr:
    """Return the UTC instant of a local clock (Datetime without zone) in an IANA zone.

    Where the zone keeps one offset from ``first`` to ``last`` (local; `USUAL_SPAN` where not given)
    a constant is subtracted from the times in between. Else a time that occurs twice is the earlier
    instant, one that never occurs is null. Right for any time; the span only makes it fast.
    """
    span = (first, last) if first is not None and last is not None else USUAL_SPAN
    offset = constant_offset(timezone, *span)
    if offset is None:
        return instant(local, timezone, "earliest")
    short = (local - offset).dt.replace_time_zone("UTC")
    long = instant(_outside(local, span), timezone, "earliest")
    return pl.when(local.is_between(*span)).then(short).otherwise(long)


def is_ambiguous(
    local: pl.Expr, timezone: str, first: datetime | None = None, last: datetime | None = None
) -> pl.Expr:
    """Return whether a local time occurs twice in its zone; arguments as `to_utc`."""
    span = (first, last) if first is not None and last is not None else USUAL_SPAN
    if constant_offset(timezone, *span) is not None:
        local = _outside(local, span)
    return instant(local, timezone, "earliest") != instant(local, timezone, "latest")


def _outside(local: pl.Expr, span: tuple[datetime, datetime]) -> pl.Expr:
    """Return the times outside a span, null inside: the slow way costs nothing for a null."""
    return pl.when(~local.is_between(*span)).then(local)


def instant(local: pl.Expr, timezone: str, ambiguous: Any) -> pl.Expr:
    """Return UTC instants; of two for one local time the `earliest` or `latest`."""
    zoned = local.dt.replace_time_zone(timezone, ambiguous=ambiguous, non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


@lru_cache(64)
def constant_offset(timezone: str, first: datetime, last: datetime) -> timedelta | None:
    """Return the zone's offset from UTC if it is the same on each day of the span, else None.

    None too for a span of more than fifty years. Raises UsageError for a zone that is not known.

    >>> constant_offset("Asia/Shanghai", datetime(2017, 7, 27), datetime(2026, 1, 1))
    datetime.timedelta(seconds=28800)
    """
    zone = zone_of(timezone)
    if last - first > _MAX_SPAN or first.year <= 1 or last.year >= 9999:
        return None
    start = first.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    days = (start + timedelta(days=n) for n in range((last - start).days + 3))
    offsets = {day.replace(tzinfo=zone).utcoffset() for day in days}
    return offsets.pop() if len(offsets) == 1 else None


def zone_of(timezone: str) -> ZoneInfo:
    """Return the zone of an IANA name; UsageError where there is none."""
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError("unknown time zone", found=repr(timezone),
                         expected="an IANA name such as Asia/Shanghai") from None  # fmt: skip


def may_skip_an_hour(timezone: str, first: datetime | None, last: datetime | None) -> bool:
    """Say whether some local time of the span may not exist in the zone."""
    if first is None or last is None:
        return False
    inside = USUAL_SPAN[0] <= first and last <= USUAL_SPAN[1]
    if inside and constant_offset(timezone, *USUAL_SPAN) is not None:
        return False
    return constant_offset(timezone, first, last) is None


_FIELD = {"%Y": "[0-9]{4}", "%m": "[0-9]{2}", "%d": "[0-9]{2}", "%H": "[0-9]{2}",
          "%I": "(?:0?[1-9]|1[0-2])", "%p": "[AaPp][Mm]",
          "%M": "[0-9]{2}", "%S": "[0-5][0-9]", "%.f": "[.][0-9]{1,9}",
          "%#z": "[+-][0-9]{2}:?[0-9]{2}"}


def parse_local(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return the local times of texts that have a pattern's shape, null for all others.

    Every digit must be there: a time that lost one would still be a time, but another one. With
    slashes, as spreadsheets write them, leading zeros may be missing. Years before 1950 and from
    2200 on are no times of measurements.
    """
    parsed = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return pl.when(text.str.contains(_shape(pattern)) & is_measured(parsed)).then(parsed)


def is_measured(local: pl.Expr) -> pl.Expr:
    """Return whether local times lie in the years 1950 to 2199: no measurement is elsewhere."""
    return local.is_between(*_TIMES)


def parse_instant(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return the instants (UTC) of texts with an offset, null for texts of another shape."""
    parsed = text.str.to_datetime(pattern, time_unit="us", strict=False)
    return pl.when(text.str.contains(_shape(pattern))).then(parsed.dt.convert_time_zone("UTC"))


def parse_date(text: pl.Expr | pl.Series) -> pl.Expr:
    """Return the dates of texts like 2019-05-31, null for all others."""
    cells = pl.lit(text) if isinstance(text, pl.Series) else text
    parsed = cells.str.to_date("%Y-%m-%d", strict=False)
    is_date = cells.str.contains(_shape("%Y-%m-%d")) & parsed.is_between(*_DATES)
    return pl.when(is_date).then(parsed)


@cache
def _shape(pattern: str) -> str:
    short = "/" in pattern
    shape = pattern
    for code, digits in _FIELD.items():
        shape = shape.replace(code, digits.replace("{2}", "{1,2}") if short else digits)
    return f"^{shape}$"


def exists(local: pl.Expr, timezone: str) -> pl.Expr:
    """Return whether a local time occurs on the zone's clock."""
    there = local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    return there.is_not_null()


def afternoon(local: pl.Expr, hours: tuple[int, ...]) -> pl.Expr:
    """Return the times of a 12-hour dial with these hours read as the afternoon."""
    if not hours:
        return local
    late = local.dt.hour().is_in(list(hours))
    return pl.when(late).then(local + pl.duration(hours=12)).otherwise(local)
