"""What is older than a date goes: rows, plates, earlier versions; a signed record stays."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from chain import dump, record, rsd
from keeping_lake import copy, doctor, held, make, memory, plates

from rsd import audit
from rsd.errors import IntegrityError, UsageError
from rsd.keeping import deletion
from rsd.keeping.compaction import compact
from rsd.keeping.content import content_hash
from rsd.keeping.plate_search import (
    files_with_plates,
    has_plate_of,
    masked_plates,
    telling,
)
from rsd.keeping.purge import TABLES, purge
from rsd.lake import Lake
from rsd.pipeline import reading
from rsd.pipeline.review import list_cases
from rsd.pipeline.review_acts import Act, act
from rsd.storage import change

BEFORE = dt.date(2026, 7, 1)
GONE = {"闽D12340", "闽D12341"}


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        yield make(folder)


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Lake:
    return Lake.open(copy(original, tmp_path / "lake"))


def test_no_byte_of_a_purged_plate_remains(lake: Lake) -> None:
    compact(lake)  # the small files of before are in the history
    known = plates(lake)
    found = {p for _, p in files_with_plates(lake.path, GONE)}
    assert found == GONE, "the search must find what is there"
    done = purge(lake, BEFORE, "two years are over")
    assert plates(lake) == known - GONE
    assert files_with_plates(lake.path, GONE) == []
    assert {p for _, p in files_with_plates(lake.path, {"闽D12345"})} == {"闽D12345"}
    assert done.tables["passes"] == {"removed": 8, "left": 8}
    assert done.tables["evidence"] == {"removed": 8, "left": 8}
    assert done.tables["quarantine"] == {"removed": 2, "left": 2}
    assert done.tables["vehicles"] == {"removed": 2, "left": len(known) - 2}
    assert lake.table("passes").scan().collect()["date"].min() == dt.date(2026, 7, 3)
    assert doctor(lake.path) == []


def test_a_registered_vehicle_stays(original: Path, lake: Lake) -> None:
    assert "闽D99999" in plates(lake)  # of the registry, never seen
    purge(lake, dt.date(2026, 9, 1), "all")
    assert plates(lake) == {"闽D12345", "闽D99999"}
    assert lake.table("passes").scan().collect().is_empty()


def test_what_follows_is_as_if_it_had_never_been(lake: Lake, tmp_path: Path) -> None:
    purge(lake, BEFORE, "rule")
    assert rsd("find", lake.path).code == 0
    (tmp_path / "fresh").mkdir()
    fresh = Lake.open(make(tmp_path / "fresh", (7, 8)))
    names = ("passes", "evidence", "findings")
    columns = {n: [c for c in lake.table(n).schema if c not in ("vehicle_id", "record_id")
                   and not c.endswith("_record_id")] for n in names}
    for name in names:  # two lakes have two keys
        ours, theirs = (one.table(name).scan().select(columns[name]).collect()
                        for one in (lake, fresh))
        assert ours.sort(pl.all()).equals(theirs.sort(pl.all())), name


def test_a_dry_run_counts_and_changes_nothing(lake: Lake) -> None:
    before = {p: p.stat().st_mtime_ns for p in lake.path.rglob("*.*") if p.name != ".lock"}
    counted = purge(lake, BEFORE, "rule", dry_run=True)
    assert {p: p.stat().st_mtime_ns for p in lake.path.rglob("*.*") if p.name != ".lock"} == before
    assert counted.tables == purge(lake, BEFORE, "rule").tables


def test_a_second_purge_finds_nothing(lake: Lake) -> None:
    purge(lake, BEFORE, "rule")
    versions = {n: lake.table(n).version() for n in TABLES}
    again = purge(lake, BEFORE, "rule")
    assert again.is_empty
    assert again.record is None
    assert {n: lake.table(n).version() for n in TABLES} == versions
    assert len(deletion.records(lake)) == 1


def test_earlier_versions_are_gone_and_say_so(lake: Lake) -> None:
    version = lake.table("passes").version()
    purge(lake, BEFORE, "rule")
    with pytest.raises(UsageError, match=r"gone: found its files were removed by purge on 20"):
        lake.table("passes").scan(version).collect()
    answer = rsd("export", "findings", lake.path, "-o", lake.path.parent / "x.csv",
                 "--as-of", f"passes={version}")
    assert answer.code == 2
    assert "removed by purge" in answer.message


def test_the_record_is_signed_and_every_change_of_it_shows(lake: Lake) -> None:
    before = content_hash(lake, TABLES)
    done = purge(lake, BEFORE, "rule of 闽D12345")
    assert done.record is not None
    told = json.loads(done.record.read_text())
    assert done.record.stat().st_mode & 0o777 == 0o600
    assert {n: t["content_before"] for n, t in told["tables"].items()} == before
    assert {n: t["content_after"] for n, t in told["tables"].items()} == content_hash(lake, TABLES)
    assert told["before"] == "2026-07-01"
    assert told["reason"] == "rule of 闽D****5"
    assert told["by"] == audit.user_name(os.getuid())
    assert deletion.faults(lake) == []
    text = done.record.read_text()
    done.record.write_text(text.replace('"before": "2026-07-01"', '"before": "2026-06-01"'))
    assert "does not fit" in deletion.faults(lake)[0][1]
    done.record.write_text(text + "\n")
    assert "audit" in deletion.faults(lake)[0][1]
    done.record.unlink()
    assert deletion.faults(lake) == [(done.record, "the record is gone")]
    assert doctor(lake.path)[0]["table"] == "deletions"


def test_a_finding_under_review_holds_what_proves_it(lake: Lake) -> None:
    case = list_cases(lake)[0].sort("found_at").row(0, named=True)
    act(lake, [Act(case["finding_id"], "open")])
    done = purge(lake, BEFORE, "rule")
    assert done.held == 2
    assert done.tables["passes"]["left"] == 10
    kept = lake.table("findings").scan().collect()
    assert case["vehicle_id"] in kept["vehicle_id"].to_list()
    ids = {case["first_record_id"], case["second_record_id"]}
    for name in ("passes", "evidence"):
        assert ids <= set(lake.table(name).scan().collect()["record_id"]), name
    assert doctor(lake.path) == []
    rsd("find", lake.path)
    (standing,) = list_cases(lake)[0].filter(pl.col("finding_id") == case["finding_id"])["standing"]
    assert standing == "current"


def test_what_was_exported_and_undone_is_still_listed(lake: Lake, tmp_path: Path) -> None:
    late = [record(jlbh=f"L{k}", hphm="闽D77777", jcsj=f"2026-08-0{k} 10:00:00", **{
        "noco2": "150", "nojg": "2235"}) for k in (1, 2)]
    rsd("run", lake.path, dump(tmp_path / "l.csv", late))
    rsd("export", "findings", lake.path, "-o", tmp_path / "f.csv")
    fixed = [line.replace("2235", "745").replace(",150,", ",50,") for line in late]
    rsd("run", lake.path, dump(tmp_path / "fixed.csv", fixed))
    undone = reading.withdrawn(lake)
    assert undone.height >= 1
    purge(lake, BEFORE, "rule")
    again = reading.withdrawn(lake)
    assert undone["vehicle_id"].is_in(again["vehicle_id"].implode()).all()
    first = pl.concat([again["first_measured_at"], again["found_at"]]).min()
    assert first >= dt.datetime(2026, 6, 30, 16, tzinfo=dt.UTC)


def test_the_quarantine_of_a_dump_on_both_sides_is_searched(lake: Lake, tmp_path: Path) -> None:
    rows = [record(jlbh="A", jcsj="2026-06-30 10:00:00", hphm="闽D55555"),
            record(jlbh="B", jcsj="2026-07-02 10:00:00", hphm="闽D66666"),
            record(jlbh="C", jcsj="no", hphm="闽d·５５５５５"),
            record(jlbh="D", jcsj="no", hphm="闽D66666")]
    rsd("ingest", lake.path, dump(tmp_path / "both.csv", rows))
    purge(lake, BEFORE, "rule")
    raw = lake.table("quarantine").scan().filter(pl.col("file") == "both.csv").collect()["raw"]
    assert [b"66666" in r for r in raw] == [True]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A lake in which no vehicle is registered: each goes with its last pass."""
    rsd("init", tmp_path / "plain")
    return tmp_path / "plain"


