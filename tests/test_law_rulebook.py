"""Regulations: what is built in, and what a faulty file is told; the verdict on one reading."""

import hashlib
import itertools
import math
from datetime import date
from functools import cache
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.columns import PASSES, schema
from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.law import judge
from rsd.law.explain import explain_rule
from rsd.law.rulebook import BUILT_IN, available, load, load_file

HJ845 = (BUILT_IN / "cn_hj845_2017.toml").read_text(encoding="utf-8")


def changed(folder: Path, old: str, new: str, *, count: int = 1) -> Path:
    """Write HJ 845 with a change and return the file."""
    assert old in HJ845
    folder.mkdir(exist_ok=True)
    file = folder / "cn_hj845_2017.toml"
    file.write_text(HJ845.replace(old, new, count), encoding="utf-8")
    return file


def test_every_built_in_regulation_loads_and_explains_itself():
    for regulation_id in available():
        regulation = load(regulation_id)
        assert regulation.id == regulation_id
        assert regulation_id in explain_rule(regulation)


def test_hj845_states_its_numbers_dated_cited_and_unverified():
    regulation = load("cn_hj845_2017")
    (period,) = regulation.periods
    assert (period.start, period.until) == (date(2017, 7, 27), None)
    assert [(x.pollutant, x.op, x.value, x.unit, x.kind) for x in period.limits] == [
        ("opacity", ">", 30.0, "%", "violation"),
        ("ringelmann", ">", 1.0, "grade", "violation"),
        ("no", ">", 1500.0, "ppm", "screening"),
    ]
    assert [(b.quantity, b.op, b.value) for b in period.validity] == [
        ("vsp", ">", 0.0), ("wind_speed", "<=", 5.0)]
    assert not any(period.is_verified(p) for p in regulation.pollutants)
    assert regulation.scope.fuels == ("diesel",)
    assert "opacity limit, ringelmann limit, no limit" in explain_rule(regulation)


def test_observed_gasoline_limits_are_no_law_so_they_only_screen():
    regulation = load("platform_observed_gasoline")
    limits = regulation.periods[0].limits
    assert {x.pollutant: x.value for x in limits} == {"co": 2.5, "hc": 1200.0, "no": 1500.0}
    assert {x.kind for x in limits} == {"screening"}
    assert "not law" in explain_rule(regulation)


def test_beijing_refuses_to_run_until_its_limits_are_supplied(tmp_path):
    regulation = load("cn_bj_db11_318_2022")
    with pytest.raises(PolicyRefusal, match="limits from the standard's own text"):
        regulation.require_runnable()
    assert "refuses to run" in explain_rule(regulation)
    limit = """
[[period.limit]]
pollutant = "co"
value = 1.0
unit = "%"
basis = "dry exhaust without excess air"
op = ">"
role = "enforceable"
clause = "test"
citation = "test"
verified = true
"""
    text = (BUILT_IN / "cn_bj_db11_318_2022.toml").read_text(encoding="utf-8")
    (tmp_path / "cn_bj_db11_318_2022.toml").write_text(text + limit, encoding="utf-8")
    supplied = load("cn_bj_db11_318_2022", [tmp_path])
    supplied.require_runnable()
    assert supplied.pollutants == ("co",)


def test_a_folder_adds_regulations_and_wins_over_the_built_in(tmp_path):
    file = changed(tmp_path, 'role = "screening"', 'role = "enforceable"')
    (tmp_path / "xm_own.toml").write_text(
        HJ845.replace('id = "cn_hj845_2017"', 'id = "xm_own"'), encoding="utf-8")
    assert set(available([tmp_path])) == {*available(), "xm_own"}
    own = load("cn_hj845_2017", [tmp_path])
    assert own.periods[0].limit("no").kind == "violation"
    assert own.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert own.sha256 != load("cn_hj845_2017").sha256
    assert load("xm_own", [tmp_path]).id == "xm_own"


def test_an_unknown_regulation_names_the_known_ones():
    with pytest.raises(UsageError, match="cn_hj845_2017"):
        load("../../etc/passwd")


OPACITY = 'value = 30.0\nunit = "%"'
SECOND = """
[[period]]
from = 2020-01-01
citation = "test"
"""
EARLIER = """
[[period]]
from = 2010-01-01
until = 2017-07-28
citation = "test"
"""


