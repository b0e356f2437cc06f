"""Lines, fields and quoted records of arbitrary bytes, against the counter that knows no code."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator

import counter
import numpy as np

from fuzz.draw import Draw
from rsd.intake.lines import (
    are_blank,
    are_simply_quoted,
    count_in_lines,
    find_bytes,
    find_lines,
    join_quoted,
    keep_lines,
    split_fields,
)

ENCODINGS = ("utf-8", "gb18030")
WORDS = (b'"', b'""', b",", b"\n", b"\r", b"\r\n", b'","', b'",', b',"', b'"\n', b"\0", b" ", b"\t",
         b"\xff", "闽".encode(), "闽".encode("gb18030"), b"\x81\x30\x81\x30", b"\x81\x22", b"\x0b")
CASES = (
    b'a,"b\r\nc\nd",e\nf,g,h\n', b'a,"b\nc,d\ne",f,g\n', b'"a",b\n', b'x,y,z\na,"b\nc\n',
    b'a"b,c\r\n"",\n', b'5" wheel,"x",\n', b'"a"b,c,d\n', b"\r\r\n\n,,\n \t\n", b'a,"\xff",c\n',
    'a,"闽\n赣",c\n'.encode("gb18030"), 'a,"闽",c\n'.encode(), b'",",","\n', b'"""",",\n',
)


def seeds() -> Iterator[bytes]:
    """Records with quotes, in both encodings."""
    for k, case in enumerate(CASES):
        yield bytes([k % 2, 2]) + case


def check(data: bytes) -> None:
    """Lines, counts, fields and joined records are those of plain Python."""
    draw = Draw(data)
    encoding, columns = draw.pick(ENCODINGS), 1 + draw.below(6)
    body = draw.rest()
    check_lines(body)
    check_fields(body.decode("utf-8", "replace"))
    check_round_trip(body.decode("utf-8", "replace").split("\x1f"))
    check_joined(body, columns, encoding)


def check_lines(data: bytes) -> None:
    """The arrays say what `bytes.splitlines` says."""
    lines, whole, bare = find_lines(data), data.splitlines(keepends=True), data.splitlines()
    assert [data[i:j] for i, j in zip(lines.starts, lines.nexts, strict=True)] == whole
    assert [data[i:j] for i, j in zip(lines.starts, lines.stops, strict=True)] == bare
    assert lines.is_torn == bool(whole and whole[-1][-1:] not in b"\r\n")
    for byte in (0x2C, 0x22, 0):
        counts = count_in_lines(find_bytes(data, byte), lines)
        assert counts.tolist() == [x.count(byte) for x in whole]
    is_blank = [not line.strip(b" \t\x0b\x0c") for line in bare]
    assert are_blank(data, lines).tolist() == is_blank
    quotes, separators = find_bytes(data, 0x22), find_bytes(data, 0x2C)
    is_simple = are_simply_quoted(data, quotes, separators, lines)
    for line, is_so in zip(bare, is_simple.tolist(), strict=True):  # then quotes say nothing
        text = line.decode("latin-1")
        assert not is_so or split_fields(text) == text.replace('"', "").split(",")
    chance = zlib.crc32(data)
    # blank lines are never kept; the engine counts them and lets them go
    keep = [bool(chance >> k % 32 & 1) and not is_blank[k] for k in range(len(lines))]
    wanted = b"".join(x + b"\n" for x, is_kept in zip(bare, keep, strict=True) if is_kept)
    assert keep_lines(data, lines, np.array(keep, bool)) == wanted


def check_fields(text: str) -> None:
    """A record with quotes splits as it does character by character."""
    if '"' in text:
        assert split_fields(text) == counter._fields(text, ",")[0]


def check_round_trip(fields: list[str]) -> None:
    """What a writer of CSV writes comes back."""
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_MINIMAL):
        out = io.StringIO()
        csv.writer(out, lineterminator="", quoting=quoting).writerow(fields)
        assert split_fields(out.getvalue()) == fields


def check_joined(data: bytes, columns: int, encoding: str) -> None:
    """A record with quotes takes the lines that the rules give it."""
    lines, plain = find_lines(data), list(counter._lines(data))
    for first in np.flatnonzero(count_in_lines(find_bytes(data, 0x22), lines))[:20]:
        found = join_quoted(data, lines, int(first), columns, encoding)
        wanted = counter._record(data, plain, int(first), columns, encoding, ",")
        assert (found.count, found.fields) == wanted
        assert not (found.is_open and found.fields)
