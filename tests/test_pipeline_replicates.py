"""Replicates: one event seen by two instruments, whatever file, order or day brings it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from math import cos, radians
from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, dump, record, rsd
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd.errors import UsageError
from rsd.lake import Lake
from rsd.pipeline import ingest as pipeline_ingest
from rsd.pipeline import replicates as pipeline_replicates
from rsd.pipeline.ingest import ingest
from rsd.pipeline.nightly import find_all
from rsd.pipeline.reading import query
from rsd.pipeline.replicates import nearness, places, replicates, twice
from rsd.pipeline.setup import init_lake
from rsd.pipeline.summary import RunSummary

SITES = """site_id,name,road_segment,lon,lat,crs,slope_deg
A,,S1,118.1,24.5,wgs84,
B,,S1,118.1,24.50025,wgs84,
C,,S1,118.1,24.5005,wgs84,
D,,S1,118.1,24.6,wgs84,
E,,S1,,,,
"""
"""A, B and C stand 27.8 m apart in a row, D elsewhere, E nobody knows where."""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return made(tmp_path)


def made(folder: Path) -> Lake:
    (folder / "sites.csv").write_text(SITES, encoding="utf-8")
    return init_lake(folder / "lake", sites=folder / "sites.csv")[0]


def seen(number: object, site: str, second: int, line: str = "01", plate: str = "闽D12345",
         **more: object) -> str:
    """Return the record of a pass some seconds after eight o'clock."""
    minute, rest = divmod(second, 60)
    return record(jlbh=number, dwbh=site, ycxbh=line, hphm=plate,
                  jcsj=f"2026-09-01 08:{minute:02d}:{rest:02d}", **more)


def counted(summary: RunSummary) -> list[int]:
    return [f.replicates for f in summary.files]


def events(lake: Lake) -> list[tuple[str, ...]]:
    """Return the record ids of each event in the order of time."""
    found = query(lake, "SELECT replicate_id, record_id, n_passes FROM replicates "
                        "ORDER BY measured_at, site_id, line_id, record_id")
    groups: dict[str, list[str]] = {}
    for event, name, _ in found.rows():
        groups.setdefault(event, []).append(name)
    assert all(found.filter(replicate_id=e)["n_passes"].unique().to_list() == [len(g)]
               for e, g in groups.items())
    return sorted(map(tuple, groups.values()))


# What is one event


