"""Inspections: read strictly, kept by vehicle_id, and in doubt for the vehicle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from chain import dump, record, rsd, versions
from hypothesis import given
from hypothesis import strategies as st

from rsd.errors import InputRefused, UsageError
from rsd.lake import Lake
from rsd.pipeline.inspections import (
    RESULTS,
    add_inspections,
    passed_inspections,
    read_inspections,
)
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.setup import init_lake

HEADER = "plate,plate_color,inspected_at,result\n"


def write(path: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path.write_bytes((header + "".join(f"{line}\n" for line in lines)).encode(encoding))
    return path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake")[0]


def stored(lake: Lake) -> list[tuple]:
    rows = lake.table("inspections").scan().collect().sort("inspected_at", "result")
    return rows.select("inspected_at", "is_whole_day", "result").rows()


def test_a_file_is_read_with_its_zone_codes_and_words(tmp_path: Path):
    file = write(tmp_path / "i.csv", " 闽d·12345 ,0,2026-09-01 08:30:00,合格",
                 "闽D12345,yellow,2026-09-02,FAILED", "", "闽D1,,2026-09-03T01:00:00Z,pass",
                 encoding="gb18030")
    rows = read_inspections(file, "Asia/Shanghai")
    assert rows.drop("source_sha256").rows() == [
        ("闽D12345", "blue", datetime(2026, 9, 1, 0, 30, tzinfo=UTC), False, "passed"),
        ("闽D12345", "yellow", datetime(2026, 9, 1, 16, tzinfo=UTC), True, "failed"),
        ("闽D1", "unknown", datetime(2026, 9, 3, 1, tzinfo=UTC), False, "passed"),
    ]
    assert rows["source_sha256"].str.len_chars().unique().to_list() == [64]


@pytest.mark.parametrize(("lines", "header", "complaint"), [
    ([], "plate,plate_color,inspected_at\n", "missing"),
    ([], "plate,plate_color,inspected_at,result,plate\n", "stands twice"),
    (["闽D12345,blue,2026-09-01,maybe"], HEADER, "line 2: an unknown result"),
    (["闽D12345,pink,2026-09-01,passed"], HEADER, "unknown code in plate_color"),
    (["闽D12345,blue,yesterday,passed"], HEADER, "no time in inspected_at"),
    (["闽D12345,blue,2026-02-30,passed"], HEADER, "no time in inspected_at"),
    ([" ,blue,2026-09-01,passed"], HEADER, "without a plate"),
    (["闽D12345,blue,2026-09-01"], HEADER, "another number of fields"),
    (['"闽D12345,blue'], HEADER, "no CSV"),
])
def test_what_cannot_be_read_is_refused_without_a_plate(tmp_path, lines, header, complaint):
    with pytest.raises(InputRefused, match=complaint) as told:
        read_inspections(write(tmp_path / "i.csv", *lines, header=header), "Asia/Shanghai")
    assert "12345" not in str(told.value)


def test_no_text_no_file_and_no_zone_are_refused(tmp_path: Path):
    (tmp_path / "i.csv").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InputRefused, match="no text"):
        read_inspections(tmp_path / "i.csv", "Asia/Shanghai")
    with pytest.raises(InputRefused, match="cannot be read"):
        read_inspections(tmp_path / "none.csv", "Asia/Shanghai")
    with pytest.raises(UsageError, match="time zone"):
        read_inspections(write(tmp_path / "j.csv"), "Asia/Xiamen")


def test_what_was_given_twice_is_one_and_a_file_may_replace_all(lake: Lake, tmp_path: Path):
    first = write(tmp_path / "a.csv", "闽D12345,yellow,2026-09-01,passed",
                  "闽D12345,yellow,2026-09-01,passed", "闽D99999,blue,2026-09-02,failed")
    assert add_inspections(lake, first) == {"rows": 3, "new": 2, "removed": 0, "total": 2}
    before = versions(lake.path) | {"inspections": lake.table("inspections").version()}
    assert add_inspections(lake, first) == {"rows": 3, "new": 0, "removed": 0, "total": 2}
    assert versions(lake.path) | {
        "inspections": lake.table("inspections").version()} == before
    second = write(tmp_path / "b.csv", "闽D99999,blue,2026-09-02,failed",
                   "闽D99999,blue,2026-09-03,passed")
    assert add_inspections(lake, second, replace=True) == {
        "rows": 2, "new": 1, "removed": 1, "total": 2}
    assert [result for _, _, result in stored(lake)] == ["failed", "passed"]


def test_plates_go_to_the_vault_and_nowhere_else(lake: Lake, tmp_path: Path):
    file = write(tmp_path / "a.csv", "闽D77777,yellow,2026-09-01,passed")
    add_inspections(lake, file)
    vehicles = lake.table("vehicles").scan().collect()
    assert vehicles.select("plate", "is_registered").rows() == [("闽D77777", False)]
    assert lake.table("inspections").scan().collect()["vehicle_id"].to_list() == vehicles[
        "vehicle_id"].to_list()
    assert all(b"77777" not in path.read_bytes()
               for path in (lake.path / "open").rglob("*") if path.is_file())


def test_only_what_was_passed_counts_and_a_bare_day_counts_from_its_first_to_its_last_instant(
        lake: Lake, tmp_path: Path):
    add_inspections(lake, write(
        tmp_path / "a.csv", "闽D1,blue,2026-09-01,passed", "闽D1,blue,2026-09-02 10:00,passed",
        "闽D1,blue,2026-09-03,failed"))
    at = datetime(2026, 9, 2, 2, tzinfo=UTC)
    assert passed_inspections(lake).collect().sort("inspected_at").drop("vehicle_id").rows() == [
        (datetime(2026, 8, 31, 16, tzinfo=UTC),
         datetime(2026, 9, 1, 15, 59, 59, 999_999, tzinfo=UTC)), (at, at)]


@pytest.mark.parametrize(("zone", "day", "first", "last"), [
    # the day begins at 01:00, clocks skip its first hour
    ("Asia/Beirut", "2024-03-31", "2024-03-31T01:00:00+03:00", "2024-03-31T23:59:59.999999+03:00"),
    ("Asia/Beirut", "2024-03-30", "2024-03-30T00:00:00+02:00", "2024-03-30T23:59:59.999999+02:00"),
    # midnight comes twice, and the day before only once
    ("America/Havana", "2024-11-02", "2024-11-02T00:00:00-04:00",
     "2024-11-02T23:59:59.999999-04:00"),
    ("America/Havana", "2024-11-03", "2024-11-03T00:00:00-04:00",
     "2024-11-03T23:59:59.999999-05:00"),
    # clocks are put back from 00:01, so that the day before returns
    ("America/St_Johns", "2010-11-06", "2010-11-06T00:00:00-02:30",
     "2010-11-06T23:59:59.999999-03:30"),
    # the next day does not exist
    ("Pacific/Apia", "2011-12-29", "2011-12-29T00:00:00-10:00", "2011-12-29T23:59:59.999999-10:00"),
])
def test_a_day_is_as_long_as_the_zone_s_clock_makes_it(tmp_path: Path, zone: str, day: str,
                                                       first: str, last: str):
    place, _ = init_lake(tmp_path / "lake", timezone=zone)
    add_inspections(place, write(tmp_path / "a.csv", f"闽D1,blue,{day},passed"))
    (row,) = passed_inspections(place).collect().drop("vehicle_id").rows()
    assert row == tuple(datetime.fromisoformat(t).astimezone(UTC) for t in (first, last))


@pytest.mark.parametrize(("at", "is_found"), [
    ("2026-09-01", False),  # it may have been between the two
    ("2026-09-01 12:00", False), ("2026-09-01 17:30", True), ("2026-08-31", True),
])
def test_two_exceedances_of_the_day_of_an_inspection(lake: Lake, tmp_path: Path, at: str,
                                                     is_found: bool):
    run(lake, [dump(tmp_path / "d.csv", [
        record(jlbh="a", jcsj="2026-09-01 08:00:00", btgdjg="50"),
        record(jlbh="b", jcsj="2026-09-01 17:00:00", btgdjg="50")])])
    add_inspections(lake, write(tmp_path / "i.csv", f"闽D12345,1,{at},passed"))
    assert (find_all(lake)[0].height == 1) == is_found


@pytest.mark.parametrize(("at", "is_found"), [
    ("2026-09-01 12:00", False),  # between the two passes
    ("2026-09-01", False), ("2026-09-03", False),  # in doubt for the vehicle
    ("2026-08-31", True), ("2026-09-04", True), ("2026-09-01 08:00", True),
])
def test_a_passed_inspection_between_two_exceedances_breaks_the_chain(
        lake: Lake, tmp_path: Path, at: str, is_found: bool):
    run(lake, [dump(tmp_path / "d.csv", [
        record(jlbh="a", jcsj="2026-09-01 08:00:00", btgdjg="50"),
        record(jlbh="b", jcsj="2026-09-03 08:00:00", btgdjg="50")])])
    add_inspections(lake, write(tmp_path / "i.csv", f"闽D12345,1,{at},passed"))
    assert (find_all(lake)[0].height == 1) == is_found


def test_the_commands_say_what_they_did(tmp_path: Path):
    file = write(tmp_path / "i.csv", "闽D12345,yellow,2026-09-01,合格")
    place = tmp_path / "lake"
    assert rsd("init", place, "--inspections", file).code == 0
    answer = rsd("inspections", place, file, "--format", "json")
    assert answer.json == {"rows": 1, "new": 0, "removed": 0, "total": 1}
    (row,) = rsd("query", place, "SELECT * FROM inspections", "--format", "json").json
    assert (row["result"], row["inspected_at"], row["is_whole_day"]) == (
        "passed", "2026-08-31T16:00:00Z", True)
    empty = write(tmp_path / "none.csv")
    assert rsd("inspections", place, empty, "--replace", "--format", "json").json["total"] == 0
    assert rsd("inspections", place, write(tmp_path / "x.csv", "a,b")).code == 3
    assert rsd("init", tmp_path / "other", "--inspections", tmp_path / "x.csv").code == 3
    assert not (tmp_path / "other").exists()


@given(cell=st.text(max_size=12), result=st.sampled_from(sorted(RESULTS)))
def test_no_cell_makes_anything_but_a_row_or_a_refusal(tmp_path_factory, cell, result):
    path = tmp_path_factory.mktemp("i") / "i.csv"
    quoted = '"' + cell.replace('"', '""') + '"'
    path.write_bytes((HEADER + f"{quoted},blue,{quoted},{result}\n").encode("utf-8",
                                                                            "surrogatepass"))
    try:
        rows = read_inspections(path, "Asia/Shanghai")
    except InputRefused:
        return
    assert rows.height == 1
    assert rows.schema["inspected_at"] == pl.Datetime("us", "UTC")
