"""Dates, times and zones of arbitrary texts, against the standard library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from fuzz.draw import Draw
from rsd import clock
from rsd.intake.formats import formats

ZONES = ("Asia/Shanghai", "Europe/London", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC",
         "Asia/Kathmandu", "America/New_York", "Africa/Casablanca", "Pacific/Apia")
INSTANTS = ("%Y-%m-%dT%H:%M:%S%#z", "%Y-%m-%d %H:%M:%S%#z", "%Y-%m-%dT%H:%M:%S%.f%#z",
            "%Y-%m-%d %H:%M:%S%.f%#z")
WORDS = tuple(w.encode() for w in (
    "2024-05-01 10:00:00", "2024-05-01T10:00:00", "2024-02-29", "2023-02-29", "2100-02-29",
    "0000-01-01", "9999-12-31", "1950-01-01 00:00:00", "2199-12-31 23:59:59", "24:00:00",
    ":60", "+08:00", "-0000", "+2359", "+24:00", "+08:60", "Z", ".5", ".999999999", ".1234567",
    "１",
    "٣", " ", "\u3000", "\0", "\n", "5/1/2024 1:02:03", "12/31/2024 11:59:59 PM", "AM", "-", "/"))
_FIELDS = {"%Y": "(?P<Y>[0-9]{4})", "%m": "(?P<m>[0-9]{2})", "%d": "(?P<d>[0-9]{2})",
           "%H": "(?P<H>[0-9]{2})", "%I": "(?P<I>[0-9]{2})", "%M": "(?P<M>[0-9]{2})",
           "%S": "(?P<S>[0-9]{2})", "%p": "(?P<p>[AaPp][Mm])", "%.f": "[.](?P<f>[0-9]{1,9})",
           "%#z": "(?P<z>[+-][0-9]{2}:?[0-9]{2})"}
_YEARS = range(1950, 2200)
_FIRST, _STEP = datetime(1975, 1, 1), timedelta(seconds=450)


def patterns() -> tuple[str, ...]:
    """Return the time patterns of every format."""
    every = (p for fmt in formats().values() for p in fmt.time_formats)
    return tuple(dict.fromkeys(every))


def seeds() -> Iterator[bytes]:
    """A good text of every pattern, and texts that are nearly good."""
    noon = datetime(2024, 2, 29, 11, 59, 58, 999_999)
    for k, pattern in enumerate(patterns()):
        plain = pattern.replace("%.f", ".%f").replace("%#z", "+08:00")
        yield bytes([k]) + noon.strftime(plain).encode()
        yield bytes([k]) + noon.strftime(plain).replace("0", "").encode()
    for k, word in enumerate(WORDS):
        yield bytes([k]) + word
        yield bytes([k]) + b"2024-05-01 10:00:00" + word
        yield bytes([k]) + word[:10] + b"T10:00:00.25+08:00"
    for zone in range(len(ZONES)):
        yield bytes([zone]) + bytes(range(64))


def check(data: bytes) -> None:
    """Texts parse as the standard library parses them; so do the clocks of zones."""
    draw = Draw(data)
    pattern = draw.pick(patterns())
    rest = draw.rest()
    text = rest.decode("utf-8", "replace")
    assert one(text, clock.parse_local(pl.col("t"), pattern)) == local_time(text, pattern)
    assert one(text, clock.parse_date(pl.col("t"))) == whole_date(text)
    for shape in INSTANTS:
        found = clock.parse_instant(pl.col("t"), shape)
        known = pl.when(found.dt.year().is_between(1, 9999)).then(found)  # those that Python knows
        assert one(text, known) == instant(text, shape)
    check_zone(Draw(data))


def one(text: str, expression: pl.Expr) -> object:
    """Return what an expression makes of one text."""
    return pl.DataFrame({"t": [text]}).select(expression).item()


def parts(text: str, pattern: str) -> dict[str, str] | None:
    """Return the digits of a text by field, where it has the pattern's shape."""
    shape = re.escape(pattern).replace("%\\.f", "%.f").replace("%\\#z", "%#z")
    for code, digits in _FIELDS.items():
        shape = shape.replace(code, digits.replace("{2}", "{1,2}") if "/" in pattern else digits)
    found = re.fullmatch(shape, text)
    return found.groupdict() if found else None


def moment(fields: dict[str, str]) -> datetime | None:
    """Return the time of its fields; digits beyond the microsecond are cut off."""
    hour = int(fields.get("H") or 0)
    if half := fields.get("p"):
        hour = int(fields["I"])
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    micro = int((fields.get("f") or "").ljust(6, "0")[:6])
    try:
        return datetime(int(fields["Y"]), int(fields["m"]), int(fields["d"]), hour,
                        int(fields.get("M") or 0), int(fields.get("S") or 0), micro)
    except ValueError:
        return None


def local_time(text: str, pattern: str) -> datetime | None:
    """Return the local time of a text, by the standard library."""
    fields = parts(text, pattern)
    found = moment(fields) if fields else None
    return found if found and found.year in _YEARS else None


def whole_date(text: str) -> date | None:
    """Return the date of a text, by the standard library."""
    fields = parts(text, "%Y-%m-%d")
    found = moment(fields) if fields else None
    return found.date() if found else None


def instant(text: str, pattern: str) -> datetime | None:
    """Return the instant of a text with an offset, by the standard library."""
    fields = parts(text, pattern)
    if not fields or not (local := moment(fields)):
        return None
    sign, digits = fields["z"][0], fields["z"][1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    try:
        return (local - offset if sign == "+" else local + offset).replace(tzinfo=UTC)
    except OverflowError:
        return None


def check_zone(draw: Draw) -> None:
    """Instants, repeated and skipped times of a zone are those of `zoneinfo`."""
    name = draw.pick(ZONES)
    zone = ZoneInfo(name)
    times = [_FIRST + abs(draw.number(3)) % 4_000_000 * _STEP for _ in range(4)]
    frame = pl.DataFrame({"t": times}, schema={"t": pl.Datetime("us")})
    span = (min(times), max(times)) if draw.below(2) else ()
    found = frame.select(utc=clock.to_utc(pl.col("t"), name, *span),
                         exists=clock.exists(pl.col("t"), name),
                         twice=clock.is_ambiguous(pl.col("t"), name, *span).fill_null(value=False))
    for time, (utc, exists, twice) in zip(times, found.iter_rows(), strict=True):
        there = time.replace(tzinfo=zone)
        is_real = there.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == time
        assert exists == is_real
        assert utc == (there.astimezone(UTC) if is_real else None)
        assert twice == (is_real and there.utcoffset() != there.replace(fold=1).utcoffset())