@pytest.mark.parametrize(
    ("records", "found"),
    [([seen(1, "A", 0), seen(2, "A", 3, "02")], [("1", "2")]),
     ([seen(1, "A", 0), seen(2, "B", 3)], [("1", "2")]),
     ([seen(1, "A", 0), seen(2, "A", 3)], []),  # one instrument
     ([seen(1, "A", 0), seen(2, "A", 3, cdxh="2")], []),  # a lane is no instrument
     ([seen(1, "A", 0), seen(2, "D", 3)], []),  # another place
     ([seen(1, "E", 0), seen(2, "A", 3)], []),
     ([seen(1, "E", 0), seen(2, "E", 3, "02")], [("1", "2")]),
     ([seen(1, "X", 0), seen(2, "X", 3, "02")], [("1", "2")]),  # a site that no list has
     ([seen(1, "A", 0), seen(2, "A", 3, "02", "闽D54321")], []),
     ([seen(1, "A", 0), seen(2, "A", 3, "02", cpys="0")], []),  # another colour: another vehicle
     ([seen(1, "A", 0, plate=""), seen(2, "A", 3, "02", plate="")], []),
     ([seen(1, "A", 0, plate="无牌"), seen(2, "A", 3, "02", plate="无牌")], []),
     ([seen(1, "A", 0), seen(2, "A", 10, "02")], [("1", "2")]),
     ([seen(1, "A", 0), seen(2, "A", 11, "02")], []),
     ([seen(1, "A", 0), seen(2, "A", 0, "02")], [("1", "2")]),
     # 14 min 55 s to 15 min 4 s: on the two sides of a window's end
     ([seen(1, "A", 895), seen(2, "A", 904, "02")], [("1", "2")]),
     ([seen(1, "A", 0), seen(2, "B", 9), seen(3, "C", 18)], [("1", "2", "3")]),
     ([seen(1, "A", 0), seen(2, "A", 9, "02"), seen(3, "A", 18), seen(4, "A", 29, "02")],
      [("1", "2", "3")]),
     ([seen(1, "A", 0), seen(2, "C", 9)], [("1", "2")]),  # B joins them into one place
     ([seen(1, "A", 0), seen(2, "A", 5), seen(3, "A", 8, "02")], [("1", "2", "3")]),
     ([seen(1, "A", 0, "02"), seen(2, "A", 3), seen(3, "A", 5)], [("1", "2", "3")]),
     # the first is too early for the third, and of one instrument with the second
     ([seen(1, "A", 0), seen(2, "A", 5), seen(3, "B", 12)], [("2", "3")]),
     ([seen(1, "B", 0), seen(2, "A", 5), seen(3, "A", 13), seen(4, "C", 17)],
      [("1", "2"), ("3", "4")])],
)  # fmt: skip
@pytest.mark.parametrize("way", ["one batch", "runs backwards"])
def test_events_by_their_definition(lake: Lake, tmp_path: Path, records: list[str],
                                    found: list[tuple[str, ...]], way: str):
    order = reversed(records) if way == "runs backwards" else records
    paths = [dump(tmp_path / f"{k}.csv", [one]) for k, one in enumerate(order)]
    runs = [[p] for p in paths] if way == "runs backwards" else [paths]
    summaries = [ingest(Lake.open(lake.path), one) for one in runs]
    assert events(lake) == found
    members = sum(map(len, found))
    if len(runs) == 1:
        assert summaries[0].totals()["replicates"] == members
    assert sum(f.accepted for s in summaries for f in s.files) == len(records)
    kept = query(lake, "SELECT count(*) FROM passes").item()
    assert kept == len(records)


def test_the_view_names_event_instruments_and_passes(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [
        seen("late", "A", 4, "02"), seen("early", "A", 0), seen("again", "A", 6, "02"),
        seen("other", "A", 0, plate="闽D54321")])])
    found = query(lake, "SELECT * FROM replicates ORDER BY measured_at")
    assert found.columns == ["record_id", "replicate_id", "n_instruments", "n_passes",
                             "vehicle_id", "site_id", "line_id", "measured_at"]
    assert found.select("record_id", "replicate_id", "n_instruments", "n_passes", "line_id",
                        ).rows() == [("early", "early", 2, 3, "01"), ("late", "early", 2, 3, "02"),
                                     ("again", "early", 2, 3, "02")]
    assert found["vehicle_id"].n_unique() == 1


def test_readers_of_passes_see_no_difference(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [seen(1, "A", 0), seen(2, "B", 2)])])
    alone = init_lake(tmp_path / "alone", sites=tmp_path / "sites.csv")[0]
    alone.configure(settings={"replicate_seconds": 0, "replicate_distance_m": 0})
    (alone.key_path).write_bytes(lake.key_path.read_bytes())
    ingest(alone, [tmp_path / "a.csv"])
    text = "SELECT * FROM passes ORDER BY record_id"
    assert query(lake, text).equals(query(alone, text))
    assert (len(events(lake)), len(events(alone))) == (1, 0)


# Whatever brings it


def test_the_other_pass_may_be_of_yesterday_and_of_another_run(lake: Lake, tmp_path: Path):
    """Midnight of the lake and midnight of UTC."""
    for night, (first, second) in enumerate([("2026-09-01 23:59:58", "2026-09-02 00:00:03"),
                                             ("2026-09-02 07:59:58", "2026-09-02 08:00:03")]):
        one, other = record(jlbh=f"{night}a", jcsj=first), record(jlbh=f"{night}b", jcsj=second,
                                                                  ycxbh="02")
        noise = [seen(f"{night}{k}", "D", k, plate=f"闽D4444{k}") for k in range(3)]
        runs = [ingest(lake, [dump(tmp_path / f"{night}{k}.csv", [cells, *noise[k:k + 1]])])
                for k, cells in enumerate([one, other])]
        assert [counted(r) for r in runs] == [[0], [1]]
    assert events(lake) == [("0a", "0b"), ("1a", "1b")]


