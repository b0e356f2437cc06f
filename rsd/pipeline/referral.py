"""The referral of a lake: what people confirmed and nothing undid, audited, reproducible."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from rsd.exports.lists import check_suffix, export_findings
from rsd.exports.safety import Progress
from rsd.lake import Lake
from rsd.pipeline import as_of, exporting, review, trail
from rsd.pipeline.staleness import without_stale
from rsd.review.cases import referable


def export_referral(lake: Lake, path: Path, *, show_plates: bool = False, again: bool = False,
                    raw_csv: bool = False, language: str | None = None,
                    reason: str | None = None, progress: Progress | None = None) -> int:
    """Export the findings that were confirmed and stand unchanged; return their number.

    Those of vehicles whose passes changed since are left out, and a notice of the view says so.
    Each has its evidence, and who confirmed it, when and why, behind the columns of the list.

    Args:
        lake: the lake, or a view of it as it stood.
        path: the suffix chooses the format.
        show_plates: plates in clear; they are masked otherwise, in free texts too.
        again: those too that were handed over before.
        raw_csv: CSV with formulas alive.
        language: of an XLSX, by default the lake's.
        reason: why, for the audit.
        progress: hears the rows that are written.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``; plates without a reason where the
            lake wants one; the findings are not those of the passes.
        IntegrityError: an event of a review was changed.
        UsageError: another suffix or language.
        StorageError: the file cannot be written.
    """
    check_suffix(path)
    review.require_right(lake)
    spoken = exporting.language_of(lake, language)
    if show_plates:
        trail.require_reason(lake, reason)
    view = as_of.now(lake)
    findings = view.table("findings").scan().collect()
    rows = referable(review.cases_of(view), again=again).select(findings.columns)
    rows = without_stale(view, rows)
    ids = rows["vehicle_id"].unique()
    vehicles = view.table("vehicles").scan().filter(
        pl.col("vehicle_id").is_in(ids.implode())).collect()
    made = as_of.provenance(view, command="export referral", plates=show_plates, again=again,
                            raw=raw_csv, language=spoken,
                            device_checks=exporting.checks_hash(view))
    as_of.keep_law(view)
    trail.record(view, "export referral", {
        "file": path.name, "rows": rows.height, "plates": show_plates,
        "plates_shown": ids.len() if show_plates else 0,
        "findings_version": view.table("findings").version(),
        "reviews_version": view.table("reviews").version()}, reason=reason)
    written = export_findings(
        exporting.detailed(view, rows, show_plates=show_plates), path, vehicles=vehicles,
        sites=view.table("sites").scan().collect(), show_plates=show_plates,
        provenance=as_of.flat(made), raw_csv=raw_csv, language=spoken, progress=progress)
    as_of.write_companion(path, made, written)
    as_of.remember_export(view, findings.height)
    return written
