"""The draft of a format: right where names are known, useful where they are not, never a cell."""

from __future__ import annotations

import contextlib
import gzip
import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from chain import rsd
from intake_reading import read_path

from rsd.errors import InputRefused
from rsd.intake import formats as formats_module
from rsd.intake.format_file import Format
from rsd.intake.formats import fold, formats, header_separator, read_format, split_header
from rsd.intake.forms import shape_of, time_patterns
from rsd.intake.guess import Column, by_words, unit_in, vocabulary, words_of
from rsd.intake.propose import propose
from rsd.synthetic import simulate

SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"
IDS = sorted(formats())
LEAST_ALONE = {"cn_monitor_car": 0.85, "zh_awel": 0.7}
"""Share of columns that must be right by general words alone, 0.9 unless said."""

CHINESE = {
    "jlbh": "记录编号", "dwbh": "监测点编号", "ycxbh": "检测线编号", "cdxh": "车道号",
    "jcsj": "检测日期时间", "cdpd": "道路坡度(°)", "pdjg": "检测判定结果", "wxyy": "无效原因",
    "hphm": "车辆号牌号码", "cpys": "号牌颜色", "hpzl": "号牌种类", "cllx": "车辆类型",
    "rlzl": "燃料种类", "coco2": "CO与CO2比值", "hcco2": "HC与CO2比值", "noco2": "NO与CO2比值",
    "co2jg": "CO2浓度(%)", "cojg": "CO浓度(%)", "hcjg": "HC浓度（ppm）", "nojg": "NO浓度（ppm）",
    "btgdjg": "不透光度(%)", "lgmhd": "林格曼黑度级数", "clsd": "行驶速度(km/h)",
    "cljsd": "加速度(m/s²)", "vsp": "机动车比功率(kW/t)", "fs": "风速(m/s)", "hjwd": "环境温度(℃)",
    "sd": "相对湿度(%)", "dqy": "大气压力(kPa)", "sbzxd": "识别置信度(%)", "tp1": "图片1",
    "sp1": "视频1",
}  # fmt: skip


def targets(fmt: Format) -> dict[str, set[str]]:
    """Source column → what it becomes."""
    found: dict[str, set[str]] = {}
    pairs: list[Mapping[str, str]] = [fmt.text, fmt.date, {c: r.to for c, r in fmt.real.items()},
                                      {c: to for c, (to, _) in fmt.code.items()}]
    if fmt.vehicle_class is not None:
        pairs.append({fmt.vehicle_class[0]: "vehicle_class"})
    pairs += [dict.fromkeys(names, "measured_local") for names in (fmt.time_columns,
                                                                  *fmt.time_pairs)]
    for mapping in pairs:
        for column, to in mapping.items():
            found.setdefault(column, set()).add(to)
    return found


def drafted(text: str, tmp_path: Path) -> Format:
    path = tmp_path / "draft.toml"
    path.write_text(text, encoding="utf-8")
    return read_format(path)


def share_right(name: str, draft: Format) -> float:
    first = (SAMPLES / f"{name}.csv").read_bytes().split(b"\n")[0].decode("gb18030").strip("\r")
    header = set(split_header(first))
    wanted = [(c, to) for c, tos in targets(formats()[name]).items() if c in header for to in tos]
    have = targets(draft)
    return sum(to in have.get(c, ()) for c, to in wanted) / len(wanted)


@pytest.mark.parametrize("name", IDS)
def test_a_header_that_is_known_is_mapped_as_its_format_does(name: str, tmp_path: Path) -> None:
    draft, real = drafted(propose(SAMPLES / f"{name}.csv"), tmp_path), formats()[name]
    assert share_right(name, draft) >= 0.9
    for column, number in draft.real.items():
        if column in real.real:
            assert number == real.real[column] or number.unit == real.real[column].unit
    assert (draft.plates, draft.convention, draft.hc_basis) == (
        real.plates, real.convention, real.hc_basis)
    assert draft.time_formats == real.time_formats
    assert draft.time_zone == real.time_zone
    assert (draft.long is None) == (real.long is None)
    if real.long is not None and draft.long is not None:
        assert draft.long.parameters == real.long.parameters