@pytest.mark.parametrize(("old", "new", "key", "says"), [
    ("min_hits = 2", "min_hits = 2\nmin_hit = 3", "verb.min_hit", "unknown"),
    ('title = "', 'titel = "x"\ntitle = "', "titel", "unknown"),
    ('clause = "HJ 845-2017, clause 6"', "", "verb.clause", "missing"),
    ('fuel = ["diesel"]', 'fuel = ["diesel"]\nfuels = 1', "applies_to.fuels", "unknown"),
    ('fuel = ["diesel"]', 'fuel = ["Diesel"]', "applies_to.fuel", "out of gasoline, diesel"),
    ('fuel = ["diesel"]', "fuel = []", "applies_to.fuel", "out of gasoline, diesel"),
    (OPACITY, 'value = 30.0\nunit = "ppm"', "period[1].limit[1].unit", "expected one of %"),
    (OPACITY, 'value = -1\nunit = "%"', "period[1].limit[1].value", "not negative"),
    (OPACITY, 'value = nan\nunit = "%"', "period[1].limit[1].value", "not negative"),
    (OPACITY, f'value = 1{"0" * 400}\nunit = "%"', "period[1].limit[1].value", "not negative"),
    (OPACITY, 'value = true\nunit = "%"', "period[1].limit[1].value", "wrong type"),
    (OPACITY, 'value = "30"\nunit = "%"', "period[1].limit[1].value", "wrong type"),
    ('pollutant = "opacity"', 'pollutant = "soot"', "period[1].limit[1].pollutant", "one of co"),
    ('pollutant = "opacity"', 'pollutant = "ringelmann"', "limit[1].unit", "expected one of grade"),
    ('op = ">"\nrole', 'op = "<"\nrole', "period[1].limit[1].op", "one of >, >="),
    ('role = "screening"', 'role = "advice"', "period[1].limit[3].role", "enforceable, screening"),
    ('quantity = "vsp"', 'quantity = "power"', "period[1].validity[1].quantity", "one of vsp"),
    ('unit = "m/s"', 'unit = "km/h"', "period[1].validity[2].unit", "expected one of m/s"),
    ('name = "repeated"', 'name = "thrice"', "verb.name", "one of single, repeated"),
    ("min_hits = 2", "min_hits = 0", "verb", "min_hits must lie between 1"),
    ("min_hits = 2", "min_hits = 2.0", "verb.min_hits", "whole number"),
    ("min_hits = 2", "min_hits = true", "verb.min_hits", "whole number"),
    ("window_months = 6", "window_months = -6", "verb.window_months", "not negative"),
    ('window = "anchored"', 'window = "rolling"', "verb.window", "anchored, calendar_bucket"),
    ("consecutive = true", "consecutive = 1", "verb.consecutive", "true or false"),
    ("from = 2017-07-27", 'from = "2017-07-27"', "period[1].from", "without quotes"),
    ("from = 2017-07-27", "from = 2017-07-27T00:00:00", "period[1].from", "without quotes"),
    ("from = 2017-07-27", "from = 2017-07-27\nuntil = 2017-07-27", "period[1].until", "before"),
    ('citation = "catalogue', 'source = "catalogue', "period[1].citation", "missing"),
    ('id = "cn_hj845_2017"', 'id = "other"', "id", "differs from the file's name"),
    (HJ845[HJ845.index("[[period]]"):], "", "period", "no dated period"),
    (HJ845[HJ845.index("[[period]]"):], "[period]\n", "period", "[[period]]"),
    ("\n[[period]]", SECOND + "\n[[period]]", "period[1].from", "overlap"),
    ("\n[[period]]", EARLIER + "\n[[period]]", "period[2].from", "overlap"),
])
def test_a_faulty_file_is_told_the_key_and_what_was_expected(tmp_path, old, new, key, says):
    file = changed(tmp_path, old, new)
    with pytest.raises(UsageError) as told:
        load_file(file)
    message = str(told.value)
    assert str(file) in message
    assert key in message
    assert says in message
    assert told.value.remedy


