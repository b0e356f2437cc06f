"""Whole dumps through the reader: header, structure, hostile bytes, chunk borders."""

from __future__ import annotations

import pytest
from intake_reading import SIZES, Account, assert_exact, read

from rsd.errors import InputRefused

HEAD = b"site_id,measured_at,plate,speed_km_h\n"
A = b"S1,2024-05-01 10:00:00,P11111,50.5\n"
B = b"S1,2024-05-01 10:00:01,P22222,51.5\n"
C = b"S1,2024-05-01 10:00:02,P33333,0.25\n"

by_size = pytest.mark.parametrize("size", SIZES, ids=lambda s: f"chunk {s or 'whole'}")


def exact(data: bytes, size: int | None, **how: str) -> Account:
    account = read(data, size=size, **how)
    assert_exact(account, data)
    assert account.frame["site_id"].null_count() == 0
    assert account.frame["measured_local"].null_count() == 0
    return account


def outcome(account: Account) -> tuple[list[int], list[tuple[int, str, str | None]], int]:
    return account.accepted, account.bad, account.blank


@by_size
def test_clean_records_are_all_accepted(size: int | None) -> None:
    account = exact(HEAD + A + B + C, size)
    assert outcome(account) == ([2, 3, 4], [], 0)
    assert account.column("speed_km_h") == [50.5, 51.5, 0.25]
    assert account.column("plate") == ["P11111", "P22222", "P33333"]


# --- the hostile table: each row of it, with what is wanted --------------------------------------

