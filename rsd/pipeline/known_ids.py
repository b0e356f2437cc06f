"""Which ids a table knows already: 8 bytes of hash each, sorted, so that many can be asked.

Only a first look: where hashes meet, the caller compares the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from rsd.lake import Table
from rsd.pipeline.hash_index import Hashes, Positions

_MOST = 16_000_000  # hashes that are held, 128 MB; what is beyond is read again for each batch


class KnownIds:
    """Hashes of the ids in a column of a table, read once a run where memory allows it."""

    def __init__(self, table: Table, column: str) -> None:
        self._table, self._column = table, column
        self._held: set[str] = set()
        self._levels: list[Hashes] = []  # each sorted, and at least twice as long as the next

    def met(self, asked: Hashes) -> pl.Series:
        """Return those of some hashes (sorted) that the table has, each once."""
        self._hold()
        others = [f for f in self._table.files() if f.name not in self._held]
        found = [level[_places(level, asked)] for level in self._levels]
        met = [pl.Series(np.concatenate([np.empty(0, np.uint64), *found]))]
        if others:
            ids = pl.LazyFrame({"id": asked})
            met.append(self._hashes(others).join(ids, on="id", how="semi").collect(
                engine="streaming").to_series())
        return pl.concat(met).unique()

    def add(self, files: Iterable[Path], hashes: Hashes) -> None:
        """Know the hashes (sorted) of files that were committed."""
        if self._size() + hashes.size <= _MOST:
            self._held.update(path.name for path in files)
            self._insert(hashes)

    def replaced(self, files: dict[Path, Path]) -> None:
        """Know that files were written again, with no id that they had not (old → new)."""
        self._held.update(new.name for old, new in files.items() if old.name in self._held)

    def _hold(self) -> None:
        """Read what is not known yet, as far as it may be held."""
        room, names = _MOST - self._size(), []
        for file in self._table.snapshot().files.values():
            rows = int(file.statistics.get("numRecords", _MOST + 1))
            if file.name not in self._held and rows <= room:
                names.append(file.name)
                room -= rows
        if names:
            files = [self._table.folder / name for name in names]
            hashes = self._hashes(files).collect(engine="streaming").to_series()
            self._insert(np.sort(hashes.to_numpy()))
            self._held.update(names)

    def _hashes(self, files: Sequence[Path]) -> pl.LazyFrame:
        return pl.scan_parquet(list(files), glob=False).select(id=pl.col(self._column).hash())

    def _insert(self, hashes: Hashes) -> None:
        self._levels.append(hashes)
        while len(self._levels) > 1 and self._levels[-2].size < 2 * self._levels[-1].size:
            both = np.concatenate([self._levels[-2], self._levels.pop()])
            both.sort(kind="stable")  # two sorted runs: a merge
            self._levels[-1] = both

    def _size(self) -> int:
        return sum(level.size for level in self._levels)


def _places(level: Hashes, asked: Hashes) -> Positions:
    """Return where in a sorted level the asked hashes stand, of those that do."""
    places = np.searchsorted(level, asked)
    places = places[places < level.size]  # of sorted hashes the first ones
    found: Positions = places[level[places] == asked[:places.size]]
    return found
