"""The synthetic city's sites, road segments and their files.

Coordinates are approximate WGS-84 from memory (0.5 to 1 km), grades, lanes, truck factors and
speeds assumed: a made-up network with the names of real roads, not a survey.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Site:
    """One instrument's place: where it is, what passes there, and its habits."""

    site_id: str
    segment: str
    name: str
    lat: float
    lon: float
    grade_pct: float
    lanes: int
    truck_factor: float
    speed_km_h: float
    bearing_deg: float = 45.0  # of the road: assumed
    crs: str = "wgs84"
    is_depot: bool = False  # cold starts occur here
    is_bad_unit: bool = False  # noisy instrument
    null_code: str | None = None  # what stands in a gas cell without a value
    invalid_code: str | None = "2"  # pdjg of an invalid record; None leaves pdjg blank always
    line_end: str = "\n"
    photo_has_plate: bool = False
    clock_error: bool = False  # an hour ahead on three days

    @property
    def slope_deg(self) -> float:
        """Slope in degrees, rounded as a platform stores it."""
        return round(math.degrees(math.atan(self.grade_pct * 0.01)), 3)


SITES: tuple[Site, ...] = (
    Site("A350211001", "xiamen_bridge", "厦门大桥进岛", 24.557, 118.107, 1.5, 2, .6, 58, 190.0),
    Site("A350211002", "jimei_bridge", "集美大桥", 24.563, 118.121, 1.8, 3, .4, 65, 165.0,
         line_end="\r\n"),
    Site("A350211003", "xinglin_bridge", "杏林大桥", 24.553, 118.087, 1.6, 3, 1.2, 62, 140.0,
         photo_has_plate=True),
    Site("B350205001", "haicang_bridge", "海沧大桥", 24.497, 118.073, 2.8, 3, 1.3, 55, 100.0,
         null_code="-9999"),
    Site("A350206001", "xiangan_tunnel", "翔安隧道五通", 24.516, 118.188, 3.0, 3, .8, 60, 60.0,
         crs="gcj02"),
    Site("A350203001", "chenggong_avenue", "成功大道", 24.489, 118.104, 1.0, 3, .2, 62, 15.0,
         photo_has_plate=True),
    Site("A350206002", "xianyue_road", "仙岳路", 24.494, 118.113, 0.8, 3, .3, 55, 85.0),
    Site("B350203002", "hubin_south_road", "湖滨南路", 24.472, 118.093, 0.3, 2, .1, 35, 80.0,
         is_depot=True, invalid_code="999"),
    Site("B350203003", "hubin_north_road", "湖滨北路", 24.480, 118.088, 0.3, 2, .1, 38, 75.0,
         line_end="\r\n", photo_has_plate=True),
    Site("A350203004", "lianqian_west_road", "莲前西路", 24.475, 118.129, 1.2, 2, .15, 36, 95.0,
         crs="gcj02"),
    Site("A350203005", "huandao_trunk_road", "环岛干道", 24.469, 118.175, 0.5, 3, .3, 58, 20.0),
    Site("A350206003", "jinshang_road", "金尚路", 24.496, 118.137, 0.7, 2, .25, 42, 5.0,
         null_code="-9999", photo_has_plate=True),
    Site("B350206004", "jiahe_road", "嘉禾路", 24.490, 118.114, 0.6, 2, .2, 40, 25.0,
         is_depot=True),
    Site("A350206005", "shugang_road", "疏港路东渡", 24.492, 118.088, 1.4, 2, 3.0, 42, 40.0,
         is_depot=True, is_bad_unit=True),
    Site("A350205002", "xinggang_road", "兴港路海沧港", 24.477, 118.032, 0.4, 3, 4.0, 45, 110.0,
         crs="gcj02", is_depot=True, photo_has_plate=True),
    Site("A350205003", "maqing_road", "马青路", 24.492, 117.989, 1.1, 3, 3.2, 52, 90.0,
         line_end="\r\n", invalid_code="999"),
    Site("A350211004", "tongji_road", "同集路", 24.625, 118.115, 0.9, 3, 1.5, 54, 30.0,
         invalid_code=None),
    Site("A350212001", "g324", "国道324同安", 24.718, 118.160, 2.2, 2, 2.4, 50, 70.0,
         is_bad_unit=True, photo_has_plate=True),
    Site("A350213001", "xiangan_avenue", "翔安大道", 24.618, 118.248, 0.6, 3, 1.6, 56, 10.0,
         clock_error=True),
    Site("A350212002", "haixiang_avenue", "海翔大道", 24.636, 118.062, 1.3, 3, 2.2, 60, 85.0,
         crs="gcj02", null_code="-9999"),
)


