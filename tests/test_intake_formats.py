"""Vendor formats: recognised by the header, columns by name, codes to our names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.columns import FUELS, PLATE_COLORS, REPORTED, VEHICLE_CLASSES
from rsd.errors import InputRefused, UsageError
from rsd.intake.formats import (
    CodeTable,
    bind,
    code_tables,
    fit,
    fold,
    formats,
    get_format,
    header_separator,
    read_format,
    recognise,
    split_header,
)
from rsd.units import to_canonical

FOLDER = Path(__file__).resolve().parents[1] / "sample_data"
CN = ["dwbh", "jcsj", "hphm", "nojg"]
CONOX = ["ConoxID", "Site", "PassageTime", "Ratio_CO_CO2", "Ratio_HC_CO2", "Ratio_NO_CO2"]
OWN = ["site_id", "measured_at", "speed_km_h"]
UNIT = {c.name: c.unit for c in REPORTED}
TYPE = {c.name: c.dtype for c in REPORTED}
ALLOWED = {"plate_color": PLATE_COLORS, "fuel_reported": FUELS,
           "vehicle_class_reported": VEHICLE_CLASSES, "emission_stage_reported": range(7),
           "is_device_valid": (True, False)}


def header(names: list[str]) -> list[str]:
    return split_header(",".join(names))


def test_the_formats_are_there() -> None:
    assert set(formats()) == {"cn_monitor_car", "cn_platform", "conox", "feat", "opencares",
                              "opus_rsd", "rsd", "zh_awel"}


def sample_header(format_id: str) -> list[str]:
    first = (FOLDER / f"{format_id}.csv").read_bytes().split(b"\n")[0].decode()
    return split_header(first)


@pytest.mark.parametrize("format_id", formats())
def test_each_sample_is_its_own_format_and_no_other_comes_near(format_id: str) -> None:
    """No tie: of all others, none has its required columns there."""
    names = sample_header(format_id)
    assert recognise(names, "a.csv").id == format_id
    complete = [f.id for f in formats().values() if fit(f, names)[0]]
    assert complete == [format_id]
    best = fit(formats()[format_id], names)
    assert all(fit(f, names) < best for f in formats().values() if f.id != format_id)


@pytest.mark.parametrize("format_id", formats())
def test_the_required_columns_alone_name_the_format(format_id: str) -> None:
    fmt = formats()[format_id]
    names = list(dict.fromkeys([*(r[0] for r in fmt.required),
                                *(fmt.time_columns or fmt.time_pairs[0])[:2]]))
    assert recognise(names, "a.csv").id == format_id


def test_a_header_of_two_formats_is_not_guessed() -> None:
    both = [*(r[0] for r in get_format("feat").required), "site_id", "measured_at", "co_pct",
            "no_ppm", "hc_ppm", "co2_pct", "vsp_device_kw_t"]
    with pytest.raises(InputRefused, match="of several formats") as caught:
        recognise(both, "a.csv")
    assert caught.value.found == "feat and rsd"
    assert recognise(both, "a.csv", "rsd").id == "rsd"


@pytest.mark.parametrize(("line", "separator"), [
    ("a;b (x, y);c", ";"), ("a,b", ","), ("a\tb", "\t"), ("a|b|c,d", "|"), ("a", ","),
    ('"a;b;c",d', ","), ("", ",")])
def test_the_header_says_what_separates(line: str, separator: str) -> None:
    assert header_separator(line) == separator


def test_a_format_may_insist_on_its_separator() -> None:
    names = sample_header("zh_awel")
    assert recognise(names, "a.csv", separator=";").id == "zh_awel"
    with pytest.raises(InputRefused, match="separated otherwise") as caught:
        recognise(names, "a.csv", separator=",")
    assert caught.value.expected == "';'"
    assert recognise(header(CN), "a.csv", separator=";").id == "cn_platform"


# --- names and units that the header says --------------------------------------------------------


def test_columns_may_have_chinese_names() -> None:
    names = split_header("点位编号,监测时间,号牌号码,车速（m/s）,CO结果,环境温度[K]")
    assert recognise(names, "a.csv").id == "cn_platform"
    bound = bind(get_format("cn_platform"), names)
    assert bound.names == ("dwbh", "jcsj", "hphm", "clsd", "cojg", "hjwd")
    assert [bound.format.real[n].unit for n in ("clsd", "cojg", "hjwd")] == ["m/s", "%", "K"]
    assert get_format("cn_platform").real["clsd"].unit == "km/h"  # the format itself is untouched


@pytest.mark.parametrize(("shown", "unit"), [
    ("speed (km/h)", "km/h"), ("Speed [KPH]", "km/h"), ("speed(m/s)", "m/s"),
    ("Speed (mph)", "mph"),
    ("speed", "mph")])
def test_a_unit_in_the_header_is_believed(shown: str, unit: str) -> None:
    bound = bind(get_format("opus_rsd"), header([shown]))
    assert (bound.names, bound.format.real["speed"].unit) == (("speed",), unit)


@pytest.mark.parametrize(("shown", "unit"), [
    ("PPM_HC", "ppm hexane"), ("PPM_HC (ppm)", "ppm hexane"), ("PPM_HC (ppm propane)",
                                                               "ppm propane"),
    ("PPM_HC (ppm C6)", "ppm hexane"), ("PPM_HC (%)", "% hexane")])
def test_the_basis_of_hc_holds_until_the_header_says_otherwise(shown: str, unit: str) -> None:
    assert bind(get_format("opus_rsd"), header([shown])).format.real["ppm_hc"].unit == unit


@pytest.mark.parametrize("shown", ["Speed (V)", "Speed (ppm)", "Percent_CO (km/h)"])
def test_a_unit_that_cannot_be_is_refused(shown: str) -> None:
    with pytest.raises(InputRefused, match="unit that cannot be used"):
        bind(get_format("opus_rsd"), header([shown]))


def test_brackets_that_are_part_of_nothing_known_stay() -> None:
    names = header(["Remark (V)", "DateTime (UTC)", "Date (of purchase)"])
    bound = bind(get_format("opus_rsd"), names)
    assert bound.names == ("remark (v)", "datetime", "date (of purchase)")
    assert bound.format.time_zone == "UTC"


def test_an_alias_beside_its_column_is_a_name_twice() -> None:
    with pytest.raises(InputRefused, match="stands twice") as caught:
        recognise(header([*CN, "车速", "clsd"]), "a.csv")
    assert caught.value.found == "the same name in columns 5 and 6"


def test_a_format_without_its_time_says_so() -> None:
    names = ["siteid", "date", "percent_co", "co_valid", "percent_co2", "co2_valid", "ambienttemp"]
    with pytest.raises(InputRefused, match="opus_rsd is missing") as caught:
        recognise(names, "a.csv")
    assert caught.value.expected == "datetime or date and time"


@pytest.mark.parametrize(("names", "format_id"), [(CN, "cn_platform"), (CONOX, "conox"),
                                                  (OWN, "rsd")])
def test_the_header_names_the_format(names: list[str], format_id: str) -> None:
    for shown in (names, names[::-1], [n.upper() for n in names], [n.lower() for n in names],
                  [f" {n} " for n in names], [*names, "unknown_extra"],
                  [f'"{n}"' for n in names], [*names, "", ""]):
        assert recognise(header(shown), "a.csv").id == format_id


@given(st.permutations(CN), st.randoms(use_true_random=False))
def test_order_and_letter_case_mean_nothing(names: list[str], chance) -> None:
    shown = ["".join(chance.choice((c.upper(), c.lower())) for c in n) for n in names]
    assert recognise(header(shown), "a.csv").id == "cn_platform"


def test_full_width_letters_are_the_same_letters() -> None:
    assert fold(" ＣＯ２JG\u3000") == "co2jg"
    assert recognise(header(["ＤＷＢＨ", "ｊｃｓｊ", "hphm"]), "a.csv").id == "cn_platform"


def test_either_name_of_the_time_will_do() -> None:
    assert recognise(header(["dwbh", "jcrq", "hphm"]), "a.csv").id == "cn_platform"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["jcsj", "hphm", "nojg"], "dwbh"),
        (["dwbh", "hphm", "nojg"], "jcsj or jcrq"),
        (["dwbh", "jcsj", "nojg"], "hphm"),
        (["site_id", "plate", "speed_km_h"], "measured_at"),
        (["measured_at", "plate", "speed_km_h"], "site_id"),
        ([n for n in CONOX if n != "PassageTime"], "passagetime"),
    ],
)
def test_a_missing_required_column_is_named(names: list[str], missing: str) -> None:
    with pytest.raises(InputRefused, match="required column") as caught:
        recognise(header(names), "a.csv")
    assert caught.value.expected == missing
    assert caught.value.where == "a.csv, line 1"
    assert caught.value.remedy


@pytest.mark.parametrize("names", [["x", "y"], ["site_id", "y"], [""], ["1", "2", "3"]])
def test_a_header_of_no_format_is_refused(names: list[str]) -> None:
    with pytest.raises(InputRefused, match="no known format") as caught:
        recognise(header(names), "a.csv")
    assert "cn_platform" in str(caught.value.expected)


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(InputRefused, match="stands twice") as caught:
        recognise(header(["dwbh", "jcsj", "hphm", "nojg", "NOJG "]), "a.csv")
    assert caught.value.found == "the same name in columns 4 and 5"


def test_a_forced_format_is_used_or_says_what_it_lacks() -> None:
    assert recognise(header([*OWN, *CN]), "a.csv", "rsd").id == "rsd"
    assert recognise(header([*OWN, *CN]), "a.csv", "cn_platform").id == "cn_platform"
    with pytest.raises(InputRefused, match="format conox is missing"):
        recognise(header(OWN), "a.csv", "conox")


def test_an_unknown_format_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="Did you mean conox") as caught:
        get_format("conx")
    assert "cn_platform" in str(caught.value.expected)
    with pytest.raises(UsageError, match="rsd formats"):
        get_format("zzzzzz")


# --- what the files declare ---------------------------------------------------------------------


@pytest.mark.parametrize("format_id", formats())
def test_a_format_file_fits_our_columns_units_and_codes(format_id: str) -> None:
    f = formats()[format_id]
    for source, real in f.real.items():
        assert TYPE[real.to].is_float(), source
        assert to_canonical(1.0, real.unit, UNIT[real.to]) is not None
    reals = [*f.real.values(), *(f.long.parameters.values() if f.long else ())]
    assert len({r.to for r in reals}) == len(reals)
    for name, real in (f.long.parameters if f.long else {}).items():
        assert to_canonical(1.0, real.unit, UNIT[real.to]) is not None, name
    assert f.hc_basis in ("propane", "hexane")
    assert f.unverified or not f.unverified_columns
    parameters = {f"parameter={n}" for n in f.long.parameters} if f.long else set()
    assert f.unverified_columns <= f.names() | {"*"} | parameters
    assert set(f.text.values()) | set(f.date.values()) <= set(TYPE)
    for source, (to, table) in f.code.items():
        allowed = set(ALLOWED.get(to, ())) | {None}
        assert {*table.values.values(), table.default} <= allowed, source
    if f.vehicle_class:
        assert set(f.vehicle_class[1].values.values()) <= set(VEHICLE_CLASSES)
    assert f.citation
    assert not f.names() & {""}
    assert not f.known & ({*f.text, *f.real, *f.code, *f.date} - set(f.text))


def test_the_platform_format_knows_every_field_of_the_record() -> None:
    """domain: the uploaded record, names seen in four code bases."""
    fields = """jlbh dwbh ycxbh jcdwrzh jcryxm cdxh jcrq jcsj ddjd ddwd cdpd pdjg wxyy hphm cpys
        hpzl csys cllx clxh sbzxd rlzl co2scz coscz hcscz noscz coco2 hcco2 noco2 co2jg cojg hcjg
        nojg btgdjg btgdpj btgdzd btgdzx btgxs lgmhd no2pj no2zd no2zx co2xz coxz hcxz noxz btgdxz
        hdxz btgxsxz clsd cljsd vsp fs fx hjwd sd dqy gjxxbh tp1 tp2 tp3 tp4 tp5 sp1"""
    assert set(fields.split()) <= get_format("cn_platform").names()


def test_null_codes_of_a_format_and_of_a_column() -> None:
    assert {-999.0, 9999.0, 65535.0} <= set(get_format("cn_platform").sentinels)
    assert get_format("conox").sentinels == get_format("rsd").sentinels == ()
    assert get_format("opus_rsd").nulls_of("ambienttemp") == (-99.0, -999.0, -9999.0, 0.0)
    assert 0.0 not in get_format("opus_rsd").nulls_of("speed")


def decode(table: str, code: str | None):
    return code_tables()[table].decode(code)


@pytest.mark.parametrize(
    ("code", "vehicle_class"),
    [("K33", "mini_small_bus"), ("K49", "mini_small_bus"), ("K21", "medium_bus"),
     ("K11", "large_bus"), ("H17", "heavy_truck"), ("Q11", "heavy_truck"), ("H21", "medium_truck"),
     ("Q21", "medium_truck"), ("H31", "small_truck"), ("H41", "small_truck"),
     ("H51", "small_truck"), ("Q31", "small_truck"), ("Z11", "special"), ("D11", "other"),
     ("M21", "other"), ("X99", "other"), (" k33 ", "mini_small_bus"), ("Ｋ33", "mini_small_bus")],
)
def test_vehicle_types_of_ga_802(code: str, vehicle_class: str) -> None:
    assert decode("ga_vehicle_type", code) == (vehicle_class, True)


def test_a_type_that_no_table_knows_says_so() -> None:
    assert decode("ga_vehicle_type", "K9")[1] is False
    assert decode("ga_vehicle_type", "轿车")[1] is False


@pytest.mark.parametrize(
    ("code", "fuel"),
    [("A", "gasoline"), ("B", "diesel"), ("C", "electric"), ("D", "other"), ("E", "cng"),
     ("F", "lpg"), ("L", "methanol"), ("O", "hybrid"), ("P", "hydrogen"), ("Y", "other"),
     ("Z", "other"), ("a", "gasoline")],
)
def test_fuels_of_ga_24_9(code: str, fuel: str) -> None:
    assert decode("ga_fuel", code) == (fuel, True)


def test_plate_colours_are_numbered_from_0() -> None:
    colors = [decode("plate_color_from_0", str(k))[0] for k in range(6)]
    assert colors == ["blue", "yellow", "white", "black", "green", "other"]
    assert decode("plate_color_from_0", "6") == ("unknown", False)
    assert [decode("plate_color_from_1", str(k))[0] for k in (1, 2, 0)] == [
        "blue", "yellow", "unknown"]


@pytest.mark.parametrize(("code", "fuel"), [
    ("0", "gasoline"), ("1", "diesel"), ("2", "cng"), ("3", "methanol"), ("4", "other"),
    ("B", "diesel"), (None, "unknown")])
def test_fuels_of_the_city_table(code: str | None, fuel: str) -> None:
    assert decode("monitor_car_fuel", code) == (fuel, True)
    assert decode("monitor_car_fuel", "9") == ("unknown", False)


def test_only_remote_sensing_is_a_pass() -> None:
    assert [decode("monitor_type", k)[0] for k in ("0", "1", "2", None)] == [
        True, False, False, None]
    assert [decode("audit_01", k)[0] for k in ("0", "1", None)] == [False, True, None]


@pytest.mark.parametrize(("code", "stage"), [
    ("Euro 6d-TEMP", 6), ("Euro5a", 5), ("EURO 0", 0), ("Euro 7", None)])
def test_euro_stages_by_name(code: str, stage: int | None) -> None:
    assert decode("euro_stage", code) == (stage, stage is not None)


@pytest.mark.parametrize(
    ("code", "is_valid", "is_known"),
    [("0", True, True), ("1", True, True), ("2", False, True), ("999", False, True),
     ("-1", False, True), (None, None, True), ("", None, True), ("7", None, False)],
)
def test_verdicts(code: str | None, is_valid: bool | None, is_known: bool) -> None:
    assert decode("verdict_012", code) == (is_valid, is_known)


@pytest.mark.parametrize(("code", "stage"), [("Euro4", 4), ("euro0", 0), ("Euro EEV", None),
                                             ("No data", None), (None, None)])
def test_euro_stages(code: str | None, stage: int | None) -> None:
    assert decode("conox_euro", code) == (stage, True)


@pytest.mark.parametrize("table", ["conox_fuel", "conox_vehicle_category"])
def test_no_data_is_unknown_and_no_class(table: str) -> None:
    """`No data` and `NO DATA` are unknown, in either spelling, and no strange code."""
    for text in ("No data", "NO DATA", "-"):
        assert decode(table, text) == ("unknown", True)
    if table == "conox_fuel":
        assert decode(table, None) == ("unknown", True)


@pytest.mark.parametrize("table", ["ga_vehicle_type", "conox_vehicle_category"])
def test_a_blank_vehicle_type_is_unknown(table: str) -> None:
    """domain: blank → unknown; a class null or unknown is no class `other`."""
    value, is_known = decode(table, None)
    assert is_known
    assert value in (None, "unknown")


def test_the_longest_prefix_wins() -> None:
    table = CodeTable("t", "s", {"k*": 1, "k3*": 2, "k33": 3}, frozenset({"?"}), None)
    assert [table.decode(x) for x in ("K1", "K31", "k33", "?", "Q", " ")] == [
        (1, True), (2, True), (3, True), (None, True), (None, False), (None, True)]


def test_an_unknown_key_or_table_is_the_authors_mistake(tmp_path) -> None:
    from rsd.intake import formats as module

    text = (module._FOLDER / "rsd.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text("speling = 1\n" + text, encoding="utf-8")
    with pytest.raises(UsageError, match="unknown key") as caught:
        read_format(path)
    assert (caught.value.found, caught.value.where) == ("speling", str(path))
    for old, new, what in [
        ('unit = "km/h"', 'unit = "parsec"', "unknown unit"),
        ('hc_basis = "propane"', 'hc_basis = "butane"', "unknown hc_basis"),
        ('to = "co_pct", unit', 'to = "co_pct", unti', "other keys"),
        ('to = "co_pct"', 'to = "co_pact"', "unknown target"),
        ("[time]\n", '[alias]\nx = "y"\n[time]\n', "an alias of an unknown column"),
        ("[time]\n", '[valid]\nf = { of = ["z"], good = ["V"], bad = [] }\n[time]\n', "validity"),
        ('columns = ["measured_at"]', 'columns = ["a + b + c"]', "a time is one column"),
        ('title = ', 'titel = ', "unknown key"),
        ('title = "rsd', '# "rsd', "a key is missing"),
        ('id = "rsd"', 'id = "rsd', "no format file"),
    ]:
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(UsageError, match=what) as caught:
            read_format(path)
        assert caught.value.where == str(path)
    path.write_text(text.replace('"own_fuel"', '"own_fool"'), encoding="utf-8")
    with pytest.raises(UsageError, match="unknown code table") as caught:
        read_format(path)
    assert caught.value.found == "own_fool"


# --- what other programs make of a dump ---------------------------------------------------------


def test_a_null_of_one_unit_is_a_value_in_another() -> None:
    opus = get_format("opus_rsd")
    assert bind(opus, ["ambienttemp (c)"]).format.real["ambienttemp"].null == ()
    assert bind(opus, ["ambienttemp (k)"]).format.real["ambienttemp"].null == (0.0,)


def test_a_zone_beside_a_time_is_understood_or_refused() -> None:
    platform = get_format("cn_platform")
    assert bind(platform, ["jcsj(utc+8)"]).format.time_zone == "Etc/GMT-8"
    with pytest.raises(InputRefused, match="no zone"):
        bind(platform, ["dwbh", "jcsj(local)", "hphm"])


@pytest.mark.parametrize(("code", "verdict"), [
    ("2.0", False), ("1.0", True), ("2", False), ("01", None), (".0", None)])
def test_a_code_that_a_spreadsheet_made_a_number_is_the_code(code: str, verdict: bool) -> None:
    assert code_tables()["verdict_012"].decode(code)[0] is verdict


def test_a_header_that_completes_two_formats_is_not_guessed() -> None:
    with pytest.raises(InputRefused, match="several"):
        recognise(["site_id", "measured_at", "dwbh", "jcsj", "hphm"], "dump.csv")
