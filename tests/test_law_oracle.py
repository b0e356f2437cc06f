"""Every verb, and every regulation but HJ 845 (see test_findings), against a plain reading of it.

Thousands of histories: equal instants and values, month ends, leap days, clocks put back over
midnight, nulls, late data, gaps and inspections.
"""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import oracle_verbs
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd.columns import PASSES, schema
from rsd.findings import find
from rsd.law.rulebook import Regulation, load
from rsd.law.rules import Limit
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

ZONES = ("Asia/Shanghai", "Europe/London", "America/New_York", "Australia/Lord_Howe",
         "America/St_Johns", "UTC")
# month ends, leap days, the hours at which clocks change; St. John's went back at 00:01
BASES = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (
    "2023-08-31 04:00:00", "2023-12-31 15:30:00", "2024-01-31 02:00:00", "2024-02-29 04:00:00",
    "2024-02-28 23:59:59", "2024-03-31 01:00:00", "2024-10-27 01:30:00", "2024-11-03 05:30:00",
    "2010-11-07 02:30:50", "2010-11-07 03:29:00", "2025-02-28 04:00:00", "2025-03-01 00:00:00",
)]
SHIFTS = [timedelta(0), timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1),
          timedelta(seconds=9), timedelta(seconds=10), timedelta(seconds=11), timedelta(hours=1),
          timedelta(hours=23), timedelta(days=1), timedelta(days=2), timedelta(days=3),
          timedelta(days=31), timedelta(days=120), timedelta(days=366)]

REPEATED = Repeated(min_hits=2, consecutive=True, window_months=6, window="anchored",
                    inclusive=True, min_gap_s=0, reset_on_inspection=True)
SETTINGS = {
    "single": [Single()],
    "repeated": [REPEATED, replace(REPEATED, window="calendar_bucket"),
                 replace(REPEATED, consecutive=False, min_gap_s=10),
                 replace(REPEATED, min_hits=3, window_months=1, inclusive=False),
                 replace(REPEATED, min_hits=1), replace(REPEATED, reset_on_inspection=False),
                 replace(REPEATED, min_gap_s=86400, min_hits=3, consecutive=False,
                         window_months=12)],
    "two_instruments": [TwoInstruments(10), TwoInstruments(0), TwoInstruments(3600)],
    "two_highest": [TwoHighest(0), TwoHighest(3), TwoHighest(120)],
    "share": [Share(50, 2, 3), Share(100, 1, 1), Share(34, 3, 120), Share(67, 3, 2),
              Share(1, 4, 400)],
    "clean_screen": [CleanScreen(2, 2, 12), CleanScreen(1, 1, 1), CleanScreen(3, 2, 1),
                     CleanScreen(2, 1, 1), CleanScreen(4, 3, 12)],
    "registration": [Registration()],
}

_instant = st.builds(lambda base, shift: base + shift, st.sampled_from(BASES[:6]) | st.sampled_from(
    BASES), st.sampled_from(SHIFTS))
_reading = st.fixed_dictionaries({
    "vehicle": st.sampled_from([0, 0, 1, 2]),
    "measured_at": _instant,
    "exceeds": st.sampled_from([True, True, False]),
    "value": st.sampled_from([1.0, 1.0, 2.0, 2.0, 3.0, 5e-324, -1.0]),
    "site_id": st.sampled_from(["A", "A", "B"]),
    "line_id": st.sampled_from(["1", "1", "2", "2", "3", None]),
})
_spans = st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=24), timedelta(days=40)])
_inspections = st.none() | st.lists(
    st.builds(lambda vehicle, at, span: (vehicle, at, at + span),
              st.sampled_from([0, 1]), _instant, _spans), max_size=3)


def walked(readings: list[dict], zone: ZoneInfo) -> pl.DataFrame:
    """The readings as a verb sees them; the row number stands for the record."""
    dated = [r | {"date": r["measured_at"].astimezone(zone).date()} for r in readings]
    return pl.DataFrame(dated, schema={
        "vehicle": pl.UInt32, "measured_at": pl.Datetime("us", "UTC"), "exceeds": pl.Boolean,
        "value": pl.Float64, "site_id": pl.String, "line_id": pl.String, "date": pl.Date})


