"""The nightly job: ingest, find over the whole history, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from rsd.errors import UsageError
from rsd.lake import Lake, PinnedLake
from rsd.law import rulebook
from rsd.law.rulebook import Regulation
from rsd.pipeline import finding
from rsd.pipeline.finding import current_passes
from rsd.pipeline.ingest import Progress, ingest
from rsd.pipeline.kept import keep
from rsd.pipeline.status import watched
from rsd.pipeline.summary import RunSummary

__all__ = ["current_passes", "find_all", "regulations_of", "run"]


def regulations_of(lake: Lake, ids: Sequence[str] | None = None) -> list[Regulation]:
    """Return regulations by id, by default those that the lake is configured for.

    Raises:
        UsageError: no such regulation.
        PolicyRefusal: a regulation without the numbers that it needs.
    """
    found = [rulebook.load(i, lake.regulation_folders) for i in ids or lake.regulations]
    law = lake.pin.law if isinstance(lake, PinnedLake) else {}
    for regulation in found:
        if law.get(regulation.id, regulation.sha256) != regulation.sha256:
            raise UsageError(f"the text of {regulation.id} of that time is not kept",
                             where=str(lake.path / "open" / "law"), found=regulation.path,
                             expected=f"a file of the hash {law[regulation.id]}",
                             remedy="Restore the folder from a backup.")
        regulation.require_runnable()
    return found


def find_all(lake: Lake, ids: Sequence[str] | None = None, *,
             everything: bool = False) -> tuple[pl.DataFrame, dict[str, int]]:
    """Bring the findings up to what the lake holds, and store them if they changed.

    Vehicles without a new, corrected or removed pass since the last time keep theirs; all are
    looked at anew where law, time zone or rsd changed (`rsd.pipeline.finding`).

    Args:
        lake: the lake.
        ids: only these regulations; those of others stay as they are stored. By default those that
            the lake is configured for, and those that findings are stored of.
        everything: look at every vehicle anew, whatever changed.

    Returns:
        All stored findings, and counts: ``total``, ``new``, ``changed``, ``withdrawn``, told apart
        by regulation, vehicle and pollutant.
    """
    with lake.writer(), watched(lake, "find") as watch:
        watch.step("find")
        table = lake.table("findings")
        stored = table.scan().collect()
        asked = list(ids) if ids is not None else list(
            dict.fromkeys([*lake.regulations, *stored["regulation_id"].unique().sort()]))
        regulations = regulations_of(lake, asked)
        found = finding.find(lake, regulations, stored, everything=everything)
        counts = _compared(stored, found.findings)
        keep(lake, regulations)
        is_news = counts["new"] or counts["changed"] or counts["withdrawn"] or table.version() < 0
        if is_news or found.made != finding.made_from(lake):
            # an entry without a file says that the same findings follow from later passes
            table.commit([table.write(found.findings, "findings")] if is_news else [],
                         overwrite=bool(is_news), info={
                             "regulations": {r.id: r.sha256 for r in regulations},
                             "passes_version": lake.table("passes").version(),
                             "vehicles_asked": found.vehicles, **finding.note(found.made)})
        watch.tell("findings", **counts)
    return found.findings, counts


def _compared(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    keys = ["regulation_id", "vehicle_id", "pollutant"]
    new = after.join(before, on=keys, how="anti").height
    touched = after.join(before, on=before.columns, how="anti", nulls_equal=True).height
    return {"total": after.height, "new": new, "changed": touched - new,
            "withdrawn": before.join(after, on=keys, how="anti").height}


def run(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
        progress: Progress | None = None, refuse_doubtful_units: bool = False,
        max_quarantine: float | None = None) -> RunSummary:
    """Do the nightly job: `ingest`, then `find_all`; arguments and errors as there."""
    regulations_of(lake)  # a lake whose law cannot be read must say so before the work
    with lake.writer(), watched(lake, "run"):
        summary = ingest(lake, paths, input_format=input_format, progress=progress,
                         refuse_doubtful_units=refuse_doubtful_units,
                         max_quarantine=max_quarantine)
        _, summary.findings = find_all(lake)
    return summary
