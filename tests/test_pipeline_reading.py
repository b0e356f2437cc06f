"""What people read out of a lake, with and without the right to see plates."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SITES, dump, record, versions

from rsd import audit
from rsd.errors import PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.pipeline import reading
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.setup import init_lake

OVER = {"btgdjg": "55"}
PLATE = "闽D12345"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a violator (smoke), a vehicle above the NO limit, a clean one, and damage."""
    for name, text in (("sites.csv", SITES), ("registry.csv", REGISTRY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    lake, _ = init_lake(tmp_path / "lake", sites=tmp_path / "sites.csv",
                        registry=tmp_path / "registry.csv")
    lines = [record(jlbh="s1", **OVER, tp1=f"{PLATE}_1.jpg"),
             record(jlbh="s2", jcsj="2026-09-02 08:00:00", **OVER),
             record(jlbh="n1", hphm="闽D88888", **HIGH_NO),
             record(jlbh="n2", hphm="闽D88888", jcsj="2026-09-03 08:00:00", **HIGH_NO),
             record(jlbh="c1", hphm="闽D77777"),
             record(jlbh="q1") + ",too,many"]
    run(lake, [dump(tmp_path / "a.csv", lines, encoding="utf-8")])
    return lake


@pytest.fixture
def barred(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """The same lake for somebody who may not read restricted/ (root always may: so moved away)."""
    (lake.path / "restricted").rename(lake.path.parent / "away")
    return Lake.open(lake.path)


def actions(lake: Lake) -> list[tuple[str, dict]]:
    """What was asked of the lake; that it was made and filled stands there too."""
    path = audit.audit_path(lake.path)
    if not path.exists():
        return []
    assert audit.verify(path) == []
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(r["action"], r["details"]) for r in records
            if not re.match("init|run|find|ingest", r["action"])]


def test_query_shows_verdicts_reasons_and_no_plate(lake: Lake):
    seen = reading.query(lake, "SELECT record_id, exceeds_opacity, exceeds_no, reasons, "
                               "road_segment FROM passes ORDER BY record_id")
    assert seen["record_id"].to_list() == ["c1", "n1", "n2", "s1", "s2"]
    assert seen["exceeds_opacity"].to_list() == [False, False, False, True, True]
    assert seen["exceeds_no"].to_list() == [False, True, True, False, False]
    assert set(seen["road_segment"]) == {"S1"}
    everything = reading.query(lake, "SELECT * FROM passes").write_json()
    assert "D12345" not in everything
    assert "D88888" not in everything


def test_aggregate_counts_the_rates_of_the_law(lake: Lake):
    (row,) = reading.aggregate(lake, ["fuel"]).to_dicts()
    assert (row["fuel"], row["n_records"], row["n_vehicles"]) == ("diesel", 5, 3)
    assert (row["n_judged_opacity"], row["n_tested_opacity"], row["n_exceed_opacity"]) == (5, 5, 2)
    assert row["rate_valid_no"] == 0.4


def test_the_verdicts_of_several_regulations_are_joined(lake: Lake):
    regulation = rulebook.load("cn_hj845_2017")
    joined = reading.verdict_sql([regulation, regulation])
    assert set(joined) == {"no", "opacity", "ringelmann"}
    assert set(joined["no"]) == {"applies", "tested", "exceeds"}
    with reading.open_views(lake) as session:
        assert session.query("SELECT count(*) FROM passes WHERE exceeds_no").item() == 2


# The list


def test_the_list_is_masked_and_audited(lake: Lake, tmp_path: Path):
    out = tmp_path / "list.csv"
    assert reading.export_list(lake, out) == 2
    listed = pl.read_csv(out)
    assert sorted(listed["plate"]) == ["闽D****5", "闽D****8"]
    assert listed["found_at"].to_list() == sorted(listed["found_at"])
    ((action, details),) = actions(lake)
    assert action == "export findings"
    assert (details["plates"], details["rows"], details["file"]) == (False, 2, "list.csv")


def test_the_list_with_plates_is_audited_before_it_appears(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "list.csv"
    reading.export_list(lake, out, show_plates=True)
    assert sorted(pl.read_csv(out)["plate"]) == ["闽D12345", "闽D88888"]
    assert [(d["plates"], d["plates_shown"]) for _, d in actions(lake)] == [(True, 2)]

    def failing(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    out.unlink()
    monkeypatch.setattr(audit, "append", failing)
    with pytest.raises(OSError, match="No space"):
        reading.export_list(lake, out, show_plates=True)
    assert not out.exists()


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "xlsx", "geojson"])
def test_every_format_of_the_list(lake: Lake, tmp_path: Path, suffix: str):
    out = tmp_path / f"list.{suffix}"
    assert reading.export_list(lake, out) == 2
    assert b"D12345" not in out.read_bytes()
    first = out.read_bytes()
    reading.export_list(lake, out)
    assert out.read_bytes() == first


def test_withdrawn_findings_are_listed_if_they_had_been_exported(lake: Lake, tmp_path: Path):
    undone = dump(tmp_path / "b.csv", [record(jlbh="s2", jcsj="2026-09-02 08:00:00", btgdjg="3")])
    reading.export_list(lake, tmp_path / "first.csv")
    assert reading.withdrawn(lake).is_empty()
    told = run(lake, [undone]).findings or {}
    assert (told["total"], told["new"], told["withdrawn"]) == (1, 0, 1)
    gone = reading.withdrawn(lake)
    assert gone["second_record_id"].to_list() == ["s2"]
    assert reading.export_list(lake, tmp_path / "gone.csv", withdrawn_only=True) == 1
    assert pl.read_csv(tmp_path / "gone.csv")["pollutant"].to_list() == ["opacity"]
    assert reading.export_list(lake, tmp_path / "now.csv") == 1


def test_a_finding_that_nobody_exported_is_not_withdrawn(lake: Lake, tmp_path: Path):
    run(lake, [dump(tmp_path / "b.csv",
                    [record(jlbh="s2", jcsj="2026-09-02 08:00:00", btgdjg="3")])])
    assert reading.withdrawn(lake).is_empty()


def test_a_finding_that_came_back_is_not_withdrawn(lake: Lake, tmp_path: Path):
    reading.export_list(lake, tmp_path / "first.csv")
    again = {"jlbh": "s2", "jcsj": "2026-09-02 08:00:00"}
    run(lake, [dump(tmp_path / "b.csv", [record(**again, btgdjg="3")])])
    run(lake, [dump(tmp_path / "c.csv", [record(**again, btgdjg="56")])])
    assert reading.withdrawn(lake).is_empty()
    assert reading.findings_of(lake).filter(pl.col("pollutant") == "opacity")[
        "second_value"].to_list() == [56.0]


def test_find_one_regulation_keeps_the_findings_of_the_others(lake: Lake):
    before = reading.findings_of(lake)
    found, told = find_all(lake, ["cn_hj845_2017"])
    assert told["total"] == found.height == before.height == 2
    with pytest.raises(UsageError, match="nothing_2020"):
        find_all(lake, ["nothing_2020"])


def test_the_provenance_names_versions_and_law(lake: Lake):
    told = reading.provenance(lake)
    assert told["timezone"] == "Asia/Shanghai"
    assert told["version of passes"] == str(versions(lake.path)["passes"])
    assert told["regulation cn_hj845_2017"] == rulebook.load("cn_hj845_2017").sha256


# Quarantine


def test_the_quarantine_is_masked_unless_asked_and_then_audited(lake: Lake):
    (row,) = reading.quarantine(lake).to_dicts()
    assert (row["file"], row["line"]) == ("a.csv", 7)
    assert row["reason"].startswith("wrong_field_count")
    assert "闽D****5" in row["raw"]
    assert PLATE not in row["raw"]
    assert [d["plates"] for _, d in actions(lake)] == [False]
    (shown,) = reading.quarantine(lake, show_plates=True).to_dicts()
    assert "D12345" in shown["raw"]
    assert [(a, d["plates"]) for a, d in actions(lake)] == [
        ("show quarantine", False), ("show quarantine", True)]


def test_a_raw_record_of_a_gb18030_dump_is_readable(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "gb.csv", [record(jlbh="x1"), record(hphm="无牌") + ",too,many"])
    run(lake, [path])
    raw = reading.quarantine(lake).filter(pl.col("file") == "gb.csv")["raw"].item()
    assert ",无牌," in raw


def test_raw_bytes_that_are_no_text_are_escaped(lake: Lake, tmp_path: Path):
    bad = tmp_path / "bad.csv"
    dump(bad, [record(jlbh="x1")], encoding="utf-8")
    bad.write_bytes(bad.read_bytes() + b"\xff\xfe\x00,\n")
    run(lake, [bad])
    raw = reading.quarantine(lake).filter(pl.col("file") == "bad.csv")["raw"].item()
    assert raw == "\\xff\\xfe\\x00,"


# A vehicle by its plate


def test_a_plate_is_looked_up_and_audited(lake: Lake):
    (vehicle,) = reading.resolve_vehicle(lake, " 闽d·12345 ")
    assert reading.resolve_vehicle(lake, f"{PLATE}/yellow") == [vehicle]
    assert [a for a, _ in actions(lake)] == ["look up plate"] * 2
    assert [d["vehicles"] for _, d in actions(lake)] == [[vehicle]] * 2
    assert "D12345" not in audit.audit_path(lake.path).read_text(encoding="utf-8")


@pytest.mark.parametrize("asked", ["闽D00000", f"{PLATE}/blue", "", "/blue"])
def test_a_plate_that_was_never_seen(lake: Lake, asked: str):
    with pytest.raises(UsageError, match="no such vehicle") as error:
        reading.resolve_vehicle(lake, asked)
    assert "D1" not in str(error.value)


def test_a_plate_of_two_colours_is_two_vehicles(lake: Lake, tmp_path: Path):
    run(lake, [dump(tmp_path / "b.csv", [record(jlbh="b", cpys="0")])])
    assert len(reading.resolve_vehicle(lake, PLATE)) == 2
    assert len(reading.resolve_vehicle(lake, f"{PLATE}/blue")) == 1


# Without the right


def test_without_the_right_all_that_needs_no_plate_works(barred: Lake, tmp_path: Path):
    assert not barred.may_read_restricted
    assert reading.query(barred, "SELECT count(*) FROM passes").item() == 5
    assert reading.aggregate(barred, ["fuel"]).height == 1
    assert reading.findings_of(barred).height == 2
    out = tmp_path / "list.csv"
    assert reading.export_list(barred, out) == 2
    assert pl.read_csv(out)["plate"].null_count() == 2
    assert reading.withdrawn(barred).is_empty()
    assert not (barred.path / "restricted").exists()


def test_without_the_right_no_plate_is_shown(barred: Lake, tmp_path: Path):
    for ask in (lambda: reading.export_list(barred, tmp_path / "x.csv", show_plates=True),
                lambda: reading.quarantine(barred),
                lambda: reading.quarantine(barred, show_plates=True),
                lambda: reading.resolve_vehicle(barred, PLATE)):
        with pytest.raises(PolicyRefusal):
            ask()
    assert not (tmp_path / "x.csv").exists()
