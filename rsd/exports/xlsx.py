"""A list of findings as an XLSX workbook, typed, and with nothing in it that acts.

Texts stay texts: no formula, no link, no number guessed from digits. Numbers have sixteen digits,
as Excel keeps them. Memory stays bounded, because rows go to the disk as they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rsd.exports.safety import Progress, flat, printable, slices

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

SHEET_ROWS = 1_048_575
"""Rows below the header that one sheet of an XLSX takes (Excel specifications and limits)."""

CELL_CHARACTERS = 16_000
"""Characters that one cell shows: Excel's 32,767 count a character outside the first plane
twice."""

_UNVERIFIED = "Numbers not verified in the law's text: see is_verified"
_EXCEL_EPOCH_DAY = 25_569
"""1970-01-01 in Excel's count of days."""
_DAY_PER_US = 1 / 86_400e6


def write_workbook(path: Path, findings: pl.DataFrame, *, withdrawn: pl.DataFrame | None,
                   plates: str, provenance: Mapping[str, str],
                   progress: Progress | None = None) -> None:
    """Write a sheet a regulation, then what was withdrawn, then where all of it is from.

    ``plates`` says how plates stand in the list (shown, masked, withheld). The folder of ``path``
    must be private: temporary files lie beside it. Raises ``OSError``.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import XlsxWriterException

    # The library's own temporary files hold plates too: they lie in the private folder.
    book = Workbook(str(path), {
        "constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False,
        "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": True})
    book.set_properties({"created": _created(provenance)})
    try:
        _write_sheets(book, findings, withdrawn, progress)
        _write_provenance(book, findings, plates, provenance)
        book.close()
    except XlsxWriterException as error:
        cause = error.args[0] if error.args else None
        raise (cause if isinstance(cause, OSError) else OSError(str(error))) from error
    finally:
        _release(book)


def _release(book: Workbook) -> None:
    """Close the temporary files of the sheets, which the library leaves open when it fails."""
    for sheet in book.worksheets():
        with suppress(OSError):
            sheet.row_data_fh.close()


def _write_sheets(book: Workbook, findings: pl.DataFrame, withdrawn: pl.DataFrame | None,
                  progress: Progress | None) -> None:
    taken = {"history", "provenance", "withdrawn"}
    done = 0
    for wanted, rows in _sheets(findings):
        name, tell = _sheet_name(wanted, taken), _shifted(progress, done, findings.height)
        _write_sheet(book, name, rows, tell)
        done += rows.height
    if withdrawn is not None:
        _write_sheet(book, "withdrawn", withdrawn, None)


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Return the progress of one sheet as progress of the whole list."""
    return None if progress is None else lambda rows, _: progress(done + rows, total)


