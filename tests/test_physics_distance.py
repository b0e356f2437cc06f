"""Grams per kilometre: the three ways, and the whole chain on real records."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.physics import distance as d

REAL = Path(__file__).resolve().parents[1].parent / "shared" / "realdata"


def test_two_simple_ways():
    assert d.g_km_from_fuel_economy(3.0, 7.5, 0.745) == pytest.approx(0.167625)
    assert d.g_km_from_co2(3.0, 3150.0, 180.0) == pytest.approx(0.171, abs=5e-4)
    assert d.g_km_from_co2(3.0, 3150.0, 180.0, 1.3) == pytest.approx(1.3 * 540 / 3150)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_at_least_zero(x):
    assert d.at_least_zero(x) == max(x, 0.0)


def test_fuel_rate_is_clipped():
    line = d.FUEL_RATE["gasoline", "car"]
    assert d.fuel_rate_g_h(0.0, line) == 552
    assert d.fuel_rate_g_h(-10.0, line) == 0


def test_fuel_rates():
    lines = {key: (line.slope, line.intercept) for key, line in d.FUEL_RATE.items()}
    assert lines == {("gasoline", "car"): (229, 552), ("diesel", "car"): (204, 221),
                     ("gasoline", "van"): (236, 501), ("diesel", "van"): (218, 87)}


def test_cycle():
    vsp, speed = np.array([0.0, 5, 10, 15]), np.array([5.0, 10, 15, 20])
    g_s = d.predicted_g_s(vsp, 0.0001, 0.0002)
    assert d.cycle_g_km(g_s, speed) == pytest.approx(0.128)
    assert d.cycle_g_km(g_s, speed, 0.5) == pytest.approx(0.128)
    assert d.cycle_g_km(g_s, speed, np.array([1.0, 1, 1, 3])) == pytest.approx(
        (0.0001 + 0.0011 + 0.0021 + 3 * 0.0031) / 90 * 1000)
    frame = pl.DataFrame({"g": g_s, "v": [5.0, 10, 15, None]})
    over = frame.select(d.cycle_g_km(pl.col("g"), pl.col("v"))).item()
    assert over == pytest.approx(0.0064 / 30 * 1000)


def test_weighted_mean_ratio_ignores_a_pass_with_a_null():
    frame = pl.DataFrame({"q": [0.01, 0.03, None, 0.5], "w": [3.0, 1.0, 9.0, None]})
    mean = frame.select(d.co2_weighted_mean_ratio(pl.col("q"), pl.col("w"))).item()
    assert mean == pytest.approx((0.03 + 0.03) / 4)
    full = d.co2_weighted_mean_ratio(np.array([0.01, 0.03]), np.array([3.0, 1.0]))
    assert full == pytest.approx(mean)


@pytest.fixture(scope="module")
def real():
    files = (REAL / "conox-uk/conox_uk.csv.gz", REAL / "conox-uk/reference_open.json",
             REAL / "opencares-drive-cycle/drive_cycle.csv")
    if not all(f.exists() for f in files):
        pytest.skip("the real records are not here")
    wanted = ["FuelType", "VehicleCategory", "EuroStandard", "VSP", "CO_gpkg", "HC_gpkg",
              "NO_gpkg", "NO2_gpkg", "NOx_gpkg", "NH3_gpkg"]
    passes = pl.read_csv(files[0], columns=wanted, null_values="NA", infer_schema_length=None)
    cycle = pl.read_csv(files[2], null_values="NA")
    return passes, json.loads(files[1].read_text(encoding="utf-8"))["2_grams_per_km"], cycle


def test_grams_per_kilometre_of_real_records(real):
    """The public package's fit per group along its drive cycle, from our steps."""
    passes, reference, cycle = real
    fuels = {"PETROL": "gasoline", "DIESEL": "diesel"}
    kinds = {"PC": "car", "LCV": "van"}
    for (species, fuel, category, euro), rows in pl.DataFrame(reference["results"]).group_by(
            "species", "FuelType", "VehicleCategory", "EuroStandard"):
        line = d.FUEL_RATE[fuels[fuel], kinds[category]]
        group = passes.filter(FuelType=fuel, VehicleCategory=category, EuroStandard=euro).select(
            vsp="VSP", g_s=d.g_s_from_g_kg(pl.col(f"{species}_gpkg"),
                                           d.fuel_rate_g_h(pl.col("VSP"), line))).drop_nulls()
        slope, intercept = np.polynomial.Polynomial.fit(
            group["vsp"], group["g_s"], 1).convert().coef[::-1]
        along = cycle.group_by("driving").agg(g_km=d.cycle_g_km(
            d.predicted_g_s(pl.col("vsp"), intercept, slope), pl.col("dist2") * 1000))
        both = rows.join(along, on="driving")
        assert both.height == rows.height
        assert both["n_fit"].unique().to_list() == [group.height]
        assert both["g_km"].to_numpy() == pytest.approx(both["gpkm"].to_numpy(), rel=1e-6)
