"""The nightly job: ingest, find over the whole history, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from rsd import findings
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.law.rulebook import Regulation
from rsd.pipeline.ingest import Progress, ingest
from rsd.pipeline.summary import RunSummary


def regulations_of(lake: Lake, ids: Sequence[str] | None = None) -> list[Regulation]:
    """Return regulations by id, by default those that the lake is configured for.

    Raises:
        UsageError: no such regulation.
        PolicyRefusal: a regulation without the numbers that it needs.
    """
    folder = lake.path / "regulations"
    found = [rulebook.load(i, (folder,)) for i in ids or lake.regulations]
    for regulation in found:
        regulation.require_runnable()
    return found


def current_passes(lake: Lake) -> pl.LazyFrame:
    """Return the passes that count: of each record its latest version."""
    return lake.table("passes").scan().filter(pl.col("is_current"))


def find_all(lake: Lake, ids: Sequence[str] | None = None) -> tuple[pl.DataFrame, dict[str, int]]:
    """Recompute the findings over the whole history and store them if they changed.

    Args:
        lake: the lake.
        ids: only these regulations; those of others stay as they are stored.

    Returns:
        All stored findings, and counts: ``total``, ``new``, ``withdrawn``.
    """
    regulations = regulations_of(lake, ids)
    with lake.writer():
        found = findings.find(current_passes(lake), regulations, timezone=lake.timezone)
        table = lake.table("findings")
        stored = table.scan().collect()
        if ids is not None:
            kept = stored.filter(~pl.col("regulation_id").is_in([r.id for r in regulations]))
            found = pl.concat([kept, found]).sort(
                "found_at", "vehicle_id", "pollutant", "regulation_id")
        keys = stored.columns
        counts = {"total": found.height,
                  "new": found.join(stored, on=keys, how="anti", nulls_equal=True).height,
                  "withdrawn": stored.join(found, on=keys, how="anti", nulls_equal=True).height}
        if counts["new"] or counts["withdrawn"] or table.version() < 0:
            table.commit([table.write(found, "findings")], overwrite=True,
                         info={"regulations": {r.id: r.sha256 for r in regulations},
                               "passes_version": lake.table("passes").version()})
    return found, counts


def run(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
        progress: Progress | None = None) -> RunSummary:
    """Do the nightly job: `ingest`, then `find_all`; arguments and errors as there."""
    regulations_of(lake)  # a lake whose law cannot be read must say so before the work
    with lake.writer():
        summary = ingest(lake, paths, input_format=input_format, progress=progress)
        _, summary.findings = find_all(lake)
    return summary
