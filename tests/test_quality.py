"""Gates and flags of the quality profiles."""

import copy

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd import quality
from rsd.columns import PASSES, VALIDITY, schema
from rsd.errors import UsageError
from rsd.reasons import REASONS, codes, mask

GOOD = {
    "vsp_device_kw_t": None, "vsp_kw_t": 8.0, "speed_km_h": 50.0, "acceleration_m_s2": 0.3,
    "wind_speed_m_s": 2.0, "relative_humidity_pct": 70.0, "air_temperature_c": 20.0,
    "pressure_kpa": 101.0, "co2_raw_pct": 1.0, "co2_pct": 14.0, "co_pct": 0.2, "hc_ppm": 80.0,
    "no_ppm": 300.0, "no2_ppm": 20.0, "nh3_co2": 1e-4, "opacity_pct": 5.0, "ringelmann": 0.0,
    "plate_confidence_pct": 97.0, "co_co2": 0.01, "hc_co2": 5e-4, "no_co2": 2e-3,
    "no2_co2": 1e-4, "nox_g_kg": 10.0,
}  # fmt: skip
FLAGS = ["is_valid", *(f"is_valid_{p}" for p in VALIDITY)]


def judge(profile_name="hj845", bits=0, **values):
    """Return the reason codes and the flags of one pass."""
    profile = quality.load_profile(profile_name)
    types = schema(PASSES)
    row = GOOD | values
    frame = pl.LazyFrame(
        [[v] for v in row.values()], schema={name: types[name] for name in row}
    ).with_columns(reason_bits=pl.lit(bits, pl.Int64))
    frame = frame.with_columns(
        reason_bits=quality.add_bits(pl.col("reason_bits"), quality.failures(profile))
    )
    result = frame.with_columns(quality.validity(profile)).collect()
    return codes(result["reason_bits"][0]), result.select(FLAGS).to_dicts()[0]


def test_a_good_pass_is_valid_in_every_profile():
    for name in quality.profile_names():
        reasons, flags = judge(name)
        assert reasons == []
        assert all(flags.values())


# The bounds of hj845: last value inside, first value outside, code, flags unset.
ALL = tuple(FLAGS)
GATES = [
    ("vsp_kw_t", 1e-9, 0.0, "VSP_WINDOW", ALL),
    ("speed_km_h", 8.0, 7.9, "SPEED_RANGE", ALL),
    ("speed_km_h", 160.0, 160.1, "SPEED_RANGE", ALL),
    ("acceleration_m_s2", -5.0, -5.1, "ACC_RANGE", ALL),
    ("acceleration_m_s2", 5.0, 5.1, "ACC_RANGE", ALL),
    ("wind_speed_m_s", 5.0, 5.1, "WEATHER_WIND", ALL),
    ("relative_humidity_pct", 95.0, 95.1, "WEATHER_HUMIDITY", ()),
    ("air_temperature_c", -30.0, -30.1, "WEATHER_TEMPERATURE", ()),
    ("air_temperature_c", 45.0, 45.1, "WEATHER_TEMPERATURE", ()),
    ("pressure_kpa", 70.0, 69.9, "WEATHER_PRESSURE", ()),
    ("pressure_kpa", 106.0, 106.1, "WEATHER_PRESSURE", ()),
    ("co2_raw_pct", 0.25, 0.24, "PLUME_LOW", ALL[1:]),
    ("co_pct", -1.0, -1.1, "CO_RANGE", ("is_valid_co",)),
    ("co_pct", 21.0, 21.1, "CO_RANGE", ("is_valid_co",)),
    ("hc_ppm", -1000.0, -1001.0, "HC_RANGE", ("is_valid_hc",)),
    ("hc_ppm", 40000.0, 40001.0, "HC_RANGE", ("is_valid_hc",)),
    ("no_ppm", -700.0, -701.0, "NO_RANGE", ("is_valid_no", "is_valid_nox")),
    ("no_ppm", 7000.0, 7001.0, "NO_RANGE", ("is_valid_no", "is_valid_nox")),
    ("no2_ppm", -500.0, -501.0, "NO2_RANGE", ("is_valid_no2", "is_valid_nox")),
    ("nh3_co2", 0.049, 0.051, "NH3_RANGE", ("is_valid_nh3",)),
    ("opacity_pct", 100.0, 100.1, "OPACITY_RANGE", ("is_valid_opacity",)),
    ("opacity_pct", -2.0, -2.1, "OPACITY_RANGE", ("is_valid_opacity",)),
    ("ringelmann", 5.0, 6.0, "RINGELMANN_RANGE", ("is_valid_ringelmann",)),
    ("plate_confidence_pct", 90.0, 89.9, "PLATE_LOWCONF", ()),
]


@pytest.mark.parametrize(("column", "inside", "outside", "code", "unset"), GATES)
def test_each_bound_of_hj845(column, inside, outside, code, unset):
    assert judge(**{column: inside}) == ([], dict.fromkeys(FLAGS, True))
    reasons, flags = judge(**{column: outside})
    assert reasons == [code]
    assert flags == {flag: flag not in unset for flag in FLAGS}


