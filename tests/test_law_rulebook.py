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

from rsd import findings
from rsd.columns import PASSES, schema
from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.law import judge
from rsd.law.explain import explain_rule
from rsd.law.rulebook import BUILT_IN, available, load, load_file
from rsd.law.strict_toml import lines_of

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
    assert not any(x.verified for x in (*period.limits, *period.validity))
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
    ('basis = "plume"', 'basis = "free acceleration"', "period[1].limit[1].basis", "one of plume"),
    ('basis = "plume"', "", "period[1].limit[1].basis", "missing"),
    ('role = "screening"', 'role = "clean"', "period[1].limit[3].role", "enforceable, screening"),
    ("required = false", "", "period[1].validity[1].required", "missing"),
    ("required = false", "required = 0", "period[1].validity[1].required", "true or false"),
    ('fuel = ["diesel"]', "emission_stage = [7]", "applies_to.emission_stage", "out of 0, 1, 2"),
    ('fuel = ["diesel"]', "emission_stage = []", "applies_to.emission_stage", "out of 0, 1, 2"),
    ('fuel = ["diesel"]', "emission_stage = [true]", "applies_to.emission_stage", "out of 0"),
    ('fuel = ["diesel"]', "emission_stage = 3", "applies_to.emission_stage", "wrong type"),
    ('fuel = ["diesel"]', 'vehicle_class = ["lorry"]', "applies_to.vehicle_class", "heavy_truck"),
    ("[[period.validity]]\nquantity = \"vsp\"", "[[period.group]]\nquantity = \"vsp\"",
     "period[1].group", "unknown"),
    ("notes = [", "notes = [1, ", "notes", "list of texts"),
    ("value = 30.0\n", "value = 30.0\nvalues = 30.0\n", "period[1].limit[1].values", "unknown"),
    ("value = 5.0\n", "value = 5.0\nvalues = 5.0\n", "period[1].validity[2].values", "unknown"),
    ("notes = [", "note = [", "note", "unknown"),
    ('citation = "HJ 845-2017, clause 1', 'source = "HJ 845-2017, clause 1',
     "applies_to.citation", "missing"),
    ("[applies_to]", "[applies]", "applies_to", "missing"),
    ("[verb]", "[verbs]", "verb", "missing"),
    ("[verb]", "[[verb]]", "verb", "wrong type"),
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


XIAMEN = (BUILT_IN / "xm_375_2019_registration.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("old", "new", "key", "says"), [
    ("emission_stage = [0, 1]\n", "emission_stage = [-1]\n", "group[1].emission_stage", "out of 0"),
    ("emission_stage = [0, 1]\n", "stage = [0, 1]\n", "period[1].group[1].stage", "unknown"),
    ('fuel = ["gasoline"]\nemission_stage = [0, 1]\n', "", "group[1].name", "every vehicle"),
    ('name = "diesel below China III"\n', "", "period[1].group[2].name", "missing"),
    ('clause = "notice 厦府〔2019〕375号, diesel vehicles"\n', "", "group[2].clause", "missing"),
    ("emission_stage = [3]", 'registered_before = "2008"\nemission_stage = [3]',
     "period[1].group[3].registered_before", "without quotes"),
    ("verified = false\n\n[[period.group]]\nname = \"diesel", "\n[[period.group]]\n"
     "name = \"diesel", "group[1].verified", "missing"),
    ("[[period.group]]", "[[period.limit]]", "period[1].limit", "unknown"),
    ("[[period.group]]", '[[period.validity]]\nquantity = "vsp"\n[[period.group]]',
     "period[1].validity", "unknown"),
])
def test_a_faulty_group_is_told_the_key(tmp_path, old, new, key, says):
    assert old in XIAMEN
    file = tmp_path / "xm_375_2019_registration.toml"
    file.write_text(XIAMEN.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError) as told:
        load_file(file)
    assert key in str(told.value)
    assert says in str(told.value)


def test_who_is_clean_is_said_by_clean_limits_alone(tmp_path):
    text = (BUILT_IN / "us_clean_screen.toml").read_text(encoding="utf-8")
    file = tmp_path / "us_clean_screen.toml"
    file.write_text(text.replace('role = "clean"', 'role = "enforceable"', 1), encoding="utf-8")
    with pytest.raises(UsageError, match=r"limit\[1\].role.*expected one of clean"):
        load_file(file)
    assert load("us_clean_screen").acquits
    assert not load("cn_hj845_2017").acquits
    assert not load("xm_375_2019_registration").acquits


