"""A column in a wrong unit is found in any few hundred records, and no honest file is accused."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_reading import read_path

from rsd.columns import REPORTED
from rsd.intake.figures import MIN_VALUES
from rsd.intake.formats import formats
from rsd.intake.ranges import Doubt, RangeProfile, ranges
from rsd.physics.vsp import vsp_jp1999, vsp_mph_4364, vsp_rs_si
from rsd.synthetic import simulate
from rsd.units import to_canonical

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
CANONICAL = {c.name: c.unit for c in REPORTED}
SUBSETS = 10
RATIO_UNITS = {"% of CO2": 100.0, "ppm of CO2": 1e6}

CLAIMED = [
    *(("speed_km_h", d, t) for d in ("km/h", "m/s", "mph") for t in ("km/h", "m/s", "mph")),
    *(("acceleration_m_s2", d, t) for d in ("m/s2", "km/h/s", "mph/s")
      for t in ("m/s2", "km/h/s", "mph/s")),
    ("slope_deg", "degree", "%"), ("slope_deg", "%", "degree"), ("slope_deg", "degree", "rise/run"),
    *((c, d, t) for c in ("co_co2", "hc_co2", "no_co2") for d in ("mol/mol", "ppm/%")
      for t in ("mol/mol", "% of CO2", "ppm/%", "ppm of CO2")),
    *((c, d, t) for c in ("co2_pct", "co_pct") for d in ("%", "ppm", "fraction")
      for t in ("%", "ppm", "fraction")),
    *((c, d, t) for c in ("hc_ppm", "no_ppm") for d in ("%", "ppm") for t in ("%", "ppm")),
    *((c, d, t) for c in ("opacity_pct", "relative_humidity_pct", "plate_confidence_pct")
      for d in ("%", "fraction") for t in ("%", "fraction")),
    *(("air_temperature_c", d, t) for d, t in (("C", "K"), ("K", "C"), ("C", "F"))),
    *(("pressure_kpa", d, t) for d in ("kPa", "hPa") for t in ("kPa", "hPa", "Pa")),
    ("pressure_kpa", "kPa", "mmHg"),
]  # fmt: skip
"""Column, declared unit, the unit that the file is really in."""
WRONG = [c for c in CLAIMED if c[1] != c[2]]
RIGHT = sorted({(c, d) for c, d, _ in CLAIMED})


def declared_by(format_id: str) -> dict[str, tuple[str, str]]:
    return {r.to: (source, r.unit) for source, r in formats()[format_id].real.items()}


@functools.cache
def city() -> pl.DataFrame:
    """All records of one day of a synthetic city."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "city"
        simulate(out, vehicles=20_000, days=1, seed=11)
        return pl.concat(read_path(p).frame for p in sorted((out / "dumps").glob("*.csv")))


def findings(frame: pl.DataFrame, declared: Mapping[str, tuple[str, str]]) -> list[Doubt]:
    profile = RangeProfile(declared)
    profile.add(frame)
    return profile.findings()


def written_in(frame: pl.DataFrame, column: str, declared: str, true: str) -> pl.DataFrame:
    """The frame as intake makes it of a file whose column is in another unit than declared."""
    unit = CANONICAL[column]
    cells = pl.Series(column, in_file(frame[column].to_numpy(), true, unit), nan_to_null=True)
    return frame.with_columns(to_canonical(cells, declared, unit).alias(column))


def in_file(values: np.ndarray, true: str, canonical: str) -> np.ndarray:
    """What stands in a file, in its true unit."""
    if true in RATIO_UNITS:
        return values * RATIO_UNITS[true]
    if canonical == "degree" and true != "degree":
        return np.tan(np.radians(values)) * (100.0 if true == "%" else 1.0)
    zero, one = (float(to_canonical(x, true, canonical)) for x in (0.0, 1.0))
    return (values - zero) / (one - zero)


@pytest.mark.parametrize(("column", "declared", "true"), WRONG,
                         ids=lambda v: v if isinstance(v, str) else None)
def test_a_wrong_unit_is_found_in_any_five_hundred_records(column: str, declared: str,
                                                           true: str) -> None:
    units = declared_by("cn_platform") | {column: ("vendor_name", declared)}
    wrong, draw = written_in(city(), column, declared, true), np.random.default_rng(3)
    found = 0
    for _ in range(SUBSETS):
        some = wrong[draw.choice(wrong.height, int(draw.integers(500, 1500)), replace=False)]
        doubts = findings(some, units)
        found += [d.column for d in doubts] == [column] and true in doubts[0].likely
        assert not {d.column for d in doubts} - {column}
    assert found >= 0.95 * SUBSETS


@pytest.mark.parametrize(("column", "declared"), RIGHT)
def test_the_right_unit_is_not_doubted_whichever_it_is(column: str, declared: str) -> None:
    """The inverse of a declaration is exact enough that every candidate is judged alike."""
    units = declared_by("cn_platform") | {column: ("vendor_name", declared)}
    assert findings(city(), units) == []


