"""Two regulations on the same passes: whom the second convicts, whom it acquits."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain import HIGH_NO, dump, record, rsd

from rsd.errors import PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.law.rulebook import BUILT_IN
from rsd.pipeline.as_of import at
from rsd.pipeline.difference import difference
from rsd.pipeline.nightly import run
from rsd.pipeline.setup import init_lake

HJ845 = "cn_hj845_2017"


def law(folder: Path, before: str = "", after: str = "") -> str:
    """Write a copy of the law with another number; return its path."""
    folder.mkdir(parents=True)
    text = (BUILT_IN / f"{HJ845}.toml").read_text(encoding="utf-8")
    assert before in text
    file = folder / f"{HJ845}.toml"
    file.write_text(text.replace(before, after), encoding="utf-8")
    return str(file)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake, _ = init_lake(tmp_path / "lake")
    lines = [record(jlbh=f"{plate}-{day}", hphm=plate, jcsj=f"2026-09-{day:02} 08:00:00",
                    btgdjg=opacity, cllx=kind, **more)
             for plate, kind, opacity, more in (
                 ("闽D11111", "H11", "25", {}), ("闽D22222", "K33", "35", {}),
                 ("闽D33333", "H11", "35", HIGH_NO), ("闽D44444", "H11", "5", {}))
             for day in (1, 2)]
    run(lake, [dump(tmp_path / "d.csv", lines)])
    return lake


def plates(lake: Lake, vehicles: list[str]) -> list[str]:
    names = dict(lake.table("vehicles").scan().select("vehicle_id", "plate").collect().iter_rows())
    return [names[v] for v in vehicles]


def test_a_lower_limit_convicts_and_a_higher_one_acquits(lake: Lake, tmp_path: Path):
    lower = law(tmp_path / "low", "value = 30.0", "value = 20.0")
    found = difference(lake, HJ845, lower)
    assert found.vehicles.select("change", "pollutant", "vehicle_class").rows() == [
        ("convicted", "opacity", "heavy_truck")]
    row = found.vehicles.row(0, named=True)
    assert plates(lake, [row["vehicle_id"]]) == ["闽D11111"]
    assert (row["limit_a"], row["limit_b"], row["first_value_b"], row["kind_a"], row["unit"]) == (
        None, 20.0, 25.0, None, "%")
    assert found.counts.rows() == [
        ("no", "heavy_truck", 1, 1, 1, 0, 0, 0), ("opacity", "heavy_truck", 1, 2, 1, 1, 0, 0),
        ("opacity", "mini_small_bus", 1, 1, 1, 0, 0, 0)]
    back = difference(lake, lower, HJ845)
    assert back.vehicles["change"].to_list() == ["acquitted"]
    assert back.vehicles.row(0, named=True)["limit_a"] == 20.0
    assert back.vehicles["vehicle_class"].to_list() == ["heavy_truck"]


def test_another_role_is_told_as_another_kind(lake: Lake, tmp_path: Path):
    enforced = law(tmp_path / "x", 'role = "screening"', 'role = "enforceable"')
    found = difference(lake, HJ845, enforced)
    assert found.vehicles.select("change", "pollutant", "kind_a", "kind_b").rows() == [
        ("other_kind", "no", "screening", "violation")]
    assert found.counts["other_kind"].sum() == 1


def test_the_same_law_differs_on_nobody_and_nothing_is_stored(lake: Lake):
    before = lake.table("findings").version()
    found = difference(lake, HJ845, HJ845)
    assert found.vehicles.is_empty()
    assert found.counts["both"].sum() == 3
    assert lake.table("findings").version() == before


def test_the_lakes_own_file_is_meant_by_an_id(lake: Lake, tmp_path: Path):
    law(lake.path / "regulations", "value = 30.0", "value = 20.0")
    found = difference(lake, str(BUILT_IN / f"{HJ845}.toml"), HJ845)
    assert found.vehicles["change"].to_list() == ["convicted"]


def test_what_is_no_law_is_refused(lake: Lake, tmp_path: Path):
    with pytest.raises(UsageError, match="no regulation"):
        difference(lake, HJ845, "nothing_2020")
    with pytest.raises(PolicyRefusal, match="no limits"):
        difference(lake, HJ845, "cn_bj_db11_318_2022")
    assert rsd("regulations", "diff", HJ845, "none.toml", "--lake", lake.path).code in (2, 6)


def test_the_command_prints_counts_and_vehicles_without_plates(lake: Lake, tmp_path: Path):
    lower = law(tmp_path / "low", "value = 30.0", "value = 20.0")
    answer = rsd("regulations", "diff", HJ845, lower, "--lake", lake.path)
    assert "B would convict 1 that A does not, and acquit 0 that A finds; both find 3" in answer.out
    assert "11111" not in answer.out
    (row,) = rsd("regulations", "diff", HJ845, lower, "--lake", lake.path, "--format", "json").json
    assert row["change"] == "convicted"
    counts = rsd("regulations", "diff", HJ845, lower, "--lake", lake.path, "--counts", "--format",
                 "csv").out.splitlines()
    assert counts[0] == ("pollutant,vehicle_class,found_a,found_b,both,convicted,acquitted,"
                         "other_kind")
    assert len(counts) == 4
    assert rsd("regulations", "diff", HJ845, HJ845, "--lake", lake.path).code == 0


def test_the_passes_of_before_can_be_asked_and_read_in_pieces(lake: Lake, tmp_path, monkeypatch):
    lower = law(tmp_path / "low", "value = 30.0", "value = 20.0")
    run(lake, [dump(tmp_path / "e.csv", [record(
        jlbh=f"late-{day}", hphm="闽D55555", jcsj=f"2026-09-{day:02} 08:00:00", btgdjg="22")
        for day in (1, 2)])])
    monkeypatch.setattr("rsd.pipeline.finding.PIECE_ROWS", 3)
    monkeypatch.setattr("rsd.findings.SHORT", 0)
    assert difference(lake, HJ845, lower).vehicles.height == 2
    assert difference(at(lake, "passes=0"), HJ845, lower).vehicles.height == 1
