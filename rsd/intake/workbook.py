"""Small .xlsx workbooks: the sheet that holds the dump, as the CSV that its writer would have sent.

Of the readers at hand the streaming one of openpyxl is taken, because it makes no room for cells
that are not there: one that reads a sheet into a grid ends the process on a workbook of two cells
that stand in opposite corners.
"""

from __future__ import annotations

import csv
import io
import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from io import BufferedReader
from itertools import islice
from typing import Any

from rsd.errors import InputRefused
from rsd.intake.formats import fold, recognise

MAX_PACKED_BYTES = 16 << 20
"""A workbook is read cell by cell, fifty times slower than CSV; this is up to a minute of it."""
MAX_PARTS_BYTES = 256 << 20
"""What the parts of a workbook may unpack to."""
MAX_ROWS, MAX_COLUMNS = 1 << 20, 1 << 14  # Excel's own
_HEADER_ROWS = 10
_PIECE_BYTES = 1 << 20
_PARTS_LIMIT = f"at most {MAX_PARTS_BYTES >> 20} MiB"
_NO_CODE = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')


@dataclass(frozen=True)
class Sheet:
    """The sheet that is read, by its place, and the row of its header, from 1."""

    index: int
    name: str
    header_row: int


def find_sheet(raw: BufferedReader, size: int, where: str) -> tuple[Sheet, list[str]]:
    """Return the first sheet with a header that a format recognises, and what is to be said.

    The header may stand in one of the first ten rows, below a title. Where no format recognises
    any row, the first filled row of the first filled sheet is the header, which its reading judges.

    Raises:
        InputRefused: larger than a limit, broken, or empty.
    """
    filled: list[tuple[int, str, int, bool]] = []
    with _opened(raw, size, where) as sheets:
        for index, sheet in enumerate(sheets):
            rows = ((n, cells) for n, cells in _rows(sheet, where) if any(cells))
            first = list(islice(rows, _HEADER_ROWS))
            if first:
                known = next((n for n, c in first if _is_header(c)), None)
                filled.append((index, sheet.title, known or first[0][0], known is not None))
    if not filled:
        raise InputRefused("the workbook is empty", where=where, expected="a header row",
                           remedy="Ask the sender for the file again.")
    index, name, row, _ = next((f for f in filled if f[3]), filled[0])
    notices = []
    if others := [f[1] for f in filled if f[0] != index]:
        notices.append(f"of {len(filled)} filled sheets only {name!r} was read, not "
                       f"{', '.join(map(repr, others[:5]))}{' …' if len(others) > 5 else ''}")
    if row > 1:
        notices.append(f"the header is row {row} of sheet {name!r}; what stands above it was "
                       "not read")
    return Sheet(index, name, row), notices