def test_no_citation_no_limit(tmp_path):
    start = HJ845.index("citation", HJ845.index('pollutant = "opacity"'))
    line = HJ845[start:HJ845.index("\n", start)]
    with pytest.raises(UsageError, match=r"limit\[1\].citation: the key is missing"):
        load_file(changed(tmp_path, line, ""))
    with pytest.raises(UsageError, match=r"limit\[1\].citation"):
        load_file(changed(tmp_path, line, 'citation = " "'))


def test_periods_that_meet_do_not_overlap(tmp_path):
    meeting = EARLIER.replace("2017-07-28", "2017-07-27")
    first, second = load_file(changed(tmp_path, "\n[[period]]", meeting + "\n[[period]]")).periods
    assert first.until == second.start == date(2017, 7, 27)


def test_two_limits_of_one_pollutant_are_refused(tmp_path):
    limit = HJ845[HJ845.index('[[period.limit]]\npollutant = "no"'):]
    with pytest.raises(UsageError, match="two limits"):
        load_file(changed(tmp_path, limit, f"{limit}\n{limit}"))


def test_what_is_no_toml_or_no_file_is_no_traceback(tmp_path):
    file = tmp_path / "x.toml"
    for content in (b"id = ", b"id = 1\nid = 2", b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="no TOML in UTF-8"):
            load_file(file)
    with pytest.raises(StorageError, match=r"y\.toml"):
        load_file(tmp_path / "y.toml")


# One reading: both engines, word for word.


def two_periods(folder: Path):
    """HJ 845 with a class bound and a sharper, '>=' limit from 2020 on."""
    second = """
[[period]]
from = 2020-01-01
citation = "test"

[[period.limit]]
pollutant = "opacity"
value = 0.1
unit = "%"
basis = "plume"
op = ">="
role = "enforceable"
clause = "test"
citation = "test"
verified = true
"""
    text = HJ845.replace("from = 2017-07-27", "from = 2017-07-27\nuntil = 2019-12-31")
    text = text.replace('fuel = ["diesel"]',
                        'fuel = ["diesel"]\nvehicle_class = ["heavy_truck", "large_bus"]')
    folder.mkdir(exist_ok=True)
    (folder / "cn_hj845_2017.toml").write_text(text + second, encoding="utf-8")
    return load("cn_hj845_2017", [folder])


@cache
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def in_sql(frame: pl.DataFrame, spelled: str) -> pl.DataFrame:
    database().register("frame", frame.to_arrow())
    return database().sql(f"SELECT {spelled} FROM frame").pl()


def both_engines(frame: pl.DataFrame, regulation) -> pl.DataFrame:
    """Ask both engines every question, insist on one answer, return it."""
    answers = frame.select(
        f(regulation, p).alias(f"{f.__name__}_{p}")
        for f in (judge.applies, judge.tested, judge.exceeds) for p in regulation.pollutants
    )
    spelled = ", ".join(
        f'{f(regulation, p)} AS "{f.__name__.removesuffix("_sql")}_{p}"'
        for f in (judge.applies_sql, judge.tested_sql, judge.exceeds_sql)
        for p in regulation.pollutants
    )
    sql = in_sql(frame, spelled)
    assert sql.equals(answers, null_equal=True), (sql, answers)
    return answers


def around(value: float) -> list[float | None]:
    return [None, value, math.nextafter(value, -math.inf), math.nextafter(value, math.inf),
            -value, math.nan, math.inf, -math.inf]


def a_pass(**values) -> dict:
    return {"date": date(2024, 1, 1), "fuel": "diesel", "vehicle_class": "heavy_truck",
            "is_valid": True, **{f"is_valid_{p}": True for p in ("opacity", "ringelmann", "no")},
            **values}


def test_a_value_on_the_limit_passes_and_the_next_double_exceeds():
    for p, column, limit in (("opacity", "opacity_pct", 30.0), ("ringelmann", "ringelmann", 1.0),
                             ("no", "no_ppm", 1500.0)):
        frame = pl.DataFrame([a_pass(**{column: v}) for v in around(limit)], schema=schema(PASSES))
        answers = both_engines(frame, load("cn_hj845_2017"))
        assert answers[f"exceeds_{p}"].to_list() == [
            None, False, False, True, False, None, None, None]
        assert answers[f"applies_{p}"].all()


