"""Physical lines and quoted records."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.intake.lines import (
    MAX_FIELD_BYTES,
    are_simply_quoted,
    count_in_lines,
    find_bytes,
    find_lines,
    join_quoted,
    keep_lines,
    split_fields,
)

messy_bytes = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b",", b'"', b"\xff"]),
                       max_size=40).map(b"".join)


@given(messy_bytes)
def test_lines_are_those_of_python(data: bytes) -> None:
    lines = find_lines(data)
    found = [data[i:j] for i, j in zip(lines.starts, lines.stops, strict=True)]
    assert found == data.splitlines()
    ended = [data[i:j] for i, j in zip(lines.starts, lines.nexts, strict=True)]
    assert ended == data.splitlines(keepends=True)
    assert lines.is_torn == (data[-1:] not in b"\r\n")


@given(messy_bytes)
def test_bytes_are_counted_line_by_line(data: bytes) -> None:
    counts = count_in_lines(find_bytes(data, 0x2C), find_lines(data))
    assert counts.tolist() == [line.count(b",") for line in data.splitlines()]


@given(messy_bytes, st.randoms(use_true_random=False))
def test_kept_lines_end_with_lf(data: bytes, chance) -> None:
    lines = find_lines(data)
    keep = [chance.random() < 0.5 for _ in range(len(lines))]
    kept = keep_lines(data, lines, np.array(keep, bool))
    wanted = [x for x, is_kept in zip(data.splitlines(), keep, strict=True) if is_kept]
    assert kept == b"".join(x + b"\n" for x in wanted)


def simply_quoted(data: bytes) -> list[bool]:
    return are_simply_quoted(data, find_bytes(data, 0x22), find_bytes(data, 0x2C),
                             find_lines(data)).tolist()


def test_quotes_around_whole_cells_can_be_left_out() -> None:
    simple = [b'"a",b', b'"a","b"', b'"",""', b'a,"b c"', b'""']
    meant = [b'"a,b"', b'a"b', b'"a"b,c', b'"a""b"', b'"a', b'a",b', b'a,b"', b'"a"",b"', b"a,b"]
    for end in (b"\n", b"\r\n", b"\r"):
        lines = [line for pair in zip(simple * 2, meant, strict=False) for line in pair]
        wanted = [line in simple for line in lines]
        assert simply_quoted(end.join(lines)) == wanted


@given(messy_bytes)
def test_only_quotes_that_mean_nothing_are_left_out(data: bytes) -> None:
    for line, is_simple in zip(data.splitlines(), simply_quoted(data), strict=True):
        text = line.decode("latin-1")
        if is_simple:
            assert split_fields(text) == text.replace('"', "").split(",")


@given(st.lists(st.text(st.sampled_from('a,"é \n'), max_size=6), min_size=1, max_size=5))
def test_what_a_writer_quotes_comes_back(fields: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="", quoting=csv.QUOTE_ALL).writerow(fields)
    assert split_fields(out.getvalue()) == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a,b", ["a", "b"]),
        ('""', [""]),
        ('"",', ["", ""]),
        ('"a","b"', ["a", "b"]),
        ('a,"b,c"', ["a", "b,c"]),
        ('"a""b"', ['a"b']),
        ('a"b,c', ['a"b', "c"]),  # a quote inside a field is text
        ('5" wheel,"x"', ['5" wheel', "x"]),
        ('"a"b,c', ["ab", "c"]),
        ('"a\nb",c', ["a\nb", "c"]),
        ('"a\rb",c', ["a\rb", "c"]),
        ('"a', None),
        ('a,"', None),
        ('a,"b""', None),
        (',"', None),
    ],
)
def test_fields_of_a_record(text: str, fields: list[str] | None) -> None:
    assert split_fields(text) == fields


def test_a_long_quoted_field_is_split_too() -> None:
    long = "x" * 500_000
    assert split_fields(f'a,"{long}",c') == ["a", long, "c"]


def joined(data: bytes, columns: int = 3, first: int = 0, encoding: str = "utf-8"):
    return join_quoted(data, find_lines(data), first, columns, encoding)


def test_an_open_quote_takes_the_next_lines() -> None:
    found = joined(b'a,"b\r\nc\nd",e\nf,g,h\n')
    assert (found.count, found.fields, found.is_open) == (3, ["a", "b\r\nc\nd", "e"], False)


def test_a_quote_that_closes_with_another_number_of_fields_costs_one_line() -> None:
    found = joined(b'a,"b\nc,d\ne",f,g\n')
    assert (found.count, found.fields, found.is_open) == (1, None, False)


def test_two_stray_quotes_do_not_make_one_record_of_whole_lines() -> None:
    found = joined(b'a,"b,c\nd,e,f\ng,h",i\n')
    assert (found.count, found.fields, found.is_open) == (1, None, False)
    found = joined(b'a,b,"c\nd,e"\n')  # the cell holds a comma, but not as many as a record
    assert (found.count, found.fields) == (2, ["a", "b", "c\nd,e"])


def test_a_line_that_is_complete_keeps_its_fields_whatever_their_number() -> None:
    found = joined(b'"a",b\n')
    assert (found.count, found.fields) == (1, ["a", "b"])


def test_a_quote_open_at_the_end_of_the_chunk_says_so() -> None:
    found = joined(b'x,y,z\na,"b\nc\n', first=1)
    assert (found.count, found.fields, found.is_open) == (1, None, True)


def test_a_quote_open_for_a_hundred_lines_is_unbalanced() -> None:
    at_limit = joined(b'a,"b\n' + b"x\n" * 98 + b'",c\n' + b"y\n" * 9)
    assert (at_limit.count, at_limit.is_open) == (100, False)
    beyond = joined(b'a,"b\n' + b"x\n" * 99 + b'",c\n' + b"y\n" * 9)
    assert (beyond.count, beyond.fields, beyond.is_open) == (1, None, False)


def test_a_quoted_record_above_a_mebibyte_is_unusable() -> None:
    found = joined(b'a,"' + b"x" * MAX_FIELD_BYTES + b'",c\n')
    assert (found.count, found.fields) == (1, None)


def test_bytes_that_are_no_text_make_a_quoted_record_unusable() -> None:
    assert joined(b'a,"\xff",c\n').fields is None
    assert joined('a,"闽",c\n'.encode("gb18030"), encoding="gb18030").fields == ["a", "闽", "c"]
