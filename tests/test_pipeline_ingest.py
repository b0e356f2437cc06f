"""Ingest: every record of every file is accounted for, whatever comes, whenever it stops."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from chain import HEADER, dump, record, versions
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd.errors import InputRefused, IntegrityError, StorageError
from rsd.intake import source as intake_source
from rsd.lake import Lake
from rsd.pipeline import batch as pipeline_batch
from rsd.pipeline import ingest as pipeline_ingest
from rsd.pipeline.ingest import ingest
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.prepare import Prepared
from rsd.pipeline.reading import query
from rsd.pipeline.setup import init_lake
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.storage.table import Table

TABLES = ("passes", "vehicles", "evidence", "quarantine")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake")[0]


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dump is large, and its chunks hold about two records."""
    monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
    monkeypatch.setattr(intake_source.stream_chunks, "__defaults__", (300,))


def rows(lake: Lake, table: str) -> int:
    return lake.table(table).scan().select(pl.len()).collect().item()


def counts(file: FileSummary) -> tuple[int, int, int, int, int, int]:
    return (file.records, file.accepted, file.quarantined, file.duplicates, file.corrected,
            file.blank)


def told(findings: Mapping[str, int] | None) -> tuple[int, int, int]:
    assert findings is not None
    return findings["total"], findings["new"], findings["withdrawn"]


def reopened(lake: Lake) -> Lake:
    return Lake.open(lake.path)


# The account


def test_each_record_is_accepted_quarantined_or_a_duplicate(lake: Lake, tmp_path: Path):
    lines = [record(jlbh="1"), record(jlbh="1"), "", record(jlbh="2", btgdjg="abc"), "a,b",
             record(jlbh="3", jcsj="2026-02-30 08:00:00"), record(jlbh="4", hphm=""), " "]
    summary = ingest(lake, [dump(tmp_path / "a.csv", lines)])
    (file,) = summary.files
    assert counts(file) == (6, 2, 3, 1, 0, 2)
    assert (file.state, file.format, file.error) == ("done", "cn_platform", None)
    assert rows(lake, "passes") == 2
    assert rows(lake, "quarantine") == 3
    kept = lake.table("quarantine").scan().sort("line").collect()
    assert kept["line"].to_list() == [5, 6, 7]
    assert kept["raw"].to_list() == [lines[k].encode("gb18030") for k in (3, 4, 5)]
    assert kept["column"].to_list() == ["btgdjg", None, "jcsj"]
    assert kept["file"].to_list() == ["a.csv"] * 3
    data = (tmp_path / "a.csv").read_bytes()
    for offset, raw in kept.select("byte_offset", "raw").iter_rows():
        assert data[offset:offset + len(raw)] == raw


def test_the_runs_table_says_what_the_summary_says(lake: Lake, tmp_path: Path):
    good = dump(tmp_path / "good.csv", [record(jlbh="1"), record(jlbh="2", hphm=""), "torn"])
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    summary = ingest(lake, [good, empty, good])
    assert [f.state for f in summary.files] == ["done", "refused", "already"]
    files = pl.DataFrame(summary.as_dict()["files"], infer_schema_length=None)
    stored = lake.table("runs").scan().collect()
    shared = [name for name in files.columns if name in stored.columns]
    assert {"file", "sha256", "records", "accepted", "state", "error"} <= set(shared)
    assert stored.select(shared).rows() == files.select(shared).rows()
    assert stored["run_id"].unique().to_list() == [summary.run_id]


def test_the_summary_is_the_document_of_the_contract(lake: Lake, tmp_path: Path):
    summary = run(lake, [dump(tmp_path / "a.csv", [record(), record(jlbh="2")])])
    document = summary.as_dict()
    (file,) = document["files"]
    assert set(file) >= {"file", "sha256", "format", "records", "accepted", "quarantined",
                         "duplicates", "corrected", "blank", "state", "error", "ignored_columns"}
    assert (file["file"], len(file["sha256"])) == ("a.csv", 64)
    assert document["totals"] == {"files": 1, "done": 1, "already": 0, "refused": 0, "records": 2,
                                  "accepted": 2, "quarantined": 0, "duplicates": 0,
                                  "duplicates_in_file": 0, "duplicates_earlier": 0,
                                  "corrected": 0, "replicates": 0, "blank": 0}
    assert told(document["findings"]) == (0, 0, 0)


