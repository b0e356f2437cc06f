"""Findings that passes no longer bear out are not handed over: corrections come, and are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SITES, dump, record, rsd
from keeping_lake import copy, memory

from rsd.lake import Lake
from rsd.pipeline import finding
from rsd.pipeline.staleness import stale_vehicles

BAD, OTHER = "闽D12345", "闽D77777"


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    """A lake with one confirmed finding: two high readings of a diesel truck."""
    with memory() as folder:
        (folder / "sites.csv").write_text(SITES)
        (folder / "registry.csv").write_text(REGISTRY)
        lake = folder / "lake"
        rsd("init", lake, "--sites", folder / "sites.csv", "--registry", folder / "registry.csv")
        rows = [record(jlbh=f"R{k}", jcsj=f"2026-09-0{k} 08:00:00", hphm=BAD, **HIGH_NO)
                for k in (1, 2)]
        rows.append(record(jlbh="N1", jcsj="2026-09-03 08:00:00", hphm=OTHER))
        assert rsd("run", lake, dump(folder / "a.csv", rows)).code == 0
        (case,) = json.loads(rsd("review", "list", lake, "--format", "json").out)
        assert rsd("review", "confirm", lake, case["finding_id"], "--reason", "seen").code == 0
        yield lake


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path / "lake")


def corrected(**changed: str) -> str:
    return record(**{"jlbh": "R2", "jcsj": "2026-09-02 08:00:00", "hphm": BAD} | HIGH_NO | changed)


CHANGES = {
    "a clean value": {"btgdjg": "11", "nojg": "10"},
    "the instrument calls it invalid": {"pdjg": "2"},
    "another vehicle": {"hphm": "闽D88888"},
}


def referred(lake: Path) -> tuple[int, str]:
    path = lake.parent / "referral.json"
    answer = rsd("export", "referral", lake, "-o", path)
    assert answer.code == 0, answer.err
    return len(json.loads(path.read_text())), answer.err


@pytest.mark.parametrize("what", CHANGES)
def test_a_finding_that_a_correction_undid_is_not_handed_over(lake: Path, tmp_path: Path,
                                                              what: str) -> None:
    assert referred(lake)[0] == 1
    assert rsd("ingest", lake, dump(tmp_path / "b.csv", [corrected(**CHANGES[what])])).code == 0
    number, told = referred(lake)
    assert number == 0
    assert "1 findings are left out: passes of their vehicles changed since" in told
    assert "rsd find LAKE" in told
    answer = rsd("export", "notices", lake, "-o", tmp_path / "notices")
    assert "left out" in answer.err
    assert list((tmp_path / "notices").glob("*.pdf")) == []
    answer = rsd("export", "findings", lake, "-o", tmp_path / "list.json")
    assert "vehicles changed since the findings were made" in answer.err
    rsd("find", lake)
    assert referred(lake)[1].count("left out") == 0
    answer = rsd("export", "findings", lake, "-o", tmp_path / "list.json")
    assert "changed since" not in answer.err


def test_a_registry_that_says_otherwise_leaves_a_finding_out(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(REGISTRY.replace(f"{BAD},1,01,H11,B", f"{BAD},1,01,H11,C"))
    assert rsd("update", lake, "--registry", tmp_path / "r.csv").code == 0
    assert referred(lake)[0] == 0


def test_passes_of_others_leave_a_finding_as_it_is(lake: Path, tmp_path: Path) -> None:
    rows = [record(jlbh="N2", jcsj="2026-09-04 08:00:00", hphm=OTHER)]
    assert rsd("ingest", lake, dump(tmp_path / "b.csv", rows)).code == 0
    stale = stale_vehicles(Lake.open(lake))
    assert stale is not None
    assert stale.len() == 1
    number, told = referred(lake)
    assert (number, "left out" in told) == (1, False)


@pytest.mark.parametrize("command", [
    ["doctor", "LAKE", "--compact"], ["key", "rotate", "LAKE", "--reason", "old"],
    ["purge", "LAKE", "--before", "2026-08-01", "--reason", "rule"]])
def test_what_changes_no_reading_leaves_a_finding_as_it_is(lake: Path, command: list[str]) -> None:
    assert rsd(*[lake if word == "LAKE" else word for word in command]).code == 0
    assert referred(lake)[0] == 1


def test_too_much_to_be_told_apart_is_refused(lake: Path, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST_CHANGED_ROWS", 0)
    rsd("ingest", lake, dump(tmp_path / "b.csv", [corrected(pdjg="2")]))
    for kind, name in (("referral", "r.json"), ("notices", "n")):
        answer = rsd("export", kind, lake, "-o", tmp_path / name)
        assert answer.code == 8
        assert "the findings are not those of the passes" in answer.err
        assert not (tmp_path / name).exists()
    answer = rsd("export", "findings", lake, "-o", tmp_path / "l.csv")
    assert "many passes came since the findings were made" in answer.err


def test_a_lake_without_findings_has_nothing_stale(tmp_path: Path) -> None:
    rsd("init", tmp_path / "lake")
    assert stale_vehicles(Lake.open(tmp_path / "lake")).equals(
        pl.Series("vehicle_id", [], pl.String))


def test_notices_and_lists_believe_no_edited_review(lake: Path, tmp_path: Path) -> None:
    table = Lake.open(lake).table("reviews")
    rows = table.scan().collect().with_columns(reason=pl.lit("forged"))
    with Lake.open(lake).writer() as opened:
        table = opened.table("reviews")
        table.commit([table.write(rows, "forged")], overwrite=True)
    for kind, name in (("referral", "r.json"), ("notices", "n"), ("findings", "f.json")):
        answer = rsd("export", kind, lake, "-o", tmp_path / name)
        assert answer.code == 7, kind
        assert "the events of reviews were changed" in answer.err
        assert not (tmp_path / name).exists()
