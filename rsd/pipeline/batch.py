"""One batch: some dumps → staged files → one commit. Either all of it exists, or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from rsd.columns import EVIDENCE, schema
from rsd.errors import InputRefused, IntegrityError, RsdError
from rsd.intake.formats import Format
from rsd.lake import BATCH, Lake
from rsd.pipeline import versions
from rsd.pipeline.accounts import counts_of
from rsd.pipeline.hash_index import Hashes
from rsd.pipeline.known_ids import KnownIds
from rsd.pipeline.permit import Permit
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.prepare import PREPARED, Prepared, repeats
from rsd.pipeline.replicates import ReplicateCount
from rsd.pipeline.vehicles import KnownVehicles
from rsd.scoring import ScoringRules, score

SOURCE = "source:"
"""Prefix of the transaction id by which a dump's bytes are known."""

_EVIDENCE_ROWS = 1_000_000
Tick = Callable[[int], None]


@dataclass
class Stage:
    """Files that a batch wrote and that no reader sees yet."""

    lake: Lake
    batch_id: str
    dumps: list[Prepared]
    met: pl.DataFrame | None = None
    passes: Path | None = None
    evidence: list[Path] = field(default_factory=list)
    quarantine: Path | None = None
    rewritten: dict[Path, Path] = field(default_factory=dict)

    def added(self) -> list[Path]:
        """Return the files that passes will get."""
        return [*([self.passes] if self.passes else []), *self.rewritten.values()]

    def discard(self) -> None:
        """Remove what was staged and what no log names.

        An interrupt may come when an entry stands already: its files are the lake's.
        """
        everything = [self.passes, self.quarantine, *self.evidence, *self.rewritten.values()]
        for path in everything:
            if path is not None and path.name not in (
                    self.lake.table(path.parent.name).snapshot().files):
                with suppress(FileNotFoundError):
                    path.unlink()


class Known:
    """What a lake knows already of records and vehicles, as far as a run has looked."""

    def __init__(self, lake: Lake) -> None:
        self.records = KnownIds(lake.table("passes"), "record_id")
        self.vehicles = KnownVehicles(lake)


def scoring_rules(lake: Lake, fmt: Format) -> ScoringRules:
    """Return how passes of a format are scored in a lake; the lake's settings win."""
    settings = lake.settings
    return ScoringRules(
        timezone=lake.timezone,
        convention=str(settings["convention"]) or fmt.convention,
        co2_denominator=fmt.co2_denominator,
        impute_nox=fmt.impute_nox,
        quality_profile=str(settings["quality_profile"]) or fmt.quality_profile,
        local_plates=(str(settings["local_plate_prefix"]),),
        has_plates=fmt.plates != "none",
        has_hours=all("%H" in p or "%I" in p for p in fmt.time_formats),
    )


def stage_batch(lake: Lake, dumps: Sequence[Prepared], book: PlateBook, registry: pl.DataFrame,
                tick: Tick) -> Stage | None:
    """Read, score and write some dumps; no reader sees them until `commit_batch`.

    Args:
        lake: held for writing.
        dumps: opened dumps. Several: each fits in memory; one: read as a stream.
        book: known vehicles; new ones are added.
        registry: what the registry knows, as the book has numbered it.
        tick: called with the number of bytes of each dump that is done.

    Returns:
        What was written; None where every dump was refused.

    Raises:
        InputRefused: the only dump of the batch was refused. It leaves no trace.
        StorageError: nothing could be written.
    """
    sites = lake.table("sites").scan().collect()
    mark = book.mark()
    if len(dumps) == 1:
        accepted = list(dumps)
        frames = _tick_after(dumps[0].frames(book), tick, dumps[0].source.size)
        parts = {dumps[0].reader.format.id: frames}
    else:
        accepted, loaded = _load(dumps, book, tick)
        parts = {k: iter(v) for k, v in loaded.items()}
    if not accepted:
        return None
    formats = {d.reader.format.id: d.reader.format for d in accepted}
    stage = Stage(lake, _batch_id(accepted), accepted)
    try:
        _write(stage, parts, formats, sites, registry)
        stage.met = book.vehicles_since(mark)
    except BaseException:
        stage.discard()
        book.forget_since(mark)
        raise
    return stage


