"""Notices as PDF: read back as text, with what was hostile in the data still text."""

import io
from datetime import UTC, date, datetime

import polars as pl
import pytest
from proofs import T1, T2, a_finding, a_pass, findings, photos, sources

from rsd.columns import SITES, schema
from rsd.errors import UsageError
from rsd.exports import fonts
from rsd.exports.evidence import with_evidence
from rsd.exports.notices import (
    Letter,
    choose_font,
    file_name,
    notices,
    overview,
    write_notices,
)
from rsd.exports.words import words

pytest.importorskip("typst")
pypdf = pytest.importorskip("pypdf")

MADE = datetime(2026, 11, 23, 20, 0, 0, 123456, tzinfo=UTC)
HASH = "ab" * 32
ATTACKS = ["#read(\"/etc/passwd\")", "$ x^2 $", "=HYPERLINK(\"http://a.example\")", "*bold* _it_",
           "<script>alert(1)</script>", "@label <label>", "`raw` // comment /* x */", "\\u{1F600}",
           "#panic(\"x\")", "#import \"@preview/x:1.0.0\"", "'quoted' \"twice\"", "]#text(99pt)[x",
           "a~b--c...d", "= Heading", "+ list", "%s {x} {{", "https://a.example/x", "\\#"]


@pytest.fixture
def chinese():
    for path in fonts.installed():
        return path
    pytest.skip("no font with Chinese characters is installed here: apt-get install fonts-noto-cjk")


def told(*rows, confirmed=True, **changes):
    """Findings as notices take them."""
    frame = with_evidence(findings(*(rows or [a_finding()])), sources(**changes))
    return frame.with_columns(
        plate=pl.lit("D12345"), finding_id=pl.lit("fcase"), review_due=pl.lit(None, pl.Date),
        is_confirmed=pl.lit(confirmed))


def western(name="Bridge"):
    """Sources whose texts need no Chinese font."""
    return {"sites": pl.DataFrame([{"site_id": "S", "name": name, "lon_wgs84": 1.0,
                                    "lat_wgs84": 2.0}], schema=schema(SITES))}


def letter(language="en", **changes):
    facts = {"words": words(language), "authority": "City Office", "address": "1 Road, 123",
             "timezone": "Asia/Shanghai", "made_at": MADE,
             "provenance": {"version": "9.9", "findings": "3", "passes": "4"}}
    return Letter(**(facts | changes))


def pages(frame, folder, shared=None, font=None):
    """Write notices and return each one's reader."""
    shared = shared or letter()
    seen = overview(notices(frame, shared))
    write_notices(notices(frame, shared), folder, choose_font(seen.characters, font), MADE,
                  seen.index.height)
    return {name: pypdf.PdfReader(io.BytesIO((folder / name).read_bytes()))
            for name in seen.index["file"]}


def text_of(reader):
    return "\n".join(page.extract_text() for page in reader.pages)


def squeezed(text):
    """A text without blanks: a PDF keeps no line ends of ours."""
    return "".join(text.split())


def embedded(reader):
    """Name → whether the file carries it, of every font of every page."""
    found = {}
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            has = any(key.startswith("/FontFile") for key in inner["/FontDescriptor"].get_object())
            found[str(font.get_object()["/BaseFont"])] = has
    return found


def test_a_notice_says_what_was_found_and_by_what(tmp_path):
    (reader,) = pages(told(**western()), tmp_path).values()
    text = squeezed(text_of(reader))
    for part in ["City Office", "1 Road, 123", "Notice of excess exhaust emissions", "D12345",
                 "v1.a", "fcase", "smoke opacity", "violation", "30 %", "45 %", "36 %",
                 "1.5", "1.2",
                 "2026-09-01 07:30:00 (Asia/Shanghai)", "Bridge", "S, 01", "40 km/h, 0.3 m/s²",
                 "5 kW/t, 5.1 kW/t", "25 °C, 60 % RH, 101.3 kPa, 1.5 m/s", "97 %",
                 "line 7, file a.csv", HASH, "x.jpg, y.jpg", "z.jpg", "Unverified number",
                 "re-tested", "examined and repaired", "within the time that the authority sets",
                 "rsd 9.9", "findings version 3", "passes version 4", "2026-11-24"]:
        assert squeezed(part) in text, part
    assert "NOT REVIEWED" not in text_of(reader)
    assert "Not available" not in text_of(reader)