@pytest.mark.parametrize("name", IDS)
def test_general_words_alone_map_most_of_a_header(name: str, tmp_path: Path) -> None:
    draft = drafted(propose(SAMPLES / f"{name}.csv", without=[name]), tmp_path)
    assert share_right(name, draft) >= LEAST_ALONE.get(name, 0.9)


def renamed(tmp_path: Path, names: Mapping[str, str], encoding: str = "gb18030",
            separator: str = ",") -> Path:
    lines = (SAMPLES / "cn_platform.csv").read_bytes().decode("gb18030", "replace").split("\n")
    old = lines[0].strip("\r").split(",")
    header = separator.join(names.get(n, n) for n in old)
    body = [line.strip("\r").replace(",", separator) for line in lines[1:6]]
    path = tmp_path / "unknown.csv"
    path.write_bytes(("\n".join([header, *body]) + "\n").encode(encoding))
    return path


@pytest.mark.parametrize("without", [[], ["cn_platform", "cn_monitor_car"]])
@pytest.mark.parametrize(("encoding", "separator"), [
    ("gb18030", ","), ("utf-8", ";"), ("utf-8-sig", "\t"), ("utf-16", "|")])
def test_a_renamed_chinese_header_becomes_a_format_that_reads_the_dump(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: list[str], encoding: str,
        separator: str) -> None:
    path = renamed(tmp_path, CHINESE, encoding, separator)
    draft = drafted(propose(path, without=without), tmp_path)
    assert draft.plates == "cn"
    monkeypatch.setattr(formats_module, "get_format", lambda _: draft)
    got = read_path(path, format_id="new_format").frame
    monkeypatch.undo()
    original = renamed(tmp_path, {})
    wanted = read_path(original).frame
    assert got.height == wanted.height > 2
    apart = [c for c in wanted.columns if c not in ("co2_raw_pct", "intake_bits")
             and not got[c].equals(wanted[c], null_equal=True)]
    assert apart == []


def test_the_units_of_columns_that_contradict_each_other_are_put_right(tmp_path: Path) -> None:
    simulate(tmp_path / "city", vehicles=6000, days=1, seed=4)
    parts = [pl.read_csv(p, infer_schema=False, encoding="gb18030")
             for p in sorted((tmp_path / "city" / "dumps").glob("*.csv"))]
    mph = (pl.col("clsd").cast(pl.Float64) * 0.621371).round(3).cast(pl.String).alias("车速")
    kelvin = (pl.col("hjwd").cast(pl.Float64) + 273.15).round(2).cast(pl.String).alias("温度")
    kept = pl.concat(parts).select(
        "dwbh", "jcsj", "hphm", mph, kelvin, 加速度="cljsd", 坡度="cdpd", 比功率="vsp")
    kept.write_csv(tmp_path / "unknown.csv")
    text = propose(tmp_path / "unknown.csv", without=["cn_platform", "cn_monitor_car"])
    reals = drafted(text, tmp_path).real
    assert {n: reals[n].unit for n in ("车速", "温度", "加速度", "坡度")} == {
        "车速": "mph", "温度": "K", "加速度": "m/s2", "坡度": "degree"}
    assert "specific power follows" in text


# -- what is never shown --------------------------------------------------------------------------


def cells_of(path: Path) -> set[str]:
    text = path.read_bytes().decode("gb18030", "replace")
    rows = [re.split(r"[,;]", line) for line in text.splitlines()[1:]]
    return {c.strip() for row in rows for c in row if len(c.strip()) >= 5}


@pytest.mark.parametrize("name", IDS)
def test_no_cell_that_could_be_personal_is_in_the_draft(name: str) -> None:
    path = SAMPLES / f"{name}.csv"
    first = path.read_bytes().split(b"\n")[0].decode("gb18030")
    header = set(re.split(r"[,;]", first.strip()))
    harmless = {"velocity", "acceleration", "km/h/s", "9999", "65535"}  # quantities, null codes
    text = propose(path, without=[name])
    shown = {c for c in cells_of(path) - header - harmless if re.search(
        rf"(?<![\w.]){re.escape(c)}(?![\w.])", text)}
    assert shown == set()


