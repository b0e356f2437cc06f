"""Findings: what they say, and all sorts of histories against a plain reading."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import oracle
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd import findings
from rsd.columns import FINDINGS, PASSES, POLLUTANTS, empty, schema
from rsd.errors import PolicyRefusal, UsageError
from rsd.findings import find, marks
from rsd.law.rulebook import BUILT_IN, Regulation, load, load_file

SHANGHAI = "Asia/Shanghai"
HJ845 = "cn_hj845_2017"
ALL_VALID = {"is_valid": True, **{f"is_valid_{p}": True for p in POLLUTANTS}}


def with_law(folder: Path, regulation_id: str, law: dict) -> Regulation:
    """Return a regulation with some settings of its verb changed, in the way a city does it."""
    lines = (BUILT_IN / f"{regulation_id}.toml").read_text(encoding="utf-8").splitlines()
    for key, value in law.items():
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{key} = "))
        spelled = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
        lines[at] = f"{key} = {spelled}"
    folder.mkdir(exist_ok=True)
    file = folder / f"{regulation_id}.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return load_file(file)


def local(text: str, timezone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


def frame(rows: list[dict], timezone: str = SHANGHAI) -> pl.DataFrame:
    """Return passes; the local date is derived as the lake derives it."""
    zone = ZoneInfo(timezone)
    dated = [{"date": row["measured_at"].astimezone(zone).date()} | row for row in rows]
    return pl.DataFrame(dated, schema=schema(PASSES))


def inspected(by_vehicle: dict[str, list[datetime]]) -> pl.LazyFrame:
    rows = [(vehicle, at) for vehicle, times in by_vehicle.items() for at in times]
    return pl.LazyFrame(rows, orient="row", schema={
        "vehicle_id": pl.String, "inspected_at": pl.Datetime("us", "UTC")})


# What a finding says


def a_pass(record: str, at: str, **values) -> dict:
    return {"record_id": record, "measured_at": local(at, SHANGHAI), "vehicle_id": "v1",
            "fuel": "diesel", **ALL_VALID, **values}


def test_a_finding_carries_its_proof_and_speaks_of_the_deciding_record():
    rows = [
        a_pass("a", "2024-01-10 09:00:00", opacity_pct=35.5, road_segment="R1", emission_stage=3,
               vehicle_class="small_truck", plate_color="blue"),
        a_pass("b", "2024-01-11 09:00:00", opacity_pct=41.5, road_segment="R2", emission_stage=4,
               vehicle_class="heavy_truck", plate_color="yellow"),
    ]
    regulation = load(HJ845)
    found = find(frame(rows).lazy(), [regulation], timezone=SHANGHAI)
    assert found.schema == schema(FINDINGS)
    assert found.to_dicts() == [{
        "regulation_id": HJ845, "kind": "violation", "pollutant": "opacity", "vehicle_id": "v1",
        "plate_color": "yellow", "vehicle_class": "heavy_truck", "fuel": "diesel",
        "emission_stage": 4, "found_at": rows[1]["measured_at"],
        "first_record_id": "a", "first_measured_at": rows[0]["measured_at"], "first_value": 35.5,
        "second_record_id": "b", "second_measured_at": rows[1]["measured_at"],
        "second_value": 41.5, "limit": 30.0, "unit": "%", "exceedances": 2, "passes": 2,
        "road_segment": "R2", "clause": "HJ 845-2017, clause 5, table 1", "is_verified": False,
        "regulation_sha256": regulation.sha256,
    }]


def test_limit_and_clause_are_those_of_the_deciding_records_period(tmp_path):
    text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8").replace(
        "from = 2017-07-27", "from = 2017-07-27\nuntil = 2024-01-11")
    text = text.replace("verified = false", "verified = true")
    file = tmp_path / f"{HJ845}.toml"
    file.write_text(text + """
[[period]]
from = 2024-01-11
citation = "test"

