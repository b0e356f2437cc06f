"""What people read out of a lake: queries, aggregates, lists, quarantine, a vehicle's story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from rsd import aggregates, sql
from rsd.columns import OPEN_TABLES, POLLUTANTS
from rsd.errors import PolicyRefusal, UsageError
from rsd.exports.lists import check_suffix, export_findings
from rsd.exports.safety import Progress, text_of_bytes
from rsd.findings import ORDER
from rsd.intake import utf16
from rsd.lake import Lake, PinnedLake
from rsd.law import judge
from rsd.law.rulebook import Regulation
from rsd.pipeline import as_of, exporting, staleness, trail
from rsd.pipeline.aliases import present_id
from rsd.pipeline.masking import mask_chinese_plates, mask_plates_in_text
from rsd.pipeline.nightly import regulations_of
from rsd.pipeline.replicates import nearness
from rsd.privacy import VehicleKey, normalise_plate_expr

_SHORTEST_UTF16_PLATE = 8  # bytes


def verdict_sql(regulations: Sequence[Regulation]) -> dict[str, dict[str, str]]:
    """Return, by pollutant, SQL for applies, tested and exceeds over all regulations together."""
    questions = {"applies": judge.applies_sql, "tested": judge.tested_sql,
                 "exceeds": judge.exceeds_sql}
    found: dict[str, dict[str, str]] = {}
    for pollutant in POLLUTANTS:
        judging = [r for r in regulations if pollutant in r.pollutants and not r.acquits]
        if judging:
            found[pollutant] = {
                name: " OR ".join(f"coalesce({ask(r, pollutant)}, false)" for r in judging)
                for name, ask in questions.items()
            }
    return found


@contextmanager
def open_views(lake: Lake, *, threads: int | None = None) -> Iterator[sql.Session]:
    """Open the analyst's views on a lake at one moment; no plate is behind them.

    All that is asked in the block sees one version of every table, whatever is written meanwhile.
    """
    view = lake.pinned()
    files = {name: view.visible_files(name) for name in OPEN_TABLES}
    with sql.open_session(files, verdict_sql(regulations_of(view)), near=nearness(view),
                          threads=threads) as session:
        yield session


def query(lake: Lake, text: str) -> pl.DataFrame:
    """Answer one read-only SELECT over the views, and write it down in the audit.

    Errors as `rsd.sql.Session.query`; StorageError where the audit cannot be written.
    """
    view = lake.pinned()
    asked: dict[str, object] = {"query": trail.masked(text), "versions": _open_versions(view)}
    with trail.refusals(view, "query", asked), open_views(view) as session:
        answer = session.query(text)
    trail.record(view, "query", asked | {"rows": answer.height, "plates": False})
    return answer


def aggregate(lake: Lake, by: Sequence[str], *, is_reproducible: bool = False,
              **options: Any) -> pl.DataFrame:
    """Aggregate passes by some columns; options and errors as `rsd.aggregates.aggregate`.

    ``is_reproducible``: in one thread, so that sums have one order and the last bit is always the
    same. What was asked is written down in the audit.
    """
    view = lake.pinned()
    asked: dict[str, object] = {"by": list(by), "versions": _open_versions(view)}
    if options.get("where"):
        asked["where"] = trail.masked(str(options["where"]))
    with trail.refusals(view, "aggregate", asked), \
            open_views(view, threads=1 if is_reproducible else None) as session:
        answer = aggregates.aggregate(session, by, **options)
    trail.record(view, "aggregate", asked | {"rows": answer.height, "plates": False})
    return answer


def _open_versions(view: PinnedLake) -> dict[str, int]:
    return {name: view.table(name).version() for name in OPEN_TABLES}


def findings_of(lake: Lake) -> pl.DataFrame:
    """Return the findings as they stand."""
    return lake.table("findings").scan().collect().sort(ORDER)


def export_list(lake: Lake, path: Path, *, show_plates: bool = False, withdrawn_only: bool = False,
                raw_csv: bool = False, reason: str | None = None, regulations: Sequence[str] = (),
                language: str | None = None, evidence: bool = True,
                progress: Progress | None = None) -> int:
    """Export the list of findings to a file of the suffix's format; return its rows.

    Only findings by some ``regulations``, where any is named. With ``evidence``, the proof records
    and the review of each finding stand behind its own columns (`rsd.pipeline.exporting`).
    ``language``, by default the lake's, is that of the XLSX.

    Without access to ``restricted/`` plates are null, with it masked, and in clear only with
    ``show_plates``. The export is written to the audit log before the file appears, with the
    ``reason``; beside the file, its provenance (`rsd.pipeline.as_of`).

    Raises:
        PolicyRefusal: ``show_plates`` without the right to read ``restricted/``, or without a
            reason where the lake wants one.
        UsageError: another suffix, language or regulation.
        StorageError: the file cannot be written.
    """
    check_suffix(path)
    spoken = exporting.language_of(lake, language)
    if show_plates and not lake.may_read_restricted:
        raise PolicyRefusal("plates may not be shown", where=str(lake.path / "restricted"),
                            found="no right to read it",
                            remedy="Export without --plates, or ask who holds the right.")
    if show_plates:
        trail.require_reason(lake, reason)
    view = as_of.now(lake)
    staleness.remark(view)
    current, gone = findings_of(view), withdrawn(view)
    gone = exporting.chosen(gone, regulations, view.regulations)
    listed = gone if withdrawn_only else exporting.chosen(current, regulations, view.regulations)
    vehicles = view.table("vehicles").scan().collect() if view.may_read_restricted else None
    made = as_of.provenance(view, command="export findings", plates=show_plates,
                            withdrawn=withdrawn_only, raw=raw_csv, regulations=list(regulations),
                            language=spoken, evidence=evidence,
                            device_checks=exporting.checks_hash(view))
    as_of.keep_law(view)
    trail.record(view, "export findings", {
        "file": path.name, "rows": listed.height, "plates": show_plates,
        "plates_shown": _plates_shown(listed, vehicles) if show_plates else 0,
        "findings_version": view.table("findings").version()}, reason=reason)
    shown = exporting.detailed(view, listed, show_plates=show_plates) if evidence else listed
    rows = export_findings(
        shown, path, vehicles=vehicles, sites=view.table("sites").scan().collect(),
        show_plates=show_plates, provenance=as_of.flat(made), raw_csv=raw_csv,
        withdrawn=None if withdrawn_only else gone, language=spoken, progress=progress)
    as_of.write_companion(path, made, rows)
    as_of.remember_export(view, current.height)
    return rows


def provenance(lake: Lake) -> Mapping[str, str]:
    """Return what an export is made from, as names and texts: table versions, law, code."""
    return as_of.flat(as_of.provenance(lake))


def _plates_shown(listed: pl.DataFrame, vehicles: pl.DataFrame | None) -> int:
    """Return how many vehicles a list names by their plates."""
    return 0 if vehicles is None else listed.select("vehicle_id").unique().join(
        vehicles.drop_nulls("plate"), on="vehicle_id", how="semi").height


def withdrawn(lake: Lake) -> pl.DataFrame:
    """Return findings that were exported once and stand no more, as they stood when exported."""
    lake = as_of.now(lake)
    table = lake.table("findings")
    current, keys = table.scan().collect(), ["regulation_id", "vehicle_id", "pollutant"]
    older = [table.scan(v).collect() for v, _ in sorted(as_of.exported_versions(lake))
             if v < table.version()]
    if not older:
        return current.clear()
    once = pl.concat(older).unique(keys, keep="last", maintain_order=True)
    return once.join(current, on=keys, how="anti").sort("found_at", "vehicle_id", "pollutant")


def quarantine(lake: Lake, *, show_plates: bool = False,
               reason: str | None = None) -> pl.DataFrame:
    """Return what was quarantined: ``file, line, byte_offset, reason, column, raw``.

    ``raw`` shows bytes that are no text as ``\\xNN``. A raw record may hold a plate: whatever looks
    like one is masked unless ``show_plates``. Both are audited, with the ``reason``.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
    """
    _require_restricted(lake, "the quarantine holds raw records")
    if show_plates:
        trail.require_reason(lake, reason)
    view = lake.pinned()
    rows = view.table("quarantine").scan().collect()
    trail.record(view, "show quarantine", {
        "rows": rows.height, "plates": show_plates,
        "plates_shown": rows.height if show_plates else 0,
        "quarantine_version": view.table("quarantine").version()}, reason=reason)
    texts = [_shown(raw, reason) for raw, reason in rows.select("raw", "reason").iter_rows()]
    shown = texts if show_plates else [mask_plates_in_text(t) for t in texts]
    if not show_plates:  # a dump may be named after a vehicle
        rows = rows.with_columns(
            pl.col("file").map_elements(mask_chinese_plates, return_dtype=pl.String))
    return rows.select("file", "line", "byte_offset", "reason", "column").with_columns(
        pl.Series("raw", shown, pl.String))


def _shown(raw: bytes, reason: str) -> str:
    """Return a raw record as text; GB18030 is tried where it is not the text that is at fault.

    UTF-16 is told by its zeros, which must not stand inside a plate when plates are masked.
    """
    if len(raw) >= _SHORTEST_UTF16_PLATE:
        if (codec := utf16.by_zeros(raw)) is not None:
            return raw.decode(codec, "backslashreplace")
        if 5 * raw.count(0) > len(raw):
            return text_of_bytes(raw.replace(b"\0", b""))
    if not reason.startswith("not_text"):
        for encoding in ("utf-8", "gb18030"):
            try:
                return raw.decode(encoding)
            except UnicodeDecodeError:
                continue
    return text_of_bytes(raw)


def _require_restricted(lake: Lake, why: str) -> None:
    if not lake.may_read_restricted:
        raise PolicyRefusal(why, where=str(lake.path / "restricted"),
                            found="no right to read it", remedy="Ask who holds the right.")


def resolve_vehicle(lake: Lake, vehicle: str, *, reason: str | None = None) -> list[str]:
    """Return the vehicle ids that a plate, a plate with colour (``plate/colour``) or an id means.

    Raises:
        PolicyRefusal: a plate, without the right to read ``restricted/``.
        UsageError: no such vehicle.
    """
    if vehicle.startswith("v1."):
        return [present_id(lake, vehicle)]
    _require_restricted(lake, "a plate can be looked up by who may see plates only")
    trail.require_reason(lake, reason)
    plate, _, color = vehicle.partition("/")
    VehicleKey.load(lake.key_path)  # whoever may not have the key may not look up either
    vehicles = lake.table("vehicles").scan().filter(pl.col("plate") == _normal(plate))
    found = vehicles.select("vehicle_id", "plate", "plate_color").unique().collect()
    if color:
        found = found.filter(pl.col("plate_color") == color)
    trail.record(lake, "look up plate", {"vehicles": found["vehicle_id"].to_list(),
                                         "plates_shown": found.height}, reason=reason)
    if found.is_empty():
        raise UsageError("no such vehicle in the lake", found="a plate that was never seen",
                         remedy="Check the plate; give its colour as PLATE/blue.")
    return found["vehicle_id"].to_list()  # as stored: of before the key was changed, the old ones


def _normal(plate: str) -> str:
    frame = pl.DataFrame({"plate": [plate]}).select(normalise_plate_expr("plate"))
    return str(frame.item())