def test_a_change_of_clocks_parts_no_event(tmp_path: Path):
    """02:59:58 CEST is followed by 02:00:03 CET, and 01:59:58 CET by 03:00:03 CEST."""
    lake = init_lake(tmp_path / "lake", timezone="Europe/Zurich")[0]
    path = tmp_path / "a.csv"
    path.write_text("record_id,site_id,line_id,measured_at,plate,plate_color\n"
                    "1,A,1,2026-10-25T02:59:58+02:00,ZH1,white\n"
                    "2,A,2,2026-10-25T02:00:03+01:00,ZH1,white\n"
                    "3,A,1,2026-03-29T01:59:58+01:00,ZH1,white\n"
                    "4,A,2,2026-03-29T03:00:03+02:00,ZH1,white\n", encoding="utf-8")
    assert counted(ingest(lake, [path])) == [4]
    assert events(lake) == [("1", "2"), ("3", "4")]


def test_corrections_make_and_part_events(lake: Lake, tmp_path: Path):
    first = ingest(lake, [dump(tmp_path / "a.csv", [
        seen(1, "A", 0), seen(2, "A", 2, "02"), seen(3, "A", 3, "03", plate="闽D54321"),
        seen(4, "A", 40)])])
    assert (counted(first), events(lake)) == ([2], [("1", "2")])
    moved = ingest(lake, [dump(tmp_path / "b.csv", [seen(2, "A", 2, "02", plate="闽D54321")])])
    assert (counted(moved), events(lake)) == ([1], [("2", "3")])
    later = ingest(lake, [dump(tmp_path / "c.csv", [seen(3, "A", 45, "03")])])
    assert (counted(later), events(lake)) == ([1], [("4", "3")])
    away = ingest(lake, [dump(tmp_path / "d.csv", [seen(3, "D", 45, "03")])])
    assert (counted(away), events(lake)) == ([0], [])


def test_a_correction_in_a_later_batch_is_counted_by_the_end_of_the_run(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
    paths = [dump(tmp_path / "a.csv", [seen(1, "A", 0)]),
             dump(tmp_path / "b.csv", [seen(2, "A", 2, "02")]),
             dump(tmp_path / "c.csv", [seen(2, "A", 2, "02", plate="闽D54321")])]
    assert counted(ingest(lake, paths)) == [0, 0, 0]
    assert lake.table("runs").scan().collect()["replicates"].to_list() == [0, 0, 0]


def test_a_duplicate_is_no_replicate(lake: Lake, tmp_path: Path):
    lines = [seen(1, "A", 0), seen(2, "A", 2, "02")]
    assert counted(ingest(lake, [dump(tmp_path / "a.csv", lines)])) == [2]
    again = ingest(lake, [dump(tmp_path / "b.csv", [*lines, seen(3, "A", 50)])])
    assert (again.files[0].duplicates, counted(again)) == (2, [0])
    assert events(lake) == [("1", "2")]


def test_a_third_pass_counts_once_and_in_its_own_file(lake: Lake, tmp_path: Path):
    assert counted(ingest(lake, [dump(tmp_path / "a.csv", [
        seen(1, "A", 0), seen(2, "A", 8, "02")])])) == [2]
    assert counted(ingest(lake, [dump(tmp_path / "b.csv", [seen(3, "A", 16)])])) == [1]
    assert events(lake) == [("1", "2", "3")]


def test_settings_and_sites_are_followed_at_once(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [seen(1, "A", 0), seen(2, "B", 20)])])
    assert events(lake) == []
    lake.configure(settings={"replicate_seconds": 20})
    assert events(lake) == [("1", "2")]
    lake.configure(settings={"replicate_distance_m": 27.0})
    assert events(lake) == []


