"""Long dumps: rows of one pass become one record, and every row is accounted for."""

from __future__ import annotations

import counter
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_reading import SIZES, Account, assert_exact, read
from test_sample_data import kinds_of, rules_of

from rsd.errors import InputRefused
from rsd.intake import long
from rsd.intake.long import _Closed

ZURICH = "Europe/Zurich"
HEAD = ("id;date_measured;site_roadgrade;vehicle_type;vehicle_fuel_type;vehicle_euronorm;"
        "parameter;value;unit\n")
SAME = ("date_measured", "site_roadgrade", "vehicle_type", "vehicle_fuel_type",
        "vehicle_euronorm")
UNITS = {"velocity": "km/h", "acceleration": "km/h/s", "no": "ppm", "co2": "%", "co": "%",
         "hc": "ppm", "no2": "ppm"}


def row(key: object, parameter: str = "NO", value: object = 1, unit: str = "",
        vehicle: str = "diesel") -> str:
    return f"{key};2015-06-01;0.02;passenger car;{vehicle};Euro5a;{parameter};{value};{unit}\n"


def read_rows(*rows: str, size: int | None = None) -> Account:
    return read((HEAD + "".join(rows)).encode(), ZURICH, size=size, name="Example Road.csv")


def counted(data: bytes, account: Account) -> counter.Count:
    rows = counter.count(data, kinds_of(account), has_gb18030=False, rules=rules_of(account))
    return counter.join(rows, "id", "parameter", "unit", SAME, UNITS)


@pytest.mark.parametrize("size", SIZES)
def test_a_pass_is_its_rows_and_begins_at_the_first(size: int | None) -> None:
    rows = [row(key, name, key * 10 + k, UNITS[name.lower()])
            for key in range(1, 8) for k, name in enumerate(("velocity", "NO", "CO2", "HC"))]
    account = read_rows(*rows, size=size)
    assert account.accepted == [2 + 4 * k for k in range(7)]
    assert account.column("record_id") == [str(k) for k in range(1, 8)]
    assert account.column("speed_km_h") == [10.0 * k for k in range(1, 8)]
    assert account.column("hc_ppm") == [10.0 * k + 3 for k in range(1, 8)]
    assert set(account.column("site_id")) == {"Example Road"}
    assert account.quarantine.is_empty()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("bad", "reason", "column"), [
    (row(1, "CO", "abc"), "not_a_number", "value"),
    (row(1, "CO", "inf"), "not_finite", "value"),
    (row(1, "NO", 5), "repeated_parameter", "parameter"),
    (row(1, "CO", 5, "ppm"), "other_unit", "unit"),
    (row(1, "CO", 5, vehicle="gasoline"), "differs_from_its_pass", "id"),
    (row("", "CO", 5), "blank_required", "id"),
    (row(1, "", 5), "blank_required", "parameter"),
    ("1;2015-06-01;0.02\n", "wrong_field_count", None),
    (row(1, "CO", '"5\n"x'), "unbalanced_quote", None),
])
def test_a_bad_row_is_one_record_and_takes_no_other_with_it(bad, reason, column, size) -> None:
    rows = [row(1, "NO", 310), row(1, "CO2", 14), bad, row(1, "HC", 7), row(2, "NO", 5)]
    account = read_rows(*rows, size=size)
    assert (4, reason, column) in account.bad
    assert account.accepted[0] == 2
    assert account.column("record_id") == ["1", "2"]
    first = account.frame.row(0, named=True)
    assert (first["no_ppm"], first["co2_pct"], first["hc_ppm"], first["co_pct"]) == (
        310.0, 14.0, 7.0, None)
    assert_exact(account, (HEAD + "".join(rows)).encode())


