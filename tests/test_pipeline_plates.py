"""Plates of a dump → vehicles, and the index of hashes that finds a text again."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.pipeline.hash_index import HashIndex
from rsd.pipeline.plates import PlateBook
from rsd.privacy import VehicleKey, vehicle_ids
from rsd.reasons import mask

KEY = VehicleKey(bytes(range(32)))
UNREADABLE = mask("plate_unreadable")
TEXTS = ["闽D12345", "闽D·12345", " 闽d１２３４５", "闽D12346", "粤BD12345", "无牌", "", None,
         "ABC", "00000"]
COLORS = ["blue", "yellow", None, "unknown"]


def passes(texts: list[str | None], colors: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame({"plate": texts, "plate_raw": [None] * len(texts), "plate_color": colors,
                         "intake_bits": [1] * len(texts)},
                        schema={"plate": pl.String, "plate_raw": pl.String,
                                "plate_color": pl.String, "intake_bits": pl.Int64})


def named(plate: str | None, color: str | None) -> str | None:
    return vehicle_ids(KEY, pl.DataFrame({"plate": [plate], "plate_color": [color]},
                                         schema={"plate": pl.String, "plate_color": pl.String}))[0]


def test_spellings_of_one_plate_are_one_vehicle_and_colours_are_two():
    texts = ["闽D12345", "闽D·12345", "闽d１２３４５ ", "闽D12345"]
    found = PlateBook(KEY).assign(passes(texts, ["blue", "blue", "blue", "yellow"]), "cn")
    ids = found["vehicle_id"].to_list()
    assert ids[0] == ids[1] == ids[2] == named("闽D12345", "blue")
    assert ids[3] == named("闽D12345", "yellow") != ids[0]
    assert found["plate"].to_list() == ["闽D12345"] * 4
    assert found["intake_bits"].to_list() == [1] * 4


@pytest.mark.parametrize(
    "text", ["无牌", "未识别", "00000", "ABC", "闽D1234", "闽I12345", "AB12 CDE"])
def test_a_text_that_is_no_plate_makes_no_vehicle_and_is_kept_apart(text: str):
    found = PlateBook(KEY).assign(passes([text], ["blue"]), "cn")
    assert found.select("plate", "vehicle_id", "plate_raw", "intake_bits").rows() == [
        (None, None, text, 1 | UNREADABLE)]


def test_a_blank_plate_says_so():
    found = PlateBook(KEY).assign(passes([None], ["blue"]), "cn")
    assert found.select("plate", "vehicle_id", "plate_raw", "intake_bits").rows() == [
        (None, None, None, 1 | UNREADABLE)]


def test_other_countries_plates_need_a_format_that_allows_them():
    book, asked = PlateBook(KEY), passes(["AB12 CDE"], ["blue"])
    assert book.assign(asked, "cn")["vehicle_id"].to_list() == [None]
    assert book.assign(asked, "any")["vehicle_id"].to_list() == [named("AB12CDE", "blue")]
    assert book.assign(asked, "cn")["vehicle_id"].to_list() == [None]


def test_a_format_without_plates_has_none_and_says_nothing():
    found = PlateBook(KEY).assign(passes(["闽D12345"], ["blue"]), "none")
    assert found.select("plate", "vehicle_id", "intake_bits").rows() == [(None, None, 1)]


@given(st.lists(st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from(COLORS)), max_size=8),
                max_size=6))
def test_what_was_met_before_changes_no_answer(chunks: list[list[tuple]]):
    book = PlateBook(KEY)
    for chunk in chunks:
        asked = passes([t for t, _ in chunk], [c for _, c in chunk])
        fresh = PlateBook(KEY).assign(asked, "cn")
        assert book.assign(asked, "cn").equals(fresh)
        assert fresh["vehicle_id"].to_list() == [
            named(p, c) for p, c in fresh.select("plate", "plate_color").iter_rows()]


@pytest.mark.parametrize("stranger", [0, 1])
def test_two_texts_with_one_hash_stay_two_vehicles(stranger: int):
    book = PlateBook(KEY)
    asked = passes(["闽D12345", "闽D12346"], ["blue", "blue"])
    right = book.assign(asked, "cn")
    texts = book._texts["cn"]
    # as if the place of this hash had been taken by another text
    other = pl.Series("check", [7 if k == stranger else c for k, c in
                                enumerate(texts.since(0)["check"])], dtype=pl.UInt64)
    wrong = pl.Series("vehicle_id", ["v1.wrong"] * 2)
    texts._frames = [texts.since(0).with_columns(other, wrong)]
    assert book.assign(asked, "cn").equals(right)


def test_many_chunks_of_new_plates():
    book = PlateBook(KEY)
    for start in range(0, 4000, 100):
        plates = [f"闽D{k:05d}" for k in range(start, start + 100)]
        found = book.assign(passes(plates, ["blue"] * 100), "cn")
        assert found["vehicle_id"].n_unique() == 100
    again = book.assign(passes(["闽D00000", "闽D03999"], ["blue"] * 2), "cn")
    assert again["vehicle_id"].to_list() == [named("闽D00000", "blue"), named("闽D03999", "blue")]


# The index of hashes

HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda k: k << 16)
"""Any, and such as fall on one place of the index's first size."""


@given(st.lists(st.lists(HASHES, max_size=30), max_size=8), st.lists(HASHES, max_size=20))
def test_the_index_finds_what_a_dictionary_finds(batches: list[list[int]], asked: list[int]):
    index, known = HashIndex(), {}
    for batch in batches:
        new = [h for h in dict.fromkeys(batch) if h not in known]
        known |= {h: len(known) + k for k, h in enumerate(new)}
        index.insert(np.array(new, np.uint64))
        everything = [*known, *asked]
        found = index.lookup(np.array(everything, np.uint64)).tolist()
        assert found == [known.get(h, -1) for h in everything]
    assert len(index) == len(known)


def test_the_index_grows_beyond_its_first_size():
    rng = np.random.default_rng(1)
    hashes = rng.permutation(np.unique(rng.integers(0, 2**63, 300_000)).astype(np.uint64))
    index = HashIndex()
    for part in np.array_split(hashes, 7):
        index.insert(part)
    assert np.array_equal(index.lookup(hashes), np.arange(hashes.size))
    assert index.lookup(hashes + np.uint64(2**63)).max() == -1
