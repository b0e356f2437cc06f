"""What people read out of a lake: queries, aggregates, lists, quarantine, a vehicle's story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from rsd import aggregates, audit, sql
from rsd.columns import OPEN_TABLES, POLLUTANTS
from rsd.errors import PolicyRefusal, UsageError
from rsd.exports.lists import check_suffix, export_findings
from rsd.exports.safety import text_of_bytes
from rsd.intake import utf16
from rsd.lake import Lake
from rsd.law import judge
from rsd.law.rulebook import Regulation
from rsd.pipeline.masking import mask_plates_in_text
from rsd.pipeline.nightly import regulations_of
from rsd.pipeline.replicates import nearness
from rsd.privacy import VehicleKey, normalise_plate_expr, vehicle_ids
from rsd.storage import disk
from rsd.version import VERSION

_SHORTEST_UTF16_PLATE = 8  # bytes


def verdict_sql(regulations: Sequence[Regulation]) -> dict[str, dict[str, str]]:
    """Return, by pollutant, SQL for applies, tested and exceeds over all regulations together."""
    questions = {"applies": judge.applies_sql, "tested": judge.tested_sql,
                 "exceeds": judge.exceeds_sql}
    found: dict[str, dict[str, str]] = {}
    for pollutant in POLLUTANTS:
        judging = [r for r in regulations if pollutant in r.pollutants]
        if judging:
            found[pollutant] = {
                name: " OR ".join(f"coalesce({ask(r, pollutant)}, false)" for r in judging)
                for name, ask in questions.items()
            }
    return found


@contextmanager
def open_views(lake: Lake) -> Iterator[sql.Session]:
    """Open the analyst's views on a lake; no plate is behind them."""
    files = {name: lake.visible_files(name) for name in OPEN_TABLES}
    with sql.open_session(files, verdict_sql(regulations_of(lake)),
                          near=nearness(lake)) as session:
        yield session


def query(lake: Lake, text: str) -> pl.DataFrame:
    """Answer one read-only SELECT over the views; errors as `rsd.sql.Session.query`."""
    with open_views(lake) as session:
        return session.query(text)


def aggregate(lake: Lake, by: Sequence[str], **options: Any) -> pl.DataFrame:
    """Aggregate passes by some columns; options and errors as `rsd.aggregates.aggregate`."""
    with open_views(lake) as session:
        return aggregates.aggregate(session, by, **options)


def findings_of(lake: Lake) -> pl.DataFrame:
    """Return the findings as they stand."""
    return lake.table("findings").scan().collect().sort("found_at", "vehicle_id", "pollutant")


def export_list(lake: Lake, path: Path, *, show_plates: bool = False, withdrawn_only: bool = False,
                raw_csv: bool = False) -> int:
    """Export the list of findings to a file of the suffix's format; return its rows.

    Without access to ``restricted/`` plates are null, with it masked, and in clear only with
    ``show_plates``, which is written to the audit log before the file appears.

    Raises:
        PolicyRefusal: ``show_plates`` without the right to read ``restricted/``.
        UsageError: another suffix.
        StorageError: the file cannot be written.
    """
    check_suffix(path)
    if show_plates and not lake.may_read_restricted:
        raise PolicyRefusal("plates may not be shown", where=str(lake.path / "restricted"),
                            found="no right to read it",
                            remedy="Export without --plates, or ask who holds the right.")
    current, gone = findings_of(lake), withdrawn(lake)
    listed = gone if withdrawn_only else current
    vehicles = None
    if lake.may_read_restricted:
        vehicles = lake.table("vehicles").scan().collect()
        audit.append(lake.path, "export findings", {
            "file": path.name, "rows": listed.height, "plates": show_plates,
            "findings_version": lake.table("findings").version()})
    rows = export_findings(
        listed, path, vehicles=vehicles, sites=lake.table("sites").scan().collect(),
        show_plates=show_plates, provenance=provenance(lake), raw_csv=raw_csv,
        withdrawn=None if withdrawn_only else gone)
    _remember_export(lake, current)
    return rows


