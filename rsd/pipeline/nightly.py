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
        ids: only these regulations; those of others stay as they are stored. By default those that
            the lake is configured for, and those that findings are stored of.

    Returns:
        All stored findings, and counts: ``total``, ``new``, ``changed``, ``withdrawn``, told apart
        by regulation, vehicle and pollutant.
    """
    with lake.writer():
        table = lake.table("findings")
        stored = table.scan().collect()
        asked = list(ids) if ids is not None else list(
            dict.fromkeys([*lake.regulations, *stored["regulation_id"].unique().sort()]))
        regulations = regulations_of(lake, asked)
        found = findings.find(current_passes(lake), regulations, timezone=lake.timezone)
        kept = stored.filter(~pl.col("regulation_id").is_in([r.id for r in regulations]))
        found = pl.concat([kept, found]).sort(
            "found_at", "vehicle_id", "pollutant", "regulation_id")
        counts = _compared(stored, found)
        if counts["new"] or counts["changed"] or counts["withdrawn"] or table.version() < 0:
            table.commit([table.write(found, "findings")], overwrite=True,
                         info={"regulations": {r.id: r.sha256 for r in regulations},
                               "passes_version": lake.table("passes").version()})
    return found, counts


def _compared(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    keys = ["regulation_id", "vehicle_id", "pollutant"]
    new = after.join(before, on=keys, how="anti").height
    touched = after.join(before, on=before.columns, how="anti", nulls_equal=True).height
    return {"total": after.height, "new": new, "changed": touched - new,
            "withdrawn": before.join(after, on=keys, how="anti").height}


def run(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
        progress: Progress | None = None, refuse_doubtful_units: bool = False) -> RunSummary:
    """Do the nightly job: `ingest`, then `find_all`; arguments and errors as there."""
    regulations_of(lake)  # a lake whose law cannot be read must say so before the work
    with lake.writer():
        summary = ingest(lake, paths, input_format=input_format, progress=progress,
                         refuse_doubtful_units=refuse_doubtful_units)
        _, summary.findings = find_all(lake)
    return summary