HOSTILE = {
    "lone CR line ends": ((HEAD + A + B).replace(b"\n", b"\r"), [2, 3], [], 0),
    "CRLF line ends": ((HEAD + A + B).replace(b"\n", b"\r\n"), [2, 3], [], 0),
    "mixed line ends": (HEAD.replace(b"\n", b"\r\n") + A + B.replace(b"\n", b"\r")
                        + C.replace(b"\n", b"\r\n") + A, [2, 3, 4, 5], [], 0),
    "short row": (HEAD + A + b"S1,2024-05-01 10:00:01,P\n" + C, [2, 4],
                  [(3, "wrong_field_count", None)], 0),
    "long row": (HEAD + A + b"S1,2024-05-01 10:00:01,P,1,2\n" + C, [2, 4],
                 [(3, "wrong_field_count", None)], 0),
    "a short and a long row": (HEAD + b"S1,2024-05-01 10:00:01,P\n"
                               + b"S1,2024-05-01 10:00:01,P,1,2\n" + C, [4],
                               [(2, "wrong_field_count", None), (3, "wrong_field_count", None)], 0),
    "a short and a long row behind a good one": (
        HEAD + A + b"S1,2024-05-01 10:00:01,P\n" + b"S1,2024-05-01 10:00:01,P,1,2\n" + C, [2, 5],
        [(3, "wrong_field_count", None), (4, "wrong_field_count", None)], 0),
    "a long and a short row": (
        HEAD + A + b"S1,2024-05-01 10:00:01,P,1,2\n" + b"S1,2024-05-01 10:00:01,P\n" + C, [2, 5],
        [(3, "wrong_field_count", None), (4, "wrong_field_count", None)], 0),
    "a long and a blank row": (HEAD + A + b"\n" + b"S1,2024-05-01 10:00:01,P,1,,,,\n" + C, [2, 5],
                               [(4, "wrong_field_count", None)], 1),
    "unbalanced quote": (HEAD + A + b'S1,2024-05-01 10:00:01,"P22222,51.5\n' + C, [2, 4],
                         [(3, "unbalanced_quote", None)], 0),
    "unbalanced quote in the last record": (
        HEAD + A + B + b'S1,2024-05-01 10:00:01,"P22222,51.5\n', [2, 3],
        [(4, "unbalanced_quote", None)], 0),
    "stray quote inside a field": (HEAD + A + b'S1,2024-05-01 10:00:01,P22"22,51.5\n', [2, 3], [],
                                   0),
    "quoted fields": (HEAD + b'"S1","2024-05-01 10:00:00","P,""1","50.5"\n' + B, [2, 3], [], 0),
    "quoted line end": (HEAD + b'S1,2024-05-01 10:00:00,"P1\r\n2\n3",50.5\n' + B, [2, 5], [], 0),
    "bad UTF-8": (HEAD + A.replace(b"P11111", "闽D1".encode()) + B.replace(b"P22222", b"P\xff"),
                  [2], [(3, "not_text", None)], 0),
    "GBK line in a UTF-8 file": (HEAD + A.replace(b"P11111", "闽D1".encode())
                                 + B.replace(b"P22222", "闽D1".encode("gbk")), [2],
                                 [(3, "not_text", None)], 0),
    "NUL byte": (HEAD + A + B.replace(b"P2", b"\0P"), [2], [(3, "nul_byte", None)], 0),
    "NUL in a quoted field": (HEAD + A + B.replace(b"P22222", b'"P\0\n2"'), [2],
                              [(3, "nul_byte", None)], 0),
    "a line of NULs": (HEAD + A + b"\0" * 70 + b"\n" + B, [2, 4], [(3, "nul_byte", None)], 0),
    "blank line": (HEAD + A + b"\n" + B, [2, 4], [], 1),
    "blank lines everywhere": (HEAD + b"\n\r\n" + A + b"  \t\n\n" + B + b"\r\n\n", [4, 7], [], 6),
    "a long line of blanks": (HEAD + A + b" " * 300 + b"\n" + B, [2, 4], [], 1),
    "last line cut": (HEAD + A + b"S1,2024-05-01 10:00:02,P33333,0.", [2],
                      [(3, "torn_last_record", None)], 0),
    "last line without its end": (HEAD + A + B[:-1], [2], [(3, "torn_last_record", None)], 0),
    "last record with quotes torn": (HEAD + A + B[:-1].replace(b"P22222", b'"P2"'), [2],
                                     [(3, "torn_last_record", None)], 0),
    "last record over two lines torn": (HEAD + A + B[:-1].replace(b"P22222", b'"P\n2"'), [2],
                                        [(3, "torn_last_record", None)], 0),
    "torn and NUL over two lines": (HEAD + A + B[:-1].replace(b"P22222", b'"P\0\n2"'), [2],
                                    [(3, "nul_byte", None)], 0),
    "torn in its quote": (HEAD + A + b'S1,2024-05-01 10:00:01,"P22', [2],
                          [(3, "unbalanced_quote", None)], 0),
    "blanks without a line end": (HEAD + A + b"   ", [2], [], 1),
    "header repeated": (HEAD + A + HEAD + B, [2, 4], [(3, "repeated_header", None)], 0),
    "header repeated at once": (HEAD + HEAD + B, [3], [(2, "repeated_header", None)], 0),
    "header repeated in capitals": (HEAD + A + HEAD.upper() + B, [2, 4],
                                    [(3, "impossible_time", "measured_at")], 0),
    "header repeated behind a mark": (HEAD + A + b"\xef\xbb\xbf" + HEAD + B, [2, 4],
                                      [(3, "impossible_time", "measured_at")], 0),
    "footer": (HEAD + A + b"Total,1,,50.5\n", [2], [(3, "impossible_time", "measured_at")], 0),
    "footer of one cell": (HEAD + A + b"2 rows\n", [2], [(3, "wrong_field_count", None)], 0),
    "rubbish": (HEAD + A + b"\x01\x02\x7f\x1b[31m\n" + B, [2, 4],
                [(3, "wrong_field_count", None)], 0),
}  # fmt: skip


@by_size
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_bytes(case: str, size: int | None) -> None:
    data, accepted, bad, blank = HOSTILE[case]
    assert outcome(exact(data, size)) == (accepted, bad, blank)


