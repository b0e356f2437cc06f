"""Each built-in format has a small invented dump, and a file that says what must come of it.

A new vendor format is one TOML file under rsd/intake/formats and such a pair here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import counter
import pytest
from intake_reading import SIZES, Account, assert_exact, read_path

from rsd.columns import REPORTED
from rsd.intake.formats import formats
from rsd.reasons import codes

FOLDER = Path(__file__).resolve().parents[1] / "sample_data"
MAX_SAMPLE_BYTES = 64 * 1024
KEYS = {"format", "timezone", "records", "accepted", "quarantined", "blank", "accepted_lines",
        "ignored_columns", "reasons", "first_pass", "quarantine"}
OPTIONAL = {"other_passes"}
SAMPLES = sorted(p.name.removesuffix(".csv") for p in FOLDER.glob("*.csv"))


def expected_of(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.expected.toml").read_text(encoding="utf-8"))


def account_of(name: str, size: int | None = None) -> Account:
    return read_path(FOLDER / f"{name}.csv", expected_of(name)["timezone"], size=size)


@pytest.mark.parametrize("format_id", formats())
def test_every_built_in_format_has_a_sample(format_id: str) -> None:
    found = [name for name in SAMPLES if expected_of(name)["format"] == format_id]
    assert found, (f"no sample of {format_id}: add sample_data/{format_id}.csv and "
                   f"sample_data/{format_id}.expected.toml")


def test_samples_and_expectations_come_in_pairs() -> None:
    expected = sorted(p.name.removesuffix(".expected.toml") for p in FOLDER.glob("*.toml"))
    assert expected == SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_small_and_shows_good_and_bad_records(name: str) -> None:
    expected = expected_of(name)
    assert (FOLDER / f"{name}.csv").stat().st_size <= MAX_SAMPLE_BYTES
    assert KEYS <= set(expected) <= KEYS | OPTIONAL
    assert expected["accepted"] >= 2
    assert expected["quarantined"] >= 2
    assert expected["records"] == expected["accepted"] + expected["quarantined"]


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"chunk {s or 'whole'}")
@pytest.mark.parametrize("name", SAMPLES)
def test_the_account_of_a_sample(name: str, size: int | None) -> None:
    expected, account = expected_of(name), account_of(name, size)
    assert account.reader.format.id == expected["format"]
    assert account.reader.layout.ignored == expected["ignored_columns"]
    assert account.accepted == expected["accepted_lines"]
    assert account.frame.height == expected["accepted"]
    assert account.quarantine.height == expected["quarantined"]
    assert account.blank == expected["blank"]
    assert account.bad == [(q["line"], q["reason"], q.get("column"))
                           for q in expected["quarantine"]]
    assert_exact(account, (FOLDER / f"{name}.csv").read_bytes())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_pass_of_a_sample(name: str) -> None:
    expected, row = expected_of(name)["first_pass"], account_of(name).frame.row(0, named=True)
    given = {column: value for column, value in row.items() if value is not None}
    assert set(given) == set(expected)
    for column in REPORTED:
        if column.name in expected:
            wanted = expected[column.name]
            is_real = isinstance(wanted, float)
            assert given[column.name] == (pytest.approx(wanted, rel=1e-12) if is_real else wanted)


@pytest.mark.parametrize("name", [n for n in SAMPLES if "other_passes" in expected_of(n)])
def test_what_other_passes_of_a_sample_have_and_lack(name: str) -> None:
    rows = {str(r["source_line"]): r for r in account_of(name).frame.iter_rows(named=True)}
    for line, wanted in expected_of(name)["other_passes"].items():
        absent = wanted.pop("absent", [])
        assert [c for c in absent if rows[line][c] is not None] == []
        real = {k: pytest.approx(v, rel=1e-12) for k, v in wanted.items() if isinstance(v, float)}
        assert {c: rows[line][c] for c in wanted} == wanted | real


@pytest.mark.parametrize("name", SAMPLES)
def test_the_reasons_that_intake_sets(name: str) -> None:
    rows = account_of(name).frame.select("source_line", "intake_bits").iter_rows()
    assert {str(line): codes(bits) for line, bits in rows if bits} == expected_of(name)["reasons"]


def kinds_of(account: Account) -> dict[str, str]:
    """What the counter must know of a format's columns."""
    layout = account.reader.layout
    kinds = dict.fromkeys(layout.reals, "number") | dict.fromkeys(layout.whole, "whole")
    kinds |= dict.fromkeys(layout.dates, "date") | dict.fromkeys(layout.required, "required")
    return kinds | {layout.time: "time"}


def rules_of(account: Account) -> counter.Rules:
    """What the counter must know of how a format writes."""
    layout, fmt = account.reader.layout, account.reader.layout.format
    return counter.Rules(chr(layout.separator), fmt.null_text, fmt.time_formats, layout.clock,
                         not fmt.needs_final_newline)


def counted(name: str, account: Account) -> counter.Count:
    fmt = account.reader.format
    found = counter.count((FOLDER / f"{name}.csv").read_bytes(), kinds_of(account),
                          has_gb18030="gb18030" in fmt.encodings, rules=rules_of(account))
    if fmt.long is None:
        return found
    units = {n: r.unit for n, r in fmt.long.parameters.items()}
    same = ("date_measured", "site_roadgrade", "vehicle_type", "vehicle_fuel_type",
            "vehicle_euronorm")
    return counter.join(found, fmt.long.key, fmt.long.parameter, fmt.long.unit, same, units)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_independent_counter_agrees(name: str) -> None:
    account = account_of(name)
    found = counted(name, account)
    assert found.accepted == account.accepted
    assert found.bad == account.quarantine.select("line", "byte_offset", "raw").rows()
    assert len(found.blank) == account.blank
