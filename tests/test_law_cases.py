"""The regulator's cases, one file a regulation; and that the runner of cases can say no."""

import re
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from chain import rsd

from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.law.rulebook import BUILT_IN, available, load, load_file
from rsd.law.rules import BASES
from rsd.law.verbs import VERBS
from rsd.pipeline.casebook import check, run

CASES = Path(__file__).parent / "cases"
GASOLINE = (CASES / "platform_observed_gasoline.toml").read_text(encoding="utf-8")
HONG_KONG = (CASES / "hk_dual_rse.toml").read_text(encoding="utf-8")


def case_files() -> dict[str, dict]:
    """Name → content of the files that speak of a regulation; others speak of the review."""
    read = {f.stem: tomllib.loads(f.read_text(encoding="utf-8"))
            for f in sorted(CASES.glob("*.toml"))}
    return {name: content for name, content in read.items() if "regulation" in content}


def all_cases() -> list:
    return [pytest.param(name, case["id"], id=f"{name}: {case['id']}")
            for name, content in case_files().items() for case in content["case"]]


@cache
def outcomes(regulation: str) -> dict[str, str | None]:
    """Case → complaint of a built-in regulation's case file."""
    return {case: c for case, _, c in run(load(regulation), CASES / f"{regulation}.toml")}


def test_every_regulation_has_its_case_file_and_every_case_file_its_regulation():
    assert set(case_files()) == set(available())


@pytest.mark.parametrize(("regulation", "case"), all_cases())
def test_a_case_ends_as_the_regulator_reads_it(regulation, case):
    assert outcomes(regulation)[case] is None


def test_the_sixteen_cases_of_the_rule_are_all_there():
    ids = {case.split()[0] for case in outcomes("cn_hj845_2017")}
    assert {f"T{k}" for k in range(1, 17)} <= ids


def case_file(folder: Path, old: str, new: str, text: str = GASOLINE) -> Path:
    assert old in text
    file = folder / "cases.toml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def complaints(file: Path, regulation: str = "platform_observed_gasoline") -> list[str]:
    return [c for *_, c in run(load(regulation), file) if c is not None]


@pytest.mark.parametrize(("old", "new", "says"), [
    ("hc = false, no = true", "hc = false, no = false", "reading 1: no True, not False"),
    ("hc = false, no = true", 'hc = "untested", no = true', "reading 1: hc False, not untested"),
    ("co_pct = 2.5,", "co_pct = 2.6,", "reading 1: co True, not False"),
    ('kind = "screening"', 'kind = "violation"', "finding 1: kind is screening, not violation"),
    ('found_at = "2020-11-28 08:00:00"', 'found_at = "2020-11-28 07:00:00"',
     "anchored: finding 1: found_at is 2020-11-28 08:00:00, not 2020-11-28 07:00:00"),
    ("co_pct = 2.6 },", "co_pct = 2.5 },", "anchored: 0 findings (none), not 1"),
    ("expect = { anchored = [], calendar_bucket = [] }", 'expect = [{ pollutant = "no" }]',
     "0 findings (none), not 1"),
])
def test_a_case_that_ends_otherwise_is_told_what_came_instead(tmp_path, old, new, says):
    assert says in complaints(case_file(tmp_path, old, new))[0]


def test_a_finding_too_many_is_named(tmp_path):
    file = case_file(tmp_path, 'anchored = [{ pollutant = "co", kind = "screening", '
                     'found_at = "2020-11-28 08:00:00" }]', "anchored = []")
    assert complaints(file) == ["anchored: 1 findings (co at 2020-11-28 08:00:00), not 0"]


