"""Outputs that do nothing by themselves, and files that are whole or not there."""

import csv
import io
import json
import os
import resource
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.errors import StorageError
from rsd.exports import safety
from rsd.exports.safety import (
    csv_blocks,
    csv_safe,
    flat,
    json_blocks,
    plain,
    printable,
    printable_frame,
    replacing,
    text_of_bytes,
)

STARTS = tuple("=+-@＝＋－＠\t\r\n")
ATTACKS = [
    '=HYPERLINK("http://a.example";"x")', "+1+1", "-2+3", "@SUM(A1)", "＝1+1", "＋1", "－1", "＠a",
    "\t=1", "\rx", "\nx", " =1+1", "\ufeff=1", "\u202e=1", "\x00=1", "'=1", "''+1",
]
HARMLESS = ["", "闽D12345", "a=b", "1-2", "'", "'a", " a", "<script>x()</script>", "·=", "100%"]


def guarded(text: str) -> str:
    return csv_safe(pl.DataFrame({"t": [text]}))["t"][0]


@pytest.mark.parametrize("text", ATTACKS)
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert guarded(text) == "'" + text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text):
    assert guarded(text) == text


def test_numbers_nulls_and_other_types_stay():
    frame = pl.DataFrame({"x": [-1.5, None], "n": [-3, 4], "t": [None, "-3"], "b": [True, None]})
    expected = frame.with_columns(t=pl.Series([None, "'-3"]))
    assert csv_safe(frame).equals(expected)


def test_names_of_columns_and_categories_are_guarded_too():
    frame = pl.DataFrame({"=1+1": ["a"], "c": ["@x"]}, schema_overrides={"c": pl.Categorical})
    safe = csv_safe(frame)
    assert safe.columns == ["'=1+1", "c"]
    assert safe["c"].to_list() == ["'@x"]


NASTY = st.text(alphabet="=+-@＝＋－＠\t\r\n' ,\"a\ufeff")
TEXTS = st.lists(st.none() | st.text() | NASTY, max_size=8)


@given(TEXTS)
def test_a_csv_comes_back_and_starts_no_formula(texts):
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String}).with_row_index("n").select("t", "n")
    text = b"".join(csv_blocks(frame)).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [row[1] for row in rows] == [str(n) for n in range(len(texts))]
    for (found, _), text in zip(rows, texts, strict=True):
        original = text or ""
        assert not found.startswith(STARTS)
        assert found in (original, "'" + original)
        # One rule takes the protection off again: the apostrophe goes where a formula follows.
        assert (found[1:] if found and guarded(found) != found else found) == original


def test_a_raw_csv_leaves_formulas_alive():
    assert b"".join(csv_blocks(pl.DataFrame({"t": ["=1+1"]}), raw=True)) == b"t\n=1+1\n"


def test_a_csv_has_no_nan():
    frame = pl.DataFrame({"x": [float("nan"), float("inf"), -0.5], "y": [1, 2, 3]})
    assert b"".join(csv_blocks(frame)) == b"x,y\n,1\n,2\n-0.5,3\n"