def test_no_site_of_the_city_is_doubted() -> None:
    for _, records in city().group_by("site_id"):
        assert findings(records, declared_by("cn_platform")) == []


def test_no_part_of_the_city_is_doubted() -> None:
    draw = np.random.default_rng(5)
    for _ in range(60):
        some = city()[draw.choice(city().height, int(draw.integers(1, 2000)), replace=False)]
        assert findings(some, declared_by("cn_platform")) == []


@functools.cache
def conox() -> pl.DataFrame:
    path = SHARED / "realdata" / "conox-uk" / "conox_uk.csv.gz"
    if not path.exists():
        pytest.skip("the CONOX records are not on this machine")
    return read_path(path, "Europe/London").frame


def test_no_part_of_the_real_records_is_doubted() -> None:
    units, draw = declared_by("conox"), np.random.default_rng(6)
    assert findings(conox(), units) == []
    for _, records in conox().group_by("site_id", "line_id", pl.col("measured_local").dt.date()):
        assert findings(records, units) == []
    for _ in range(30):
        some = conox()[draw.choice(conox().height, int(draw.integers(1, 3000)), replace=False)]
        assert findings(some, units) == []


@pytest.mark.parametrize(("column", "true"), [
    ("speed_km_h", "mph"), ("speed_km_h", "m/s"), ("acceleration_m_s2", "m/s2"),
    ("co_co2", "% of CO2"), ("hc_co2", "ppm/%"), ("no_co2", "% of CO2"), ("no2_co2", "ppm/%"),
    ("nh3_co2", "ppm/%"), ("co_g_kg_reported", "mg/kg"), ("slope_deg", "rise/run"),
])
def test_a_wrong_unit_is_found_in_real_records(column: str, true: str) -> None:
    units, draw = declared_by("conox"), np.random.default_rng(7)
    wrong = written_in(conox(), column, units[column][1], true)
    found = 0
    for _ in range(SUBSETS):
        doubts = findings(wrong[draw.choice(wrong.height, 700, replace=False)], units)
        found += [d.column for d in doubts] == [column] and true in doubts[0].likely
    assert found >= 0.95 * SUBSETS


# -- odd sites and fleets, all in the units that are declared --------------------------------------

FORMS = {"rs_si": vsp_rs_si, "jp1999": vsp_jp1999,
         "epa": lambda v, a, g: vsp_mph_4364(v / 0.44704, a / 0.44704, np.sin(np.arctan(g))),
         "flat": lambda v, a, g: vsp_rs_si(v, a, 0.0 * g),
         "truck": lambda v, a, g: v * (a + 9.81 * g + 0.09) + 0.0002 * v * v * v,
         "noise": lambda v, a, g: np.random.default_rng(1).normal(5, 8, v.size)}