def test_a_regulation_without_groups_refuses_in_its_own_words(tmp_path):
    file = tmp_path / "xm_375_2019_registration.toml"
    file.write_text(XIAMEN[:XIAMEN.index("[[period.group]]")], encoding="utf-8")
    empty = load_file(file)
    assert empty.subjects == ()
    with pytest.raises(PolicyRefusal, match=r"has no groups.*\[\[period.group\]\]"):
        empty.require_runnable()
    with pytest.raises(PolicyRefusal, match=r"has no limits.*\[\[period.limit\]\]"):
        load("us_two_highest_120d").require_runnable()


def test_groups_state_whom_they_take_in():
    regulation = load("xm_375_2019_registration")
    assert regulation.subjects == ("none",)
    assert regulation.pollutants == ()
    (period,) = regulation.periods
    assert [(g.fuels, g.emission_stages, g.vehicle_classes, g.kind, g.value, g.unit)
            for g in period.groups] == [
        (("gasoline",), (0, 1), (), "registration", None, None),
        (("diesel",), (0, 1, 2), (), "registration", None, None),
        (("diesel",), (3,), ("small_truck", "medium_truck", "heavy_truck"), "registration", None,
         None)]
    told = explain_rule(regulation)
    assert "gasoline, emission stage 0 or 1: registration" in told
    assert "small_truck or medium_truck or heavy_truck, emission stage 3" in told
    assert "group 'diesel below China III'" in told


def test_what_is_verified_and_what_is_not_is_said_of_each_number(tmp_path):
    told = explain_rule(load_file(changed(tmp_path, "verified = false", "verified = true",
                                          count=-1)))
    assert "[UNVERIFIED]" not in told
    assert told.count("[verified]") == 6
    assert "Every number was compared with the law's own text." in told
    one = HJ845.replace("verified = false", "verified = true").replace(
        "\nverified = true", "\nverified = false", 2)  # the verb's and the first bound's
    (tmp_path / "cn_hj845_2017.toml").write_text(one, encoding="utf-8")
    told = explain_rule(load("cn_hj845_2017", [tmp_path]))
    assert told.count("[UNVERIFIED]") == 2
    assert ("Not compared with the law's own text: vsp bound, numbers of the verb 'repeated'."
            in told)


def test_a_regulation_in_words_says_scope_bounds_and_ends(tmp_path):
    told = explain_rule(two_periods(tmp_path))
    assert "Judges: diesel, heavy_truck, large_bus, emission stage 1, 2." in told
    assert "From 2017-07-27 until 2019-12-31 (that day excluded)" in told
    assert "vsp > 0 kW/t; unknown is not enough [UNVERIFIED]" in told
    assert "wind_speed <= 5 m/s or is unknown" in told
    assert "opacity >= 0.1 % (plume) exceeds: violation" in told
    assert "every stage" in explain_rule(load("cn_hj845_2017"))
    assert "every fuel, every vehicle class" in explain_rule(load("xm_375_2019_registration"))
    assert "co > 0.5 % (dry exhaust without excess air) is not clean: clean" in explain_rule(
        load("us_clean_screen"))


@pytest.mark.parametrize(("old", "new", "known"), [
    ('fuel = ["diesel"]', "fuels = 1", "citation, emission_stage, fuel, vehicle_class"),
    ('title = "', 'titel = "x"\ntitle = "',
     "applies_to, citation, id, jurisdiction, notes, period, title, verb"),
    ("from = 2017-07-27", "from = 2017-07-27\nto = 2018-01-01",
     "citation, from, limit, until, validity"),
])
def test_an_unknown_key_is_told_every_key_that_there_is(tmp_path, old, new, known):
    with pytest.raises(UsageError, match=f"the key is unknown.*expected one of {known}"):
        load_file(changed(tmp_path, old, new))


def test_notes_are_told_where_there_are_any(tmp_path):
    notes = HJ845[HJ845.index("notes = ["):HJ845.index("[applies_to]")]
    assert "\n\nNotes:\n  - The scope is category M" in explain_rule(load("cn_hj845_2017"))
    assert "Notes:" not in explain_rule(load_file(changed(tmp_path, notes, "")))


def test_lines_are_found_by_path():
    text = '''a = 1
b = """
c = 2
[d]
"""
[e]
f = [
  "g = 1",
]
[[h]]
i = 1
[[h.j]]
k = 2
[[h]]
[[h.j]]
k = 3
[[h.j]]
[h.l]
m = 4'''
    assert lines_of(text) == {
        "a": 1, "b": 2, "e": 6, "e.f": 7, "h[1]": 10, "h[1].i": 11, "h[1].j[1]": 12,
        "h[1].j[1].k": 13, "h[2]": 14, "h[2].j[1]": 15, "h[2].j[1].k": 16, "h[2].j[2]": 17,
        "h[2].l": 18, "h[2].l.m": 19}


