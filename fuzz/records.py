"""Arbitrary bytes behind a header: the account is the counter's, the cells are those of the bytes.

Whatever the chunks, and whether a chunk is proven whole or read record by record, it is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import counter
from intake_reading import Account, assert_exact, read
from polars.testing import assert_frame_equal

from fuzz.draw import Draw
from rsd.intake.records import Reader

HEAD = b"site_id,measured_at,plate,speed_km_h,ringelmann,first_registered,note\n"
KINDS = {"site_id": "required", "measured_at": "time", "plate": "text", "speed_km_h": "number",
         "ringelmann": "whole", "first_registered": "date"}
MARK = b"\xef\xbb\xbf"
GOOD = b"S1,2024-05-01 10:00:00,P11111,50.5,3,2019-02-28,x\n"
VALUES = ("3.7", "0x10", "1_000", "NaN", "inf", "-inf", "1e400", "1e-400", " 5", "5 ", "５０．５",
          "５²",
          "-0", "+1", ".5", "5.", "1e3", "1E+3", "0.1.2", "--1", "１e3", "٣", "1,5", "infinity",
          "nan", "1e", "\u30005", "5\u00a0", "\x1c5", "5\x1f", "007", "9" * 30, "9" * 400, "\ufffd")
TIMES = ("2024-02-30 10:00:00", "2024-05-01T10:00:00", "2024-05-01 10:00:00.5",
         "1949-12-31 23:59:59",
         "2199-12-31 23:59:59.999999999", "2200-01-01 00:00:00", "2024-05-01 24:00:00",
         "2024-05-01 10:00:60", "2024-5-1 10:00:00", "2024-05-01 10:00", "２024-05-01 10:00:00",
         "1986-05-04 00:30:00", "1991-04-14 00:30:00", "2024-05-01\t10:00:00")
WORDS = (b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b" ", b"\t", b'","', b"\n\n",
         HEAD,
         b"Total,3\n", b"2024-05-01 10:00:00", b"2019-02-29", "闽D12345".encode(),
         "闽".encode("gb18030"), "\u3000".encode(), "\u00a0".encode(), "\ufffd".encode(),
         *(v.encode() for v in (*VALUES, *TIMES) if len(v) < 40))


def seeds() -> Iterator[bytes]:
    """Clean and damaged dumps: each trap of values and times in its own record."""
    yield bytes([0, 0, 0]) + GOOD * 3
    yield bytes([1, 1, 9]) + (GOOD * 3).replace(b"\n", b"\r\n")
    yield bytes([0, 0, 40]) + (GOOD * 3).replace(b"\n", b"\r")
    wide = "桥,2024-05-01 10:00:01,闽D12345,,,,\n".encode("gb18030")
    yield bytes([1, 0, 200]) + GOOD + wide * 2
    quoted = b'"S,2",2024-05-01 10:00:00,"two\r\nlines",1,,,"a, ""b"""\n'
    yield bytes([0, 0, 3]) + GOOD + quoted + GOOD
    stray = b'S1,2024-05-01 10:00:00,"P,1,,,\n'
    yield bytes([0, 0, 5]) + GOOD + stray + GOOD + b"S1\n\n \t\n" + HEAD
    yield bytes([0, 0, 90]) + GOOD + GOOD.replace(b"P1", b"\0") + GOOD[:-3]
    for k, value in enumerate(VALUES):
        yield bytes([k % 2, k, k // 2]) + GOOD + GOOD.replace(b"50.5", value.encode())
    for old, new in ((b",3,", [f",{v}," for v in VALUES]), (b"S1", VALUES), (b"P11111", VALUES),
                     (b"2024-05-01 10:00:00", TIMES), (b"2019-02-28", [t[:10] for t in TIMES])):
        yield bytes(3) + b"".join(GOOD.replace(old, v.encode()) for v in new)


def check(data: bytes) -> None:
    """Count, place and value of every record; then the same in other chunks and the other path."""
    draw = Draw(data)
    has_mark, is_cut, size = draw.below(2) == 0, draw.below(2) == 0, 64 + 4 * draw.below(256)
    dump = (MARK if has_mark else b"") + HEAD + draw.rest()
    account = read(dump)
    assert_exact(account, dump)
    assert_counted(account, dump)
    if is_cut:
        assert_same(read(dump, size=size), account)
    else:
        with patch.object(Reader, "_prove", lambda _self, _chunk: None):
            assert_same(read(dump), account)


def assert_counted(account: Account, dump: bytes) -> None:
    """Accepted and quarantined records, and each accepted cell, are the counter's."""
    wanted = counter.count(dump, KINDS)
    assert account.accepted == wanted.accepted
    assert account.quarantine.select("line", "byte_offset", "raw").rows() == wanted.bad
    assert account.blank == len(wanted.blank)
    assert account.frame.height + account.quarantine.height == wanted.records
    for row in account.frame.iter_rows(named=True):
        cells = wanted.cells[row["source_line"]][1]
        assert row["site_id"] == cells["site_id"]
        assert row["plate"] == (cells["plate"] or None)
        assert row["speed_km_h"] == counter.number(cells["speed_km_h"])
        assert row["ringelmann"] == counter.number(cells["ringelmann"])


def assert_same(found: Account, wanted: Account) -> None:
    """Nothing of an account may depend on how it was read."""
    assert_frame_equal(found.frame, wanted.frame, check_exact=True)
    assert_frame_equal(found.quarantine.drop("reason"), wanted.quarantine.drop("reason"))
    assert found.blank == wanted.blank