@pytest.mark.parametrize(("key", "value"), [
    ("replicate_seconds", -1), ("replicate_seconds", 301), ("replicate_distance_m", -0.1),
    ("replicate_distance_m", float("inf")), ("replicate_seconds", float("nan"))])
def test_settings_out_of_range_are_refused(lake: Lake, key: str, value: float):
    lake.configure(settings={key: value})
    with pytest.raises(UsageError, match=f"{key} is out of range"):
        nearness(lake)


# Places


def test_places_join_what_stands_near_and_step_by_step():
    def sites(*at: tuple[str, float | None, float | None]) -> pl.DataFrame:
        return pl.DataFrame(at, schema={"site_id": pl.String, "lon_wgs84": pl.Float64,
                                        "lat_wgs84": pl.Float64}, orient="row")

    step = 29.9 / 111_195  # degrees of 29.9 m
    row = sites(("a", 118.0, 24.0), ("b", 118.0, 24.0 + step), ("c", 118.0, 24.0 + 2 * step),
                ("d", 118.0, 24.0 + 3.1 * step), ("x", None, None))
    assert places(row, 30.0) == {"a": "a", "b": "a", "c": "a"}
    assert places(row, 29.8) == {}
    east = step / cos(radians(24.0))
    assert places(sites(("a", 118.0, 24.0), ("b", 118.0 + east, 24.0)), 30.0) == {"a": "a",
                                                                                 "b": "a"}
    assert places(sites(("a", 118.0, 24.0), ("b", 118.0 + 1.02 * east, 24.0)), 30.0) == {}
    assert places(sites(("a", 180.0, 0.0), ("b", -180.0, 0.0)), 0.1) == {"b": "a", "a": "a"}
    assert places(sites(("a", 7.0, 47.0), ("b", 7.0, 47.0)), 0.0) == {"a": "a", "b": "a"}
    assert places(sites(), 30.0) == {}
    for order in permutations(range(4)):
        assert places(row[list(order)], 30.0) == {"a": "a", "b": "a", "c": "a"}


# Against a walk over all pairs

PASSES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from("xyz")),
                  max_size=14)


def joined(rows: list[tuple[int, int, str]], within: int) -> list[set[int]]:
    """Return the groups that pairs of one vehicle and two instruments join."""
    groups = [{k} for k in range(len(rows))]
    for one, other in combinations(range(len(rows)), 2):
        (who, at, line), (whose, when, other_line) = rows[one], rows[other]
        if who == whose and line != other_line and abs(at - when) <= within:
            met = [g for g in groups if g & {one, other}]
            groups = [g for g in groups if g not in met] + [set().union(*met)]
    return [g for g in groups if len(g) > 1]


@given(rows=PASSES, within=st.integers(0, 12), start=st.sampled_from([0, 880, 1790]))
def test_replicates_are_those_of_all_pairs(rows: list[tuple[int, int, str]], within: int,
                                           start: int):
    frame = pl.DataFrame(
        [(who, (start + at) * 1_000_000, ord(line), str(k)) for k, (who, at, line) in
         enumerate(rows)],
        schema={"who": pl.UInt64, "at": pl.Int64, "instrument": pl.UInt64, "name": pl.String},
        orient="row")
    found = {int(n) for n in replicates(frame, within * 1_000_000)["name"]}
    assert found == set().union(*joined(rows, within))
    near = set(twice(frame.select("who", "at"), within * 1_000_000).rows())
    pairs = {frame.select("who", "at").row(k) for one, other in combinations(range(len(rows)), 2)
             if rows[one][0] == rows[other][0] and abs(rows[one][1] - rows[other][1]) <= within
             for k in (one, other)}
    assert near == pairs


SENT = st.lists(st.lists(st.lists(st.tuples(
    st.integers(0, 9), st.integers(0, 1), st.integers(0, 25), st.sampled_from("xyz")),
    max_size=7), min_size=1, max_size=3), min_size=1, max_size=3)
"""Runs of files of records: number, vehicle, second, line. A known number is a correction."""


