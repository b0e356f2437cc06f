"""Where the instruments stand: coordinate systems, the site list, the road segments.

A coordinate system is declared, never guessed: WGS-84, CGCS2000, GCJ-02 (the shift that Chinese web
maps apply) or BD-09 (Baidu's, on top of it). A pass gets its road segment from the site list; the
geometry only checks that list.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from rsd.columns import SEGMENTS, SITES, schema
from rsd.errors import InputRefused, StorageError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Degrees = NDArray[np.float64]

CRS = ("wgs84", "gcj02", "bd09", "cgcs2000")
MAX_DISTANCE_M = 30.0
"""A site farther than this from its road segment is reviewed (choice of this project)."""

# GCJ-02 was never published; these constants are those that every open implementation shares
# (the EvilTransform / coordtransform family; checked here against coord-convert 0.2.1).
_KRASOVSKY_A_M = 6378245.0
_KRASOVSKY_E2 = 0.00669342162296594323
_ORIGIN_LON, _ORIGIN_LAT = 105.0, 35.0
_CHINA = (72.004, 137.8347, 0.8293, 55.8271)
"""West, east, south, north of the rectangle in which the shift applies, degrees."""
_BD_LON, _BD_LAT = 0.0065, 0.006
_BD_WAVE = math.pi * 3000.0 / 180.0
_FIXED_POINT_STEPS = 8
"""A step shrinks the error by about 1e-3 or better: eight are far below a nanometre."""


# ---- coordinate systems -----------------------------------------------------------------------


def _gcj02_shift(lon: Degrees, lat: Degrees) -> tuple[Degrees, Degrees]:
    """Return the GCJ-02 shift in degrees at a WGS-84 place; zero outside the rectangle."""
    x, y = lon - _ORIGIN_LON, lat - _ORIGIN_LAT
    root, pi = np.sqrt(np.abs(x)), np.pi
    ripple = 20.0 * np.sin(6.0 * pi * x) + 20.0 * np.sin(2.0 * pi * x)
    wave_y = 20.0 * np.sin(pi * y) + 40.0 * np.sin(pi / 3.0 * y)
    wave_y = wave_y + 160.0 * np.sin(pi / 12.0 * y) + 320.0 * np.sin(pi / 30.0 * y)
    wave_x = 20.0 * np.sin(pi * x) + 40.0 * np.sin(pi / 3.0 * x)
    wave_x = wave_x + 150.0 * np.sin(pi / 12.0 * x) + 300.0 * np.sin(pi / 30.0 * x)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north = north + (ripple + wave_y) * (2.0 / 3.0)
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east = east + (ripple + wave_x) * (2.0 / 3.0)
    return _metres_to_degrees(east, north, lat, _in_china(lon, lat))


def _metres_to_degrees(
    east: Degrees, north: Degrees, lat: Degrees, inside: NDArray[np.bool_]
) -> tuple[Degrees, Degrees]:
    """Return a shift in metres as degrees on the Krasovsky ellipsoid."""
    phi = np.radians(lat)
    w2 = 1.0 - _KRASOVSKY_E2 * np.sin(phi) ** 2
    meridian = _KRASOVSKY_A_M * (1.0 - _KRASOVSKY_E2) / (w2 * np.sqrt(w2))
    parallel = _KRASOVSKY_A_M / np.sqrt(w2) * np.cos(phi)
    d_lon, d_lat = np.degrees(east / parallel), np.degrees(north / meridian)
    return np.where(inside, d_lon, 0.0), np.where(inside, d_lat, 0.0)


def _in_china(lon: Degrees, lat: Degrees) -> NDArray[np.bool_]:
    west, east, south, north = _CHINA
    return (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)


def _arrays(lon: ArrayLike, lat: ArrayLike) -> tuple[Degrees, Degrees]:
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)


def wgs84_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Degrees, Degrees]:
    """Return GCJ-02 longitude and latitude of WGS-84 ones; degrees, any shape.

    Source: the common open form of the unpublished transform, Krasovsky ellipsoid. Hong Kong,
    Macao and Taiwan lie in its rectangle too: declare `wgs84` there.

    >>> lon, lat = wgs84_to_gcj02(118.107, 24.557)
    >>> print(f"{lon:.6f} {lat:.6f}")
    118.111974 24.554344
    """
    x, y = _arrays(lon, lat)
    d_lon, d_lat = _gcj02_shift(x, y)
    return x + d_lon, y + d_lat


def gcj02_to_wgs84(lon: ArrayLike, lat: ArrayLike) -> tuple[Degrees, Degrees]:
    """Return the WGS-84 place whose GCJ-02 image is given, by fixed-point steps; degrees.

    The round trip is better than 1e-6 m inside the rectangle.
    """
    x, y = _arrays(lon, lat)
    wx, wy = x, y
    for _ in range(_FIXED_POINT_STEPS):
        d_lon, d_lat = _gcj02_shift(wx, wy)
        wx, wy = x - d_lon, y - d_lat
    return wx, wy


def gcj02_to_bd09(lon: ArrayLike, lat: ArrayLike) -> tuple[Degrees, Degrees]:
    """Return BD-09 longitude and latitude of GCJ-02 ones; degrees (same family of sources)."""
    x, y = _arrays(lon, lat)
    radius = np.hypot(x, y) + 2e-5 * np.sin(y * _BD_WAVE)
    angle = np.arctan2(y, x) + 3e-6 * np.cos(x * _BD_WAVE)
    inside = _in_china(x, y)
    bx, by = radius * np.cos(angle) + _BD_LON, radius * np.sin(angle) + _BD_LAT
    return np.where(inside, bx, x), np.where(inside, by, y)


def bd09_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Degrees, Degrees]:
    """Return the GCJ-02 place whose BD-09 image is given, by fixed-point steps; degrees."""
    x, y = _arrays(lon, lat)
    gx, gy = x - _BD_LON, y - _BD_LAT
    gx, gy = np.where(_in_china(x, y), gx, x), np.where(_in_china(x, y), gy, y)
    for _ in range(_FIXED_POINT_STEPS):
        bx, by = gcj02_to_bd09(gx, gy)
        gx, gy = gx + (x - bx), gy + (y - by)
    return gx, gy


def to_wgs84(lon: ArrayLike, lat: ArrayLike, crs: str) -> tuple[Degrees, Degrees]:
    """Return WGS-84 degrees of coordinates in a declared system (`CRS`).

    CGCS2000 differs from WGS-84 by centimetres to decimetres: taken as equal, which is fine for
    road segments. Raises UsageError for a system that is not known.
    """
    if crs in {"wgs84", "cgcs2000"}:
        return _arrays(lon, lat)
    if crs == "gcj02":
        return gcj02_to_wgs84(lon, lat)
    if crs == "bd09":
        return gcj02_to_wgs84(*bd09_to_gcj02(lon, lat))
    raise _unknown_crs(crs)


def from_wgs84(lon: ArrayLike, lat: ArrayLike, crs: str) -> tuple[Degrees, Degrees]:
    """Return WGS-84 degrees as coordinates of a declared system; the inverse of `to_wgs84`."""
    if crs in {"wgs84", "cgcs2000"}:
        return _arrays(lon, lat)
    if crs == "gcj02":
        return wgs84_to_gcj02(lon, lat)
    if crs == "bd09":
        return gcj02_to_bd09(*wgs84_to_gcj02(lon, lat))
    raise _unknown_crs(crs)


def _unknown_crs(crs: str) -> UsageError:
    return UsageError("unknown coordinate system", found=repr(crs), expected=", ".join(CRS))


# ---- the site list ----------------------------------------------------------------------------

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
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
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
    box = world if crs == "wgs84" else _CHINA
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


def _read_text(path: Path) -> str:
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


# ---- road segments ----------------------------------------------------------------------------


def read_segments(path: Path | str) -> pl.DataFrame:
    """Return the road segments of a GeoJSON file as a frame with the columns of `SEGMENTS`.

    A FeatureCollection of LineStrings in WGS-84 (RFC 7946) with the properties segment_id and name;
    `length_m` is the geodesic length on the WGS-84 ellipsoid (pyproj.Geod). Heights are dropped.
    Raises UsageError, StorageError and InputRefused as `read_sites` does.
    """
    from pyproj import Geod

    geod, path = Geod(ellps="WGS84"), Path(path)
    rows: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, feature in enumerate(_features(path), start=1):
        where = f"{path}, feature {number}"
        segment_id, name, line = _segment(feature, where)
        if (first := seen.setdefault(segment_id, number)) != number:
            raise InputRefused("a segment stands twice", where=where, found=repr(segment_id),
                               expected=f"once (first is feature {first})")  # fmt: skip
        lons, lats = zip(*line, strict=True)
        geometry = json.dumps({"type": "LineString", "coordinates": line})
        length_m = float(geod.line_length(lons, lats))
        rows.append({"segment_id": segment_id, "name": name, "length_m": length_m,
                     "geometry": geometry})  # fmt: skip
    return pl.DataFrame(rows, schema=schema(SEGMENTS))


def _features(path: Path) -> list[Any]:
    """Return the features of a GeoJSON file in WGS-84."""
    try:
        data = json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputRefused("not a JSON file", where=str(path), found=str(error)) from None
    if not isinstance(data, dict) or not isinstance(data.get("features"), list):
        raise InputRefused("no GeoJSON FeatureCollection", where=str(path),
                           expected='{"type": "FeatureCollection", "features": […]}')  # fmt: skip
    crs = json.dumps(data.get("crs"))
    if data.get("crs") is not None and not re.search(r"CRS84|EPSG:+(4326|4490)\b", crs):
        raise InputRefused("another coordinate system", where=str(path), found=crs[:200],
                           expected="WGS-84 (RFC 7946)")  # fmt: skip
    return list(data["features"])


def _segment(feature: Any, where: str) -> tuple[str, str | None, list[tuple[float, float]]]:
    """Return id, name and positions of one feature, or refuse it."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind != "LineString":
        raise InputRefused("no LineString", where=where, found=str(kind), expected="LineString")
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    segment_id, name = properties.get("segment_id"), properties.get("name")
    if segment_id is None or not str(segment_id).strip():
        raise InputRefused("no segment_id among the properties", where=where)
    positions = geometry.get("coordinates")
    line = [_position(p, where) for p in (positions if isinstance(positions, list) else [])]
    if len(line) < 2:
        raise InputRefused("a line needs two positions", where=where, found=str(len(line)))
    return str(segment_id).strip(), None if name is None else str(name), line


