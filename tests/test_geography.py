"""Coordinate systems, the site list, road segments and the check between them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd import geography as geo
from rsd.columns import SEGMENTS, SITES, schema
from rsd.errors import InputRefused, UsageError

HEADER = "site_id,name,road_segment,lon,lat,crs,slope_deg\n"
METRES_PER_DEGREE = 111_320.0

# (WGS-84, GCJ-02, BD-09) by coord-convert 0.2.1 (MIT), an independent implementation.
ORACLE = [
    ((118.107, 24.557), (118.1119743488492, 24.554343811748836),
     (118.11846858802923, 24.56030446900109)),
    ((116.404, 39.915), (116.41024449916938, 39.91640428150164),
     (116.41662724378733, 39.922699552216216)),
    ((87.617, 43.793), (87.6198484993447, 43.794223871360934),
     (87.62627657896971, 43.800354439443716)),
    ((91.14, 29.65), (91.14153094966932, 29.647266377568652),
     (91.14812666826838, 29.652996128267972)),
    ((126.63, 45.75), (126.6359423904876, 45.751935204908385),
     (126.6425031244059, 45.757825658267144)),
]  # fmt: skip

lons = st.floats(75.0, 134.0)
lats = st.floats(4.0, 53.0)


def _metres(lon, lat, lon2, lat2) -> float:
    dx = (lon - lon2) * METRES_PER_DEGREE * math.cos(math.radians(lat))
    return math.hypot(dx, (lat - lat2) * METRES_PER_DEGREE)


@pytest.mark.parametrize(("wgs", "gcj", "bd"), ORACLE)
def test_forward_agrees_with_an_independent_implementation(wgs, gcj, bd):
    assert _metres(*geo.wgs84_to_gcj02(*wgs), *gcj) < 1e-6
    assert _metres(*geo.from_wgs84(*wgs, "bd09"), *bd) < 1e-6


@given(lons, lats, st.sampled_from(geo.CRS))
def test_round_trip_is_below_a_micrometre(lon, lat, crs):
    there = geo.from_wgs84(lon, lat, crs)
    assert _metres(*geo.to_wgs84(*there, crs), lon, lat) < 1e-6


def test_arrays_keep_their_shape_and_give_what_scalars_give():
    lon, lat = np.array([[118.1, 116.4], [87.6, 91.1]]), np.array([[24.5, 39.9], [43.8, 29.6]])
    x, y = geo.to_wgs84(lon, lat, "gcj02")
    assert x.shape == y.shape == (2, 2)
    assert (float(x[1, 0]), float(y[1, 0])) == geo.to_wgs84(87.6, 43.8, "gcj02")


def test_shift_is_hundreds_of_metres_in_xiamen_and_none_in_london():
    assert 500 < _metres(*geo.wgs84_to_gcj02(118.107, 24.557), 118.107, 24.557) < 700
    assert geo.wgs84_to_gcj02(-0.1, 51.5) == (-0.1, 51.5)


def test_cgcs2000_is_taken_as_wgs84_and_an_unknown_system_is_refused():
    assert geo.to_wgs84(118.1, 24.5, "cgcs2000") == (118.1, 24.5)
    for convert in (geo.to_wgs84, geo.from_wgs84):
        with pytest.raises(UsageError, match="hk80"):
            convert(118.1, 24.5, "hk80")


def _write(folder: Path, text: str | bytes, name: str = "sites.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_sites_are_read_and_brought_to_wgs84(tmp_path):
    text = (
        HEADER
        + "X01,厦门大桥,seg-1,118.1119743488492,24.554343811748836,gcj02,0.86\n"
        + "\n"
        + "X02,,,,,,\n"
        + 'X03,"Road, north",seg-3,118.1,24.5,WGS84,-1\n'
    )
    sites = geo.read_sites(_write(tmp_path, text))
    assert sites.schema == schema(SITES)
    first, second, third = sites.to_dicts()
    assert (first["lon"], first["crs"], first["slope_deg"]) == (118.1119743488492, "gcj02", 0.86)
    assert _metres(first["lon_wgs84"], first["lat_wgs84"], 118.107, 24.557) < 1e-5
    assert second == {"site_id": "X02", **dict.fromkeys(list(second)[1:])}
    assert (third["name"], third["crs"], third["slope_deg"]) == ("Road, north", "wgs84", -1.0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_sites_any_column_order_letter_case_and_encoding(tmp_path, encoding):
    text = "Remark,SITE_ID,Name\r\nany,X01,集美大桥\r\n"
    sites = geo.read_sites(_write(tmp_path, text.encode(encoding)))
    assert sites.select("site_id", "name").rows() == [("X01", "集美大桥")]


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ("A,,,118.1,24.5,,\n", 2, "coordinates without their system"),
        ("A,,,118.1,24.5,utm,\n", 2, "unknown coordinate system: found 'utm'"),
        ("A,,,,,,\nA,,,,,,\n", 3, "stands twice"),
        ("A,,,24.5,118.1,gcj02,\n", 2, "swapped"),
        ("A,,,24.5,118.1,wgs84,\n", 2, "swapped"),
        ("A,,,0,0,wgs84,\n", 2, "no such place"),
        ("A,,,-0.1,51.5,gcj02,\n", 2, "no such place"),
        ("A,,,181,24.5,wgs84,\n", 2, "no such place"),
        ("A,,,118.1,,wgs84,\n", 2, "only one of lon and lat"),
        ("A,,,1_18.1,24.5,wgs84,\n", 2, "lon is no number"),
        ("A,,,nan,24.5,wgs84,\n", 2, "lon is no number"),
        ("A,,,118.1,1e999,wgs84,\n", 2, "lat is no number"),
        ("A,,,118.1,24.5,wgs84,steep\n", 2, "slope_deg is no number"),
        ("A,,,118.1,24.5,wgs84,90\n", 2, "impossible slope"),
        (",name,,118.1,24.5,wgs84,\n", 2, "blank site_id"),
        ("A,,\n", 2, "wrong number of fields: found 3, expected 7"),
        ('A,"open,,,,,\n', 2, "not a CSV file"),
    ],
)
def test_a_site_list_that_cannot_be_meant_is_refused_with_its_line(tmp_path, rows, line, words):
    path = _write(tmp_path, HEADER + rows)
    with pytest.raises(InputRefused) as caught:
        geo.read_sites(path)
    assert f"{path}, line {line}" in str(caught.value)
    assert words in str(caught.value)


def test_a_site_list_without_the_key_column_or_the_file_itself(tmp_path):
    with pytest.raises(InputRefused, match="site_id is required"):
        geo.read_sites(_write(tmp_path, "name,lon,lat\n"))
    with pytest.raises(InputRefused, match="an empty file"):
        geo.read_sites(_write(tmp_path, ""))
    with pytest.raises(UsageError, match="no such file"):
        geo.read_sites(tmp_path / "none.csv")
    with pytest.raises(InputRefused, match="no text"):
        geo.read_sites(_write(tmp_path, b"site_id\n\xff\xff\xff\n"))


def test_a_header_alone_is_a_list_without_sites(tmp_path):
    sites = geo.read_sites(_write(tmp_path, HEADER))
    assert sites.schema == schema(SITES)
    assert sites.height == 0


def _feature(segment_id, line, **extra):
    return {"type": "Feature", "properties": {"segment_id": segment_id, "name": "Bridge"},
            "geometry": {"type": "LineString", "coordinates": line}, **extra}  # fmt: skip


def _segments(folder, *features, **extra):
    data = {"type": "FeatureCollection", "features": list(features), **extra}
    return _write(folder, json.dumps(data), "segments.geojson")


def test_segments_have_their_length_on_the_ground(tmp_path):
    path = _segments(tmp_path, _feature("S1", [[118.1, 24.5, 3.0], [118.1, 24.51]]))
    segments = geo.read_segments(path)
    assert segments.schema == schema(SEGMENTS)
    row = segments.to_dicts()[0]
    # One degree of the meridian at 24.5° N is 110.765 km on the WGS-84 ellipsoid.
    assert row["length_m"] == pytest.approx(1107.65, abs=0.05)
    assert json.loads(row["geometry"])["coordinates"] == [[118.1, 24.5], [118.1, 24.51]]
    assert (row["segment_id"], row["name"]) == ("S1", "Bridge")


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (_feature("S", [[118.1, 24.5]]), "two positions"),
        (_feature("S", [[118.1, 24.5], [24.5, 118.1]]), "no position"),
        (_feature("S", [[118.1, 24.5], ["a", 1]]), "no position"),
        (_feature(None, [[118.1, 24.5], [118.2, 24.5]]), "no segment_id"),
        (_feature("S1", [[118.1, 24.5], [118.2, 24.5]]), "stands twice"),
        ({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
         "expected LineString"),
        ("text", "no LineString"),
        ({"geometry": {"type": "LineString", "coordinates": 5}, "properties": [1]},
         "no segment_id"),
    ],
)  # fmt: skip
def test_a_segment_that_cannot_be_meant_is_refused_with_its_number(tmp_path, feature, words):
    path = _segments(tmp_path, _feature("S1", [[118.1, 24.5], [118.2, 24.5]]), feature)
    with pytest.raises(InputRefused, match="feature 2") as caught:
        geo.read_segments(path)
    assert words in str(caught.value)


def test_a_file_that_is_no_feature_collection_in_wgs84_is_refused(tmp_path):
    for text in ("{", "[]", '{"type": "Feature"}'):
        with pytest.raises(InputRefused):
            geo.read_segments(_write(tmp_path, text))
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    with pytest.raises(InputRefused, match="3857"):
        geo.read_segments(_segments(tmp_path, crs=crs))


def test_distance_agrees_with_the_geodesic(tmp_path):
    # 0.001° of longitude at 24.5° N is 101.35 m on the WGS-84 ellipsoid.
    line = json.dumps({"coordinates": [[118.1, 24.4], [118.1, 24.6]]})
    assert geo.distance_to_line_m(118.101, 24.5, line) == pytest.approx(101.35, abs=0.05)
    assert geo.distance_to_line_m(118.1, 24.5, line) == pytest.approx(0.0, abs=0.05)


def test_check_names_far_sites_unknown_segments_and_the_system_that_would_fit(tmp_path):
    path = _segments(tmp_path, _feature("S1", [[118.1, 24.5], [118.2, 24.5]]))
    segments = geo.read_segments(path)
    x, y = (float(v) for v in geo.wgs84_to_gcj02(118.15, 24.5))
    text = (
        HEADER
        + "near,,S1,118.15,24.5001,wgs84,\nfar,,S1,118.15,24.6,wgs84,\n"
        + f"lost,,S9,,,,\nnone,,,118.15,24.6,wgs84,\nwrong,,S1,{x},{y},wgs84,\nnowhere,,S1,,,,\n"
    )
    sites = geo.read_sites(_write(tmp_path, text))
    far, lost, wrong = geo.check_sites(sites, segments)
    assert far.startswith("site far: road segment S1 is 11")
    assert lost == "site lost: road segment S9 is not in the list of segments"
    assert "it would fit if its coordinates were gcj02, not wgs84" in wrong
    assert geo.check_sites(sites, segments.clear()) == []