def test_limits_follow_the_dates_from_inclusive_until_exclusive(tmp_path):
    regulation = two_periods(tmp_path)
    days = [date(2017, 7, 26), date(2017, 7, 27), date(2019, 12, 30), date(2019, 12, 31),
            date(2020, 1, 1), None]
    cases = [a_pass(date=d, opacity_pct=v) for d in days for v in (0.1, 31.0)]
    answers = both_engines(pl.DataFrame(cases, schema=schema(PASSES)), regulation)
    assert answers["exceeds_opacity"].to_list() == [
        None, None, False, True, False, True, None, None, True, True, None, None]
    assert answers["applies_opacity"].to_list() == [False] * 2 + [True] * 4 + [False] * 2 + [
        True] * 2 + [False] * 2
    assert answers["applies_no"].to_list() == [False] * 2 + [True] * 4 + [False] * 6


def test_the_device_vsp_decides_and_ours_only_where_it_has_none():
    pairs = [(0.0, 9.0, False), (5e-324, -9.0, True), (None, 0.0, False), (None, 1.0, True),
             (None, None, True)]
    frame = pl.DataFrame([a_pass(vsp_device_kw_t=a, vsp_kw_t=b, opacity_pct=1.0)
                          for a, b, _ in pairs], schema=schema(PASSES))
    answers = both_engines(frame, load("cn_hj845_2017"))
    assert answers["tested_opacity"].to_list() == [t for *_, t in pairs]


def test_an_invalid_or_unknown_flag_is_not_tested_but_still_falls_under_the_law():
    flags = list(itertools.product((True, False, None), repeat=2))
    frame = pl.DataFrame([a_pass(is_valid=a, is_valid_opacity=b, opacity_pct=99.0)
                          for a, b in flags], schema=schema(PASSES))
    answers = both_engines(frame, load("cn_hj845_2017"))
    assert answers["exceeds_opacity"].to_list() == [True] + [None] * 8
    assert answers["applies_opacity"].all()


def test_a_pollutant_without_a_limit_is_never_judged():
    frame = pl.DataFrame([a_pass(co_pct=99.0, is_valid_co=True)], schema=schema(PASSES))
    regulation = load("cn_hj845_2017")
    for ask in (judge.applies, judge.tested):
        assert frame.select(ask(regulation, "co")).item() is False
    assert frame.select(judge.exceeds(regulation, "co")).item() is None
    spelled = (f(regulation, "co") for f in (judge.applies_sql, judge.tested_sql,
                                             judge.exceeds_sql))
    assert in_sql(frame, ", ".join(spelled)).rows() == [(False, False, None)]


_passes = st.builds(
    a_pass,
    date=st.sampled_from([None, date(2017, 7, 26), date(2017, 7, 27), date(2019, 12, 31),
                          date(2020, 1, 1), date(2030, 1, 1)]),
    fuel=st.sampled_from([None, "diesel", "gasoline", "unknown"]),
    vehicle_class=st.sampled_from([None, "heavy_truck", "special"]),
    is_valid=st.sampled_from([None, True, True, False]),
    is_valid_opacity=st.sampled_from([None, True, True, False]),
    opacity_pct=st.sampled_from([*around(30.0), *around(0.1)]) | st.floats(),
    no_ppm=st.sampled_from(around(1500.0)) | st.floats(),
    ringelmann=st.sampled_from(around(1.0)),
    vsp_device_kw_t=st.sampled_from([*around(0.0), 3.0, None]),
    vsp_kw_t=st.sampled_from([*around(0.0), 3.0, None]),
    wind_speed_m_s=st.sampled_from(around(5.0)),
)


@given(rows=st.lists(_passes, min_size=1, max_size=8), dated=st.booleans())
def test_both_engines_give_the_same_verdicts(tmp_path_factory, rows, dated):
    regulation = (two_periods(tmp_path_factory.getbasetemp() / "law") if dated
                  else load("cn_hj845_2017"))
    asked = {c: schema(PASSES)[c] for p in regulation.pollutants
             for c in judge.columns_read(regulation, p)}
    both_engines(pl.DataFrame(rows, schema=asked), regulation)
