"""Validity letters of single values, and times that are not simply the lake's local clock."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from intake_reading import Account, read

from rsd.intake.flags import all_true
from rsd.intake.records import place_named
from rsd.reasons import codes

OPUS = "SiteID,DateTime,Percent_CO,CO_Valid,Percent_CO2,CO2_Valid,PPM_HC,HC_Valid,AmbientTemp\n"
CARES = "site_name,date_time,valid_status,speed\n"
FEAT = ("License,Date,Time,Percent_CO,Percent_HC,Percent_NO,Percent_CO2,Max_CO2,HC_flag,Speed,"
        "Speed_flag\n")
NEW_YORK = "America/New_York"


def opus(*rows: str) -> Account:
    return read((OPUS + "".join(f"S1,09/23/2021 16:11:42,{r},297\n" for r in rows)).encode(),
                NEW_YORK)


def said(account: Account) -> list[list[str]]:
    return [codes(bits) for bits in account.column("intake_bits")]


@pytest.mark.parametrize(("row", "co", "hc", "reasons"), [
    ("0.5,V,15,V,40,V", 0.5, 80.0, []),
    ("0.5,v,15,V,40,Ｖ", 0.5, 80.0, []),
    ("0.5,X,15,V,40,V", None, 80.0, ["VALUE_INVALID"]),
    ("0.5,V,15,V,40,X", 0.5, None, ["VALUE_INVALID"]),
    ("0.5,V,15,X,40,V", None, None, ["VALUE_INVALID"]),
    ("0.5,,15,,40,", 0.5, 80.0, []),                     # says nothing
    ("0.5,NA,15,V,40,V", 0.5, 80.0, []),
    ("0.5,7,15,V,40,V", None, 80.0, ["CODE_UNKNOWN", "VALUE_INVALID"]),
    (",X,15,V,40,V", None, 80.0, []),                    # nothing was lost
    (",?,15,V,40,V", None, 80.0, ["CODE_UNKNOWN"]),
    ("-99,X,15,V,40,V", None, 80.0, ["SENTINEL"]),       # lost already
])
def test_a_letter_takes_a_value_and_never_the_record(row, co, hc, reasons) -> None:
    account = opus(row)
    assert (account.accepted, account.column("co_pct"), account.column("hc_ppm")) == (
        [2], [co], [hc])
    assert said(account) == [reasons]


def test_a_flag_that_the_header_lacks_takes_nothing() -> None:
    account = read((OPUS.replace(",PPM_HC,HC_Valid", ",PPM_HC") +
                    "S1,09/23/2021 16:11:42,0.5,V,15,V,40,0\n").encode(), NEW_YORK)
    assert account.column("hc_ppm") == [80.0]
    assert account.column("air_temperature_c") == [None]  # 0 K
    assert said(account) == [["SENTINEL"]]


def test_a_flag_of_a_column_that_the_header_lacks_is_no_matter() -> None:
    account = read((OPUS.replace(",PPM_HC,HC_Valid", ",HC_Valid") +
                    "S1,09/23/2021 16:11:42,0.5,V,15,V,X,297\n").encode(), NEW_YORK)
    assert account.column("hc_ppm") == [None]
    assert said(account) == [[]]


@given(st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 2), min_size=1))
def test_two_verdicts_are_one_as_soon_as_one_says_no(pairs) -> None:
    frame = pl.DataFrame(pairs, schema={"a": pl.Boolean, "b": pl.Boolean}, orient="row")
    wanted = [None if given == {None} else False not in given for given in map(set, pairs)]
    assert frame.select(all_true(pl.col("a"), pl.col("b"))).to_series().to_list() == wanted


# --- times ---------------------------------------------------------------------------------------

BAD = "X,nonsense\n"
"""A row that sends its chunk along the path of damaged ones."""


@pytest.mark.parametrize("more", ["", BAD])
@pytest.mark.parametrize(("text", "zone", "local", "is_second"), [
    ("2021-09-23T16:11:42Z", "Asia/Shanghai", datetime(2021, 9, 24, 0, 11, 42), False),
    ("2021-09-23T16:11:42.5Z", "Asia/Shanghai", datetime(2021, 9, 24, 0, 11, 42, 500_000), False),
    ("2021-09-23 16:11:42", "Asia/Shanghai", datetime(2021, 9, 24, 0, 11, 42), False),
    ("2021-09-23T18:11:42+02:00", "Asia/Shanghai", datetime(2021, 9, 24, 0, 11, 42), False),
    ("2021-10-31T00:30:00Z", "Europe/Rome", datetime(2021, 10, 31, 2, 30), False),
    ("2021-10-31T01:30:00Z", "Europe/Rome", datetime(2021, 10, 31, 2, 30), True),
    ("2021-03-28T01:30:00Z", "Europe/Rome", datetime(2021, 3, 28, 3, 30), False),
])
def test_a_format_of_utc_becomes_the_lakes_clock(text, zone, local, is_second, more) -> None:
    account = read((CARES + f"A,{text},TRUE,36\n{more}").encode(), zone)
    assert account.accepted == [2]
    assert account.column("measured_local") == [local]
    assert account.column("is_second_hour") == [is_second]


def test_whole_chunks_of_instants_take_the_fast_path() -> None:
    reader = read((CARES + "A,2021-09-23T16:11:42Z,TRUE,36\n").encode(), "Europe/Rome").reader
    frame = reader.layout.parse_strict(b"A,2021-10-31T01:30:00Z,TRUE,36\n", 1)
    assert frame is not None
    assert frame.select("measured_local", "is_second_hour").rows() == [
        (datetime(2021, 10, 31, 2, 30), True)]


def test_the_header_may_name_the_zone() -> None:
    head = OPUS.replace("DateTime", "DateTime (UTC)")
    account = read((head + "S1,01/01/2021 02:00:00,0.5,V,15,V,40,V,297\n").encode(), NEW_YORK)
    assert account.column("measured_local") == [datetime(2020, 12, 31, 21)]


@pytest.mark.parametrize("more", ["", BAD])
@pytest.mark.parametrize(("text", "local"), [
    ("09/23/2021 16:11:42", datetime(2021, 9, 23, 16, 11, 42)),
    ("9/3/2021 4:05:06 PM", datetime(2021, 9, 3, 16, 5, 6)),
    ("09/03/2021 12:05:06 AM", datetime(2021, 9, 3, 0, 5, 6)),
    ("09/03/2021 12:05:06 pm", datetime(2021, 9, 3, 12, 5, 6)),
    ("13/03/2021 12:05:06", None), ("09/23/2021 16:11:42 PM", None),
    ("09/23/2021 0:11:42 PM", None), ("09/23/2021", None), ("2021-09-23 16:11:42", None),
])
def test_month_first_with_24_hours_or_a_dial(text: str, local: datetime | None, more: str) -> None:
    account = read((OPUS + f"S1,{text},0.5,V,15,V,40,V,297\n{more}").encode(), NEW_YORK)
    assert account.column("measured_local") == ([local] if local else [])
    assert account.bad[:1] == ([] if local and not more else account.bad[:1])
    if local is None:
        assert account.bad[0] == (2, "impossible_time", "datetime")


@pytest.mark.parametrize("more", ["", BAD])
def test_a_date_and_a_clock_in_two_columns(more: str) -> None:
    rows = "A1,06/01/2012,11:59:58,1,0.004,0,14,2,V,25,V\n"
    account = read((FEAT + rows + more).encode(), NEW_YORK, name="Site 7.2012.csv")
    assert account.column("measured_local") == [datetime(2012, 6, 1, 11, 59, 58)]
    assert account.column("site_id") == ["Site 7"]
    assert account.column("hc_ppm") == [40.0]


@pytest.mark.parametrize(("name", "place"), [
    ("Example Road.csv", "Example Road"), ("a/b\\Site 7.csv.gz", "Site 7"), ("x.zip/m.csv", "m"),
    ("plain", "plain"), (".csv", ".csv")])
def test_the_place_that_a_file_is_named_by(name: str, place: str) -> None:
    assert place_named(name) == place
