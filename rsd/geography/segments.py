"""Road segments, and whether the sites stand beside theirs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import polars as pl

from rsd.columns import SEGMENTS, schema
from rsd.errors import InputRefused
from rsd.geography.crs import to_wgs84
from rsd.geography.sites import read_text

MAX_DISTANCE_M = 30.0
"""A site farther than this from its road segment is reviewed (choice of this project)."""


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
        data = json.loads(read_text(path))
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
