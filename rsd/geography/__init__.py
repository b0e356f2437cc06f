"""Where the instruments stand: coordinate systems, the site list, the road segments.

A coordinate system is declared, never guessed: WGS-84, CGCS2000, GCJ-02 (the shift that Chinese web
maps apply) or BD-09 (Baidu's, on top of it). A pass gets its road segment from the site list; the
geometry only checks that list.
"""

from rsd.geography.crs import (
    CRS,
    bd09_to_gcj02,
    from_wgs84,
    gcj02_to_bd09,
    gcj02_to_wgs84,
    to_wgs84,
    wgs84_to_gcj02,
)
from rsd.geography.segments import MAX_DISTANCE_M, check_sites, distance_to_line_m, read_segments
from rsd.geography.sites import read_sites

__all__ = [
    "CRS",
    "MAX_DISTANCE_M",
    "bd09_to_gcj02",
    "check_sites",
    "distance_to_line_m",
    "from_wgs84",
    "gcj02_to_bd09",
    "gcj02_to_wgs84",
    "read_segments",
    "read_sites",
    "to_wgs84",
    "wgs84_to_gcj02",
]
