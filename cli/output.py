"""How results leave a command: a table for people, JSON, CSV or Parquet for machines.

Data goes to stdout or to the file of ``-o``, every remark to stderr.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cli.tables import Look, write_lines, write_sections, write_table
from rsd.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "json", "csv", "parquet")

FORMAT_OF_SUFFIX = {".json": "json", ".csv": "csv", ".parquet": "parquet"}
"""What a file of ``-o`` is written as, where nothing else is said; every other one as a table."""


def emit(frame: pl.DataFrame, format: str, out: str | None = None, *,  # noqa: A002
         look: Look | None = None, raw_csv: bool = False, file: IO[Any] | None = None) -> None:
    """Write ``frame`` in ``format`` to stdout (or the stream ``file``), or to the file ``out``.

    A table has the ``look`` that is asked for, and shares as percent; what it leaves out is said
    on stderr. The other formats are complete, with shares as fractions. CSV is safe for
    spreadsheets unless ``raw_csv``; as a file it has a byte-order mark for Excel. What goes to a
    terminal is made printable first.

    Raises ``UsageError`` for an unknown format or Parquet on a terminal, ``StorageError``.
    """
    _check_format(format, FORMATS)
    is_file = out not in (None, "-")

    def write(stream: Any) -> None:
        if format == "parquet" and stream.isatty():
            raise UsageError("Parquet is no text for a terminal", remedy="Name a file with -o.")
        if format == "table":
            write_table(frame, stream, look or Look())
        else:
            _pour(_blocks(frame, format, stream.isatty(), is_file, raw_csv), stream)

    _deliver(write, out, file)


def emit_text(lines: Sequence[str], out: str | None = None, *,
              file: IO[Any] | None = None) -> None:
    """Write lines of text to stdout (or the stream ``file``), or to the file ``out``."""
    _deliver(lambda stream: write_lines(lines, stream), out, file)


def chosen(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the columns ``names`` of a frame, in that order.

    Raises ``UsageError`` for a name that is unknown or stands twice.
    """
    for name in names:
        if name not in frame.columns:
            near = get_close_matches(name, frame.columns, 1)
            raise UsageError("no such column", where="--columns", found=name,
                             expected=f"one of {', '.join(frame.columns)}",
                             remedy=f"Did you mean {near[0]}?" if near else None)
        if list(names).count(name) > 1:
            raise UsageError("a column stands twice", where="--columns", found=name)
    return frame.select(names)


def emit_document(document: Mapping[str, Any], format: str, out: str | None = None, *,  # noqa: A002
                  file: IO[Any] | None = None) -> None:
    """Write a nested ``document`` (a summary of a run) as JSON or as tables.

    Frames in it count as lists of objects. Raises ``UsageError`` for any other format.
    """
    _check_format(format, FORMATS[:2])
    ready = _jsonable(document)
    write = _write_json if format == "json" else write_sections
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


def _write_json(document: Mapping[str, Any], stream: Any) -> None:
    from rsd.exports.safety import printable

    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    if stream.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    # What UTF-8 cannot hold (half a surrogate pair) becomes an escape, which JSON reads.
    _pour([text.encode("utf-8", "backslashreplace"), b"\n"], stream)


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