def test_an_account_that_does_not_balance_is_an_integrity_error():
    file = FileSummary("a.csv", records=3, accepted=1, quarantined=1)
    with pytest.raises(IntegrityError, match=r"a\.csv.*1 accepted \+ 1 quarantined.*3 records"):
        file.check()


@pytest.mark.parametrize(
    ("refused", "quarantined", "limit", "code"),
    [(False, 0, 0.05, 0), (False, 5, 0.05, 0), (False, 6, 0.05, 4), (True, 6, 0.05, 3),
     (True, 0, 0.05, 3), (False, 1, 0.0, 4), (False, 100, 1.0, 0)],
)
def test_exit_codes_of_a_run(refused: bool, quarantined: int, limit: float, code: int):
    files = [FileSummary("a", records=100, quarantined=quarantined, accepted=100 - quarantined)]
    if refused:
        files.append(FileSummary("b", state="refused"))
    assert RunSummary("id", "now", files).exit_code(limit) == code


def test_rows_that_are_not_the_accepted_records_are_never_committed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    honest = Prepared.frames

    def lossy(self: Prepared, book: object) -> Iterator[pl.DataFrame]:
        for frame in honest(self, book):  # type: ignore[arg-type]
            yield frame.head(frame.height - 1)

    monkeypatch.setattr(Prepared, "frames", lossy)
    with pytest.raises(IntegrityError, match=r"found 1, expected 2"):
        ingest(lake, [dump(tmp_path / "a.csv", [record(), record(jlbh="2")])])
    assert rows(lake, "passes") == 0
    assert not list((lake.path / "open" / "passes").glob("*.parquet"))


# What is sent again


def test_the_same_bytes_are_known_under_any_name(lake: Lake, tmp_path: Path):
    first = dump(tmp_path / "a.csv", [record(), "broken", record(jlbh="2", tp1="x.jpg")])
    run(lake, [first])
    before = versions(lake.path)
    other = tmp_path / "other" / "b.txt"
    other.parent.mkdir()
    other.write_bytes(first.read_bytes())
    summary = run(reopened(lake), [other, first])
    assert [(f.state, *counts(f)) for f in summary.files] == [("already", *[0] * 6)] * 2
    assert summary.exit_code(0.0) == 0
    assert versions(lake.path) == before


def test_the_same_bytes_twice_in_one_batch(lake: Lake, tmp_path: Path):
    first = dump(tmp_path / "a.csv", [record()])
    second = dump(tmp_path / "b.csv", [record()])
    summary = ingest(lake, [first, second])
    assert [f.state for f in summary.files] == ["done", "already"]
    assert rows(lake, "passes") == 1


