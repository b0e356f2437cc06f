"""What makes an output safe: for a spreadsheet, a terminal, a JSON reader, and for the disk.

Nothing that came in a dump may act when somebody opens the output: no formula, no escape
sequence, no path. And no half-written file may carry the name of a finished one.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from rsd.errors import StorageError

Progress = Callable[[int, int], object]
"""Called with the rows done and the rows in all."""

SLICE_ROWS = 10_000
"""Rows that are turned into text at a time: it bounds the memory of an export."""

BOM = "\ufeff".encode()
"""Byte-order mark of UTF-8: Excel reads a CSV without it in the local code page."""

_INVISIBLE = r"[\s\p{Cc}\p{Cf}]*"
_FORMULA = rf"^'*(?:[\t\r\n]|{_INVISIBLE}[=+\-@＝＋－＠])"
"""Text that a spreadsheet takes for a formula. Leading apostrophes belong to it, so that
removing one apostrophe always gives back what was there."""

_SEQUENCE = (r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"      # operating-system command, with its end
             r"|\x1b[PX^_][^\x1b]*\x1b\\"              # device control and other strings
             r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"      # colours, cursor movements
             r"|\x1b[ -/]*[0-~]")                      # the short ones; ECMA-48, section 5
_BREAKS = r"[\t\n\x0b\x0c\r\x85\u2028\u2029]+"
_HIDDEN = (r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f"
           r"\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SEQUENCE_RE, _BREAKS_RE, _HIDDEN_RE = map(re.compile, (_SEQUENCE, _BREAKS, _HIDDEN))

_REMEDY = {
    errno.ENOSPC: "Free some space or choose another disk.",
    errno.EDQUOT: "Free some space or choose another disk.",
    errno.EFBIG: "Raise the limit of file sizes or choose another disk.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "Choose a folder that you may write to.",
    errno.ENOENT: "Make the folder first.",
    errno.ENOTDIR: "Make the folder first.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def printable(text: str) -> str:
    r"""Return ``text`` as one line that only shows: for consoles, logs and messages.

    Escape sequences, control characters, bidirectional and invisible marks go; tabs and line
    ends become one space.

    >>> printable("a\x1b[31mred\x1b[0m\nb\u202e")
    'ared b'
    """
    text = _BREAKS_RE.sub(" ", _SEQUENCE_RE.sub("", text))
    return _SURROGATE.sub("\ufffd", _HIDDEN_RE.sub("", text))


def printable_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with every text made printable, as ``printable`` does."""
    text = pl.col(pl.String).str.replace_all(_SEQUENCE, "")
    return frame.with_columns(text.str.replace_all(_BREAKS, " ").str.replace_all(_HIDDEN, ""))


def csv_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with an apostrophe before each text that a spreadsheet would run.

    Concerned are texts, and names of columns, that begin with ``= + - @``, their full-width
    forms (also after blanks and invisible characters), tab, CR or LF; numbers never. One
    apostrophe taken away from such a text gives back the original (OWASP, CSV injection).

    >>> csv_safe(pl.DataFrame({"a": ["=1+1", "1"]}))["a"].to_list()
    ["'=1+1", '1']
    """
    named = frame.rename(_safe_names(frame.columns))
    texts = [pl.col(name).cast(pl.String) for name, dtype in named.schema.items()
             if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum))]
    return named.with_columns(
        pl.when(~t.str.contains(_FORMULA)).then(t).otherwise(pl.lit("'") + t) for t in texts)


def _safe_names(names: list[str]) -> dict[str, str]:
    held = pl.Series(names, dtype=pl.String).str.contains(_FORMULA)
    return {name: f"'{name}" for name, runs in zip(names, held, strict=True) if runs}


def text_of_bytes(raw: bytes) -> str:
    r"""Return ``raw`` as text; what is no text (in UTF-8, or a control) as ``\xNN``.

    >>> text_of_bytes(b"a\xff\x00")
    'a\\xff\\x00'
    """
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", lambda m: f"\\x{ord(m[0]):02x}",
                  raw.decode("utf-8", "backslashreplace"))


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` in the types that JSON has.

    Instants become ISO 8601 with ``Z``, clock times and dates ISO 8601 without, NaN and
    infinities null, bytes text with ``\\xNN``; lists and structures keep their shape.
    """
    return frame.with_columns(_plain(pl.col(n), t).alias(n) for n, t in frame.schema.items())


