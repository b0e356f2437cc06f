"""A lake that any earlier layout wrote opens, holds what it held, and is worked on."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest
from chain import dump, record, rsd

from rsd.lake import Lake

sys.path.append(str(Path(__file__).resolve().parent / "faults"))

import checker

LAKES = sorted((Path(__file__).resolve().parent / "data" / "lakes").glob("*.tar.gz"))
"""One a release and layout, made by `tools/keep_lake.py`."""


def test_there_are_lakes_of_before():
    assert len(LAKES) >= 2
    assert all(path.stat().st_size < 200_000 for path in LAKES)


@pytest.fixture(params=LAKES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "lake" / "restricted").chmod(0o700)  # which an archive does not keep
    (tmp_path / "lake" / "restricted" / "vehicle.key").chmod(0o600)
    return tmp_path


def test_an_old_lake_holds_what_it_held(kept: Path):
    lake = kept / "lake"
    counts = json.loads((kept / "expected.json").read_text())["counts"]
    assert {name: Lake.open(lake).table(name).scan().collect().height
            for name in counts} == counts
    assert Lake.open(lake).problems() == []
    (row,) = rsd("query", lake, "SELECT count(*) AS n, count(DISTINCT site_id) AS s FROM passes",
                 "--format", "json").json
    assert row == {"n": counts["passes"] - 1, "s": 1}  # one was corrected
    assert rsd("quarantine", lake, "--format", "json").json[0]["line"] == 5
    found = rsd("export", "findings", lake, "-o", kept / "list.json")
    assert found.code == 0, found.err
    (finding,) = json.loads((kept / "list.json").read_text())
    assert finding["first_record_id"] == "1"


def test_an_old_lake_is_worked_on(kept: Path):
    lake, dumps = kept / "lake", [kept / "dumps" / "one.csv", kept / "dumps" / "two.csv"]
    again = rsd("run", lake, *dumps, "--format", "json")
    assert [f["state"] for f in again.json["files"]] == ["already", "already"]
    assert again.json["findings"]["new"] == again.json["findings"]["withdrawn"] == 0
    new = dump(kept / "new.csv", [
        record(jlbh="2", jcsj="2026-09-02 08:00:00", btgdjg="3"), record(jlbh="3", hphm="闽D23456",
                                                                        tp1="3.jpg"),
        record(jlbh="6", hphm="粤B56789")])
    done = rsd("run", lake, new, "--format", "json")
    assert done.code == 0, done.err
    (file,) = done.json["files"]
    assert (file["accepted"], file["duplicates"], file["corrected"]) == (2, 1, 1)
    assert done.json["findings"]["total"] == 0
    assert checker.all_problems(lake, [*dumps, new]) == []


def test_an_old_lake_is_kept(kept: Path):
    """Nothing is wrong, but that one from before runs were recorded has no record of its own."""
    lake = kept / "lake"
    had_records = (lake / "restricted" / "audit" / "audit.jsonl").exists()
    rsd("run", lake, kept / "dumps" / "one.csv")
    answer = rsd("doctor", lake, "--format", "json")
    found = [p["found"] for p in answer.json if p["severity"] != "note"]
    expected = [] if had_records else ["line 1: the log was begun anew, what stood before is gone"]
    assert found == expected, answer.out
    assert answer.code == (0 if had_records else 7)
    if not had_records:
        accepted = rsd("audit", "accept", lake, "--reason", "made before there was an audit")
        assert accepted.code == 0, accepted.err
    assert rsd("doctor", lake).code == 0