def test_a_file_refused_twice_is_refused_twice(lake: Lake, tmp_path: Path):
    bad = gzip.compress(b"\n".join([",".join(HEADER).encode(), record().encode(), b""]))[:-4]
    for name in ("a.csv.gz", "b.csv.gz"):
        (tmp_path / name).write_bytes(bad)
    summary = ingest(lake, [tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"])
    assert [f.state for f in summary.files] == ["refused", "refused"]
    assert all("gzip archive is broken" in (f.error or "") for f in summary.files)


@pytest.mark.parametrize("together", [True, False])
def test_a_record_known_from_another_file_is_a_duplicate(
    lake: Lake, tmp_path: Path, together: bool
):
    first = dump(tmp_path / "a.csv", [record(jlbh="1"), record(jlbh="2", tp1="photo.jpg")])
    second = dump(tmp_path / "b.csv", [record(jlbh="3"), record(jlbh="2", tp1="photo.jpg")])
    if together:
        files = ingest(lake, [first, second]).files
    else:
        files = [*ingest(lake, [first]).files, *ingest(reopened(lake), [second]).files]
    assert [counts(f) for f in files] == [(2, 2, 0, 0, 0, 0), (2, 1, 0, 1, 0, 0)]
    assert rows(lake, "passes") == 3
    assert rows(lake, "evidence") == 1


@pytest.mark.parametrize("apart", [0, 1, 7])
def test_a_record_twice_in_one_large_file(
    lake: Lake, tmp_path: Path, small_steps: None, apart: int
):
    others = [record(jlbh=f"x{k}") for k in range(apart)]
    lines = [record(jlbh="1"), *others, record(jlbh="1"), record(jlbh="last")]
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", lines)]).files
    assert counts(file) == (apart + 3, apart + 2, 0, 1, 0, 0)
    assert sorted(lake.table("passes").scan().collect()["record_id"]) == sorted(
        ["1", "last", *[f"x{k}" for k in range(apart)]])


def test_a_blank_record_number_is_made_of_site_line_time_and_vehicle(lake: Lake, tmp_path: Path):
    lines = [record(jlbh=""), record(jlbh="", jcsj="2026-09-01 08:00:01"),
             record(jlbh="", hphm="闽D54321"), record(jlbh="", ycxbh="02"),
             record(jlbh="", cpys="0")]
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", [*lines, lines[0]])]).files
    assert counts(file) == (6, 5, 0, 1, 0, 0)
    (again,) = ingest(lake, [dump(tmp_path / "b.csv", [lines[2], lines[0]])]).files
    assert counts(again) == (2, 0, 0, 2, 0, 0)
    ids = query(lake, "SELECT record_id FROM passes")["record_id"]
    assert ids.null_count() == 0
    assert ids.n_unique() == 5
    assert not [i for i in ids if "12345" in i or "闽" in i]


def test_unreadable_plates_of_one_second_stay_two_records(lake: Lake, tmp_path: Path):
    lines = [record(jlbh="", hphm=""), record(jlbh="", hphm="", nojg="700", noco2="47")]
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", lines)]).files
    assert counts(file) == (2, 2, 0, 0, 0, 0)
    (again,) = ingest(lake, [dump(tmp_path / "b.csv", [*lines, record(jlbh="9")])]).files
    assert counts(again) == (3, 1, 0, 2, 0, 0)


# Corrections


def test_the_newer_version_counts_and_the_older_stays(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [record(btgdjg="10"), record(jlbh="2")])])
    (file,) = ingest(lake, [dump(tmp_path / "b.csv", [record(btgdjg="20")])]).files
    assert counts(file) == (1, 1, 0, 0, 1, 0)
    seen = query(lake, "SELECT record_id, opacity_pct FROM passes ORDER BY record_id")
    assert seen.rows() == [("2", 10.0), ("R1", 20.0)]
    stored = lake.table("passes").scan().sort("opacity_pct").filter(pl.col("record_id") == "R1")
    assert stored.select("opacity_pct", "is_current").collect().rows() == [
        (10.0, False), (20.0, True)]


def test_an_older_version_sent_again_is_a_duplicate(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [record(btgdjg="10")])])
    ingest(lake, [dump(tmp_path / "b.csv", [record(btgdjg="20")])])
    last = dump(tmp_path / "c.csv", [record(btgdjg="10"), record(jlbh="7")])
    (file,) = ingest(lake, [last]).files
    assert counts(file) == (2, 1, 0, 1, 0, 0)
    assert query(lake, "SELECT opacity_pct FROM passes WHERE record_id = 'R1'").rows() == [(20.0,)]


def test_a_corrected_plate_moves_the_record_to_the_other_vehicle(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [record(hphm="闽D12345")])])
    (file,) = ingest(lake, [dump(tmp_path / "b.csv", [record(hphm="闽D54321")])]).files
    assert counts(file) == (1, 1, 0, 0, 1, 0)
    assert query(lake, "SELECT count(DISTINCT vehicle_id) FROM passes").item() == 1
    assert rows(lake, "vehicles") == 2


