"""What must hold for any bytes: every line is accounted for, exactly as an independent count does.

Clean dumps are made, then damaged at random. The engine's account must be that of `counter`, which
reads the rules byte by byte, and must not depend on where chunks end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import counter
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from intake_reading import Account, assert_exact, read
from polars.testing import assert_frame_equal

from rsd.errors import InputRefused

HEAD = "site_id,measured_at,plate,speed_km_h,ringelmann,first_registered,note"
KINDS = {"site_id": "required", "measured_at": "time", "plate": "text", "speed_km_h": "number",
         "ringelmann": "whole", "first_registered": "date"}
EXAMPLES = max(200, settings().max_examples)
START = datetime(2024, 5, 1, 10)

# 0xff and 0xfe are never UTF-8 and make no UTF-8 of what stands beside them: so the encoding stays
# evident
PIECES = [b'"', b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xfe", b" ", b"7", b"6", b"x",
          b"_", b'""', b'","', b"\n\n", b"\t", HEAD.encode() + b"\n", b"Total,3\n", b"\n  \n"]


@st.composite
def rows(draw: st.DrawFn) -> str:
    time = START + timedelta(seconds=draw(st.integers(0, 10**7)))
    speed = draw(st.sampled_from(["", "50.5", "7", "-3.25", "1e2"]))
    grade = draw(st.sampled_from(["", "0", "5", "2.0"]))
    date = draw(st.sampled_from(["", "2019-02-28"]))
    note = draw(st.sampled_from(["", "x", '"a, ""b"""', '"two\r\nlines"', 'a"b', '" "']))
    site = draw(st.sampled_from(["S1", "桥", '"S,2"']))
    plate = f"闽赣{draw(st.integers(0, 99))}"
    return f"{site},{time:%Y-%m-%d %H:%M:%S},{plate},{speed},{grade},{date},{note}"


@st.composite
def clean_dumps(draw: st.DrawFn) -> bytes:
    records = draw(st.lists(rows(), min_size=1, max_size=10))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    text = end.join([HEAD, *records, ""])
    return text.encode(draw(st.sampled_from(["utf-8-sig", "gb18030"])))


@st.composite
def damaged_dumps(draw: st.DrawFn) -> bytes:
    """A dump whose header line is whole; its other bytes were damaged in up to eight places."""
    data = draw(clean_dumps())
    head = data.index(HEAD.encode()) + len(HEAD)
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["insert", "insert", "replace", "delete", "cut", "double"]))
        at = draw(st.integers(head, len(data)))
        piece = draw(st.sampled_from(PIECES))
        if kind == "insert":
            data = data[:at] + piece + data[at:]
        elif kind == "replace":
            data = data[:at] + piece + data[at + 1:]
        elif kind == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 3)):]
        elif kind == "double":
            lines = data[head:].splitlines(keepends=True)
            k = draw(st.integers(0, len(lines) - 1)) if lines else 0
            data = data[:head] + b"".join([*lines[:k + 1], *lines[k:]])
        elif draw(st.booleans()):
            data = data[:at]
    tail = data[head:head + 1]
    assume(tail in (b"\n", b"\r", b""))  # the header stays what it was
    return data


def assert_counted(account: Account, data: bytes) -> None:
    wanted = counter.count(data, KINDS)
    assert account.accepted == wanted.accepted
    bad = account.quarantine.select("line", "byte_offset", "raw").rows()
    assert bad == wanted.bad
    assert account.blank == len(wanted.blank)
    assert account.frame.height + account.quarantine.height == wanted.records


@given(clean_dumps())
def test_a_clean_dump_is_accepted_whole(data: bytes) -> None:
    account = read(data)
    assert account.quarantine.is_empty()
    assert_counted(account, data)


@pytest.mark.fuzz
@settings(max_examples=EXAMPLES)
@given(damaged_dumps())
def test_a_damaged_dump_is_counted_as_the_rules_say(data: bytes) -> None:
    account = read(data)
    assert_exact(account, data)
    assert_counted(account, data)


@pytest.mark.fuzz
@settings(max_examples=EXAMPLES)
@given(damaged_dumps(), st.integers(64, 400))
def test_the_account_does_not_depend_on_the_chunks(data: bytes, size: int) -> None:
    whole, parts = read(data), read(data, size=size)
    assert_frame_equal(parts.frame, whole.frame, check_exact=True)
    assert_frame_equal(parts.quarantine, whole.quarantine)
    assert parts.blank == whole.blank


@pytest.mark.fuzz
@given(damaged_dumps())
def test_every_byte_belongs_to_one_record_or_is_blank(data: bytes) -> None:
    """Of the lines that are no blanks, each is in one accepted record or in one quarantined."""
    account = read(data)
    spans = [(line, line + _line_ends(raw)) for line, raw in
             account.quarantine.select("line", "raw").iter_rows()]
    taken = [k for first, last in spans for k in range(first, last + 1)]
    assert len(taken) == len(set(taken))
    assert not set(taken) & set(account.accepted)
    lines = data.count(b"\n") + data.replace(b"\r\n", b"").count(b"\r") + (data[-1:] not in b"\r\n")
    rest = lines - 1 - len(taken) - len(account.accepted) - account.blank
    over = counter.count(data, KINDS)  # lines that accepted records take beyond their first
    beyond = over.lines - 1 - sum(1 + _line_ends(raw) for *_, raw in over.bad) - len(
        over.accepted) - len(over.blank)
    assert rest == beyond >= 0


def _line_ends(raw: bytes) -> int:
    return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n")


@pytest.mark.fuzz
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_counted(data: bytes) -> None:
    """Random bytes behind a header, and random bytes alone: never another error."""
    dump = b"\xef\xbb\xbf" + HEAD.encode() + b"\n" + data
    assert_exact(read(dump), dump)
    with pytest.raises(InputRefused) as caught:
        read(data)
    assert caught.value.where


# --- the counter itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "accepted", "bad", "blank"),
    [
        (b"S,2024-05-01 10:00:00,1\n", [2], [], []),
        (b"S,2024-05-01 10:00:00,1\r\r\nS,2024-05-01 10:00:00,1\n", [2, 4], [], [3]),
        (b"S,2024-05-01 10:00:00,1", [], [2], []),
        (b" \t\n\n", [], [], [2, 3]),
        (b"S,2024-05-01 10:00:00,x\nS,2024-13-01 10:00:00,\n,2024-05-01 10:00:00,\n", [],
         [2, 3, 4], []),
        (b"S,2024-05-01 10:00:00\nS,2024-05-01 10:00:00,1,\nS,2024-05-01 10:00:00,\0\n", [],
         [2, 3, 4], []),
        (b'"S\n1",2024-05-01 10:00:00,1\nS,2024-05-01 10:00:00,1\n', [2, 4], [], []),
        (b'"S,2024-05-01 10:00:00,1\nS,2024-05-01 10:00:00,1\n', [3], [2], []),
        (b'"S\n1"x,2024-05-01 10:00:00,1\n', [3], [2], []),
        (b"S,2024-05-01 10:00:00,1\xff\nS,2024-05-01 10:00:00,1e400\n", [], [2, 3], []),
        (b"site,time,n\nS,2024-02-30 10:00:00,\n", [], [2, 3], []),
    ],
)
def test_the_counter_counts(body: bytes, accepted: list[int], bad: list[int],
                            blank: list[int]) -> None:
    kinds = {"site": "required", "time": "time", "n": "number"}
    found = counter.count(b"site,time,n\n" + body, kinds)
    assert (found.accepted, [b[0] for b in found.bad], found.blank) == (accepted, bad, blank)
