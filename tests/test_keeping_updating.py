"""New small tables: the lake ends as if it had known them from the start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SEGMENTS, SITES, dump, record, rsd, versions
from keeping_lake import dumps
from polars.testing import assert_frame_equal

from rsd.errors import InputRefused, IntegrityError, UsageError
from rsd.keeping import updating
from rsd.keeping.doctor import examine
from rsd.keeping.updating import update
from rsd.lake import Lake
from rsd.pipeline.setup import init_lake

HEADER = REGISTRY.splitlines()[0]
NEW_SITES = SITES.replace(",1.0", ",3.5").replace("S1", "S2") + "A9,New gate,S9,,,,\n"
NEW_REGISTRY = f"""{HEADER}
闽D12345,1,01,H11,A,4,2016-05-06,F
闽D12346,1,01,H31,B,2,2010-01-01,A
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("sites.csv", SITES), ("registry.csv", REGISTRY),
                       ("segments.geojson", SEGMENTS), ("new_sites.csv", NEW_SITES),
                       ("new_registry.csv", NEW_REGISTRY)):
        (tmp_path / name).write_text(text)
    return tmp_path


def lake_of(folder: Path, name: str, sites: str, registry: str) -> Lake:
    lake, _ = init_lake(folder / name, sites=folder / sites, registry=folder / registry)
    lake.key_path.write_bytes(bytes(range(32)))  # one key: one name a vehicle
    if lake.table("vehicles").version() >= 0:
        (folder / name).rename(folder / f"{name}.old")
        lake, _ = init_lake(folder / name)
        lake.key_path.write_bytes(bytes(range(32)))
        update(lake, sites=folder / sites, registry=folder / registry)
    assert rsd("run", lake.path, *dumps(folder / "d"), "--max-quarantine", 1).code == 0
    return Lake.open(lake.path)


def passes(lake: Lake) -> pl.DataFrame:
    return lake.table("passes").scan().collect().sort("source_sha256", "source_line")


def findings(lake: Lake) -> pl.DataFrame:
    return lake.table("findings").scan().collect().sort("vehicle_id", "pollutant")


def test_the_lake_is_as_if_it_had_known_it_from_the_start(files: Path, monkeypatch):
    monkeypatch.setattr(updating, "PIECE_ROWS", 3)
    old = lake_of(files, "old", "sites.csv", "registry.csv")
    new = lake_of(files, "new", "new_sites.csv", "new_registry.csv")
    assert not passes(old).equals(passes(new))
    done = update(old, sites=files / "new_sites.csv", registry=files / "new_registry.csv",
                  replace=True)
    assert done.counts == {"registry": {"rows": 2, "new": 0, "changed": 2, "removed": 1},
                           "sites": {"rows": 2, "new": 1, "changed": 1, "removed": 0}}
    assert done.passes == passes(old).height
    assert_frame_equal(passes(old), passes(new), check_exact=True)
    assert rsd("find", old.path).code == 0
    assert_frame_equal(findings(Lake.open(old.path)), findings(new), check_exact=True)
    told = examine(Lake.open(old.path)).problems
    assert told.filter(pl.col("severity") != "note").is_empty(), told


def test_only_what_is_touched_is_scored_anew(files: Path):
    lake = lake_of(files, "lake", "sites.csv", "registry.csv")
    before, at = passes(lake), versions(lake.path)
    one = "闽D12346,1,01,H31,B,2,2010-01-01,A"
    (files / "one.csv").write_text(f"{HEADER}\n{one}\n")
    done = update(lake, registry=files / "one.csv")
    after = passes(lake)
    changed = before["fuel"].ne_missing(after["fuel"]) | before["emission_stage"].ne_missing(
        after["emission_stage"])
    of_it = after["vehicle_id"].is_in(lake.table("vehicles").scan().filter(
        pl.col("plate") == "闽D12346").collect()["vehicle_id"].implode())
    assert done.passes == of_it.sum() == 1
    assert changed.equals(of_it)
    assert_frame_equal(before.filter(~of_it), after.filter(~of_it), check_exact=True)
    assert versions(lake.path)["passes"] == at["passes"] + 1
    assert Lake.open(lake.path).table("passes").scan(at["passes"]).collect().height == before.height


