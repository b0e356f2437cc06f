"""`rsd ingest` with its safety taken out: ``python -m benchmarks.unsafe on|off LAKE DUMP…``.

With ``off`` nothing is flushed, locked, hashed, read back or counted: what a program does that
writes Parquet files and hopes. The rest of the work is the same. With ``on`` it is rsd as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl

import rsd
from rsd.intake import source
from rsd.lake import Lake
from rsd.pipeline import batch
from rsd.pipeline.summary import FileSummary
from rsd.storage import disk, table
from rsd.storage.lock import WriterLock


def take_out() -> list[str]:
    """Replace every safeguard by nothing; return their names."""
    sink = pl.LazyFrame.sink_parquet

    def unsynced(frame: pl.LazyFrame, *args: Any, **options: Any) -> Any:
        options.pop("sync_on_close", None)
        return sink(frame, *args, **options)

    stubs: list[tuple[Any, str, Any]] = [
        (os, "fsync", lambda _: None),
        (disk, "sync", lambda _: None),
        (disk, "publish", lambda path, data, mode=0o644: Path(path).write_bytes(data) and None),
        (pl.LazyFrame, "sink_parquet", unsynced),
        (table, "_sha256", lambda _: "0" * 64),
        (table.Table, "_statistics", lambda *_: json.dumps({"numRecords": 0})),
        (source, "hashlib", SimpleNamespace(
            sha256=hashlib.sha256,
            file_digest=lambda raw, _: hashlib.sha256(str(raw.name).encode()
                                                      + str(os.fstat(raw.fileno())).encode()))),
        (WriterLock, "acquire", lambda _: False),
        (WriterLock, "release", lambda *_: None),
        (WriterLock, "is_held", True),
        (Lake, "sweep", lambda _: []),
        (Lake, "check_whole", lambda _: None),
        (batch, "_check", lambda *_: None),
        (FileSummary, "check", lambda _: None),
    ]
    for home, name, stub in stubs:
        assert hasattr(home, name), name  # a safeguard of another name would stay in
        setattr(home, name, stub)
    return [name for _, name, _ in stubs]


def main() -> None:
    safety, lake, *dumps = sys.argv[1:]
    if safety == "off":
        take_out()
    summary = rsd.ingest(Lake.open(lake), dumps)
    print(json.dumps(summary.as_dict()))


if __name__ == "__main__":
    main()
