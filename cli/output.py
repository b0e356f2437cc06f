"""How results leave a command: a table for people, JSON, CSV or Parquet for machines.

Data goes to stdout or to the file of ``-o``, every remark to stderr.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rsd.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "json", "csv", "parquet")

MAX_ROWS = 50
"""Rows that a table shows; every other format is complete."""


def emit(frame: pl.DataFrame, format: str, out: str | None = None, *,  # noqa: A002
         title: str | None = None, max_rows: int = MAX_ROWS, percent: Sequence[str] = (),
         raw_csv: bool = False, file: IO[Any] | None = None) -> None:
    """Write ``frame`` in ``format`` to stdout (or the stream ``file``), or to the file ``out``.

    A table shows ``max_rows`` rows and says so on stderr, and shares (columns ``rate_…`` and those
    of ``percent``) as percent; the other formats are complete, with shares as fractions. CSV is
    safe for spreadsheets unless ``raw_csv``; as a file it has a byte-order mark for Excel. What
    goes to a terminal is made printable first.

    Raises ``UsageError`` for an unknown format or Parquet on a terminal, ``StorageError``.
    """
    _check_format(format, FORMATS)
    is_file = out not in (None, "-")

    def write(stream: Any) -> None:
        if format == "parquet" and stream.isatty():
            raise UsageError("Parquet is no text for a terminal", remedy="Name a file with -o.")
        if format == "table":
            _write_table(frame, stream, title, max_rows, percent)
        else:
            _pour(_blocks(frame, format, stream.isatty(), is_file, raw_csv), stream)

    _deliver(write, out, file)


def emit_document(document: Mapping[str, Any], format: str, out: str | None = None, *,  # noqa: A002
                  file: IO[Any] | None = None) -> None:
    """Write a nested ``document`` (a summary of a run) as JSON or as tables.

    Frames in it count as lists of objects. Raises ``UsageError`` for any other format.
    """
    _check_format(format, FORMATS[:2])
    ready = _jsonable(document)
    write = _write_json if format == "json" else _write_sections
    _deliver(lambda stream: write(ready, stream), out, file)


def _check_format(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UsageError("no such output format", where="--format", found=repr(name),
                         expected=", ".join(known))


def _deliver(write: Callable[[Any], None], out: str | None, file: IO[Any] | None) -> None:
    """Let ``write`` write to stdout, to a caller's stream, or to a file that appears whole."""
    if out is None or out == "-":
        stream = sys.stdout if file is None else file
        with _careful(stream):
            write(stream)
        return
    from rsd.exports.safety import replacing

    with replacing(Path(out)) as staged, staged.open("wb") as target:
        write(target)


def _blocks(frame: pl.DataFrame, name: str, is_terminal: bool, is_file: bool,
            raw_csv: bool) -> Iterator[bytes]:
    from rsd.exports.safety import BOM, csv_blocks, json_blocks, printable_frame

    shown = printable_frame(frame) if is_terminal else frame
    if name == "json":
        yield from json_blocks(shown)
    elif name == "csv":
        yield BOM if is_file else b""
        yield from csv_blocks(shown, raw=raw_csv)
    else:
        parquet = io.BytesIO()
        frame.write_parquet(parquet)
        yield parquet.getvalue()


def _pour(blocks: Iterable[bytes], stream: Any) -> None:
    """Write bytes; through the buffer of a text stream, because our outputs are UTF-8."""
    if not isinstance(stream, io.TextIOBase):
        stream.writelines(blocks)
    elif hasattr(stream, "buffer"):
        stream.flush()
        stream.buffer.writelines(blocks)
    else:
        stream.writelines(block.decode() for block in blocks)


@contextmanager
def _careful(stream: Any) -> Iterator[None]:
    """Be quiet when the reader has gone (``| head``); say it when the disk behind is full."""
    from rsd.exports.safety import storage_error

    try:
        yield
        stream.flush()
    except BrokenPipeError:
        _abandon(stream)
    except OSError as error:
        raise storage_error("standard output", error) from error


def _abandon(stream: Any) -> None:
    """Point the stream to nowhere, so that what is left in its buffer fails no more at exit."""
    try:
        handle = stream.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, handle)
    os.close(nowhere)


