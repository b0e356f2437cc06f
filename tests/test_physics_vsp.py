"""Specific power: the forms, their examples in the literature, sensitivity and bins."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.physics import vsp
from rsd.units import KM_H_TO_M_S, M_S_TO_MPH, grade_from_slope_deg, sin_slope_from_grade

V50 = 50 * KM_H_TO_M_S
finite = st.floats(-100, 100)


@pytest.mark.parametrize(("km_h", "a", "deg", "jimenez", "epa"), [
    (36, 0.5, 0, 7.122, 7.276),
    (36, 0.5, 1, 8.834, 8.980),
    (50, 0.3, 2, 11.981, 12.170),
    (60, -0.5, 0, -5.569, -5.325),
    (72, 0.6, 1.5, 23.392, 23.678),
    (0, 0.3, 2, 0, 0),
])
def test_the_table_of_two_forms(km_h, a, deg, jimenez, epa):
    sine = sin_slope_from_grade(grade_from_slope_deg(deg))  # the table has the sine in both forms
    v = km_h * KM_H_TO_M_S
    assert vsp.vsp_jp1999(v, a, sine) == pytest.approx(jimenez, abs=5.1e-4)
    mph = vsp.vsp_mph_4364(v * M_S_TO_MPH, a * M_S_TO_MPH, sine)
    assert mph == pytest.approx(epa, abs=1.1e-3)


def test_a_platform_record_is_reproduced_by_the_remote_sensing_form_alone():
    v, a, grade = 46.81 * KM_H_TO_M_S, 0.21, grade_from_slope_deg(0.2)
    sine = sin_slope_from_grade(grade)
    assert vsp.vsp_rs_si(v, a, grade) == pytest.approx(6.889, abs=5e-4)  # stored: 6.89
    assert vsp.vsp_jp1999(v, a, grade) == pytest.approx(5.829, abs=5e-4)
    assert vsp.vsp_mph_4364(v * M_S_TO_MPH, a * M_S_TO_MPH, sine) == pytest.approx(6.024, abs=5e-4)


def test_forms_differ_by_1_13_at_50_km_h():
    assert vsp.vsp_rs_si(V50, 0.5, 0.02) - vsp.vsp_jp1999(V50, 0.5, 0.02) == pytest.approx(
        1.13, abs=5e-3)


@given(st.floats(1, 40), st.floats(0, 3), st.floats(0, 0.1))
def test_mph_form_is_the_si_form_in_other_units(v, a, grade):
    mph = vsp.vsp_mph_439(v * M_S_TO_MPH, a * M_S_TO_MPH, grade)
    assert mph == pytest.approx(vsp.vsp_rs_si(v, a, grade), rel=2.5e-3)


def test_a_sign_error_of_the_grade():
    up, down = vsp.vsp_rs_si(V50, 0.5, 0.03), vsp.vsp_rs_si(V50, 0.5, -0.03)
    assert up - down == pytest.approx(8.2, abs=0.05)


def test_headwind_is_in_the_drag_only():
    assert vsp.vsp_rs_si(20.0, 0.3, 0.0, 5.0) == pytest.approx(14.6725, rel=1e-12)
    assert vsp.vsp_rs_si(0.0, 0.3, 0.0, 5.0) == 0


@given(finite, finite, finite)
def test_no_speed_no_power(a, grade, wind):
    assert vsp.vsp_rs_si(0.0, a, grade, wind) == 0
    assert vsp.vsp_jp1999(0.0, a, grade) == 0
    assert vsp.vsp_mph_439(0.0, a, grade) == 0
    assert vsp.vsp_mph_4364(0.0, a, grade) == 0


def test_moves_scaled_power_is_no_specific_power():
    truck = vsp.MOVES[62]
    assert vsp.moves_stp(V50, 0.5, 0.02, truck) == pytest.approx(15.58, abs=5e-3)
    assert vsp.vsp_moves(V50, 0.5, 0.02, truck) == pytest.approx(10.91, abs=5e-3)


def test_moves_table_light_types_are_scaled_by_their_mass():
    light = {11, 21, 31, 32}
    assert {k for k, t in vsp.MOVES.items() if t.fixed_mass_t == t.mass_t} == light
    assert {t.fixed_mass_t for k, t in vsp.MOVES.items() if k not in light} == {17.1}
    assert len({t.name for t in vsp.MOVES.values()}) == 12
    for t in (vsp.MOVES[k] for k in light):
        assert vsp.moves_stp(V50, 0.5, 0.02, t) == vsp.vsp_moves(V50, 0.5, 0.02, t)


def test_moves_table_is_that_of_the_specification():
    path = Path(__file__).resolve().parents[1].parent / "shared/domain/science.md"
    if not path.exists():
        pytest.skip("the specification is not here")
    found = re.findall(r"^\| (\d\d) ([a-z ]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
                       path.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {int(number): (name, *map(float, rest)) for number, name, *rest in found}
    assert listed == {
        number: (t.name, t.rolling_kw_s_m, t.rotating_kw_s2_m2, t.drag_kw_s3_m3, t.mass_t)
        for number, t in vsp.MOVES.items()}


def test_road_load_at_standstill_is_the_auxiliary_load():
    assert vsp.vsp_road_load(0.0, 1.0, 0.1) == pytest.approx(2500 / 1750)


def test_road_load_depends_on_mass_through_resistance_only():
    light, heavy = (vsp.vsp_road_load(15.0, 0.3, 0.01, mass_kg=m) for m in (1000.0, 2000.0))
    motion = 15.0 * (1.04 * 0.3 + 9.81 * 0.01)
    assert light - motion == pytest.approx(2 * (heavy - motion))


def test_sigma_is_mostly_acceleration():
    assert vsp.vsp_sigma(V50, 0.5, 0.02, 0.447, 0.22, 0.003) == pytest.approx(3.42, abs=5e-3)
    only = vsp.vsp_sigma(V50, 0.5, 0.02, 0.0, 0.22, 0.0)
    assert only == pytest.approx(1.1 * V50 * 0.22)


@given(st.floats(2, 40), st.floats(-3, 3), st.floats(-0.1, 0.1))
def test_sigma_has_the_slopes_of_vsp(v, a, grade):
    h = 1e-4
    slopes = (
        (vsp.vsp_rs_si(v + h, a, grade) - vsp.vsp_rs_si(v - h, a, grade)) / (2 * h),
        (vsp.vsp_rs_si(v, a + h, grade) - vsp.vsp_rs_si(v, a - h, grade)) / (2 * h),
        (vsp.vsp_rs_si(v, a, grade + h) - vsp.vsp_rs_si(v, a, grade - h)) / (2 * h),
    )
    sd = (0.447, 0.22, 0.003)
    expected = math.hypot(*(s * d for s, d in zip(slopes, sd, strict=True)))
    assert vsp.vsp_sigma(v, a, grade, *sd) == pytest.approx(expected, rel=1e-6)


def test_ncsu_modes_contain_their_lower_edge():
    for mode, edge in enumerate(vsp.NCSU_EDGES_KW_T, start=2):
        assert vsp.ncsu_mode(edge) == mode
        assert vsp.ncsu_mode(math.nextafter(edge, -math.inf)) == mode - 1
    assert (vsp.ncsu_mode(-1e9), vsp.ncsu_mode(1e9)) == (1, 14)


def test_reporting_bins_contain_their_lower_edge_and_the_last_its_upper():
    edges = [0, 3, 6, 9, 12, 15, 18]
    for number, edge in enumerate(edges, start=1):
        assert vsp.reporting_bin(edge) == number
        assert vsp.reporting_bin(math.nextafter(edge, -math.inf)) == number - 1
    assert vsp.reporting_bin(22.0) == 7
    assert vsp.reporting_bin(math.nextafter(22.0, math.inf)) == 0


SLOW = {11: -math.inf, 12: 0, 13: 3, 14: 6, 15: 9, 16: 12}
MEDIUM = {21: -math.inf, 22: 0, 23: 3, 24: 6, 25: 9, 27: 12, 28: 18, 29: 24, 30: 30}
FAST = {33: -math.inf, 35: 6, 37: 12, 38: 18, 39: 24, 40: 30}


@pytest.mark.parametrize(("speeds", "modes"), [
    ((1.0, 24.99), SLOW), ((25.0, 49.99), MEDIUM), ((50.0, 90.0), FAST)])
def test_every_edge_of_the_moves_modes(speeds, modes):
    for v in speeds:
        for (below, _), (code, edge) in pairwise(modes.items()):
            assert vsp.moves_operating_mode(v, float(edge), 0.0) == code
            under = math.nextafter(edge, -math.inf)
            assert vsp.moves_operating_mode(v, under, 0.0) == below


def test_braking_comes_first_then_idle():
    mode = vsp.moves_operating_mode
    assert mode(0.5, 40.0, -2.0) == 0
    assert mode(0.99, 40.0, -1.99) == 1
    assert mode(-0.5, 0.0, 0.0) == 1
    assert mode(60.0, 40.0, -1.5) == 40
    assert mode(60.0, 40.0, -1.5, -1.1, -1.1) == 0
    assert mode(60.0, 40.0, -1.5, -1.1, -1.0) == 40
    assert mode(60.0, 40.0, -1.0, -1.1, -1.1) == 40
