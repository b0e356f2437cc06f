"""Ratios, concentrations, conventions and g/kg: the worked figures, and what must always hold."""

import itertools
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd import columns
from rsd.errors import UsageError
from rsd.physics import concentration as conc
from rsd.physics import exhaust as ex

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
ratios = st.floats(-0.05, 0.5)
small = st.floats(-0.01, 0.03)
CONVENTION = st.sampled_from(list(ex.CONVENTIONS.values()))


@pytest.mark.parametrize(("q", "co2", "co", "hc", "no"), [
    ((0.005, 0.0002, 0.0008), 14.994, 0.0750, 30.0, 120.0),
    ((0.1, 0.002, 0.003), 14.021, 1.402, 280.4, 420.6),
    ((0.0, 0.0, 0.0), 15.054, 0.0, 0.0, 0.0),
])
def test_feat_percent_examples(q, co2, co, hc, no):
    pct = conc.co2_pct_feat121(*q)
    assert pct == pytest.approx(co2, abs=5e-4)
    assert conc.pct_from_ratio(q[0], pct) == pytest.approx(co, abs=5e-4)
    assert conc.ppm_from_ratio(q[1], pct) == pytest.approx(hc, abs=0.05)
    assert conc.ppm_from_ratio(q[2], pct) == pytest.approx(no, abs=0.06)


def test_a_platform_record_is_reproduced_by_042_and_not_by_121():
    co2_stored, co_stored, hc_stored, no_stored = 14.46, 0.82, 628.93, 1524.37
    q, hc, no = co_stored / co2_stored, 43.48e-4, 105.39e-4
    co2 = conc.co2_pct_cn042(q, hc)
    assert co2 == pytest.approx(14.457, abs=5e-4)
    assert conc.pct_from_ratio(q, co2) == pytest.approx(0.820, abs=5e-4)
    assert conc.ppm_from_ratio(hc, co2) == pytest.approx(628.6, abs=0.05)
    assert conc.ppm_from_ratio(no, co2) == pytest.approx(1523.6, abs=0.05)
    assert conc.ppm_from_ratio(no, co2) == pytest.approx(no_stored, rel=6e-4)
    assert conc.ppm_from_ratio(hc, co2) == pytest.approx(hc_stored, rel=6e-4)
    assert conc.co2_pct_feat121(q, hc, no) == pytest.approx(14.387, abs=5e-4)


@given(ratios, small, small)
def test_general_form_for_ch2_is_the_stoichiometry_of_propane(q, hc, no):
    expected = 42 / (2.79 + 2 * q - 0.37 * hc + no)
    assert conc.co2_pct_general(q, hc, no, 0.0, 2.0, 0.0) == pytest.approx(expected, rel=5e-4)


@pytest.mark.parametrize(("fuel", "pct"), [
    ("ch2", 15.05), ("gasoline_e0", 15.34), ("gasoline_e10", 15.35), ("diesel_b0", 15.36),
    ("cng", 11.86), ("lpg", 13.91)])
def test_stoichiometric_co2_of_the_fuels(fuel, pct):
    f = ex.FUELS[fuel]
    assert conc.co2_pct_general(0.0, 0.0, 0.0, 0.0, f.h_c, f.o_c) == pytest.approx(pct, abs=6e-3)


def test_ch2_overstates_natural_gas_by_27_percent():
    cng = ex.FUELS["cng"]
    actual = conc.co2_pct_general(0.0, 0.0, 0.0, 0.0, cng.h_c, cng.o_c)
    assert conc.co2_pct_feat121(0.0, 0.0, 0.0) / actual == pytest.approx(1.27, abs=5e-3)


@pytest.mark.parametrize(("fuel", "g_per_mol_c", "co2_max"), [
    ("ch2", 14.00, 3144), ("gasoline_e0", 13.90, 3167), ("gasoline_e5", 14.384, 3060),
    ("gasoline_e10", 14.54, 3026), ("diesel_b0", 13.89, 3169), ("diesel_b7", 14.10, 3122),
    ("cng", 15.94, 2761), ("lpg", 14.61, 3012)])
def test_carbon_of_the_fuels(fuel, g_per_mol_c, co2_max):
    assert 1000 / ex.FUELS[fuel].carbon_mol_per_kg == pytest.approx(g_per_mol_c, abs=6e-3)
    co2 = ex.co2_g_kg(0.0, 0.0, ex.convention_for_fuel(fuel))
    assert co2 == pytest.approx(co2_max, abs=0.6)


