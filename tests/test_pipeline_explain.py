"""A vehicle's story: every pass, each verdict, the clause, and what came of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, dump, record

from rsd.errors import PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.pipeline.explain import explain
from rsd.pipeline.nightly import run
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
