"""The fast way through a damaged chunk says what the slow one says, whatever the bytes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_reading import SHANGHAI, read
from polars.testing import assert_frame_equal

from rsd.intake import cells, damaged, suspects
from rsd.intake.chunks import Chunk
from rsd.intake.formats import get_format, split_header
from rsd.intake.layout import Layout

LONDON = "Europe/London"
HEADS = {
    "rsd": "site_id,measured_at,plate,speed_km_h,ringelmann,fuel,first_registered,note",
    "cn_platform": "dwbh,jcsj,hphm,clsd,lgmhd,rlzl,csys,jcdwrzh",
    "conox": "Site,PassageTime,VehicleMake,SpeedKPH,RoadGrade,FuelType,Instrument,ConoxID,"
             "Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2",
}  # fmt: skip
TEXT = ("S1", "桥", "", "NA", "a b", '"S,2"', '"two\nlines"', '"a ""b"""', 'a"b', '"x', 'y"', '"',
        '""', '"q"', "\ufffd", "x\u3000y", "Ａ１", "'")
NUMBER = ("", "5", "-999", "1e3", "-0", "5.", "NaN", "-inf", "1e400", "1_000", "x", "0x10", "３.7",
          "５", "abc", "3.7", "NA", "1 000", "5\u200b", "٣", '"5"', '" 5 "', '""', "5²", '"1,5"')
TIME = ("2024-05-01 10:00:00", "2024-05-01T10:00:00", "2024/5/1 8:05:00", "2024-05-01T10:00:00Z",
        "20240501080500", "2024-05-01 10:00:00+08:00", "2024-02-30 10:00:00", "", "x",
        "2024-05-01 1:00:00", "2024-03-31 01:30:00", "2024-10-27T00:30:00Z",
        '"2024-05-01 10:00:00"')
DATE = ("", "2019-02-28", "2019-02-30", "２０１９-02-28", '"2019-02-28"')
CODE = ("", "A", "diesel", "NA", "??")
PADDING = ("", "", " ", "  ", "\u3000", "\u00a0", "\t", "\x0b", "\u2003 ", " \u3000 ", "\x1f",
           "\ufeff", "\x85", "\u2028")
PIECES = (b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xb0", b"\x81", b" ", b"7",
          b"_", b"\n \n", b"\xef\xbb\xbf", b"\xe3\x80\x80")
KINDS = {
    "rsd": (TEXT, TIME, TEXT, NUMBER, NUMBER, CODE, DATE, TEXT),
    "cn_platform": (TEXT, TIME, TEXT, NUMBER, NUMBER, CODE, TEXT, TEXT),
    "conox": (TEXT, TIME, TEXT, NUMBER, NUMBER, CODE, TEXT, TEXT, NUMBER, NUMBER, NUMBER),
}


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """A format, lines of it (some of them spoilt) and their encoding."""
    format_id = draw(st.sampled_from(sorted(HEADS)))
    chance = draw(st.randoms(use_true_random=False))
    spoilt, padded = draw(st.sampled_from([0, 0.05, 0.5])), draw(st.sampled_from([0, 0.05, 0.9]))

    def cell(kind: tuple[str, ...]) -> str:
        plain = kind[1] if kind is not TIME else f"2024-05-01 10:00:{chance.randrange(60):02d}"
        text = chance.choice(kind) if chance.random() < spoilt else plain
        if chance.random() >= padded:
            return text
        return chance.choice(PADDING) + text + chance.choice(PADDING)

    rows = [",".join(map(cell, KINDS[format_id])) for _ in range(draw(st.integers(1, 40)))]
    if draw(st.integers(0, 3)) == 0:
        rows = ['"' + '","'.join(row.split(",")) + '"' for row in rows]
    if draw(st.integers(0, 3)) == 0:
        rows.insert(0, HEADS[format_id])
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = "utf-8" if format_id == "conox" else draw(st.sampled_from(["utf-8", "gb18030"]))
    data = end.join([*rows, ""]).encode(encoding)
    for _ in range(draw(st.integers(0, 4))):
        at, piece = chance.randrange(len(data) + 1), chance.choice(PIECES)
        data = data[:at] + piece + data[at + chance.choice([0, 0, 1, 3]):]
    return format_id, data, encoding


def layout_of(format_id: str, timezone: str = SHANGHAI, separator: str = ",") -> Layout:
    layout = Layout.of(get_format(format_id), split_header(HEADS[format_id]), timezone)
    return replace(layout, format=replace(layout.format, separator=separator))


def both_ways(data: bytes, layout: Layout, encoding: str, *, more_follows: bool,
              is_quote_free: bool) -> tuple[damaged.Damaged, damaged.Damaged]:
    """What the path says, and what it says where each cell, and each quote, is judged slowly."""
    chunk = Chunk(data, 1000, data[-1:] not in b"\r\n")
    head = HEADS[layout.format.id].encode()
    fast = damaged.read(chunk, layout, encoding, 7, head, more_follows=more_follows)
    with ExitStack() as patches:
        patches.enter_context(patch.object(Layout, "parse_lenient", lambda *_: None))
        patches.enter_context(patch.object(suspects, "_PASSES", 0))
        if not is_quote_free:
            patches.enter_context(patch.object(
                damaged, "are_simply_quoted", lambda _d, _q, _s, lines: np.zeros(len(lines), bool)))
        slow = damaged.read(chunk, layout, encoding, 7, head, more_follows=more_follows)
    return fast, slow


