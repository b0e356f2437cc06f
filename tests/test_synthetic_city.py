"""The city is what its tables say: the acceptance checks of the generator."""

from __future__ import annotations

import json
import re
import tracemalloc
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import rsd
from rsd.errors import StorageError, UsageError
from rsd.synthetic import SimulationSummary, simulate
from rsd.synthetic import tables as t
from rsd.synthetic.fleet import Fleet, make_fleet
from rsd.synthetic.passes import FLEET, stream

DAYS = 12


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    out = tmp_path_factory.mktemp("simulated") / "city"
    return simulate(out, vehicles=8000, days=DAYS, seed=7)


@pytest.fixture(scope="module")
def passes(city: SimulationSummary) -> pl.DataFrame:
    """True passes with what the dump says and what the vehicle is."""
    texts = [f.read_bytes().decode("gb18030") for f in sorted((city.out / "dumps").iterdir())]
    numbers = ["cojg", "hcjg", "nojg", "btgdjg", "lgmhd"]
    dump = pl.concat([pl.read_csv(text.encode(), infer_schema=False) for text in texts])
    dump = dump.unique("jlbh").with_columns(
        pl.col(numbers).cast(pl.Float64).replace(-9999.0, None)
    )
    truth = pl.read_parquet(city.out / "truth" / "passes.parquet")
    vehicles = pl.read_parquet(city.out / "truth" / "vehicles.parquet")
    what = vehicles.select("vehicle", "fuel", "emission_stage", "true_class")
    joined = truth.join(dump, left_on="pass_id", right_on="jlbh").join(what, on="vehicle")
    assert len(joined) == len(truth) == city.passes
    return joined


@pytest.fixture(scope="module")
def large_fleet() -> Fleet:
    return make_fleet(stream(3, FLEET), 300_000, date(2026, 9, 1), 1.0)


def stage_means(fleet: Fleet, of: np.ndarray) -> np.ndarray:
    mean = fleet.long_run_mean(30)
    return np.array([mean[of & (fleet.stage == s)].mean(axis=0) for s in range(6)])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


def test_gasoline_means_are_those_of_the_table(large_fleet: Fleet) -> None:
    found = stage_means(large_fleet, large_fleet.fuel == t.GASOLINE)[:, :3]
    # two stages have a few thousand vehicles only: their means are uncertain by several percent
    assert np.allclose(found[2:], t.GASOLINE_MEAN[2:, :3], rtol=0.10)
    assert np.allclose(found[:2], t.GASOLINE_MEAN[:2, :3], rtol=0.20)


def test_gasoline_fleet_mean_concentrations(passes: pl.DataFrame) -> None:
    own = passes.filter(pl.col("true_class") == "small_car", pl.col("fuel") == "gasoline")
    mean = own.select(pl.col("co_pct", "hc_ppm", "no_ppm").mean()).row(0)
    assert np.allclose(mean, (0.077, 36, 126), rtol=0.25)  # of few vehicles in old stages


def test_stage_order_strictly_decreases(large_fleet: Fleet) -> None:
    for fuel in (t.GASOLINE, t.DIESEL):
        found = stage_means(large_fleet, large_fleet.fuel == fuel)
        first = 0 if fuel == t.GASOLINE else 2  # hardly any older diesels
        assert (np.diff(found[first:], axis=0) < 0).all()


def test_fault_share_stays_that_of_the_table(large_fleet: Fleet) -> None:
    of = (large_fleet.fuel == t.GASOLINE) & (large_fleet.stage == 3)
    start, year_on = (large_fleet.is_faulty(np.flatnonzero(of), day).mean() for day in (0, 365))
    assert start == pytest.approx(0.07, abs=0.004)
    assert year_on == pytest.approx(0.07, abs=0.005)