def agree(verb: str, chosen, readings: list[dict], zone_name: str,
          inspections: list | None) -> int:
    zone = ZoneInfo(zone_name)
    ordered = [r | {"row": k} for k, r in enumerate(
        sorted(readings, key=lambda r: (r["vehicle"], r["measured_at"])))]
    expected = []
    for vehicle in sorted({r["vehicle"] for r in ordered}):
        mine = [r for r in ordered if r["vehicle"] == vehicle]
        rule = {name: getattr(chosen, name) for name in chosen.__dataclass_fields__} | {
            "inspections": [(at, until) for v, at, until in inspections or () if v == vehicle]}
        proof = oracle_verbs.VERBS[verb](mine, rule, zone)
        if proof is not None:
            expected.append((proof[0]["row"], proof[1] and proof[1]["row"]))
            assert sum(r["exceeds"] for r in mine) >= chosen.least_exceedances
    told = None if inspections is None else pl.DataFrame(inspections, orient="row", schema={
        "vehicle": pl.UInt32, "inspected_at": pl.Datetime("us", "UTC"),
        "inspected_until": pl.Datetime("us", "UTC")})
    proofs = VERBS[verb].decide(walked(ordered, zone), chosen, Context(zone_name, told))
    assert proofs.schema == {"first": pl.UInt32, "second": pl.UInt32}
    assert sorted(proofs.rows()) == expected
    return len(expected)


@pytest.mark.parametrize("verb", VERBS)
@settings(max_examples=300)
@given(data=st.data())
def test_every_history_is_decided_as_the_plain_reading_decides_it(verb, data):
    chosen = data.draw(st.sampled_from(SETTINGS[verb]))
    readings = data.draw(st.lists(_reading, max_size=9))
    agree(verb, chosen, readings, data.draw(st.sampled_from(ZONES)), data.draw(_inspections))


@pytest.mark.parametrize(("verb", "chosen"), [(v, c) for v, all_of in SETTINGS.items()
                                              for c in all_of])
def test_many_long_histories_are_decided_alike_and_some_are_found(verb, chosen):
    chance = random.Random(f"{verb} {chosen}")
    readings = [{
        "vehicle": chance.randrange(120),
        "measured_at": chance.choice(BASES[:3] + BASES[8:10]) + chance.choice(SHIFTS),
        "exceeds": chance.random() < (0.3 if verb == "clean_screen" else 0.6),
        "value": float(chance.randrange(9)),
        "site_id": chance.choice("AB"), "line_id": chance.choice(["1", "2", None]),
    } for _ in range(1600)]
    instants = ((chance.randrange(120), chance.choice(BASES)) for _ in range(100))
    inspections = [(vehicle, at, at + timedelta(hours=chance.choice([0, 0, 24])))
                   for vehicle, at in instants]
    assert agree(verb, chosen, readings, chance.choice(ZONES), inspections) > 3


# Whole regulations through `find`


def with_limits(law: str) -> Regulation:
    """Return a regulation, with the plain reading's invented limits where it has none."""
    regulation = load(law)
    if regulation.subjects:
        return regulation
    limits = tuple(Limit(p, value, "ppm", "test", ">", "enforceable", "test", "test", True)
                   for p, (_, value) in oracle_verbs.LIMITS[law].items())
    return replace(regulation, periods=tuple(replace(p, limits=limits)
                                             for p in regulation.periods))