def _wave(t: float, *terms: tuple[float, float]) -> float:
    return sum(a * math.sin(math.pi * f * t) for a, f in terms) * (2 / 3)


def gcj02(lon: float, lat: float) -> tuple[float, float]:
    """Shift WGS-84 degrees to GCJ-02 degrees (longitude, latitude).

    The published approximation of the Chinese map offset (Krasovsky ellipsoid, a polynomial with
    sines about 105° E, 35° N), good to about a metre inside mainland China. The shift of Xiamen:

    >>> lon, lat = gcj02(118.1, 24.5)
    >>> 400 < math.hypot((lon - 118.1) * 101300, (lat - 24.5) * 110800) < 700
    True
    """
    a, e2 = 6378245.0, 0.00669342162296594323
    x, y = lon - 105.0, lat - 35.0
    short = _wave(x, (20, 6), (20, 2))
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x)) + short
    north += _wave(y, (20, 1), (40, 1 / 3), (160, 1 / 12), (320, 1 / 30))
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x)) + short
    east += _wave(x, (20, 1), (40, 1 / 3), (150, 1 / 12), (300, 1 / 30))
    w = 1 - e2 * math.sin(math.radians(lat)) ** 2
    d_lat = math.degrees(north / (a * (1 - e2) / (w * math.sqrt(w))))
    d_lon = math.degrees(east / (a / math.sqrt(w) * math.cos(math.radians(lat))))
    return lon + d_lon, lat + d_lat


def given_position(site: Site) -> tuple[float, float]:
    """Return longitude and latitude in the site's own coordinate system, 6 decimals."""
    lon, lat = (site.lon, site.lat) if site.crs == "wgs84" else gcj02(site.lon, site.lat)
    return round(lon, 6), round(lat, 6)


def write_sites(path: Path) -> None:
    """Write the site list: CSV, one line a site, coordinates in the declared system."""
    rows = [
        (s.site_id, s.name, s.segment, *given_position(s), s.crs, s.slope_deg) for s in SITES
    ]
    names = ["site_id", "name", "road_segment", "lon", "lat", "crs", "slope_deg"]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(path)


def _line(site: Site, half_length_m: float = 600.0) -> list[list[float]]:
    """Return a slightly bent line through the site along its bearing, WGS-84."""
    east = math.sin(math.radians(site.bearing_deg)) / (111_320 * math.cos(math.radians(site.lat)))
    north = math.cos(math.radians(site.bearing_deg)) / 110_800
    line = []
    for part in (-1.0, -0.5, 0.0, 0.5, 1.0):
        along, aside = part * half_length_m, 25.0 * part * part
        lon = site.lon + along * east + aside * north * 1.1
        lat = site.lat + along * north - aside * east * 0.9
        line.append([round(lon, 6), round(lat, 6)])
    return line


def write_segments(path: Path) -> None:
    """Write the road segments: GeoJSON LineStrings, WGS-84, one a site."""
    features = [
        {
            "type": "Feature",
            "properties": {"segment_id": s.segment, "name": f"{s.name} (synthetic)"},
            "geometry": {"type": "LineString", "coordinates": _line(s)},
        }
        for s in SITES
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
