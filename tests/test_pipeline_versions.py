"""Duplicates and corrections: any order of versions, against a walk record by record."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from chain import dump, record
from hypothesis import given
from hypothesis import strategies as st

from rsd.errors import IntegrityError
from rsd.intake import source as intake_source
from rsd.lake import Lake
from rsd.pipeline import ingest as pipeline_ingest
from rsd.pipeline import versions
from rsd.pipeline.ingest import ingest
from rsd.pipeline.nightly import current_passes
from rsd.pipeline.reading import query
from rsd.pipeline.setup import init_lake
from rsd.pipeline.summary import FileSummary
from rsd.storage import log

SCHEMA = {"record_id": pl.String, "source_sha256": pl.String, "source_line": pl.Int64,
          "is_current": pl.Boolean, "rank": pl.Int64, "content": pl.UInt64}
RECORDS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), max_size=6)
NIGHTS = st.lists(st.lists(RECORDS, min_size=1, max_size=3), min_size=1, max_size=3)


def frame(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def walk(records: list[tuple[str, int]]) -> list[bool]:
    """Whether each record, one after another, says something that was not said before."""
    said = set()
    return [not (r in said or said.add(r)) for r in records]  # type: ignore[func-returns-value]


@given(nights=NIGHTS)
def test_verdicts_are_those_of_a_walk_through_the_records(nights: list[list[list[tuple]]]):
    sent: list[tuple[str, int]] = []
    stored: dict[tuple[str, int], dict] = {}
    for night, files in enumerate(nights):
        new, corrected = [], {}
        for rank, records in enumerate(files):
            for line, (name, content) in enumerate(records):
                sha = f"{night}-{rank}"
                key, is_new = (sha, line), walk([*sent, (name, content)])[-1]
                known = any(n == name for n, _ in sent)
                sent.append((name, content))
                new.append((name, *key, True, rank, content))
                if is_new and known:
                    corrected[sha] = corrected.get(sha, 0) + 1
        before = frame([(r["name"], *key, r["current"], None, r["content"])
                        for key, r in stored.items()])
        verdicts = versions._judge(frame(new), before)
        fresh = walk(sent)[len(sent) - len(new):]
        of_file = [row[1:2] + row[:1] + row[5:] for row in new]
        duplicates = {
            (*row[1:3], of_file[k] in of_file[:k])
            for k, (row, is_new) in enumerate(zip(new, fresh, strict=True)) if not is_new}
        assert set(verdicts.duplicates.rows()) == duplicates
        assert dict(verdicts.corrected) == corrected
        stored |= {row[1:3]: {"name": row[0], "content": row[5], "current": True}
                   for row, is_new in zip(new, fresh, strict=True) if is_new}
        for key in verdicts.outdated.rows():
            assert stored[key]["current"]
            stored[key]["current"] = False
        newest = {name: content for (name, content), is_new in
                  zip(sent, walk(sent), strict=True) if is_new}
        assert {r["name"]: r["content"] for r in stored.values() if r["current"]} == newest
        assert sum(r["current"] for r in stored.values()) == len(newest)


def test_nothing_met_is_clean():
    assert versions._nothing().is_clean
    rows = frame([("a", "s", 2, True, 0, 1), ("b", "s", 3, True, 0, 1)])
    assert versions._judge(rows, frame([])).is_clean


def test_settle_takes_duplicates_out_and_marks_what_is_outdated():
    rows = pl.LazyFrame({"source_sha256": ["s"] * 4, "source_line": [2, 3, 4, 5],
                         "is_current": [True, True, True, False]})
    keys = {"source_sha256": pl.String, "source_line": pl.Int64}
    verdicts = versions.Verdicts(pl.DataFrame([("s", 3)], keys, orient="row"),
                                 pl.DataFrame([("s", 4)], keys, orient="row"), {})
    settled = versions.settle(rows, verdicts, flags=True).collect()
    assert settled.rows() == [("s", 2, True), ("s", 4, False), ("s", 5, False)]
    bare = versions.settle(rows.drop("is_current"), verdicts, flags=False).collect()
    assert bare.rows() == [("s", 2), ("s", 4), ("s", 5)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake")[0]


def one(lake: Lake, path: Path, *cells: dict) -> tuple[int, int, int]:
    (file,) = ingest(lake, [dump(path, [record(**c) for c in cells])]).files
    return file.accepted, file.duplicates, file.corrected


@pytest.mark.parametrize(
    ("column", "other"),
    [("wxyy", "lamp dirty"), ("cllx", "K31"), ("rlzl", "A"), ("hpzl", "02"), ("pdjg", "2"),
     ("cdxh", "2"), ("jcsj", "2026-09-01 08:00:01"), ("sbzxd", "98"), ("co2scz", "1.3"),
     ("tp1", "2.jpg"), ("dwbh", "B350203002"), ("btgdjg", ""), ("cpys", "0"), ("hphm", "闽D54321"),
     ("hphm", ""), ("cljsd", "0.31"), ("ycxbh", "02")],
)
def test_any_cell_that_is_stored_makes_another_version(
    lake: Lake, tmp_path: Path, column: str, other: str
):
    assert one(lake, tmp_path / "a.csv", {}) == (1, 0, 0)
    assert one(lake, tmp_path / "b.csv", {column: other}, {"jlbh": "2"}) == (2, 0, 1)
    current = current_passes(lake).filter(pl.col("record_id") == "R1").collect()
    assert current["source_sha256"].n_unique() == 1
    assert one(lake, tmp_path / "c.csv", {column: other}, {"jlbh": "3"}) == (1, 1, 0)


@pytest.mark.parametrize("cells", [{"btgdjg": "-999"}, {"hphm": "无牌"}, {"noco2": "9999"}])
def test_a_null_code_or_an_unreadable_plate_is_content_once(
    lake: Lake, tmp_path: Path, cells: dict
):
    assert one(lake, tmp_path / "a.csv", cells) == (1, 0, 0)
    assert one(lake, tmp_path / "b.csv", cells, {"jlbh": "2"}) == (1, 1, 0)


def test_two_unreadable_texts_are_two_contents(lake: Lake, tmp_path: Path):
    assert one(lake, tmp_path / "a.csv", {"hphm": "无牌"}) == (1, 0, 0)
    assert one(lake, tmp_path / "b.csv", {"hphm": "未识别"}) == (1, 0, 1)


def test_other_spellings_of_one_number_are_one_content(lake: Lake, tmp_path: Path):
    assert one(lake, tmp_path / "a.csv", {"clsd": "36", "hphm": "闽D12345"}) == (1, 0, 0)
    assert one(lake, tmp_path / "b.csv", {"clsd": "36.0", "hphm": "闽D·12345"}) == (0, 1, 0)


def test_a_change_of_the_registry_makes_no_correction(lake: Lake, tmp_path: Path):
    assert one(lake, tmp_path / "a.csv", {}) == (1, 0, 0)
    table = lake.table("vehicles")
    known = table.scan().collect()
    with lake.writer():
        changed = known.with_columns(fuel=pl.lit("gasoline"), vehicle_class=pl.lit("special"),
                                     is_registered=pl.lit(value=True))
        table.commit([table.write(changed, "init")], overwrite=True)
    assert one(lake, tmp_path / "b.csv", {}, {"jlbh": "2"}) == (1, 1, 0)


def test_rows_of_other_records_survive_a_correction(lake: Lake, tmp_path: Path):
    many = [{"jlbh": str(k), "btgdjg": str(k)} for k in range(50)]
    one(lake, tmp_path / "a.csv", *many)
    before = lake.table("passes").scan().sort("record_id").collect()
    assert one(lake, tmp_path / "b.csv", {"jlbh": "7", "btgdjg": "99"}) == (1, 0, 1)
    after = lake.table("passes").scan().filter(
        pl.col("source_sha256") == before["source_sha256"][0]).sort("record_id").collect()
    assert after.drop("is_current").equals(before.drop("is_current"))
    assert after.filter(~pl.col("is_current"))["record_id"].to_list() == ["7"]
    assert lake.problems() == []


def test_only_files_with_the_keys_are_written_again(lake: Lake, tmp_path: Path):
    one(lake, tmp_path / "a.csv", {"jlbh": "a"})
    one(lake, tmp_path / "b.csv", {"jlbh": "b"})
    first, second = lake.table("passes").files()
    one(lake, tmp_path / "c.csv", {"jlbh": "a", "btgdjg": "77"})
    files = lake.table("passes").files()
    assert second in files
    assert first not in files
    assert len(files) == 3


# The same record in one file, and in another


def apart(lake: Lake, *paths: Path) -> list[tuple[int, int, int, int]]:
    """Ingest files in one run; of each: accepted, corrected, duplicates in it and earlier."""
    return [(f.accepted, f.corrected, f.duplicates_in_file, f.duplicates_earlier)
            for f in ingest(Lake.open(lake.path), paths).files]


@pytest.fixture(params=["together", "alone", "in chunks of two"])
def manner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the files of a run meet: in one batch, each in its own, or that in many chunks."""
    if request.param != "together":
        monkeypatch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
    if request.param == "in chunks of two":
        monkeypatch.setattr(intake_source.stream_chunks, "__defaults__", (300,))


