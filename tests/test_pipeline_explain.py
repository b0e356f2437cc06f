"""A vehicle's story: every pass, each verdict, the clause, and what came of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, dump, record, rsd

from rsd.errors import PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.law.rulebook import BUILT_IN
from rsd.pipeline.explain import explain
from rsd.pipeline.inspections import add_inspections
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.setup import init_lake

LINES = {
    "over": {"btgdjg": "55"},
    "within": {"btgdjg": "30"},
    "invalid": {"btgdjg": "80", "pdjg": "2"},
    "windy": {"btgdjg": "80", "fs": "5.1"},
    "idle": {"btgdjg": "80", "vsp": "-1"},
    "blank": {"btgdjg": ""},
    "gasoline": {"btgdjg": "80", "rlzl": "A"},
    "early": {"btgdjg": "80", "jcsj": "2017-07-26 23:59:59"},
    "high_no": {"btgdjg": "55", **HIGH_NO},
}
EXPECTED = {
    "over": "exceeds", "within": "within the limit", "invalid": "not valid", "windy": "not valid",
    "idle": "not valid", "blank": "not measured", "gasoline": "not judged", "early": "not judged",
    "high_no": "exceeds",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake, _ = init_lake(tmp_path / "lake")
    lines = [record(**{"jlbh": name, "jcsj": f"2026-09-{day:02} 08:00:00"} | cells)
             for day, (name, cells) in enumerate(LINES.items(), start=1)]
    run(lake, [dump(tmp_path / "a.csv", [*lines, record(jlbh="other", hphm="闽D99999")])])
    return lake


def vehicle_of(lake: Lake, record_id: str) -> str:
    return lake.table("passes").scan().filter(
        pl.col("record_id") == record_id).collect()["vehicle_id"].item()


def test_each_pass_has_its_verdict_with_limit_and_clause(lake: Lake):
    story = explain(lake, vehicle_of(lake, "over"))
    assert story.verdicts["vehicle_id"].n_unique() == 1
    smoke = story.verdicts.filter(pl.col("pollutant") == "opacity")
    assert dict(smoke.select("record_id", "verdict").iter_rows()) == EXPECTED
    assert smoke["measured_at"].is_sorted()
    over = smoke.filter(pl.col("record_id") == "over").to_dicts()[0]
    assert (over["value"], over["limit"], over["unit"]) == (55.0, 30.0, "%")
    assert "HJ 845" in over["clause"]
    assert over["source_line"] == 2


def test_every_pollutant_of_the_law_is_told(lake: Lake):
    verdicts = explain(lake, vehicle_of(lake, "over")).verdicts
    assert set(verdicts["pollutant"]) == {"no", "opacity", "ringelmann"}
    assert verdicts.height == 3 * len(LINES)
    no = verdicts.filter((pl.col("pollutant") == "no") & (pl.col("verdict") == "exceeds"))
    assert no["record_id"].to_list() == ["high_no"]


def test_reasons_are_told_as_codes(lake: Lake):
    verdicts = explain(lake, vehicle_of(lake, "over")).verdicts
    told = dict(verdicts.select("record_id", "reasons").iter_rows())
    assert "DEVICE_INVALID" in told["invalid"]
    assert "WEATHER_WIND" in told["windy"]
    assert "VSP_WINDOW" in told["idle"]


def test_the_findings_are_of_this_vehicle_alone(lake: Lake):
    assert explain(lake, vehicle_of(lake, "other")).findings.is_empty()
    story = explain(lake, "闽D12345/yellow")
    assert story.vehicles == [vehicle_of(lake, "over")]


def test_only_the_version_that_counts_is_told(lake: Lake, tmp_path: Path):
    run(lake, [dump(tmp_path / "b.csv",
                    [record(jlbh="over", jcsj="2026-09-01 08:00:00", btgdjg="5")])])
    smoke = explain(lake, vehicle_of(lake, "within")).verdicts.filter(
        (pl.col("pollutant") == "opacity") & (pl.col("record_id") == "over"))
    assert smoke.select("value", "verdict").rows() == [(5.0, "within the limit")]


@pytest.mark.parametrize("asked", ["v1.XXXXXXXX.AAAA", "闽D00000", "v1."])
def test_a_vehicle_that_is_not_there(lake: Lake, asked: str):
    with pytest.raises(UsageError, match="no such vehicle"):
        explain(lake, asked)


def test_by_id_without_the_right_and_by_plate_not(lake: Lake):
    vehicle = vehicle_of(lake, "over")
    (lake.path / "restricted").rename(lake.path.parent / "away")
    barred = Lake.open(lake.path)
    assert explain(barred, vehicle).verdicts.height == 3 * len(LINES)
    with pytest.raises(PolicyRefusal, match="by who may see plates only"):
        explain(barred, "闽D12345")


def stories(lake: Lake, record: str, language: str = "en") -> dict[str, str]:
    rows = explain(lake, vehicle_of(lake, record), language=language).verdicts
    return dict(rows.filter(pl.col("pollutant") == "opacity").select("record_id", "story").rows())


def test_each_pass_says_what_it_means_or_why_it_was_not_judged(lake: Lake):
    told = stories(lake, "over")
    assert told == {
        "over": "exceedance 1 of 2; a chain begins, its window is open until 2027-03-01 08:00:00",
        "within": "within the limit: it breaks the chain that began at 2026-09-01 08:00:00",
        "invalid": "the instrument calls the record invalid",
        "windy": "wind above the profile's limit; wind speed 5.1 m/s, and it must be <= 5 m/s",
        "idle": "specific power outside the profile's window; "
                "specific power -1 kW/t, and it must be > 0 kW/t",
        "blank": "not measured",
        "gasoline": "the regulation does not judge the fuel gasoline",
        "early": "the regulation was not in force on that day (from 2017-07-27)",
        "high_no": "exceedance 1 of 2; the pass at 2026-09-02 08:00:00 broke the chain before, "
                   "a new one begins, open until 2027-03-09 08:00:00",
    }


def test_the_story_is_told_in_chinese_and_its_codes_stay(lake: Lake):
    english = explain(lake, vehicle_of(lake, "over"))
    chinese = explain(lake, vehicle_of(lake, "over"), language="zh")
    said = stories(lake, "over", "zh")
    assert said["within"] == "未超标：自2026-09-01 08:00:00起的连续超标中断"
    assert said["invalid"] == "设备判定记录无效"
    assert said["gasoline"] == "该法规不适用于燃料“汽油”"
    assert chinese.verdicts["clause"].drop_nulls().unique().to_list() == [
        "HJ 845-2017，第5条，表1"]
    assert english.verdicts.drop("story", "clause").equals(chinese.verdicts.drop(
        "story", "clause"))
    with pytest.raises(UsageError, match="no such language"):
        explain(lake, vehicle_of(lake, "over"), language="de")


def test_the_step_of_a_finding_is_where_the_finding_is(lake: Lake, tmp_path: Path):
    run(lake, [dump(tmp_path / "b.csv", [
        record(jlbh="again", jcsj="2026-09-10 08:00:00", btgdjg="60"),
        record(jlbh="later", jcsj="2026-09-11 08:00:00", btgdjg="60")])])
    story = explain(lake, vehicle_of(lake, "over"))
    smoke = story.verdicts.filter(pl.col("pollutant") == "opacity")
    steps = dict(smoke.filter(pl.col("step").is_not_null()).select("record_id", "step").rows())
    assert steps == {"over": "first", "within": "breaks", "high_no": "first_again",
                     "again": "found", "later": "after"}
    (found,) = story.findings.filter(pl.col("pollutant") == "opacity").to_dicts()
    assert (found["first_record_id"], found["second_record_id"]) == ("high_no", "again")


def test_an_inspection_is_told_and_breaks_the_chain(lake: Lake, tmp_path: Path):
    run(lake, [dump(tmp_path / "b.csv", [
        record(jlbh="again", jcsj="2026-09-11 08:00:00", btgdjg="60")])])
    given = tmp_path / "inspections.csv"
    given.write_text("plate,plate_color,inspected_at,result\n闽D12345,1,2026-09-10 09:30,合格\n"
                     "闽D99999,yellow,2026-09-10,passed\n", encoding="utf-8")
    add_inspections(lake, given)
    find_all(lake)
    story = explain(lake, vehicle_of(lake, "over"))
    assert story.inspections.height == 1
    assert stories(lake, "over")["again"] == (
        "exceeds, but the inspection that was passed at 2026-09-10 09:30:00 broke the chain that "
        "began at 2026-09-09 08:00:00; a new one is open until 2027-03-11 08:00:00")
    assert story.findings.filter(pl.col("pollutant") == "opacity").is_empty()


def test_every_kind_of_law_is_told_together(lake: Lake):
    lake.configure(regulations=("cn_hj845_2017", "us_clean_screen", "xm_375_2019_registration"))
    for language in ("en", "zh"):
        rows = explain(lake, vehicle_of(lake, "over"), language=language).verdicts
        assert rows["story"].null_count() == 0
        assert rows["story"].str.len_chars().min() > 0
        assert rows.height == len(LINES) * (3 + 3 + 1)
        registered = rows.filter(pl.col("pollutant") == "none")
        assert set(registered["verdict"]) <= {"in a group", "in no group", "not judged"}
        assert registered["value"].null_count() == registered.height
    screen = rows.filter(pl.col("regulation_id") == "us_clean_screen",
                         pl.col("record_id") == "gasoline")
    assert screen.height == 3


def test_the_command_tells_it_in_either_language(lake: Lake):
    vehicle = vehicle_of(lake, "over")
    english = rsd("explain", lake.path, vehicle).out
    assert "breaks the chain" in english
    assert "opacity > 30 %: violation (HJ 845-2017, clause 5, table 1; number UNV" in english
    chinese = rsd("explain", lake.path, vehicle, "--language", "zh").out
    assert chinese.splitlines()[0] == f"车辆 {vehicle}：共{len(LINES)}次通过"
    assert "同一污染物连续2次检测超过限值" in chinese
    assert "无认定" in chinese
    rows = rsd("explain", lake.path, vehicle, "--language", "zh", "--format", "json").json
    assert {row["step"] for row in rows} >= {"first", "breaks", None}
    assert rsd("explain", lake.path, vehicle, "--language", "de").code == 2


@pytest.mark.parametrize(("language", "said"), [
    ("en", ("; number UNVERIFIED), from 2017-07-27 until 2026-09-02 (that day excluded)",
            "opacity > 22 %", ", from 2026-09-02\n")),
    ("zh", ("，自2017-07-27起至2026-09-02（不含当日）", "，自2026-09-02起\n"))])
def test_limits_of_several_periods_are_told_with_their_dates(lake: Lake, language: str,
                                                            said: tuple[str, ...]):
    text = (BUILT_IN / "cn_hj845_2017.toml").read_text(encoding="utf-8")
    head, _, period = text.partition("[[period]]")
    began = "from = 2017-07-27"
    periods = (period.replace(began, f"{began}\nuntil = 2026-09-02", 1),
               period.replace(began, "from = 2026-09-02", 1).replace("= 30.0", "= 22.0"))
    folder = lake.path / "regulations"
    folder.mkdir(exist_ok=True)
    (folder / "cn_hj845_2017.toml").write_text(
        head + "\n".join(f"[[period]]{p}" for p in periods), encoding="utf-8")
    vehicle = lake.table("passes").scan().collect()["vehicle_id"].drop_nulls()[0]
    answer = rsd("explain", lake.path, vehicle, "--language", language)
    assert answer.code == 0, answer.err
    for part in said:
        assert part in answer.out