@pytest.mark.parametrize(("old", "new", "where", "says"), [
    ('regulation = "platform_observed_gasoline"', 'regulation = "other"', "line 4, key regulation",
     "of another regulation"),
    ('timezone = "Asia/Shanghai"', 'timezone = "Asia/Xiamen"', "line 5, key timezone", "IANA"),
    ("co_pct = 0.82", "co_pc = 0.82", "line 8, key case[1].readings[1].co_pc", "unknown"),
    ("co_pct = 0.82", 'co_pct = "much"', "case[1].readings[1].co_pct", "a number"),
    ("co_pct = 0.82", "is_valid = true", "case[1].readings[1].is_valid", "unknown"),
    ('at = "2020-10-28 08:48:57"', 'at = "yesterday"', "case[1].readings[1].at", "local time"),
    ('at = "2020-10-28 08:48:57", ', "", "case[1].readings[1].at", "missing"),
    (", valid = true", "", "case[1].readings[1].valid", "missing"),
    ('exceeds = [{ co', "exceeds = [{ co2", "case[1].exceeds[1].co2", "one of co, hc, no"),
    ("no = true }]", "no = 1.5 }]", "case[1].exceeds[1].no", "true, false or untested"),
    ('kind = "screening"', 'sort = "screening"', "case[3].expect[1].sort", "one of clause"),
    ('id = "on the limits"', 'id = "screening only"', "line 16, key case[2].id", "two cases"),
    ("[[case]]", "[[cases]]", "key cases", "unknown"),
    ("[case.expect]\nanchored", "[case.expect]\nanchord", "line 22, key case[3].law.window",
     "one of anchored, calendar_bucket"),
    ("expect = { anchored = [], calendar_bucket = [] }", "", "case[1].expect", "missing"),
    ("exceeds = [{ co = false, hc = false, no = true }]", "exceeds = [{}, {}]", "case[1].exceeds",
     "not one verdict a reading"),
    ('title = "V', 'law = { min_hit = 1 }\ntitle = "V', "case[2].law.min_hit", "unknown"),
    ('title = "V', 'law = { min_hits = 0 }\ntitle = "V', "case[2].law", "between 1"),
    ('title = "V', 'inspections = ["soon"]\ntitle = "V', "case[2].inspections", "no time"),
    ('[[case]]\nid = "the', '[[example_limit]]\npollutant = "no"\nvalue = 1\nunit = "ppm"\n'
     'op = ">"\n[[case]]\nid = "the', "example_limit", "limits of its own"),
])
def test_a_slip_in_a_case_file_is_told_with_line_and_key(tmp_path, old, new, where, says):
    file = case_file(tmp_path, old, new)
    with pytest.raises(UsageError) as told:
        run(load("platform_observed_gasoline"), file)
    message = str(told.value)
    assert str(file) in message
    assert where in message
    assert says in message


def test_a_regulation_without_limits_is_shown_by_invented_ones_only(tmp_path):
    start, end = HONG_KONG.index("[[example_limit]]"), HONG_KONG.index("[[case]]")
    bare = tmp_path / "bare.toml"
    bare.write_text(HONG_KONG[:start] + HONG_KONG[end:], encoding="utf-8")
    with pytest.raises(PolicyRefusal, match="no limits"):
        run(load("hk_dual_rse"), bare)
    with pytest.raises(UsageError, match=r"example_limit\[1\].unit"):
        run(load("hk_dual_rse"), case_file(tmp_path, 'unit = "ppm"', 'unit = "%"', HONG_KONG))
    assert load("hk_dual_rse").pollutants == ()


def test_an_empty_case_file_proves_nothing(tmp_path):
    head = GASOLINE[:GASOLINE.index("[[case]]")]
    file = tmp_path / "cases.toml"
    file.write_text(head, encoding="utf-8")
    with pytest.raises(UsageError, match="there is no case"):
        run(load("platform_observed_gasoline"), file)
    file.write_text(head + '[[case]]\nid = "x"\ntitle = "x"\nexpect = []', encoding="utf-8")
    with pytest.raises(UsageError, match="no reading"):
        run(load("platform_observed_gasoline"), file)


# A city's own file


def own(folder: Path, regulation: str = "platform_observed_gasoline") -> Path:
    text = (BUILT_IN / f"{regulation}.toml").read_text(encoding="utf-8")
    file = folder / "xm_own.toml"
    file.write_text(text.replace(f'id = "{regulation}"', 'id = "xm_own"'), encoding="utf-8")
    return file


def test_a_citys_own_file_is_checked_with_the_cases_beside_it(tmp_path):
    file = own(tmp_path)
    checked = check(file)
    assert checked.cases.is_empty()
    assert "there is no case file for it" in checked.remarks
    assert "xm_own, verb repeated, 1 period, 3 limits" in checked.remarks[0]
    assert "numbers of the verb 'repeated'" in checked.remarks[1]
    checked.require_sound()
    beside = tmp_path / "xm_own.cases.toml"
    beside.write_text(GASOLINE.replace('"platform_observed_gasoline"', '"xm_own"'),
                      encoding="utf-8")
    checked = check(file)
    assert checked.cases["outcome"].to_list() == ["as it says"] * 4
    assert f"{beside}: 4 cases" in checked.remarks
    checked.require_sound()
    beside.write_text(beside.read_text(encoding="utf-8").replace("no = true", "no = false", 1),
                      encoding="utf-8")
    checked = check(file)
    assert checked.cases["outcome"].to_list() == ["OTHERWISE"] + ["as it says"] * 3
    with pytest.raises(UsageError, match=r"1 of 4 cases.*the published record"):
        checked.require_sound()
    # the case file beside it is no regulation
    assert set(available([tmp_path])) == {*available(), "xm_own"}