A, B, C, X = ({"jlbh": name} for name in "abcx")


@pytest.mark.parametrize(
    ("files", "told"),
    [([[A, A]], [(1, 0, 1, 0)]),
     ([[A, A, A]], [(1, 0, 2, 0)]),
     ([[A, B, C, X, A]], [(4, 0, 1, 0)]),
     ([[A], [A, B]], [(1, 0, 0, 0), (1, 0, 0, 1)]),
     ([[A], [A, A]], [(1, 0, 0, 0), (0, 0, 1, 1)]),  # the first of them is the other file's
     ([[A, A], [A, B, C, X, A]], [(1, 0, 1, 0), (3, 0, 1, 1)]),
     ([[A], [B, A], [C, A, A]], [(1, 0, 0, 0), (1, 0, 0, 1), (1, 0, 1, 1)]),
     ([[A, A | {"btgdjg": 20}, A]], [(2, 1, 1, 0)]),
     # of a version that another replaced: in the file, in another of the run
     ([[A, A | {"btgdjg": 20}], [A, X]], [(2, 1, 0, 0), (1, 0, 0, 1)]),
     ([[A], [A | {"btgdjg": 20}], [A, X, A]], [(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 1)])],
)  # fmt: skip
@pytest.mark.usefixtures("manner")
def test_duplicates_of_the_file_and_of_another_are_told_apart(
    lake: Lake, tmp_path: Path, files: list[list[dict]], told: list[tuple]
):
    paths = [dump(tmp_path / f"{k}.csv", [record(**cells) for cells in file])
             for k, file in enumerate(files)]
    assert apart(lake, *paths) == told
    again = [dump(tmp_path / f"again{k}.csv", [record(**cells) for cells in [*file, {"jlbh": k}]])
             for k, file in enumerate(files)]
    assert apart(lake, *again) == [(1, 0, in_file, len(file) - in_file)
                                   for file, (_, _, in_file, _) in zip(files, told, strict=True)]