def test_a_wrong_number_of_fields_says_which() -> None:
    reasons = read(HEAD + b"a,b\n" + b"a,b,c,d,e\n").quarantine["reason"].to_list()
    assert reasons == ["wrong_field_count (found 2, expected 4)",
                       "wrong_field_count (found 5, expected 4)"]


def test_quarantine_keeps_bytes_line_and_offset() -> None:
    torn = b'S1,2024-05-01 10:00:01,"P\r\n2",51.5'
    bad = "S1,2024-05-01 10:00:01,\u95fd,x".encode()
    account = exact(HEAD + A + bad + b"\r\n" + b"\n" + torn, 64)
    at = len(HEAD + A)
    rows = account.quarantine.select("line", "byte_offset", "raw", "file").rows()
    assert rows == [(3, at, bad, "dump.csv"), (5, at + len(bad) + 3, torn, "dump.csv")]
    assert set(account.quarantine["source_sha256"]) == {account.reader.source.sha256}


@pytest.mark.parametrize("size", [None, 1 << 16])
@pytest.mark.parametrize("quote", [b"", b'"'], ids=["plain", "quoted"])
def test_a_field_above_a_mebibyte_costs_its_record(size: int | None, quote: bytes) -> None:
    huge = B.replace(b"P22222", quote + b"x" * (3 << 20) + quote)
    account = exact(HEAD + A + huge + C, size)
    assert (account.accepted, [line for line, *_ in account.bad]) == ([2, 4], [3])


@pytest.mark.parametrize("quote", [b"", b'"'], ids=["plain", "quoted"])
def test_a_field_below_a_mebibyte_is_a_field(quote: bytes) -> None:
    large = B.replace(b"P22222", quote + b"x" * 200_000 + quote)
    assert exact(HEAD + A + large + C, None).accepted == [2, 3, 4]


# --- encodings -----------------------------------------------------------------------------------

FOUR_BYTES = "\U00020087"  # GB18030 writes it in four bytes, two of them ASCII digits


@by_size
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_both_encodings_and_the_mark(encoding: str, size: int | None) -> None:
    text = "site_id,measured_at,plate,speed_km_h\r\n" + "".join(
        f"桥{k},2024-05-01 10:00:{k:02d},闽D{FOUR_BYTES}{k},{k}.5\r\n" for k in range(12))
    account = exact(text.encode(encoding), size)
    assert account.accepted == list(range(2, 14))
    assert account.column("site_id") == [f"桥{k}" for k in range(12)]
    assert account.column("plate") == [f"闽D{FOUR_BYTES}{k}" for k in range(12)]
    assert account.column("speed_km_h") == [k + 0.5 for k in range(12)]


@by_size
def test_a_damaged_gb18030_file_keeps_its_other_records(size: int | None) -> None:
    row = "桥,2024-05-01 10:00:00,闽D1,5\n".encode("gb18030")
    data = HEAD + row * 3 + row.replace(b",5", b"\xff,5") + row * 2 + row.replace(b"D1", b"\xb0")
    account = exact(data + row, size)
    assert account.accepted == [2, 3, 4, 6, 7, 9]
    assert [b[:2] for b in account.bad] == [(5, "not_text"), (8, "not_text")]
    assert set(account.column("plate")) == {"闽D1"}


@by_size
def test_the_mark_decides_for_utf_8(size: int | None) -> None:
    data = b"\xef\xbb\xbf" + HEAD + A + B.replace(b"P2", "闽".encode("gb18030"))
    assert outcome(exact(data, size)) == ([2], [(3, "not_text", None)], 0)


@pytest.mark.parametrize(("gbk", "utf_8", "encoding"), [(3, 2, "gb18030"), (2, 3, "utf-8"),
                                                        (2, 2, "utf-8"), (1, 0, "gb18030")])
