"""The two paths of a chunk, proven whole or record by record, say the same of the same bytes."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_reading import SHANGHAI, read
from polars.testing import assert_frame_equal

from rsd.columns import REPORTED, schema
from rsd.intake import damaged
from rsd.intake.chunks import Chunk
from rsd.intake.formats import get_format, split_header
from rsd.intake.layout import Layout
from rsd.intake.passes import to_reported

HEADS = {
    "rsd": "site_id,measured_at,plate,speed_km_h,ringelmann,fuel,first_registered,note",
    "cn_platform": "dwbh,jcsj,hphm,clsd,lgmhd,rlzl,csys,jcdwrzh",
    "conox": "Site,PassageTime,VehicleMake,SpeedKPH,RoadGrade,FuelType,Instrument,ConoxID,"
             "Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2",
}  # fmt: skip
EXAMPLES = max(200, settings().max_examples)

spaces = st.sampled_from(["", "", "", "", " ", "  ", "\u3000", "\u00a0"])
names = st.text(st.sampled_from("aZ09-桥闽é"), min_size=1, max_size=6)
numbers = st.one_of(
    st.sampled_from(["", "-999", "9999", "65535", "5.", ".5", "1e3", "+1", "-0", "007"]),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.3f}"),
)
wholes = st.sampled_from(["", "0", "3", "5.0", "-1", "9999"])
times = st.datetimes(datetime(1950, 1, 1), datetime(2199, 12, 31)).map(
    lambda t: t.isoformat(" ", "seconds"))
codes = st.sampled_from(["", "A", "B", "diesel", "gasoline", "PETROL", "??", "NO DATA"])
dates = st.one_of(st.just(""), st.dates().filter(lambda d: d.year >= 1000).map(str))
notes = st.one_of(st.just(""), names, st.sampled_from(["0x10", "NaN", "a b", "1_000"]))
CELLS = {
    "rsd": (names, times, st.one_of(st.just(""), names), numbers, wholes, codes, dates, notes),
    "cn_platform": (names, times, st.one_of(st.just(""), names), numbers, wholes, codes, notes,
                    notes),
    "conox": (names, times, names, *[st.one_of(st.just("NA"), numbers)] * 2, codes,
              st.one_of(st.just("NA"), names), st.integers(0, 10**6).map(str),
              *[st.one_of(st.just("NA"), numbers)] * 3),
}  # fmt: skip


@st.composite
def clean_dumps(draw: st.DrawFn) -> tuple[str, bytes]:
    """A format and the bytes of a dump in it: not one record is damaged."""
    format_id = draw(st.sampled_from(sorted(HEADS)))
    padded = [st.tuples(spaces, cell, spaces).map("".join) for cell in CELLS[format_id]]
    records = draw(st.lists(st.tuples(*padded), min_size=1, max_size=8))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join([HEADS[format_id], *(",".join(r) for r in records), ""])
    encodings = ["utf-8-sig", "utf-8"] if format_id == "conox" else ["utf-8-sig", "gb18030"]
    return format_id, text.encode(draw(st.sampled_from(encodings)))


def record_by_record(format_id: str, data: bytes) -> tuple[pl.DataFrame, damaged.Damaged]:
    """The reported passes of a dump that is forced through the path for damaged chunks."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    layout = Layout.of(get_format(format_id), split_header(HEADS[format_id]), SHANGHAI)
    head = HEADS[format_id].encode()
    length = len(head) + (2 if text[len(head):len(head) + 2] == b"\r\n" else 1)
    chunk = Chunk(text[length:], len(data) - len(text) + length)
    encoding = "utf-8" if data != text or format_id == "conox" else "gb18030"
    result = damaged.read(chunk, layout, encoding, 2, head, more_follows=False)
    return to_reported(result.frame, layout).cast(dict(schema(REPORTED))), result


@settings(max_examples=EXAMPLES)
@given(clean_dumps())
def test_both_paths_give_the_same_frame(dump: tuple[str, bytes]) -> None:
    format_id, data = dump
    account = read(data, format_id=format_id)
    slow, result = record_by_record(format_id, data)
    assert_frame_equal(account.frame, slow, check_exact=True)
    assert account.quarantine.is_empty()
    assert result.quarantine.is_empty()
    assert account.blank == result.blank == 0
    assert account.accepted == list(range(2, 2 + account.frame.height))


@given(clean_dumps())
def test_damage_beside_a_record_changes_nothing_of_it(dump: tuple[str, bytes]) -> None:
    format_id, data = dump
    clean = read(data, format_id=format_id)
    beside = read(data + b"\n" + b"one cell\n", format_id=format_id)
    assert_frame_equal(clean.frame, beside.frame, check_exact=True)
    assert beside.quarantine.height == 1


def test_the_fast_path_is_taken_where_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AssertionError("a clean chunk went record by record")

    monkeypatch.setattr(damaged, "read", broken)
    row = "S1,2024-05-01 10:00:00,闽D12345,5.5,1,diesel,2020-01-31,x y\r\n"
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        data = (HEADS["rsd"] + "\r\n" + row * 50).encode(encoding)
        assert read(data, size=400).frame.height == 50


def test_the_reader_works_one_chunk_ahead_and_stays_in_order() -> None:
    rows = [f"S1,2024-05-01 10:00:{k % 60:02d},P{k},{k},1,diesel,,n" for k in range(300)]
    for k in range(0, 300, 17):
        rows[k] = "broken"
    account = read("\n".join([HEADS["rsd"], *rows, ""]).encode(), size=200)
    assert account.accepted == [k + 2 for k in range(300) if k % 17]
    assert [line for line, *_ in account.bad] == [k + 2 for k in range(0, 300, 17)]
    assert account.column("speed_km_h") == [float(k) for k in range(300) if k % 17]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_each_line_that_is_no_text_is_found_wherever_it_stands(
        encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damaged, "_DECODED_BYTES", 150)
    rows = [f"桥,2024-05-01 10:00:{k % 60:02d},闽{k},{k},1,diesel,,n".encode(encoding)
            for k in range(100)]
    for k in (0, 3, 4, 31, 50, 51, 99):
        rows[k] += b"\xff"
    data = b"\n".join([HEADS["rsd"].encode(), *rows, b""])
    account = read(data)
    assert account.bad == [(k + 2, "not_text", None) for k in (0, 3, 4, 31, 50, 51, 99)]
    assert account.column("plate") == [f"闽{line - 2}" for line in account.accepted]
