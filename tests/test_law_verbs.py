"""The verbs on bare readings: chains, windows, pairs, shares, and what their numbers may be."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from rsd.law.verbs import (
    VERBS,
    CleanScreen,
    Context,
    Registration,
    Repeated,
    Share,
    Single,
    TwoHighest,
    TwoInstruments,
)
from rsd.law.verbs.repeated import repeated

RULE = Repeated(min_hits=2, consecutive=True, window_months=6, window="anchored", inclusive=True,
                min_gap_s=0, reset_on_inspection=True)
START = datetime(2024, 1, 10, tzinfo=UTC)
SHANGHAI = Context("Asia/Shanghai")


def readings(*vehicles: str, step: timedelta = timedelta(days=1)) -> pl.DataFrame:
    """One text a vehicle: x exceeds, o does not; one reading a step."""
    rows = [(k, START + i * step, mark == "x")
            for k, marks in enumerate(vehicles) for i, mark in enumerate(marks)]
    return pl.DataFrame(rows, orient="row", schema={
        "vehicle": pl.UInt32, "measured_at": pl.Datetime("us", "UTC"), "exceeds": pl.Boolean})


def proofs(frame: pl.DataFrame, context: Context = SHANGHAI, **changes) -> list[tuple]:
    return repeated(frame, replace(RULE, **changes), context).rows()


@pytest.mark.parametrize(("marks", "changes", "expected"), [
    ("xx", {}, [(0, 1)]),
    ("xox", {}, []),
    ("xoxx", {}, [(2, 3)]),
    ("xox", {"consecutive": False}, [(0, 2)]),
    ("xxx", {"min_hits": 3}, [(0, 2)]),
    ("xxoxxx", {"min_hits": 3}, [(3, 5)]),
    ("xxox", {"min_hits": 3, "consecutive": False}, [(0, 3)]),
    ("oxx", {"min_hits": 1}, [(1, None)]),
    ("xxx", {"min_gap_s": 2 * 86400}, [(0, 2)]),
    ("xxx", {"min_gap_s": 3 * 86400}, []),
    ("xxxxx", {"min_gap_s": 2 * 86400, "min_hits": 3}, [(0, 4)]),
    ("xxoxxx", {"min_gap_s": 2 * 86400}, [(3, 5)]),
    ("xxoxxx", {"min_gap_s": 2 * 86400, "consecutive": False}, [(1, 3)]),
    ("", {}, []),
])
def test_the_first_chain_is_found(marks, changes, expected):
    assert proofs(readings(marks), **changes) == expected


def test_a_chain_never_reaches_into_another_vehicle():
    for changes in ({}, {"consecutive": False}, {"min_gap_s": 1}):
        assert proofs(readings("ox", "xo", "x", "xx"), **changes) == [(5, 6)]


@pytest.mark.parametrize(("changes", "days", "found"), [
    ({}, 182, True), ({}, 183, False),  # 10 January to 10 July 2024 are 182 days
    ({"inclusive": False}, 182, False), ({"inclusive": False}, 181, True),
    ({"window_months": 1}, 31, True), ({"window_months": 1}, 32, False),
    ({"window": "calendar_bucket"}, 172, True), ({"window": "calendar_bucket"}, 173, False),
])
def test_the_window_ends_where_the_settings_say(changes, days, found):
    frame = readings("xx", step=timedelta(days=days))
    assert bool(proofs(frame, **changes)) is found


def test_without_inspections_or_without_reset_nothing_breaks():
    frame = readings("xx")
    between = pl.DataFrame({"vehicle": [0], "inspected_at": [START + timedelta(hours=1)]},
                           schema={"vehicle": pl.UInt32, "inspected_at": pl.Datetime("us", "UTC")}
                           ).with_columns(inspected_until="inspected_at")
    inspected = Context("Asia/Shanghai", between)
    assert proofs(frame, inspected) == []
    assert proofs(frame, inspected, reset_on_inspection=False) == [(0, 1)]
    assert proofs(frame, Context("Asia/Shanghai", between.with_columns(
        vehicle=pl.lit(7, dtype=pl.UInt32)))) == [(0, 1)]
    assert proofs(frame, Context("Asia/Shanghai", between.clear())) == [(0, 1)]


@pytest.mark.parametrize("changes", [{"min_hits": 0}, {"window_months": 0}, {"min_gap_s": -1},
                                     {"window_months": 10**9}])
def test_settings_without_sense_are_refused(changes):
    with pytest.raises(ValueError, match="must lie between"):
        replace(RULE, **changes)


def test_the_bounds_of_the_numbers_are_within():
    century = 100 * 366 * 86400
    for changes in ({"min_hits": 1}, {"min_hits": 1000}, {"window_months": 1},
                    {"window_months": 1200}, {"min_gap_s": 0}, {"min_gap_s": century}):
        replace(RULE, **changes)
    for changes in ({"min_hits": 1001}, {"window_months": 1201}, {"min_gap_s": century + 1}):
        with pytest.raises(ValueError, match="must lie between"):
            replace(RULE, **changes)


@pytest.mark.parametrize(("kind", "good", "bad"), [
    (TwoInstruments, [(0,), (3600,)], [(-1,), (3601,)]),
    (TwoHighest, [(0,), (36600,)], [(-1,), (36601,)]),
    (Share, [(1, 1, 1), (100, 1_000_000, 36600)],
     [(0, 1, 1), (101, 1, 1), (1, 0, 1), (1, 1_000_001, 1), (1, 1, 0), (1, 1, 36601)]),
    (CleanScreen, [(1, 1, 1), (1000, 1000, 1200)],
     [(0, 0, 1), (1, 0, 1), (1001, 1, 1), (1, 1, 0), (1, 1, 1201), (2, 3, 12)]),
])
def test_each_verb_bounds_its_numbers(kind, good, bad):
    for numbers in good:
        kind(*numbers)
    for numbers in bad:
        with pytest.raises(ValueError, match=r"must lie between|must not be above"):
            kind(*numbers)


@pytest.mark.parametrize(("settings", "least"), [
    (RULE, 2), (replace(RULE, min_hits=1), 1), (replace(RULE, min_hits=5), 5), (Single(), 1),
    (Registration(), 1), (TwoInstruments(10), 2), (TwoHighest(120), 2), (CleanScreen(2, 2, 12), 0),
    (Share(50, 4, 30), 2), (Share(50, 5, 30), 3), (Share(1, 1, 30), 1), (Share(100, 7, 30), 7),
    (Share(34, 3, 30), 2), (Share(33, 3, 30), 1),
])
def test_fewer_exceedances_than_that_can_be_no_finding(settings, least):
    assert settings.least_exceedances == least


def decided(verb: str, settings, rows: list[dict], timezone: str = "Asia/Shanghai") -> list[tuple]:
    """Decide over readings of one vehicle or more, given in order."""
    full = [{"vehicle": 0, "exceeds": True, "value": 1.0, "site_id": "A", "line_id": "1",
             "measured_at": START} | row for row in rows]
    dated = [{"date": r["measured_at"].astimezone(ZoneInfo(timezone)).date()} | r for r in full]
    frame = pl.DataFrame(dated, schema={
        "vehicle": pl.UInt32, "measured_at": pl.Datetime("us", "UTC"), "exceeds": pl.Boolean,
        "value": pl.Float64, "site_id": pl.String, "line_id": pl.String, "date": pl.Date})
    return VERBS[verb].decide(frame, settings, Context(timezone)).rows()


def marked(marks: str, step: timedelta = timedelta(days=1), **values) -> list[dict]:
    """One reading a mark: x exceeds, o does not."""
    return [{"exceeds": mark == "x", "measured_at": START + k * step} | values
            for k, mark in enumerate(marks)]


@pytest.mark.parametrize("verb", ["single", "registration"])
def test_the_first_one_is_enough(verb):
    settings = VERBS[verb].settings()
    assert decided(verb, settings, marked("oxx")) == [(1, None)]
    assert decided(verb, settings, marked("oo")) == []
    assert decided(verb, settings, []) == []
    both = [*marked("ox"), *marked("xx", vehicle=1), *marked("o", vehicle=2)]
    assert decided(verb, settings, both) == [(1, None), (2, None)]


def seconds(*rows: tuple) -> list[dict]:
    """(second, line, site = A, exceeds = True) a reading."""
    return [{"measured_at": START + timedelta(seconds=r[0]), "line_id": r[1],
             "site_id": r[2] if len(r) > 2 else "A", "exceeds": r[3] if len(r) > 3 else True}
            for r in rows]


@pytest.mark.parametrize(("rows", "expected"), [
    ([(0, "1"), (10, "2")], [(0, 1)]),
    ([(0, "1"), (10.000001, "2")], []),
    ([(0, "1"), (0, "2")], [(0, 1)]),
    ([(0, "1"), (5, "1")], []),
    ([(0, "1"), (5, "2", "B")], []),
    ([(0, "1"), (5, "2", "A", False)], []),
    ([(0, "1"), (5, None)], []),
    ([(0, None), (5, None)], []),
    ([(0, "1"), (2, None), (5, "2")], [(0, 2)]),
    ([(0, "1"), (2, "2", "B"), (4, "2")], [(0, 2)]),
    ([(0, "1"), (3, "1"), (5, "2"), (6, "2")], [(1, 2)]),
    ([(0, "1"), (3, "2", "A", False), (5, "2")], [(0, 2)]),
    ([(0, "1"), (20, "2"), (25, "2"), (30, "3")], [(2, 3)]),
    ([(0, "1"), (1, "2", "B"), (2, "1", "B"), (3, "2")], [(1, 2)]),
])
def test_two_instruments_of_one_place_must_agree(rows, expected):
    assert decided("two_instruments", TwoInstruments(10), seconds(*rows)) == expected


def test_no_pair_of_instruments_across_two_vehicles():
    one, other = seconds((0, "1")), [r | {"vehicle": 1} for r in seconds((1, "2"))]
    assert decided("two_instruments", TwoInstruments(10), [*one, *other]) == []


def valued(*rows: tuple) -> list[dict]:
    """(day, value, exceeds = True) a reading."""
    return [{"measured_at": START + timedelta(days=r[0]), "value": float(r[1]),
             "exceeds": r[2] if len(r) > 2 else True} for r in rows]


@pytest.mark.parametrize(("rows", "expected"), [
    ([(0, 5), (120, 6)], [(0, 1)]),
    ([(0, 6), (120, 5)], [(0, 1)]),
    ([(0, 5), (121, 6)], []),
    ([(0, 5), (200, 6), (210, 5)], []),       # of equal values the earlier ranks higher
    ([(0, 5), (200, 6), (210, 5.5)], [(1, 2)]),
    ([(0, 9), (200, 6), (210, 5)], []),
    ([(0, 9), (200, 10), (210, 11)], [(1, 2)]),
    ([(0, 5), (1, 1, False), (2, 4)], [(0, 2)]),
    ([(0, 5), (1, 7, False), (2, 4)], []),    # of an earlier period: higher, and no exceedance
    ([(0, 5), (1, 5), (2, 9)], [(0, 1)]),
    ([(0, 5)], []),
])
def test_the_two_highest_lie_close_together(rows, expected):
    assert decided("two_highest", TwoHighest(120), valued(*rows)) == expected


def test_days_between_the_two_highest_are_local_dates():
    late = START.replace(hour=23)  # 07:00 of the next day in Shanghai
    rows = [{"measured_at": START.replace(hour=0)}, {"measured_at": late}]
    assert decided("two_highest", TwoHighest(0), rows) == []
    assert decided("two_highest", TwoHighest(0), rows, "UTC") == [(0, 1)]


def test_the_highest_of_one_vehicle_is_nothing_to_another():
    rows = [*valued((0, 9), (1, 1, False)), *[r | {"vehicle": 1} for r in valued((2, 5), (3, 4))],
            *[r | {"vehicle": 2} for r in valued((3, 4))]]
    assert decided("two_highest", TwoHighest(120), rows) == [(2, 3)]


@pytest.mark.parametrize(("marks", "settings", "expected"), [
    ("oxox", Share(50, 4, 30), [(1, 3)]),
    ("oxox", Share(51, 4, 30), []),
    ("oxox", Share(50, 5, 30), []),
    ("xooooo", Share(50, 1, 30), [(0, None)]),
    ("ox", Share(50, 2, 30), [(1, None)]),
    ("xxo", Share(50, 3, 30), []),            # only an exceedance decides
    ("xxox", Share(50, 3, 30), [(0, 3)]),
    ("oooxx", Share(100, 2, 2), [(3, 4)]),    # two dates: of the fourth and the fifth day
    ("oooxx", Share(100, 3, 2), []),
    ("oooxx", Share(66, 3, 3), [(3, 4)]),
    ("oooxx", Share(67, 3, 3), []),
    ("xooxx", Share(75, 4, 5), []),
    ("xoxxx", Share(75, 4, 5), [(0, 3)]),
])
def test_a_share_of_the_passes_of_some_days(marks, settings, expected):
    assert decided("share", settings, marked(marks)) == expected


def test_a_share_is_of_one_vehicle_and_counts_the_whole_first_day():
    rows = [*marked("xxx"), *[r | {"vehicle": 1} for r in marked("ox")]]
    assert decided("share", Share(51, 2, 30), rows) == [(0, 1)]
    hours = marked("oxx", step=timedelta(hours=1))
    assert decided("share", Share(60, 3, 1), hours) == [(1, 2)]


@pytest.mark.parametrize(("marks", "settings", "expected"), [
    ("oo", CleanScreen(2, 2, 12), [(0, 1)]),
    ("xoo", CleanScreen(2, 2, 12), [(1, 2)]),
    ("oox", CleanScreen(2, 2, 12), []),
    ("oxo", CleanScreen(2, 2, 12), []),
    ("o", CleanScreen(2, 2, 12), []),
    ("xo", CleanScreen(1, 1, 12), [(1, None)]),
    ("ox", CleanScreen(1, 1, 12), []),
    ("xooo", CleanScreen(3, 3, 12), [(1, 3)]),
    ("xoo", CleanScreen(3, 2, 12), []),
])
def test_the_latest_readings_are_clean(marks, settings, expected):
    assert decided("clean_screen", settings, marked(marks)) == expected


def test_clean_readings_lie_on_some_days_and_within_some_months():
    def pair(*hours: float) -> list[dict]:
        return [{"exceeds": False, "measured_at": START + timedelta(hours=h)} for h in hours]

    two_days = CleanScreen(2, 2, 1)
    assert decided("clean_screen", two_days, pair(0, 15.9)) == []     # 08:00 and 23:54, Shanghai
    assert decided("clean_screen", two_days, pair(0, 16)) == [(0, 1)]
    assert decided("clean_screen", two_days, pair(0, 31 * 24)) == [(0, 1)]
    assert decided("clean_screen", two_days, pair(0, 31 * 24 + 1)) == []
    assert decided("clean_screen", CleanScreen(3, 2, 1), pair(0, 1, 16)) == [(0, 2)]
    assert decided("clean_screen", CleanScreen(3, 2, 1), pair(0, 16, 17)) == [(0, 2)]
    assert decided("clean_screen", CleanScreen(3, 3, 1), pair(0, 1, 16)) == []
    assert decided("clean_screen", CleanScreen(2, 2, 1), pair(-24, 1, 2)) == []
    assert decided("clean_screen", CleanScreen(3, 1, 1), pair(0, 1, 2)) == [(0, 2)]


def test_clean_readings_are_those_of_one_vehicle():
    rows = [*marked("oo"), *[r | {"vehicle": 1} for r in marked("o")],
            *[r | {"vehicle": 2} for r in marked("oo")]]
    assert decided("clean_screen", CleanScreen(2, 1, 12), rows) == [(0, 1), (3, 4)]


@pytest.mark.parametrize(("settings", "says"), [
    (RULE, "2 consecutive tested readings exceed the limit of the same pollutant, the last no "
           "later than 6 months after the first (that instant included, day clamped to the month's "
           "end). A passed inspection in between breaks the chain."),
    (replace(RULE, inclusive=False), "that instant excluded"),
    (replace(RULE, consecutive=False, reset_on_inspection=False),
     "2 (not necessarily consecutive) tested"),
    (replace(RULE, window="calendar_bucket"), "all within 6 calendar months, the first's own"),
    (replace(RULE, min_gap_s=86400), "each at least 86400 s after the one before"),
    (replace(RULE, min_hits=1), "A vehicle is found at its first exceedance."),
    (Single(), "first exceedance"),
    (Registration(), "valid or not, while it is registered in one of the groups"),
    (TwoInstruments(10), "at most 10 s apart"),
    (TwoHighest(120), "at most 120 days apart"),
    (Share(50, 4, 30), "at least 50 % of its tested passes of the last 30 days"),
    (Share(50, 4, 30), "of at least 4 passes"),
    (CleanScreen(2, 2, 12), "its 2 latest readings"),
    (CleanScreen(2, 2, 12), "no later than 12 months"),
    (CleanScreen(2, 2, 12), ", on at least 2 different days."),
    (CleanScreen(1, 1, 12), "its latest reading with"),
])
def test_a_verb_says_its_rule_in_words(settings, says):
    assert says in settings.sentence()


def test_a_sentence_has_no_word_of_what_is_not_asked():
    plain = replace(RULE, reset_on_inspection=False).sentence()
    assert "inspection" not in plain
    assert " s after" not in plain
    assert "different days" not in CleanScreen(2, 1, 12).sentence()


def test_each_verb_is_registered_with_what_it_reads():
    assert {name: verb.reads for name, verb in VERBS.items() if verb.reads} == {
        "two_instruments": ("site_id", "line_id"), "two_highest": ("date",), "share": ("date",),
        "clean_screen": ("date",)}
    assert {name for name, verb in VERBS.items() if verb.subject != "each pollutant"} == {
        "clean_screen", "registration"}
    assert VERBS["clean_screen"].roles == ("clean",)
    assert VERBS["registration"].roles == ()


@pytest.mark.parametrize(("settings", "least"), [
    (Share(100, 101, 30), 101), (Share(50, 3, 30), 2), (Share(1, 1, 1), 1), (Share(34, 3, 1), 2)])
def test_the_share_of_the_fewest_passes_is_rounded_up(settings, least):
    assert settings.least_exceedances == least
