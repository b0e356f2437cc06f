"""Units: exact factors, and the geometry of slopes."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd import units
from rsd.columns import PASSES
from rsd.errors import UsageError

MAX_GRADE = math.tan(math.radians(12))
slopes_deg = st.floats(-12, 12)


@pytest.mark.parametrize(("value", "source", "canonical", "expected"), [
    (36.0, "km/h", "m/s", 10.0),
    (10.0, "m/s", "km/h", 36.0),
    (60.0, "mph", "km/h", 96.56064),
    (1.0, "mph", "m/s", 0.44704),
    (10.0, "knot", "m/s", 5.144444444444445),
    (1.0, "km/h/s", "m/s2", 0.2777777777777778),
    (1.0, "mph/s", "m/s2", 0.44704),
    (1.0, "g", "m/s2", 9.80665),
    (1500.0, "ppm", "%", 0.15),
    (0.15, "%", "ppm", 1500.0),
    (0.3, "fraction", "%", 30.0),
    (1500.0, "ppb", "ppm", 1.5),
    (1500.0, "mg/kg", "g/kg", 1.5),
    (1013.25, "mbar", "kPa", 101.325),
    (10.0, "knot", "km/h", 18.52),
    (7.0, "W/kg", "kW/t", 7.0),
    (50.0, "ppm hexane", "ppm", 100.0),
    (105.39, "ppm/%", "mol/mol", 0.010539),
    (298.15, "K", "C", 25.0),
    (212.0, "F", "C", 100.0),
    (32.0, "F", "C", 0.0),
    (1013.25, "hPa", "kPa", 101.325),
    (101325.0, "Pa", "kPa", 101.325),
    (760.0, "mmHg", "kPa", 101.325),
    (760 / 25.4, "inHg", "kPa", 101.325),
    (1.0, "atm", "kPa", 101.325),
    (1.01325, "bar", "kPa", 101.325),
    (math.pi / 180, "rad", "degree", 1.0),
    (6.0, "%", "degree", math.degrees(math.atan(0.06))),
    (0.06, "rise/run", "degree", math.degrees(math.atan(0.06))),
])
def test_to_canonical(value, source, canonical, expected):
    assert units.to_canonical(value, source, canonical) == pytest.approx(expected, rel=1e-14,
                                                                         abs=1e-13)


def test_every_canonical_unit_of_a_measured_column_has_an_identity():
    measured = {c.unit for c in PASSES if c.dtype == pl.Float64}
    assert measured
    for unit in measured:
        assert units.TO_CANONICAL[unit, unit] == (1.0, 0.0)
        assert units.to_canonical(-0.0, unit, unit) == 0.0
        assert math.copysign(1, units.to_canonical(-0.0, unit, unit)) == -1  # untouched


def test_every_pair_ends_in_a_unit_of_the_columns():
    canonical = {c.unit for c in PASSES}
    assert {c for _, c in units.TO_CANONICAL} <= canonical


def test_factors_of_opposite_directions_are_inverse():
    table = units.TO_CANONICAL
    pairs = [(a, b) for a, b in table if (b, a) in table]
    assert ("km/h", "m/s") in pairs
    for a, b in pairs:
        assert table[a, b][0] * table[b, a][0] == pytest.approx(1, rel=1e-15)
    km_h, m_s, knot = units.KM_H_TO_MPH, units.M_S_TO_MPH, units.KNOT_TO_M_S
    assert km_h * units.MPH_TO_KM_H == pytest.approx(1, rel=1e-15)
    assert m_s * units.MPH_TO_M_S == pytest.approx(1, rel=1e-15)
    assert knot * units.M_S_TO_KM_H == pytest.approx(1.852, rel=1e-15)
    assert units.PROPANE_TO_HEXANE * units.HEXANE_TO_PROPANE == 1


def test_unknown_unit_is_a_usage_error_that_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no conversion to 'km/h'.*furlong.*'mph'"):
        units.to_canonical(1.0, "furlong", "km/h")
    with pytest.raises(UsageError, match="rise/run"):
        units.to_canonical(1.0, "m/s", "degree")


@given(slopes_deg)
def test_grade_from_slope_is_the_tangent(slope):
    expected = math.tan(math.radians(slope))
    assert units.grade_from_slope_deg(slope) == pytest.approx(expected, rel=1e-13, abs=0)


@given(st.floats(-MAX_GRADE, MAX_GRADE))
def test_slope_from_grade_is_the_arc_tangent(grade):
    expected = math.degrees(math.atan(grade))
    assert units.slope_deg_from_grade(grade) == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_stated_error_beyond_the_range():
    assert units.grade_from_slope_deg(30.0) == pytest.approx(math.tan(math.pi / 6), rel=2e-6)


@given(st.floats(-1e6, 1e6))
def test_sine_of_any_grade(grade):
    expected = math.sin(math.atan(grade))
    assert units.sin_slope_from_grade(grade) == pytest.approx(expected, rel=1e-14, abs=1e-300)


@given(st.floats(-21, 21))
def test_slope_in_percent_goes_to_degrees_and_back(slope_pct):
    there = units.slope_deg_from_pct(slope_pct)
    assert units.slope_pct_from_deg(there) == pytest.approx(slope_pct, rel=1e-13, abs=1e-300)
    assert units.grade_from_slope_deg(there) == pytest.approx(
        units.grade_from_slope_pct(slope_pct), rel=1e-13, abs=1e-300)


def test_slope_examples():
    assert units.grade_from_slope_deg(2.0) == pytest.approx(0.0349, abs=5e-5)  # 2° = 3.49 %
    assert units.sin_slope_from_grade(0.06) == pytest.approx(0.05989, abs=5e-6)


@pytest.mark.parametrize("name", ["sqrt", "log", "exp"])
@given(x=st.floats(1e-6, 500))
def test_elementary_functions_agree(name, x):
    here = units.elementary(name, x)
    there = units.elementary(name, np.array([x, x]))
    frame = pl.DataFrame({"x": [x, None]})
    over = frame.select(y=units.elementary(name, pl.col("x")))["y"]
    assert over[1] is None
    tolerance = 0 if name == "sqrt" else 4e-16
    assert there[0] == pytest.approx(here, rel=tolerance, abs=0)
    assert over[0] == pytest.approx(here, rel=tolerance, abs=0)
    assert units.elementary(name, frame["x"])[0] == over[0]


@pytest.mark.parametrize(("name", "x", "expected"), [
    ("log", 0.0, -math.inf), ("log", -1.0, math.nan), ("sqrt", -1.0, math.nan),
    ("exp", 1e4, math.inf),
])
def test_elementary_functions_outside_their_domain_are_silent_and_equal(name, x, expected):
    results = [
        units.elementary(name, x),
        float(units.elementary(name, np.array([x]))[0]),
        pl.DataFrame({"x": [x]}).select(units.elementary(name, pl.col("x"))).item(),
    ]
    assert results == pytest.approx([expected] * 3, nan_ok=True)


# --- units as vendors write them ------------------------------------------------------------------


@pytest.mark.parametrize(("text", "unit"), [
    ("km/h", "km/h"), (" KPH ", "km/h"), ("千米/小时", "km/h"), ("m s", None), ("m/s²", "m/s2"),
    ("米/秒2", "m/s2"), ("℃", "C"), ("°C", "C"), ("K", "K"), ("kPa", "kPa"), ("Pa", "Pa"),
    ("vol %", "%"), ("％", "%"), ("ppm C3", "ppm propane"), ("ppm", "ppm"), ("V", None),
    ("", None)])
def test_a_unit_is_known_in_its_spellings(text: str, unit: str | None) -> None:
    assert units.unit_named(text) == unit


def test_every_unit_of_the_table_is_named_by_itself_and_no_spelling_twice() -> None:
    sources = {s for s, _ in [*units.TO_CANONICAL, *units._NOT_LINEAR]}
    plain = {s for s in sources if " " not in s and s not in ("%/%", "ppm/ppm")}
    assert {units.unit_named(s) for s in plain} == plain
    every = [w for unit, more in units._SPELLINGS.items()
             for w in {unit.replace(" ", "").casefold(), *more.split()}]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(("source", "canonical", "value", "wanted"), [
    ("ppm hexane", "ppm", 40.0, 80.0), ("% hexane", "ppm", 0.004, 80.0),
    ("ppm/% hexane", "mol/mol", 10.0, 0.002), ("mol/mol hexane", "mol/mol", 0.001, 0.002),
    ("%/% hexane", "mol/mol", 0.001, 0.002), ("% propane", "ppm", 0.004, 40.0)])
def test_hexane_is_two_propanes(source: str, canonical: str, value: float, wanted: float) -> None:
    assert units.to_canonical(value, source, canonical) == pytest.approx(wanted, rel=1e-14)


def test_a_conversion_in_words() -> None:
    assert [units.conversion(*pair) for pair in [
        ("mph", "km/h"), ("K", "C"), ("F", "C"), ("ppm", "ppm"), ("%", "degree")]] == [
        "x 1.60934", "- 273.15", "x 0.555556 - 17.7778", None, "arc tangent"]


@pytest.mark.parametrize("grade", [0.001, 0.015, 0.06, 0.2, 0.45, 1.0, 3.0, 9.0, -9.0, 1e6])
def test_a_grade_of_any_size_is_an_angle(grade: float) -> None:
    angle_deg = math.degrees(math.atan(grade))
    assert units.slope_deg_from_grade(grade) == pytest.approx(angle_deg, rel=1e-12)