def test_the_worst_tenth_carries_its_share(city: SimulationSummary) -> None:
    vehicles = pl.read_parquet(city.out / "truth" / "vehicles.parquet")
    gasoline = vehicles.filter(pl.col("fuel") == "gasoline")
    for name in ("co_g_kg", "hc_g_kg", "no_g_kg"):
        sorted_ = np.sort(gasoline[name].to_numpy())[::-1]
        share = sorted_[: len(sorted_) // 10].sum() / sorted_.sum()
        assert 0.45 < share < 0.70, name


def test_negative_readings(passes: pl.DataFrame) -> None:
    no = passes.filter(pl.col("fuel") == "gasoline", pl.col("is_valid"))["nojg"].drop_nulls()
    assert 0.15 < (no < 0).mean() < 0.30


def test_joint_validity(passes: pl.DataFrame) -> None:
    with_plume = passes.filter(pl.col("fuel") != "electric")
    flags = ["is_valid", "is_valid_co", "is_valid_hc", "is_valid_no"]
    assert 0.70 < with_plume.select(pl.all_horizontal(flags).mean()).item() < 0.88


def test_log_icc_of_gasoline_no(passes: pl.DataFrame) -> None:
    log_no = pl.col("no_ppm").log()
    groups = (
        passes.filter(pl.col("fuel") == "gasoline")
        .with_columns(y=log_no - log_no.mean().over("emission_stage"))
        .group_by("vehicle").agg(n=pl.len(), m=pl.col("y").mean(), v=pl.col("y").var())
        .filter(pl.col("n") > 1)
    )
    n, mean, variance = (groups[c].to_numpy() for c in ("n", "m", "v"))
    within = (variance * (n - 1)).sum() / (n - 1).sum()
    grand = (n * mean).sum() / n.sum()
    n0 = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    between = ((n * (mean - grand) ** 2).sum() / (len(n) - 1) - within) / n0
    assert 0.45 < between / (between + within) < 0.65


def test_battery_vehicles_have_hardly_a_plume(passes: pl.DataFrame) -> None:
    electric = passes.filter(pl.col("fuel") == "electric")
    assert len(electric) > 1000
    assert electric["has_plume"].mean() < 0.005
    assert electric["no_g_kg"].max() == 0


def test_pass_shares_by_class(passes: pl.DataFrame) -> None:
    shares = dict(passes.group_by("true_class").agg(pl.len() / len(passes)).iter_rows())
    assert shares["small_car"] == pytest.approx(0.73, abs=0.03)
    assert 0.10 < sum(shares[c] for c in ("light_truck", "medium_truck", "heavy_rigid",
                                          "tractor")) < 0.18


def test_smoke_exceeds_twice_running(passes: pl.DataFrame) -> None:
    smoke = passes.filter(pl.col("rlzl") == "B", pl.col("is_valid"),
                          pl.col("btgdjg").is_not_null()).sort("hphm", "jcsj")
    high = pl.col("btgdjg") > 30
    pairs = smoke.with_columns(pair=(high & high.shift(1)).over("hphm", "cpys")).filter("pair")
    assert pairs["hphm"].n_unique() >= 3


def test_plate_errors_duplicates_and_clock(passes: pl.DataFrame) -> None:
    share = dict(passes["plate_reading"].value_counts(normalize=True).iter_rows())
    assert share["unreadable"] == pytest.approx(0.010, abs=0.002)
    assert 0.003 < share["other_vehicle"] + share["wrong_character"] < 0.008
    assert passes["is_duplicated"].mean() == pytest.approx(0.005, abs=0.0015)
    wrong = passes.filter("is_clock_wrong")
    assert wrong["site_id"].unique().to_list() == ["A350213001"]
    stamped = passes["jcsj"].str.to_datetime()
    second = stamped.dt.epoch("s") % 86400 - passes["true_second_of_day"]
    ahead = (second % 86400 == 3600).rename("ahead")
    assert (ahead == passes["is_clock_wrong"]).all()
    assert len(wrong) > 100


def test_the_summary_counts_what_was_written(city: SimulationSummary) -> None:
    written = list((city.out / "dumps").iterdir())
    lines = sum(f.read_bytes().count(b"\n") - 1 for f in written)
    assert (len(written), lines) == (city.files, city.records) == (20 * DAYS, lines)
    assert city.records == city.passes + city.duplicates
    assert city.passes == pytest.approx(8000 / 3 * DAYS, rel=0.1)
    assert city.bytes == sum(f.stat().st_size for f in written)
    plain = json.loads(json.dumps(city.as_dict()))
    assert (plain["passes"], plain["start"]) == (city.passes, "2026-09-01")


def test_same_seed_same_bytes_and_days_stand_alone(tmp_path: Path) -> None:
    for name, days, seed in (("a", 2, 5), ("b", 2, 5), ("c", 4, 5), ("d", 2, 6)):
        simulate(tmp_path / name, vehicles=600, days=days, seed=seed)
    a, b, c, d = (files(tmp_path / name) for name in "abcd")
    assert a == b
    dumps = {k: v for k, v in a.items() if k.startswith("dumps")}
    assert len(dumps) == 40
    assert all(c[k] == v for k, v in dumps.items())
    assert all(d[k] != v for k, v in dumps.items() if v.count(b"\n") > 1)


def test_memory_does_not_grow_with_days(tmp_path: Path) -> None:
    peaks = []
    for days in (2, 8):
        tracemalloc.start()
        simulate(tmp_path / str(days), vehicles=3000, days=days, seed=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_nothing_else_reads_the_truth() -> None:
    root = Path(rsd.__file__).parent
    others = [f for f in root.rglob("*.py") if root / "synthetic" not in f.parents]
    reads = re.compile(r"""["'/]truth["'/]|synthetic\.truth|import truth""")
    assert others
    assert [f.name for f in others if reads.search(f.read_text(encoding="utf-8"))] == []


def test_truth_joins_by_vehicle_and_pass_only(city: SimulationSummary) -> None:
    vehicles = pl.read_parquet_schema(city.out / "truth" / "vehicles.parquet")
    passes_ = pl.read_parquet_schema(city.out / "truth" / "passes.parquet")
    assert "plate" not in passes_
    assert sorted(f.name for f in (city.out / "truth").iterdir()) == [
        "passes.parquet", "vehicles.parquet"]
    assert {"vehicle", "plate", "fault", "fault_onset", "fault_repair", "no_ppm"} <= set(vehicles)


def test_progress_is_told_after_each_day(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    simulate(tmp_path / "x", vehicles=1, days=3, seed=0,
             progress=lambda done, days: told.append((done, days)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    for wrong in ({"vehicles": 0}, {"days": 0}, {"seed": -1}, {"passes_per_day": -1.0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            simulate(tmp_path / "x", **({"vehicles": 1, "days": 1, "seed": 1} | wrong))
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(UsageError, match="empty folder"):
        simulate(tmp_path / "used", vehicles=1, days=1, seed=1)
    with pytest.raises(StorageError):
        simulate(tmp_path / "used" / "file" / "below", vehicles=1, days=1, seed=1)