def commit_batch(stage: Stage, known: Known, replicated: ReplicateCount, permit: Permit) -> None:
    """Settle a staged batch with the history and commit it.

    Args:
        stage: the batch; of two batches the one that was staged first is committed first. When this
            raises, the caller discards it.
        known: what the lake knows; the batch is added.
        replicated: the run's count of passes that another instrument recorded too.
        permit: asked between the steps; the commit itself is not cut in two.

    Raises:
        IntegrityError: an account does not balance.
        StorageError: nothing could be written.
        GivenUpError: the permit was withdrawn; nothing was committed.
    """
    ids = _sorted_ids(stage.dumps)
    _settle(stage, known.records, ids)
    permit.check()
    for dump in stage.dumps:
        dump.note_contradictions()
        dump.summary.check()
    _check(stage)
    found = replicated.changed(stage.added(), list(stage.rewritten))
    with permit.using():
        _commit(stage, known)
        for dump in stage.dumps:
            dump.summary.state = "done"
    replicated.add(found)
    known.records.replaced(stage.rewritten)
    known.records.add([stage.passes] if stage.passes else [], ids)


def _tick_after(frames: Iterator[pl.DataFrame], tick: Tick, size: int) -> Iterator[pl.DataFrame]:
    yield from frames
    tick(size)


def _load(dumps: Sequence[Prepared], book: PlateBook, tick: Tick,
          ) -> tuple[list[Prepared], dict[str, list[pl.DataFrame]]]:
    """Read small dumps into memory; the refused ones say so in their summary."""
    accepted: list[Prepared] = []
    loaded: dict[str, list[pl.DataFrame]] = {}
    for dump in dumps:
        mark = book.mark()
        try:
            frames = list(dump.frames(book))
        except InputRefused as error:
            book.forget_since(mark)
            refuse(dump, error)
        else:
            accepted.append(dump)
            loaded.setdefault(dump.reader.format.id, []).extend(frames)
        tick(dump.source.size)
    together = {k: [_without_repeats(v, accepted)] for k, v in loaded.items() if v}
    return accepted, together


def _without_repeats(frames: list[pl.DataFrame], dumps: list[Prepared]) -> pl.DataFrame:
    whole = pl.concat(frames)
    gone = repeats(whole)
    if gone.is_empty():
        return whole
    _count_duplicates(gone, dumps)
    return whole.join(gone, on=versions.KEY, how="anti", maintain_order="left")


def refuse(dump: Prepared, error: RsdError) -> None:
    """Mark a dump as refused: nothing of it counts."""
    dump.summary.clear_counts()
    dump.summary.state, dump.summary.error = "refused", str(error)
    dump.quarantine.clear()
    dump.ids.clear()


def _count_duplicates(gone: pl.DataFrame, dumps: list[Prepared]) -> None:
    """Count records that counted as accepted so far as duplicates, of their file or earlier."""
    found = gone.group_by("source_sha256", "in_file").len()
    counts = {(sha, in_file): number for sha, in_file, number in found.iter_rows()}
    for dump in dumps:
        in_file, earlier = (counts.get((dump.source.sha256, kind), 0) for kind in (True, False))
        dump.summary.count_duplicates(in_file=in_file, earlier=earlier)
        dump.summary.accepted -= in_file + earlier


def _batch_id(dumps: Sequence[Prepared]) -> str:
    names = "\n".join(sorted(d.source.sha256 for d in dumps))
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _write(stage: Stage, parts: dict[str, Iterator[pl.DataFrame]], formats: dict[str, Format],
           sites: pl.DataFrame, registry: pl.DataFrame) -> None:
    evidence = _EvidenceWriter(stage)
    errors: list[BaseException] = []
    scored = [
        score(lazy_frames(evidence.passing(frames), PREPARED, errors), sites, registry,
              scoring_rules(stage.lake, formats[format_id]))
        for format_id, frames in parts.items()
    ]
    if not scored:
        return
    try:
        stage.passes = stage.lake.table("passes").write(pl.concat(scored), stage.batch_id)
    except Exception:
        if errors:  # the engine wraps what the reader raised; the reader's own words count
            raise errors[0] from None
        raise
    evidence.flush()