def as_text(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return a frame whose labels are text, as the judge gives them."""
    return frame.cast(dict.fromkeys(layout.labels, pl.String))


@pytest.mark.fuzz
@settings(max_examples=max(200, settings().max_examples), deadline=None)
@given(bodies(), st.sampled_from([0, 16, 10**6]), st.booleans(),
       st.sampled_from([SHANGHAI, LONDON]), st.sampled_from([",", ",", ";", "\t", "|"]))
def test_suspects_are_judged_and_the_others_need_not_be(
        body: tuple[str, bytes, str], many: int, more_follows: bool, timezone: str,
        separator: str) -> None:
    format_id, data, encoding = body
    if encoding == "utf-8":  # in GB18030 a bar may be half a character
        data = data.replace(b",", separator.encode())
    layout = layout_of(format_id, timezone, separator if encoding == "utf-8" else ",")
    with patch.object(suspects, "_MANY", many):
        fast, slow = both_ways(data, layout, encoding, more_follows=more_follows,
                               is_quote_free=True)
    assert_frame_equal(as_text(fast.frame, layout), as_text(slow.frame, layout), check_exact=True)
    assert_frame_equal(fast.quarantine, slow.quarantine)
    assert (fast.blank, fast.lines, fast.carry) == (slow.blank, slow.lines, slow.carry)


@pytest.mark.fuzz
@settings(deadline=None)
@given(bodies(), st.booleans())
def test_quotes_that_are_left_out_change_nothing(body: tuple[str, bytes, str],
                                                 more_follows: bool) -> None:
    """Only of several faults of one record may another be named."""
    format_id, data, encoding = body
    layout = layout_of(format_id)
    fast, slow = both_ways(data, layout, encoding, more_follows=more_follows, is_quote_free=False)
    assert_frame_equal(as_text(fast.frame, layout), as_text(slow.frame, layout), check_exact=True)
    assert_frame_equal(fast.quarantine.drop("reason"), slow.quarantine.drop("reason"))
    assert (fast.blank, fast.lines, fast.carry) == (slow.blank, slow.lines, slow.carry)


# --- what is fast ---------------------------------------------------------------------------------

ROW = "S1,2024-05-01 10:00:00,P1,5,1,diesel,,n"
BLANKS = "S1,2024-05-01 10:00:00,P1,,,,,"
ROWS = 64


def judged(monkeypatch: pytest.MonkeyPatch, text: str, format_id: str = "rsd",
           separator: str = ",") -> list[int]:
    """How many records each call of the judge was asked for, of a chunk read as a damaged one."""
    asked: list[int] = []
    real = cells.judge

    def counting(frame: pl.DataFrame, layout: Layout):
        asked.append(frame.height)
        return real(frame, layout)

    monkeypatch.setattr(cells, "judge", counting)
    monkeypatch.setattr(damaged, "join_quoted", None)  # no record is split one by one
    layout = layout_of(format_id, separator=separator)
    result = damaged.read(Chunk(text.encode(), 0), layout, "utf-8", 2, b"", more_follows=False)
    assert result.frame.height + result.quarantine.height == ROWS
    return asked


@pytest.mark.parametrize(
    "row",
    [ROW, BLANKS, ROW.replace(",", " , "), BLANKS.replace(",", " , "), ROW.replace(",", "\u3000,"),
     ROW.replace(",", ",\u00a0 "), '"' + ROW.replace(",", '","') + '"',
     BLANKS.replace("S1", '"S1"'), ROW.replace(" 10", "T10"), ROW.replace(":00,", ":00.25,"),
     ROW.replace(":00,", ":00Z,"), ROW.replace("n", "a\u3000b \u00a0 c")],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_all_records_share_makes_none_suspect(monkeypatch: pytest.MonkeyPatch, row: str,
                                                   end: str) -> None:
    assert judged(monkeypatch, (row + end) * ROWS) == []


@pytest.mark.parametrize("separator", ["\t", ";", "|"])
def test_a_separator_is_no_blank(monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    text = (BLANKS + "n\n").replace(",", separator) * ROWS
    assert judged(monkeypatch, text, separator=separator) == []


def test_null_texts_make_no_record_suspect(monkeypatch: pytest.MonkeyPatch) -> None:
    row = "A,2013-04-30 09:30:00,NA,NA,1.5,NA,NA,1,0.1,NA,0.1\n"
    assert judged(monkeypatch, row * ROWS, "conox") == []


@pytest.mark.parametrize(
    "row",
    [ROW.replace(",5,", ",abc,"), ROW.replace(",5,", ",x,"),
     ROW.replace(",5,", ",NaN,"), ROW.replace(",5,", ",５,"),
     ROW.replace(",5,", ", 5,"), ROW.replace(",1,", ",0.5,"), ROW.replace(",5,", ",NA,"),
     ROW.replace("05-01", "02-30"), ROW.replace("diesel,", "diesel,x"), ROW.replace("S1", ""),
     ROW.replace("P1", "P1\t"), ROW.replace(" 10", "T10"), ROW.replace(",5,", ",5\u3000\u200b,")],
)  # fmt: skip
def test_only_the_one_peculiar_record_is_judged(monkeypatch: pytest.MonkeyPatch,
                                                row: str) -> None:
    assert judged(monkeypatch, f"{ROW}\n" * 40 + f"{row}\n" + f"{BLANKS}\n" * (ROWS - 41)) == [1]


def test_a_mark_inside_a_dump_is_part_of_its_cell_wherever_chunks_begin() -> None:
    row = "S1,2024-05-01 10:00:00,P1,5,1,diesel,,n\n"
    data = (f"\ufeff{HEADS['rsd']}\n" + row * 3 + f"\ufeff{row}" * 3 + "x\n" + row).encode()
    for size in (None, 64, 101, 129):
        assert read(data, size=size).column("site_id") == ["S1"] * 3 + ["\ufeffS1"] * 3 + ["S1"]
