"""A list of findings as an XLSX workbook, typed, and with nothing in it that acts.

A sheet a regulation, then one with the evidence of each record of proof, one that says what each
column means, one of what was withdrawn, and one that says where all of it is from. Texts stay
texts: no formula, no link, no number guessed from digits. Numbers have sixteen digits, as Excel
keeps them. Memory stays bounded, because rows go to the disk as they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rsd.columns import FINDINGS
from rsd.exports.evidence import PLACES, PROOF, SUMMARY, columns, proof_rows
from rsd.exports.safety import Progress, flat, printable, slices
from rsd.exports.words import Words

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

SHEET_ROWS = 1_048_575
"""Rows below the header that one sheet of an XLSX takes (Excel specifications and limits)."""

CELL_CHARACTERS = 16_000
"""Characters that one cell shows: Excel's 32,767 count a character outside the first plane
twice."""

_BESIDE = ("regulation_id", "vehicle_id", "plate", "plate_color", "pollutant", "found_at", "unit")
"""Columns of a finding that stand before each of its records of proof."""
_WIDE_FROM = "\u1100"
"""First of the characters that are two columns wide, near enough for the width of a column."""
SAMPLE_ROWS = 1_000
"""Rows that a column's width is taken from."""

_EXCEL_EPOCH_DAY = 25_569
"""1970-01-01 in Excel's count of days."""
_DAY_PER_US = 1 / 86_400e6


def write_workbook(path: Path, findings: pl.DataFrame, *, withdrawn: pl.DataFrame | None,
                   plates: str, provenance: Mapping[str, str], words: Words,
                   progress: Progress | None = None) -> None:
    """Write the sheets that this module's own description names.

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
        _write_sheets(book, findings, withdrawn, words, progress)
        _write_provenance(book, findings, plates, provenance, words)
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
                  words: Words, progress: Progress | None) -> None:
    taken = {"history", *(words.text(f"sheet_{name}").lower()
                          for name in ("withdrawn", "columns", "provenance", "evidence"))}
    has_evidence = "evidence_missing" in findings.columns
    detail = [name for place in PLACES for name in columns(place)] if has_evidence else []
    total = findings.height * (2 if has_evidence else 1)
    done = 0
    for wanted, rows in _sheets(findings.drop(detail), words):
        name, tell = _sheet_name(wanted, taken), _shifted(progress, done, total)
        _write_sheet(book, name, rows, words, tell)
        done += rows.height
    if has_evidence:
        # a finding has up to two rows of proof; progress counts findings
        _write_evidence(book, findings, words, taken, _shifted(progress, done, total))
        _write_columns(book, findings, words)
    if withdrawn is not None:
        _write_sheet(book, words.text("sheet_withdrawn"), withdrawn, words, None)


def _write_evidence(book: Workbook, findings: pl.DataFrame, words: Words, taken: set[str],
                    progress: Progress | None) -> None:
    """Write a row a record of proof, on as many sheets as they need."""
    per_sheet = SHEET_ROWS // len(PLACES)
    taken.discard(words.text("sheet_evidence").lower())
    for start in range(0, max(findings.height, 1), per_sheet):
        part = findings.slice(start, per_sheet)
        name = _sheet_name(words.text("sheet_evidence"), taken)
        rows = proof_rows(part, [*_BESIDE, "finding_id"])
        tell = None if progress is None or not rows.height else _scaled(
            progress, start, part.height / rows.height)
        _write_sheet(book, name, rows, words, tell)


def _scaled(progress: Progress, start: int, share: float) -> Progress:
    return lambda rows, total: progress(start + round(rows * share), total)


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


def _sheets(findings: pl.DataFrame, words: Words) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the name and rows of each sheet: a regulation, in parts where it is too long."""
    if findings.is_empty():
        yield words.text("sheet_findings"), findings
    for regulation_id in findings["regulation_id"].unique().sort():
        rows = findings.filter(pl.col("regulation_id").eq_missing(pl.lit(regulation_id)))
        for part in rows.iter_slices(SHEET_ROWS):
            yield regulation_id or words.text("sheet_findings"), part


def _sheet_name(wanted: str, taken: set[str]) -> str:
    r"""Return a name that Excel takes (31 characters, none of ``[]:*?/\``), not yet taken."""
    name = base = re.sub(r"[\[\]:*?/\\]", "_", printable(wanted)).strip("' ")[:31] or "findings"
    count = 1
    while name.lower() in taken:
        count += 1
        name = f"{base[:25]} ({count})"
    taken.add(name.lower())
    return name


def _write_sheet(book: Workbook, name: str, rows: pl.DataFrame, words: Words,
                 progress: Progress | None) -> None:
    """Write one list: typed cells, header frozen, filter on, unverified rows coloured."""
    sheet = book.add_worksheet(name)
    bold = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
    titles = [words.heading(name) for name in rows.columns]
    writers = _set_columns(book, sheet, rows, titles, words)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, rows.height, rows.width - 1)
    for column, title in enumerate(titles):
        sheet.write_string(0, column, title, bold)
    if "is_verified" in rows.columns and not rows["is_verified"].fill_null(False).all():
        _mark_unverified(book, sheet, rows, words)
    # The library takes cells one by one, row after row: there is no other way into an XLSX.
    lines = (cells for block in slices(rows, progress)
             for cells in _cells(words.translated(block)).iter_rows())
    for line, cells in enumerate(lines, 1):
        for column, value in enumerate(cells):
            if value is not None:
                writers[column](line, column, value)