def lazy_frames(frames: Iterable[pl.DataFrame], columns: pl.Schema,
                errors: list[BaseException] | None = None) -> pl.LazyFrame:
    """Return a lazy frame over an iterator; the streaming engine pulls chunk after chunk.

    What the iterator raises is put into ``errors`` too, for the engine wraps it.
    """
    def pull(with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None,
             batch_size: int | None) -> Iterator[pl.DataFrame]:
        try:
            for frame in frames:
                yield frame if with_columns is None else frame.select(with_columns)
        except BaseException as error:
            if errors is not None:
                errors.append(error)
            raise

    return register_io_source(pull, schema=columns)


class _EvidenceWriter:
    """Writes the restricted side of the passes that stream by."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._parts, self._rows = stage, list[pl.DataFrame](), 0

    def passing(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for frame in frames:
            rows = frame.select(_EVIDENCE).filter(
                pl.any_horizontal(pl.col(_TELLING).is_not_null()))
            if rows.height:
                self._parts.append(rows)
                self._rows += rows.height
            if self._rows >= _EVIDENCE_ROWS:
                self.flush()
            yield frame

    def flush(self) -> None:
        if self._rows:
            rows = pl.concat(self._parts)
            self._stage.evidence.append(
                self._stage.lake.table("evidence").write(rows, self._stage.batch_id))
        self._parts, self._rows = [], 0


_EVIDENCE = schema(EVIDENCE).names()
_TELLING = [name for name in _EVIDENCE if name not in ("record_id", *versions.KEY)]


def _sorted_ids(dumps: list[Prepared]) -> Hashes:
    hashes = np.concatenate([np.empty(0, np.uint64), *(i.to_numpy() for d in dumps for i in d.ids)])
    for dump in dumps:
        dump.ids.clear()  # 8 bytes a record
    hashes.sort()
    return hashes


def _settle(stage: Stage, known: KnownIds, ids: Hashes) -> None:
    """Take duplicates out and mark versions that a correction replaced."""
    if stage.passes is None or not ids.size:
        return
    dumps = stage.dumps
    order = [d.source.sha256 for d in dumps]
    verdicts = versions.compare(stage.lake, known, ids, stage.passes, stage.evidence, order)
    if verdicts.is_clean:
        return
    _count_duplicates(verdicts.duplicates, dumps)
    for dump in dumps:
        dump.summary.corrected += verdicts.corrected.get(dump.source.sha256, 0)
    table = stage.lake.table("passes")
    for old in versions.files_with(table.files(), verdicts.outdated):
        frame = versions.settle(table.rows([old]), verdicts, flags=True)
        stage.rewritten[old] = table.write(frame, stage.batch_id)
    old_passes, old_evidence = stage.passes, stage.evidence
    frame = versions.settle(pl.scan_parquet(old_passes, glob=False), verdicts, flags=True)
    stage.passes = table.write(frame, stage.batch_id)
    if old_evidence:
        rows = versions.settle(pl.scan_parquet(old_evidence, glob=False), verdicts, flags=False)
        stage.evidence = [stage.lake.table("evidence").write(rows, stage.batch_id)]
    for path in (old_passes, *old_evidence):
        path.unlink()


def _check(stage: Stage) -> None:
    """Compare the accounts with what the staged file of passes holds, by its own footer."""
    accepted = sum(d.summary.accepted for d in stage.dumps)
    rows = 0 if stage.passes is None else pl.scan_parquet(stage.passes, glob=False).select(
        pl.len()).collect().item()
    if rows != accepted:
        raise IntegrityError("the staged passes are not the accepted records", found=str(rows),
                             expected=str(accepted), where=str(stage.lake.path),
                             remedy="Nothing was committed; run again.")


def _commit(stage: Stage, known: Known) -> None:
    """Commit the restricted tables first and passes last: its entry makes the batch exist."""
    lake, dumps = stage.lake, stage.dumps
    sources = [SOURCE + d.source.sha256 for d in dumps]
    quarantined = pl.concat([d.quarantined() for d in dumps])
    if quarantined.height:
        stage.quarantine = lake.table("quarantine").write(quarantined, stage.batch_id)
        lake.table("quarantine").commit([stage.quarantine], transactions=sources)
    if stage.evidence:
        lake.table("evidence").commit(stage.evidence, transactions=sources)
    if stage.met is not None:
        known.vehicles.add(stage.met, stage.batch_id)
    counts = {d.source.sha256: counts_of(d.summary) for d in dumps}
    lake.table("passes").commit(stage.added(), remove=list(stage.rewritten),
                                transactions=[BATCH + stage.batch_id, *sources],
                                info={"sources": counts})