def _plain(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    ready = value
    match dtype:
        case pl.Datetime():
            ready = _instant(value, dtype.time_zone)
        case pl.Date() | pl.Time() | pl.Duration():
            ready = value.dt.to_string("iso")
        case pl.Float64() | pl.Float32():
            ready = pl.when(value.is_finite()).then(value)
        case pl.Decimal():
            ready = value.cast(pl.Float64 if dtype.scale else pl.Int128)
        case pl.Categorical() | pl.Enum():
            ready = value.cast(pl.String)
        case pl.Binary():
            ready = value.map_elements(text_of_bytes, return_dtype=pl.String)
        case pl.List():
            ready = value.list.eval(_plain(pl.element(), _type(dtype.inner)))
        case pl.Array():
            ready = _plain(value.arr.to_list(), pl.List(dtype.inner))
        case pl.Struct():
            ready = value.struct.with_fields(
                _plain(pl.field(f.name), _type(f.dtype)).alias(f.name) for f in dtype.fields)
    return ready


def _instant(value: pl.Expr, zone: str | None) -> pl.Expr:
    """Return ISO 8601, in UTC with ``Z`` where the column knows its zone."""
    if zone is None:
        return value.dt.strftime("%Y-%m-%dT%H:%M:%S%.f")
    return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")


def _type(dtype: Any) -> pl.DataType:
    """Return an instance of a Polars type; its own attributes give classes too."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` as ``plain`` does, with lists joined by ``;``, structures as JSON text."""
    rows = plain(frame)
    return rows.with_columns(_flat(pl.col(n), t).alias(n) for n, t in rows.schema.items()
                             if isinstance(t, (pl.List, pl.Struct)))


def _flat(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        return value.list.eval(_flat(pl.element(), _type(dtype.inner))).list.join(";")
    return value.struct.json_encode() if isinstance(dtype, pl.Struct) else value.cast(pl.String)


def slices(frame: pl.DataFrame, progress: Progress | None = None) -> Iterator[pl.DataFrame]:
    """Yield ``frame`` in slices of ``SLICE_ROWS``, reporting each one when it is done with."""
    done = 0
    for block in frame.iter_slices(SLICE_ROWS):
        yield block
        done += block.height
        if progress is not None:
            progress(done, frame.height)


def csv_blocks(frame: pl.DataFrame, *, raw: bool = False,
               progress: Progress | None = None) -> Iterator[bytes]:
    """Yield the CSV of ``frame`` in UTF-8, header first; ``raw`` leaves formulas alive."""
    def ready(block: pl.DataFrame) -> pl.DataFrame:
        return flat(block) if raw else csv_safe(flat(block))

    yield ready(frame.head(0)).write_csv().encode()
    for block in slices(frame, progress):
        yield ready(block).write_csv(include_header=False).encode()


def json_rows(frame: pl.DataFrame, progress: Progress | None = None,
              shape: Callable[[pl.DataFrame], pl.DataFrame] = lambda block: block
              ) -> Iterator[bytes]:
    """Yield the rows of ``frame`` as JSON objects, one a line, with commas between them.

    ``shape`` makes of each slice what is written, row for row.
    """
    lead = b""
    for block in slices(frame, progress):
        lines = BytesIO()
        plain(shape(block)).write_ndjson(lines)
        # A line end inside a text is escaped in JSON: every raw one stands between two rows.
        yield lead + lines.getvalue()[:-1].replace(b"\n", b",\n")
        lead = b",\n"


def json_blocks(frame: pl.DataFrame, progress: Progress | None = None) -> Iterator[bytes]:
    """Yield ``frame`` as a JSON array of objects, complete, in UTF-8."""
    yield b"[\n"
    yield from json_rows(frame, progress)
    yield b"\n]\n" if frame.height else b"]\n"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a private path beside ``path``; what is written there takes its place at the end.

    The new file is flushed to the disk before it gets the name, and keeps the rights of the
    file it replaces. Whatever fails leaves the old file as it was, and no litter.

    Raises ``StorageError`` for every error of the disk, also one that Polars reports.
    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            raise StorageError("cannot be written", where=str(path), expected="a regular file",
                               remedy="Name a file, not a folder or a device.")
        with TemporaryDirectory(prefix=".rsd-", dir=target.parent) as room:
            staged = Path(room) / f"new{target.suffix}"
            yield staged
            if target.exists():
                shutil.copymode(target, staged)
            _sync(staged)
            os.replace(staged, target)
        _sync(target.parent)
    except OSError as error:
        raise storage_error(str(path), error) from error
    except pl.exceptions.ComputeError as error:
        # Polars has no class for it: what a full disk does to Parquet is told by these words.
        if not re.search("os error|transport error", str(error)):
            raise
        raise StorageError("cannot be written", where=str(path), found=printable(str(error)),
                           remedy="Check the disk's space and your rights.") from error


def storage_error(where: str, error: OSError) -> StorageError:
    """Say what the system's ``error`` means for the file ``where``."""
    return StorageError("cannot be written", where=printable(where),
                        found=(error.strerror or str(error)).lower(),
                        remedy=_REMEDY.get(error.errno or 0, "Check the disk and your rights."))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
