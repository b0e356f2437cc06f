"""An independent reading of the accounting rules, byte by byte, in plain Python.

It shares no line with the engine and is slow on purpose: one record after the other, no engine's
number or time parser. The rules, in the order in which they are asked:

1. A line ends with LF, CRLF or CR. The first line is the header and no record.
2. A line of nothing but blanks is counted and is no record.
3. A quote opens a field only as the field's first character. A record whose quoted field is open
   at the end of its line goes on over the next lines, as long as it takes at most 100 lines and
   1 MiB, is text, and has the right number of fields when the quote closes, with nothing between a
   closing quote and the next comma: a stray quote must not swallow records up to the next one. If
   not, only its first line is condemned, and the next line is read for itself.
4. Condemned: the last record if no line end follows it; NUL; another number of fields than the
   header has; a field above 1 MiB; bytes that are no text; a cell that is not what its column
   needs.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from dataclasses import dataclass, field

BLANKS = b" \t\x0b\x0c"
MAX_FIELD_BYTES = 1 << 20
MAX_LINES = 100

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# every digit must be there: what lost one would still be a date or a time, another one
_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_DATE_ONLY = re.compile(_DATE)
_TIME = re.compile(_DATE + r"[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?")
FIRST_YEAR, LAST_YEAR = 1950, 2199


@dataclass
class Count:
    """What each physical line is; bad records with the offset and the bytes of all their lines."""

    accepted: list[int] = field(default_factory=list)
    bad: list[tuple[int, int, bytes]] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    lines: int = 0

    @property
    def records(self) -> int:
        return len(self.accepted) + len(self.bad)


@dataclass
class _Line:
    number: int
    start: int
    stop: int
    is_ended: bool


def count(data: bytes, kinds: dict[str, str], *, has_gb18030: bool = True) -> Count:
    """Count the records of a dump.

    Args:
        data: the unpacked bytes.
        kinds: column → ``text``, ``required``, ``time``, ``date``, ``number`` or ``whole``; any
            other column of the header may hold anything.
        has_gb18030: the format may come in GB18030.
    """
    lines = list(_lines(data))
    header = data[lines[0].start:lines[0].stop]
    encoding = None
    if header.startswith(b"\xef\xbb\xbf"):
        header, encoding = header[3:], "utf-8"
    columns = [name.strip().lower() for name in header.decode("utf-8").split(",")]
    body = lines[1:]
    encoding = encoding or _encoding(data, body, has_gb18030)
    result = Count(lines=len(lines))
    at = 0
    while at < len(body):
        first = body[at]
        if not data[first.start:first.stop].strip(BLANKS):
            result.blank.append(first.number)
            at += 1
            continue
        number, fields = _record(data, body, at, len(columns), encoding)
        last = body[at + number - 1]
        raw = data[first.start:last.stop]
        is_good = (
            fields is not None and last.is_ended and b"\0" not in raw and raw != header
            and len(fields) == len(columns)
            and all(_fits(text, kinds.get(name, "anything"))
                    for name, text in zip(columns, fields, strict=True))
        )
        if is_good:
            result.accepted.append(first.number)
        else:
            result.bad.append((first.number, first.start, raw))
        at += number
    return result


def _lines(data: bytes):
    start, number, at = 0, 1, 0
    while at < len(data):
        if data[at] in b"\r\n":
            after = at + (2 if data[at:at + 2] == b"\r\n" else 1)
            yield _Line(number, start, at, True)
            start, at, number = after, after, number + 1
        else:
            at += 1
    if start < len(data):
        yield _Line(number, start, len(data), False)


def _encoding(data: bytes, lines: list[_Line], has_gb18030: bool) -> str:
    """UTF-8 if at least half of the lines beyond ASCII are, else GB18030."""
    votes = []
    for line in lines:
        raw = data[line.start:line.stop]
        if any(byte > 0x7F for byte in raw):
            votes.append(_text(raw, "utf-8") is not None)
    return "utf-8" if 2 * sum(votes) >= len(votes) or not has_gb18030 else "gb18030"


def _text(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def _record(data: bytes, lines: list[_Line], at: int, columns: int,
            encoding: str) -> tuple[int, list[str] | None]:
    """Return how many lines the record takes, and its fields; None: condemned."""
    start = lines[at].start
    for number in range(1, min(MAX_LINES, len(lines) - at) + 1):
        raw = data[start:lines[at + number - 1].stop]
        if number > 1 and len(raw) > MAX_FIELD_BYTES:
            return 1, None
        text = _text(raw, encoding)
        if text is None:
            return 1, None
        fields, is_regular = _fields(text)
        if fields is None:
            continue
        if number > 1 and (len(fields) != columns or not is_regular):
            return 1, None
        if any(len(f.encode(encoding)) > MAX_FIELD_BYTES for f in fields):
            return 1, None
        return number, fields
    return 1, None


def _fields(text: str) -> tuple[list[str] | None, bool]:
    """Split a record character by character; None while a quoted field is open.

    Tells too whether every closing quote ends its field.
    """
    fields, now, state, is_regular = [], "", "start", True
    for char in text:
        if state == "quoted":
            if char == '"':
                state = "maybe closed"
            else:
                now += char
        elif state == "maybe closed" and char == '"':
            now, state = now + '"', "quoted"
        elif char == ",":
            fields.append(now)
            now, state = "", "start"
        elif state == "start" and char == '"':
            state = "quoted"
        else:
            is_regular &= state != "maybe closed"
            now, state = now + char, "plain"
    return (None if state == "quoted" else [*fields, now]), is_regular


def _fits(cell: str, kind: str) -> bool:
    text = cell.strip()
    if kind in ("required", "time") and not text:
        return False
    if kind == "time":
        return _is_time(text)
    if not text:
        return True
    if kind == "date":
        return _is_date(text)
    return _is_number(text, kind) if kind in ("number", "whole") else True


def _is_number(text: str, kind: str) -> bool:
    text = unicodedata.normalize("NFKC", text).strip()
    if not _NUMBER.fullmatch(text):
        return False
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return False
    return kind == "number" or value == int(value)


def _is_date(text: str) -> bool:
    found = _DATE_ONLY.fullmatch(text)
    return found is not None and _is_day(*map(int, found.groups()))


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    year, month, day, hour, minute, second = map(int, found.groups())
    is_clock = hour < 24 and minute < 60 and second < 60
    return _is_day(year, month, day) and is_clock and FIRST_YEAR <= year <= LAST_YEAR


def _is_day(year: int, month: int, day: int) -> bool:
    return year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