@pytest.mark.parametrize("size", SIZES)
def test_a_row_of_a_pass_that_was_over_stands_apart(size: int | None) -> None:
    rows = [row(1, "NO"), row(2, "NO"), row(1, "CO2"), row(2, "CO2"), row(3, "NO"), row(2, "CO")]
    account = read_rows(*rows, size=size)
    assert account.column("record_id") == ["1", "2", "3"]
    assert account.column("co2_pct") == [None, 1.0, None]  # the stray row did not end pass 2
    assert account.bad == [(4, "apart_from_its_pass", "id"), (7, "apart_from_its_pass", "id")]


def test_a_file_ordered_by_parameter_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(long, "_MOST_APART", 3)
    rows = [row(key, name) for name in ("NO", "CO2", "CO") for key in range(9)]
    with pytest.raises(InputRefused, match="do not stand together") as caught:
        read_rows(*rows)
    assert "Sort the file by id" in str(caught.value.remedy)


def test_blank_lines_and_quotes_over_lines_keep_their_raw_bytes() -> None:
    rows = [row(1, "NO"), "\n", row(1, "NO", '"2"'), "  \n", row(1, '"N\nO"'), row(1, "CO2")]
    account = read_rows(*rows)
    assert account.blank == 2
    assert account.bad == [(4, "repeated_parameter", "parameter")]
    assert account.quarantine["raw"].to_list() == [row(1, "NO", '"2"').rstrip("\n").encode()]
    assert_exact(account, (HEAD + "".join(rows)).encode())


def test_what_no_format_knows_is_named_and_read_over() -> None:
    account = read_rows(row(1, "NO"), row(1, "uv_smoke"), row(1, "uv_smoke"), row(1, "闽D12345"),
                        row(1, "a" * 99), row(2, "vehicle_specific_power"))
    assert account.accepted == [2, 7]
    assert account.reader.layout.ignored == ["parameter=uv_smoke"]


def test_units_in_other_spellings_are_the_same_units() -> None:
    account = read_rows(row(1, "velocity", 36, "KM/H"), row(1, "NO", 5, " ppm "),
                        row(1, "CO2", 5, "Vol%"), row(1, "HC", 5, "ppm C3"))
    assert account.bad == [(5, "other_unit", "unit")]  # says more than the format knows


def test_empty_and_headless_files() -> None:
    assert read_rows().accepted == []
    with pytest.raises(InputRefused, match="separated otherwise"):
        read(HEAD.replace(";", ",").encode(), ZURICH)


KEYS = st.sampled_from(["1", "2", "3", "4", ""])
NAMES = st.sampled_from(["NO", "CO2", "CO", "HC", "velocity", "uv", ""])
ROWS = st.lists(st.one_of(
    st.builds(row, KEYS, NAMES, st.sampled_from(["1", "NA", "x", "-0.5", "1e999"]),
              st.sampled_from(["", "ppm", "%", "V"]),
              st.sampled_from(["diesel", "diesel", "diesel", "gasoline"])),
    st.sampled_from(["\n", "broken\n", "a;b\n", '1;"\n', "\0;;;;;;;;\n", HEAD]),
), max_size=25)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.sampled_from(SIZES))
def test_the_account_is_that_of_the_counter(rows: list[str], size: int | None) -> None:
    data = (HEAD + "".join(rows)).encode()
    account = read(data, ZURICH, size=size)
    found = counted(data, account)
    assert account.accepted == found.accepted
    assert account.quarantine.select("line", "byte_offset", "raw").rows() == found.bad
    assert account.blank == len(found.blank)
    assert_exact(account, data)


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=9), max_size=9))
def test_the_closed_passes_are_known_in_few_runs(parts: list[list[int]]) -> None:
    import numpy as np

    closed = _Closed()
    for part in parts:
        closed.add(np.array(part, np.uint64))
    every = np.array([x for part in parts for x in part], np.uint64)
    assert closed.holds(every).all()
    strange = np.array([x for x in range(50) if x not in set(every.tolist())], np.uint64)
    assert not closed.holds(strange).any()
    assert len(closed.runs) <= 1 + max(1, every.size).bit_length()