@given(ratios.filter(lambda q: abs(q) > 1e-9), st.floats(5, 16))
def test_ratio_and_concentration_are_inverse(q, co2):
    assert conc.ratio_from_pct(conc.pct_from_ratio(q, co2), co2) == pytest.approx(q)
    assert conc.ratio_from_ppm(conc.ppm_from_ratio(q, co2), co2) == pytest.approx(q)


def test_a_lean_diesel_is_overstated():
    actual = conc.tailpipe_from_stoichiometric(1795.0, 8.0, conc.co2_pct_feat121(0.0, 0.0, 0.0))
    assert actual == pytest.approx(954, abs=0.5)


def test_hc_bases():
    assert conc.hc_ppm_hexane(100.0) == 50
    assert conc.hc_ppm_propane(conc.hc_ppm_hexane(77.0)) == 77
    assert conc.hc_ppm_c1_fid(100.0) == 600
    assert conc.hc_ppm_c1_fid(100.0, 2.2) == pytest.approx(660)


def test_offset_put_back_is_the_offset_in_ppm():
    before = conc.hc_co2_before_offset(0.0002, 0.005, 0.0008, 40.0)
    co2 = conc.co2_pct_feat121(0.005, 0.0002, 0.0008)
    assert conc.ppm_from_ratio(before - 0.0002, co2) == pytest.approx(40)


# Conventions


def test_the_named_conventions():
    assert list(ex.CONVENTIONS) == ["conox", "feat", "emitr", "per_fuel"]
    for name, c in ex.CONVENTIONS.items():
        assert c.name == name
        assert c.source
        assert c.no_expressed_as in {"NO", "NO2"}
        is_as_no2 = c.no_g_mol == c.no2_g_mol
        assert is_as_no2 == (c.no_expressed_as == "NO2")
        assert c.hc_denominator in {3.0, 6.0}
    with pytest.raises(FrozenInstanceError):
        ex.CONVENTIONS["conox"].name = "other"


def test_conox_is_a_third_percent_above_1000_over_14_and_no_half_above_as_no():
    conox, feat, emitr = (ex.CONVENTIONS[k] for k in ("conox", "feat", "emitr"))
    assert 1 - emitr.carbon_mol_per_kg / conox.carbon_mol_per_kg == pytest.approx(0.0033, abs=5e-5)
    assert ex.no_g_kg(0.01, 0.001, 0.002, conox) / ex.no_g_kg(0.01, 0.001, 0.002, feat) == (
        pytest.approx(46 / 30))


def test_the_two_hc_denominators_differ_by_2_percent_at_0_007():
    six = ex.CONVENTIONS["feat"]
    three = replace(six, hc_denominator=3.0)
    share = ex.co_g_kg(0.01, 0.007, three) / ex.co_g_kg(0.01, 0.007, six) - 1
    assert share == pytest.approx(3 * 0.007 / (1 + 0.01 + 3 * 0.007), rel=1e-12)
    assert share == pytest.approx(0.02, abs=1e-3)


@given(ratios, small, small, CONVENTION)
def test_g_kg_has_the_sign_and_proportion_of_its_ratio(q, hc, p, convention):
    one = ex.no_g_kg(q, hc, p, convention)
    assert one * p >= 0
    assert ex.no_g_kg(q, hc, 2 * p, convention) == pytest.approx(2 * one)
    assert ex.no_g_kg(q, hc, -p, convention) == -one


@given(ratios, small, CONVENTION)
def test_carbon_is_conserved(q, hc, convention):
    carbon = (ex.co_g_kg(q, hc, convention) / convention.co_g_mol
              + ex.co2_g_kg(q, hc, convention) / ex.CO2_G_MOL
              + convention.hc_denominator * ex.hc_g_kg(q, hc, convention) / convention.hc_g_mol)
    assert carbon == pytest.approx(convention.carbon_mol_per_kg)


def test_every_canonical_fuel_has_a_convention():
    for fuel in columns.FUELS:
        c = ex.convention_for_fuel(fuel)
        assert c.name == "per_fuel"
        assert 30 < c.carbon_mol_per_kg < 75
    assert ex.convention_for_fuel("unknown").carbon_mol_per_kg == pytest.approx(1000 / 14)
    assert ex.convention_for_fuel("gasoline") == ex.convention_for_fuel("gasoline_e0")
    with pytest.raises(UsageError, match="no such fuel"):
        ex.convention_for_fuel("coal")


# NOx