def test_a_verified_finding_says_so(tmp_path):
    (reader,) = pages(told(a_finding(is_verified=True), **western()), tmp_path).values()
    assert "Unverified number" not in text_of(reader)
    assert squeezed("was compared with the text of the law") in squeezed(text_of(reader))


def test_the_deadline_is_that_of_the_review(tmp_path):
    frame = told(**western()).with_columns(review_due=pl.lit(date(2026, 12, 9)))
    (reader,) = pages(frame, tmp_path).values()
    assert "by 2026-12-09" in text_of(reader)


def test_what_is_missing_stands_in_the_notice(tmp_path):
    frame = told(passes=sources().passes.filter(pl.col("record_id") == "p2"), **western(),
                 checks=None)
    (reader,) = pages(frame, tmp_path).values()
    text = squeezed(text_of(reader))
    assert squeezed("Not available: first: the pass itself; second: last check of the instrument."
                    ) in text
    assert squeezed("No photograph is recorded") not in text
    assert squeezed("Reference not shown") in text


def test_a_vehicle_has_one_notice_with_all_its_findings(tmp_path):
    rows = [a_finding(), a_finding(pollutant="no", found_at=T1), a_finding(vehicle_id="v1.b")]
    readers = pages(told(*rows, **western()), tmp_path)
    assert list(readers) == ["notice-v1.a.pdf", "notice-v1.b.pdf"]
    assert "Finding 2 of 2" in text_of(readers["notice-v1.a.pdf"])
    assert "Finding 1 of 1" in text_of(readers["notice-v1.b.pdf"])
    assert sorted(path.name for path in tmp_path.iterdir()) == list(readers)


def test_a_verb_of_one_record_has_one_column(tmp_path):
    row = a_finding(second_record_id=None, second_measured_at=None, second_value=None)
    (reader,) = pages(told(row, **western()), tmp_path).values()
    assert "Photograph of the first reading" in text_of(reader)
    assert "Photograph of the second reading" not in text_of(reader)


def test_a_finding_without_any_record_can_be_told(tmp_path):
    row = a_finding(first_record_id=None, second_record_id=None)
    (reader,) = pages(told(row, **western()), tmp_path).values()
    assert "Finding 1 of 1" in text_of(reader)


def test_what_nobody_confirmed_is_marked_on_every_page(tmp_path):
    rows = [a_finding(pollutant=p) for p in ("no", "co", "hc", "opacity")]
    (reader,) = pages(told(*rows, confirmed=False, **western()), tmp_path).values()
    assert len(reader.pages) > 2
    assert all("NOT REVIEWED" in page.extract_text() for page in reader.pages)
    assert "It may not be served" in text_of(reader)


def test_one_unconfirmed_finding_makes_the_whole_a_draft(tmp_path):
    frame = told(a_finding(), a_finding(pollutant="no"), **western()).with_columns(
        is_confirmed=pl.Series([True, False]))
    (reader,) = pages(frame, tmp_path).values()
    assert "NOT REVIEWED" in text_of(reader)


@pytest.mark.parametrize("attack", ATTACKS)
def test_typst_formula_and_html_stay_text(tmp_path, attack):
    hostile = photos({"record_id": "p1", "source_sha256": HASH, "source_line": 7,
                      "photo_1": attack})
    frame = told(a_finding(clause=attack, regulation_id=attack, unit=attack),
                 restricted=hostile, **western(attack)).with_columns(plate=pl.lit(attack))
    (reader,) = pages(frame, tmp_path, letter(authority=attack, address=attack)).values()
    text = squeezed(text_of(reader))
    assert text.count(squeezed(attack)) >= 7, text
    assert "root:" not in text


