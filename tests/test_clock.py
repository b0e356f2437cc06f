"""Local clocks: checked against the standard library's zones, time by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd import clock
from rsd.errors import UsageError

ZONES = ("Asia/Shanghai", "Europe/London", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC",
         "Asia/Kathmandu", "America/New_York")
LONDON = "Europe/London"
EXAMPLES = max(100, settings().max_examples)

local_times = st.datetimes(datetime(1975, 1, 1), datetime(2036, 12, 31)).map(
    lambda t: t.replace(microsecond=0))
# every hour around a change of the clock, where the difficulties are
near_changes = st.builds(
    lambda base, minutes: base + timedelta(minutes=minutes),
    st.sampled_from([datetime(2024, 3, 31, 1), datetime(2024, 10, 27, 1), datetime(2024, 4, 7, 2),
                     datetime(2024, 10, 6, 2), datetime(1991, 4, 14), datetime(1991, 9, 15),
                     datetime(2018, 11, 4), datetime(2018, 2, 18), datetime(2024, 3, 10, 2),
                     datetime(2024, 11, 3, 1)]),
    st.integers(-180, 180),
)
zones = st.sampled_from(ZONES)
moments = st.lists(st.one_of(local_times, near_changes), min_size=1, max_size=8)


def is_real(local: datetime, zone: str) -> bool:
    there = local.replace(tzinfo=ZoneInfo(zone))
    return there.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local


def first_instant(local: datetime, zone: str) -> datetime | None:
    if not is_real(local, zone):
        return None
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def occurs_twice(local: datetime, zone: str) -> bool:
    there = local.replace(tzinfo=ZoneInfo(zone))
    return is_real(local, zone) and there.utcoffset() != there.replace(fold=1).utcoffset()


def evaluated(times: list[datetime | None], expression: pl.Expr) -> list[object]:
    frame = pl.DataFrame({"t": pl.Series(times, dtype=pl.Datetime("us"))})
    return frame.select(expression).to_series().to_list()


@settings(max_examples=EXAMPLES)
@given(zone=zones, times=moments, spanned=st.booleans())
def test_instants_are_those_of_the_zone(zone: str, times: list[datetime], spanned: bool) -> None:
    span = (min(times), max(times)) if spanned else ()
    wanted = [first_instant(t, zone) for t in times]
    assert evaluated(times, clock.to_utc(pl.col("t"), zone, *span)) == wanted


@settings(max_examples=EXAMPLES)
@given(zone=zones, times=moments, spanned=st.booleans())
def test_times_that_occur_twice_are_found(zone: str, times: list[datetime], spanned: bool) -> None:
    span = (min(times), max(times)) if spanned else ()
    found = evaluated(times, clock.is_ambiguous(pl.col("t"), zone, *span))
    assert [bool(x) for x in found] == [occurs_twice(t, zone) for t in times]


@settings(max_examples=EXAMPLES)
@given(zone=zones, times=moments)
def test_times_that_never_occur_are_found(zone: str, times: list[datetime]) -> None:
    wanted = [is_real(t, zone) for t in times]
    assert evaluated(times, clock.exists(pl.col("t"), zone)) == wanted
    if not all(wanted):
        assert clock.may_skip_an_hour(zone, min(times), max(times))


@settings(max_examples=EXAMPLES)
@given(zone=zones, first=local_times, days=st.integers(0, 500), at=st.floats(0, 1))
def test_a_constant_offset_is_the_offset_of_every_time(zone: str, first: datetime, days: int,
                                                       at: float) -> None:
    last = first + timedelta(days=days)
    offset = clock.constant_offset(zone, first, last)
    if offset is not None:
        between = first + at * (last - first)
        assert between.replace(tzinfo=ZoneInfo(zone)).utcoffset() == offset


@pytest.mark.parametrize(
    ("zone", "local", "first", "second"),
    [
        (LONDON, datetime(2024, 10, 27, 1, 30), datetime(2024, 10, 27, 0, 30),
         datetime(2024, 10, 27, 1, 30)),
        ("America/New_York", datetime(2024, 11, 3, 1, 0), datetime(2024, 11, 3, 5),
         datetime(2024, 11, 3, 6)),
        ("Australia/Lord_Howe", datetime(2024, 4, 7, 1, 45), datetime(2024, 4, 6, 14, 45),
         datetime(2024, 4, 6, 15, 15)),
        ("Asia/Shanghai", datetime(1991, 9, 15, 1, 30), datetime(1991, 9, 14, 16, 30),
         datetime(1991, 9, 14, 17, 30)),
    ],
)
def test_of_two_instants_the_first_is_taken(zone: str, local: datetime, first: datetime,
                                            second: datetime) -> None:
    for span in ((), (local, local), (local - timedelta(days=9), local + timedelta(days=9))):
        assert evaluated([local], clock.to_utc(pl.col("t"), zone, *span)) == [
            first.replace(tzinfo=UTC)]
        assert evaluated([local], clock.is_ambiguous(pl.col("t"), zone, *span)) == [True]
    assert second.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local


@pytest.mark.parametrize(("zone", "local"), [
    (LONDON, datetime(2024, 3, 31, 1, 30)), ("America/New_York", datetime(2024, 3, 10, 2)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 0, 30)),
])
def test_a_skipped_time_has_no_instant(zone: str, local: datetime) -> None:
    for span in ((), (local, local)):
        assert evaluated([local], clock.to_utc(pl.col("t"), zone, *span)) == [None]
    assert evaluated([local], clock.exists(pl.col("t"), zone)) == [False]


def test_the_span_only_makes_it_fast() -> None:
    """A time outside the span, in another offset, is right all the same."""
    winter, summer = datetime(2024, 1, 10, 12), datetime(2024, 7, 10, 12)
    span = (datetime(2024, 1, 1), datetime(2024, 1, 31))
    found = evaluated([winter, summer, None], clock.to_utc(pl.col("t"), LONDON, *span))
    assert found == [datetime(2024, 1, 10, 12, tzinfo=UTC), datetime(2024, 7, 10, 11, tzinfo=UTC),
                     None]


def test_shanghai_before_its_summer_times_and_before_its_standard_time() -> None:
    times = [datetime(1990, 7, 1, 12), datetime(1900, 1, 1), datetime(2024, 7, 1, 12)]
    found = evaluated(times, clock.to_utc(pl.col("t"), "Asia/Shanghai"))
    assert found == [datetime(1990, 7, 1, 3, tzinfo=UTC),
                     datetime(1899, 12, 31, 15, 54, 17, tzinfo=UTC),
                     datetime(2024, 7, 1, 4, tzinfo=UTC)]


def test_shanghai_keeps_one_offset_for_all_usual_records() -> None:
    assert clock.constant_offset("Asia/Shanghai", *clock.USUAL_SPAN) == timedelta(hours=8)
    assert not clock.may_skip_an_hour("Asia/Shanghai", datetime(2016, 1, 1), datetime(2030, 1, 1))


@pytest.mark.parametrize(
    ("first", "last", "offset"),
    [
        (datetime(2024, 1, 1), datetime(2024, 3, 29), timedelta(0)),
        (datetime(2024, 4, 2, 12), datetime(2024, 10, 25), timedelta(hours=1)),
        (datetime(2024, 3, 30), datetime(2024, 4, 2), None),
        (datetime(2024, 1, 1), datetime(2024, 12, 31), None),
        (datetime(1800, 1, 1), datetime(2024, 1, 1), None),  # more than fifty years
        (datetime(1, 1, 1), datetime(1, 1, 2), None),
        (datetime(9999, 12, 30), datetime(9999, 12, 31, 23), None),
    ],
)
def test_constant_offsets_of_london(first: datetime, last: datetime,
                                    offset: timedelta | None) -> None:
    assert clock.constant_offset(LONDON, first, last) == offset


def test_nothing_skips_nothing() -> None:
    assert not clock.may_skip_an_hour(LONDON, None, None)


@pytest.mark.parametrize("name", ["", "Asia/Xiamen", "8", "../etc/passwd", "Asia"])
def test_an_unknown_zone_is_a_wrong_call(name: str) -> None:
    with pytest.raises(UsageError, match="unknown time zone") as caught:
        clock.zone_of(name)
    assert repr(name) == caught.value.found


def test_the_afternoon_of_a_12_hour_dial() -> None:
    times = [datetime(2012, 5, 21, h, 30) for h in (1, 6, 7, 11, 12, 0)] + [None]
    found = evaluated(times, clock.afternoon(pl.col("t"), (1, 2, 3, 4, 5, 6)))
    assert [t.hour if t else None for t in found] == [13, 18, 7, 11, 12, 0, None]
    assert {t.date() for t in found if t} == {datetime(2012, 5, 21).date()}