@pytest.mark.parametrize(("column", "_inside", "outside", "code", "_unset"), GATES)
def test_a_campaign_notes_and_unsets_nothing(column, _inside, outside, code, _unset):
    assert judge("campaign", **{column: outside}) == ([code], dict.fromkeys(FLAGS, True))


@pytest.mark.parametrize(
    ("profile", "column", "inside", "outside"),
    [
        ("analysis", "vsp_kw_t", 25.0, 25.1), ("analysis", "vsp_kw_t", 0.1, 0.0),
        ("analysis", "speed_km_h", 5.0, 4.9), ("analysis", "speed_km_h", 90.0, 90.1),
        ("analysis", "acceleration_m_s2", -1.0, -1.1), ("analysis", "acceleration_m_s2", 3.0, 3.1),
        ("gasoline_hk", "vsp_kw_t", 3.0, 2.9), ("gasoline_hk", "vsp_kw_t", 22.0, 22.1),
        ("us_im", "vsp_kw_t", 5.0, 4.9), ("us_im", "vsp_kw_t", 20.0, 20.1),
    ],
)  # fmt: skip
def test_windows_of_the_other_profiles(profile, column, inside, outside):
    assert judge(profile, **{column: inside})[1]["is_valid"]
    assert not judge(profile, **{column: outside})[1]["is_valid"]


def test_the_device_decides_about_specific_power():
    assert judge(vsp_device_kw_t=5.0, vsp_kw_t=-5.0)[0] == []
    assert judge(vsp_device_kw_t=-5.0, vsp_kw_t=5.0)[0] == ["VSP_WINDOW"]


def test_unknown_is_not_invalid_but_no_value_is_no_valid_value():
    reasons, flags = judge(**dict.fromkeys(GOOD))
    assert reasons == []
    assert flags == {flag: flag == "is_valid" for flag in FLAGS}


@pytest.mark.parametrize("profile", ["hj845", "campaign"])
def test_a_ratio_or_a_concentration_is_a_value(profile):
    flags = judge(profile, co_pct=None, hc_co2=None, no_ppm=None, no_co2=None)[1]
    assert flags["is_valid_co"]
    assert flags["is_valid_hc"]
    assert not flags["is_valid_no"]


def test_a_verdict_of_the_device_counts_in_every_profile():
    for name in quality.profile_names():
        assert not any(judge(name, bits=mask("DEVICE_INVALID"))[1].values())


def test_hc_of_a_gas_vehicle_is_unset_but_for_a_campaign_that_only_notes_it():
    for name in quality.profile_names():
        reasons, flags = judge(name, bits=mask("HC_NOT_COMPARABLE"))
        unset = [flag for flag in FLAGS if not flags[flag]]
        assert unset == ([] if name == "campaign" else ["is_valid_hc"])
        assert reasons == ["HC_NOT_COMPARABLE"]


def test_a_noted_code_that_does_not_exist_is_refused():
    document = {"rules": {}, "profiles": {"x": {"title": "x", "noted": ["NO_SUCH"]}}}
    with pytest.raises(UsageError, match="NO_SUCH"):
        quality.parse_profile(document, "x")


@given(
    st.fixed_dictionaries(
        {
            name: st.one_of(st.none(), st.floats(-1e5, 1e5), st.sampled_from([0.0, 1e308]))
            for name in GOOD
        }
    ),
    st.sampled_from(quality.profile_names()),
)
def test_flags_are_never_null_and_always_have_a_reason(values, profile):
    reasons, flags = judge(profile, **values)
    assert all(isinstance(flag, bool) for flag in flags.values())
    if not flags["is_valid"]:
        assert set(reasons) & {r.code for r in REASONS if r.unsets == "is_valid"}
        assert not any(flags.values())
    for pollutant, columns in quality.PRESENT.items():
        if all(values[c] is None for c in columns):
            assert not flags[f"is_valid_{pollutant}"]


def test_every_gate_states_its_number_unit_source_and_whether_it_was_verified():
    for name in quality.profile_names():
        for rule in quality.load_profile(name).rules:
            assert rule.unit
            assert rule.source
            # What nobody read says so.
            assert rule.verified or "memory" in rule.source or "not read" in rule.source
            assert not (rule.verified and "memory" in rule.source)


def test_a_mistyped_profile_speaks():
    document = quality._document()
    with pytest.raises(UsageError, match="hj845, campaign"):
        quality.load_profile("hj846")
    for change in (
        {"VSP_WINDOWS": {"low": 1.0}},
        {"VSP_WINDOW": {"lower": 1.0}},
        {"VSP_WINDOW": {"effect": "drop"}},
    ):
        broken = copy.deepcopy(document)
        broken["profiles"]["own"] = {"title": "own", "rules": change}
        with pytest.raises(UsageError, match=r"quality_profiles\.toml"):
            quality.parse_profile(broken, "own")


def test_a_gate_that_is_off_is_not_applied():
    document = copy.deepcopy(quality._document())
    document["profiles"]["own"] = {"title": "own", "rules": {"WEATHER_WIND": {"effect": "off"}}}
    assert "WEATHER_WIND" not in {r.code for r in quality.parse_profile(document, "own").rules}
