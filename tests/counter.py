"""An independent reading of the accounting rules, byte by byte, in plain Python.

It shares no line with the engine and is slow on purpose: one record after the other, no engine's
number or time parser. The rules, in the order in which they are asked:

1. A line ends with LF, CRLF or CR. The first line is the header and no record.
2. A line of nothing but blanks is counted and is no record.
3. A quote opens a field only as the field's first character. A record whose quoted field is open
   at the end of its line goes on over the next lines, as long as it takes at most 100 lines and
   1 MiB, is text, and has the right number of fields when the quote closes, with nothing between a
   closing quote and the next comma, and unless one of the later lines has, for itself, as many
   commas as the header (the last one: some of them before its first quote): a stray quote must not
   swallow records up to the next one. If not, only its first line is condemned, and the next line
   is read for itself.
4. Condemned: the last record if no line end follows it; NUL; another number of fields than the
   header has; a field above 1 MiB; bytes that are no text; a cell that is not what its column
   needs.
5. Of a long dump the rows are joined (`join`): a row belongs to the pass of its key as long as no
   row of a new key has come; what comes later, differs from its pass's first row, says a parameter
   again or another unit than the parameter's is condemned alone.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

BLANKS = b" \t\x0b\x0c"
MAX_FIELD_BYTES = 1 << 20
MAX_LINES = 100

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# every digit must be there: what lost one would still be a date or a time, another one
_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_DATE_ONLY = re.compile(_DATE)
_TIME = re.compile(_DATE + r"[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?")
FIRST_YEAR, LAST_YEAR = 1950, 2199
_ZONE = ZoneInfo("Asia/Shanghai")
# what Unicode calls white space (PropList.txt); the separators U+001C to U+001F are none of it,
# though Python's own strip() takes them
_WHITE = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028,
                           0x2029, 0x202F, 0x205F, 0x3000)))


@dataclass
class Count:
    """What each physical line is; bad records with the offset and the bytes of all their lines."""

    accepted: list[int] = field(default_factory=list)
    bad: list[tuple[int, int, bytes]] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    lines: int = 0
    cells: dict[int, tuple[tuple[int, bytes], dict[str, str]]] = field(default_factory=dict)
    """Line of an accepted record → its offset and bytes, and its cells, trimmed, null as blank."""

    @property
    def records(self) -> int:
        return len(self.accepted) + len(self.bad)


@dataclass
class _Line:
    number: int
    start: int
    stop: int
    is_ended: bool


@dataclass(frozen=True)
class Rules:
    """How a vendor writes: the separator, texts that mean null, and times.

    ``times`` are patterns of year, month … as `time.strftime` names them; none: ISO 8601 without an
    offset. ``clock`` is the column of the time of day where the column ``time`` has the date only.
    ``may_be_torn``: a last record without a line end is taken.
    """

    separator: str = ","
    nulls: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    clock: str = ""
    may_be_torn: bool = False


PLAIN = Rules()


def count(data: bytes, kinds: dict[str, str], *, has_gb18030: bool = True,
          rules: Rules = PLAIN) -> Count:
    """Count the records of a dump.

    Args:
        data: the unpacked bytes.
        kinds: column → ``text``, ``required``, ``time``, ``date``, ``number`` or ``whole``; any
            other column of the header may hold anything.
        has_gb18030: the format may come in GB18030.
        rules: how the vendor writes.
    """
    lines = list(_lines(data))
    header = data[lines[0].start:lines[0].stop]
    encoding = None
    if header.startswith(b"\xef\xbb\xbf"):
        header, encoding = header[3:], "utf-8"
    columns = [n.strip().lower() for n in header.decode("utf-8").split(rules.separator)]
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
        number, fields = _record(data, body, at, len(columns), encoding, rules.separator)
        last = body[at + number - 1]
        raw = data[first.start:last.stop]
        is_good = (
            fields is not None and (last.is_ended or rules.may_be_torn) and b"\0" not in raw
            and raw != header and len(fields) == len(columns)
        )
        cells = dict(zip(columns, map(_trimmed, fields or []), strict=False)) if is_good else {}
        cells = {name: "" if text in rules.nulls else text for name, text in cells.items()}
        if is_good and all(_fits(text, kinds.get(name, "anything"), rules, cells)
                           for name, text in cells.items()):
            result.accepted.append(first.number)
            result.cells[first.number] = (first.start, raw), cells
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
            encoding: str, separator: str) -> tuple[int, list[str] | None]:
    """Return how many lines the record takes, and its fields; None: condemned."""
    start = lines[at].start
    for number in range(1, min(MAX_LINES, len(lines) - at) + 1):
        raw = data[start:lines[at + number - 1].stop]
        if number > 1 and len(raw) > MAX_FIELD_BYTES:
            return 1, None
        text = _text(raw, encoding)
        if text is None:
            return 1, None
        fields, is_regular = _fields(text, separator)
        if fields is None:
            continue
        if number > 1 and (len(fields) != columns or not is_regular):
            return 1, None
        comma = separator.encode()
        later = [data[line.start:line.stop] for line in lines[at + 1:at + number]]
        whole = [k for k, line in enumerate(later, 1) if line.count(comma) == columns - 1 > 0]
        if any(k < len(later) or comma in later[-1][:later[-1].find(b'"')] for k in whole):
            return 1, None
        if any(len(f.encode(encoding)) > MAX_FIELD_BYTES for f in fields):
            return 1, None
        return number, fields
    return 1, None


def _fields(text: str, separator: str) -> tuple[list[str] | None, bool]:
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
        elif char == separator:
            fields.append(now)
            now, state = "", "start"
        elif state == "start" and char == '"':
            state = "quoted"
        else:
            is_regular &= state != "maybe closed"
            now += char  # alone, so that Python extends the text in its place
            state = "plain"
    return (None if state == "quoted" else [*fields, now]), is_regular


def _fits(text: str, kind: str, rules: Rules, cells: Mapping[str, str]) -> bool:
    if kind in ("required", "time") and not text:
        return False
    if kind == "time":
        whole = f"{text} {cells[rules.clock]}" if rules.clock else text
        return _is_instant(whole) or (_is_written(whole, rules.times) if rules.times
                                      else _is_time(whole) and _was_shown(whole))
    if not text:
        return True
    if kind == "date":
        return _is_date(text)
    return _is_number(text, kind) if kind in ("number", "whole") else True


def _trimmed(cell: str) -> str:
    return cell.strip(_WHITE)


def _narrow(text: str) -> str:
    """Full-width forms as ASCII, nothing else: 5² is compatible with 52, and not 52."""
    return "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in text).replace(
        "\u3000", " ")


def _is_number(text: str, kind: str) -> bool:
    text = _trimmed(_narrow(text))
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


_OFFSET = re.compile(r"(.*[^+-])(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])")
_NUMBERS = {"Y": "[0-9]{4}", "m": "[0-9]{2}", "d": "[0-9]{2}", "H": "[0-9]{2}", "M": "[0-9]{2}",
            "S": "[0-9]{2}", "I": "[0-9]{1,2}", "p": "[AaPp][Mm]"}


def _was_shown(text: str) -> bool:
    """The clock of the lake's zone, Shanghai in the tests, did not skip a time without offset."""
    shown = datetime(*map(int, _TIME.fullmatch(text).groups()))
    there = shown.replace(tzinfo=_ZONE).astimezone(UTC).astimezone(_ZONE)
    return there.replace(tzinfo=None) == shown


