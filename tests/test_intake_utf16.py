"""UTF-16: not a byte is lost on the way to UTF-8 and back, and damage costs one record."""

from __future__ import annotations

import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intake_reading import Account, read

from rsd.intake import utf16
from rsd.intake.utf16 import BIG, LITTLE, Transcoder, evident, image, original, original_size

HEAD = "site_id,measured_at,plate,speed_km_h"
CODECS = [LITTLE, BIG]
# bytes that are units, surrogates, line ends and text, at any parity
BYTES = st.lists(st.sampled_from([b"\n", b"\r", b"\0", b"\n\0", b"\0\n", b"a\0", b"\0a", b"\xd8",
                                  b"\xdc", b"\xff", b"S\x001\0,\0", b"\0S\x001\0,", b"\x4e", b"1"]),
                 max_size=120).map(b"".join)


def transcoded(data: bytes, codec: str, size: int = 1 << 20) -> bytes:
    stream, parts = Transcoder(io.BytesIO(data), codec), []
    while part := stream.read(size):
        parts.append(part)
    return b"".join(parts)


def exact(account: Account, data: bytes) -> list[tuple[int, bytes]]:
    """Line and bytes of each quarantined record; they stand where it is said."""
    found = account.quarantine.select("line", "byte_offset", "raw").rows()
    assert all(data[offset:offset + len(raw)] == raw for _, offset, raw in found)
    return [(line, raw) for line, _, raw in found]


@given(st.one_of(BYTES, st.binary(max_size=300)), st.sampled_from(CODECS))
def test_any_bytes_have_one_image_that_gives_them_back(data: bytes, codec: str) -> None:
    text = transcoded(data, codec)
    assert original(text, codec) == data
    assert original_size(text) == len(data)


@given(st.one_of(BYTES, st.binary(max_size=300)), st.sampled_from(CODECS), st.integers(1, 90))
def test_the_image_does_not_depend_on_the_pieces(data: bytes, codec: str, size: int) -> None:
    assert transcoded(data, codec, size) == transcoded(data, codec)


@given(st.text(max_size=300), st.sampled_from(CODECS))
def test_the_image_of_text_is_the_text(text: str, codec: str) -> None:
    """Any text: what looks like a line end out of step is none where the text in step is better."""
    assert transcoded(text.encode(codec), codec) == text.encode()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x4FF), max_size=80),
       st.sampled_from(CODECS))
def test_units_that_look_like_line_ends_out_of_step_are_text(text: str, codec: str) -> None:
    """U+0A00 to U+0AFF before U+0100 hold a line end across the border of two units."""
    line = f"S1,2024-05-01,\u0a05\u4e00{text}\u0a0a\u0100 and so on, 1,2,3\n"
    assert transcoded(line.encode(codec), codec) == line.encode()


@pytest.mark.parametrize("codec", CODECS)
def test_utf16_is_evident_by_its_mark_or_its_zeros(codec: str) -> None:
    assert evident("\ufeff时间".encode(codec)) == codec
    assert evident(f"{HEAD}\n闽D12345,时间,一".encode(codec)) == codec
    assert evident("设备编号,监测时间,号牌\n35,2024-05-01 10:00,闽D1\n".encode(codec)) == codec
    for other in (b"", b"a", b"\0", f"{HEAD}\n时间".encode(), HEAD.encode("gb18030"),
                  b"a,b\n" + b"\0" * 3 + b"c,d\n" * 19, bytes(100), HEAD.encode("utf-32-le")):
        assert evident(other) is None, other


def dump(count: int = 9) -> str:
    rows = [f"S1,2024-05-01 10:00:0{k},闽D1234{k},5{k}" for k in range(count)]
    return "\n".join([HEAD, *rows]) + "\n"


SIZES = [None, 64, 101]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("piece", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_a_lone_surrogate_condemns_its_record(codec: str, piece: int, size: int | None) -> None:
    text = dump().replace("闽D12343", f"闽{chr(piece)}D12343")
    data = ("\ufeff" + text).encode(codec, "surrogatepass")
    account = read(data, size=size)
    record = text.splitlines()[4]
    assert exact(account, data) == [(5, record.encode(codec, "surrogatepass"))]
    assert account.bad[0][1] == "not_text"
    assert account.accepted == [2, 3, 4, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_lost_byte_costs_one_record(codec: str, size: int | None, end: str) -> None:
    """Wherever it was: what follows stands out of step, and comes back into it at a line end."""
    text = dump(6).replace("\n", end)
    whole = ("\ufeff" + text).encode(codec)
    lines = text.splitlines(keepends=True)
    start = 2 + len("".join(lines[:3]).encode(codec))
    length = len(lines[3].rstrip().encode(codec))
    for at in (*range(start, start + 5), *range(start + 5, start + length, 11), start + length - 1):
        data = whole[:at] + whole[at + 1:]
        account = read(data, size=size)
        assert exact(account, data) == [(4, data[start:start + length - 1])], at - start
        assert account.accepted == [2, 3, 5, 6, 7]


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_lost_in_several_records_cost_those(codec: str) -> None:
    lines = [line.encode(codec) for line in ("\ufeff" + dump()).splitlines(keepends=True)]
    for k in (2, 3, 7):
        lines[k] = lines[k][:9] + lines[k][10:]
    data = b"".join(lines)
    account = read(data, size=64)
    assert [line for line, _ in exact(account, data)] == [3, 4, 8]
    assert account.accepted == [2, 5, 6, 7, 9, 10]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", CODECS)
def test_an_odd_byte_at_the_end_is_a_torn_record(codec: str, size: int | None) -> None:
    for text, accepted in ((dump(3), [2, 3, 4]), (dump(3)[:-1], [2, 3])):
        data = ("\ufeff" + text).encode(codec) + b"7"
        account = read(data, size=size)
        ((line, raw),) = exact(account, data)
        assert (line, raw[-1:], account.accepted) == (max(accepted) + 1, b"7", accepted)
        assert account.bad[0][1] == "torn_last_record"


@pytest.mark.parametrize("codec", CODECS)
def test_the_header_alone_and_no_mark(codec: str) -> None:
    assert read((HEAD + "\n").encode(codec)).frame.is_empty()
    assert read(dump().encode(codec)).frame.height == 9


def test_places_are_found_by_arrays() -> None:
    text = "é,a\n\U0001f600b\nc\n".encode()
    bad = pl.DataFrame({"byte_offset": [105, 111], "raw": [text[5:10], text[11:12]]})
    found = utf16.located(bad, text, 100, 1000, LITTLE)
    assert found["byte_offset"].to_list() == [1000 - 12, 1000 - 4]
    assert found["raw"].to_list() == ["\U0001f600b".encode(LITTLE), b"c\0"]
    assert utf16.located(bad.clear(), b"", 0, 0, LITTLE).is_empty()


def test_an_image_is_plain_text_where_all_is_well() -> None:
    assert image("闽D".encode(BIG), BIG) == "闽D".encode()