def test_most_lines_decide_the_encoding(gbk: int, utf_8: int, encoding: str) -> None:
    row = "S1,2024-05-01 10:00:00,闽,5\n"  # neither encoding's bytes are text in the other
    data = HEAD + A * 5 + row.encode("gb18030") * gbk + row.encode() * utf_8
    account = exact(data, None)
    right, wrong = (utf_8, gbk) if encoding == "utf-8" else (gbk, utf_8)
    assert account.column("plate").count("闽") == right
    assert [b[1] for b in account.bad] == ["not_text"] * wrong


def test_conox_is_never_gb18030() -> None:
    head = b"ConoxID,Site,PassageTime,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2\n"
    row = b"1,A,2012-05-21 11:00:00,0.1,0.1,0.1\n"
    data = head + row + row.replace(b",A,", "桥".encode("gb18030").join([b",", b","]))
    assert outcome(read(data)) == ([2], [(3, "not_text", None)], 0)


@pytest.mark.parametrize("times", range(5))
def test_one_damaged_line_at_the_start_does_not_decide_the_encoding(times: int) -> None:
    """The file is UTF-8 but for one line; where chunks end must not change that."""
    good = "S1,2024-05-01 10:00:00,闽D12345,5\n".encode()
    data = HEAD + A * 2 + B.replace(b"P22222", b"P\xb0\xa1") + A * 3 + good * (6 + times)
    whole = exact(data, None)
    assert [line for line, *_ in whole.bad] == [4]
    for size in (64, 101):
        account = exact(data, size)
        assert account.bad == whole.bad
        assert account.frame.equals(whole.frame)


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b""])
def test_a_header_alone_is_a_file_of_no_record(end: bytes) -> None:
    account = read(HEAD[:-1] + end)
    assert outcome(account) == ([], [], 0)
    assert account.reader.format.id == "rsd"


def test_columns_are_matched_by_name_in_any_order_and_case() -> None:
    plain = read(HEAD + A)
    turned = read(b"SPEED_KM_H,Plate, measured_at ,Site_ID\n50.5,P11111,2024-05-01 10:00:00,S1\n")
    assert turned.frame.equals(plain.frame)


def test_unknown_columns_are_ignored_and_named() -> None:
    names = b"site_id,weather,measured_at,speed_km_h,,NOTE\n"
    account = read(names + b"S1,abc,2024-05-01 10:00:00,5,,\n")
    assert account.accepted == [2]
    assert account.reader.layout.ignored == ["weather", "note"]


def test_an_ignored_column_may_hold_anything_but_must_be_text() -> None:
    head = b"site_id,measured_at,speed_km_h,note\n"
    row = b"S1,2024-05-01 10:00:00,5,"
    account = read(head + row + b"NaN\n" + row + b"0x10\n" + row + b"\xff\n" + row + b"\0\n")
    assert account.accepted == [2, 3]
    assert [b[:2] for b in account.bad] == [(4, "not_text"), (5, "nul_byte")]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"site_id,plate,speed_km_h\n" + A, "required column"),
        (b"a,b,c\n1,2,3\n", "no known format"),
        (b"\n" + HEAD + A, "no known format"),
        (b"site_id,measured_at,plate,Plate\n", "stands twice"),
        (b"site_id,measured\0_at,plate\n" + A, "no header"),
        ("site_id,measured_at\n".encode("utf-32"), "no header"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 60, "no known format"),
        (b"site_id,measured_at,\xff\xff\n", "no text"),
        (b"PK\x03\x04" + b"\0" * 30, "zip archive is broken"),
        (b"a" * 200_000 + b"\n1\n", "no known format|no header"),
        (b"a," * 90_000 + b"\n1\n", "no known format|no header|twice"),
        (b'"' + b"a" * 200_000 + b'",b\n1\n', "no known format|no header"),
        (b"a" * (2 << 20) + b"\n1\n", "no header"),
        (b"\xef\xbb\xbf", "no known format"),
        (b"(\xb5/\xfd\x04\x00zst", "no text|no header|zst"),
    ],
    ids=lambda x: repr(x[:24]) if isinstance(x, bytes) else "",
)
def test_a_file_that_is_no_dump_is_refused_in_a_sentence(data: bytes, what: str) -> None:
    with pytest.raises(InputRefused, match=what) as caught:
        read(data)
    assert "dump.csv" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_another_order_of_the_same_refusal_when_a_format_is_forced() -> None:
    with pytest.raises(InputRefused, match="format cn_platform is missing"):
        read(HEAD + A, format_id="cn_platform")


