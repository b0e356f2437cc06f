"""What an ingest would do, by doing it: into a copy of the lake's logs that is thrown away.

The copy has the lake's settings and logs, and links to its data files and key, so that duplicates,
corrections and known bytes are judged as in the lake by the very code that ingests. It stands in a
private folder of the temporary directory (``TMPDIR``), needs the room that the new passes would
take, and is removed whatever happens. Nothing is written to the lake, no lock is taken; what a run
that writes at the same moment commits after the start is not seen.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rsd.columns import RESTRICTED_TABLES, TABLES
from rsd.errors import StorageError
from rsd.lake import Lake
from rsd.pipeline.ingest import Progress, ingest
from rsd.pipeline.status import silent
from rsd.pipeline.summary import RunSummary
from rsd.pipeline.vehicles import check_key
from rsd.privacy import VehicleKey
from rsd.storage import disk

EXAMPLES = 3
"""Lines that are named of each reason of a file."""


@dataclass(frozen=True)
class Rehearsal:
    """What an ingest would do.

    ``quarantined`` has one row a file and reason: ``file, reason, column, records, lines`` (the
    first few). The reason is its code; no cell of a record is shown.
    """

    summary: RunSummary
    quarantined: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return the document of an ingest, with ``dry_run`` and the reasons of the quarantined."""
        return {**self.summary.as_dict(), "dry_run": True,
                "quarantined_by_reason": self.quarantined.to_dicts()}


def dry_run(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
            progress: Progress | None = None, refuse_doubtful_units: bool = False) -> Rehearsal:
    """Return what `ingest` would do with the same arguments; the lake stays as it is.

    Raises:
        StorageError: no room for the copy, or a part of the lake cannot be read.
    """
    check_key(lake, VehicleKey.load(lake.key_path))  # in the lake's own name, not the copy's
    with _copy_of(lake) as copy, silent(copy):
        summary = ingest(copy, paths, input_format=input_format, progress=progress,
                         refuse_doubtful_units=refuse_doubtful_units)
        summary.notices = [*lake.notices, *summary.notices]
        return Rehearsal(summary, _by_reason(copy, summary))


@contextmanager
def _copy_of(lake: Lake) -> Iterator[Lake]:
    """Yield a lake with the same past in a private folder, and remove it."""
    with disk.guard(tempfile.gettempdir(), "no copy of the lake's logs can be made"):
        folder = Path(tempfile.mkdtemp(prefix="rsd-dry-run-"))  # mode 0700
    try:
        with disk.guard(lake.path, "the lake's logs cannot be copied"):
            _copy_logs(lake, folder)
        copy = Lake.open(folder)
        with disk.guard(lake.path, "the lake's files cannot be linked to"):
            _link_files(lake, copy)
        yield copy
    finally:
        # links are removed, never what they point to
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise StorageError("what a dry run staged cannot be removed", where=str(folder),
                               remedy="Remove the folder by hand: it may hold plates.")


def _copy_logs(lake: Lake, folder: Path) -> None:
    shutil.copyfile(lake.path / "rsd.toml", folder / "rsd.toml")
    for name in TABLES:  # passes first: what it confirms stands in the others already
        log = lake.table(name).folder / "_delta_log"
        place = folder / log.relative_to(lake.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if log.is_dir():
            shutil.copytree(log, place, ignore=shutil.ignore_patterns(".*"))  # not yet published
        if name in RESTRICTED_TABLES:
            place.parent.chmod(0o700)
            place.parent.parent.chmod(0o700)


def _link_files(lake: Lake, copy: Lake) -> None:
    if copy.key_path != lake.key_path:
        copy.key_path.symlink_to(lake.key_path)
    for name in TABLES:
        for path in copy.table(name).files():
            path.symlink_to(lake.table(name).folder / path.name)


def _by_reason(copy: Lake, summary: RunSummary) -> pl.DataFrame:
    """Return how many records of each file were quarantined for which reason, and where."""
    order = {f.sha256: k for k, f in enumerate(summary.files) if f.state == "done"}
    rows = copy.table("quarantine").scan().filter(pl.col("source_sha256").is_in(list(order)))
    # behind the code, a reason may say more
    code = pl.col("reason").str.extract(r"^(\w+)", 1).alias("reason")
    found = rows.with_columns(code).group_by("source_sha256", "file", "reason", "column").agg(
        pl.len().alias("records"), pl.col("line").sort().head(EXAMPLES).alias("lines"))
    place = pl.col("source_sha256").replace_strict(order, return_dtype=pl.Int64)
    return found.collect().sort(place, pl.col("records"), "reason", "column", nulls_last=True,
                                descending=[False, True, False, False]).drop("source_sha256")
