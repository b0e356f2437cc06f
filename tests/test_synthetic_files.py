"""The files of the city are what a platform and an agency would bring."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rsd.physics.concentration import co2_pct_cn042
from rsd.physics.vsp import vsp_rs_si
from rsd.synthetic import simulate
from rsd.synthetic.dumps import COLUMNS
from rsd.synthetic.plates import make_plates
from rsd.synthetic.sites import SITES, gcj02

SITE = {s.site_id: s for s in SITES}
ORDINARY = re.compile(r"[闽赣粤浙沪][A-HJ-NP-Z][A-HJ-NP-Z0-9]{5}")
SMALL_NEW_ENERGY = re.compile(r"[闽赣粤浙沪][A-HJ-NP-Z][A-HJK][A-HJ-NP-Z0-9]\d{4}")
LARGE_NEW_ENERGY = re.compile(r"[闽赣粤浙沪][A-HJ-NP-Z]\d{5}[A-HJK]")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "files"
    simulate(folder, vehicles=4000, days=5, seed=11)
    return folder


@pytest.fixture(scope="module")
def dumps(out: Path) -> list[Path]:
    return sorted((out / "dumps").iterdir())


@pytest.fixture(scope="module")
def records(dumps: list[Path]) -> pl.DataFrame:
    parts = [
        pl.read_csv(f.read_bytes().decode("gb18030").encode(), infer_schema=False) for f in dumps
    ]
    texts = ("jlbh", "dwbh", "ycxbh", "jcsj", "hphm", "hpzl", "cllx", "rlzl", "pdjg", "wxyy",
             "tp1", "tp2", "sp1")
    return pl.concat(parts).with_columns(pl.exclude(texts).cast(pl.Float64))


def test_bytes_are_those_of_a_platform(dumps: list[Path]) -> None:
    for f in dumps:
        match = re.fullmatch(r"2026-09-0\d_([AB]3502\d\d\d{3})\.csv", f.name)
        assert match, f.name
        site, raw = SITE[match[1]], f.read_bytes()
        end = site.line_end.encode()
        assert raw.endswith(end)
        assert b'"' not in raw
        assert raw.count(b"\n") == raw.count(end)
        assert raw.count(b"\r") == (raw.count(b"\n") if site.line_end == "\r\n" else 0)
        lines = raw.decode("gb18030").split(site.line_end)[:-1]
        assert lines[0] == ",".join(COLUMNS)
        assert {line.count(",") for line in lines} == {len(COLUMNS) - 1}
        numbers = [",".join(line.split(",")[15:47]) for line in lines[1:]]
        assert all(re.fullmatch(r"[-0-9.,]*", line) for line in numbers)


def test_record_numbers(records: pl.DataFrame) -> None:
    assert records["jlbh"].str.contains(r"^[AB]\d{9}\d{2}\d{16}$").all()
    assert (records["jlbh"].str.slice(0, 12) == records["dwbh"] + records["ycxbh"]).all()
    stamp = records["jcsj"].str.to_datetime().dt.strftime("%Y%m%d%H%M%S")
    assert (records["jlbh"].str.slice(12, 14) == stamp).all()
    copies = len(records) - records["jlbh"].n_unique()
    assert 0 < copies < 0.01 * len(records)
    assert copies == len(records) - records.unique().height  # a copy is the identical line


def test_copies_stand_next_or_later_in_their_file(dumps: list[Path]) -> None:
    gaps = []
    for f in dumps:
        first: dict[bytes, int] = {}
        for k, line in enumerate(f.read_bytes().splitlines()):
            if line in first:
                gaps.append(k - first[line])
            first.setdefault(line, k)
    assert min(gaps) == 1
    assert max(gaps) > 10


def test_cells_agree_with_each_other(records: pl.DataFrame) -> None:
    full = records.filter(
        pl.all_horizontal(pl.col("coco2", "hcco2", "noco2", "co2jg").is_not_null()),
        pl.all_horizontal(pl.col("coco2", "hcco2", "noco2") != -9999),
    )
    assert len(full) > 1000
    for ratio, result in (("coco2", "cojg"), ("hcco2", "hcjg"), ("noco2", "nojg")):
        difference = (full[result] - full[ratio] * full["co2jg"]).abs()
        assert (difference <= 0.005 * full[result].abs()).all(), ratio
    co2 = co2_pct_cn042(full["coco2"].to_numpy(), full["hcco2"].to_numpy() * 1e-4)
    assert np.allclose(full["co2jg"], co2, rtol=1e-5)
    moving = records.filter(pl.col("vsp").is_not_null())
    speed, acceleration, slope = (moving[c].to_numpy() for c in ("clsd", "cljsd", "cdpd"))
    own = vsp_rs_si(speed / 3.6, acceleration, np.tan(np.radians(slope)))
    assert np.allclose(moving["vsp"], own, atol=0.02)
    smoke = records.filter(pl.col("btgxs").is_not_null())
    k = -np.log(1 - smoke["btgdjg"].to_numpy() / 100) / 0.43
    assert np.allclose(smoke["btgxs"], k, rtol=2e-3, atol=1e-3)


def test_each_site_has_its_habits(records: pl.DataFrame) -> None:
    for site_id, site in SITE.items():
        own = records.filter(pl.col("dwbh") == site_id)
        verdicts = set(own["pdjg"])
        if site.invalid_code is None:
            assert verdicts == {None}
        else:
            assert site.invalid_code in verdicts
            assert verdicts <= {"0", "1", site.invalid_code}
        assert ((own["hcjg"] == -9999).sum() > 0) == (site.null_code is not None)
        has_plate = own["tp1"].drop_nulls().str.contains("[闽赣粤浙沪]")
        assert (has_plate == site.photo_has_plate).all()


def test_photos_and_grades_only_where_they_mean_something(records: pl.DataFrame) -> None:
    with_photo = records.filter(pl.col("tp1").is_not_null(), pl.col("pdjg").is_not_null())
    assert set(with_photo["pdjg"]) == {"0"}
    assert set(records.filter(pl.col("lgmhd").is_not_null())["rlzl"]) == {"B"}
    grades = records["lgmhd"].drop_nulls()
    assert ((grades >= 0) & (grades <= 5) & (grades == grades.round())).all()
    invalid = records.filter(pl.col("pdjg").is_in(["2", "999"]))
    assert (invalid["wxyy"] != "-1").all()
    assert (records.filter(pl.col("pdjg").is_in(["0", "1"]))["wxyy"] == "-1").all()


def test_failing_records_exceed_a_stored_limit(records: pl.DataFrame) -> None:
    no = pl.col("nojg") > pl.col("noxz")
    smoke = (pl.col("btgdjg") > pl.col("btgdxz")) | (pl.col("lgmhd") > pl.col("hdxz"))
    gas = (pl.col("cojg") > pl.col("coxz")) | (pl.col("hcjg") > pl.col("hcxz"))
    fails = (
        pl.when(pl.col("rlzl") == "B").then(no | smoke).when(pl.col("rlzl") == "A").then(no | gas)
        .otherwise(False).fill_null(False)
    )
    judged = records.filter(pl.col("pdjg").is_in(["0", "1"])).with_columns(fails=fails)
    assert (judged["fails"] == (judged["pdjg"] == "0")).all()
    assert judged["fails"].sum() > 100


def test_plate_cells(records: pl.DataFrame) -> None:
    unread = records.filter(pl.col("cpys") == 5)
    assert set(unread["hphm"]) == {None, "无牌", "未识别"}
    assert unread["rlzl"].null_count() == len(unread)
    read = records.filter(pl.col("cpys") != 5)
    assert set(read["cpys"].unique()) == {0, 1, 4}
    ordinary = read.filter(pl.col("cpys") != 4)["hphm"]
    assert all(ORDINARY.fullmatch(p) for p in ordinary)


def test_registry(out: Path) -> None:
    registry = pl.read_csv(out / "registry.csv", infer_schema=False)
    assert registry.columns == ["plate", "plate_color", "plate_type", "vehicle_type", "fuel",
                                "emission_stage", "first_registered", "use"]
    assert registry.select("plate", "plate_color").is_unique().all()
    vehicles = pl.read_parquet(out / "truth" / "vehicles.parquet")
    missing = vehicles.join(registry, on=["plate", "plate_color"], how="anti")
    for is_local, share in ((True, 0.06), (False, 0.12)):
        rate = (missing["is_local"] == is_local).sum() / (vehicles["is_local"] == is_local).sum()
        assert rate == pytest.approx(share, abs=0.04)
    code = {"gasoline": "A", "diesel": "B", "cng": "E", "electric": "C", "hybrid": "O"}
    both = vehicles.join(registry, on=["plate", "plate_color"])
    wrong = (both["fuel"].replace_strict(code) != both["fuel_right"]).mean()
    assert wrong == pytest.approx(0.008, abs=0.005)
    assert (both["first_registered"].cast(pl.String) == both["first_registered_right"]).all()


def test_plates_are_unique_and_well_formed() -> None:
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 4, 120_000)
    plates = make_plates(kind, rng.integers(0, 9, len(kind)), 12_345)
    frame = pl.DataFrame({"plate": plates, "color": np.array([0, 1, 4, 4])[kind]})
    assert frame.is_unique().all()
    form = (ORDINARY, ORDINARY, SMALL_NEW_ENERGY, LARGE_NEW_ENERGY)
    assert all(form[k].fullmatch(p) for k, p in zip(kind, plates, strict=True))
    colors = frame.group_by("plate").agg(pl.col("color").n_unique())
    assert (colors["color"] == 2).sum() > 100  # the same characters in blue and yellow


def test_sites_and_segments(out: Path) -> None:
    sites = pl.read_csv(out / "sites.csv")
    assert sites.columns == ["site_id", "name", "road_segment", "lon", "lat", "crs", "slope_deg"]
    assert len(sites) == 20
    assert set(sites["crs"]) == {"wgs84", "gcj02"}
    features = json.loads((out / "segments.geojson").read_text("utf-8"))["features"]
    lines = {f["properties"]["segment_id"]: f["geometry"] for f in features}
    assert set(lines) == set(sites["road_segment"])
    for site, row in zip(SITES, sites.iter_rows(named=True), strict=True):
        assert lines[site.segment]["type"] == "LineString"
        nearest = min(math.hypot(x - site.lon, y - site.lat)
                      for x, y in lines[site.segment]["coordinates"])
        assert nearest < 1e-5
        shift_m = math.hypot((row["lon"] - site.lon) * 101_000, (row["lat"] - site.lat) * 110_800)
        assert (400 < shift_m < 700) if row["crs"] == "gcj02" else shift_m < 0.2


def test_gcj02_gives_a_published_pair() -> None:
    # the example in the documentation of the public package coordtransform
    assert gcj02(116.404, 39.915) == pytest.approx((116.41024449916938, 39.91640428150164),
                                                   abs=1e-9)