def test_a_file_without_a_header_is_refused_and_its_cells_stay_unseen(tmp_path: Path) -> None:
    rows = "闽D12345,2024-05-01 08:30:05,46.8,0.5\n闽D54321,2024-05-01 08:30:09,40.1,0.2\n"
    path = tmp_path / "bare.csv"
    path.write_text(rows)
    with pytest.raises(InputRefused) as refusal:
        propose(path)
    assert "D12345" not in str(refusal.value)
    assert "08:30" not in str(refusal.value)
    answer = rsd("formats", "propose", path)
    assert answer.code == 3
    assert "D12345" not in answer.out + answer.err


def test_unknown_columns_are_told_by_their_form_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("站点,时间,车牌,备注\n" + "".join(
        f"S1,2024-05-01 08:30:0{k},闽D1234{k},张三{k}\n" for k in range(6)))
    text = propose(path)
    assert '"备注": text, 6 different in 6, mostly 汉汉9' in text
    assert "张三" not in text
    assert "闽" not in text


def test_a_plate_is_known_by_its_cells_whatever_its_column_is_called(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("where,when,col7\n" + "".join(
        f"A35020300{k},01/13/2024 08:30:0{k},闽D1234{k}\n" for k in range(6)))
    draft = drafted(propose(path), tmp_path)
    assert draft.text == {"where": "site_id", "col7": "plate"}
    assert draft.time_columns == ("when",)
    assert draft.time_formats == ("%m/%d/%Y %H:%M:%S",)


@pytest.mark.parametrize("content", [b"", b"one\n1\n", bytes(range(256)) * 40, b"a,b\n"])
def test_what_is_no_dump_is_refused_or_drafted_but_never_a_fault(
        content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with contextlib.suppress(InputRefused):
        drafted(propose(path), tmp_path)


def test_the_command_prints_a_draft_of_a_packed_dump(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((SAMPLES / "rsd.csv").read_bytes()))
    answer = rsd("formats", "propose", path)
    assert answer.code == 0
    assert drafted(answer.out, tmp_path).text["site_id"] == "site_id"


# -- the parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "to", "unit"), [
    ("Speed (m/s)", "speed_km_h", "m/s"), ("车速", "speed_km_h", "km/h"),
    ("VehicleSpeedMPH", "speed_km_h", "mph"), ("CO_ppm", "co_pct", "ppm"),
    ("NO/CO2", "no_co2", "mol/mol"), ("hc_gkg", "hc_g_kg_reported", "g/kg"),
    ("NO2浓度", "no2_ppm", "ppm"), ("CO2实测值", "co2_raw_pct", "%"),
    ("Ambient Temp (°F)", "air_temperature_c", "F"), ("road_grade_pct", "slope_deg", "%"),
    ("大气压(hPa)", "pressure_kpa", "hPa"),
])  # fmt: skip
def test_names_of_numbers(name: str, to: str, unit: str) -> None:
    (guess,) = by_words(Column(name, []))
    assert (guess.to, guess.unit) == (to, unit)


@pytest.mark.parametrize("name", ["CO_err", "NO_flag", "coxz限值", "record_x", "NO2_Valid", "备注"])
def test_names_that_are_no_value(name: str) -> None:
    assert [g for g in by_words(Column(name, [])) if g.kind == "real"] == []


def test_a_number_is_not_nitrogen_monoxide() -> None:
    assert [g.to for g in by_words(Column("POINT_NO", []))] == ["site_id"]
    assert unit_in("POINT_NO") == ""
    assert words_of("NOx_gpkg")[0] == "nox"


def test_times_in_several_forms_keep_one_order_of_day_and_month() -> None:
    cells = ["01/02/2024 08:00:00", "01/13/2024 09:00:00 PM", "01/02/2024 10:00:00"]
    assert time_patterns(cells) == ["%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"]
    assert time_patterns(["x", "y"]) == []
    assert shape_of(["闽D12345", "闽D54321"]) == "汉A99999"


def test_every_word_is_folded_and_of_a_column() -> None:
    from rsd.columns import REPORTED

    columns = {c.name for c in REPORTED} | {"vehicle_class"}
    for kind, table in vocabulary().items():
        for to, rows in table.items():
            assert kind == "words" or to in columns
            assert all(w == fold(w) for row in rows for w in row)
            assert all(row for row in rows)
    assert header_separator("a|b|c") == "|"