def test_an_empty_csv_has_its_header():
    assert b"".join(csv_blocks(pl.DataFrame(schema={"a": pl.String, "b": pl.Float64}))) == b"a,b\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("闽D12345", "闽D12345"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://a.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]never ended", "never ended"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("a\r\nINFO all is well", "a INFO all is well"),
        ("a\tb\u2028c", "a b c"),
        ("a\x00\x07\x7f\x85b", "a b"),
        ("\u202eabc\u2066\u200b\ufeff", "abc"),
        ("file\udcff", "file\ufffd"),
        ("<script>[bold]", "<script>[bold]"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


SIGNS = st.sampled_from("\x1b\x9b[]mP\\\x07\n\u202e")


@given(st.text(alphabet=st.characters() | SIGNS))
def test_printable_is_one_line_that_only_shows(text):
    shown = printable(text)
    assert shown.isprintable() or not set(shown) & set("\x1b\x9b\n\r\x00\x7f\u202e\u2066")
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@given(st.text(alphabet=st.characters(codec="utf-8") | SIGNS))
def test_a_frame_becomes_printable_as_a_text_does(text):
    assert printable_frame(pl.DataFrame({"t": [text]}))["t"][0] == printable(text)


@given(st.binary())
def test_bytes_become_text_without_loss_of_what_is_no_text(raw):
    text = text_of_bytes(raw)
    text.encode()
    assert not set(text) & set(map(chr, {*range(32), 127} - {9, 10, 13}))


def test_bytes_that_are_text_stay():
    assert text_of_bytes("闽D12345,\r\n".encode()) == "闽D12345,\r\n"
    assert text_of_bytes("闽".encode("gb18030")) == "\\xc3\\xf6"


def test_json_has_its_own_types_only():
    east = timezone(timedelta(hours=8))
    frame = pl.DataFrame(
        {
            "at": [datetime(2026, 3, 1, 8, 0, 0, 1500, tzinfo=east), None],
            "whole": [datetime(2026, 3, 1, tzinfo=UTC), None],
            "local": [datetime(2026, 3, 1, 8), None],
            "day": [date(2026, 3, 1), None],
            "clock": [time(1, 2, 3), None],
            "span": [timedelta(seconds=90), None],
            "x": [float("nan"), float("-inf")],
            "small": [1e-7, -0.25],
            "reasons": [["PLUME_LOW", "fuel_conflict"], []],
            "mixed": [[{"t": datetime(2026, 1, 1, tzinfo=UTC), "x": float("nan")}], None],
            "raw": [b"a\xff", None],
            "money": [Decimal("1.5"), None],
            "text": ["闽 \u2028 </script> \x1b", ""],
            "color": ["blue", None],
            "pair": [[1.0, float("inf")], None],
        },
        schema_overrides={"color": pl.Categorical, "pair": pl.Array(pl.Float64, 2),
                          "at": pl.Datetime("us", "Asia/Shanghai")},
    )
    text = b"".join(json_blocks(frame)).decode()
    first, second = json.loads(text, parse_constant=pytest.fail)
    assert first == {
        "at": "2026-03-01T00:00:00.001500Z", "whole": "2026-03-01T00:00:00Z",
        "local": "2026-03-01T08:00:00", "day": "2026-03-01", "clock": "01:02:03", "span": "PT1M30S",
        "x": None, "small": 1e-7, "reasons": ["PLUME_LOW", "fuel_conflict"],
        "mixed": [{"t": "2026-01-01T00:00:00Z", "x": None}], "raw": "a\\xff", "money": 1.5,
        "text": "闽 \u2028 </script> \x1b", "color": "blue", "pair": [1.0, None],
    }
    assert second["x"] is None
    assert second["reasons"] == []
    assert second["text"] == ""
    assert "闽" in text


def test_a_sum_beyond_64_bits_stays_a_whole_number():
    frame = pl.DataFrame({"n": [Decimal(2**70)]}, schema={"n": pl.Decimal(38, 0)})
    assert json.loads(b"".join(json_blocks(frame))) == [{"n": 2**70}]


def test_lists_become_text_in_a_csv():
    frame = pl.DataFrame({"l": [["=a", "b"], [], None], "s": [{"x": float("nan")}] * 3})
    assert flat(frame)["l"].to_list() == ["=a;b", "", None]
    assert flat(frame)["s"].to_list() == ['{"x":null}'] * 3
    assert csv_safe(flat(frame))["l"][0] == "'=a;b"


JSON_ROWS = st.lists(st.tuples(st.text(), st.floats(), st.booleans() | st.none()), max_size=7)


@given(JSON_ROWS)
def test_json_comes_back_across_slices(rows):
    frame = pl.DataFrame(rows, schema={"t": pl.String, "x": pl.Float64, "b": pl.Boolean},
                         orient="row")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(safety, "SLICE_ROWS", 2)
        found = json.loads(b"".join(json_blocks(frame)), parse_constant=pytest.fail)
    finite = [x if abs(x) < float("inf") else None for _, x, _ in rows]
    assert [row["t"] for row in found] == [t for t, _, _ in rows]
    assert [row["x"] for row in found] == finite
    assert [row["b"] for row in found] == [b for _, _, b in rows]


def test_plain_keeps_the_columns():
    frame = pl.DataFrame({"b": [1], "a": ["x"]})
    assert plain(frame).equals(frame)


def test_a_file_appears_whole_and_keeps_its_rights(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    target.chmod(0o600)
    with replacing(target) as staged:
        staged.write_text("new")
        assert target.read_text() == "old"
        assert staged.parent.parent == tmp_path
        assert staged.parent.stat().st_mode & 0o077 == 0
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path, error):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as staged:  # noqa: PT012
        staged.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_followed(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    link.symlink_to(real)
    with replacing(link) as staged:
        staged.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_both_file_and_folder_are_flushed(tmp_path, monkeypatch):
    flushed = []
    true_fsync = os.fsync

    def fsync(handle):
        flushed.append(os.readlink(f"/proc/self/fd/{handle}"))
        true_fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "a.csv") as staged:
        staged.write_text("x")
    assert flushed[0].endswith("new.csv")
    assert flushed[-1] == str(tmp_path.resolve())


@pytest.mark.parametrize(
    ("name", "said"),
    [("no/such/folder/a.csv", "Make the folder"), (".", "Name a file"), ("file/a.csv", "folder")],
)
def test_a_place_that_takes_no_file_is_said(tmp_path, name, said):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=said) as caught, replacing(tmp_path / name) as staged:
        staged.write_text("x")
    assert str(tmp_path) in str(caught.value)


def test_a_device_is_not_replaced():
    with pytest.raises(StorageError, match="regular file"), replacing(Path(os.devnull)):
        pytest.fail("a device was accepted")


@contextmanager
def small_files():
    """Let no file grow beyond 4 KiB, as on a full disk; no fixture, which would hold the test
    runner's own output to it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_of_the_disk_inside_polars_is_one_of_storage(tmp_path):
    frame = pl.DataFrame({"a": pl.int_range(20_000, eager=True).hash()})
    path = tmp_path / "a.parquet"
    with (small_files(), pytest.raises(StorageError, match=r"a\.parquet"),
          replacing(path) as new):
        frame.write_parquet(new)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_polars_that_is_not_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(pl.exceptions.ComputeError), replacing(tmp_path / "a.csv"):
        raise pl.exceptions.ComputeError("division by zero")
