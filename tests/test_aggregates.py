"""Aggregates: every figure against NumPy, every rate against both denominators."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsd.aggregates import QUANTITIES, VSP_BINS, Z_95, aggregate
from rsd.columns import PASSES, schema
from rsd.errors import PolicyRefusal, UsageError
from rsd.sql import open_session

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

CO_LAW = {"co": {"applies": "fuel = 'gasoline'",
                 "tested": "fuel = 'gasoline' AND is_valid AND co_pct IS NOT NULL",
                 "exceeds": "co_pct > 2.0"}}
VALID = {f"is_valid{p}": True for p in ("", "_co", "_hc", "_no", "_nox", "_opacity")}


def frame_of(**columns: object) -> pl.DataFrame:
    """Passes with the given columns, valid unless said otherwise, null elsewhere."""
    height = max(len(v) for v in columns.values() if isinstance(v, (list, np.ndarray)))
    given_columns = {k: v if isinstance(v, (list, np.ndarray)) else [v] * height
                     for k, v in (VALID | columns).items()}
    return pl.DataFrame(given_columns, schema_overrides=schema(PASSES)).select(
        pl.col(n) if n in given_columns else pl.lit(None, t).alias(n)
        for n, t in schema(PASSES).items())


@pytest.fixture
def run(tmp_path):
    """A function that aggregates passes written to a file."""
    def aggregated(passes: pl.DataFrame, by, *, law=CO_LAW, **options) -> pl.DataFrame:
        passes.write_parquet(tmp_path / "p.parquet")
        with open_session({"passes": [tmp_path / "p.parquet"]}, law) as session:
            return aggregate(session, by, **options)
    return aggregated


def cluster_interval(values: np.ndarray, vehicles: list[str | None]) -> tuple[float, float]:
    """Mean ± z SE with the sandwich over vehicles, written out record by record."""
    mean = values.mean()
    sums: dict[object, float] = {}
    for k, (value, vehicle) in enumerate(zip(values, vehicles, strict=True)):
        key = ("alone", k) if vehicle is None else vehicle
        sums[key] = sums.get(key, 0.0) + (value - mean)
    g = len(sums)
    half = Z_95 * np.sqrt(g / (g - 1) * sum(s * s for s in sums.values())) / len(values)
    return mean - half, mean + half


def random_passes(seed: int, n: int = 600) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return frame_of(
        vehicle_id=[None if k == 0 else f"v{k}" for k in rng.integers(0, n // 5, n)],
        vehicle_class=rng.choice(["small_truck", "large_bus", "special"], n).tolist(),
        road_segment=[None if k == 0 else f"s{k}" for k in rng.integers(0, 3, n)],
        co_pct=[None if rng.random() < 0.05 else float(v) for v in rng.gamma(0.5, 2.0, n) - 0.4],
        nox_g_kg=(rng.normal(3.0, 9.0, n)).tolist(),
        is_valid=[None if r < 0.05 else bool(r < 0.8) for r in rng.random(n)],
        is_valid_co=(rng.random(n) < 0.9).tolist(),
        fuel=rng.choice(["gasoline", "diesel"], n).tolist(),
        date=[date(2026, 1, 1)] * n,
    )


@pytest.mark.parametrize("all_records", [False, True])
def test_every_figure_of_every_group_is_numpys(run, all_records):
    passes = random_passes(1)
    found = run(passes, ["vehicle_class", "road_segment"], all_records=all_records)
    assert found.height == 9
    for row in found.iter_rows(named=True):
        group = passes.filter(pl.col("vehicle_class").eq_missing(row["vehicle_class"]),
                              pl.col("road_segment").eq_missing(row["road_segment"]))
        assert row["n_records"] == group.height
        assert row["n_valid"] == group["is_valid"].sum()
        assert row["n_vehicles"] == group["vehicle_id"].drop_nulls().n_unique()
        for q, flag in (("co_pct", "is_valid_co"), ("nox_g_kg", "is_valid_nox")):
            used = group if all_records else group.filter(pl.col("is_valid"), pl.col(flag))
            used = used.filter(pl.col(q).is_not_null())
            values = used[q].to_numpy()
            assert (values < 0).any()
            assert row[f"n_{q}"] == values.size
            expected = (values.mean(), *cluster_interval(values, used["vehicle_id"].to_list()),
                        *np.quantile(values, [0.5, 0.95]))
            measured = [row[f"{s}_{q}"] for s in ("mean", "ci_low", "ci_high", "p50", "p95")]
            assert measured == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_each_vehicle_once_gives_the_plain_standard_error(run):
    values = np.random.default_rng(2).normal(-0.1, 0.5, 50)
    for vehicles in ([f"v{k}" for k in range(50)], [None] * 50):
        row = run(frame_of(co_pct=values, vehicle_id=vehicles), []).row(0, named=True)
        half = Z_95 * values.std(ddof=1) / np.sqrt(50)
        assert row["ci_low_co_pct"] == pytest.approx(values.mean() - half, rel=1e-12)
        assert row["ci_high_co_pct"] == pytest.approx(values.mean() + half, rel=1e-12)


def test_repeat_passes_widen_the_interval_as_the_worked_example_says(run):
    """Science specification, section 5, item 2: mean 4.773, SE 2.236."""
    clusters = [[1, 2, 1.5], [4, 3.5], [0.5], [9, 11, 10, 8], [2]]
    row = run(frame_of(co_pct=[float(v) for c in clusters for v in c],
                       vehicle_id=[f"v{k}" for k, c in enumerate(clusters) for _ in c]),
              []).row(0, named=True)
    assert row["mean_co_pct"] == pytest.approx(4.772727273, rel=1e-6)
    standard_error = (row["ci_high_co_pct"] - row["mean_co_pct"]) / Z_95
    assert standard_error == pytest.approx(2.236249333, rel=1e-6)


@pytest.mark.parametrize("passes", [
    frame_of(co_pct=[0.1 + 0.2], vehicle_id=["v"]),
    frame_of(co_pct=[0.1 + 0.2], vehicle_id=[None]),
    frame_of(co_pct=[0.1 + 0.2] * 3, vehicle_id=["v"] * 3),
])
def test_a_single_vehicle_has_a_mean_and_no_interval(run, passes):
    row = run(passes, []).row(0, named=True)
    assert (row["ci_low_co_pct"], row["ci_high_co_pct"]) == (None, None)
    assert row["p50_co_pct"] == row["p95_co_pct"] == 0.1 + 0.2


def test_values_come_through_bit_for_bit(run):
    value = 5.0e-324 + 0.1 + 0.7
    row = run(frame_of(co_pct=[value]), []).row(0, named=True)
    assert row["mean_co_pct"].hex() == row["p50_co_pct"].hex() == value.hex()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e5), st.sampled_from(["a", "b", "c", None]),
                          st.booleans()), min_size=1, max_size=30))
def test_what_always_holds(tmp_path_factory, rows):
    values, vehicles, valid = (list(x) for x in zip(*rows, strict=True))
    file = tmp_path_factory.mktemp("p") / "p.parquet"
    frame_of(co_pct=values, vehicle_id=vehicles, is_valid=valid, fuel="gasoline"
             ).write_parquet(file)
    with open_session({"passes": [file]}, CO_LAW) as session:
        row = aggregate(session, [], quantities=["co_pct"]).row(0, named=True)
    assert row["n_co_pct"] == row["n_valid"] == row["n_tested_co"] <= row["n_records"]
    assert row["n_exceed_co"] <= row["n_tested_co"] <= row["n_judged_co"] == len(rows)
    assert (row["rate_valid_co"] or 0) >= row["rate_all_co"]
    if row["ci_low_co_pct"] is not None:
        assert row["ci_low_co_pct"] <= row["mean_co_pct"] <= row["ci_high_co_pct"]


# Denominators


def test_both_denominators_are_told_apart(run):
    """Regulations reference, 4.4: 10 fail, 80 pass, 10 invalid → 11.11 % and 10.00 %."""
    found = run(frame_of(co_pct=[5.0] * 10 + [0.1] * 80 + [5.0] * 10, fuel="gasoline",
                         is_valid=[True] * 90 + [False] * 10), []).row(0, named=True)
    assert [found[f"n_{k}_co"] for k in ("judged", "tested", "exceed")] == [100, 90, 10]
    assert found["rate_valid_co"] == pytest.approx(0.1111, abs=5e-5)
    assert found["rate_all_co"] == 0.10


def test_a_rate_without_a_denominator_is_null(run):
    found = run(frame_of(co_pct=[5.0, 5.0], fuel=["gasoline", "diesel"],
                         is_valid=[False, True]), ["fuel"])
    assert found["fuel"].to_list() == ["diesel", "gasoline"]
    assert found["n_judged_co"].to_list() == [0, 1]
    assert found["rate_valid_co"].to_list() == [None, None]
    assert found["rate_all_co"].to_list() == [None, 0.0]


def test_only_judged_pollutants_have_rates(run):
    passes = frame_of(co_pct=[1.0], fuel="gasoline")
    assert not [c for c in run(passes, [], law={}).columns if "rate" in c or "judged" in c]
    assert [c for c in run(passes, []).columns if c.startswith("rate_")] == [
        "rate_valid_co", "rate_all_co"]


# Groups


def test_the_columns_stand_in_the_contracts_order(run):
    found = run(random_passes(3), ["vehicle_class", "month"])
    measures = [f"{s}_{q}" for q in ("co_pct", "nox_g_kg")
                for s in ("n", "mean", "ci_low", "ci_high", "p50", "p95")]
    rates = [f"{s}_co" for s in ("n_judged", "n_tested", "n_exceed", "rate_valid", "rate_all")]
    assert found.columns == ["vehicle_class", "month", "n_records", "n_valid", "n_vehicles",
                             *measures, *rates]


def test_quantities_without_values_are_left_out_unless_asked_for(run):
    passes = frame_of(co_pct=[1.0], hc_ppm=[2.0], is_valid_hc=[False])
    assert "n_hc_ppm" not in run(passes, []).columns
    assert "n_hc_ppm" in run(passes, [], all_records=True).columns
    asked = run(passes, [], quantities=["hc_ppm", "ringelmann"]).row(0, named=True)
    assert (asked["n_hc_ppm"], asked["mean_hc_ppm"], asked["n_ringelmann"]) == (0, None, 0)
    assert "n_co_pct" not in asked


def test_a_quantity_of_no_pollutant_needs_only_the_record_to_be_valid(run):
    row = run(frame_of(speed_km_h=[10.0, 20.0, 30.0], co2_pct=[1.0, 2.0, 3.0],
                       is_valid=[True, True, False], is_valid_co=False), [],
              quantities=["speed_km_h", "co2_pct"]).row(0, named=True)
    assert (row["n_speed_km_h"], row["mean_speed_km_h"], row["mean_co2_pct"]) == (2, 15.0, 1.5)


def test_calendar_groups(run):
    found = run(frame_of(co_pct=[1.0, 2.0, 3.0], hour=[0, 23, 5],
                         date=[date(2026, 10, 4), date(2026, 10, 5), date(2025, 2, 1)]),
                ["month", "year", "weekday", "date", "hour"], quantities=[])
    assert found.select("month", "year", "weekday", "hour").rows() == [
        ("2025-02", 2025, 6, 5), ("2026-10", 2026, 1, 23), ("2026-10", 2026, 7, 0)]
    assert found.schema["date"] == pl.Date


def test_vsp_bins_include_their_lower_edge_and_22_belongs_to_the_last(run):
    edges = [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 22.0]
    values = [float(np.nextafter(e, s)) for e in edges for s in (-99.0, 99.0)] + edges
    found = run(frame_of(vsp_kw_t=values, vsp_device_kw_t=None, co_pct=[1.0] * len(values)),
                ["vsp_bin"])
    assert found["vsp_bin"].to_list() == list(VSP_BINS)
    assert found["n_records"].to_list() == [1, 3, 3, 3, 3, 3, 3, 4, 1]


def test_vsp_bins_take_the_devices_value_and_then_our_own(run):
    found = run(frame_of(vsp_device_kw_t=[4.0, None, None], vsp_kw_t=[20.0, 20.0, None]),
                ["vsp_bin"], quantities=[])
    assert found["vsp_bin"].to_list() == ["[3,6)", "[18,22]", None]


def test_rows_are_sorted_with_nulls_last(run):
    found = run(random_passes(4), ["road_segment", "vehicle_class"])
    keys = [(k is None, k or "", c) for k, c in
            found.select("road_segment", "vehicle_class").iter_rows()]
    assert keys == sorted(keys)
    assert found["road_segment"].null_count() == 3


def test_small_groups_keep_their_row_and_lose_their_measures(run):
    passes = frame_of(co_pct=[1.0, 2.0, 3.0, 4.0], vehicle_id=["a", "b", "c", "c"],
                      fuel=["gasoline"] * 2 + ["lpg"] * 2)
    found = run(passes, ["fuel"], min_vehicles=2)
    counts = ["fuel", "n_records", "n_valid", "n_vehicles"]
    assert found.select(counts).rows() == [("gasoline", 2, 2, 2), ("lpg", 2, 2, 1)]
    assert None not in found.row(0)
    assert set(found.drop(counts).row(1)) == {None}
    assert found.columns == run(passes, ["fuel"]).columns


def test_a_condition_speaks_of_passes_and_groups(run):
    passes = random_passes(5)
    found = run(passes, [], where="fuel = 'diesel' AND month = '2026-01' -- only these")
    assert found["n_records"][0] == passes.filter(fuel="diesel").height
    assert run(passes, ["fuel"], where="false").height == 0


@pytest.mark.parametrize(("where", "error"), [
    ("co_pct >", UsageError), ("nope = 1", UsageError),
    ("true) UNION ALL (SELECT * FROM read_text('/etc/passwd')", PolicyRefusal),
    ("EXISTS (FROM sqlite_master)", PolicyRefusal),
    ("current_setting('allowed_paths') IS NULL", PolicyRefusal),
])
def test_a_condition_passes_the_gate_too(run, where, error):
    with pytest.raises(error):
        run(random_passes(6), [], where=where)


def test_an_unknown_group_is_named_with_the_likely_one_and_all_others(run):
    with pytest.raises(UsageError, match=r"vehicle_clas.*road_segment.*Did you mean vehicle_class"):
        run(random_passes(7), ["vehicle_clas"])
    for by, options in ((["vehicle_id"], {}), (["fuel", "fuel"], {}),
                        ([], {"quantities": ["co"]}), ([], {"quantities": ["record_id"]})):
        with pytest.raises(UsageError):
            run(random_passes(7), by, **options)


def test_a_lake_without_passes_has_no_rows(tmp_path):
    with open_session({}, CO_LAW) as session:
        assert aggregate(session, ["fuel"]).height == 0
        row = aggregate(session, []).row(0, named=True)
    assert (row["n_records"], row["n_vehicles"], row["rate_all_co"]) == (0, 0, None)


def test_statements_in_pieces_give_the_same_table(run, monkeypatch):
    passes = random_passes(8)
    whole = run(passes, ["vehicle_class"], quantities=QUANTITIES)
    monkeypatch.setattr("rsd.aggregates.VALUES_AT_ONCE", 1)
    assert run(passes, ["vehicle_class"], quantities=QUANTITIES).equals(whole)


# Real records

CONOX = {"CO_gpkg": "co_g_kg", "HC_gpkg": "hc_g_kg", "NOx_gpkg": "nox_g_kg",
         "NO_gpkg": "no_g_kg"}


@pytest.fixture(scope="module")
def conox():
    """The real UK records as passes, and what plain arithmetic gives on them."""
    folder = SHARED / "realdata" / "conox-uk"
    if not folder.is_dir():
        pytest.skip("the real records are not beside the project")
    raw = pl.read_csv(folder / "conox_uk.csv.gz", null_values="NA", infer_schema=False,
                      columns=["Site", "VSP", *CONOX])
    passes = frame_of(
        site_id=raw["Site"].to_list(), vsp_device_kw_t=raw["VSP"].cast(pl.Float64).to_list(),
        **{ours: raw[theirs].cast(pl.Float64).to_list() for theirs, ours in CONOX.items()})
    reference = json.loads((folder / "reference_open.json").read_text(encoding="utf-8"))
    return passes, reference["5_aggregates"]


@pytest.mark.parametrize(("table", "theirs", "ours"), [
    ("by_site", "Site", "site_id"), ("by_vsp_bin", "vsp_bin", "vsp_bin")])
def test_real_records_give_the_open_reference(run, conox, table, theirs, ours):
    passes, reference = conox
    found = {row[ours]: row for row in run(
        passes, [ours], all_records=True, quantities=list(CONOX.values())).iter_rows(named=True)}
    for group in reference[table]:
        row = found[group[theirs]]
        assert row["n_records"] == group["n_rows"]
        for name, q in CONOX.items():
            expected = group[name]
            assert row[f"n_{q}"] == expected["n"]
            if expected["n"]:
                measured = [row[f"{s}_{q}"] for s in ("mean", "p50", "p95", "ci_low", "ci_high")]
                assert measured == pytest.approx(
                    [expected["mean"], expected["median"], expected["p95"],
                     *expected["ci95_normal"]], rel=1e-5, abs=1e-5)
