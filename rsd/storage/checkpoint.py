"""Checkpoints: the sum of a log's entries in one Parquet file, so that opening stays quick.

The deltalake library makes them, in a scratch folder of hard links to the log; the finished file
is flushed and renamed in. A crash midway leaves no half checkpoint that other readers trust.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from rsd.storage import disk, log

EVERY = 50
"""Commits between two checkpoints."""

_POINTER = "_last_checkpoint"


def make(table: Path, version: int) -> None:
    """Write the checkpoint of a table's ``version``. Raises OSError or a fault of deltalake."""
    import deltalake  # 0.08 s: only the one commit in fifty pays for it

    real = table / "_delta_log"
    scratch = table / f".checkpoint.{secrets.token_hex(4)}{disk.TEMPORARY}"
    copy = scratch / "_delta_log"
    try:
        copy.mkdir(parents=True)
        earlier = [c for c in log.versions(real)[1] if c < version]
        start = earlier[-1] if earlier else 0
        names = [log.entry_path(real, v) for v in range(start, version + 1)]
        names += [log.checkpoint_path(real, start)] if earlier else []
        for name in names:
            os.link(name, copy / name.name)
        deltalake.DeltaTable(str(scratch)).create_checkpoint()
        disk.move_in(log.checkpoint_path(copy, version), log.checkpoint_path(real, version))
        disk.replace(real / _POINTER, (copy / _POINTER).read_bytes())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