def test_duplicates_that_are_not_told_apart_are_an_integrity_error():
    file = FileSummary("a.csv", records=3, accepted=1, duplicates=2, duplicates_in_file=1)
    with pytest.raises(IntegrityError, match=r"a\.csv.*1 in the file \+ 0 earlier.*2 duplicates"):
        file.check()
    file.count_duplicates(in_file=0, earlier=0)
    file.duplicates_earlier = 1
    file.check()


def test_runs_of_before_are_read_without_the_new_counts(lake: Lake, tmp_path: Path):
    """The files of an older lake have no such columns: null, and new rows beside them."""
    table = lake.table("runs")
    new = ("duplicates_in_file", "duplicates_earlier", "replicates")
    old = table.new_file("before")
    row = pl.DataFrame([{"file": "old.csv", "duplicates": 3}], schema=table.schema)
    row.drop(new).write_parquet(old)
    action = {"path": old.name, "partitionValues": {}, "size": old.stat().st_size,
              "modificationTime": 0, "dataChange": True}
    before = pl.Schema({n: t for n, t in table.schema.items() if n not in new})
    (table.folder / "_delta_log").mkdir(parents=True, exist_ok=True)
    log.append(table.folder / "_delta_log", 0, [
        log.protocol(), log.metadata("runs", before, "id", 0), {"add": action}], {})
    lake = Lake.open(lake.path)
    assert query(lake, "SELECT * FROM runs").select("file", "duplicates", *new).rows() == [
        ("old.csv", 3, None, None, None)]
    ingest(lake, [dump(tmp_path / "new.csv", [record(), record()])])
    seen = query(lake, "SELECT * FROM runs ORDER BY file").select("file", "duplicates", *new)
    assert seen.rows() == [("new.csv", 1, 1, 0, 0), ("old.csv", 3, None, None, None)]
    assert lake.table("runs").scan().select(new).collect().height == 2
