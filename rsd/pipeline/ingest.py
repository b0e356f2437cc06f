"""Ingest: which dumps are new, in which batches they are committed, and the account of the run."""

from __future__ import annotations

import glob
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from rsd.errors import InputRefused, StorageError, readable
from rsd.intake.source import STANDARD_INPUT, Source, sources_of
from rsd.lake import GATED, Lake
from rsd.pipeline.accounts import PENDING, record
from rsd.pipeline.batch import SOURCE, Stage, refuse, stage_batch
from rsd.pipeline.committing import Committer
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.prepare import Prepared
from rsd.pipeline.registry import Registry
from rsd.pipeline.spool import spooled
from rsd.pipeline.status import Watch, note_exit_code, watched
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.pipeline.vehicles import check_key
from rsd.privacy import VehicleKey

SMALL_BYTES = 8 << 20
_BATCH_BYTES = 48 << 20
_BATCH_FILES = 1000

Progress = Callable[[int, int], None]
Item = tuple[Source, FileSummary]


def ingest(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
           progress: Progress | None = None, refuse_doubtful_units: bool = False,
           max_quarantine: float | None = None) -> RunSummary:
    """Ingest dumps. Every record is accepted, quarantined or a counted duplicate.

    Args:
        lake: where to.
        paths: files, folders (their files), patterns, or ``"-"`` for standard input. Each member
            of a zip archive is a dump of its own, named ``archive.zip/member.csv``.
        input_format: a format id that overrides recognition by the header.
        progress: called with bytes done and bytes in all.
        refuse_doubtful_units: refuse a file whose columns look like another unit than declared; so
            does the lake's setting of that name.
        max_quarantine: quarantined share of a file above which the status says 4; by default the
            lake's setting of that name.

    Returns:
        The account, file by file in the order given.

    Raises:
        LakeBusy: another run holds the lake.
        StorageError: nothing can be written.
    """
    named = list(paths)
    with lake.writer(), watched(lake, "ingest") as watch, ExitStack() as stack:
        _drop_unborn(lake)
        spool: dict[Path, str] = {}
        if STANDARD_INPUT in map(str, named):
            spool = dict([stack.enter_context(spooled(lake))])
        expanded = [p for path in named
                    for p in (spool if str(path) == STANDARD_INPUT else _expand(path))]
        summary = _ingest(lake, expanded, spool, input_format, progress,
                          refuse_doubtful_units or bool(lake.settings["refuse_doubtful_units"]),
                          watch)
        note_exit_code(lake, summary, max_quarantine)
    summary.notices += [readable(f"{path}: the folder holds no file") for path in named
                        if Path(path).is_dir() and not list(_expand(path))]
    return summary


def _expand(path: str | Path) -> list[Path]:
    place = Path(path)
    if place.is_dir():
        return sorted(p for p in place.iterdir() if p.is_file() and p.name[0] != ".")
    if not place.exists() and glob.has_magic(str(path)):
        return [Path(p) for p in sorted(glob.glob(str(path)))] or [place]
    return [place]


def _ingest(lake: Lake, paths: list[Path], spool: dict[Path, str], input_format: str | None,
            progress: Progress | None, refuse_doubtful_units: bool,
            watch: Watch) -> RunSummary:
    run = RunSummary(uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds"))
    run.notices += lake.notices
    sizes = {p: p.stat().st_size if p.is_file() else 0 for p in paths}
    total, done = sum(sizes.values()), 0
    watch.begin(run.run_id, len(paths), total)

    def tick(size: int) -> None:
        nonlocal done
        done += size
        watch.progress(done, total)
        if progress is not None:
            progress(done, total)

    known = lake.table("passes").transactions()
    pending: dict[str, FileSummary] = {}
    repeated: list[tuple[FileSummary, FileSummary]] = []
    sources: list[Item] = []
    with ThreadPoolExecutor(2, "rsd-hash") as pool:
        found = list(pool.map(lambda path: _dumps_of(path, spool.get(path)), paths))
    for path, members in zip(paths, found, strict=True):
        rest = sizes.pop(path, 0)  # a path that is given twice is read once
        for summary, source in members:
            run.files.append(summary)
            if source is None or SOURCE + source.sha256 in known:
                summary.state = "refused" if source is None else "already"
            elif source.sha256 in pending:
                repeated.append((summary, pending[source.sha256]))
            else:
                pending[source.sha256] = summary
                sources.append((source, summary))
                rest -= source.size
                continue
            if summary.state != PENDING:
                watch.ended(summary)
        tick(rest)
    watch.step("read")
    key = VehicleKey.load(lake.key_path)
    check_key(lake, key)
    registry, committer = Registry.of(lake), Committer(lake, watch)
    book = PlateBook(key, registry)
    try:
        with committer:
            for batch in _batches(sources):
                watch.reading(batch[0][1].file)
                dumps = list(_opened(batch, lake, input_format, tick, refuse_doubtful_units))
                stage = _staged(lake, dumps, book, registry.facts, tick)
                committer.take(stage, [summary for _, summary in batch])
    finally:
        for sha256, summary in pending.items():
            summary.replicates = committer.replicated.counts[sha256]
        for summary, first in repeated:
            summary.state = "already" if first.state == "done" else first.state
            summary.error = first.error
            if summary.state != PENDING:
                watch.ended(summary)
        record(lake, run)
    return run


def _drop_unborn(lake: Lake) -> None:
    """Take out of the tables what a dead run had committed of a batch that never came to be.

    Nobody sees those rows, and the dumps may come again in another batch, or never.
    """
    for table in map(lake.table, GATED):
        seen = set(lake.visible_files(table.name))
        if unborn := [path for path in table.files() if path not in seen]:
            table.commit([], remove=unborn, info={"operation": "drop what was never finished"})


def _dumps_of(path: Path, spooled_sha256: str | None,
              ) -> list[tuple[FileSummary, Source | None]]:
    label = STANDARD_INPUT if spooled_sha256 else ""
    try:
        sources = sources_of(path, label=label, sha256=spooled_sha256)
    except (InputRefused, StorageError) as error:
        name = label or readable(path.name)
        return [(FileSummary(name, state="refused", error=str(error)), None)]
    return [_begun(source) for source in sources]


def _begun(source: Source) -> tuple[FileSummary, Source | None]:
    notices = list(source.notices)
    if source.refusal:
        return FileSummary(source.name, state="refused", error=source.refusal,
                           notices=notices), None
    return FileSummary(source.name, source.sha256, state=PENDING, notices=notices), source


def _opened(batch: list[Item], lake: Lake, input_format: str | None,
            tick: Callable[[int], None], refuse_doubtful_units: bool) -> Iterator[Prepared]:
    for source, summary in batch:
        try:
            yield Prepared.open(source, summary, lake.timezone, input_format,
                                refuse_doubtful_units=refuse_doubtful_units)
        except (InputRefused, StorageError) as error:
            summary.state, summary.error = "refused", str(error)
            tick(source.size)


def _staged(lake: Lake, dumps: list[Prepared], book: PlateBook, registry: pl.DataFrame,
            tick: Callable[[int], None]) -> Stage | None:
    if not dumps:
        return None
    try:
        return stage_batch(lake, dumps, book, registry, tick)
    except InputRefused as error:  # the only dump of its batch
        refuse(dumps[0], error)
        tick(dumps[0].source.size)
        return None


def _batches(sources: list[Item]) -> Iterator[list[Item]]:
    """Yield large dumps alone and small ones together, in their order."""
    together: list[Item] = []
    weight = 0
    for item in sources:
        size = item[0].weight
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
