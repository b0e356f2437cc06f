"""Lists with evidence, and notices, out of a lake: what an officer types and what comes of it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SITES, dump, record, rsd

from rsd import audit
from rsd.errors import UsageError
from rsd.lake import Lake
from rsd.law.rulebook import BUILT_IN
from rsd.pipeline import exporting, kept
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.setup import init_lake
from rsd.review.identity import finding_ids

OVER = {"btgdjg": "55"}
PLATE, OTHER, WJ = "闽D12345", "闽D88888", "WJ12345"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A violator (smoke; one photograph), a vehicle above the NO limit, both with two readings."""
    for name, text in (("sites.csv", SITES), ("registry.csv", REGISTRY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    lake, _ = init_lake(tmp_path / "lake", sites=tmp_path / "sites.csv",
                        registry=tmp_path / "registry.csv")
    lines = [record(jlbh="s1", **OVER, tp1=f"{PLATE}_1.jpg"),
             record(jlbh="s2", jcsj="2026-09-02 08:00:00", **OVER),
             record(jlbh="n1", hphm=OTHER, **HIGH_NO),
             record(jlbh="n2", hphm=OTHER, jcsj="2026-09-03 08:00:00", **HIGH_NO)]
    run(lake, [dump(tmp_path / f"{PLATE}.csv", lines, encoding="utf-8")])
    return lake


@pytest.fixture
def barred(lake: Lake) -> Lake:
    """The same lake for somebody who may not read restricted/ (root always may: so moved away)."""
    (lake.path / "restricted").rename(lake.path.parent / "away")
    return Lake.open(lake.path)


def listed(lake: Lake, *options: object) -> list[dict]:
    out = lake.path.parent / "list.json"
    answer = rsd("export", "findings", lake.path, "-o", out, *options)
    assert answer.code == 0, answer.err
    return json.loads(out.read_text(encoding="utf-8"))


def recorded(lake: Lake, action: str) -> list[dict]:
    lines = audit.audit_path(lake.path).read_text(encoding="utf-8").splitlines()
    return [r["details"] for r in map(json.loads, lines) if r["action"] == action]


def confirm(lake: Lake, row: int) -> str:
    findings = lake.table("findings").scan().collect().sort("found_at")
    name = finding_ids(findings)[row]
    answer = rsd("review", "confirm", lake.path, name, "--reason", "both photographs show it")
    assert answer.code == 0, answer.err
    return name


def test_a_list_has_the_evidence_of_both_records(lake: Lake):
    smoke, no = listed(lake)
    assert (smoke["first_source_line"], smoke["second_source_line"]) == (2, 3)
    assert smoke["first_measured_local"] == "2026-09-01T08:00:00"
    assert smoke["first_excess_ratio"] == pytest.approx(55 / 30)
    assert smoke["first_site_name"] == "Gate"
    assert smoke["first_vsp_device_kw_t"] == 5
    assert (smoke["first_n_photos"], smoke["second_n_photos"]) == (1, 0)
    assert smoke["evidence_incomplete"] is True
    assert smoke["evidence_missing"] == ["first.device_check", "second.device_check",
                                         "second.photo"]
    assert no["evidence_missing"].count("first.photo") == 1
    assert smoke["review_state"] == "auto_flagged"
    assert smoke["finding_id"].startswith("f")


def stricter(lake: Lake, opacity: float) -> Path:
    """Give the lake HJ 845 with a period of its own from 2026-09-02 on, by which smoke is less."""
    text = (BUILT_IN / "cn_hj845_2017.toml").read_text(encoding="utf-8")
    head, *period = text.partition("[[period]]")
    once = "".join(period)
    until = once.replace("from = 2017-07-27", "from = 2017-07-27\nuntil = 2026-09-02", 1)
    since = once.replace("from = 2017-07-27", "from = 2026-09-02", 1).replace(
        "value = 30.0", f"value = {opacity}", 1)
    own = lake.path / "regulations" / "cn_hj845_2017.toml"
    own.parent.mkdir(exist_ok=True)
    own.write_text(f"{head}{until}\n{since}", encoding="utf-8")
    return own


def test_two_records_in_two_periods_are_told_with_the_limit_of_each(lake: Lake):
    own = stricter(lake, 22)
    find_all(lake)
    smoke, _ = listed(lake)
    assert (smoke["first_limit"], smoke["second_limit"], smoke["limit"]) == (30, 22, 22)
    assert smoke["first_excess_ratio"] == pytest.approx(55 / 30)
    assert smoke["second_excess_ratio"] == pytest.approx(55 / 22)
    assert "clause 5" in smoke["first_clause"]
    stricter(lake, 25)  # a law that nobody was judged by yet says nothing of these findings
    assert listed(lake)[0]["second_excess_ratio"] == pytest.approx(55 / 22)
    shutil.rmtree(kept.law_folder(lake, smoke["regulation_sha256"]))
    own.unlink()
    forgotten = listed(lake)[0]
    assert (forgotten["first_limit"], forgotten["second_limit"]) == (None, 22)
    assert "first.limit" in forgotten["evidence_missing"]


def test_a_kept_law_that_was_changed_tells_no_limit(lake: Lake):
    stricter(lake, 22)
    find_all(lake)
    sha256 = listed(lake)[0]["regulation_sha256"]
    file = kept.law_folder(lake, sha256) / "cn_hj845_2017.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("= 30.0", "= 40.0"), encoding="utf-8")
    answer = rsd("export", "findings", lake.path, "-o", lake.path.parent / "x.csv")
    assert answer.code == 7
    assert str(file) in answer.message


def test_photographs_are_named_with_plates_only(lake: Lake):
    assert listed(lake)[0]["first_photos"] is None
    assert listed(lake, "--plates")[0]["first_photos"] == [f"{PLATE}_1.jpg"]


def test_a_file_named_after_a_vehicle_is_masked_in_every_list(lake: Lake):
    for options in ((), ("--plates",)):
        assert listed(lake, *options)[0]["first_source_file"] == "闽D****5.csv"


def test_without_the_right_the_list_has_what_is_open(barred: Lake):
    smoke, _ = listed(barred)
    assert (smoke["plate"], smoke["first_n_photos"], smoke["first_source_file"]) == (None,) * 3
    assert (smoke["review_state"], smoke["first_wind_speed_m_s"]) == (None, 1.5)
    assert "first.restricted" in smoke["evidence_missing"]


def test_no_evidence_leaves_the_contract_s_columns(lake: Lake):
    with_it, without = listed(lake)[0], listed(lake, "--no-evidence")[0]
    assert list(with_it)[:len(without)] == list(without)
    assert "evidence_missing" not in without


def test_a_list_by_regulation(lake: Lake):
    assert len(listed(lake, "--regulation", "cn_hj845_2017")) == 2
    answer = rsd("export", "findings", lake.path, "-o", lake.path.parent / "x.csv",
                 "--regulation", "no_such")
    assert answer.code == 2
    assert "cn_hj845_2017" in answer.message
    assert not (lake.path.parent / "x.csv").exists()


def test_the_language_is_the_lake_s_unless_said(lake: Lake):
    out = lake.path.parent / "list.xlsx"
    rsd("export", "findings", lake.path, "-o", out)
    assert "evidence" in openpyxl.load_workbook(out).sheetnames
    rsd("export", "findings", lake.path, "-o", out, "--language", "zh")
    assert "证据" in openpyxl.load_workbook(out).sheetnames
    lake.configure(settings={"language": "zh"})
    rsd("export", "findings", lake.path, "-o", out)
    assert "证据" in openpyxl.load_workbook(out).sheetnames
    lake.configure(settings={"language": "fr"})
    assert rsd("export", "findings", lake.path, "-o", out).code == 2


def test_the_checks_of_instruments_come_from_the_office_s_list(lake: Lake):
    file = lake.path / exporting.CHECKS_FILE
    file.write_text("site_id,line_id,checked_at,result\n"
                    "A350203001,,2026-09-01T07:00,span and zero passed\n"
                    "A350203001,02,2026-09-01T07:30,another line\n", encoding="utf-8")
    smoke, _ = listed(lake)
    assert smoke["first_device_check"] == "span and zero passed"
    assert smoke["first_device_checked_at"] == "2026-08-31T23:00:00Z"
    assert smoke["evidence_missing"] == ["second.photo"]


@pytest.mark.parametrize(("text", "said"), [
    ("site_id,line_id,checked_at,result\nA,,yesterday,x\n", "line 2"),
    ("site_id,checked_at,result\nA,2026-01-01,x\n", "line_id"),
    ("site_id,line_id,checked_at,result\nA,,2026-01-01,x,y,z\n", "CSV"),
])
def test_a_faulty_list_of_checks_names_the_place_to_mend(lake: Lake, text: str, said: str):
    (lake.path / exporting.CHECKS_FILE).write_text(text, encoding="utf-8")
    answer = rsd("export", "findings", lake.path, "-o", lake.path.parent / "x.csv")
    assert answer.code == 2
    assert said in answer.message
    assert exporting.CHECKS_FILE in answer.message


def test_only_files_that_can_hold_a_proof_are_read(lake: Lake, tmp_path: Path, monkeypatch):
    lines = [record(jlbh="z", hphm="闽D77777", jcsj="2026-10-20 08:00:00")]
    run(lake, [dump(tmp_path / "late.csv", lines, encoding="utf-8")])
    read: list[Path] = []
    true_scan = pl.scan_parquet
    monkeypatch.setattr(pl, "scan_parquet", lambda source, **options: (
        read.extend(source) if isinstance(source, list) else None, true_scan(source, **options))[1])
    found = lake.table("findings").scan().collect()
    read.clear()
    exporting.evidence_of(lake, found, show_plates=False)
    passes = [path for path in read if "passes" in path.parts]
    assert len(lake.visible_files("passes")) == 2
    assert len(passes) == 1


def test_a_correction_that_find_has_not_seen_is_named(lake: Lake, tmp_path: Path):
    changed = record(jlbh="s1", btgdjg="56", tp1="a.jpg")
    assert rsd("ingest", lake.path, dump(tmp_path / "b.csv", [changed], encoding="utf-8")).code == 0
    assert "first.record_changed" in listed(lake)[0]["evidence_missing"]
    find_all(lake)
    assert "first.record_changed" not in listed(lake)[0]["evidence_missing"]


def test_the_review_of_a_finding_stands_beside_it(lake: Lake):
    name = confirm(lake, 0)
    smoke, no = listed(lake, "--plates")
    assert (smoke["finding_id"], smoke["review_state"], smoke["review_standing"]) == (
        name, "confirmed", "current")
    assert smoke["review_reason"] == "both photographs show it"
    assert no["review_state"] == "auto_flagged"


def test_what_a_reviewer_wrote_is_masked(lake: Lake):
    findings = lake.table("findings").scan().collect().sort("found_at")
    rsd("review", "confirm", lake.path, finding_ids(findings)[0], "--reason", f"{PLATE} is seen")
    assert PLATE not in json.dumps(listed(lake), ensure_ascii=False)
    assert listed(lake, "--plates")[0]["review_reason"] == f"{PLATE} is seen"


# Notices


def notice_texts(folder: Path) -> dict[str, str]:
    pypdf = pytest.importorskip("pypdf")
    return {path.name: "\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)
            for path in sorted(folder.glob("*.pdf"))}


def index(folder: Path) -> list[dict]:
    text = (folder / "index.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def font():
    from rsd.exports import fonts

    pytest.importorskip("typst")
    for path in fonts.installed():
        return path
    pytest.skip("no font with Chinese characters is installed here: apt-get install fonts-noto-cjk")


def test_what_nobody_confirmed_is_told_to_nobody(lake: Lake):
    out = lake.path.parent / "notices"
    answer = rsd("export", "notices", lake.path, "-o", out)
    assert answer.code == 8
    assert "rsd review confirm" in answer.message
    assert "--unreviewed" in answer.message
    assert not out.exists()


def test_notices_of_what_was_confirmed(lake: Lake, font: Path):
    confirm(lake, 0)
    out = lake.path.parent / "notices"
    answer = rsd("export", "notices", lake.path, "-o", out)
    assert answer.code == 0, answer.err
    assert "1 notices in" in answer.err
    assert "1 findings are left out" in answer.err
    (row,) = index(out)
    assert (row["plate"], row["is_draft"]) == ("闽D****5", "false")
    texts = notice_texts(out)
    assert list(texts) == [row["file"]]
    text = texts[row["file"]]
    assert "NOT REVIEWED" not in text
    assert "闽D****5" in text
    assert "12345" not in text
    assert "Unverified number" in text
    assert row["cases"] in text
    (entry,) = recorded(lake, "export notices")
    assert (entry["notices"], entry["plates"], entry["plates_shown"]) == (1, False, 0)


def test_drafts_of_the_unreviewed_are_marked(lake: Lake, font: Path):
    out = lake.path.parent / "notices"
    answer = rsd("export", "notices", lake.path, "-o", out, "--unreviewed", "--language", "zh",
                 "--plates", "--reason", "case 7")
    assert answer.code == 0, answer.err
    assert "2 notices, 2 of them drafts" in answer.err
    texts = notice_texts(out)
    assert len(texts) == 2
    assert all("未经审核" in text for text in texts.values())
    assert sum(PLATE in text for text in texts.values()) == 1
    assert not any(PLATE in name for name in texts)
    (entry,) = recorded(lake, "export notices")
    assert (entry["plates"], entry["plates_shown"], entry["reason"]) == (True, 2, "case 7")
    assert (out.stat().st_mode & 0o777) == 0o700


def test_a_rejected_finding_is_no_draft_either(lake: Lake, font: Path):
    findings = lake.table("findings").scan().collect().sort("found_at")
    rsd("review", "reject", lake.path, finding_ids(findings)[1], "--reason", "another vehicle")
    out = lake.path.parent / "notices"
    assert rsd("export", "notices", lake.path, "-o", out, "--unreviewed").code == 0
    assert len(index(out)) == 1


def test_the_letterhead_is_the_lake_s(lake: Lake, font: Path):
    lake.configure(settings={"notice_authority": "#read(\"/etc/passwd\") 市生态环境局",
                             "notice_address": "=1+1"})
    confirm(lake, 0)
    out = lake.path.parent / "notices"
    assert rsd("export", "notices", lake.path, "-o", out).code == 0
    (text,) = notice_texts(out).values()
    assert "#read(\"/etc/passwd\") 市生态环境局" in text
    assert "=1+1" in text


def test_the_same_lake_gives_the_same_notices(lake: Lake, font: Path):
    confirm(lake, 0)
    confirm(lake, 1)
    for name in ("a", "b"):
        assert rsd("export", "notices", lake.path, "-o", lake.path.parent / name).code == 0
    files = {path.name: path.read_bytes() for path in (lake.path.parent / "a").iterdir()}
    assert len(files) == 3
    assert files == {path.name: path.read_bytes() for path in (lake.path.parent / "b").iterdir()}


def test_one_vehicle(lake: Lake, font: Path):
    out = lake.path.parent / "notices"
    answer = rsd("export", "notices", lake.path, "-o", out, "--unreviewed", "--vehicle", OTHER)
    assert answer.code == 0, answer.err
    assert [row["plate"] for row in index(out)] == ["闽D****8"]
    gone = rsd("export", "notices", lake.path, "-o", lake.path.parent / "b", "--unreviewed",
               "--vehicle", "v1.NO.SUCH")
    assert (gone.code, "nothing to tell" in gone.message) == (2, True)


def test_a_folder_with_something_in_it_is_left_alone(lake: Lake):
    out = lake.path.parent / "notices"
    out.mkdir()
    (out / "old.pdf").write_bytes(b"old")
    answer = rsd("export", "notices", lake.path, "-o", out, "--unreviewed")
    assert answer.code == 2
    assert [path.name for path in out.iterdir()] == ["old.pdf"]


def test_a_missing_font_is_loud_and_leaves_nothing(lake: Lake, monkeypatch):
    from rsd.exports import fonts

    pytest.importorskip("typst")
    monkeypatch.setattr(fonts, "installed", lambda: iter(()))
    before = sorted(lake.path.parent.iterdir())
    answer = rsd("export", "notices", lake.path, "-o", lake.path.parent / "notices",
                 "--unreviewed", "--language", "zh")
    assert answer.code == 2
    assert "fonts-noto-cjk" in answer.message
    assert "--font" in answer.message
    named = rsd("export", "notices", lake.path, "-o", lake.path.parent / "notices",
                "--unreviewed", "--font", lake.path.parent / "nowhere.otf")
    assert (named.code, "nowhere.otf" in named.message) == (6, True)
    assert sorted(lake.path.parent.iterdir()) == before


def test_notices_need_the_right_to_see_the_reviews(barred: Lake):
    answer = rsd("export", "notices", barred.path, "-o", barred.path.parent / "n", "--unreviewed")
    assert answer.code == 8


def test_plates_want_a_reason_where_the_lake_does(lake: Lake):
    lake.configure(settings={"require_reason": True})
    answer = rsd("export", "notices", lake.path, "-o", lake.path.parent / "n", "--unreviewed",
                 "--plates")
    assert (answer.code, "--reason" in answer.message) == (8, True)


def test_a_military_plate_gets_no_notice(lake: Lake, tmp_path: Path, font: Path):
    lines = [record(jlbh=f"m{n}", hphm=WJ, jcsj=f"2026-09-0{n} 08:00:00", **OVER) for n in (1, 2)]
    run(lake, [dump(tmp_path / "m.csv", lines, encoding="utf-8")])
    out = lake.path.parent / "notices"
    answer = rsd("export", "notices", lake.path, "-o", out, "--unreviewed")
    assert answer.code == 0, answer.err
    assert "1 vehicles are left out: their plates are military" in answer.err
    assert sorted(row["plate"] for row in index(out)) == ["闽D****5", "闽D****8"]


def test_a_disk_that_refuses_leaves_no_litter(lake: Lake, font: Path, monkeypatch):
    from rsd.pipeline import noticing

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(noticing.os, "replace", full)
    before = sorted(lake.path.parent.iterdir())
    answer = rsd("export", "notices", lake.path, "-o", lake.path.parent / "n", "--unreviewed")
    assert (answer.code, "no space left" in answer.message.lower()) == (6, True)
    assert sorted(lake.path.parent.iterdir()) == before


def test_a_list_of_checks_that_cannot_be_read(tmp_path: Path):
    assert exporting.read_checks(tmp_path / "none.csv", "Asia/Shanghai") is None
    (tmp_path / "bytes.csv").write_bytes(b"site_id,line_id,checked_at,result\n\xff\xfe,,,\n")
    with pytest.raises(UsageError):
        exporting.read_checks(tmp_path / "bytes.csv", "Asia/Shanghai")