def _mark_unverified(book: Workbook, sheet: Worksheet, rows: pl.DataFrame, words: Words) -> None:
    """Colour the rows that rest on unverified numbers; say so in a note on the clause's header."""
    from xlsxwriter.utility import xl_col_to_name

    sheet.write_comment(0, rows.columns.index("clause"), words.text("unverified_note"),
                        {"author": "rsd"})
    flag = xl_col_to_name(rows.columns.index("is_verified"), col_abs=True)
    sheet.conditional_format(1, 0, rows.height, rows.width - 1, {
        "type": "formula", "criteria": f"={flag}2<>TRUE",
        "format": book.add_format({"bg_color": "#FFE3B3"})})


def _set_columns(book: Workbook, sheet: Worksheet, rows: pl.DataFrame, titles: list[str],
                 words: Words) -> list[Callable[[int, int, Any], int]]:
    """Set width and number format of each column; return what writes a cell of each."""
    shown: dict[type[pl.DataType] | None, tuple[str, int, Callable[[int, int, Any], int]]] = {
        pl.Datetime: ('yyyy-mm-dd hh:mm:ss"Z"', 21, sheet.write_number),
        None: ("yyyy-mm-dd hh:mm:ss", 20, sheet.write_number),
        pl.Date: ("yyyy-mm-dd", 11, sheet.write_number),
        pl.Float64: ("0.0###", 9, sheet.write_number),
        pl.Int64: ("0", 8, sheet.write_number),
        pl.Int8: ("0", 8, sheet.write_number),
        pl.Boolean: ("General", 8, sheet.write_boolean),
    }
    formats: dict[str, Any] = {}
    writers = []
    sample = words.translated(rows.head(SAMPLE_ROWS))
    for column, (name, dtype) in enumerate(rows.schema.items()):
        is_local = isinstance(dtype, pl.Datetime) and dtype.time_zone is None
        pattern, width, write = shown.get(None if is_local else dtype.base_type(),
                                          ("@", 0, sheet.write_string))
        longest = width or min(_longest(sample[name]), 40)
        style = formats.setdefault(pattern, book.add_format({"num_format": pattern}))
        sheet.set_column(column, column, max(longest, _width(titles[column])) + 2, style)
        writers.append(write)
    return writers


def _longest(texts: pl.Series) -> int:
    shown = texts.list.join(";") if isinstance(texts.dtype, pl.List) else texts
    shown = shown.cast(pl.String, strict=False).fill_null("")
    wide = shown.str.count_matches(f"[{_WIDE_FROM}-\U0010ffff]")
    return int((shown.str.len_chars() + wide).max() or 0)  # type: ignore[arg-type]


def _width(title: str) -> int:
    return len(title) + sum(character >= _WIDE_FROM for character in title)


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


def _write_columns(book: Workbook, findings: pl.DataFrame, words: Words) -> None:
    """Write what each column of the other sheets means."""
    known = {c.name: c for c in (*FINDINGS, *SUMMARY, *PROOF)}
    detail = {c.name for c in PROOF} if "evidence_missing" in findings.columns else set()
    names = [n for n in known if n in findings.columns or n in detail]
    rows = [(name, words.heading(name), known[name].unit, known[name].meaning) for name in names]
    titles = tuple(words.text(f"column_{w}") for w in ("name", "heading", "unit", "meaning"))
    sheet = _plain_sheet(book, words.text("sheet_columns"), (22, 26, 10, 90), [titles, *rows])
    sheet.freeze_panes(1, 0)


def _write_provenance(book: Workbook, findings: pl.DataFrame, plates: str,
                      provenance: Mapping[str, str], words: Words) -> None:
    """Write what a reader must know of the list, then where it is from."""
    counts = {"findings": findings.height,
              "unverified": int((~findings["is_verified"].fill_null(False)).sum())}
    has_evidence = "evidence_incomplete" in findings.columns
    zone = provenance.get("timezone", "")
    facts = {
        words.text("key_instants"): words.text("instants", timezone=zone) if has_evidence
        else words.text("instants_utc"),
        words.text("key_plates"): words.text(f"plates_{plates}"),
        words.text("key_findings"): f"{findings.height}",
        words.text("key_unverified"): words.text("unverified_rows", **counts),
    }
    if has_evidence:
        incomplete = int(findings["evidence_incomplete"].sum())
        facts[words.text("key_evidence")] = words.text(
            "incomplete_rows", findings=findings.height, incomplete=incomplete)
    facts |= {key: value for key, value in provenance.items() if key not in facts}
    _plain_sheet(book, words.text("sheet_provenance"), (24, 100), list(facts.items()))


def _plain_sheet(book: Workbook, name: str, widths: tuple[int, ...],
                 rows: list[tuple[str, ...]]) -> Worksheet:
    """Write texts, the first column bold and the last one wrapped."""
    sheet = book.add_worksheet(name)
    bold, text = book.add_format({"bold": True}), book.add_format({"num_format": "@"})
    wrapped = book.add_format({"num_format": "@", "text_wrap": True})
    for column, width in enumerate(widths):
        style = bold if column == 0 else wrapped if column == len(widths) - 1 else text
        sheet.set_column(column, column, width, style)
    frame = pl.DataFrame(rows, schema=[(f"{k}", pl.String) for k in range(len(widths))],
                         orient="row")
    for line, cells in enumerate(frame.select(_cell_text(pl.all())).iter_rows()):
        for column, value in enumerate(cells):
            sheet.write_string(line, column, value)
    return sheet
