"""A new key: every vehicle has a new name everywhere, none is lost or doubled."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from chain import record, rsd
from keeping_lake import copy, doctor, dumps, held, make, memory, named, plates

from rsd.errors import IntegrityError, PolicyRefusal, UsageError
from rsd.keeping.purge import purge
from rsd.keeping.rotation import forget, rotate
from rsd.lake import Lake
from rsd.pipeline import aliases, reading
from rsd.pipeline.review import list_cases
from rsd.pipeline.review import problems as review_problems
from rsd.pipeline.review_acts import Act, act
from rsd.privacy import VehicleKey, hash_vehicles


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        yield make(folder)


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Lake:
    return Lake.open(copy(original, tmp_path / "lake"))


def ids(lake: Lake, name: str) -> set[str]:
    return set(lake.table(name).scan().collect()["vehicle_id"].drop_nulls())


def test_every_table_has_the_new_names_and_no_old_one(lake: Lake) -> None:
    before, passes, vault = ids(lake, "vehicles"), named(lake), plates(lake)
    findings = lake.table("findings").scan().collect().height
    done = rotate(lake, "leak")
    assert done.vehicles == len(before) == len(vault)
    for name in ("passes", "vehicles", "findings"):
        assert {i.split(".")[1] for i in ids(lake, name)} == {done.new_key}, name
    assert named(lake).equals(passes)
    assert plates(lake) == vault
    assert lake.table("findings").scan().collect().height == findings
    vehicles = lake.table("vehicles").scan().collect()
    key = VehicleKey.load(lake.key_path)
    assert key.key_id == done.new_key
    assert hash_vehicles(key, vehicles).equals(vehicles["vehicle_id"])
    assert set(vehicles["former_id"]) == before
    assert doctor(lake.path) == []
    old_tails = {i[-12:] for i in before}
    for name, column in (("passes", "record_id"), ("evidence", "record_id"),
                         ("findings", "first_record_id")):
        records = lake.table(name).scan().collect()[column]
        assert not old_tails & set(records.str.slice(-12)), name
        assert records.str.starts_with("R").any(), "numbers of instruments stay"


def test_inspections_follow_their_vehicles(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "i.csv"
    file.write_text("plate,plate_color,inspected_at,result\n"
                    "闽D12341,yellow,2026-05-20 08:00,passed\n闽D12342,yellow,2026-06-01,failed\n"
                    "闽D99999,blue,2026-06-02,passed\n", encoding="utf-8")
    assert rsd("inspections", lake.path, file).code == 0
    rsd("find", lake.path)
    vault = ["vehicle_id", "plate", "plate_color"]

    def told() -> list[tuple[object, ...]]:
        stored = lake.table("inspections").scan().collect()
        named = stored.join(lake.table("vehicles").scan().select(vault).collect(),
                            on="vehicle_id", how="left")
        return sorted(named.select("plate", "plate_color", "inspected_at", "result").rows())

    before, found = told(), lake.table("findings").scan().collect().height
    assert len(before) == 3
    done = rotate(lake, "leak")
    assert told() == before
    assert {i.split(".")[1] for i in ids(lake, "inspections")} == {done.new_key}
    assert doctor(lake.path) == []
    counts = rsd("find", lake.path, "--everything", "--format", "json").json
    assert (counts["total"], counts["new"], counts["withdrawn"]) == (found, 0, 0)


def test_findings_computed_anew_are_the_same(lake: Lake) -> None:
    rotate(lake, "leak")
    before = held(lake)["findings"]
    counts = rsd("find", lake.path, "--format", "json").json
    assert (counts["new"], counts["changed"], counts["withdrawn"]) == (0, 0, 0)
    assert held(lake)["findings"] == before


def test_records_sent_again_are_known(lake: Lake, tmp_path: Path) -> None:
    rotate(lake, "leak")
    for path in dumps(tmp_path):
        path.write_bytes(path.read_bytes() + (record(jlbh=f"N{path.stem}") + "\n").encode())
        totals = rsd("ingest", lake.path, path, "--format", "json", "--max-quarantine", 1
                     ).json["totals"]
        assert (totals["accepted"], totals["duplicates"]) == (1, 4)


def test_former_names_are_answered_to_for_a_time(lake: Lake,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    finding = lake.table("findings").scan().collect().row(0, named=True)
    before = rsd("explain", lake.path, finding["vehicle_id"], "--format", "json").json
    rotate(lake, "leak", grace_days=3)
    after = rsd("explain", lake.path, finding["vehicle_id"], "--format", "json").json
    assert len(after) == len(before)
    assert {row["value"] for row in after} == {row["value"] for row in before}
    assert finding["vehicle_id"] not in {row["vehicle_id"] for row in after}

    until = aliases.answered_until(lake)
    assert until is not None
    assert until - dt.datetime.now(ZoneInfo(lake.timezone)).date() == dt.timedelta(3)
    assert aliases.present_id(lake, finding["vehicle_id"]) != finding["vehicle_id"]
    monkeypatch.setattr(aliases, "answered_until", lambda lake: until - dt.timedelta(4))
    assert aliases.present_id(lake, finding["vehicle_id"]) == finding["vehicle_id"]


def test_an_open_view_goes_on_with_the_old_names(lake: Lake) -> None:
    view, before = lake.pinned(), held(lake)
    rotate(lake, "leak")
    assert held(view) == before
    assert held(lake) != before


def test_reviews_follow_their_findings(lake: Lake) -> None:
    rows = list_cases(lake)[0].filter(~pl.col("first_record_id").str.starts_with("R"))
    case = rows.row(0, named=True)  # its record has no number of its own
    act(lake, [Act(case["finding_id"], "open")])
    for _ in range(2):
        rotate(lake, "leak")
        cases = list_cases(lake)[0].filter(pl.col("state") == "pending_review")
        assert cases.select("state", "standing").rows() == [("pending_review", "current")]
        assert review_problems(lake) == []
    assert cases["finding_id"][0] != case["finding_id"]
    act(lake, [Act(cases["finding_id"][0], "note", reason="still here")])


def test_what_was_exported_is_not_taken_for_withdrawn(lake: Lake, tmp_path: Path) -> None:
    rsd("export", "findings", lake.path, "-o", tmp_path / "f.csv")
    rotate(lake, "leak")
    assert reading.withdrawn(lake).is_empty()


def test_forgetting_leaves_no_old_name_in_any_file(lake: Lake) -> None:
    old = lake.table("vehicles").scan().collect()["vehicle_id"].to_list()
    done = rotate(lake, "leak")
    assert done.retired.stat().st_mode & 0o777 == 0o600
    assert forget(lake, "the grace is over") == [done.retired]
    assert not done.retired.exists()
    for path in lake.path.rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            frame = pl.read_parquet(path).select(pl.col(pl.String))
            assert not any(frame[c].is_in(old).any() for c in frame.columns), path
    assert aliases.answered_until(lake) is None
    with pytest.raises(UsageError, match="nothing to forget"):
        forget(lake, "again")
    assert doctor(lake.path) == []


def test_a_deletion_record_outlives_its_key(lake: Lake) -> None:
    purge(lake, dt.date(2026, 6, 1), "rule")
    rotate(lake, "leak")
    assert doctor(lake.path) == []
    forget(lake, "over")
    assert doctor(lake.path) == []


def test_a_key_elsewhere_is_changed_there(lake: Lake, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    place = tmp_path / "keys" / "k"
    lake.key_path.rename(place)
    monkeypatch.setenv("RSD_KEY_FILE", str(place))
    done = rotate(lake, "leak")
    assert VehicleKey.load(place).key_id == done.new_key
    assert sorted(p.name for p in place.parent.iterdir()) == ["k", f"k.{done.old_key}.retired"]
    assert doctor(lake.path) == []


def test_an_exposed_key_or_a_vault_in_disorder_stops_it(lake: Lake) -> None:
    before = held(lake)
    lake.key_path.chmod(0o640)
    with pytest.raises(PolicyRefusal, match="others may read"):
        rotate(lake, "leak")
    lake.key_path.chmod(0o600)
    with pytest.raises(UsageError, match="needs a reason"):
        rotate(lake, "")
    table = lake.table("vehicles")
    rows = table.scan().collect()
    for wrong, message in ((rows.with_columns(plate=pl.lit("闽D00000")), "does not follow"),
                           (rows.head(2), "the vault does not know")):
        table.commit([table.write(wrong, "init")], overwrite=True)
        files = sorted(lake.path.rglob("*.parquet"))
        with pytest.raises(IntegrityError, match=message):
            rotate(lake, "leak")
        assert sorted(lake.path.rglob("*.parquet")) == files, "what was staged is gone"
    table.commit([table.write(rows, "init")], overwrite=True)
    assert held(lake) == before


def test_a_lake_without_vehicles_gets_a_new_key_too(tmp_path: Path) -> None:
    assert rsd("init", tmp_path / "lake").code == 0
    answer = rsd("key", "rotate", tmp_path / "lake", "--reason", "new")
    assert answer.code == 0
    assert "0 vehicles" in answer.err
    assert doctor(tmp_path / "lake") == []
    assert rsd("key", "forget", tmp_path / "lake", "--reason", "new").code == 0


def test_the_first_name_is_answered_to_after_two_changes(lake: Lake) -> None:
    first = lake.table("vehicles").scan().select("vehicle_id", "plate").collect().row(0)
    rotate(lake, "one")
    rotate(Lake.open(lake.path), "two")
    again = Lake.open(lake.path)
    now = again.table("vehicles").scan().filter(pl.col("plate") == first[1]).collect()
    assert aliases.present_id(again, first[0]) == now["vehicle_id"].item()
    forget(again, "over")
    assert aliases.present_id(Lake.open(lake.path), first[0]) == first[0]


def test_days_beyond_the_calendar_are_a_wrong_call(lake: Lake) -> None:
    with pytest.raises(UsageError, match="too many days"):
        rotate(lake, "leak", grace_days=99_999_999_999)