def provenance(lake: Lake) -> Mapping[str, str]:
    """Return what an export was made from: table versions, law, code."""
    regulations = {f"regulation {r.id}": r.sha256 for r in regulations_of(lake)}
    history = lake.table("findings").history()
    at = {"created_at": history[-1].at.isoformat()} if history else {}
    versions = {f"version of {n}": str(lake.table(n).version()) for n in ("passes", "findings")}
    return {"rsd": VERSION, "timezone": lake.timezone, **at, **versions, **regulations}


def _remember_export(lake: Lake, exported: pl.DataFrame) -> None:
    """Keep which version of the findings was exported: what is withdrawn is told from it."""
    if not lake.may_read_restricted or exported.is_empty():
        return
    version = lake.table("findings").version()
    seen = _exported_versions(lake)
    if version not in seen:
        text = "".join(f"{v}\n" for v in [*seen, version])
        disk.replace(_exports_file(lake), text.encode())


def _exports_file(lake: Lake) -> Path:
    return lake.path / "restricted" / "exported_versions"


def _exported_versions(lake: Lake) -> list[int]:
    try:
        return [int(line) for line in _exports_file(lake).read_text().split()]
    except (FileNotFoundError, PermissionError):
        return []


def withdrawn(lake: Lake) -> pl.DataFrame:
    """Return findings that were exported once and stand no more, as they stood when exported."""
    table = lake.table("findings")
    current, keys = table.scan().collect(), ["regulation_id", "vehicle_id", "pollutant"]
    older = [table.scan(v).collect() for v in _exported_versions(lake) if v != table.version()]
    if not older:
        return current.clear()
    once = pl.concat(older).unique(keys, keep="last", maintain_order=True)
    return once.join(current, on=keys, how="anti").sort("found_at", "vehicle_id", "pollutant")


def quarantine(lake: Lake, *, show_plates: bool = False) -> pl.DataFrame:
    """Return what was quarantined: ``file, line, byte_offset, reason, column, raw``.

    ``raw`` shows bytes that are no text as ``\\xNN``. A raw record may hold a plate: whatever looks
    like one is masked unless ``show_plates``, which is audited.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
    """
    _require_restricted(lake, "the quarantine holds raw records")
    rows = lake.table("quarantine").scan().collect()
    if show_plates:
        audit.append(lake.path, "show quarantine", {"rows": rows.height, "plates": True})
    texts = [_shown(raw, reason) for raw, reason in rows.select("raw", "reason").iter_rows()]
    shown = texts if show_plates else [mask_plates_in_text(t) for t in texts]
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


def resolve_vehicle(lake: Lake, vehicle: str) -> list[str]:
    """Return the vehicle ids that a plate, a plate with colour (``plate/colour``) or an id means.

    Raises:
        PolicyRefusal: a plate, without the right to read ``restricted/``.
        UsageError: no such vehicle.
    """
    if vehicle.startswith("v1."):
        return [vehicle]
    _require_restricted(lake, "a plate can be looked up by who may see plates only")
    plate, _, color = vehicle.partition("/")
    key = VehicleKey.load(lake.key_path)
    vehicles = lake.table("vehicles").scan().filter(pl.col("plate") == _normal(plate))
    found = vehicles.select("vehicle_id", "plate", "plate_color").unique().collect()
    if color:
        found = found.filter(pl.col("plate_color") == color)
    audit.append(lake.path, "look up plate", {"vehicles": found["vehicle_id"].to_list()})
    if found.is_empty():
        raise UsageError("no such vehicle in the lake", found="a plate that was never seen",
                         remedy="Check the plate; give its colour as PLATE/blue.")
    return vehicle_ids(key, found).to_list()


def _normal(plate: str) -> str:
    frame = pl.DataFrame({"plate": [plate]}).select(normalise_plate_expr("plate"))
    return str(frame.item())
