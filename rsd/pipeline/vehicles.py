"""Vehicles of a lake: the registry as it was given, and pseudonyms that are known already."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path

import polars as pl

from rsd.columns import PLATE_COLORS, VEHICLES, schema
from rsd.errors import InputRefused, IntegrityError
from rsd.intake.formats import CodeTable, code_tables
from rsd.lake import Lake
from rsd.pipeline.known_ids import KnownIds
from rsd.pipeline.masking import mask_plates_in_text
from rsd.privacy import VehicleKey, normalise_plate_expr

_REQUIRED = ("plate", "plate_color")
_KNOWN = (*_REQUIRED, "plate_type", "vehicle_type", "fuel", "emission_stage", "first_registered",
          "use")
_OWN_AND_GA = {
    "fuel": ("own_fuel", "ga_fuel"), "use": ("ga_use",), "emission_stage": ("own_stage",),
    "vehicle_class": ("own_class", "ga_vehicle_type"),
    "plate_color": ("own_plate_color", "plate_color_from_0"),
}  # fmt: skip
_AT_ONCE = 65_536  # rows that are held as objects of Python


class KnownVehicles:
    """The vehicles of a lake, as far as it takes to tell which ones are new to it."""

    def __init__(self, lake: Lake) -> None:
        self._table = lake.table("vehicles")
        self._known = KnownIds(self._table, "vehicle_id")

    def add(self, met: pl.DataFrame, batch_id: str) -> None:
        """Commit those vehicles of a batch that the lake does not know yet."""
        hashes = met["vehicle_id"].hash()
        asked = hashes.sort().to_numpy()
        new = self._new_rows(met.with_columns(hash=hashes), self._known.met(asked))
        if new.height:
            path = self._table.write(new, batch_id)
            self._table.commit([path])
            self._known.add([path], new["vehicle_id"].hash().sort().to_numpy())

    def _new_rows(self, met: pl.DataFrame, hashes: pl.Series) -> pl.DataFrame:
        if hashes.is_empty():
            return _as_rows(met)
        may = met.lazy().filter(pl.col("hash").is_in(hashes.implode())).select("vehicle_id")
        stored = self._table.scan().select("vehicle_id")  # may be millions: the few are held
        again = stored.join(may, on="vehicle_id", how="semi").collect(engine="streaming")
        return _as_rows(met.join(again, on="vehicle_id", how="anti", maintain_order="left"))


def _as_rows(met: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema(VEHICLES).items()
               if name not in met.columns and name != "is_registered"]
    return met.with_columns(*missing, is_registered=pl.lit(False)).select(
        schema(VEHICLES).names())


def check_key(lake: Lake, key: VehicleKey) -> None:
    """Raise IntegrityError if the lake's vehicles were named with another key.

    With another key every vehicle would be a new one, and no second exceedance would be found.
    """
    stored = lake.table("vehicles").scan().select("vehicle_id").head(1).collect()
    if stored.height and not str(stored.item()).startswith(f"v1.{key.key_id}."):
        raise IntegrityError("the vehicle key is not this lake's", where=str(lake.key_path),
                             found=f"key {key.key_id}",
                             expected=f"key {str(stored.item()).split('.')[1]}",
                             remedy="Restore the lake's key from a backup; check RSD_KEY_FILE.")


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
    rows, kinds = _decoded(path), schema(VEHICLES)
    parts = [pl.DataFrame(schema=kinds)]
    while some := list(islice(rows, _AT_ONCE)):
        parts.append(pl.DataFrame(some, schema=kinds, orient="row"))
    normal = pl.concat(parts).with_columns(normalise_plate_expr("plate").alias("plate"))
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


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the place and the known cells of each row; a row of another shape is refused.

    No message quotes a cell of a first line: without a header it would be a plate.
    """
    reader = csv.reader(_text(path).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in _REQUIRED if name not in header]:
            known = ", ".join(name for name in header if name in _KNOWN) or "none"
            raise InputRefused("a column of the registry is missing", where=f"{path}, line 1",
                               found=f"{len(header)} columns, of known names {known}",
                               expected=", ".join(missing))
        if twice := [name for name in _KNOWN if header.count(name) > 1]:
            raise InputRefused("a column stands twice", where=f"{path}, line 1",
                               found=twice[0], remedy="Remove one of them.")
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputRefused("another number of fields than the header has", where=where,
                                   found=str(len(cells)), expected=str(len(header)))
            row = dict(zip(header, cells, strict=True))
            yield where, {name: row.get(name, "").strip() for name in _KNOWN}
    except csv.Error as error:
        raise InputRefused("no CSV", where=f"{path}, line {reader.line_num}", found=str(error),
                           remedy="Close the quote, or remove it.") from None


def _decoded(path: Path) -> Iterator[dict[str, object]]:
    tables = {k: [code_tables()[n] for n in names] for k, names in _OWN_AND_GA.items()}
    for where, cells in _rows(path):
        color = _code(cells["plate_color"], tables["plate_color"], where, "plate_color")
        yield {
            "vehicle_id": None,
            "plate": _plate(cells["plate"], where),
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


def _plate(cell: str, where: str) -> str:
    # what normalises to nothing is no plate: a row of it would be a vehicle without an id
    if not any(character.isalnum() for character in cell):
        raise InputRefused("a vehicle without a plate", where=where, expected="a plate",
                           remedy="Fill the cell or remove the line.")
    return cell


def _code(cell: str, tables: list[CodeTable], where: str, column: str) -> object:
    if not cell:
        return None
    for table in tables:
        value, is_known = table.decode(cell)
        if is_known:
            return value
    if column == "use":
        return None
    raise InputRefused(f"an unknown code in {column}", where=where, found=mask_plates_in_text(cell),
                     expected=" or ".join(f"a code of {t.name}" for t in tables),
                     remedy="Correct the cell, or leave it blank for unknown.")


def _date(cell: str, where: str) -> date | None:
    if not cell:
        return None
    try:
        return date.fromisoformat(cell)
    except ValueError:
        raise InputRefused("no date in first_registered", where=where,
                           found=mask_plates_in_text(cell),
                           expected="a date like 2019-05-31") from None
