"""Vehicles of a lake: the registry as it was given, and pseudonyms that are known already."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl

from rsd.columns import PLATE_COLORS, VEHICLES, schema
from rsd.errors import InputRefused
from rsd.intake.formats import CodeTable, code_tables
from rsd.lake import Lake
from rsd.privacy import normalise_plate_expr

_REQUIRED = ("plate", "plate_color")
_KNOWN = (*_REQUIRED, "plate_type", "vehicle_type", "fuel", "emission_stage", "first_registered",
          "use")
_OWN_AND_GA = {
    "fuel": ("own_fuel", "ga_fuel"), "use": ("ga_use",), "emission_stage": ("own_stage",),
    "vehicle_class": ("own_class", "ga_vehicle_type"),
    "plate_color": ("own_plate_color", "plate_color_from_0"),
}  # fmt: skip


def new_rows(lake: Lake, met: pl.DataFrame) -> pl.DataFrame:
    """Return the vehicles of a batch that the lake does not know yet, as rows of `VEHICLES`."""
    stored = lake.table("vehicles").scan().select("vehicle_id")
    new = met.lazy().join(stored, on="vehicle_id", how="anti").collect(engine="streaming")
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema(VEHICLES).items()
               if name not in new.columns and name != "is_registered"]
    return new.with_columns(*missing, is_registered=pl.lit(False)).select(schema(VEHICLES).names())


def registered(lake: Lake) -> pl.DataFrame:
    """Return what the registry knows, one row a vehicle."""
    return lake.table("vehicles").scan().filter(pl.col("is_registered")).collect()


def read_registry(path: Path) -> pl.DataFrame:
    """Read a registry file.

    Args:
        path: CSV, UTF-8 or GB18030: ``plate, plate_color`` and any of ``plate_type, vehicle_type,
            fuel, emission_stage, first_registered, use``; GA codes or our names.

    Returns:
        The columns of `VEHICLES`, ``vehicle_id`` null, one row a plate and colour; of a vehicle
        that stands twice the last row counts.

    Raises:
        InputRefused: a required column is missing, or a cell is not what its column needs.
    """
    rows = list(_decoded(path))
    frame = pl.DataFrame(rows, schema=schema(VEHICLES), orient="row")
    normal = frame.with_columns(normalise_plate_expr("plate").alias("plate"))
    return normal.unique(["plate", "plate_color"], keep="last", maintain_order=True)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputRefused("the registry cannot be read", where=str(path),
                         found=str(error.strerror or error)) from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the registry is no text", where=str(path), expected="UTF-8 or GB18030")


def _decoded(path: Path) -> Iterator[dict[str, object]]:
    reader = csv.DictReader(_text(path).splitlines())
    header = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = header
    if missing := [name for name in _REQUIRED if name not in header]:
        raise InputRefused("a column of the registry is missing", where=f"{path}, line 1",
                         found=", ".join(header)[:200], expected=", ".join(missing))
    tables = {k: [code_tables()[n] for n in names] for k, names in _OWN_AND_GA.items()}
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        cells = {name: (row.get(name) or "").strip() for name in _KNOWN}
        if not cells["plate"]:
            raise InputRefused("a vehicle without a plate", where=where, expected="a plate",
                             remedy="Fill the cell or remove the line.")
        color = _code(cells["plate_color"], tables["plate_color"], where, "plate_color")
        yield {
            "vehicle_id": None,
            "plate": cells["plate"],
            "plate_color": color if color in PLATE_COLORS else "unknown",
            "plate_type": cells["plate_type"] or None,
            "vehicle_class": _code(cells["vehicle_type"], tables["vehicle_class"], where,
                                   "vehicle_type"),
            "vehicle_type": cells["vehicle_type"] or None,
            "fuel": _code(cells["fuel"], tables["fuel"], where, "fuel"),
            "emission_stage": _code(cells["emission_stage"], tables["emission_stage"], where,
                                    "emission_stage"),
            "first_registered": _date(cells["first_registered"], where),
            "use": _code(cells["use"], tables["use"], where, "use") or cells["use"] or None,
            "is_registered": True,
        }


def _code(cell: str, tables: list[CodeTable], where: str, column: str) -> object:
    if not cell:
        return None
    for table in tables:
        value, is_known = table.decode(cell)
        if is_known:
            return value
    if column == "use":
        return None
    raise InputRefused(f"an unknown code in {column}", where=where, found=cell,
                     expected=" or ".join(f"a code of {t.name}" for t in tables),
                     remedy="Correct the cell, or leave it blank for unknown.")


def _date(cell: str, where: str) -> date | None:
    if not cell:
        return None
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise InputRefused("no date in first_registered", where=where, found=cell,
                         expected="a date like 2019-05-31") from None
