"""Files that a change of tables writes before it happens, and what it removes instead."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from rsd.columns import TABLES
from rsd.keeping.content import BATCH_ROWS, Content, content
from rsd.lake import COMPACTED, Lake
from rsd.pipeline import as_of
from rsd.pipeline.batch import lazy_frames
from rsd.storage import change
from rsd.storage.change import Step

FINDING = ["regulation_id", "vehicle_id", "pollutant"]
"""What tells findings of one version from each other."""


def scan(lake: Lake, name: str, paths: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of some files of a table, with its declared columns."""
    return lake.table(name).rows(paths)


def count(rows: pl.LazyFrame) -> int:
    """Return the number of rows."""
    return int(rows.select(pl.len()).collect(engine="streaming").item())


class Staging:
    """What is staged for one change; the lake is held for writing.

    Files carry a batch id that begins with `COMPACTED`: they hold rows of committed batches only.
    """

    def __init__(self, lake: Lake, operation: str) -> None:
        self.lake, self.operation = lake, operation
        self.id = f"{operation}-{secrets.token_hex(8)}"
        self._batch = f"{COMPACTED}-{self.id}"
        self.removed: dict[str, list[Path]] = {}
        self.added: dict[str, list[Path]] = {}
        self._others: list[Path] = []

    def drop(self, name: str, paths: Iterable[Path]) -> None:
        """Let files go."""
        self.removed.setdefault(name, []).extend(paths)

    def add(self, name: str, rows: pl.LazyFrame | pl.DataFrame) -> Path:
        """Write a file that comes."""
        path = self.lake.table(name).write(rows, self._batch)
        self.added.setdefault(name, []).append(path)
        return path

    def add_frames(self, name: str, frames: Iterable[pl.DataFrame]) -> Path:
        """Write a file that comes, frame after frame; what ``frames`` raises comes through."""
        errors: list[BaseException] = []
        try:
            return self.add(name, lazy_frames(frames, self.lake.table(name).schema, errors))
        except Exception:
            if errors:  # in its own words, not in those of the engine
                raise errors[0] from None
            raise

    def take_back(self, name: str, path: Path) -> None:
        """Remove a file that need not come."""
        self.added[name].remove(path)
        if not self.added[name]:
            del self.added[name]
        path.unlink()

    def other(self, path: Path) -> Path:
        """Note a file beside the tables, which goes too if the change does not happen."""
        self._others.append(path)
        return path

    def files(self, name: str) -> list[Path]:
        """Return the files that readers will see."""
        gone = set(self.removed.get(name, []))
        return [p for p in self.lake.visible_files(name) if p not in gone] + self.added.get(
            name, [])

    def rows(self, name: str) -> pl.LazyFrame:
        """Return the rows that readers will see."""
        return scan(self.lake, name, self.files(name))

    def contents(self, name: str) -> tuple[Content, Content]:
        """Return the content of a table before and after; files that stay are read once."""
        gone = set(self.removed.get(name, []))
        before = self.lake.visible_files(name)
        stays, goes, comes = (
            content(self.lake.table(name).pieces(BATCH_ROWS, paths)) for paths in (
                [p for p in before if p not in gone], [p for p in before if p in gone],
                self.added.get(name, [])))
        return stays + goes, stays + comes

    def steps(self) -> list[Step]:
        """Return one entry a table; of passes last, as in every run."""
        names = sorted({*self.added, *self.removed}, key=lambda name: name == "passes")
        return [Step(n, tuple(p.name for p in self.added.get(n, [])),
                     tuple(p.name for p in self.removed.get(n, []))) for n in names]

    def discard(self) -> None:
        """Remove what was staged, unless the change happens in spite of the fault."""
        if change.under_way(self.lake.path) is not None:
            return
        active = {n for name in self.added for n in self.lake.table(name).snapshot().files}
        for path in [*self._others, *(p for paths in self.added.values() for p in paths)]:
            if path.name not in active:
                with suppress(FileNotFoundError):
                    path.unlink()


def versions(lake: Lake) -> dict[str, int]:
    """Return the versions at which readers stay until a change is published."""
    return {name: lake.table(name).version() for name in TABLES}


def exported_findings(lake: Lake) -> pl.DataFrame | None:
    """Return the findings that were ever exported, as last exported; None when there are none."""
    table = lake.table("findings")
    older = [table.scan(v).collect() for v, _ in sorted(as_of.exported_versions(lake))]
    if not older:
        return None
    return pl.concat(older).unique(FINDING, keep="last", maintain_order=True)