OLD = {"jcsj": "2026-05-03 08:00:00", "hphm": "闽D77777"}
NEW = {"jcsj": "2026-09-03 08:00:00", "hphm": "闽D88888"}


@pytest.mark.parametrize("others", [
    [record(jlbh="2", **NEW), record(jlbh="3", jcsj="no", hphm="闽D77777")],  # a later dump
    [record(jlbh="3", jcsj="no", hphm="闽D 777·77")],  # one without passes, that came later
], ids=["later", "without passes"])
def test_a_plate_in_what_came_later_goes_too(plain: Path, tmp_path: Path,
                                             others: list[str]) -> None:
    spared = record(jlbh="4", jcsj="no", hphm="闽D88888")
    for name, rows in (("a", [record(jlbh="1", **OLD)]), ("b", [*others, spared])):
        rsd("run", plain, dump(tmp_path / f"{name}.csv", rows), "--max-quarantine", 1)
    assert files_with_plates(plain, ["闽D77777"])
    done = purge(Lake.open(plain), dt.date(2026, 8, 1), "rule")
    assert done.tables["quarantine"] == {"removed": 1, "left": 1}
    assert files_with_plates(plain, ["闽D77777"]) == []
    raw = Lake.open(plain).table("quarantine").scan().collect()["raw"]
    assert [b"88888" in r for r in raw] == [True]
    assert doctor(plain) == []


