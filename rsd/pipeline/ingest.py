"""Ingest: which dumps are new, in which batches they are committed, and the account of the run."""

from __future__ import annotations

import glob
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from rsd.columns import RUNS, schema
from rsd.errors import InputRefused, StorageError
from rsd.intake.source import Source, fingerprint
from rsd.lake import Lake
from rsd.pipeline.batch import SOURCE, ingest_batch, refuse
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.prepare import Prepared
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.pipeline.vehicles import check_key, registered
from rsd.privacy import VehicleKey
from rsd.version import VERSION

SMALL_BYTES = 8 << 20
_BATCH_BYTES = 48 << 20
_BATCH_FILES = 1000
_GZIP_WEIGHT = 8

_PENDING = "pending"

Progress = Callable[[int, int], None]
Item = tuple[Source, FileSummary]


def ingest(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
           progress: Progress | None = None) -> RunSummary:
    """Ingest dumps. Every record is accepted, quarantined or a counted duplicate.

    Args:
        lake: where to.
        paths: files, folders (their files), or patterns.
        input_format: a format id that overrides recognition by the header.
        progress: called with bytes done and bytes in all.

    Returns:
        The account, file by file in the order given.

    Raises:
        LakeBusy: another run holds the lake.
        StorageError: nothing can be written.
    """
    named = list(paths)
    with lake.writer():
        summary = _ingest(lake, [p for path in named for p in _expand(path)], input_format,
                          progress)
    summary.notices += [f"{path}: the folder holds no file" for path in named
                        if Path(path).is_dir() and not list(_expand(path))]
    return summary


def _expand(path: str | Path) -> list[Path]:
    place = Path(path)
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.is_file() and p.name[0] != ".")
    if not place.exists() and glob.has_magic(str(path)):
        return [Path(p) for p in sorted(glob.glob(str(path)))] or [place]
    return [place]


def _ingest(lake: Lake, paths: list[Path], input_format: str | None,
            progress: Progress | None) -> RunSummary:
    run = RunSummary(uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds"))
    run.notices += lake.notices
    sizes = {p: p.stat().st_size if p.is_file() else 0 for p in paths}
    total, done = sum(sizes.values()), 0

    def tick(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    known = lake.table("passes").transactions()
    pending: dict[str, FileSummary] = {}
    repeated: list[tuple[FileSummary, FileSummary]] = []
    sources: list[Item] = []
    with ThreadPoolExecutor(2, "rsd-hash") as pool:
        prints = list(pool.map(_fingerprint, paths))
    for path, (summary, source) in zip(paths, prints, strict=True):
        run.files.append(summary)
        size = sizes.pop(path, 0)  # a path that is given twice is read once
        if source is None or SOURCE + source.sha256 in known:
            summary.state = "refused" if source is None else "already"
            tick(size)
        elif source.sha256 in pending:
            repeated.append((summary, pending[source.sha256]))
            tick(size)
        else:
            pending[source.sha256] = summary
            sources.append((source, summary))
    key = VehicleKey.load(lake.key_path)
    check_key(lake, key)
    book, registry = PlateBook(key), registered(lake)
    try:
        for batch in _batches(sources):
            dumps = list(_opened(batch, lake, input_format, tick))
            _ingest_one(lake, dumps, book, registry, tick)
    finally:
        for summary, first in repeated:
            summary.state = "already" if first.state == "done" else first.state
            summary.error = first.error
        _record(lake, run)
    return run


def _fingerprint(path: Path) -> tuple[FileSummary, Source | None]:
    try:
        source = fingerprint(path)
    except (InputRefused, StorageError) as error:
        return FileSummary(path.name, state="refused", error=str(error)), None
    return FileSummary(source.name, source.sha256, state=_PENDING), source


def _opened(batch: list[Item], lake: Lake, input_format: str | None,
            tick: Callable[[int], None]) -> Iterator[Prepared]:
    for source, summary in batch:
        try:
            yield Prepared.open(source, summary, lake.timezone, input_format)
        except (InputRefused, StorageError) as error:
            summary.state, summary.error = "refused", str(error)
            tick(source.size)


def _ingest_one(lake: Lake, dumps: list[Prepared], book: PlateBook, registry: pl.DataFrame,
                tick: Callable[[int], None]) -> None:
    if not dumps:
        return
    try:
        ingest_batch(lake, dumps, book, registry, tick)
    except InputRefused as error:  # the only dump of its batch
        refuse(dumps[0], error)
        tick(dumps[0].source.size)


def _batches(sources: list[Item]) -> Iterator[list[Item]]:
    """Yield large dumps alone and small ones together, in their order."""
    together: list[Item] = []
    weight = 0
    for item in sources:
        size = item[0].size * (_GZIP_WEIGHT if item[0].is_packed else 1)
        if size > SMALL_BYTES:
            if together:
                yield together
            together, weight = [], 0
            yield [item]
            continue
        if together and (weight + size > _BATCH_BYTES or len(together) >= _BATCH_FILES):
            yield together
            together, weight = [], 0
        together.append(item)
        weight += size
    if together:
        yield together


def _record(lake: Lake, run: RunSummary) -> None:
    columns = schema(RUNS)
    files = [f for f in run.files if f.state != _PENDING]
    rows = [
        {"run_id": run.run_id, "started_at": datetime.fromisoformat(run.started_at),
         "version": VERSION, **{n: getattr(f, n) for n in columns if hasattr(f, n)}}
        for f in files
    ]
    if rows:
        runs = lake.table("runs")
        runs.commit([runs.write(pl.DataFrame(rows, schema=columns), run.run_id)])