def odd_file(seed: int, rows: int, speed: float, ramp: float, slope: float, slopes: int,
             dirt: float, noise: float, lean: float, form: str, weather: tuple[float, float, float],
             digits: int) -> pl.DataFrame:
    """Passes at an odd site: speed [km/h], mean acceleration [m/s2], slope [degree], dirt × fleet
    mean, noise × an instrument's, CO2 × stoichiometric, form of specific power, air."""
    draw = np.random.default_rng(seed)
    v = np.abs(draw.normal(speed, 0.15 * speed + 2, rows))
    a = draw.normal(ramp, 0.5, rows)
    deg = slope + (draw.integers(0, slopes, rows) - slopes // 2) * 0.4
    gas = {g: dirt * m * draw.gamma(0.3, 1 / 0.3, rows) + noise * s * draw.standard_t(4, rows)
           for g, m, s in (("co", 0.005, 0.0025), ("hc", 2e-4, 2e-4), ("no", 8e-4, 4e-4))}
    co2 = lean * 42 / (2.79 + 2 * gas["co"] + 0.42 * gas["hc"])
    power = FORMS[form](v / 3.6, a, np.tan(np.radians(deg)))
    columns = {
        "speed_km_h": v, "acceleration_m_s2": a, "slope_deg": deg, "vsp_device_kw_t": power,
        "co_co2": gas["co"], "hc_co2": gas["hc"], "no_co2": gas["no"], "co2_pct": co2,
        "co_pct": gas["co"] * co2, "hc_ppm": 1e4 * gas["hc"] * co2,
        "no_ppm": 1e4 * gas["no"] * co2,
        "opacity_pct": np.maximum(draw.normal(0, max(noise, 0.4), rows), -2) + dirt * draw.gamma(
            0.3, 1.0, rows),
        "air_temperature_c": draw.normal(weather[0], 2, rows),
        "relative_humidity_pct": np.clip(draw.normal(weather[1], 5, rows), 2, 100),
        "pressure_kpa": draw.normal(weather[2], 0.1, rows),
        "plate_confidence_pct": np.clip(draw.normal(92, 6, rows), 0, 100),
    }
    rounded = {n: np.round(x, digits if n[-4:] != "_co2" else digits + 4)
               for n, x in columns.items()}
    return pl.DataFrame({"site_id": ["S"] * rows, **rounded})


ODD = st.builds(
    odd_file, seed=st.integers(0, 2**32), rows=st.integers(1, 1200), speed=st.floats(6, 130),
    ramp=st.floats(-1.5, 1.8), slope=st.floats(-6, 6), slopes=st.integers(1, 4),
    dirt=st.floats(0.02, 15), noise=st.floats(0.2, 3), lean=st.floats(0.2, 1),
    form=st.sampled_from(sorted(FORMS)), digits=st.integers(2, 6),
    weather=st.tuples(st.floats(-35, 45), st.floats(8, 100), st.floats(52, 106)))


@settings(max_examples=100)
@given(ODD)
def test_an_odd_site_or_fleet_is_not_doubted(frame: pl.DataFrame) -> None:
    own = {c: (c, CANONICAL[c]) for c in frame.columns if c in ranges() or c.startswith("vsp")}
    assert findings(frame, own) == []


@pytest.mark.parametrize("form", ["jp1999", "epa", "flat"])
def test_another_set_of_coefficients_is_not_taken_for_another_slope(form: str) -> None:
    """At one slope of about 1 degree, a rolling term less is what a slope in percent would do."""
    for slope in np.arange(0.8, 1.2, 0.01):
        frame = odd_file(1, 400, 50, 0.3, float(slope), 1, 1, 1, 1, form, (20, 60, 101), 6)
        own = {c: (c, CANONICAL[c]) for c in frame.columns if c in ranges() or c[:3] == "vsp"}
        assert findings(frame, own) == []


def test_hexane_is_no_unit_in_doubt_and_hides_none() -> None:
    own = declared_by("cn_platform")
    hexane = city().with_columns(pl.col("hc_ppm") * 0.5)
    assert findings(hexane, own) == []
    (doubt,) = findings(written_in(hexane, "hc_co2", "ppm/%", "% of CO2"), own)
    assert (doubt.column, doubt.likely) == ("hc_co2", ("% of CO2",))


# -- the rest ----------------------------------------------------------------------------------


def test_a_small_file_is_never_doubted() -> None:
    wrong = written_in(city(), "air_temperature_c", "C", "K")
    own = declared_by("cn_platform")
    assert findings(wrong[:MIN_VALUES - 1], own) == []
    assert [d.column for d in findings(wrong[:MIN_VALUES], own)] == ["air_temperature_c"]


def test_two_columns_of_one_system_of_units_are_both_named() -> None:
    wrong = written_in(city(), "speed_km_h", "km/h", "mph")
    wrong = written_in(wrong, "acceleration_m_s2", "m/s2", "mph/s")
    doubts = findings(wrong, declared_by("cn_platform"))
    assert [(d.column, d.source, d.likely) for d in doubts] == [
        ("speed_km_h", "clsd", ("mph",)), ("acceleration_m_s2", "cljsd", ("mph/s",))]


def test_one_site_of_many_whose_slope_is_in_percent() -> None:
    of_site = pl.col("site_id") == "A350206001"
    wrong = pl.concat([city().filter(~of_site),
                       written_in(city().filter(of_site), "slope_deg", "degree", "%")])
    profile = RangeProfile(declared_by("cn_platform"))
    for part in wrong.sort("measured_local").iter_slices(1000):
        profile.add(part)
    (doubt,) = profile.findings()
    assert (doubt.column, doubt.likely) == ("slope_deg", ("%",))
    assert "one of the sites" in doubt.evidence[0]


def test_the_words_of_a_doubt_name_column_units_figures_and_what_to_do() -> None:
    (doubt,) = findings(written_in(city(), "speed_km_h", "km/h", "m/s"), declared_by("cn_platform"))
    text = str(doubt)
    for word in ("clsd", "speed_km_h", "declared km/h", "likely m/s", "kW/t", "records", "Ask"):
        assert word in text


def test_the_chunks_make_no_difference_to_what_is_found() -> None:
    wrong = written_in(city(), "no_ppm", "ppm", "%")
    profile = RangeProfile(declared_by("cn_platform"))
    for _ in range(12):
        for part in wrong.iter_slices(700):
            profile.add(part)
    assert [d.column for d in profile.findings()] == ["no_ppm"]


def test_a_column_without_values_says_nothing() -> None:
    frame = city().with_columns(pl.lit(None, pl.Float64).alias(c) for c in ranges())
    assert findings(frame, declared_by("cn_platform")) == []
    assert findings(frame.clear(), declared_by("cn_platform")) == []
    assert findings(city(), {}) == []


def test_every_range_is_of_a_column_and_allows_what_it_calls_usual() -> None:
    for name, expected in ranges().items():
        assert CANONICAL[name] == expected.units[0]
        assert expected.possible[0] <= expected.usual[0] < expected.usual[1] <= expected.possible[1]
        assert expected.reason