def test_names_of_photos_that_stay_hold_no_plate_that_goes(plain: Path, tmp_path: Path) -> None:
    rows = [record(jlbh="1", **OLD), record(jlbh="2", **NEW, tp1="p_闽D77777_rear.jpg"),
            record(jlbh="3", **NEW | {"hphm": "闽D99999"}, tp1="p_闽D99999.jpg")]
    rsd("run", plain, dump(tmp_path / "a.csv", rows))
    done = purge(Lake.open(plain), dt.date(2026, 8, 1), "rule")
    evidence = Lake.open(plain).table("evidence").scan().sort("record_id").collect()
    assert [name for name in evidence["photo_1"] if name] == ["p_闽D****7_rear.jpg",
                                                              "p_闽D99999.jpg"]
    assert done.tables["evidence"]["left"] == evidence.height
    assert files_with_plates(plain, ["闽D77777"]) == []
    assert doctor(plain) == []


def test_plates_are_masked_in_texts_where_they_stand() -> None:
    gone = pl.Series(["闽D77777", "AB12CDE", "闽DD12345"])
    texts = pl.Series(["a", None, "p_闽d·７７７７７.jpg", "AB12CDE_1.jpg", "闽D7777755",
                       "闽DD12345x", "闽D88888.jpg"])
    found = masked_plates(texts, gone).to_list()
    assert found[:2] + found[-1:] == ["a", None, "闽D88888.jpg"]
    assert found[2] == "p_闽d*****７.jpg"
    assert found[3] == "AB****E_1.jpg"
    assert all("77777" not in text and "12345" not in text for text in found[4:6])
    assert telling(pl.Series(["A1", "123456", "闽D77777", "ABCDEFG", "A12345"])).to_list() == [
        "闽D77777", "A12345"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le", "utf-16-be"])
def test_a_plate_is_found_in_raw_bytes_of_any_encoding(encoding: str) -> None:
    raw = pl.Series(["1,闽D12345,x".encode(encoding), "1,闽D54321,x".encode(encoding), b"", b"\0"])
    asked = pl.Series([True] * 4)
    gone = pl.Series(["闽D12345", "A1"])
    assert has_plate_of(raw, asked, gone).to_list() == [True, False, False, False]
    assert not has_plate_of(raw, ~asked, pl.Series(["闽D12345"])).any()


def test_what_holds_no_plate_stays_and_what_is_too_long_to_be_searched_counts() -> None:
    raw = pl.Series([b"abc", "1,闽D12345,x".encode(), b"", b"\0" * 10, b"x" * 4096, b"x" * 4097])
    asked = pl.Series([True] * raw.len())
    for gone in (["闽D99999"], ["闽D99999", "ABCDEFGH"]):
        assert has_plate_of(raw, asked, pl.Series(gone)).to_list() == [False] * 5 + [True]
    assert has_plate_of(raw.head(1), asked.head(1), pl.Series(["闽D99999"])).to_list() == [False]
    many = pl.concat([raw.slice(1, 1)] * 600)  # more than are held together
    assert has_plate_of(many, many.is_not_null(), pl.Series(["闽D12345"])).sum() == 600


def test_wrong_calls_are_refused(lake: Lake) -> None:
    before = held(lake)
    with pytest.raises(UsageError, match="yet to come"):
        purge(lake, dt.date(2100, 1, 1), "rule")
    with pytest.raises(UsageError, match="needs a reason"):
        purge(lake, BEFORE, "  ")
    lake.key_path.write_bytes(b"x" * 32)
    with pytest.raises(IntegrityError, match="not this lake's"):
        purge(lake, BEFORE, "rule")
    assert held(lake) == before
    assert change.under_way(lake.path) is None


def test_the_command_counts_by_table(lake: Lake) -> None:
    answer = rsd("purge", lake.path, "--before", "2026-07-01", "--reason", "r", "--dry-run",
                 "--format", "json")
    assert {row["table"]: row["removed"] for row in answer.json} == {
        "passes": 8, "evidence": 8, "quarantine": 2, "inspections": 0, "vehicles": 2,
        "findings": 4}
    assert "dry run" in answer.err
    answer = rsd("purge", lake.path, "--before", "2026-07-01", "--reason", "r")
    assert answer.code == 0
    assert "restricted/deletions/purge-" in answer.err
    assert rsd("purge", lake.path, "--before", "2026-7-1", "--reason", "r").code in (0, 2)
    assert rsd("purge", lake.path, "--before", "2026-07-01").code == 2


def test_versions_of_a_record_that_was_moved_to_an_earlier_day_go_with_it(
        lake: Lake, tmp_path: Path) -> None:
    for month in (8, 5):
        path = dump(tmp_path / f"moved{month}.csv",
                    [record(jlbh="MOVED", jcsj=f"2026-0{month}-04 08:00:00")])
        assert rsd("run", lake.path, path).code == 0
    again = Lake.open(lake.path)
    purge(again, BEFORE, "rule")
    left = again.table("passes").scan().filter(pl.col("record_id") == "MOVED").collect()
    assert left.is_empty()
    rsd("find", lake.path)
    assert doctor(lake.path) == []