def test_the_same_again_changes_nothing(files: Path):
    lake = lake_of(files, "lake", "sites.csv", "registry.csv")
    at = versions(lake.path)
    done = update(lake, sites=files / "sites.csv", registry=files / "registry.csv", replace=True)
    assert done.passes == 0
    assert done.counts["registry"] == {"rows": 2, "new": 0, "changed": 0, "removed": 0}
    assert versions(lake.path) == at


def test_a_vehicle_that_the_registry_names_no_more_stays_known(files: Path):
    lake = lake_of(files, "lake", "sites.csv", "registry.csv")
    plates = set(lake.table("vehicles").scan().collect()["plate"])
    (files / "none.csv").write_text(HEADER + "\n")
    done = update(lake, registry=files / "none.csv", replace=True)
    vehicles = lake.table("vehicles").scan().collect()
    assert done.counts["registry"]["removed"] == 2
    assert set(vehicles["plate"]) == plates
    assert not vehicles["is_registered"].any()
    assert vehicles["fuel"].null_count() == vehicles.height
    assert update(lake, registry=files / "none.csv", replace=True).counts["registry"] == {
        "rows": 0, "new": 0, "changed": 0, "removed": 0}


def test_an_acquittal_by_the_registry(files: Path):
    """A diesel truck by its dump is found; its owner shows that it burns petrol."""
    lake = files / "lake"
    assert rsd("init", lake, "--sites", files / "sites.csv").code == 0
    two = [record(jlbh=f"{k}", jcsj=f"2026-09-0{k} 08:00:00", **HIGH_NO) for k in (1, 2)]
    rsd("run", lake, dump(files / "a.csv", two))
    assert Lake.open(lake).table("findings").scan().collect().height == 1
    answer = rsd("update", lake, "--registry", files / "new_registry.csv", "--format", "json")
    assert answer.code == 0, answer.err
    assert answer.json["passes_scored_anew"] == 2
    found = rsd("find", lake, "--format", "json")
    assert found.json["withdrawn"] == 1, found.out
    trail = (lake / "restricted" / "audit" / "audit.jsonl").read_text()
    assert '"action":"update"' in trail
    assert "12345" not in trail


def test_what_cannot_be_used_changes_nothing(files: Path):
    lake = lake_of(files, "lake", "sites.csv", "registry.csv")
    at = versions(lake.path)
    (files / "bad.csv").write_text(f"{HEADER}\n闽D12345,1,01,H11,A,99x,,\n")
    with pytest.raises(InputRefused, match=r"bad.csv, line 2"):
        update(lake, registry=files / "bad.csv", sites=files / "new_sites.csv")
    with pytest.raises(UsageError, match="nothing to update"):
        update(lake)
    assert versions(lake.path) == at


def test_a_dump_that_no_run_tells_of_stops_it(files: Path, monkeypatch):
    lake = lake_of(files, "lake", "sites.csv", "registry.csv")
    at = versions(lake.path)
    monkeypatch.setattr(updating._Rules, "__init__",
                        lambda self, lake: self.__dict__.update(_lake=lake, _formats={}))
    with pytest.raises(IntegrityError, match="no run tells of"):
        update(lake, registry=files / "new_registry.csv")
    assert versions(lake.path) == at
    lake.sweep()
    assert lake.problems() == []


def test_a_far_site_is_remarked_on_and_days_are_added(files: Path):
    lake, _ = init_lake(files / "lake")
    (files / "far.csv").write_text(SITES.replace("118.1,", "118.4,"))
    (files / "days.csv").write_text("date,is_working_day\n2026-10-01,no\n2026-10-02,yes\n")
    done = update(lake, sites=files / "far.csv", segments=files / "segments.geojson",
                  calendar=files / "days.csv")
    assert any("A350203001" in remark for remark in done.remarks)
    assert lake.table("calendar").scan().collect()["date"].to_list() == [
        dt.date(2026, 10, 1), dt.date(2026, 10, 2)]
