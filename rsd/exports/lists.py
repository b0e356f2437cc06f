"""The list of findings as a file: CSV, XLSX, Parquet, JSON or GeoJSON.

The columns are a contract; the file's suffix chooses the format. Plates are masked unless the
caller may show them. A number that nobody could verify in the law's text says so in each format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl

from rsd.columns import FINDINGS
from rsd.errors import UsageError
from rsd.exports.evidence import PLACES
from rsd.exports.safety import (
    BOM,
    Progress,
    csv_blocks,
    json_blocks,
    json_rows,
    printable,
    replacing,
)
from rsd.exports.words import Words, words
from rsd.exports.xlsx import write_workbook
from rsd.privacy import mask_plate_expr

_NAMES = [c.name for c in FINDINGS]
_AFTER_VEHICLE = _NAMES.index("vehicle_id") + 1
COLUMNS = (*_NAMES[:_AFTER_VEHICLE], "plate", *_NAMES[_AFTER_VEHICLE:])
"""The columns of the list, in order: those of a finding, with the plate after the vehicle."""

ORDER = ("found_at", "vehicle_id", "pollutant", "regulation_id", "kind", "first_record_id")
"""The first three are the contract's; the others decide ties, so that a list has one order."""


@dataclass(frozen=True)
class _List:
    """All that a writer needs."""

    findings: pl.DataFrame
    withdrawn: pl.DataFrame | None
    sites: pl.DataFrame | None
    provenance: Mapping[str, str]
    plates: str
    words: Words
    raw_csv: bool
    progress: Progress | None


def export_findings(findings: pl.DataFrame, path: Path, *, vehicles: pl.DataFrame | None,
                    sites: pl.DataFrame | None, show_plates: bool,
                    provenance: Mapping[str, str], withdrawn: pl.DataFrame | None = None,
                    language: str = "en", raw_csv: bool = False,
                    progress: Progress | None = None) -> int:
    """Write ``findings`` to ``path`` in the format of its suffix; return the number of rows.

    ``findings`` and ``withdrawn`` have the columns of ``FINDINGS``; what they have besides, as
    the evidence, stands behind. ``vehicles`` gives the plates (null where it is None), masked
    unless ``show_plates``; ``sites`` gives GeoJSON its points where there is no evidence.
    XLSX and GeoJSON carry ``provenance``, Parquet in its metadata; its ``created_at`` dates the
    XLSX. Only XLSX has room for ``withdrawn``, and headings in a ``language``: the names of
    columns are a contract elsewhere. ``raw_csv`` leaves formulas in a CSV alive.
    The same input gives the same bytes. The file appears whole or not at all.

    Raises ``UsageError`` for another suffix or a missing column, ``StorageError`` for the disk.
    """
    check_suffix(path)
    write = _WRITERS[path.suffix.lower()]
    gone = None if withdrawn is None else _listed(withdrawn, vehicles, show_plates)
    plates = "withheld" if vehicles is None else "shown" if show_plates else "masked"
    job = _List(_listed(findings, vehicles, show_plates), gone, sites, provenance, plates,
                words(language), raw_csv, progress)
    with replacing(path) as staged:
        write(job, staged)
    return job.findings.height


def check_suffix(path: Path) -> None:
    """Raise UsageError if no list can be written to a file of this name."""
    if path.suffix.lower() not in _WRITERS:
        raise UsageError("no such format of a list", where=printable(str(path)),
                         found=printable(repr(path.suffix)), expected=", ".join(_WRITERS),
                         remedy="Name the file with one of these suffixes.")


def _listed(findings: pl.DataFrame, vehicles: pl.DataFrame | None,
            show_plates: bool) -> pl.DataFrame:
    """Return the columns of the list, and any more that came, with plates, in order."""
    missing = [name for name in _NAMES if name not in findings.columns]
    if missing:
        raise UsageError("findings lack columns", found=", ".join(missing))
    plate = pl.col("plate") if show_plates else mask_plate_expr(pl.col("plate"))
    known = (pl.DataFrame(schema={"vehicle_id": pl.String, "plate": pl.String})
             if vehicles is None
             else vehicles.select("vehicle_id", plate.alias("plate"))
             .unique("vehicle_id", keep="first", maintain_order=True))
    more = [name for name in findings.columns if name not in COLUMNS]
    typed = findings.drop("plate", strict=False).cast({c.name: c.dtype for c in FINDINGS})
    joined = typed.join(known, on="vehicle_id", how="left", maintain_order="left")
    return joined.select(*COLUMNS, *more).sort(ORDER, maintain_order=True)


