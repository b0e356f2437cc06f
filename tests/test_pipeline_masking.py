"""Raw records without plates: whatever the damage, no plate is read from what is shown."""

from __future__ import annotations

import re

import polars as pl
import pytest
from chain import record
from hypothesis import given
from hypothesis import strategies as st

from rsd.exports.safety import text_of_bytes
from rsd.pipeline.masking import mask_plates_in_text
from rsd.privacy import holds_chinese_plate, mask_chinese_plates

SERIAL = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
CIVIL = st.builds(
    lambda province, letter, serial: f"{province}{letter}{serial}",
    st.sampled_from("闽粤京沪"), st.sampled_from("ABD"),
    st.text(SERIAL, min_size=5, max_size=5).filter(lambda s: any(c.isdigit() for c in s)))
PLATES = CIVIL | st.from_regex(r"闽[A-D][A-HJK][0-9A-HJ-NP-Z][0-9]{4}", fullmatch=True) | (
    st.from_regex(r"闽[A-D][0-9A-HJ-NP-Z]{3}[0-9][挂学警港澳领]", fullmatch=True)) | (
    st.from_regex(r"[0-9]{6}使|WJ闽[0-9]{5}|[A-Z]{2}[0-9]{2}[A-Z]{3}", fullmatch=True))


@given(PLATES)
def test_a_plate_in_its_cell_is_masked(plate: str):
    shown = mask_plates_in_text(record(hphm=plate))
    assert plate not in shown
    assert "*" in shown


BEFORE = st.sampled_from(["", ",", " ", "_", "/", "\t", "\\x00", "tp_", "a.", "-"])
AFTER = st.sampled_from(["", ",", " ", "_", ".jpg", "_1.jpg", "\\xff", "\"", ";"])


@given(plate=CIVIL, before=BEFORE, after=AFTER)
def test_a_plate_between_other_signs_is_masked(plate: str, before: str, after: str):
    assert plate not in mask_plates_in_text(f"{before}{plate}{after}")


@pytest.mark.parametrize("text", ["闽D·12345", "闽D 12345", "闽D-12345", "AB12 CDE", "闽d12345",
                                  "闽Ｄ12345", "闽D１２３４５"])
def test_other_spellings_are_masked(text: str):
    shown = mask_plates_in_text(f"1,{text},2")
    assert text not in shown
    assert "*" in shown


SPELT = ["闽D•12345", "闽D・12345", "闽D･12345", "闽D∙12345", "闽D\u00ad12345", "闽D\u202e12345",
         "闽D\U000e000112345", "闽D-12345", "闽D－12345", "闽D.12345", "014578使", "使014578",
         "使０１４５７８", "WJ闽12345", "军A12345", "空A12345"]


@pytest.mark.parametrize("plate", SPELT)
@pytest.mark.parametrize("before", ["", "seen ", "tp_", "车 "])
def test_what_the_engine_reads_as_a_plate_is_masked_wherever_it_stands(plate: str, before: str):
    for masked in (mask_plates_in_text, mask_chinese_plates):
        shown = masked(f"{before}{plate}, noted")
        assert not re.search(r"12345|14578|１４５７８", shown), shown
        assert shown.endswith(", noted")
    assert mask_chinese_plates(f"{before}{plate}").startswith(before)
    assert holds_chinese_plate(pl.Series([f"{before}{plate}", f"{before}x"])).to_list() == [
        True, False]


def test_a_word_before_does_not_hide_a_plate():
    assert mask_plates_in_text("car AB 1234, noted") == "car AB****4, noted"


@pytest.mark.parametrize(
    "text",
    ["A350203001闽D12345",  # a lost separator between the site and the plate
     "20260901080000闽D12345.jpg",
     "闽D12345A350203001",
     "闽D12345闽D54321",
     "闽D12345K31B"],
)
def test_a_plate_that_a_lost_separator_joined_to_its_neighbour_is_masked(text: str):
    assert not re.search(r"闽D\d{5}", mask_plates_in_text(f"x,{text},y"))


@pytest.mark.parametrize("plate", ["闽DABCDE", "闽DABCD挂", "京AAAAAA"])
def test_a_plate_without_a_digit_is_masked(plate: str):
    assert plate not in mask_plates_in_text(f"x,{plate},y")


@given(CIVIL)
def test_a_plate_in_gb18030_is_masked(plate: str):
    raw = record(hphm=plate).encode("gb18030") + b",\xff"
    shown = mask_plates_in_text(text_of_bytes(raw))
    assert plate not in shown
    assert plate[1:] not in shown  # all but the province, whose bytes are no UTF-8


def test_what_is_no_plate_stays_readable():
    shown = mask_plates_in_text(record(jlbh="7", hphm=""))
    assert shown == record(jlbh="7", hphm="")
    for text in ("A350203001", "2026-09-01T08:00:00", "36.5", "-999", "abc", "0x10", "2026-02-30"):
        assert mask_plates_in_text(text) == text