def test_a_corrected_photo_is_a_correction_too(lake: Lake, tmp_path: Path):
    ingest(lake, [dump(tmp_path / "a.csv", [record(tp1="1.jpg")])])
    (file,) = ingest(lake, [dump(tmp_path / "b.csv", [record(tp1="2.jpg")])]).files
    assert counts(file) == (1, 1, 0, 0, 1, 0)
    assert rows(lake, "evidence") == 2


def test_two_versions_in_one_file_and_in_one_batch(lake: Lake, tmp_path: Path):
    first = dump(tmp_path / "a.csv", [record(btgdjg="10"), record(btgdjg="20")])
    second = dump(tmp_path / "b.csv", [record(btgdjg="20"), record(btgdjg="30")])
    files = ingest(lake, [first, second]).files
    assert [counts(f) for f in files] == [(2, 2, 0, 0, 1, 0), (2, 1, 0, 1, 1, 0)]
    assert query(lake, "SELECT opacity_pct FROM passes").rows() == [(30.0,)]
    assert rows(lake, "passes") == 3


def test_late_corrected_data_undo_a_finding(lake: Lake, tmp_path: Path):
    over = {"btgdjg": "55"}
    first = dump(tmp_path / "a.csv", [record(jlbh="1", **over),
                                      record(jlbh="2", jcsj="2026-09-02 08:00:00", **over)])
    assert told(run(lake, [first]).findings) == (1, 1, 0)
    second = dump(tmp_path / "b.csv", [record(jlbh="2", jcsj="2026-09-02 08:00:00", btgdjg="5")])
    assert told(run(lake, [second]).findings) == (0, 0, 1)


# One model for all of it

CELLS = st.tuples(st.sampled_from(["", "A", "B", "C"]), st.integers(0, 2), st.integers(0, 1))
"""Record number, version (opacity), vehicle; the vehicle is content too."""
FILES = st.lists(st.lists(CELLS | st.just("bad") | st.just(""), max_size=7), min_size=1, max_size=4)


def modelled(files: list[list], known: dict[str, list], seen: set) -> list[tuple]:
    """Count each file by the contract's words: the first of a content is new, more of it are not.

    ``known``: record id → contents in the order they came. Same id, other content: a correction.
    """
    accounts = []
    for file in files:
        if (text := repr(file)) in seen:
            accounts.append(("already", 0, 0, 0, 0, 0, 0))
            continue
        seen.add(text)
        records = accepted = quarantined = duplicates = corrected = blank = 0
        for cells in file:
            if cells == "":
                blank += 1
                continue
            records += 1
            if cells == "bad":
                quarantined += 1
                continue
            name, version, vehicle = cells
            key = name or f"derived-{vehicle}"
            contents = known.setdefault(key, [])
            if (version, vehicle) in contents:
                duplicates += 1
            else:
                accepted += 1
                corrected += bool(contents)
                contents.append((version, vehicle))
        accounts.append(("done", records, accepted, quarantined, duplicates, corrected, blank))
    return accounts


@settings(max_examples=20)
@given(runs=st.lists(FILES, min_size=1, max_size=2), steps=st.sampled_from([None, 300, 1000]))
def test_any_mix_of_files_is_counted_as_the_contract_says(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[list]], steps: int | None
):
    folder = tmp_path_factory.mktemp("mix")
    lake = init_lake(folder / "lake")[0]
    known: dict[str, list] = {}
    seen: set[str] = set()
    with pytest.MonkeyPatch.context() as patch:
        if steps is not None:
            patch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
            patch.setattr(intake_source.stream_chunks, "__defaults__", (steps,))
        for night, files in enumerate(runs):
            paths = [dump(folder / f"{night}-{k}.csv", map(line, cells))
                     for k, cells in enumerate(files)]
            summary = ingest(reopened(lake), paths)
            accounts = [(f.state, *counts(f)) for f in summary.files]
            assert accounts == modelled(files, known, seen)
    latest = sorted(contents[-1] for contents in known.values())
    current = lake.table("passes").scan().filter(pl.col("is_current")).collect()
    stored = sorted((int(o), int(v)) for o, v in current.select("opacity_pct", "lane").rows())
    assert stored == latest
    assert rows(lake, "passes") == sum(map(len, known.values()))