def test_what_is_not_runnable_is_said(tmp_path):
    assert any("refuses to run" in r for r in check(own(tmp_path, "hk_dual_rse")).remarks)
    assert "3 groups" in check(own(tmp_path, "xm_375_2019_registration")).remarks[0]


def test_a_chosen_case_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"none\.toml"):
        check(own(tmp_path), tmp_path / "none.toml")


def test_line_numbers_lead_to_the_fault(tmp_path):
    file = own(tmp_path)
    lines = file.read_text(encoding="utf-8").splitlines()
    at = lines.index("value = 1200.0")
    lines[at] = "value = -1"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"line {at + 1}, key period\[1\].limit\[2\].value"):
        load_file(file)
    lines[at] = ""
    file.write_text("\n".join(lines), encoding="utf-8")
    header = max(k for k in range(at) if lines[k] == "[[period.limit]]")
    with pytest.raises(UsageError, match=rf"line {header + 1}, key period\[1\].limit\[2\].value"):
        load_file(file)


# The command line


def test_check_says_what_is_sound_and_ends_with_0_or_2(tmp_path):
    file = own(tmp_path)
    answer = rsd("regulations", "check", file)
    assert answer.code == 0
    assert f"{file} is sound" in answer.err
    assert "not compared with the law's own text: co limit, hc limit" in answer.err
    beside = tmp_path / "xm_own.cases.toml"
    beside.write_text(GASOLINE.replace('"platform_observed_gasoline"', '"xm_own"'),
                      encoding="utf-8")
    answer = rsd("regulations", "check", file, "--format", "json")
    assert answer.code == 0
    assert next((row["case"], row["outcome"]) for row in answer.json) == (
        "the published record", "as it says")
    file.write_text(file.read_text(encoding="utf-8").replace("value = 1500.0", "value = 1525.0"),
                    encoding="utf-8")
    answer = rsd("regulations", "check", file)
    assert answer.code == 2
    assert "OTHERWISE" in answer.out
    assert "reading 1: no False, not True" in answer.out
    assert "1 of 4 cases end otherwise" in answer.err
    file.write_text(file.read_text(encoding="utf-8").replace("unit =", "units =", 1),
                    encoding="utf-8")
    answer = rsd("regulations", "check", file)
    assert answer.code == 2
    assert "key period[1].limit[1].unit: the key is missing" in answer.message
    assert rsd("regulations", "check", tmp_path / "none.toml").code == 6


def test_the_list_tells_what_runs_and_what_is_verified(tmp_path):
    rows = {row["regulation"]: row for row in rsd("regulations", "--format", "json").json}
    assert set(rows) == set(available())
    assert {name for name, row in rows.items() if not row["is_runnable"]} == {
        "cn_bj_db11_318_2022", "hk_dual_rse", "us_two_highest_120d"}
    assert not any(row["is_verified"] for row in rows.values())
    assert all(row["unverified"] and row["is_built_in"] for row in rows.values())
    assert rows["cn_hj845_2017"]["kinds"] == "violation, screening"
    assert rows["xm_375_2019_registration"]["kinds"] == "registration"
    told = rsd("regulations").out
    assert "registration" in told
    assert "UNVERIFIED" in told


def test_a_lakes_own_regulations_are_listed_and_explained(tmp_path):
    lake = tmp_path / "lake"
    assert rsd("init", lake).code == 0
    (lake / "regulations").mkdir(exist_ok=True)
    own(lake / "regulations")
    rows = {row["regulation"]: row
            for row in rsd("regulations", "--lake", lake, "--format", "json").json}
    assert not rows["xm_own"]["is_built_in"]
    assert "xm_own: Gasoline limits" in rsd("regulations", "xm_own", "--lake", lake).out
    assert rsd("regulations", "xm_own").code == 2
    assert rsd("find", lake, "--regulation", "xm_own").code == 0
    assert rsd("find", lake, "--regulation", "hk_dual_rse").code == 8


# The page for officers


def test_the_page_names_every_regulation_verb_number_and_basis():
    page = (Path(__file__).parents[1] / "docs" / "regulations.md").read_text(encoding="utf-8")
    for regulation in available():
        assert f"`{regulation}`" in page
    for name, verb in VERBS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", page, re.MULTILINE)
        for number in fields(verb.settings):
            assert f"`{number.name}`" in row
    assert BASES["co"][0] in page
    assert all(bases[0] in page for bases in BASES.values() if bases[0].count(",") == 0)


def test_the_example_on_the_page_is_a_case_file(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "regulations.md").read_text(encoding="utf-8")
    own(tmp_path, "cn_hj845_2017")
    (tmp_path / "xm_own.cases.toml").write_text(
        page.partition("```toml\n")[2].partition("```")[0], encoding="utf-8")
    assert check(tmp_path / "xm_own.toml").cases["outcome"].to_list() == ["as it says"]