def test_nox_examples():
    per_fuel = ex.CONVENTIONS["per_fuel"]
    assert ex.nox_as_no2_imputed(10.0, 0.1, per_fuel) == pytest.approx(17.04, abs=5e-3)
    assert ex.nox_as_no2_imputed(10.0, 0.0, per_fuel) == pytest.approx(15.332, abs=5e-4)
    conox = ex.CONVENTIONS["conox"]  # its NO is expressed as NO2 already
    assert ex.nox_g_kg_from_no_no2(13.33, 1.74, conox) == pytest.approx(15.07)
    assert ex.nox_as_no2_imputed(10.0, 0.0, conox) == 10


@given(ratios, small, st.floats(0.0001, 0.03), st.floats(0, 0.9), CONVENTION)
def test_imputed_nox_is_the_measured_one_where_the_fraction_is_true(q, hc, no, f, convention):
    no2 = no * f / (1 - f)
    measured = ex.nox_g_kg_from_no_no2(ex.no_g_kg(q, hc, no, convention),
                                       ex.no2_g_kg(q, hc, no2, convention), convention)
    imputed = ex.nox_as_no2_imputed(ex.no_g_kg(q, hc, no, convention), f, convention)
    assert imputed == pytest.approx(measured)


def test_no2_fractions():
    for (fuel, stage), f in ex.NO2_FRACTION.items():
        assert fuel in columns.FUELS
        assert stage is None or 0 <= stage <= 6
        assert 0.03 <= f <= 0.5
    diesel = [ex.NO2_FRACTION["diesel", s] for s in range(7)]
    assert diesel == [0.07, 0.07, 0.07, 0.07, 0.08, 0.12, 0.35]
    assert {ex.NO2_FRACTION[f, s] for f in ("gasoline", "lpg", "cng", "hybrid")
            for s in (None, *range(7))} == {0.05}
    assert len(ex.NO2_FRACTION) == 4 * 8 + 7
    assert ex.NO2_FRACTION_LIGHT_DIESEL_CATALYST == 0.30
    assert ("diesel", None) not in ex.NO2_FRACTION
    keys = set(itertools.product(("gasoline", "diesel"), range(7)))
    assert set(ex.NO2_FRACTION_HBEFA) == keys


def test_hbefa_fractions_are_those_of_the_published_table():
    path = SHARED / "realdata/zurich-awel/rsd_auxiliary.csv"
    if not path.exists():
        pytest.skip("the published table is not here")
    lines = [line.split(";") for line in path.read_text(encoding="utf-8-sig").splitlines()]
    found = [r for r in lines if r[3] == "fraction_no2_hbefa" and r[2].startswith("Euro")]
    assert len(found) > 30
    for _, fuel, euro, _, value, *_ in found:
        assert ex.NO2_FRACTION_HBEFA[fuel, int(euro[4])] == float(value)


def test_fuels_are_those_of_the_specification():
    """H/C, three digits of the carbon fraction and the density of the table of fuels."""
    path = SHARED / "domain/science.md"
    if not path.exists():
        pytest.skip("the specification is not here")
    names = {"CH2 convention": "ch2", "gasoline E0": "gasoline_e0",
             "gasoline E10 (Fujian mainly E0)": "gasoline_e10", "diesel B0": "diesel_b0",
             "diesel B7": "diesel_b7", "CNG/LNG": "cng", "LPG": "lpg"}
    rows = [[c.strip() for c in line.strip("|").split("|")]
            for line in path.read_text(encoding="utf-8").splitlines()]
    table = [r for r in rows if r[0] in names and len(r) == 7]
    assert len(table) == len(names)
    for name, x, carbon, g_per_mol, _, density, co2 in table:
        fuel = ex.FUELS[names[name]]
        if x[0].isdigit():
            assert fuel.h_c == float(x.split(",")[0])
            assert fuel.o_c == float(x.split()[-1] if "," in x else 0)
        assert fuel.carbon_fraction == pytest.approx(float(carbon), abs=5.1e-4)
        assert 1000 / fuel.carbon_mol_per_kg == pytest.approx(float(g_per_mol), abs=6e-3)
        assert fuel.density_kg_l == (float(density) if density[0].isdigit() else None)
        assert ex.co2_g_kg(0.0, 0.0, ex.convention_for_fuel(names[name])) == pytest.approx(
            float(co2), abs=0.6)


def test_grams_per_gallon():
    assert ex.co_g_gal(1.0, 0.02) == pytest.approx(357.5, abs=0.05)
    assert ex.hc_g_gal(1.0, 0.02) == pytest.approx(22.45, abs=5e-3)
    assert ex.no_g_gal(1.0, 0.02, 0.05) == pytest.approx(19.16, abs=5e-3)