def rendered(raw: BufferedReader, sheet: Sheet, size: int, where: str) -> io.BytesIO:
    """Return a sheet from its header row on, as UTF-8 with a mark, one line a row.

    Empty rows within are blank lines, empty rows at the end are left out. Raises InputRefused.
    """
    out = io.BytesIO()
    text = io.TextIOWrapper(out, "utf-8-sig", "replace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    width, line = 0, sheet.header_row
    with _opened(raw, size, where) as sheets:
        for number, cells in _rows(sheets[sheet.index], where):
            if number < sheet.header_row or not any(cells):
                continue
            while not cells[-1]:
                cells.pop()
            width = width or len(cells)
            text.write("\n" * (number - line))
            writer.writerow(cells + [""] * (width - len(cells)))
            line = number + 1
            if out.tell() > MAX_PARTS_BYTES:  # few strings may stand in many cells
                raise _too_large(where, f"row {number} beyond it", f"{_PARTS_LIMIT} as text")
    text.detach()
    out.seek(0)
    return out


def _judge_size(raw: BufferedReader, size: int, where: str) -> None:
    """Refuse a workbook beyond a limit or with a document type, which could make much of little."""
    if size > MAX_PACKED_BYTES:
        raise _too_large(where, f"{size} bytes", f"at most {MAX_PACKED_BYTES >> 20} MiB")
    raw.seek(0)
    try:
        with zipfile.ZipFile(raw) as archive:
            parts = [i for i in archive.infolist() if i.filename.endswith((".xml", ".rels"))]
            if sum(i.file_size for i in parts) > MAX_PARTS_BYTES:
                raise _too_large(where, "parts of more than that", f"{_PARTS_LIMIT} unpacked")
            for part in parts:
                if _declares(archive, part):
                    raise InputRefused("the workbook declares a document type", where=where,
                                       found=part.filename, expected="plain parts",
                                       remedy="No spreadsheet program writes this; do not open it.")
    except (zipfile.BadZipFile, zipfile.zlib.error, EOFError,  # type: ignore[attr-defined]
            NotImplementedError, RuntimeError) as error:
        raise _broken(where, error) from error


def _declares(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    before = b""
    with archive.open(part) as stream:
        while piece := stream.read(_PIECE_BYTES):
            if b"<!DOCTYPE" in (before + piece).replace(b"\0", b""):
                return True
            before = piece[-32:]
    return False


def _too_large(where: str, found: str, limit: str) -> InputRefused:
    return InputRefused("the workbook is too large", where=where, found=found, expected=limit,
                        remedy="Save the sheet as CSV (UTF-8) and ingest that.")


def _broken(where: str, error: Exception) -> InputRefused:
    return InputRefused("the workbook is broken", where=where,
                        found=" ".join(str(error).split())[:200] or type(error).__name__,
                        expected="an .xlsx file as spreadsheet programs write it",
                        remedy="Open it there and save it again, best as CSV (UTF-8).")


def _is_header(cells: list[str]) -> bool:
    try:
        recognise([fold(c) for c in cells], "")
    except InputRefused:
        return False
    return True


@contextmanager
def _opened(raw: BufferedReader, size: int, where: str) -> Iterator[list[Any]]:
    """Open the sheets of a workbook. Formulas give the values that were stored with them."""
    import openpyxl

    _judge_size(raw, size, where)
    raw.seek(0)
    try:
        with warnings.catch_warnings():  # of extensions that are of no matter here
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # what it says of its size may be wrong
            yield book.worksheets
    except (InputRefused, MemoryError):
        raise
    except Exception as error:  # a hostile workbook fails anywhere in the library
        raise _broken(where, error) from error


def _rows(sheet: Any, where: str) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > MAX_ROWS or len(row) > MAX_COLUMNS:
            raise _too_large(where, f"row {number}, {len(row)} columns",
                             f"at most {MAX_ROWS} rows of {MAX_COLUMNS} columns")
        yield number, [_text(cell.value, cell) for cell in row]


def _text(value: Any, cell: Any) -> str:
    """Return a cell as CSV has it.

    Numbers are shortest decimals in full precision, but show percent signs and leading zeros where
    the sheet shows them; times are ISO; a line break is a blank, so that a row stays a line.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value if value.isprintable() else re.sub(r"\r\n|[\r\n]", " ", value)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number(value, cell.number_format)
    return _moment(value, cell.number_format)


def _number(value: float, number_format: str) -> str:
    zeros, is_percent = _shape(number_format)
    if is_percent:
        return f"{value * 100:.15g}%"
    if math.isfinite(value) and value == int(value):
        return f"{int(value):0{zeros}d}"
    return repr(value)


def _moment(value: Any, number_format: str) -> str:
    if isinstance(value, timedelta):
        minutes, seconds = divmod(int(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if not isinstance(value, datetime):
        return str(value)
    if value.time() == time(0) and not _shows_time(number_format):
        return value.date().isoformat()
    return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds")


@lru_cache(512)
def _shape(number_format: str) -> tuple[int, bool]:
    """Return how many digits are always shown of a whole number, and whether it is a percentage."""
    codes = _NO_CODE.sub("", number_format or "")
    return (len(codes) if re.fullmatch("0+", codes) else 0), "%" in codes


@lru_cache(512)
def _shows_time(number_format: str) -> bool:
    return bool(re.search("[hs]", _NO_CODE.sub("", number_format or ""), re.IGNORECASE))
