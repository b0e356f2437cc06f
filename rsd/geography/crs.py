"""Coordinate systems of Chinese maps: WGS-84, CGCS2000, GCJ-02, BD-09, on NumPy arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rsd.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Degrees = NDArray[np.float64]

CRS = ("wgs84", "gcj02", "bd09", "cgcs2000")

# GCJ-02 was never published; these constants are those that every open implementation shares
# (the EvilTransform / coordtransform family; checked here against coord-convert 0.2.1).
_KRASOVSKY_A_M = 6378245.0
_KRASOVSKY_E2 = 0.00669342162296594323
_ORIGIN_LON, _ORIGIN_LAT = 105.0, 35.0
CHINA = (72.004, 137.8347, 0.8293, 55.8271)
"""West, east, south, north of the rectangle in which the shift applies, degrees."""
_BD_LON, _BD_LAT = 0.0065, 0.006
_BD_WAVE = math.pi * 3000.0 / 180.0
_FIXED_POINT_STEPS = 8
"""A step leaves a fiftieth of the error or less: eight are below a nanometre."""


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
    west, east, south, north = CHINA
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