def _write_table(frame: pl.DataFrame, stream: Any, title: str | None, max_rows: int,
                 percent: Sequence[str]) -> None:
    from rsd.exports.safety import plain

    head = plain(frame.head(max_rows))
    shares = {n for n in frame.columns if n.startswith("rate_") or n in percent}
    rows = [[_cell(value, name in shares) for name, value in zip(head.columns, row, strict=True)]
            for row in head.iter_rows()]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    _print_table(frame.columns, rows, right, stream, title)
    if frame.height > max_rows:
        sys.stderr.write(f"{max_rows:,} of {frame.height:,} rows; use --format csv for all\n")


def _cell(value: Any, is_share: bool = False) -> str:
    """Return what a person reads: six digits, percent for shares, nothing for null."""
    from rsd.exports.safety import printable

    match value:
        case None:
            text = ""
        case bool():
            text = str(value).lower()
        case int() | float() if is_share:
            text = f"{value * 100:.2f} %"
        case float():
            text = f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case list() | tuple():
            text = ", ".join(_cell(v) for v in value)
        case dict():
            text = ", ".join(f"{_cell(k)}={_cell(v)}" for k, v in value.items())
        case _:
            text = printable(str(value))
    return text


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool],
                 stream: Any, title: str | None) -> None:
    """Print cells by rich on a terminal, else as aligned plain text."""
    from rsd.exports.safety import printable

    heads = [printable(name) for name in names]
    if stream.isatty():
        _print_rich(heads, rows, right, stream, title)
        return
    lines = [] if title is None else [printable(title), ""]
    text = "".join(f"{line}\n" for line in (*lines, *_aligned(heads, rows, right)))
    if isinstance(stream, io.TextIOBase):
        code = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(code, "replace").decode(code))
    else:
        stream.write(text.encode())


def _print_rich(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool],
                stream: Any, title: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rsd.exports.safety import printable

    # Text, never str: square brackets in data are no markup.
    table = Table(title=None if title is None else Text(printable(title)), box=SIMPLE_HEAD)
    for head, is_right in zip(heads, right, strict=True):
        table.add_column(Text(head), justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=stream).print(table)


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]],
             right: Sequence[bool]) -> list[str]:
    """Return lines of a plain table; Chinese characters count as two columns."""
    widths = [max(map(_width, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * width for width in widths]

    def line(cells: Sequence[str]) -> str:
        fields = [" " * (w - _width(c)) + c if r else c + " " * (w - _width(c))
                  for c, w, r in zip(cells, widths, right, strict=True)]
        return "  ".join(fields).rstrip()

    return [line(heads), line(rule), *map(line, rows)]


def _width(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal (Unicode annex 11)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF"
               else 1 for c in text)


def _write_json(document: Mapping[str, Any], stream: Any) -> None:
    from rsd.exports.safety import printable

    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    if stream.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    # What UTF-8 cannot hold (half a surrogate pair) becomes an escape, which JSON reads.
    _pour([text.encode("utf-8", "backslashreplace"), b"\n"], stream)


def _write_sections(document: Mapping[str, Any], stream: Any) -> None:
    """Print the plain facts first, then each object or list of objects under its name."""
    facts = {key: value for key, value in document.items() if not _is_section(value)}
    sections = ({"": facts} if facts else {}) | {k: v for k, v in document.items()
                                                 if _is_section(v)}
    for title, section in sections.items():
        _print_section(section, stream, title or None)


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value))


def _print_section(section: Any, stream: Any, title: str | None) -> None:
    """Print an object as names and values, a list of objects as a row each."""
    if isinstance(section, dict):
        _print_table(("what", "value"), [(_cell(k), _cell(v)) for k, v in section.items()],
                     (False, False), stream, title)
        return
    names = list(dict.fromkeys(name for row in section for name in row))
    right = [all(isinstance(row.get(name), (int, float, type(None))) for row in section)
             for name in names]
    rows = [[_cell(row.get(name)) for name in names] for row in section]
    _print_table(names, rows, right, stream, title)


def _jsonable(value: Any) -> Any:
    """Return ``value`` in the types of JSON, as ``rsd.exports.safety.plain`` does for a frame."""
    from rsd.exports.safety import text_of_bytes

    ready: Any
    match value:
        case None | bool() | int() | str():
            ready = value
        case float():
            ready = value if math.isfinite(value) else None
        case datetime():
            ready = _instant(value)
        case date():
            ready = value.isoformat()
        case bytes():
            ready = text_of_bytes(value)
        case Mapping():
            ready = {str(key): _jsonable(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            ready = [_jsonable(item) for item in value]
        case _ if hasattr(value, "to_dicts"):
            ready = _jsonable(value.to_dicts())
        case _:
            ready = _jsonable(value.item()) if hasattr(value, "item") else str(value)
    return ready


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