def _pour(blocks: Iterable[bytes], path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(blocks)


def _write_csv(job: _List, path: Path) -> None:
    rows = csv_blocks(job.findings, raw=job.raw_csv, progress=job.progress)
    _pour(chain([BOM], rows), path)


def _write_json(job: _List, path: Path) -> None:
    _pour(json_blocks(job.findings, job.progress), path)


def _write_parquet(job: _List, path: Path) -> None:
    job.findings.write_parquet(path, metadata={f"rsd.{k}": v for k, v in job.provenance.items()})
    if job.progress is not None:
        job.progress(job.findings.height, job.findings.height)


def _write_geojson(job: _List, path: Path) -> None:
    _pour(_geojson_blocks(job), path)


def _geojson_blocks(job: _List) -> Iterator[bytes]:
    """Yield a FeatureCollection (RFC 7946), one feature a line, provenance as a member."""
    origin = json.dumps(dict(job.provenance), ensure_ascii=False)
    yield f'{{"type":"FeatureCollection","provenance":{origin},"features":[\n'.encode()
    yield from json_rows(job.findings, job.progress, lambda part: _features(part, job.sites))
    yield b"\n]}\n"


def _features(findings: pl.DataFrame, sites: pl.DataFrame | None) -> pl.DataFrame:
    """Return a feature a finding, where its passes happened.

    With evidence that is a MultiPoint of the places of its proof records, one where they are the
    same; without, the first site of its road segment. Where nothing is known it is null.
    """
    if "first_lon_wgs84" in findings.columns:
        points = pl.concat_list(_point(place) for place in PLACES).list.drop_nulls()
        position = pl.concat_list(pl.element().struct.field(n) for n in ("lon", "lat"))
        placed = findings.with_columns(
            points.list.unique(maintain_order=True).list.eval(position).alias("_points"))
        shape = pl.struct(type=pl.lit("MultiPoint"), coordinates=pl.col("_points"))
        is_known = pl.col("_points").list.len() > 0
    else:
        placed = findings.join(_places(sites), on="road_segment", how="left",
                               maintain_order="left")
        shape = pl.struct(type=pl.lit("Point"), coordinates=pl.concat_list("_lon", "_lat"))
        is_known = pl.col("_lon").is_not_null()
    return placed.select(type=pl.lit("Feature"), geometry=pl.when(is_known).then(shape),
                         properties=pl.struct(findings.columns))


def _point(place: str) -> pl.Expr:
    """Return the position of a record of proof, null where a coordinate is none."""
    lon, lat = pl.col(f"{place}_lon_wgs84"), pl.col(f"{place}_lat_wgs84")
    return pl.when(lon.is_finite() & lat.is_finite()).then(pl.struct(lon=lon, lat=lat))


def _places(sites: pl.DataFrame | None) -> pl.DataFrame:
    """Return ``road_segment, _lon, _lat``: of each segment the first site with coordinates.

    A site without a road segment is its own (so do passes, see ``PASSES``).
    """
    names = {"road_segment": pl.String, "_lon": pl.Float64, "_lat": pl.Float64}
    if sites is None:
        return pl.DataFrame(schema=names)
    lon, lat = pl.col("lon_wgs84"), pl.col("lat_wgs84")
    known = sites.filter(lon.is_finite() & lat.is_finite()).sort("site_id")
    return known.select(
        pl.coalesce("road_segment", "site_id").alias("road_segment"), lon.alias("_lon"),
        lat.alias("_lat"),
    ).unique("road_segment", keep="first", maintain_order=True)


def _write_xlsx(job: _List, path: Path) -> None:
    write_workbook(path, job.findings, withdrawn=job.withdrawn, plates=job.plates,
                   provenance=job.provenance, words=job.words, progress=job.progress)


_WRITERS: dict[str, Callable[[_List, Path], None]] = {
    ".csv": _write_csv,
    ".xlsx": _write_xlsx,
    ".parquet": _write_parquet,
    ".json": _write_json,
    ".geojson": _write_geojson,
}
