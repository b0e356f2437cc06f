"""Rows gathered by a key: in memory while they are few, in files of a folder once they are many.

What is worked on key by key (a vehicle's history) needs all rows of one key together, but not all
keys at once. Rows that are many are dealt into files by a hash of the key, and each part is then
taken by itself.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl

from rsd.storage import disk

PARTS = 64
"""Parts that rows are dealt into once they are many."""

_SEED = 845  # another hash than the plain one, by which the rows may have been chosen


class Buckets:
    """Rows of one shape, added in any order, given back with all rows of a key together.

    Use it in a ``with``: leaving removes the files. ``folder`` is made when it is needed, by
    default in the system's place for such; nothing may stand there. Beyond ``most_rows`` the rows
    are put into files.
    """

    def __init__(self, key: str, folder: Path | None = None, *, most_rows: int,
                 parts: int = PARTS) -> None:
        self._key, self._wanted, self._folder = key, folder, folder
        self._most_rows, self._parts = most_rows, parts
        self._held: list[pl.DataFrame] = []
        self._rows = self._spills = 0

    def __enter__(self) -> Buckets:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._held.clear()
        if self._spills and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def spills(self) -> int:
        """How often rows were put into files; 0 while all are in memory."""
        return self._spills

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows. Raises StorageError when they are many and there is no place for them."""
        self._held.append(rows)
        self._rows += rows.height
        if self._rows >= self._most_rows:
            self._spill()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield all rows; those of one key are in one frame. Nothing is added after."""
        if not self._spills:
            if self._held:
                yield pl.concat(self._held)
            return
        self._spill()
        for number in range(self._parts):
            files = sorted(self._place().glob(f"{number}-*.parquet"))
            if files:
                yield pl.concat([pl.read_parquet(file, glob=False) for file in files])

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rsd-"))
        elif not self._spills:
            self._folder.mkdir(mode=0o700)
        return self._folder

    def _spill(self) -> None:
        if not self._held:
            return
        part = (pl.col(self._key).hash(_SEED) % self._parts).alias("_part")
        dealt = pl.concat(self._held).with_columns(part).partition_by(
            "_part", as_dict=True, include_key=False)
        self._held.clear()
        what = "the readings to look through cannot be put aside"
        with disk.guard(self._wanted or tempfile.gettempdir(), what):
            place = self._place()
        self._spills, self._rows = self._spills + 1, 0
        for (number,), rows in dealt.items():
            file = place / f"{number}-{self._spills:06}.parquet"
            try:
                rows.write_parquet(file, compression="zstd", compression_level=1, statistics=False)
            except Exception as error:
                code = getattr(error, "errno", None) or disk.system_error(error)
                if code is None:
                    raise
                raise disk.storage_error(code, file, what) from error
