"""Bytes → what intake makes of them: support of the intake tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import polars as pl

from rsd.columns import QUARANTINE, REPORTED, empty, schema
from rsd.intake import records
from rsd.intake.records import Reader
from rsd.intake.source import fingerprint, stream_chunks

SHANGHAI = "Asia/Shanghai"
SIZES = (None, 64, 101, 400)
"""Chunk sizes: one chunk for all, and some so small that everything straddles a border."""


@dataclass(frozen=True)
class Account:
    """All chunks of a dump together."""

    frame: pl.DataFrame
    quarantine: pl.DataFrame
    blank: int
    reader: Reader

    @property
    def accepted(self) -> list[int]:
        """Physical lines of the accepted records."""
        return self.frame["source_line"].to_list()

    @property
    def bad(self) -> list[tuple[int, str, str | None]]:
        """Line, first word of the reason, and column of each quarantined record."""
        rows = self.quarantine.select("line", "reason", "column").iter_rows()
        return [(line, reason.split(" ")[0], column) for line, reason, column in rows]

    def column(self, name: str) -> list[object]:
        return self.frame[name].to_list()


@contextmanager
def chunks_of(size: int | None) -> Iterator[None]:
    """Let a `Reader` that is made inside read chunks of about so many bytes."""
    if size is None:
        yield
        return
    with patch.object(records, "stream_chunks", partial(stream_chunks, size=size)):
        yield


def open_reader(path: Path, timezone: str = SHANGHAI, format_id: str | None = None,
                size: int | None = None) -> Reader:
    with chunks_of(size):
        return Reader(fingerprint(path), timezone, format_id)


def read_path(path: Path, timezone: str = SHANGHAI, format_id: str | None = None,
              size: int | None = None) -> Account:
    reader = open_reader(path, timezone, format_id, size)
    parts = list(reader)
    return Account(
        pl.concat([empty(REPORTED), *(p.frame.cast(dict(schema(REPORTED))) for p in parts)]),
        pl.concat([empty(QUARANTINE), *(p.quarantine for p in parts)]),
        sum(p.blank for p in parts),
        reader,
    )


def read(data: bytes, timezone: str = SHANGHAI, format_id: str | None = None,
         size: int | None = None, name: str = "dump.csv") -> Account:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return read_path(path, timezone, format_id, size)


def assert_exact(account: Account, data: bytes) -> None:
    """Each quarantined record's raw bytes stand at its offset, and its line is that offset's."""
    for line, offset, raw in account.quarantine.select("line", "byte_offset", "raw").iter_rows():
        assert data[offset:offset + len(raw)] == raw
        before = data[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert line == before.count(b"\n") + 1