@pytest.mark.parametrize(("old", "new", "at"), [
    ("min_hits = 2", "min_hits = -2", "min_hits"),
    ("min_hits = 2\n", "", "[verb]"),
    ('quantity = "vsp"', 'quantity = "soot"', 'quantity = "soot"'),
    ("required = false\n", "", "[[period.validity]]"),
    ('role = "screening"', 'role = "x"', 'role = "x"'),
])
def test_a_fault_is_told_with_its_line(tmp_path, old, new, at):
    file = changed(tmp_path, old, new)
    lines = file.read_text(encoding="utf-8").splitlines()
    line = 1 + next(k for k, text in enumerate(lines) if text.startswith(at))
    with pytest.raises(UsageError, match=rf"toml, line {line}, key"):
        load_file(file)


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
    for content in (b"id = ", b"id = 1\nid = 2", b"\xff\xfe", b"a = " + b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="no TOML in UTF-8"):
            load_file(file)
    with pytest.raises(StorageError, match=r"y\.toml"):
        load_file(tmp_path / "y.toml")


# One reading: both engines, word for word.


def two_periods(folder: Path):
    """HJ 845 with bounds of class and stage, a VSP that must be known, and from 2020 on a sharper,
    '>=' limit."""
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
                        'fuel = ["diesel"]\nvehicle_class = ["heavy_truck", "large_bus"]\n'
                        "emission_stage = [1, 2]")
    text = text.replace("required = false", "required = true", 1)
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
            "emission_stage": 2, "vsp_kw_t": 5.0,
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
    emission_stage=st.sampled_from([None, 0, 1, 2, 3]),
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
    frame = pl.DataFrame(rows, schema=asked)
    both_engines(frame, regulation)
    for question in findings._questions([regulation]):  # who is not even suspected is not found
        said = frame.select(verdict=question.verdict(), may=question.may_exceed())
        assert said.filter("verdict")["may"].all(ignore_nulls=False)


# What a regulation of several pollutants, or of registrations, says of one record


def say(regulation, subject: str, *names: str, **values) -> tuple:
    """Return the verdict on a pass, and what is stated of the rule behind it."""
    row = pl.DataFrame([a_pass(**values)], schema=schema(PASSES))
    return row.select(judge.verdict(regulation, subject).alias("verdict"), *(
        judge.stated(regulation, subject, name).alias(name) for name in names)).row(0)


CAR = {"fuel": "gasoline", "vsp_kw_t": 10.0, "is_valid_co": True, "is_valid_hc": True}


@pytest.mark.parametrize(("values", "expected"), [
    ({"co_pct": 0.5, "hc_ppm": 200.0, "no_ppm": 1000.0}, False),
    ({"co_pct": 0.5, "hc_ppm": 200.0, "no_ppm": 1000.1}, True),
    ({"co_pct": 0.5, "hc_ppm": 200.0}, None),
    ({"co_pct": 0.6, "hc_ppm": 200.0}, True),
    ({"co_pct": 0.6}, True),
    ({}, None),
    ({"co_pct": 0.6, "fuel": "diesel"}, None),
    ({"co_pct": 0.6, "vsp_kw_t": None}, None),
    ({"co_pct": 0.6, "vsp_kw_t": 2.0}, None),
    ({"co_pct": 0.6, "is_valid_co": False}, None),
    ({"co_pct": 0.5, "hc_ppm": 200.0, "no_ppm": 1000.0, "is_valid_no": None}, None),
])
def test_a_record_is_clean_only_if_every_pollutant_was_tested(values, expected):
    regulation = load("us_clean_screen")
    for pollutant in regulation.pollutants:
        assert say(regulation, pollutant, **(CAR | values)) == (expected,)


def test_a_period_asks_only_for_the_pollutants_it_limits(tmp_path):
    text = (BUILT_IN / "us_clean_screen.toml").read_text(encoding="utf-8")
    parts = text.split("[[period.limit]]")
    second = parts[0][parts[0].index("[[period]]"):].replace("1970-01-01", "2023-01-01")
    first = parts[0].replace("from = 1970-01-01", "from = 1970-01-01\nuntil = 2023-01-01")
    limit = "[[period.limit]]"
    text = limit.join([first, parts[1]]) + second + limit + limit.join(parts[2:])
    (tmp_path / "us_clean_screen.toml").write_text(text, encoding="utf-8")
    regulation = load("us_clean_screen", [tmp_path])
    old, new = date(2022, 12, 31), date(2023, 1, 1)
    assert say(regulation, "co", date=old, co_pct=0.4, **CAR) == (False,)
    assert say(regulation, "co", date=new, co_pct=0.4, **CAR) == (None,)
    assert say(regulation, "co", date=new, hc_ppm=1.0, no_ppm=1.0, **CAR) == (False,)
    assert say(regulation, "co", date=date(1969, 12, 31), co_pct=0.4, **CAR) == (None,)