[[period.limit]]
pollutant = "opacity"
value = 20.0
unit = "%"
basis = "plume"
op = ">"
role = "screening"
clause = "new clause"
citation = "test"
verified = true
""", encoding="utf-8")
    rows = [a_pass("a", "2024-01-10 23:59:59", opacity_pct=31.0),
            a_pass("b", "2024-01-11 00:00:00", opacity_pct=21.0)]
    found = find(frame(rows).lazy(), [load_file(file)], timezone=SHANGHAI)
    assert found.select("limit", "clause", "kind", "is_verified").rows() == [
        (20.0, "new clause", "screening", True)]
    both = file.read_text(encoding="utf-8")
    for limit in ("value = 30.0", "value = 20.0"):  # of either record alone
        before, here, after = both.partition(limit)
        assert here
        file.write_text(before + here + after.replace("verified = true", "verified = false", 1),
                        encoding="utf-8")
        found = find(frame(rows).lazy(), [load_file(file)], timezone=SHANGHAI)
        assert found["is_verified"].to_list() == [False]


def test_a_clean_vehicle_is_clean_only_of_what_the_days_of_its_records_limit(tmp_path):
    """An amendment that drops NO: nobody is clean of it by records that nothing judged it by."""
    head, _, period = (BUILT_IN / "us_clean_screen.toml").read_text(
        encoding="utf-8").partition("[[period]]")
    began = "from = 1970-01-01"
    dropped = period.rpartition("[[period.limit]]")[0]
    assert 'pollutant = "no"' in period
    assert 'pollutant = "no"' not in dropped
    file = tmp_path / "us_clean_screen.toml"
    periods = (period.replace(began, f"{began}\nuntil = 2024-02-01"),
               dropped.replace(began, "from = 2024-02-01"))
    file.write_text(head + "\n".join(f"[[period]]{p}" for p in periods), encoding="utf-8")
    law = load_file(file)

    def clean_of(*days: str) -> list[str]:
        values = {"fuel": "gasoline", "vsp_device_kw_t": 10.0, "co_pct": 0.1, "hc_ppm": 10.0,
                  "no_ppm": 10.0}
        rows = [a_pass(day, f"{day} 09:00:00", **values) for day in days]
        found = find(frame(rows).lazy(), [law], timezone=SHANGHAI)
        assert found["kind"].to_list() == ["clean"] * found.height
        assert found["limit"].null_count() == 0
        return found["pollutant"].to_list()

    assert clean_of("2024-01-10", "2024-01-11") == ["co", "hc", "no"]
    assert clean_of("2024-02-10", "2024-02-11") == ["co", "hc"]
    assert clean_of("2024-01-31", "2024-02-01") == ["co", "hc"]


def test_one_unverified_number_makes_the_finding_unverified(tmp_path):
    text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8")
    parts = text.split("verified = false")
    rows = [a_pass(r, f"2024-01-1{k} 09:00:00", opacity_pct=35.0) for k, r in enumerate("ab")]
    file = tmp_path / f"{HJ845}.toml"
    answers = []
    for unverified in range(len(parts)):  # verb, VSP, wind, opacity, Ringelmann, NO, then none
        marks = ["verified = true"] * (len(parts) - 1) + [""]
        marks[unverified] = marks[unverified] and "verified = false"
        file.write_text("".join(p + m for p, m in zip(parts, marks, strict=True)), encoding="utf-8")
        found = find(frame(rows).lazy(), [load_file(file)], timezone=SHANGHAI)
        answers += found["is_verified"].to_list()
    assert answers == [False] * 4 + [True] * 3


def test_a_finding_by_one_record_has_no_second_and_is_verified_by_the_first(tmp_path):
    regulation = with_law(tmp_path, HJ845, {"min_hits": 1})
    file = Path(regulation.path)
    file.write_text(file.read_text(encoding="utf-8").replace(
        "verified = false", "verified = true"), encoding="utf-8")
    rows = [a_pass("a", "2024-01-10 09:00:00", opacity_pct=35.0)]
    found = find(frame(rows).lazy(), [load_file(file)], timezone=SHANGHAI)
    assert found.select("first_record_id", "second_record_id", "second_measured_at", "second_value",
                        "is_verified").rows() == [("a", None, None, None, True)]


def test_ties_count_up_to_the_instant_and_order_by_record():
    at = "2024-01-10 09:00:00"
    rows = [a_pass("c", at, opacity_pct=37.0), a_pass("a", at, opacity_pct=35.0),
            a_pass("b", at, opacity_pct=36.0), a_pass("d", "2024-01-11 09:00:00", opacity_pct=1.0)]
    found = find(frame(rows).lazy(), [load(HJ845)], timezone=SHANGHAI)
    assert found.select("first_record_id", "second_record_id", "exceedances", "passes").rows() == [
        ("a", "b", 3, 3)]


def test_a_pass_without_a_vehicle_is_never_judged():
    rows = [a_pass(r, f"2024-01-1{k} 09:00:00", opacity_pct=35.0, vehicle_id=None)
            for k, r in enumerate("abc")]
    assert find(frame(rows).lazy(), [load(HJ845)], timezone=SHANGHAI).equals(empty(FINDINGS))


def test_regulations_are_answered_together_as_each_alone():
    rows = [a_pass(f"{k}{f}", f"2024-01-{10 + k} 09:00:00", opacity_pct=35.0, no_ppm=1600.0,
                   co_pct=3.0, vehicle_id=f"v {f}", fuel=f)
            for k in range(3) for f in ("diesel", "gasoline", "electric")]
    laws = [load(HJ845), load("platform_observed_gasoline")]
    together = find(frame(rows).lazy(), laws, timezone=SHANGHAI)
    alone = pl.concat([find(frame(rows).lazy(), [law], timezone=SHANGHAI) for law in laws])
    assert together.equals(alone.sort("found_at", "vehicle_id", "pollutant"))
    assert together.select("vehicle_id", "pollutant").rows() == [
        ("v diesel", "no"), ("v diesel", "opacity"), ("v gasoline", "co"), ("v gasoline", "no")]
    assert find(frame(rows).lazy(), [], timezone=SHANGHAI).equals(empty(FINDINGS))


def test_calls_that_cannot_mean_anything_are_told_so():
    nothing = frame([]).lazy()
    law = load(HJ845)
    with pytest.raises(PolicyRefusal, match="no limits"):
        find(nothing, [load("cn_bj_db11_318_2022")], timezone=SHANGHAI)
    with pytest.raises(UsageError, match="given twice"):
        find(nothing, [law, law], timezone=SHANGHAI)
    with pytest.raises(UsageError, match="time zone"):
        find(nothing, [law], timezone="Asia/Xiamen")
    for shape in ({"vehicle_id": pl.String}, {"inspected_at": pl.Datetime("us", "UTC")},
                  {"vehicle_id": pl.String, "inspected_at": pl.Datetime("us")}):
        with pytest.raises(UsageError, match="inspections"):
            find(nothing, [law], timezone=SHANGHAI, inspections=pl.LazyFrame(schema=shape))


def test_inspections_in_another_unit_and_zone_mean_the_same_instants():
    rows = [a_pass(r, f"2024-01-1{k} 09:00:00", opacity_pct=35.0) for k, r in enumerate("ab")]
    between = inspected({"v1": [local("2024-01-10 10:00:00", SHANGHAI)], "v9": []})
    other = between.with_columns(
        pl.col("inspected_at").dt.convert_time_zone("Europe/London").dt.cast_time_unit("ms"))
    for inspections in (between, other):
        assert find(frame(rows).lazy(), [load(HJ845)], timezone=SHANGHAI,
                    inspections=inspections).is_empty()


# The same whatever is looked at together


@pytest.fixture(scope="module")
def mixed() -> tuple[pl.LazyFrame, list[Regulation], pl.LazyFrame]:
    """Passes of three fuels over two years, laws of every kind of subject, some inspections."""
    chance = random.Random(2026)
    rows = [a_pass(
        f"r{k:04d}", f"2024-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d} 09:00:00",
        vehicle_id=chance.choice([None, *(f"v{n}" for n in range(40))]),
        fuel=chance.choice(["diesel", "gasoline"]), vehicle_class="heavy_truck",
        emission_stage=chance.choice([0, 3, 6, None]), opacity_pct=chance.choice([5.0, 35.0]),
        no_ppm=chance.choice([100.0, 1600.0, None]), co_pct=chance.choice([0.1, 3.0]),
        hc_ppm=20.0, vsp_device_kw_t=chance.choice([5.0, 12.0, -1.0]),
        road_segment=chance.choice(["R1", "R2"])) for k in range(1500)]
    laws = [load(HJ845), load("platform_observed_gasoline"), load("us_clean_screen"),
            load("xm_375_2019_registration")]
    times = {f"v{n}": [local("2024-06-15 00:00:00", SHANGHAI)] for n in range(0, 40, 3)}
    return frame(rows).lazy(), laws, inspected(times)


@pytest.fixture(scope="module")
def whole(mixed) -> pl.DataFrame:
    passes, laws, inspections = mixed
    found = find(passes, laws, timezone=SHANGHAI, inspections=inspections)
    assert found.group_by("regulation_id").len()["len"].min() > 3
    assert found.equals(found.sort(findings.ORDER))
    return found


@pytest.mark.parametrize(("held", "counted"), [(25, 100), (300, 10**9), (10**9, 40)])
def test_the_parts_that_are_looked_at_make_no_difference(
        tmp_path, monkeypatch, mixed, whole, held, counted):
    monkeypatch.setattr(findings, "HELD_ROWS", held)
    monkeypatch.setattr(findings, "COUNTED_ROWS", counted)
    monkeypatch.setattr(findings, "_BATCH_ROWS", 64)
    passes, laws, inspections = mixed
    assert find(passes, laws, timezone=SHANGHAI, inspections=inspections,
                scratch=tmp_path / "scratch").equals(whole)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("few", [[], ["v1"], ["v0", "v7", "v39", "nobody"]])
def test_of_some_vehicles_the_same_findings_are_made(monkeypatch, mixed, whole, few):
    passes, laws, inspections = mixed
    vehicles = pl.Series("any name", few, pl.String)
    asked = {"timezone": SHANGHAI, "inspections": inspections, "vehicles": vehicles}
    expected = whole.filter(pl.col("vehicle_id").is_in(few))
    assert find(passes, laws, **asked).equals(expected)
    # vehicles of one hash come together, and only what was asked for goes out
    every = passes.select(pl.col("vehicle_id").hash().unique()).collect().to_series()
    monkeypatch.setattr(findings, "_hashes", lambda _: every)
    assert find(passes, laws, **asked).equals(expected)


@pytest.mark.parametrize("regulation_id", [
    HJ845, "platform_observed_gasoline", "us_clean_screen", "xm_375_2019_registration"])
def test_few_are_suspected_and_nobody_who_is_found_is_missing(mixed, whole, regulation_id):
    passes, _, _ = mixed
    law = load(regulation_id)
    questions = findings._questions([law])
    over = passes.filter(pl.any_horizontal(q.verdict() for q in questions)).select(
        pl.col("record_id")).collect()
    may = passes.filter(pl.any_horizontal(q.may_exceed() for q in questions)).select(
        pl.col("record_id")).collect()
    assert over.join(may, on="record_id", how="anti").is_empty()
    assert may.height < passes.collect().height / 1.5
    if questions[0].least:
        suspects = findings._suspects(passes, questions, None)
        found = whole.filter(pl.col("regulation_id") == regulation_id)["vehicle_id"]
        assert found.hash().is_in(suspects.implode()).all()


def test_a_value_on_the_limit_is_found_where_the_law_says_at_least(tmp_path):
    text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8").replace('op = ">"', 'op = ">="')
    file = tmp_path / f"{HJ845}.toml"
    file.write_text(text.replace('quantity = "vsp"\nop = ">="', 'quantity = "vsp"\nop = ">"'),
                    encoding="utf-8")
    rows = [a_pass(r, f"2024-01-1{k} 09:00:00", opacity_pct=30.0) for k, r in enumerate("ab")]
    assert find(frame(rows).lazy(), [load_file(file)], timezone=SHANGHAI).height == 1
    assert find(frame(rows).lazy(), [load(HJ845)], timezone=SHANGHAI).is_empty()


def test_marks_tell_what_findings_are_made_of_and_nothing_else(mixed):
    passes, laws, _ = mixed
    rows = passes.collect()
    before = marks(rows.lazy(), laws).sort("vehicle_id")
    assert before["vehicle_id"].n_unique() == before.height == 40
    assert marks(rows.sample(fraction=1, shuffle=True, seed=1).lazy(), laws).sort(
        "vehicle_id").equals(before)
    beside = rows.with_columns(air_temperature_c=pl.lit(-5.0), source_line=pl.lit(9, pl.Int64))
    assert marks(beside.lazy(), laws).sort("vehicle_id").equals(before)
    judged = pl.any_horizontal(q.verdict().is_not_null() for q in findings._questions(laws))
    assert before["passes"].sum() == rows.filter(
        judged, pl.col("vehicle_id").is_not_null()).height
    one = (pl.col("vehicle_id") == "v7") & (pl.col("fuel") == "diesel") & (
        pl.col("vsp_device_kw_t") == 5.0)
    for column, value in (("opacity_pct", 31.0), ("record_id", "other"), ("road_segment", "R3"),
                          ("vehicle_class", "large_bus"), ("plate_color", "blue"),
                          ("measured_at", rows["measured_at"].max()), ("emission_stage", 5),
                          ("first_registered", rows["date"].min()), ("is_valid_no", False)):
        changed = pl.when(one).then(pl.lit(value).cast(rows.schema[column])).otherwise(column)
        after = marks(rows.with_columns(changed.alias(column)).lazy(), laws).sort("vehicle_id")
        differs = before.join(after, on=before.columns, how="anti", nulls_equal=True)
        assert differs["vehicle_id"].to_list() == ["v7"], column


def test_without_a_law_there_are_no_marks(mixed):
    assert marks(mixed[0], []).is_empty()


# Histories of all sorts against the plain reading of the rule


BASES = [datetime.fromisoformat(text) for text in (
    "2017-07-26 23:59:59", "2017-07-27 00:00:00", "2023-08-31 12:00:00", "2023-12-31 23:30:00",
    "2024-01-31 10:00:00", "2024-02-29 12:00:00", "2024-03-01 00:00:00", "2024-07-31 10:00:00",
    "2024-08-30 13:00:00", "2024-08-31 12:00:00", "2024-09-30 05:00:00", "2025-02-28 12:00:00",
)]
SHIFTS = [timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1),
          timedelta(seconds=1), timedelta(hours=-8), timedelta(hours=20), timedelta(days=1)]
VALUES = {
    "opacity_pct": [None, 1.0, 30.0, 30.000000000000004, 35.0, 90.0, float("nan")],
    "ringelmann": [None, None, 1.0, 2.0],
    "no_ppm": [None, -20.0, 1500.0, 1500.0000000000002, 2000.0],
    "vsp_device_kw_t": [None, None, 0.0, 5e-324, 8.0],
    "vsp_kw_t": [None, -1.0, 3.0],
    "wind_speed_m_s": [None, 2.0, 5.0, 5.000000000000001],
}
RULES = [
    {}, {}, {"window": "calendar_bucket"}, {"inclusive": False}, {"consecutive": False},
    {"min_hits": 1}, {"min_hits": 3}, {"min_hits": 3, "consecutive": False},
    {"min_gap_s": 1}, {"min_gap_s": 86400, "min_hits": 3}, {"reset_on_inspection": False},
    {"min_gap_s": 86400, "consecutive": False, "window": "calendar_bucket"},
    {"window_months": 1, "window": "calendar_bucket"}, {"window_months": 2, "inclusive": False},
]


def instant(zone: ZoneInfo, base: datetime, months: int, shift: timedelta) -> datetime:
    return (oracle.add_months(base, months) + shift).replace(tzinfo=zone).astimezone(UTC)


def a_history(pick, count: int, timezone: str, vehicles: int,
              clean: bool) -> tuple[list[dict], dict]:
    """Make passes near every boundary; ``pick`` chooses from a list; ``clean``: all valid."""
    zone = ZoneInfo(timezone)
    rows = []
    for number in range(count):
        row = {column: pick(choices) for column, choices in VALUES.items()}
        if clean:
            row |= {"vsp_device_kw_t": 5.0, "wind_speed_m_s": None}
        at = instant(zone, pick(BASES), pick([0, 0, 6, 1, 2]), pick(SHIFTS))
        flags = {flag: clean or pick([True, True, True, False, None]) for flag in ALL_VALID}
        rows.append(row | flags | {
            "record_id": f"r{number:04d}", "measured_at": at,
            "vehicle_id": pick([None, *(f"v{k}" for k in range(vehicles))]),
            "fuel": "diesel" if clean else pick(["diesel", "diesel", "diesel", "gasoline", None]),
            "road_segment": pick(["R1", "R2"]),
        })
    inspections = {f"v{k}": [instant(zone, pick(BASES), pick([0, 3]), pick(SHIFTS))
                             for _ in range(pick([0, 0, 1, 2]))] for k in range(vehicles)}
    return rows, inspections


def agree(rows: list[dict], inspections: dict | None, timezone: str, regulation: Regulation,
          rule: dict) -> int:
    """Insist that the engine and the plain reading find the same; return how many findings."""
    expected = oracle.judge(rows, timezone=timezone, rule=rule, inspections=inspections)
    given = None if inspections is None else inspected(inspections)
    found = find(frame(rows, timezone).lazy(), [regulation], timezone=timezone, inspections=given)
    keys = list(expected[0]) if expected else ["vehicle_id"]
    assert found.select(keys).to_dicts() == expected
    return len(expected)


@pytest.fixture(scope="module")
def regulations(tmp_path_factory) -> list[Regulation]:
    folder = tmp_path_factory.mktemp("laws")
    return [with_law(folder / str(k), HJ845, rule) for k, rule in enumerate(RULES)]


@given(data=st.data())
def test_every_history_is_judged_as_the_plain_reading_judges_it(regulations, data):
    def pick(choices):
        return data.draw(st.sampled_from(choices))

    which = pick(range(len(RULES)))
    timezone = pick([SHANGHAI, SHANGHAI, "Europe/London"])
    rows, inspections = a_history(pick, pick(range(9)), timezone, 2, pick([True, False]))
    agree(rows, pick([None, inspections]), timezone, regulations[which], RULES[which])


def test_long_histories_are_judged_as_the_plain_reading_judges_them(regulations):
    chance = random.Random(845)
    for regulation, rule in zip(regulations, RULES, strict=True):
        found = [agree(*a_history(chance.choice, 600, SHANGHAI, 24, clean), SHANGHAI, regulation,
                       rule) for clean in (True, False)]
        assert sum(found) > 20