def line(cells: tuple[str, int, int] | str) -> str:
    if isinstance(cells, str):
        return cells
    name, version, vehicle = cells
    return record(jlbh=name, btgdjg=version, cdxh=vehicle, hphm=f"闽D1234{vehicle}")


# Files that are refused on the way, and runs that end early


def broken_archive(path: Path, lines: list[str]) -> Path:
    text = "".join(f"{one}\n" for one in (",".join(HEADER), *lines)).encode("gb18030")
    path.write_bytes(gzip.compress(text)[:-6])
    return path


@pytest.mark.parametrize("is_large", [False, True])
def test_a_file_refused_midway_leaves_no_trace(
    lake: Lake, tmp_path: Path, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    if is_large:
        monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
        monkeypatch.setattr(intake_source.stream_chunks, "__defaults__", (300,))
    bad = broken_archive(tmp_path / "bad.csv.gz", [
        record(jlbh="b1", hphm="闽D66666", tp1="x.jpg"), "broken", *[record(jlbh=f"b{k}") for k in
                                                                   range(2, 40)]])
    good = [dump(tmp_path / f"{k}.csv", [record(jlbh=f"g{k}", tp1="y.jpg"), "torn"])
            for k in range(2)]
    summary = run(lake, [good[0], bad, good[1]])
    assert [f.state for f in summary.files] == ["done", "refused", "done"]
    assert counts(summary.files[1]) == (0, 0, 0, 0, 0, 0)
    assert summary.exit_code(0.05) == 3
    assert {name: rows(lake, name) for name in TABLES} == {
        "passes": 2, "vehicles": 1, "evidence": 2, "quarantine": 2}
    gone = summary.files[1].sha256
    for table in ("passes", "evidence", "quarantine"):
        assert gone not in lake.table(table).scan().collect()["source_sha256"]
    left = {p.name for t in ("passes", "evidence", "quarantine") for p in
            lake.table(t).folder.glob("*.parquet")}
    assert left == {p.name for t in ("passes", "evidence", "quarantine")
                    for p in lake.table(t).files()}
    whole = tmp_path / "whole.csv.gz"
    whole.write_bytes(gzip.compress(gzip_text(39)))
    assert [f.accepted for f in ingest(reopened(lake), [whole]).files] == [39]


def gzip_text(number: int) -> bytes:
    lines = (",".join(HEADER), *[record(jlbh=f"b{k}") for k in range(number)])
    return "".join(f"{one}\n" for one in lines).encode("gb18030")


def test_a_large_file_refused_midway_does_not_stop_the_files_behind_it(
    lake: Lake, tmp_path: Path, small_steps: None
):
    bad = broken_archive(tmp_path / "bad.csv.gz", [record(jlbh=f"b{k}") for k in range(40)])
    good = dump(tmp_path / "good.csv", [record(jlbh="g")])
    assert [f.state for f in ingest(lake, [bad, good]).files] == ["refused", "done"]


@pytest.mark.parametrize("is_large", [False, True])
def test_a_vehicle_first_met_in_a_refused_file_is_known_by_the_next(
    lake: Lake, tmp_path: Path, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    if is_large:
        monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
        monkeypatch.setattr(intake_source.stream_chunks, "__defaults__", (300,))
    bad = broken_archive(tmp_path / "bad.csv.gz",
                         [record(jlbh=f"b{k}", hphm="闽D55555") for k in range(40)])
    good = dump(tmp_path / "good.csv", [record(jlbh="g", hphm="闽D55555")])
    assert [f.state for f in ingest(lake, [bad, good]).files] == ["refused", "done"]
    vehicles = lake.table("vehicles").scan().collect()
    assert vehicles["plate"].to_list() == ["闽D55555"]
    passes = lake.table("passes").scan().collect()
    assert passes["vehicle_id"].to_list() == vehicles["vehicle_id"].to_list()


@pytest.mark.parametrize("table", ["quarantine", "evidence", "vehicles", "passes"])
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_any_commit_leaves_all_or_nothing_and_a_second_run_mends_it(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, after: bool
):
    path = dump(tmp_path / "a.csv", [record(tp1="x.jpg"), "broken", record(jlbh="2")])
    honest = Table.commit

    def interrupted(self: Table, *arguments: object, **named: object) -> int:
        if self.name != table:
            return honest(self, *arguments, **named)  # type: ignore[arg-type]
        if after:
            honest(self, *arguments, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, [path])
    there = (table, after) == ("passes", True)
    seen = reopened(lake)
    assert seen.problems() == []  # no log names a file that is gone
    assert {name: rows(seen, name) for name in ("passes", "evidence", "quarantine")} == {
        "passes": 2 * there, "evidence": 1 * there, "quarantine": 1 * there}
    (file,) = ingest(seen, [path]).files
    assert file.state == ("already" if there else "done")
    assert {name: rows(seen, name) for name in TABLES} == {
        "passes": 2, "vehicles": 1, "evidence": 1, "quarantine": 1}
    assert seen.problems() == []


def test_an_interrupt_while_reading_keeps_the_batches_before(
    lake: Lake, tmp_path: Path, small_steps: None, monkeypatch: pytest.MonkeyPatch
):
    first = dump(tmp_path / "a.csv", [record(jlbh="a", tp1="x.jpg")])
    second = dump(tmp_path / "b.csv", [record(jlbh=f"b{k}", tp1="x.jpg") for k in range(20)])
    honest = Prepared.frames

    def interrupted(self: Prepared, book: object) -> Iterator[pl.DataFrame]:
        for number, frame in enumerate(honest(self, book)):  # type: ignore[arg-type]
            if number == 3:
                raise KeyboardInterrupt
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "frames", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(lake, [first, second])
    seen = reopened(lake)
    assert {name: rows(seen, name) for name in ("passes", "evidence")} == {
        "passes": 1, "evidence": 1}
    stored = seen.table("runs").scan().collect()
    assert stored.select("file", "state").rows() == [("a.csv", "done")]
    assert [f.state for f in ingest(seen, [first, second]).files] == ["already", "done"]
    assert rows(seen, "passes") == 21


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise StorageError("the rows cannot be written", found="No space left on device")

    path = dump(tmp_path / "a.csv", [record(tp1="x.jpg")])
    with monkeypatch.context() as patch:
        patch.setattr(pipeline_batch.KnownVehicles, "add", full)
        with pytest.raises(StorageError, match="No space left"):
            ingest(lake, [path])
    assert {name: rows(lake, name) for name in TABLES} == dict.fromkeys(TABLES, 0)
    assert [f.state for f in ingest(lake, [path]).files] == ["done"]


def test_a_file_that_grows_while_it_is_read_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = dump(tmp_path / "a.csv", [record()])
    honest = Prepared.open

    def growing(*arguments: object, **named: object) -> Prepared:
        with path.open("ab") as stream:
            stream.write((record(jlbh="late") + "\n").encode("gb18030"))
        return honest(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Prepared, "open", growing)
    (file,) = ingest(lake, [path]).files
    assert file.state == "refused"
    assert "changed while it was read" in (file.error or "")
    assert rows(lake, "passes") == 0


# Which files


def test_folders_patterns_and_names(lake: Lake, tmp_path: Path):
    folder = tmp_path / "dumps"
    for k in range(3):
        dump(folder / f"{k}.csv", [record(jlbh=str(k))])
    dump(folder / ".hidden", [record(jlbh="h")])
    dump(folder / "inner" / "3.csv", [record(jlbh="3")])
    summary = ingest(lake, [folder, str(folder / "inner" / "*.csv"), str(folder / "none*.csv")])
    assert [(f.file, f.state) for f in summary.files] == [
        ("0.csv", "done"), ("1.csv", "done"), ("2.csv", "done"), ("3.csv", "done"),
        ("none*.csv", "refused")]
    assert "no such file" in (summary.files[-1].error or "")


def test_a_name_with_brackets_is_a_name_first(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "a[1].csv", [record()])
    assert [f.state for f in ingest(lake, [str(path)]).files] == ["done"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_line_ends_and_gzip_change_nothing(
    lake: Lake, tmp_path: Path, encoding: str, end: str, packed: bool
):
    path = dump(tmp_path / "a.csv", [record(), record(jlbh="2")], encoding=encoding, end=end)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    (file,) = ingest(lake, [path]).files
    assert counts(file) == (2, 2, 0, 0, 0, 0)
    assert lake.table("vehicles").scan().collect()["plate"].to_list() == ["闽D12345"]
    seen = lake.table("passes").scan().collect()
    assert seen["source_line"].to_list() == [2, 3]
    assert seen["date"].to_list() == [date(2026, 9, 1)] * 2
    assert seen["measured_at"].dt.replace_time_zone(None)[0] == datetime(2026, 9, 1, 0, 0)


def test_a_header_alone_is_done_with_no_record(lake: Lake, tmp_path: Path):
    (file,) = run(lake, [dump(tmp_path / "a.csv", [])]).files
    assert (file.state, *counts(file)) == ("done", 0, 0, 0, 0, 0, 0)
    (again,) = run(lake, [tmp_path / "a.csv"]).files
    assert again.state == "already"


def test_only_bad_records_make_no_pass_but_an_account(lake: Lake, tmp_path: Path):
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", ["x", "y"])]).files
    assert counts(file) == (2, 0, 2, 0, 0, 0)
    assert (rows(lake, "passes"), rows(lake, "quarantine")) == (0, 2)


def test_two_formats_in_one_batch(lake: Lake, tmp_path: Path):
    ours = tmp_path / "ours.csv"
    ours.write_text("site_id,measured_at,plate,plate_color,opacity_pct\n"
                    "X,2026-09-01T00:00:00Z,AB12CDE,blue,12\n", encoding="utf-8")
    summary = ingest(lake, [dump(tmp_path / "a.csv", [record()]), ours])
    assert [(f.format, f.state) for f in summary.files] == [("cn_platform", "done"),
                                                           ("rsd", "done")]
    instants = query(lake, "SELECT DISTINCT measured_at FROM passes")["measured_at"]
    assert instants.dt.replace_time_zone(None).to_list() == [datetime(2026, 9, 1)]


def test_columns_by_name_in_any_order_and_case_and_strangers_are_named(
    lake: Lake, tmp_path: Path
):
    names = [*reversed(HEADER), "newcol"]
    cells = [*reversed(record().split(",")), "?"]
    header = [n.upper() for n in names[:-1]] + ["newcol"]
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", [",".join(cells)], header=header)]).files
    assert counts(file) == (1, 1, 0, 0, 0, 0)
    assert file.ignored_columns == ["newcol"]
    assert lake.table("passes").scan().collect()["no_ppm"].item() == 745.0


@pytest.mark.parametrize(
    ("name", "text"),
    [("cn_platform", "dwbh,jcsj,hphm\nA,2026-09-01 08:00:00,闽D12345\n"),
     ("rsd", "site_id,measured_at\nA,2026-09-01 08:00:00\n")],
)
def test_the_required_columns_are_enough(lake: Lake, tmp_path: Path, name: str, text: str):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    (file,) = ingest(lake, [path]).files
    assert (file.format, *counts(file)) == (name, 1, 1, 0, 0, 0, 0)


def test_a_forced_format_reads_a_header_of_two_formats(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "a.csv", [record()])
    (file,) = ingest(lake, [path], input_format="rsd").files
    assert file.state == "refused"
    assert "site_id" in (file.error or "")
    (file,) = ingest(lake, [path], input_format="cn_platform").files
    assert file.state == "done"


def test_progress_ends_at_all_bytes(lake: Lake, tmp_path: Path):
    ticks: list[tuple[int, int]] = []
    paths = [dump(tmp_path / f"{k}.csv", [record(jlbh=str(k))]) for k in range(3)]
    (tmp_path / "bad.csv").write_bytes(b"no dump\n")
    paths += [tmp_path / "bad.csv", paths[0], tmp_path / "missing.csv"]
    ingest(lake, paths, progress=lambda done, total: ticks.append((done, total)))
    total = sum(p.stat().st_size for p in set(paths) if p.exists())
    assert ticks[-1] == (total, total)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)


def test_large_files_go_alone_and_small_ones_together(monkeypatch: pytest.MonkeyPatch):
    def item(size: int, packed: bool = False) -> tuple:
        source = intake_source.Source(Path("x"), str(size), size, 0, "gzip" if packed else "plain")
        return source, FileSummary("x")

    monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 100)
    monkeypatch.setattr(pipeline_ingest, "_BATCH_BYTES", 150)
    items = [item(60), item(70), item(80), item(101), item(20, packed=True), item(5), item(1)]
    sizes = [[s.size for s, _ in batch] for batch in pipeline_ingest._batches(items)]
    assert sizes == [[60, 70], [80], [101], [20], [5, 1]]


def test_a_contradiction_of_plate_colours_is_told(lake: Lake, tmp_path: Path):
    lines = [record(jlbh=str(k), hpzl="02", cpys="1") for k in range(30)]
    (file,) = ingest(lake, [dump(tmp_path / "a.csv", lines)]).files
    assert len(file.notices) == 1
    assert "of 30 records with plate type 02, 30 are yellow" in file.notices[0]
    (other,) = ingest(lake, [dump(tmp_path / "b.csv", [record(jlbh=f"b{k}") for k in range(30)])]
                      ).files
    assert other.notices == []


def test_a_refusal_names_the_file_and_line(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "a.csv", [record()], header=[n for n in HEADER if n != "hphm"] + ["q"])
    with pytest.raises(InputRefused, match=r"a\.csv, line 1: a required column.*expected hphm"):
        Prepared.open(intake_source.fingerprint(path), FileSummary("a.csv"), "Asia/Shanghai", None)


def test_find_again_changes_nothing(lake: Lake, tmp_path: Path):
    over = {"btgdjg": "55"}
    path = dump(tmp_path / "a.csv", [record(jlbh="1", **over),
                                     record(jlbh="2", jcsj="2026-09-02 08:00:00", **over)])
    run(lake, [path])
    before = versions(lake.path)
    assert told(find_all(lake)[1]) == (1, 0, 0)
    assert versions(lake.path) == before


SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"


def test_running_numbers_of_several_files_are_not_one_record(lake: Lake, tmp_path: Path):
    text = (SAMPLES / "opus_rsd.csv").read_text(encoding="utf-8")
    other = tmp_path / "other.csv"
    assert ",S1," in text
    other.write_text(text.replace(",S1,", ",S2,"), encoding="utf-8")
    summary = ingest(lake, [SAMPLES / "opus_rsd.csv", other])
    totals = summary.totals()
    assert totals["accepted"] > 0
    assert totals["corrected"] == totals["duplicates"] == 0
    assert query(lake, "SELECT count(*) AS n FROM passes")["n"].to_list() == [totals["accepted"]]


def test_a_format_that_tells_the_day_alone_has_no_hour(lake: Lake):
    assert ingest(lake, [SAMPLES / "zh_awel.csv"]).totals()["accepted"] > 0
    told = query(lake, "SELECT count(hour) AS hours, count(*) - count(date) AS nights FROM passes")
    assert told.rows() == [(0, 0)]
