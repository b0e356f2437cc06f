"""The site list: one instrument's place a line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from rsd.columns import SITES, schema
from rsd.errors import InputRefused, StorageError, UsageError
from rsd.geography.crs import CHINA, CRS, to_wgs84

_SITE_COLUMNS = ("site_id", "name", "road_segment", "lon", "lat", "crs", "slope_deg")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_sites(path: Path | str) -> pl.DataFrame:
    """Return the site list of a CSV file as a frame with the columns of `SITES`.

    Columns, in any order and letter case: site_id (required), name, road_segment, lon, lat (degrees
    in the system that `crs` names; both may be blank), crs, slope_deg. Unknown columns are ignored.
    UTF-8 or GB18030. Raises UsageError without such a file, StorageError where it cannot be read,
    InputRefused (file, line, found, expected) for anything that cannot be meant.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for line, cells in _site_rows(Path(path)):
        where = f"{path}, line {line}"
        row = _site(cells, where)
        if (first := seen.setdefault(row["site_id"], line)) != line:
            raise InputRefused(
                "a site stands twice", where=where, found=repr(row["site_id"]),
                expected=f"once (first on line {first})", remedy="Remove one of the two lines.",
            )  # fmt: skip
        rows.append(row)
    return pl.DataFrame(rows, schema=schema(SITES))


def _site_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and the known cells of each record of a site list."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        known = [name for name in header if name in _SITE_COLUMNS]
        if "site_id" not in known or len(set(known)) != len(known):
            raise InputRefused(
                "not the header of a site list", where=f"{path}, line 1",
                found=", ".join(header)[:200] or "an empty file",
                expected=f"each of {', '.join(_SITE_COLUMNS)} once; site_id is required",
            )  # fmt: skip
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputRefused(
                    "wrong number of fields", where=f"{path}, line {reader.line_num}",
                    found=str(len(cells)), expected=str(len(header)),
                )  # fmt: skip
            pairs = zip(header, cells, strict=True)
            yield reader.line_num, {k: v.strip() for k, v in pairs if k in known}
    except csv.Error as error:
        raise InputRefused(
            "not a CSV file", where=f"{path}, line {reader.line_num}", found=str(error)
        ) from None


def _site(cells: dict[str, str], where: str) -> dict[str, Any]:
    """Return one record of SITES from the text of its cells, or refuse it."""
    if not cells["site_id"]:
        raise InputRefused("blank site_id", where=where, expected="the instrument's place")
    lon, lat = (_number(cells, key, where) for key in ("lon", "lat"))
    slope = _number(cells, "slope_deg", where)
    if slope is not None and abs(slope) >= 90.0:
        raise InputRefused(
            "impossible slope", where=where, found=f"{slope:g}", expected="degrees, -90 to 90"
        )
    crs = cells.get("crs", "").lower() or None
    if crs is not None and crs not in CRS:
        raise InputRefused(
            "unknown coordinate system", where=where, found=repr(crs), expected=", ".join(CRS)
        )
    if (lon is None) != (lat is None):
        raise InputRefused("half a place", where=where, found="only one of lon and lat",
                           expected="both, or neither")  # fmt: skip
    place = _no_place() if lon is None or lat is None else _place(lon, lat, crs, where)
    text = {key: cells.get(key) or None for key in ("site_id", "name", "road_segment")}
    return {**text, **place, "slope_deg": slope}


def _no_place() -> dict[str, Any]:
    return dict.fromkeys(("lon", "lat", "crs", "lon_wgs84", "lat_wgs84"))


def _place(lon: float, lat: float, crs: str | None, where: str) -> dict[str, Any]:
    """Return the coordinates of a site, checked, and in WGS-84 too."""
    if crs is None:
        raise InputRefused(
            "coordinates without their system", where=where, found="a blank crs",
            expected=", ".join(CRS), remedy="Name the system; it is never guessed.",
        )  # fmt: skip
    world = (-180.0, 180.0, -90.0, 90.0)
    box = world if crs == "wgs84" else CHINA
    if not _inside(lon, lat, box) or (lon == 0.0 and lat == 0.0):
        swapped = _inside(lat, lon, box) and not (lon == 0.0 and lat == 0.0)
        raise InputRefused(
            "longitude and latitude are swapped" if swapped else "no such place", where=where,
            found=f"lon {lon:g}, lat {lat:g}",
            expected=f"lon {box[0]:g} to {box[1]:g}, lat {box[2]:g} to {box[3]:g} for {crs}",
        )  # fmt: skip
    x, y = to_wgs84(lon, lat, crs)
    return {"lon": lon, "lat": lat, "crs": crs, "lon_wgs84": float(x), "lat_wgs84": float(y)}


def _inside(lon: float, lat: float, box: tuple[float, float, float, float]) -> bool:
    return box[0] <= lon <= box[1] and box[2] <= lat <= box[3]


def _number(cells: dict[str, str], key: str, where: str) -> float | None:
    text = cells.get(key, "")
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
        raise InputRefused(f"{key} is no number", where=where, found=repr(text),
                           expected="degrees, as in 118.107")  # fmt: skip
    return value


def read_text(path: Path) -> str:
    """Return a small text file: UTF-8 with or without a mark, else GB18030."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError("no such file", where=str(path)) from None
    except OSError as error:
        raise StorageError("cannot be read", where=str(path), found=error.strerror) from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("no text", where=str(path), expected="UTF-8 or GB18030")
