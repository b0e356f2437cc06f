"""What a table holds, as a text: the same for the same rows, another for any others."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.keeping.content import Content, content

ROWS = pl.DataFrame({
    "text": ["a", "b", None, "b"], "real": [1.5, -0.0, None, 1.5],
    "flag": [True, False, None, True],
    "whole": [1, 2, None, 2], "day": [dt.date(2026, 1, 1), None, None, dt.date(2026, 1, 2)],
    "at": pl.Series([0, 1, None, 2], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
    "raw": [b"\x00", b"", None, b"x"],
})


def text(frame: pl.DataFrame) -> str:
    return str(content([frame.lazy()]))


def test_the_text_is_defined_and_stays_so() -> None:
    assert text(ROWS) == "4:3a637400fb362f9cd7b4f948f63df954"
    assert text(ROWS.clear()) == f"0:{0:032x}"


def test_neither_order_nor_files_matter() -> None:
    assert text(ROWS.reverse()) == text(ROWS)
    assert text(ROWS.select(reversed(ROWS.columns))) == text(ROWS)
    parts = content([ROWS.head(1).lazy()]) + content([ROWS.tail(3).lazy()])
    assert str(parts) == text(ROWS)


def test_a_new_column_of_nulls_is_no_change() -> None:
    assert text(ROWS.with_columns(new=pl.lit(None, pl.String))) == text(ROWS)


@pytest.mark.parametrize("change", [
    {"text": pl.col("text").replace("a", "c")}, {"real": pl.col("real") + 1e-15},
    {"real": pl.col("real").abs()}, {"flag": ~pl.col("flag")}, {"raw": pl.lit(b"\x00")},
    {"whole": pl.col("whole").fill_null(0)}, {"day": pl.col("day").shift()},
    {"text": pl.col("text").fill_null("")}, {"at": pl.col("at").dt.offset_by("1us")},
])
def test_any_change_shows(change: dict[str, pl.Expr]) -> None:
    assert text(ROWS.with_columns(**change)) != text(ROWS)


def test_a_row_twice_is_not_a_row_once() -> None:
    assert text(pl.concat([ROWS, ROWS.head(1)])) != text(ROWS)
    assert text(pl.concat([ROWS, ROWS])) != text(ROWS)
    swapped = ROWS.with_columns(text=pl.col("text").gather([1, 0, 2, 3]))
    assert text(swapped) != text(ROWS)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["x", "y", None]))))
def test_equal_texts_mean_equal_rows(rows: list[tuple[int, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    assert text(frame.sample(fraction=1, shuffle=True, seed=1)) == text(frame)
    if rows:
        assert content([frame.lazy()]) != content([frame.head(len(rows) - 1).lazy()])
        assert content([frame.lazy()]) + Content() == content([frame.lazy()])
