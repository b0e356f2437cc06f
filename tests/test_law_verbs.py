"""The verb `repeated` on bare readings: chains, runs, gaps, windows, inspections."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from rsd.law.verbs import VERBS, Context, Repeated
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
                           schema={"vehicle": pl.UInt32,
                                   "inspected_at": pl.Datetime("us", "UTC")})
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


def test_every_verb_speaks_and_is_registered_by_its_settings():
    for verb in VERBS.values():
        assert callable(verb.decide)
    assert "2 consecutive" in RULE.sentence()
    assert "86400 s" in replace(RULE, min_gap_s=86400).sentence()
    assert "first exceedance" in replace(RULE, min_hits=1).sentence()
    assert "inspection" not in replace(RULE, reset_on_inspection=False).sentence()