def _position(position: Any, where: str) -> tuple[float, float]:
    try:
        lon, lat = float(position[0]), float(position[1])
    except (TypeError, ValueError, IndexError):
        lon = lat = math.nan
    if not (-180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0):
        raise InputRefused("no position", where=where, found=str(position)[:80],
                           expected="[lon, lat] in degrees, WGS-84")  # fmt: skip
    return lon, lat


# ---- the check --------------------------------------------------------------------------------


def check_sites(sites: pl.DataFrame, segments: pl.DataFrame) -> list[str]:
    """Return what to review where sites and segments do not fit; no message where all is well.

    A site with coordinates should stand within `MAX_DISTANCE_M` of its road segment. Where another
    coordinate system would bring it there, the message says so: GCJ-02 and BD-09 lie 300 to 1500 m
    off. Sites without coordinates or segment, and lists without segments, are not checked.
    """
    if segments.is_empty():
        return []
    lines = dict(segments.select("segment_id", "geometry").iter_rows())
    return [
        message
        for site in sites.iter_rows(named=True)
        if site["road_segment"] is not None and (message := _check_site(site, lines))
    ]


def _check_site(site: dict[str, Any], lines: dict[str, str]) -> str | None:
    head = f"site {site['site_id']}: road segment {site['road_segment']}"
    geometry = lines.get(site["road_segment"])
    if geometry is None:
        return f"{head} is not in the list of segments"
    if site["lon_wgs84"] is None:
        return None
    distance_m = distance_to_line_m(site["lon_wgs84"], site["lat_wgs84"], geometry)
    if distance_m <= MAX_DISTANCE_M:
        return None
    text = f"{head} is {distance_m:.0f} m away, expected at most {MAX_DISTANCE_M:.0f} m"
    for crs in ("wgs84", "gcj02", "bd09"):
        lon, lat = to_wgs84(site["lon"], site["lat"], crs)
        if distance_to_line_m(float(lon), float(lat), geometry) <= MAX_DISTANCE_M:
            return f"{text}; it would fit if its coordinates were {crs}, not {site['crs']}"
    return text


def distance_to_line_m(lon: float, lat: float, geometry: str) -> float:
    """Return the distance in metres of a WGS-84 place from a LineString (GeoJSON text).

    Measured on the azimuthal equidistant projection centred on the place: distances from its centre
    are true, so it serves any city without a choice of zone.
    """
    from pyproj import Transformer
    from shapely import LineString, Point

    plane = f"+proj=aeqd +lat_0={lat!r} +lon_0={lon!r} +ellps=WGS84 +units=m"
    project = Transformer.from_crs("+proj=longlat +ellps=WGS84", plane, always_xy=True)
    lons, lats = zip(*json.loads(geometry)["coordinates"], strict=True)
    return float(LineString(zip(*project.transform(lons, lats), strict=True)).distance(Point(0, 0)))
