"""Stored passes, scored anew after a small table changed: as if they had been scored so at once."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_scoring import frame, rules, table

from rsd.columns import FUELS, PASSES, REPORTED, SITES, VEHICLE_CLASSES, VEHICLES, schema
from rsd.physics.exhaust import CONVENTIONS
from rsd.quality import profile_names
from rsd.reasons import codes
from rsd.scoring import score
from rsd.scoring.rescore import SmallTables, rescore

SLOPES = (None, 0.5, -2.0, 8.0)
values = st.one_of(st.none(), st.floats(-50.0, 200.0), st.sampled_from(SLOPES))
records = st.fixed_dictionaries({
    **{c.name: values for c in REPORTED if c.dtype == pl.Float64},
    "site_id": st.sampled_from(["X01", "X02", "?"]),
    "fuel_reported": st.sampled_from([None, *FUELS]),
    "vehicle_class_reported": st.sampled_from([None, *VEHICLE_CLASSES]),
    "emission_stage_reported": st.one_of(st.none(), st.integers(0, 6)),
    "vehicle_id": st.sampled_from([None, "v1", "v2", "v3"]),
    "is_device_valid": st.sampled_from([None, True, False]),
})
site_lists = st.lists(st.fixed_dictionaries({
    "site_id": st.sampled_from(["X01", "X02"]),
    "road_segment": st.sampled_from([None, "S1", "S2"]),
    "slope_deg": st.sampled_from(SLOPES),
}), max_size=2, unique_by=lambda site: site["site_id"])
registries = st.lists(st.fixed_dictionaries({
    "vehicle_id": st.sampled_from(["v1", "v2"]),
    "vehicle_class": st.sampled_from([None, *VEHICLE_CLASSES]),
    "fuel": st.sampled_from([None, *FUELS]),
    "emission_stage": st.one_of(st.none(), st.integers(0, 6)),
    "use": st.sampled_from([None, "A", "B"]),
    "is_registered": st.booleans(),
}), max_size=2, unique_by=lambda vehicle: vehicle["vehicle_id"])


def small(sites, vehicles) -> SmallTables:
    return SmallTables.of(table(SITES, *sites).lazy(), table(VEHICLES, *vehicles).lazy())


def scored(rows, sites, vehicles, own) -> pl.DataFrame:
    known = table(VEHICLES, *vehicles).filter("is_registered")
    passes = score(frame(*rows).lazy(), table(SITES, *sites), known, own).collect()
    return passes.cast(schema(PASSES))  # as it lies in the lake


@settings(max_examples=60)
@given(st.lists(records, max_size=5), site_lists, registries, site_lists, registries,
       st.sampled_from(sorted(CONVENTIONS)), st.sampled_from(profile_names()), st.booleans())
def test_a_pass_scored_anew_is_one_scored_so_at_once(
        rows, sites, vehicles, new_sites, new_vehicles, convention, profile, impute):
    own = rules(convention=convention, quality_profile=profile, impute_nox=impute)
    stored = scored(rows, sites, vehicles, own)
    again = rescore(stored.lazy(), small(sites, vehicles), small(new_sites, new_vehicles),
                    own).collect()
    assert_frame_equal(again.cast(schema(PASSES)), scored(rows, new_sites, new_vehicles, own),
                       check_exact=True)


def test_what_changes_is_what_hangs_on_the_tables():
    before, after = ([{"vehicle_id": "v1", "fuel": fuel, "is_registered": True}]
                     for fuel in ("gasoline", "diesel"))
    site = [{"site_id": "X01", "road_segment": "S1", "slope_deg": 0.5}]
    stored = scored([{"slope_deg": None, "fuel_reported": "gasoline"}], site, before, rules())
    row = rescore(stored.lazy(), small(site, before),
                  small([{**site[0], "slope_deg": -2.0}], after), rules()).collect().row(
                      0, named=True)
    assert (row["fuel"], row["slope_deg"], row["road_segment"]) == ("diesel", -2.0, "S1")
    assert "fuel_conflict" in codes(row["reason_bits"])
    assert row["vsp_kw_t"] < stored["vsp_kw_t"].item()


def test_a_pass_from_before_its_slope_was_told_apart():
    """A slope that is exactly the site's is taken for it."""
    site = [{"site_id": "X01", "slope_deg": 0.5}]
    kept = scored([{"slope_deg": 0.5}, {"slope_deg": 1.5}], site, [], rules()).with_columns(
        is_site_slope=pl.lit(None, pl.Boolean))
    steep = [{"site_id": "X01", "slope_deg": 3.0}]
    again = rescore(kept.lazy(), small(site, []), small(steep, []), rules()).collect()
    assert again["slope_deg"].to_list() == [3.0, 1.5]


def test_a_pass_from_before_the_class_of_the_dump_was_kept():
    """Where the registry was silent the stored class is the dump's; where it spoke nobody knows."""
    spoke = [{"vehicle_id": "v1", "vehicle_class": "large_bus", "is_registered": True}]
    kept = scored([{}, {"vehicle_id": "v2"}], [], spoke, rules()).with_columns(
        vehicle_class_reported=pl.lit(None, pl.String))
    again = rescore(kept.lazy(), small([], spoke), small([], []), rules()).collect()
    assert again["vehicle_class"].to_list() == ["unknown", "mini_small_bus"]
    assert again["vehicle_class_reported"].to_list() == [None, "mini_small_bus"]
