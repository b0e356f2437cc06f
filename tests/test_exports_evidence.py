"""The evidence of findings: joined from the proof records, and what is missing is named."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from proofs import (
    CHECK,
    PHOTO,
    SITE_ROW,
    T1,
    T2,
    a_finding,
    a_pass,
    checks,
    findings,
    limits,
    passes,
    photos,
    sources,
)

from rsd.columns import FINDINGS, SITES, schema
from rsd.exports.evidence import (
    NEEDED,
    PLACES,
    PROOF,
    SUMMARY,
    Sources,
    columns,
    proof_rows,
    reason_codes,
    with_evidence,
)
from rsd.reasons import REASONS, codes, mask


def told(finding=None, **changes):
    return with_evidence(findings(finding or a_finding()), sources(**changes)).row(0, named=True)


def test_the_columns_stand_behind_those_of_the_finding():
    frame = with_evidence(findings(a_finding()), sources())
    own = [*schema(FINDINGS), *(c.name for c in SUMMARY), *columns("first"), *columns("second")]
    assert frame.columns == own
    for place in PLACES:
        for column in PROOF:
            assert frame.schema[f"{place}_{column.name}"] == column.dtype, column.name


def test_a_whole_proof_lacks_nothing():
    row = told()
    assert row["evidence_missing"] == []
    assert row["evidence_incomplete"] is False
    assert row["days_between"] == 2.5
    assert row["first_excess_ratio"] == 1.5
    assert row["second_excess_ratio"] == 1.2
    assert row["first_measured_local"] == datetime(2026, 9, 1, 7, 30)
    assert row["first_is_valid_pollutant"] is True
    assert row["first_photos"] == ["x.jpg", "y.jpg"]
    assert row["first_n_photos"] == 2
    assert row["second_video"] == "z.mp4"
    assert row["first_source_file"] == "a.csv"
    assert (row["first_site_name"], row["first_lon_wgs84"]) == ("桥", 118.1)
    assert row["first_device_check"] == "ok"
    assert row["first_device_checked_at"] == CHECK["checked_at"]
    assert row["second_opacity_pct"] == 36.0


def test_each_record_is_told_with_the_limit_of_its_own_day():
    """The first proof is of 2026-09-01 by the clock of Shanghai (T1 is the day before in UTC)."""
    border = date(2026, 9, 2)
    two = limits((date(2017, 1, 1), border, 40.0, "c1"), (border, None, 30.0, "c2"))
    row = told(limits=two)
    assert (row["first_limit"], row["first_clause"]) == (40.0, "c1")
    assert (row["second_limit"], row["second_clause"]) == (30.0, "c2")
    assert (row["first_excess_ratio"], row["second_excess_ratio"]) == (45 / 40, 36 / 30)
    assert row["evidence_missing"] == []
    on_the_border = limits((date(2017, 1, 1), date(2026, 9, 1), 40.0, "c1"),
                           (date(2026, 9, 1), None, 30.0, "c2"))
    assert told(limits=on_the_border)["first_limit"] == 30.0


@pytest.mark.parametrize("known", [None, limits(), limits((date(2026, 9, 2), None, 30.0, "c2"))])
def test_a_limit_that_nobody_kept_is_missing_and_not_guessed(known):
    row = told(limits=known)
    assert (row["first_limit"], row["first_clause"], row["first_excess_ratio"]) == (None,) * 3
    assert (row["second_limit"], row["second_excess_ratio"]) == (30.0, 1.2)
    assert row["evidence_missing"] == ["first.limit"]


def test_the_limit_of_a_verb_of_one_record_is_the_finding_s():
    row = told(a_finding(second_record_id=None, second_measured_at=None, second_value=None),
               limits=None)
    assert (row["first_limit"], row["first_clause"], row["first_excess_ratio"]) == (30, "c2", 1.5)
    assert (row["second_limit"], row["second_clause"]) == (None, None)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("place", [("first", "p1"), ("second", "p2")])
def test_a_null_is_named_by_place_and_column(name, place):
    rows = [a_pass("p1", T1), a_pass("p2", T2, opacity_pct=36.0)]
    which, record = place
    for row in rows:
        if row["record_id"] == record:
            row[name] = None
    missing = told(passes=passes(*rows))["evidence_missing"]
    assert f"{which}.{name}" in missing
    assert all(item.startswith(which) for item in missing)


def test_a_finding_without_its_pass_is_kept_and_says_so():
    row = told(passes=passes(a_pass("p2", T2, opacity_pct=36.0)))
    assert row["evidence_missing"] == ["first.record"]
    assert row["evidence_incomplete"] is True
    assert row["first_value"] == 45.0
    assert row["first_site_id"] is None


def test_nothing_at_all_drops_no_finding():
    many = findings(a_finding(), a_finding(vehicle_id="v1.b"), a_finding(first_record_id=None))
    frame = with_evidence(many, Sources(passes(), pl.DataFrame(schema=schema(SITES)),
                                        "Asia/Shanghai"))
    assert frame.height == 3
    assert frame["vehicle_id"].to_list() == ["v1.a", "v1.b", "v1.a"]
    assert frame["evidence_missing"].to_list() == [["first.record", "second.record"]] * 3


def test_a_verb_of_one_record_lacks_no_second():
    row = told(a_finding(second_record_id=None, second_measured_at=None, second_value=None))
    assert row["evidence_missing"] == []
    assert row["days_between"] is None


@pytest.mark.parametrize("change", [{"opacity_pct": 45.5}, {"opacity_pct": None},
                                    {"measured_at": T1 + timedelta(seconds=1)}])
def test_a_record_that_was_corrected_since_is_named(change):
    row = told(passes=passes(a_pass("p1", T1, **change) if "measured_at" not in change
                             else a_pass("p1", **{"at": change["measured_at"]}),
                             a_pass("p2", T2, opacity_pct=36.0)))
    assert row["evidence_missing"] == ["first.record_changed"]


def test_only_the_version_that_counts_is_told():
    old = a_pass("p1", T1, is_current=False, opacity_pct=99.0, wind_speed_m_s=9.0)
    rows = [old, a_pass("p1", T1), a_pass("p2", T2, opacity_pct=36.0)]
    for order in (rows, rows[::-1]):
        row = told(passes=passes(*order))
        assert row["first_wind_speed_m_s"] == 1.5
        assert row["evidence_missing"] == []


def test_photographs_belong_to_a_version_of_the_record():
    other = photos({"record_id": "p1", "source_sha256": "cd" * 32, "source_line": 7,
                    "photo_1": "wrong.jpg"},
                   {"record_id": "p2", **PHOTO, "photo_1": "z.jpg"})
    row = told(restricted=other)
    assert row["evidence_missing"] == ["first.photo"]
    assert row["first_photos"] == []


def test_a_blank_reference_is_no_photograph():
    row = told(restricted=photos({"record_id": "p1", **PHOTO, "photo_1": ""},
                                 {"record_id": "p2", **PHOTO, "photo_1": "z.jpg"}))
    assert row["evidence_missing"] == ["first.photo"]


def test_without_plates_photographs_are_counted_and_not_named():
    row = told(show_photos=False)
    assert (row["first_n_photos"], row["first_photos"], row["second_video"]) == (2, None, None)
    assert row["evidence_missing"] == []


def test_without_the_right_that_is_what_is_missing():
    row = told(restricted=None, files=None, show_photos=False)
    assert row["evidence_missing"] == ["first.restricted", "second.restricted"]
    assert (row["first_n_photos"], row["first_source_file"]) == (None, None)
    assert row["first_source_sha256"] == "ab" * 32


def test_the_last_check_is_that_of_the_line_before_the_pass():
    table = checks(CHECK, CHECK | {"checked_at": T1 - timedelta(days=1), "line_id": "01",
                                   "result": "line"},
                   CHECK | {"checked_at": T1 - timedelta(hours=1), "line_id": "02",
                            "result": "another line"},
                   CHECK | {"checked_at": T1 + timedelta(hours=1), "result": "after"},
                   CHECK | {"site_id": "X", "checked_at": T1, "result": "another site"})
    row = told(checks=table)
    assert row["first_device_check"] == "line"
    assert row["second_device_check"] == "after"


@pytest.mark.parametrize("table", [None, checks(), checks(CHECK | {"checked_at": T2})])
def test_an_instrument_without_a_check_before_the_pass_is_named(table):
    assert "first.device_check" in told(checks=table)["evidence_missing"]


def test_a_site_without_a_place_is_named():
    assert told(sites=pl.DataFrame(schema=schema(SITES)))["evidence_missing"] == [
        "first.site", "first.coordinates", "second.site", "second.coordinates"]
    bare = pl.DataFrame([SITE_ROW | {"lon_wgs84": None}], schema=schema(SITES))
    assert told(sites=bare)["evidence_missing"] == ["first.coordinates", "second.coordinates"]


def test_reasons_are_codes_in_the_order_of_their_bits():
    every = mask(*(reason.code for reason in REASONS))
    frame = pl.DataFrame({"bits": [0, 5, every, None]}, schema={"bits": pl.Int64})
    assert frame.select(reason_codes(pl.col("bits"))).to_series().to_list() == [
        [], codes(5), codes(every), []]
    row = told(passes=passes(a_pass("p1", T1, reason_bits=mask("SITE_UNKNOWN"), is_valid=False),
                             a_pass("p2", T2, opacity_pct=36.0)))
    assert row["first_reasons"] == ["SITE_UNKNOWN"]
    assert row["first_is_valid"] is False


def test_the_rows_of_proof_stand_together():
    single = a_finding(vehicle_id="v1.b", second_record_id=None, second_value=None)
    frame = proof_rows(with_evidence(findings(a_finding(), single), sources()),
                       ["vehicle_id", "plate"])
    assert frame.select("vehicle_id", "place", "record_id", "value").rows() == [
        ("v1.a", "first", "p1", 45.0), ("v1.a", "second", "p2", 36.0),
        ("v1.b", "first", "p1", 45.0)]
    assert frame.columns[5:] == [c.name for c in PROOF]