@settings(max_examples=8)
@given(runs=SENT, is_large=st.booleans())
def test_view_and_count_are_those_of_all_pairs_whatever_is_corrected(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[list[tuple]]], is_large: bool
):
    folder = tmp_path_factory.mktemp("pairs")
    lake = init_lake(folder / "lake")[0]
    sent: dict[int, list[tuple]] = {}  # number → its versions: contents, and the file it came in
    for night, files in enumerate(runs):
        paths = []
        for k, file in enumerate(files):
            lines = [seen(n, "A", 880 + at, line, f"闽D1234{who}") for n, who, at, line in file]
            paths.append(dump(folder / f"{night}-{k}.csv", [*lines, "," * k]))
            for number, *content in file:
                versions = sent.setdefault(number, [])
                if tuple(content) not in [v[0] for v in versions]:
                    versions.append((tuple(content), f"{night}-{k}.csv"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline_replicates, "_PART_ROWS", 3)
            if is_large:
                patch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
            summary = ingest(Lake.open(lake.path), paths)
        numbers = sorted(sent)
        rows = [sent[n][-1][0] for n in numbers]
        groups = joined(rows, 10)
        members = [sent[numbers[k]][-1][1] for g in groups for k in g]
        assert [(f.file, f.replicates) for f in summary.files if f.state == "done"] == [
            (f.file, members.count(f.file)) for f in summary.files if f.state == "done"]
        assert events(lake) == sorted(tuple(str(numbers[k]) for k in sorted(
            g, key=lambda k: (rows[k][1], rows[k][2], str(numbers[k])))) for g in groups)


# What it leaves alone


def test_vehicles_are_looked_at_only_where_two_instruments_stand(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    looked: list[object] = []
    honest = pipeline_replicates.ReplicateCount._passes

    def watched(self: object, files: list[Path], **named: object) -> Iterator[pl.LazyFrame]:
        looked.append(files)
        return honest(self, files, **named)  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(pipeline_replicates.ReplicateCount, "_passes", watched)
    ingest(lake, [dump(tmp_path / "a.csv", [seen(1, "A", 0), seen(2, "D", 5)])])
    ingest(lake, [dump(tmp_path / "b.csv", [
        record(jlbh=3, dwbh="A", ycxbh="02", jcsj="2026-09-03 08:00:00")])])
    assert looked == []  # the second instrument of A came two days later
    ingest(lake, [dump(tmp_path / "c.csv", [seen(4, "B", 5)])])
    assert looked != []


def test_the_law_counts_both_passes_of_an_event(lake: Lake, tmp_path: Path):
    """HJ 845 as declared (no least gap) finds a vehicle by one event of two instruments."""
    ingest(lake, [dump(tmp_path / "a.csv", [seen(1, "A", 0, btgdjg=55),
                                            seen(2, "A", 1, "02", btgdjg=55, **HIGH_NO)])])
    found = find_all(lake)[0].filter(pollutant="opacity")
    assert found.select("first_record_id", "second_record_id").rows() == [("1", "2")]


def test_the_command_line_tells_them_apart(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "a.csv", [seen(1, "A", 0), seen(1, "A", 0), seen(2, "B", 3),
                                     seen(3, "D", 3)])
    answer = rsd("ingest", lake.path, path)
    assert "4 records = 3 accepted + 0 quarantined + 1 duplicates" in answer.out
    assert "1 twice in one file, 0 known from another" in answer.out
    assert "2 passes are replicates" in answer.out
    more = dump(tmp_path / "b.csv", [seen(3, "D", 3), seen(3, "D", 3), seen(4, "D", 9)])
    (file,) = rsd("ingest", lake.path, more, "--format", "json").json["files"]
    assert [file[k] for k in ("duplicates", "duplicates_in_file", "duplicates_earlier",
                              "replicates")] == [2, 1, 1, 0]
    rows = rsd("query", lake.path, "SELECT file, duplicates_in_file, duplicates_earlier, "
               "replicates FROM runs ORDER BY file", "--format", "json").json
    assert [tuple(r.values()) for r in rows] == [("a.csv", 1, 0, 2), ("b.csv", 1, 1, 0)]