def test_what_steers_a_terminal_or_turns_the_text_is_gone(tmp_path):
    name = "A\x1b[31mB\x1b[0m\u202eC\u2066D\x00E\nF\u200bG"
    (reader,) = pages(told(**western(name)), tmp_path).values()
    assert "ABCDE FG" in text_of(reader)


def test_a_text_that_is_too_long_is_cut_and_one_without_blanks_is_broken(tmp_path):
    (reader,) = pages(told(**western("x" * 100_000)), tmp_path).values()
    assert len(reader.pages) < 5
    assert squeezed(text_of(reader)).count("x" * 400 + "…") == 2
    lines = text_of(reader).splitlines()
    assert max(len(line) for line in lines if "xxx" in line) <= 120


def test_the_same_data_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pages(told(a_finding(), a_finding(vehicle_id="v1.b"), **western()), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    reader = pypdf.PdfReader(tmp_path / "a" / "notice-v1.a.pdf")
    assert reader.metadata["/CreationDate"] == "D:20261123200000Z"


def test_every_font_is_in_the_file(tmp_path):
    (reader,) = pages(told(**western()), tmp_path).values()
    found = embedded(reader)
    assert found
    assert all(found.values())
    assert all("Libertinus" in name for name in found)


def test_chinese_is_set_in_an_embedded_font(tmp_path, chinese):
    frame = told().with_columns(plate=pl.lit("闽D12345"))
    (reader,) = pages(frame, tmp_path, letter("zh"), chinese).values()
    text = squeezed(text_of(reader))
    for part in ["机动车排气污染物超标通知书", "闽D12345", "未核对的数值", "桥", "烟度（不透光度）",
                 "当地时间", "检查并维修车辆发动机及排放控制装置"]:
        assert part in text, part
    found = embedded(reader)
    assert found
    assert all(found.values())
    assert all("Noto" in name for name in found) == ("Noto" in fonts.family_of(chinese))


def test_an_english_notice_of_a_chinese_place_is_set_in_that_font_too(tmp_path, chinese):
    (reader,) = pages(told(), tmp_path, font=chinese).values()
    assert "桥" in text_of(reader)


def test_a_character_that_no_font_has_stops_all_before_the_first(tmp_path, chinese):
    frame = told(a_finding(), a_finding(vehicle_id="v1.b"), **western("\U0001F697"))
    with pytest.raises(UsageError, match=r"U\+1F697"):
        pages(frame, tmp_path, font=chinese)
    assert list(tmp_path.iterdir()) == []


def test_without_a_font_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "installed", lambda: iter(()))
    with pytest.raises(UsageError, match="fonts-noto-cjk"):
        pages(told(), tmp_path, letter("zh"))
    assert list(tmp_path.iterdir()) == []


def test_without_typst_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "typst", None)
    with pytest.raises(UsageError, match=r"rsd-engine\[notices\]"):
        choose_font(frozenset("a"), None)


def test_an_invalid_record_and_its_reasons_are_told(tmp_path):
    from rsd.reasons import mask

    rows = sources().passes.collect()
    odd = a_pass("p1", T1, is_valid=False, reason_bits=mask("WEATHER_WIND"))
    fine = a_pass("p2", T2, opacity_pct=36.0, reason_bits=mask("SITE_UNKNOWN"))
    frame = told(passes=pl.DataFrame([odd, fine], schema=rows.schema).lazy(), **western())
    (reader,) = pages(frame, tmp_path).values()
    text = squeezed(text_of(reader))
    assert squeezed("NOT valid: wind above the profile's limit") in text
    assert squeezed("valid; remarks: the site is not in the site list") in text


def test_a_file_s_name_holds_no_path():
    assert file_name("v1.K.ID") == "notice-v1.K.ID.pdf"
    assert file_name("../../x y") == "notice-.._.._x_y.pdf"


def test_a_value_just_above_the_limit_does_not_look_like_it(tmp_path):
    row = a_finding(first_value=30.0000001)
    (reader,) = pages(told(row, **western()), tmp_path).values()
    assert "30.0000001 %" in text_of(reader)
