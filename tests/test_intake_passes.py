"""Records → reported passes: our names and units, codes decoded, null codes taken out."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from intake_reading import Account, read

from rsd.columns import REPORTED, schema
from rsd.reasons import codes

CN_HEAD = ("jlbh,dwbh,ycxbh,cdxh,jcsj,cdpd,pdjg,wxyy,hphm,cpys,hpzl,cllx,rlzl,coco2,hcco2,noco2,"
           "cojg,hcjg,nojg,btgdjg,lgmhd,clsd,cljsd,vsp,fs,hjwd,sd,dqy,sbzxd,tp1,sp1,co2xz\n")
CN_ROW = {
    "jlbh": "A350203001012024050110000001", "dwbh": "A350203001", "ycxbh": "01", "cdxh": "2",
    "jcsj": "2024-05-01 10:00:00", "cdpd": "1.5", "pdjg": "1", "wxyy": "", "hphm": "闽D12345",
    "cpys": "0", "hpzl": "02", "cllx": "K33", "rlzl": "A", "coco2": "0.02", "hcco2": "12.5",
    "noco2": "25", "cojg": "0.3", "hcjg": "180", "nojg": "350", "btgdjg": "1.25", "lgmhd": "0",
    "clsd": "46.81", "cljsd": "0.5", "vsp": "7.5", "fs": "1.5", "hjwd": "25", "sd": "70",
    "dqy": "101.3", "sbzxd": "98", "tp1": "a.jpg", "sp1": "a.mp4", "co2xz": "0.0",
}  # fmt: skip


def cn(*rows: dict[str, str], more: str = "") -> Account:
    names = CN_HEAD.strip().split(",")
    lines = [",".join({**CN_ROW, **row}[n] for n in names) for row in rows or ({},)]
    return read((CN_HEAD + "".join(f"{x}\n" for x in lines) + more).encode())


def one(**cells: str) -> dict[str, object]:
    account = cn(cells)
    assert account.accepted == [2]
    return account.frame.row(0, named=True)


def said(row: dict[str, object]) -> list[str]:
    return codes(row["intake_bits"])


def test_the_frame_is_reported() -> None:
    assert cn().frame.schema == schema(REPORTED)
    assert read(b"site_id,measured_at,speed_km_h\n").frame.schema == schema(REPORTED)


def test_a_platform_record_in_our_names_and_units() -> None:
    wanted = {
        "record_id": "A350203001012024050110000001", "site_id": "A350203001", "line_id": "01",
        "lane": "2", "measured_local": datetime(2024, 5, 1, 10), "plate": "闽D12345",
        "plate_color": "blue", "plate_type": "02", "vehicle_type": "K33",
        "vehicle_class_reported": "mini_small_bus", "fuel_reported": "gasoline",
        "is_device_valid": True, "device_reason": None, "slope_deg": 1.5, "speed_km_h": 46.81,
        "acceleration_m_s2": 0.5, "vsp_device_kw_t": 7.5, "co_co2": 0.02,
        "hc_co2": 12.5 * 1e-4,  # ppm per 1 % CO2
        "no_co2": 25 * 1e-4, "co_pct": 0.3, "hc_ppm": 180.0, "no_ppm": 350.0, "opacity_pct": 1.25,
        "ringelmann": 0.0, "wind_speed_m_s": 1.5, "air_temperature_c": 25.0,
        "relative_humidity_pct": 70.0, "pressure_kpa": 101.3, "plate_confidence_pct": 98.0,
        "photo_1": "a.jpg", "photo_2": None, "video_1": "a.mp4", "raw_time": None,
        "intake_bits": 0, "source_line": 2, "no2_ppm": None, "emission_stage_reported": None,
    }  # fmt: skip
    row = one()
    assert {name: row[name] for name in wanted} == wanted


CONOX_HEAD = ("ConoxID,Site,RoadGrade,Instrument,PassageTime,VehicleCategory,FuelType,EuroStandard,"
              "SAFlag,SpeedKPH,AccelKPHPerSec,VSP,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2,"
              "Ratio_NO2_CO2,Ratio_NH3_CO2,AmbientTemperature,CO_gpkg,NOx_gpkg,VehicleMake\n")


def conox(text: str, more: str = "") -> dict[str, object]:
    account = read((CONOX_HEAD + text + "\n" + more).encode(), "Europe/London")
    assert account.accepted == [2]
    return account.frame.row(0, named=True)


def test_a_conox_record_in_our_names_and_units() -> None:
    row = conox("77,Bridge,2,DU FEAT,2012-05-21 01:30:15,PC,PETROL,Euro4,V,36,3.6,7.25,0.01,0.002,"
                "0.003,NA,0.0001,NA,1.5,NA,Make")
    wanted = {
        "record_id": "77", "site_id": "Bridge", "line_id": "DU FEAT", "plate": None,
        "measured_local": datetime(2012, 5, 21, 13, 30, 15), "raw_time": "2012-05-21 01:30:15",
        "vehicle_class_reported": "mini_small_bus", "vehicle_type": "PC",
        "fuel_reported": "gasoline", "emission_stage_reported": 4, "emission_standard": "Euro4",
        "speed_km_h": 36.0, "acceleration_m_s2": pytest.approx(1.0, rel=1e-15),
        "slope_deg": pytest.approx(1.1457628, abs=1e-7), "vsp_device_kw_t": 7.25,
        "co_co2": 0.01, "hc_co2": 0.002, "no_co2": 0.003, "no2_co2": None, "nh3_co2": 0.0001,
        "air_temperature_c": None, "co_g_kg_reported": 1.5, "nox_g_kg_reported": None,
        "is_device_valid": None,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    assert said(row) == ["CLOCK_REPAIRED"]


@pytest.mark.parametrize(("written", "hour"), [(7, 7), (8, 8), (11, 11), (12, 12), (1, 13),
                                               (5, 17), (6, 18)])
def test_a_clock_without_am_and_pm(written: int, hour: int) -> None:
    row = conox(f"1,B,0,I,2012-05-21 {written:02d}:05:00,PC,PETROL,Euro4,V" + ",1" * 12)
    assert row["measured_local"].hour == hour
    assert (row["raw_time"] is not None) == (hour > 12) == ("CLOCK_REPAIRED" in said(row))


def test_an_invalid_speed_is_no_invalid_pass() -> None:
    row = conox("1,B,0,I,2012-05-21 09:00:00,LCV,DIESEL,No data,X,NA,NA,NA" + ",0.1" * 8 + ",x")
    assert (row["speed_km_h"], row["is_device_valid"], row["co_co2"]) == (None, None, 0.1)
    assert (row["vehicle_class_reported"], row["emission_stage_reported"]) == ("small_truck", None)
    assert row["emission_standard"] == "No data"
    assert said(row) == []


def test_own_names_pass_through() -> None:
    names = ("site_id,measured_at,plate,plate_color,fuel,vehicle_class,emission_stage,"
             "is_device_valid,no_ppm,use,first_registered")
    record = "S1,2024-05-01 10:00:00,X1,green,diesel,heavy_truck,VI,false,9999,A,2020-02-29"
    row = read(f"{names}\n{record}\n".encode()).frame.row(0, named=True)
    assert [row[n] for n in ("plate_color", "fuel_reported", "vehicle_class_reported",
                             "emission_stage_reported", "is_device_valid", "no_ppm")] == [
        "green", "diesel", "heavy_truck", 6, False, 9999.0]
    assert said(row) == []


# --- null codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["", "one cell\n"], ids=["clean", "beside damage"])
@pytest.mark.parametrize("text", ["-999", "9999", "65535", "-999.0", "9999.00", " 9999 ",
                                  "6.5535e4"])
@pytest.mark.parametrize("column", ["nojg", "btgdjg", "hjwd", "clsd", "lgmhd", "hcco2"])
def test_a_sentinel_becomes_null_and_says_so(column: str, text: str, more: str) -> None:
    account = cn({column: text}, more=more)
    assert account.accepted == [2]
    row = account.frame.row(0, named=True)
    target = account.reader.format.real[column].to
    assert row[target] is None
    assert said(row) == ["SENTINEL"]


@pytest.mark.parametrize("text", ["-999.5", "9998", "9999.1", "-998", "65534", "999", "10000"])
def test_a_value_near_a_sentinel_is_a_value(text: str) -> None:
    row = one(nojg=text)
    assert row["no_ppm"] == float(text)
    assert said(row) == []


def test_sentinels_of_one_record_leave_the_others_alone() -> None:
    account = cn({"nojg": "9999"}, {}, {"hjwd": "-999", "nojg": "9999"}, {"nojg": ""})
    assert account.column("no_ppm") == [None, 350.0, None, None]
    assert account.column("air_temperature_c") == [25.0, 25.0, None, 25.0]
    assert [codes(b) for b in account.column("intake_bits")] == [
        ["SENTINEL"], [], ["SENTINEL"], []]


def test_conox_has_no_sentinels() -> None:
    row = conox("1,B,0,I,2012-05-21 09:00:00,PC,PETROL,Euro4,V,1,1,-999,9999,65535" + ",0" * 6
                + ",x")
    assert (row["vsp_device_kw_t"], row["co_co2"], row["hc_co2"]) == (-999.0, 9999.0, 65535.0)
    assert said(row) == []


def test_what_is_outside_its_range_is_accepted() -> None:
    """Judging it belongs to scoring; intake keeps the number."""
    row = one(nojg="-5000", clsd="400", btgdjg="180", lgmhd="9")
    assert (row["no_ppm"], row["speed_km_h"], row["opacity_pct"], row["ringelmann"]) == (
        -5000.0, 400.0, 180.0, 9.0)


# --- codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "column", "value", "reasons"),
    [
        ({"rlzl": "B"}, "fuel_reported", "diesel", []),
        ({"rlzl": " b "}, "fuel_reported", "diesel", []),
        ({"rlzl": ""}, "fuel_reported", "unknown", []),
        ({"rlzl": "7"}, "fuel_reported", "unknown", ["CODE_UNKNOWN"]),
        ({"cpys": "4"}, "plate_color", "green", []),
        ({"cpys": ""}, "plate_color", "unknown", []),
        ({"cpys": "9"}, "plate_color", "unknown", ["CODE_UNKNOWN"]),
        ({"cllx": "H17"}, "vehicle_class_reported", "heavy_truck", []),
        ({"cllx": "??"}, "vehicle_class_reported", "other", ["CODE_UNKNOWN"]),
        ({"pdjg": "0"}, "is_device_valid", True, []),
        ({"pdjg": "2"}, "is_device_valid", False, []),
        ({"pdjg": "999"}, "is_device_valid", False, []),
        ({"pdjg": "-1"}, "is_device_valid", False, []),
        ({"pdjg": ""}, "is_device_valid", None, []),
        ({"pdjg": "5"}, "is_device_valid", None, ["CODE_UNKNOWN"]),
    ],
)
def test_codes(cell: dict[str, str], column: str, value: object, reasons: list[str]) -> None:
    row = one(**cell)
    assert row[column] == value
    assert said(row) == reasons


def test_the_type_as_it_came_stays_beside_its_class() -> None:
    row = one(cllx="??")
    assert row["vehicle_type"] == "??"


def test_a_blank_type_is_no_class_other() -> None:
    assert one(cllx="")["vehicle_class_reported"] in (None, "unknown")
    assert said(one(cllx="")) == []


@pytest.mark.parametrize(("text", "column", "value"), [
    ("No data,PETROL,Euro4", "vehicle_class_reported", "unknown"),
    ("PC,NO DATA,Euro4", "fuel_reported", "unknown"),
    ("PC,PETROL,No data", "emission_stage_reported", None),
    ("PC,PETROL,Euro EEV", "emission_stage_reported", None),
])
def test_no_data_of_conox_is_unknown(text: str, column: str, value: object) -> None:
    row = conox(f"1,B,0,I,2012-05-21 09:00:00,{text},V" + ",1" * 12)
    assert row[column] == value
    assert said(row) == []


def test_a_code_that_is_strange_in_one_record_marks_only_that() -> None:
    account = cn({}, {"rlzl": "?"}, {}, {"rlzl": ""})
    assert account.column("fuel_reported") == ["gasoline", "unknown", "gasoline", "unknown"]
    assert [codes(b) for b in account.column("intake_bits")] == [[], ["CODE_UNKNOWN"], [], []]


def test_reasons_of_one_record_add_up() -> None:
    assert said(one(rlzl="?", nojg="9999")) == ["SENTINEL", "CODE_UNKNOWN"]


def test_identities_keep_their_leading_zeros() -> None:
    row = one(dwbh="0001", ycxbh="01", cdxh="007", jlbh="1234567890123456789")
    assert [row[n] for n in ("site_id", "line_id", "lane", "record_id")] == [
        "0001", "01", "007", "1234567890123456789"]


def test_values_are_float64() -> None:
    frame = cn().frame
    reals = [c.name for c in REPORTED if c.dtype == pl.Float64]
    assert {frame.schema[n] for n in reals} == {pl.Float64}


@pytest.mark.parametrize(("cell", "column"), [
    ("dwbh", "site_id"), ("ycxbh", "line_id"), ("cdxh", "lane"), ("hpzl", "plate_type"),
    ("cllx", "vehicle_type"), ("wxyy", "device_reason"),
])
@pytest.mark.parametrize("text", ["闽D98765", "x 闽d９8765", "闽D·98765"])
def test_a_plate_in_a_wrong_cell_is_masked(cell: str, column: str, text: str) -> None:
    account = cn({cell: text}, {}, {cell: "环岛路1"})
    told = account.column(column)
    assert "*" in told[0]
    assert "8765" not in told[0]
    assert told[1] == (CN_ROW[cell] or None)
    assert told[2] == "环岛路1"
    assert account.column("plate") == ["闽D12345"] * 3


def test_a_record_s_number_with_a_plate_in_it_is_blank() -> None:
    account = cn({"jlbh": "20240501闽D12345"}, {"jlbh": "号1"}, {"jlbh": "7"})
    assert account.column("record_id") == [None, "号1", "7"]


def test_photographs_keep_the_plate_in_their_names() -> None:
    assert one(tp1="闽D12345.jpg", sp1="闽D12345.mp4")["photo_1"] == "闽D12345.jpg"
