"""A lake is made whole or not at all, and every bad file names its line."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import polars as pl
import pytest
from chain import REGISTRY, SEGMENTS, SITES, dump, record

from rsd.errors import InputRefused, RsdError, UsageError
from rsd.lake import Lake
from rsd.pipeline import setup
from rsd.pipeline.ingest import ingest
from rsd.pipeline.reading import query
from rsd.pipeline.registry import Registry
from rsd.pipeline.setup import init_lake
from rsd.pipeline.vehicles import read_registry

REGISTRY_HEADER = REGISTRY.splitlines()[0]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, text in (("sites", SITES), ("segments", SEGMENTS), ("registry", REGISTRY)):
        found[name] = tmp_path / f"{name}.txt"
        found[name].write_text(text, encoding="utf-8")
    return found


def test_a_lake_has_what_it_was_given(files: dict[str, Path], tmp_path: Path):
    lake, remarks = init_lake(tmp_path / "lake", **files, timezone="Europe/London")
    assert remarks == []
    assert (lake.timezone, lake.regulations) == ("Europe/London", ("cn_hj845_2017",))
    sizes = {n: lake.table(n).scan().select(pl.len()).collect().item()
             for n in ("sites", "segments", "vehicles", "passes")}
    assert sizes == {"sites": 1, "segments": 1, "vehicles": 2, "passes": 0}


def test_the_restricted_side_is_for_its_owner_alone(tmp_path: Path):
    lake, _ = init_lake(tmp_path / "lake")
    key = tmp_path / "lake" / "restricted" / "vehicle.key"
    assert lake.key_path == key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert len(key.read_bytes()) == 32


def test_the_key_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RSD_KEY_FILE", str(tmp_path / "safe" / "key"))
    lake, _ = init_lake(tmp_path / "lake")
    assert (tmp_path / "safe" / "key").is_file()
    assert not (tmp_path / "lake" / "restricted" / "vehicle.key").exists()
    assert ingest(lake, [dump(tmp_path / "a.csv", [record()])]).files[0].accepted == 1


def test_the_registry_speaks_our_names_and_the_codes_of_the_registry_office(
    files: dict[str, Path]
):
    rows = read_registry(files["registry"]).select(
        "plate", "plate_color", "vehicle_class", "fuel", "emission_stage", "use").rows()
    assert rows == [("闽D12345", "yellow", "heavy_truck", "diesel", 3, "freight"),
                    ("闽D99999", "blue", "mini_small_bus", "gasoline", 5, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_the_registry_may_be_gb18030(tmp_path: Path, encoding: str):
    path = tmp_path / "r.csv"
    path.write_bytes(REGISTRY.encode(encoding))
    assert read_registry(path)["plate"].to_list() == ["闽D12345", "闽D99999"]


def test_of_a_vehicle_that_stands_twice_the_last_row_counts(tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("plate,plate_color,fuel\n闽D12345,blue,A\n闽D·12345,0,B\n闽D12345,yellow,C\n",
                    encoding="utf-8")
    assert read_registry(path).select("plate_color", "fuel").rows() == [
        ("blue", "diesel"), ("yellow", "electric")]


def test_the_registry_wins_over_the_dump_and_where_it_is_silent_the_dump_counts(
    files: dict[str, Path], tmp_path: Path
):
    lake, _ = init_lake(tmp_path / "lake", **files)
    lines = [record(jlbh="1", rlzl="A", cllx="K31"), record(jlbh="2", hphm="闽D99999", cpys="0"),
             record(jlbh="3", hphm="闽D77777")]
    ingest(lake, [dump(tmp_path / "a.csv", lines)])
    seen = query(lake, "SELECT record_id, vehicle_class, fuel, emission_stage, use, road_segment, "
                       "list_contains(reasons, 'fuel_conflict') FROM passes ORDER BY record_id")
    assert seen.rows() == [
        ("1", "heavy_truck", "diesel", 3, "freight", "S1", True),
        ("2", "mini_small_bus", "gasoline", 5, None, "S1", True),
        ("3", "heavy_truck", "diesel", None, None, "S1", False),
    ]
    assert query(lake, "SELECT bool_and(is_valid) FROM passes").item()


def test_a_vehicle_of_the_registry_is_the_vehicle_of_the_dump(
    files: dict[str, Path], tmp_path: Path
):
    lake, _ = init_lake(tmp_path / "lake", **files)
    ingest(lake, [dump(tmp_path / "a.csv", [record(), record(jlbh="2", hphm="闽D77777")])])
    vehicles = lake.table("vehicles").scan().collect()
    assert sorted(vehicles.select("plate", "is_registered").rows()) == [
        ("闽D12345", True), ("闽D77777", False), ("闽D99999", True)]
    assert Registry.of(lake).facts.height == 2


# What cannot be used


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("sites", "name,lon\nx,1\n", r"sites\.txt, line 1: not the header of a site list"),
        ("sites", "", r"sites\.txt, line 1: .*found an empty file"),
        ("sites", "site_id,lon,lat,crs\nA,118.1,24.5,mars\n", r"line 2: unknown coordinate system"),
        ("sites", "site_id,lon,lat,crs\nA,118.1,24.5,\n", r"line 2: coordinates without"),
        ("sites", "site_id,lon,lat,crs\nA,24.5,118.1,gcj02\n", r"line 2: longitude and latitude"),
        ("sites", "site_id,slope_deg\nA,steep\n", r"line 2: slope_deg is no number"),
        ("sites", "site_id,slope_deg\nA,90\n", r"line 2: impossible slope"),
        ("sites", "site_id,name\nA,x\nA,y\n", r"line 3: a site stands twice"),
        ("sites", "site_id,name\nA\n", r"line 2: wrong number of fields"),
        ("sites", "site_id,name\n,x\n", r"line 2: blank site_id"),
        ("segments", "no json", r"segments\.txt: not a JSON file"),
        ("segments", "[]", r"segments\.txt: no GeoJSON FeatureCollection"),
        ("segments", json.dumps({"features": [{"properties": {"segment_id": "1"}, "geometry": {
            "type": "Point", "coordinates": [1, 2]}}]}), r"feature 1: no LineString"),
        ("segments", json.dumps({"features": [{"properties": {}, "geometry": {
            "type": "LineString", "coordinates": [[1, 2], [3, 4]]}}]}), r"feature 1: no segm"),
        ("segments", json.dumps({"features": [{"properties": {"segment_id": "1"}, "geometry": {
            "type": "LineString", "coordinates": [[118, 240], [3, 4]]}}]}),
         r"feature 1: no position"),
        ("registry", "plate,fuel\n闽D12345,A\n", r"registry\.txt, line 1: a column.*plate_color"),
        ("registry", "", r"registry\.txt, line 1: a column"),
        ("registry", "plate,plate_color,fuel\n闽D12345,1,A\n闽D12346,1,coal\n",
         r"registry\.txt, line 3: an unknown code in fuel: found coal"),
        ("registry", "plate,plate_color\n闽D12345,pink\n", r"line 2: an unknown code in plate_c"),
        ("registry", "plate,plate_color\n,blue\n", r"line 2: a vehicle without a plate"),
        ("registry", "plate,plate_color,first_registered\n闽D12345,1,2019-02-30\n",
         r"line 2: no date in first_registered: found 2019-02-30"),
        ("registry", "plate,plate_color,emission_stage\n闽D12345,1,9\n", r"line 2: an unknown"),
        ("registry", "plate,plate_color,fuel\n闽D12345,1\n", r"line 2: .*field"),
        ("registry", "plate,plate_color,fuel\n闽D12345,1,A,B\n", r"line 2: .*field"),
        ("registry", "plate,plate_color,fuel,fuel\n闽D12345,1,A,B\n", r"line 1: .*twice"),
        ("registry", "plate,plate_color\n··,1\n", r"line 2: a vehicle without a plate"),
        ("registry", 'plate,plate_color\n"闽D12345,1\n', r"registry\.txt, line 2"),
    ],
)
def test_a_bad_file_names_its_line_and_leaves_no_lake(
    tmp_path: Path, name: str, text: str, told: str
):
    path = tmp_path / f"{name}.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((UsageError, InputRefused), match=told):
        init_lake(tmp_path / "lake", **{name: path})
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("name", ["sites", "segments", "registry"])
def test_a_file_that_is_no_text_or_is_missing(tmp_path: Path, name: str):
    path = tmp_path / f"{name}.txt"
    for make in (lambda: None, lambda: path.write_bytes(b"\xff\xff\x00\x81"), path.mkdir):
        path.unlink(missing_ok=True)
        make()
        with pytest.raises(RsdError, match=f"{name}.txt"):
            init_lake(tmp_path / "lake", **{name: path})
        assert not (tmp_path / "lake").exists()


def test_no_error_of_the_registry_tells_a_plate(tmp_path: Path):
    path = tmp_path / "r.csv"
    for text in ("闽D12345,1,01\n闽D12346,1,01\n",  # a registry without its header
                 f"{REGISTRY_HEADER}\n闽D12345,1,01,H11,coal,3,2014-05-06,F\n",
                 f"{REGISTRY_HEADER}\n闽D12345,1,01,H11,B,3,soon,F\n",
                 "plate_color,plate\n闽D12345,1\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RsdError) as error:
            read_registry(path)
        assert "D1234" not in str(error.value)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "+08:00", "CST6CDT"])
def test_a_zone_that_is_none(tmp_path: Path, zone: str):
    with pytest.raises(UsageError, match=r"time ?zone"):
        init_lake(tmp_path / "lake", timezone=zone)
    assert not (tmp_path / "lake").exists()


def test_a_regulation_that_is_none(tmp_path: Path):
    with pytest.raises(UsageError, match="cn_hj845_2018"):
        init_lake(tmp_path / "lake", regulations=("cn_hj845_2018",))
    assert not (tmp_path / "lake").exists()


def test_a_folder_that_holds_something_stays_as_it_is(tmp_path: Path):
    place = tmp_path / "lake"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty and no lake: found mine\.txt"):
        init_lake(place)
    assert [p.name for p in place.iterdir()] == ["mine.txt"]


def test_a_lake_is_not_made_twice(tmp_path: Path):
    lake, _ = init_lake(tmp_path / "lake")
    secret = lake.key_path.read_bytes()
    with pytest.raises(UsageError, match="already a lake"):
        init_lake(tmp_path / "lake")
    assert Lake.open(tmp_path / "lake").key_path.read_bytes() == secret


@pytest.mark.parametrize("existed", [False, True])
def test_a_fault_midway_leaves_the_folder_as_it_was(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
):
    def failing(*_: object) -> None:
        raise KeyboardInterrupt

    place = tmp_path / "lake"
    if existed:
        place.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(setup, "vehicle_ids", failing)
        with pytest.raises(KeyboardInterrupt):
            init_lake(place, **files)
    assert place.exists() == existed
    assert not existed or list(place.iterdir()) == []
    init_lake(place, **files)


def test_a_site_far_from_its_segment_is_remarked(files: dict[str, Path], tmp_path: Path):
    files["sites"].write_text(SITES.replace("wgs84", "gcj02"), encoding="utf-8")
    _, remarks = init_lake(tmp_path / "lake", **files)
    assert len(remarks) == 1
    assert "site A350203001" in remarks[0]
    assert "wgs84, not gcj02" in remarks[0]