@pytest.mark.parametrize("more", [b"", b"x\n"], ids=["clean", "damaged"])
def test_a_dump_without_any_number_is_read(more: bytes) -> None:
    data = b"site_id,measured_at,plate\nS1,2024-05-01 10:00:00,P\n" + more
    assert read(data).accepted == [2]


def test_many_columns_are_no_trouble() -> None:
    names = b",".join(b"x%d" % k for k in range(9_997))
    row = b"S1,2024-05-01 10:00:00,5" + b"," * 9_997 + b"\n"
    account = read(b"site_id,measured_at,speed_km_h," + names + b"\n" + row)
    assert account.accepted == [2]
    assert len(account.reader.layout.ignored) == 9_997


# --- quotes over chunk borders -------------------------------------------------------------------


@by_size
def test_a_quoted_record_may_lie_over_many_chunks(size: int | None) -> None:
    body = b"\n".join(b"line %d" % k for k in range(40))
    data = HEAD + A + B.replace(b"P22222", b'"' + body + b'"') + C
    account = exact(data, size)
    assert account.accepted == [2, 3, 43]
    assert account.column("plate")[1] == body.decode()


@by_size
def test_a_stray_quote_costs_one_record_however_long_the_file_is(size: int | None) -> None:
    data = HEAD + A + B.replace(b"P2", b'"P') + A * 150
    account = exact(data, size)
    assert account.accepted == [2, *range(4, 154)]
    assert [b[:2] for b in account.bad] == [(3, "unbalanced_quote")]


@by_size
def test_a_stray_quote_closed_by_a_later_one_costs_two(size: int | None) -> None:
    data = HEAD + A + B.replace(b"P2", b'"P') + A * 5 + B.replace(b"P2", b'"P') + C
    account = exact(data, size)
    assert account.accepted == [2, 4, 5, 6, 7, 8, 10]
    assert [line for line, *_ in account.bad] == [3, 9]


@pytest.mark.parametrize(("province", "others"), [("鲁", 0), ("豫", 0), ("鲁", 5)])
def test_the_two_provinces_whose_gb18030_is_utf_8_too(province: str, others: int) -> None:
    plates = [f"{province}A{k:05d}" for k in range(45)] + [f"京A{k:05d}" for k in range(others)]
    rows = [f"A3500000010120260102{k:06d},A350000001,2026-01-02 10:00:{k:02d},{plate},0"
            for k, plate in enumerate(plates)]
    text = "\n".join(["jlbh,dwbh,jcsj,hphm,cpys", *rows, ""])
    account = read(text.encode("gb18030"))
    assert account.bad == []
    assert account.frame["plate"].to_list() == plates


def test_a_stray_quote_in_a_short_line_swallows_no_record() -> None:
    data = (b'record_id,site_id,measured_at,plate,co_pct\n1,"S1\n2,S2,2024-01-02 03:04:02,B,1\n'
            b'3,S3",2024-01-02 03:04:03,C,1\n')
    account = read(data)
    assert [line for line, *_ in account.bad] == [2]
    assert account.frame["record_id"].to_list() == ["2", "3"]


def test_half_a_character_of_gb18030_is_no_separator() -> None:
    rows = [f"点珅|2026-01-02 10:00:{k % 60:02d}|{k}" for k in range(20)]
    text = "\n".join(["site_id|measured_at|record_id", *rows, "short", ""])
    account = read(text.encode("gb18030"))
    assert (account.frame.height, [line for line, *_ in account.bad]) == (20, [22])