def test_what_is_stated_comes_from_the_rule_that_speaks(tmp_path):
    regulation = two_periods(tmp_path)
    names = ("kind", "value", "unit", "clause", "verified")
    old, new = date(2019, 12, 30), date(2020, 1, 1)
    assert say(regulation, "opacity", *names, date=old, opacity_pct=31.0) == (
        True, "violation", 30.0, "%", "HJ 845-2017, clause 5, table 1", False)
    assert say(regulation, "opacity", *names, date=new, opacity_pct=0.1) == (
        True, "violation", 0.1, "%", "test", True)
    assert say(regulation, "no", *names, date=new) == (None,) * 6
    assert say(regulation, "opacity", *names, date=date(2017, 7, 26)) == (None,) * 6
    regulation = load("xm_375_2019_registration")
    assert say(regulation, "none", *names, emission_stage=3) == (
        True, "registration", None, None, "notice 厦府〔2019〕375号, China III diesel trucks",
        False)
    # a vehicle of two groups: the first that takes it in speaks
    assert say(regulation, "none", "clause", emission_stage=2)[1].endswith("diesel vehicles")
    assert say(regulation, "none", "clause", emission_stage=4) == (False, None)
    assert say(regulation, "none", "clause", emission_stage=1, date=date(2019, 12, 31)) == (
        None, None)


def test_all_limits_of_a_clean_screen_must_be_verified(tmp_path):
    text = (BUILT_IN / "us_clean_screen.toml").read_text(encoding="utf-8")
    file = tmp_path / "us_clean_screen.toml"
    file.write_text(text.replace("verified = false", "verified = true"), encoding="utf-8")
    values = CAR | {"co_pct": 0.1, "hc_ppm": 1.0, "no_ppm": 1.0}
    assert say(load_file(file), "co", "verified", **values) == (False, True)
    last = text.replace("verified = false", "verified = true", 5)  # verb, bounds, CO, HC: not NO
    file.write_text(last, encoding="utf-8")
    assert say(load_file(file), "co", "verified", **values) == (False, False)


def registered(folder: Path, group: str):
    text = XIAMEN[:XIAMEN.index("[[period.group]]")] + f"""
[[period.group]]
name = "test"
{group}
clause = "test"
citation = "test"
verified = true
"""
    (folder / "xm_375_2019_registration.toml").write_text(text, encoding="utf-8")
    return load("xm_375_2019_registration", [folder])


def test_a_group_by_date_of_registration(tmp_path):
    regulation = registered(tmp_path, "registered_before = 2008-07-01")
    for day, expected in ((date(2008, 6, 30), True), (date(2008, 7, 1), False), (None, None)):
        assert say(regulation, "none", first_registered=day) == (expected,)
    assert "first registered before 2008-07-01" in explain_rule(regulation)


def test_the_scope_of_a_registration_bounds_it(tmp_path):
    regulation = registered(tmp_path, "emission_stage = [2]")
    assert say(regulation, "none", fuel="gasoline") == (True,)
    file = Path(regulation.path)
    file.write_text(file.read_text(encoding="utf-8").replace(
        "[applies_to]", '[applies_to]\nfuel = ["diesel"]'), encoding="utf-8")
    assert say(load_file(file), "none", fuel="gasoline") == (None,)
    assert say(load_file(file), "none", fuel="diesel") == (True,)


def test_the_columns_that_are_read_are_named():
    assert judge.columns_read(load("cn_hj845_2017"), "no") == (
        "date", "fuel", "vehicle_class", "emission_stage", "is_valid", "vsp_device_kw_t",
        "vsp_kw_t", "wind_speed_m_s", "is_valid_no", "no_ppm")
    assert judge.columns_read(load("xm_375_2019_registration"), "none") == (
        "date", "fuel", "vehicle_class", "emission_stage", "first_registered")
    assert judge.columns_read(load("us_clean_screen"), "co")[-6:] == (
        "is_valid_co", "co_pct", "is_valid_hc", "hc_ppm", "is_valid_no", "no_ppm")
