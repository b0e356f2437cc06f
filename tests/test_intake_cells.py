"""Cells: what is a number, a whole number, a time, a date; what is null; what is blamed.

Each case is read twice: in a clean chunk, and in one with a damaged record, which takes another
path. Both must say the same.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from chain import rsd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from intake_reading import SHANGHAI, Account, read

COLUMNS = ("site_id", "measured_at", "plate", "speed_km_h", "ringelmann", "first_registered")
GOOD = {"site_id": "S1", "measured_at": "2024-05-01 10:00:00", "plate": "P11111",
        "speed_km_h": "50.5", "ringelmann": "1", "first_registered": "2015-03-31"}
LONDON = "Europe/London"
DAMAGE = "one cell\n"

both_paths = pytest.mark.parametrize("damage", ["", DAMAGE], ids=["clean", "beside damage"])


def account_of(damage: str, timezone: str = SHANGHAI, **cells: str) -> Account:
    row = ",".join({**GOOD, **cells}[c] for c in COLUMNS)
    text = ",".join(COLUMNS) + "\n" + row + "\n" + damage
    return read(text.encode(), timezone)


def value_of(column: str, text: str, damage: str, timezone: str = SHANGHAI):
    """The value that a cell became, or the reason why its record was quarantined."""
    account = account_of(damage, timezone, **{column: text})
    blamed = [(reason, name) for line, reason, name in account.bad if line == 2]
    assert len(blamed) + account.frame.height == 1
    if blamed:
        assert blamed[0][1] == column
        return blamed[0][0]
    target = {"measured_at": "measured_local", "first_registered": "first_registered_reported"}
    return account.frame[target.get(column, column)][0]


# --- numbers -------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0), ("-5", -5.0), ("+5", 5.0), ("0.25", 0.25), (".5", 0.5), ("5.", 5.0),
        ("1e3", 1000.0), ("1E-3", 0.001), ("00012", 12.0), ("1e-400", 0.0),
        ("4.9e-324", 5e-324), ("1.7976931348623157e308", 1.7976931348623157e308),
        ("9007199254740993", 9007199254740992.0), ("0.1", 0.1),
        (" 5", 5.0), ("5 ", 5.0), ("  5  ", 5.0), ("\u30005\u3000", 5.0), ("\u00a05", 5.0),
        ("５", 5.0), ("－１．５", -1.5), ("＋２", 2.0),
        ("", None), (" ", None), ('""', None), ('"5"', 5.0), ('" 5 "', 5.0),
    ],
)  # fmt: skip
def test_numbers(text: str, value: float | None, damage: str) -> None:
    assert value_of("speed_km_h", text, damage) == value


@both_paths
def test_minus_zero_stays_minus_zero(damage: str) -> None:
    assert math.copysign(1.0, value_of("speed_km_h", "-0", damage)) == -1.0


@both_paths
@pytest.mark.parametrize(
    "text",
    ["abc", "0x10", "1_000", "1 000", "1'000", "１，０００", "5%", "5 km/h", "--5", "5-", ".", "-",
     "+", "e5", "1e", "1e5.0", "1.2.3", "0b1", "1d5", "1f", "true", "NA", "null", "None", "#N/A",
     "−5", "٣", "½", "5²", "①", "Ⅳ", "5\u200b", "闽", '"1,5"', "2024-05-01"],
)  # fmt: skip
def test_what_is_no_number_goes_to_quarantine(text: str, damage: str) -> None:
    assert value_of("speed_km_h", text, damage) == "not_a_number"


@both_paths
@pytest.mark.parametrize(
    "text", ["NaN", "nan", "-nan", "inf", "Inf", "-inf", "+inf", "INFINITY", "1e400", "-1e400",
             "9" * 400, "ｉｎｆ"])  # fmt: skip
def test_a_number_must_be_finite(text: str, damage: str) -> None:
    assert value_of("speed_km_h", text, damage) == "not_finite"


@both_paths
@pytest.mark.parametrize(("text", "value"), [("3", 3.0), ("3.0", 3.0), ("3e0", 3.0), ("-1", -1.0),
                                             ("", None), (" 3 ", 3.0)])
def test_whole_numbers(text: str, value: float | None, damage: str) -> None:
    assert value_of("ringelmann", text, damage) == value


@both_paths
@pytest.mark.parametrize("text", ["3.7", "0.5", "-0.1", "1e-9"])
def test_a_fraction_in_a_whole_number_column_is_not_rounded(text: str, damage: str) -> None:
    assert value_of("ringelmann", text, damage) == "not_whole"


@both_paths
def test_large_numbers_that_only_add_up_to_infinity_are_fine(damage: str) -> None:
    assert account_of(damage, speed_km_h="1e308", ringelmann="1e308").accepted == [2]
    row = ",".join({**GOOD, "speed_km_h": "1.7e308"}[c] for c in COLUMNS)
    text = ",".join(COLUMNS) + "\n" + f"{row}\n" * 9 + damage
    assert read(text.encode()).frame.height == 9


@both_paths
@settings(max_examples=40)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
@example(value=0.1 + 0.2)
def test_every_float_comes_back_bit_for_bit(damage: str, value: float) -> None:
    assert value_of("speed_km_h", repr(value), damage) == value


# --- times ---------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10)),
        (" 2024-05-01 10:00:00 ", datetime(2024, 5, 1, 10)),
        ('"2024-05-01 10:00:00"', datetime(2024, 5, 1, 10)),
        ("2024-05-01 10:00:00.25", datetime(2024, 5, 1, 10, 0, 0, 250_000)),
        ("2024-05-01T10:00:00.123456", datetime(2024, 5, 1, 10, 0, 0, 123_456)),
        ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59)),
        ("2024-12-31 00:00:00", datetime(2024, 12, 31)),
        ("1970-01-01 00:00:00", datetime(1970, 1, 1)),
        ("2199-12-31 23:59:59", datetime(2199, 12, 31, 23, 59, 59)),
        ("1950-01-01 00:00:00", datetime(1950, 1, 1)),
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 18)),
        ("2024-05-01T10:00:00z", datetime(2024, 5, 1, 18)),
        ("2024-05-01 10:00:00+08:00", datetime(2024, 5, 1, 10)),
        ("2024-05-01T10:00:00-05:30", datetime(2024, 5, 1, 23, 30)),
        ("2024-05-01T10:00:00.5+00:00", datetime(2024, 5, 1, 18, 0, 0, 500_000)),
    ],
)
def test_times(text: str, value: datetime, damage: str) -> None:
    assert value_of("measured_at", text, damage) == value


@both_paths
@pytest.mark.parametrize(
    "text",
    ["2023-02-29 10:00:00", "1900-02-29 10:00:00", "2024-04-31 10:00:00", "2024-13-01 10:00:00",
     "2024-00-01 10:00:00", "2024-01-00 10:00:00", "2024-05-01 24:00:00", "2024-05-01 10:60:00",
     "2024-05-01 10:00:61", "2024-05-01 10:00", "2024-05-01", "10:00:00", "45413.5", "1714557600",
     "01.05.2024 10:00:00", "05/01/2024 10:00:00", "2024-05-01 10:00:00 AM", "yesterday",
     "2024-05-01 10:00:00+25:00", "2024-05-01 10:00:00.", "20240-05-01 10:00:00",
     "２０２４-05-01 10:00:00", "2024-05-01 10:00:00 Europe/Paris"],
)  # fmt: skip
def test_an_impossible_time_goes_to_quarantine(text: str, damage: str) -> None:
    assert value_of("measured_at", text, damage) == "impossible_time"


@both_paths
@pytest.mark.parametrize(
    "text",
    ["2024-5-01 10:00:00", "2024-05-1 10:00:00", "2024-05-01 1:00:00", "2024-05-01 10:00:0",
     "2024-05- 1 10:00:00", "2024-05-01  1:00:00", "2024-05-01 10: 0:00", "2024-05-0110:00:00",
     "2024-05-01  10:00:0", "+2024-05-01 10:00:00", "2024-05-01T1:00:00Z", "2024-5-1T10:00:00.5",
     "2024-05-1 10:00:00+08:00", "2024-05-01 1:00:00+0800", "2024-05-01\t10:00:00"],
)  # fmt: skip
def test_a_time_that_lost_a_digit_is_no_other_time(text: str, damage: str) -> None:
    assert value_of("measured_at", text, damage) == "impossible_time"


@both_paths
@pytest.mark.parametrize("text", ["1949-12-31 23:59:59", "2200-01-01 00:00:00",
                                  "9999-12-31 23:59:59", "0001-01-01 00:00:00"])
def test_a_year_in_which_nobody_measures_is_an_impossible_time(text: str, damage: str) -> None:
    assert value_of("measured_at", text, damage) == "impossible_time"


@both_paths
@pytest.mark.parametrize("text", ["2024-05-01 10:00:60", "2016-12-31 23:59:60"])
def test_a_second_60_is_not_the_next_minute(text: str, damage: str) -> None:
    assert value_of("measured_at", text, damage) == "impossible_time"


@both_paths
@pytest.mark.parametrize("text", ["0000-01-01 10:00:00", "-2024-05-01 10:00:00",
                                  "204-05-01 10:00:00", "24-05-01 10:00:00", "0-05-01 10:00:00"])
def test_a_year_that_is_none_is_an_impossible_time(text: str, damage: str) -> None:
    """A year with a digit lost is no year of the Roman empire."""
    assert value_of("measured_at", text, damage) == "impossible_time"


@pytest.mark.parametrize("text", ["2024-05-01 08:05:00", "2024/05/01 08:05:00", "2024/5/1 8:05:00",
                                  "2024-05-01T08:05:00", "20240501080500"])
@both_paths
def test_the_platform_writes_times_in_several_ways(text: str, damage: str) -> None:
    data = f"dwbh,jcsj,hphm,clsd\nA350203001,{text},闽D12345,40\n{damage}"
    assert read(data.encode()).column("measured_local") == [datetime(2024, 5, 1, 8, 5)]


@pytest.mark.parametrize("text", ["2024050108050", "2024050108500", "202405010805001"])
@both_paths
def test_a_run_of_digits_that_lost_or_won_one_is_no_time(text: str, damage: str) -> None:
    """Read from the left, 13 digits still make a time: another one."""
    data = f"dwbh,jcsj,hphm,clsd\nA350203001,{text},闽D12345,40\n{damage}"
    assert [b[1] for b in read(data.encode()).bad][:1] == ["impossible_time"]


def test_times_of_several_kinds_in_one_file() -> None:
    """Naive, UTC and +08:00 mixed: each is the instant that it says."""
    head = "site_id,measured_at,speed_km_h\n"
    texts = ["2024-05-01 10:00:00", "2024-05-01T02:00:00Z", "2024-05-01T10:00:00+08:00",
             "2024-05-01T10:00:00.5"]
    account = read((head + "".join(f"S1,{t},5\n" for t in texts)).encode())
    ten = datetime(2024, 5, 1, 10)
    assert account.column("measured_local") == [ten, ten, ten, ten.replace(microsecond=500_000)]


@both_paths
def test_a_time_that_the_clock_skips_goes_to_quarantine(damage: str) -> None:
    for skipped in ("2024-03-31 01:00:00", "2024-03-31 01:59:59"):
        account = account_of(damage, LONDON, measured_at=skipped)
        assert account.bad[0] == (2, "impossible_time", "measured_at")
        assert "set forward" in account.quarantine["reason"][0]
    for there in ("2024-03-31 00:59:59", "2024-03-31 02:00:00"):
        assert account_of(damage, LONDON, measured_at=there).accepted == [2]
    assert account_of(damage, SHANGHAI, measured_at="2024-03-31 01:30:00").accepted == [2]


@both_paths
def test_a_time_that_occurs_twice_is_accepted(damage: str) -> None:
    twice = "2024-10-27 01:30:00"
    assert value_of("measured_at", twice, damage, LONDON) == datetime(2024, 10, 27, 1, 30)


@both_paths
def test_an_instant_with_an_offset_is_never_skipped(damage: str) -> None:
    found = value_of("measured_at", "2024-03-31T01:30:00Z", damage, LONDON)
    assert found == datetime(2024, 3, 31, 2, 30)


@both_paths
def test_the_afternoon_of_a_12_hour_dial_is_not_skipped_at_night(damage: str) -> None:
    """CONOX writes 13:30 as 01:30: on the day the clock is set forward that hour exists."""
    data = (b"ConoxID,Site,PassageTime,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2\n"
            b"1,A,2013-03-31 01:30:00,0.01,0.001,0.001\n" + damage.encode())
    account = read(data, LONDON)
    assert account.column("measured_local") == [datetime(2013, 3, 31, 13, 30)]


# --- dates ---------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize(("text", "value"), [("2024-02-29", date(2024, 2, 29)), ("", None),
                                             (" 2015-03-31 ", date(2015, 3, 31)), (" ", None)])
def test_dates(text: str, value: date | None, damage: str) -> None:
    assert value_of("first_registered", text, damage) == value


@both_paths
@pytest.mark.parametrize("text", ["2023-02-29", "2015-13-01", "2015", "31.03.2015", "x",
                                  "2015-03-31 10:00:00", "42094", "15-03-31", "2015-3-31",
                                  "215-03-31", "2015-03- 1", "0000-01-01", "-2015-03-31"])
def test_an_impossible_date_goes_to_quarantine(text: str, damage: str) -> None:
    assert value_of("first_registered", text, damage) == "impossible_date"


# --- blanks --------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("column", ["site_id", "measured_at"])
@pytest.mark.parametrize("blank", ["", " ", "   ", "\t", "\u3000", "\u00a0", '""', '" "'])
def test_a_blank_site_or_time_goes_to_quarantine(column: str, blank: str, damage: str) -> None:
    assert value_of(column, blank, damage) == "blank_required"


@both_paths
@pytest.mark.parametrize("blank", ["", " ", "\u3000", '""'])
def test_other_blanks_are_null(blank: str, damage: str) -> None:
    account = account_of(damage, plate=blank, speed_km_h=blank, ringelmann=blank,
                         first_registered=blank)
    assert account.accepted == [2]
    row = account.frame.row(0, named=True)
    assert [row[c] for c in ("plate", "speed_km_h", "ringelmann",
                             "first_registered_reported")] == [None] * 4
    assert row["intake_bits"] == 0


@both_paths
@pytest.mark.parametrize("space", [" ", "  ", "\t", "\u3000", "\u00a0"])
def test_spaces_around_a_text_are_not_part_of_it(space: str, damage: str) -> None:
    account = account_of(damage, site_id=f"{space}S 1{space}", plate=f"P1{space}")
    assert (account.column("site_id"), account.column("plate")) == (["S 1"], ["P1"])


@both_paths
def test_na_is_null_in_conox_only(damage: str) -> None:
    names = b"ConoxID,Site,PassageTime,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2,FuelType,Instrument\n"
    row = b"1,A,2013-04-30 09:30:00,NA,0.001, NA,NA, NA \n"
    account = read(names + row + damage.encode())
    assert account.accepted == [2]
    got = account.frame.row(0, named=True)
    assert [got[c] for c in ("co_co2", "hc_co2", "no_co2", "line_id", "fuel_reported")] == [
        None, 0.001, None, None, "unknown"]
    assert got["intake_bits"] == 0


@both_paths
@pytest.mark.parametrize("cell", ["NA", " NA", "NA "])
def test_na_is_null_in_a_text_or_a_code_too(cell: str, damage: str) -> None:
    names = ("ConoxID,Site,PassageTime,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2,Instrument,"
             "FuelType,EuroStandard\n")
    row = f"1,A,2013-04-30 09:30:00,1,1,1,{cell},{cell},{cell}\n"
    got = read((names + row + damage).encode()).frame.row(0, named=True)
    assert [got[c] for c in ("line_id", "fuel_reported", "emission_standard",
                             "emission_stage_reported", "intake_bits")] == [
        None, "unknown", None, None, 0]


@pytest.mark.parametrize("cell", ["NA", " NA", "NA "])
@both_paths
def test_na_as_the_site_is_a_blank_site(cell: str, damage: str) -> None:
    names = "ConoxID,Site,PassageTime,Ratio_CO_CO2,Ratio_HC_CO2,Ratio_NO_CO2\n"
    account = read((names + f"1,{cell},2013-04-30 09:30:00,1,1,1\n" + damage).encode())
    assert account.bad[0] == (2, "blank_required", "site")


@both_paths
def test_the_first_cell_to_blame_is_named_once(damage: str) -> None:
    account = account_of(damage, site_id="", measured_at="x", speed_km_h="y", ringelmann="0.5")
    assert account.bad[0] == (2, "blank_required", "site_id")
    assert [line for line, *_ in account.bad].count(2) == 1


def test_an_instant_in_the_hour_that_occurs_twice_stays_that_instant(tmp_path: Path) -> None:
    """A time with an offset says which of the two it is; only the other kind is ambiguous."""
    lake, path = tmp_path / "lake", tmp_path / "a.csv"
    path.write_text("site_id,measured_at,plate,speed_km_h\n"
                    "S1,2024-10-27T00:30:00Z,AB12CDE,50\n"
                    "S1,2024-10-27T01:30:00Z,AB34CDE,50\n"
                    "S1,2024-10-27 01:30:00,AB56CDE,50\n")
    assert rsd("init", lake, "--timezone", LONDON).code == 0
    assert rsd("ingest", lake, path).code == 0
    answer = rsd("query", lake, "SELECT epoch(measured_at)::BIGINT AS at, reasons FROM passes "
                 "ORDER BY source_line", "--format", "json")
    base = int(datetime(2024, 10, 27, tzinfo=UTC).timestamp())
    assert [row["at"] - base for row in answer.json] == [1800, 5400, 1800]
    assert ["TIME_AMBIGUOUS" in str(row["reasons"]) for row in answer.json] == [False, False, True]