def number(text: str) -> float | None:
    """The number of an accepted cell; None: it is blank."""
    return float(_trimmed(_narrow(text))) if text else None


def _is_instant(text: str) -> bool:
    """A time with its offset from UTC, which every format understands."""
    found = _OFFSET.fullmatch(text)
    return found is not None and _is_time(found[1])


def _is_written(text: str, patterns: tuple[str, ...]) -> bool:
    return any(_is_after(text, pattern) for pattern in patterns)


def _is_after(text: str, pattern: str) -> bool:
    """Read a time by one pattern; between slashes one digit will do, but for the seconds."""
    shape = re.escape(pattern.replace("%.f", "%f")).replace("%f", r"[.][0-9]{1,9}")
    for letter, digits in _NUMBERS.items():
        short = "/" in pattern and letter in "mdHM"
        shape = shape.replace(f"%{letter}", f"(?P<{letter}>{'[0-9]{1,2}' if short else digits})")
    found = re.fullmatch(shape, text)
    if found is None:
        return False
    got = {k: int(v) for k, v in found.groupdict().items() if k != "p"}
    is_clock = got.get("H", 0) < 24 and got.get("M", 0) < 60 and got.get("S", 0) < 60
    is_dial = 1 <= got.get("I", 1) <= 12
    is_day = _is_day(got["Y"], got["m"], got["d"])
    return is_clock and is_dial and is_day and FIRST_YEAR <= got["Y"] <= LAST_YEAR


def join(rows: Count, key: str, parameter: str, unit: str, same: tuple[str, ...],
         units: Mapping[str, str]) -> Count:
    """Join the rows of a long dump to passes, one row after the other.

    Args:
        rows: its rows, counted.
        key: the column that says which pass a row is of.
        parameter: the column that says what was measured.
        unit: the column that says in which unit.
        same: columns that all rows of a pass have alike.
        units: parameter → its unit; what is no parameter here may come as it likes.

    Returns:
        A count whose accepted records are the first rows of the passes.
    """
    result = Count(bad=list(rows.bad), blank=rows.blank, lines=rows.lines)
    begun: set[str] = set()
    now: dict[str, str] = {}
    said: set[str] = set()
    for line in rows.accepted:
        where, cells = rows.cells[line]
        name = cells[parameter].lower()
        if cells[unit] not in ("", units.get(name, cells[unit])):
            result.bad.append((line, *where))
        elif cells[key] not in begun:
            begun.add(cells[key])
            now, said = cells, {name}
            result.accepted.append(line)
        elif cells[key] != now[key] or any(cells[n] != now[n] for n in same) or (
                name in said and name in units):
            result.bad.append((line, *where))
        else:
            said.add(name)
    result.bad.sort()
    return result


def _is_day(year: int, month: int, day: int) -> bool:
    return year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
