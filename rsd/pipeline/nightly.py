"""The nightly job: ingest, find over the whole history, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from rsd.errors import UsageError
from rsd.findings import ORDER
from rsd.lake import Lake, PinnedLake
from rsd.law import rulebook
from rsd.law.rulebook import Regulation
from rsd.pipeline import finding
from rsd.pipeline.finding import current_passes
from rsd.pipeline.ingest import Progress, ingest
from rsd.pipeline.kept import keep
from rsd.pipeline.status import watched
from rsd.pipeline.summary import RunSummary

__all__ = ["current_passes", "find", "find_all", "regulations_of", "run"]


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
    """Do as `find`, and return all findings as they stand, ordered, beside the counts."""
    counts = find(lake, ids, everything=everything)
    return lake.table("findings").scan().collect().sort(ORDER), counts


def find(lake: Lake, ids: Sequence[str] | None = None, *,
         everything: bool = False) -> dict[str, int]:
    """Bring the findings up to what the lake holds, and store them if they changed.

    Vehicles without a new, corrected or removed pass since the last time keep theirs; all are
    looked at anew where law, time zone or rsd changed (`rsd.pipeline.finding`).

    Args:
        lake: the lake.
        ids: only these regulations; those of others stay as they are stored. By default those that
            the lake is configured for, and those that findings are stored of.
        everything: look at every vehicle anew, whatever changed.

    Returns:
        Counts: ``total``, ``new``, ``changed``, ``withdrawn``, told apart by regulation, vehicle
        and pollutant.
    """
    with lake.writer(), watched(lake, "find") as watch:
        watch.step("find")
        table = lake.table("findings")
        known = table.scan().select(pl.col("regulation_id").unique().sort()).collect()
        asked = list(ids) if ids is not None else list(
            dict.fromkeys([*lake.regulations, *known.to_series()]))
        regulations = regulations_of(lake, asked)
        lake.visible_files("passes")  # a lost file is told, also where nothing new is judged
        renewed = finding.renew(lake, regulations, everything=everything)
        keep(lake, regulations)
        if renewed.files is not None or renewed.made != finding.made_from(lake):
            # an entry without a file says that the same findings follow from later passes
            table.commit(renewed.files or [], overwrite=renewed.files is not None, info={
                "regulations": {r.id: r.sha256 for r in regulations},
                "passes_version": lake.table("passes").version(),
                "vehicles_asked": renewed.vehicles, **finding.note(renewed.made)})
        watch.tell("findings", **renewed.counts)
    return renewed.counts


def run(lake: Lake, paths: Iterable[str | Path], *, input_format: str | None = None,
        progress: Progress | None = None, refuse_doubtful_units: bool = False,
        max_quarantine: float | None = None) -> RunSummary:
    """Do the nightly job: `ingest`, then `find_all`; arguments and errors as there."""
    regulations_of(lake)  # a lake whose law cannot be read must say so before the work
    with lake.writer(), watched(lake, "run"):
        summary = ingest(lake, paths, input_format=input_format, progress=progress,
                         refuse_doubtful_units=refuse_doubtful_units,
                         max_quarantine=max_quarantine)
        summary.findings = find(lake)
    return summary