VALUES = {
    "co_pct": [None, 0.5, 0.5000000000000001, 3.0, 3.1, 0.1, -0.1, float("nan")],
    "hc_ppm": [None, 10.0, 199.0, 200.0, 200.1],
    "no_ppm": [None, 5.0, 1000.0, 2000.0, 2000.0000000000005, 2500.0, float("inf")],
    "vsp_device_kw_t": [None, None, None, 3.0, 22.0, 2.9999999999999996],
    "vsp_kw_t": [None, 10.0, 10.0, 22.000000000000004],
    "fuel": ["gasoline", "gasoline", "gasoline", "lpg", "diesel", "diesel", "unknown", None],
    "vehicle_class": ["mini_small_bus", "mini_small_bus", "heavy_truck", "large_bus", "unknown",
                      None],
    "emission_stage": [None, 0, 1, 2, 3, 3, 4],
    "is_valid": [True] * 8 + [False, None],
    "is_valid_co": [True] * 8 + [False, None],
    "is_valid_hc": [True] * 8 + [False, None],
    "is_valid_no": [True] * 8 + [False, None],
    "site_id": ["A", "A", "B"],
    "line_id": ["1", "2", None],
}
LATER = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (
    "2012-06-30 16:00:00", "2014-08-31 15:59:59", "2014-09-01 00:00:00", "2019-12-31 15:59:59",
    "2019-12-31 16:00:00", "2023-02-28 10:00:00", "2024-02-29 10:00:00")]


def passes_of(chance: random.Random, clean: bool, vehicles: int, count: int) -> list[dict]:
    """Make passes near every boundary; ``clean``: most of them may be judged."""
    rows = []
    for number in range(count):
        row = {column: chance.choice(choices) for column, choices in VALUES.items()}
        if clean:
            row |= {"fuel": "gasoline", "vehicle_class": "small_truck", "is_valid": True,
                    "vsp_device_kw_t": 10.0, "is_valid_co": True, "is_valid_hc": True,
                    "is_valid_no": True, "line_id": chance.choice("12"),
                    "hc_ppm": chance.choice([10.0, 200.0]), "site_id": "A",
                    "co_pct": chance.choice([0.1, 0.5, 3.1, 3.1]),
                    "no_ppm": chance.choice([5.0, 1000.0, 2500.0, None])}
        rows.append(row | {
            "record_id": f"r{number:04d}",
            "vehicle_id": chance.choice([None, *(f"v{k:03d}" for k in range(vehicles))]),
            "measured_at": chance.choice(LATER if not clean else LATER[2:]) + chance.choice(
                SHIFTS),
        })
    return rows


def frame(rows: list[dict], zone: ZoneInfo) -> pl.LazyFrame:
    dated = [{"date": row["measured_at"].astimezone(zone).date()} | row for row in rows]
    return pl.LazyFrame(dated, schema=schema(PASSES))


@pytest.mark.parametrize("law", oracle_verbs.VERB_OF)
def test_a_regulation_finds_what_the_plain_reading_finds(law):
    chance = random.Random(law)
    regulation, total = with_limits(law), 0
    for turn in range(6):
        zone = ZoneInfo(chance.choice(ZONES))
        rows = passes_of(chance, turn % 2 == 0, 60, 700)
        expected = oracle_verbs.judge(rows, law, zone)
        found = find(frame(rows, zone), [regulation], timezone=zone.key)
        keys = list(expected[0]) if expected else ["vehicle_id"]
        assert found.select(keys).to_dicts() == expected
        # late data: in any order of arrival the same
        chance.shuffle(rows)
        assert find(frame(rows, zone), [regulation], timezone=zone.key).equals(found)
        total += len(expected)
    assert total > 15


def test_regulations_of_all_kinds_are_answered_together_as_each_alone():
    rows = passes_of(random.Random(5), True, 40, 300)
    laws = [with_limits(law) for law in oracle_verbs.VERB_OF]
    together = find(frame(rows, ZoneInfo("UTC")), laws, timezone="UTC")
    alone = pl.concat([find(frame(rows, ZoneInfo("UTC")), [law], timezone="UTC") for law in laws])
    assert together.equals(alone.sort("found_at", "vehicle_id", "pollutant", "regulation_id"))
    assert set(together["kind"]) == {"violation", "registration", "clean"}