def _created(provenance: Mapping[str, str]) -> datetime:
    """Return the date that the file bears; never the clock's, or no two files were the same."""
    try:
        moment = datetime.fromisoformat(provenance.get("created_at", ""))
    except ValueError:
        return datetime(1980, 1, 1)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _sheets(findings: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the name and rows of each sheet: a regulation, in parts where it is too long."""
    if findings.is_empty():
        yield "findings", findings
    for regulation_id in findings["regulation_id"].unique().sort():
        rows = findings.filter(pl.col("regulation_id").eq_missing(pl.lit(regulation_id)))
        for part in rows.iter_slices(SHEET_ROWS):
            yield regulation_id or "findings", part


def _sheet_name(wanted: str, taken: set[str]) -> str:
    r"""Return a name that Excel takes (31 characters, none of ``[]:*?/\``), not yet taken."""
    name = base = re.sub(r"[\[\]:*?/\\]", "_", printable(wanted)).strip("' ")[:31] or "findings"
    count = 1
    while name.lower() in taken:
        count += 1
        name = f"{base[:25]} ({count})"
    taken.add(name.lower())
    return name


def _write_sheet(book: Workbook, name: str, rows: pl.DataFrame, progress: Progress | None) -> None:
    """Write one list: typed cells, header frozen, filter on, unverified rows coloured."""
    sheet = book.add_worksheet(name)
    bold = book.add_format({"bold": True, "bottom": 1})
    writers = _set_columns(book, sheet, rows)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, rows.height, rows.width - 1)
    for column, title in enumerate(rows.columns):
        sheet.write_string(0, column, title, bold)
    if not rows["is_verified"].fill_null(False).all():
        _mark_unverified(book, sheet, rows)
    # The library takes cells one by one, row after row: there is no other way into an XLSX.
    lines = (cells for block in slices(rows, progress) for cells in _cells(block).iter_rows())
    for line, cells in enumerate(lines, 1):
        for column, value in enumerate(cells):
            if value is not None:
                writers[column](line, column, value)


def _mark_unverified(book: Workbook, sheet: Worksheet, rows: pl.DataFrame) -> None:
    """Colour the rows that rest on unverified numbers; say so in a note on the clause's header."""
    from xlsxwriter.utility import xl_col_to_name

    sheet.write_comment(0, rows.columns.index("clause"), _UNVERIFIED, {"author": "rsd"})
    flag = xl_col_to_name(rows.columns.index("is_verified"), col_abs=True)
    sheet.conditional_format(1, 0, rows.height, rows.width - 1, {
        "type": "formula", "criteria": f"={flag}2<>TRUE",
        "format": book.add_format({"bg_color": "#FFE3B3"})})


def _set_columns(book: Workbook, sheet: Worksheet,
                 rows: pl.DataFrame) -> list[Callable[[int, int, Any], int]]:
    """Set width and number format of each column; return what writes a cell of each."""
    shown = {
        pl.Datetime: ('yyyy-mm-dd hh:mm:ss"Z"', 21, sheet.write_number),
        pl.Date: ("yyyy-mm-dd", 11, sheet.write_number),
        pl.Float64: ("0.0###", 9, sheet.write_number),
        pl.Int64: ("0", 8, sheet.write_number),
        pl.Int8: ("0", 8, sheet.write_number),
        pl.Boolean: ("General", 8, sheet.write_boolean),
    }
    formats: dict[str, Any] = {}
    writers = []
    for column, (name, dtype) in enumerate(rows.schema.items()):
        pattern, width, write = shown.get(dtype.base_type(), ("@", 0, sheet.write_string))
        longest = width or min(_longest(rows[name]), 40)
        style = formats.setdefault(pattern, book.add_format({"num_format": pattern}))
        sheet.set_column(column, column, max(longest, len(name)) + 2, style)
        writers.append(write)
    return writers


def _longest(texts: pl.Series) -> int:
    return max(texts.cast(pl.String, strict=False).str.len_chars().fill_null(0), default=0)


def _cells(block: pl.DataFrame) -> pl.DataFrame:
    """Return ``block`` as cells of a sheet: days of Excel for instants, numbers, flags, texts."""
    ready = []
    for name, dtype in block.schema.items():
        value = pl.col(name)
        if isinstance(dtype, (pl.Datetime, pl.Date)):
            value = value.dt.epoch("us") * _DAY_PER_US + _EXCEL_EPOCH_DAY
        ready.append(value.alias(name))
    cells = flat(block.select(ready))
    texts = [n for n, t in cells.schema.items()
             if not isinstance(t, (pl.Float64, pl.Int64, pl.Int8, pl.Boolean))]
    return cells.with_columns(_cell_text(pl.col(n).cast(pl.String)) for n in texts)


def _cell_text(text: pl.Expr) -> pl.Expr:
    """Return ``text`` as a cell may hold it: cut visibly if too long, and never read as markup.

    XlsxWriter in its mode of constant memory takes ``<r>…</r>`` for ready XML and writes it
    unescaped; an apostrophe before it makes it text again.
    """
    short = pl.when(text.str.len_chars() <= CELL_CHARACTERS).then(text).otherwise(
        text.str.head(CELL_CHARACTERS) + pl.lit(" … (cut)"))
    return pl.when(~short.str.starts_with("<r>")).then(short).otherwise(pl.lit("'") + short)


def _write_provenance(book: Workbook, findings: pl.DataFrame, plates: str,
                      provenance: Mapping[str, str]) -> None:
    """Write what a reader must know of the list, then where it is from."""
    unverified = int((~findings["is_verified"].fill_null(False)).sum())
    facts = {
        "instants": "UTC",
        "plates": plates,
        "findings": f"{findings.height}",
        "unverified": f"{unverified} of {findings.height} findings rest on regulatory numbers "
                      "that were not verified in the law's text: is_verified is FALSE, and the "
                      "row is coloured",
    }
    facts |= {key: value for key, value in provenance.items() if key not in facts}
    sheet = book.add_worksheet("provenance")
    bold = book.add_format({"bold": True})
    sheet.set_column(0, 0, 24, bold)
    sheet.set_column(1, 1, 100, book.add_format({"num_format": "@", "text_wrap": True}))
    texts = pl.DataFrame({"what": list(facts), "value": list(facts.values())},
                         schema={"what": pl.String, "value": pl.String})
    for line, cells in enumerate(texts.select(_cell_text(pl.all())).iter_rows()):
        for column, value in enumerate(cells):
            sheet.write_string(line, column, value)
