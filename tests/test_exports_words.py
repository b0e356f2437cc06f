"""Words of lists and notices: both languages say the same things, and nothing is left unsaid."""

import re
import string

import polars as pl
import pytest

from rsd.columns import FINDINGS, FUELS, PLATE_COLORS, POLLUTANTS, VEHICLE_CLASSES
from rsd.errors import UsageError
from rsd.exports.evidence import NEEDED, PROOF, SUMMARY
from rsd.exports.words import LANGUAGES, words
from rsd.pipeline.exporting import REVIEW
from rsd.reasons import REASONS
from rsd.review import flow

ZH, EN = words("zh"), words("en")
CHINESE = re.compile("[\u4e00-\u9fff]")
MISSING = {*NEEDED, "record", "record_changed", "limit", "photo", "restricted", "site",
           "coordinates", "device_check"}


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_facts():
    assert set(ZH.texts) == set(EN.texts)
    assert {k for k in EN.texts if fields(EN.texts[k]) != fields(ZH.texts[k])} == set()


def test_every_column_of_a_list_has_a_chinese_heading():
    names = [*(c.name for c in (*FINDINGS, *SUMMARY)), "plate", "finding_id", *REVIEW,
             *(f"{place}_{c.name}" for place in ("first", "second") for c in PROOF),
             "place", "record_id", "measured_at", "value", *(c.name for c in PROOF)]
    plain = {"co_pct", "hc_ppm", "no_ppm", "no2_ppm", "nox_g_kg", "nh3_g_kg"}  # CO（%）, …
    assert [n for n in names if ZH.heading(n) == n] == []
    assert [n for n in names if not CHINESE.search(ZH.heading(n)) and n not in plain] == []
    assert len({ZH.heading(n) for n in dict.fromkeys(names)}) == len(dict.fromkeys(names))


def test_english_headings_are_the_columns_names():
    for name in ("found_at", "first_value", "first_wind_speed_m_s"):
        assert EN.heading(name) == name


@pytest.mark.parametrize(("column", "values"), [
    ("fuel", FUELS), ("plate_color", PLATE_COLORS), ("vehicle_class", VEHICLE_CLASSES),
    ("pollutant", POLLUTANTS), ("pollutant_name", POLLUTANTS), ("missing", sorted(MISSING)),
    ("reasons", [r.code for r in REASONS]), ("place", ["first", "second"]),
    ("review_state", flow.load().states), ("review_standing", flow.STANDINGS),
    ("kind", ["violation", "screening", "registration", "clean"]),
])
def test_every_value_has_a_chinese_word(column, values):
    known = ZH.values[column]
    assert [value for value in values if not known.get(value)] == []
    assert set(known) == set(values)


def test_what_is_missing_is_said_in_words():
    assert set(EN.values["missing"]) == MISSING
    assert EN.missing("first.photo") == "first: photograph"
    assert ZH.missing("second.wind_speed_m_s") == "再次：风速"


def test_a_frame_is_told_in_words_and_keeps_its_columns():
    frame = pl.DataFrame({"fuel": ["diesel", "x", None], "is_verified": [True, False, None],
                          "reasons": [["SITE_UNKNOWN"], [], None],
                          "evidence_missing": [["first.photo"], [], None]})
    told = ZH.translated(frame)
    assert told.columns == frame.columns
    assert told["fuel"].to_list() == ["柴油", "x", None]
    assert told["reasons"].to_list() == [["点位不在点位清单中"], [], None]
    assert told["evidence_missing"].to_list() == [["首次：照片"], [], None]
    assert EN.translated(frame)["reasons"][0].to_list() == ["the site is not in the site list"]


def test_another_language_is_refused():
    with pytest.raises(UsageError, match="en, zh"):
        words("fr")
    assert LANGUAGES == ("en", "zh")
