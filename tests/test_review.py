"""States, proofs, chain, calendar and deadlines of a review, without a lake."""

from __future__ import annotations

import datetime as dt
import tomllib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from review_lake import FIRST, finding, frame

from rsd.columns import CALENDAR, FINDINGS, REVIEWS, empty, schema
from rsd.errors import InputRefused, PolicyRefusal, UsageError
from rsd.review import deadlines, events, flow
from rsd.review.calendar import WorkingDays, read_calendar
from rsd.review.cases import cases, referable
from rsd.review.identity import PROOF, finding_ids

BOOK = tomllib.loads((Path(__file__).parent / "cases/review.toml").read_text(encoding="utf-8"))
ACTS = sorted({act for acts in BOOK["machine"].values() for act in acts} | {"withdraw"})
D = dt.date


def leads(state: str, act: str, *, shortcuts: bool, is_withdrawn: bool) -> list[str] | None:
    """The states that an act passes through, by the case file; None where it is refused."""
    if is_withdrawn:
        known = {"note": [state]} | ({} if state == "closed" else
                                     {a: [to] for a, to in BOOK["withdrawn"].items()})
    else:
        known = BOOK["machine"][state] | (BOOK["shortcuts"].get(state, {}) if shortcuts else {})
    return known.get(act)


@pytest.mark.parametrize("is_withdrawn", [False, True])
@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize("state", BOOK["machine"])
def test_every_act_in_every_state_is_as_the_case_file_says(state, shortcuts, is_withdrawn):
    machine = flow.load(with_shortcuts=shortcuts)
    assert set(machine.states) == set(BOOK["machine"])
    assert machine.initial == BOOK["initial"]
    assert set(machine.actions) == set(ACTS)
    possible = []
    for act in ACTS:
        expected = leads(state, act, shortcuts=shortcuts, is_withdrawn=is_withdrawn)
        if expected is None:
            with pytest.raises(PolicyRefusal) as caught:
                machine.path(state, act, is_withdrawn=is_withdrawn)
            named = (caught.value.expected or "").removeprefix("one of ").split(", ")
            assert act not in named
            continue
        possible.append(act)
        passed = [t.target or state for t in machine.path(state, act, is_withdrawn=is_withdrawn)]
        assert passed == expected
        assert machine.needs_reason(act) == (act in BOOK["needs_reason"])
    assert sorted(machine.allowed(state, is_withdrawn=is_withdrawn)) == sorted(possible)


def test_an_unknown_act_names_those_that_there_are():
    with pytest.raises(UsageError, match="confirm"):
        flow.load().path("auto_flagged", "convict")


# The proof


def test_the_id_of_a_proof_is_what_it_was():
    # a change of these digits orphans every review that was ever stored
    assert finding_ids(frame([finding()])).to_list() == ["fhtscdecnfxk7222v3qm7bsuy5q"]


CHANGES = {
    "regulation_id": "other", "regulation_sha256": "b" * 64, "kind": "screening",
    "pollutant": "no", "first_record_id": "x", "first_measured_at": FIRST + dt.timedelta(0, 0, 1),
    "first_value": 55.00000000000001, "second_record_id": None, "second_measured_at": None,
    "second_value": None, "limit": 31.0, "unit": "ppm", "vehicle_class": None, "fuel": "cng",
    "emission_stage": 4,
}


@pytest.mark.parametrize("name", PROOF)
def test_another_proof_has_another_id(name):
    one, other = finding_ids(frame([finding(), finding(**{name: CHANGES[name]})]))
    assert one != other


@pytest.mark.parametrize("name", sorted({c.name for c in FINDINGS} - set(PROOF)))
def test_what_is_no_proof_leaves_the_id(name):
    other = {"found_at": FIRST, "exceedances": 9, "passes": 9, "is_verified": True}.get(name, "x")
    one, same = finding_ids(frame([finding(), finding(**{name: other})]))
    assert one == same


def test_a_blank_is_not_nothing():
    a, b = finding_ids(frame([finding(unit=""), finding(unit=None)]))
    assert a != b


def test_texts_do_not_run_into_each_other():
    a, b = finding_ids(frame([finding(first_record_id="ab", regulation_sha256="c"),
                              finding(first_record_id="b", regulation_sha256="ca")]))
    assert a != b


# The chain


def event(action: str, to: str, since: str = "auto_flagged", **more: object) -> dict[str, object]:
    one = frame([finding()])
    return {"finding_id": finding_ids(one)[0], "regulation_id": "cn_hj845_2017",
            "vehicle_id": "v1.KEY.A", "pollutant": "opacity", "action": action,
            "from_state": since, "to_state": to, "reviewer": "li", "entered_by": "li",
            "at": FIRST, "reason": "seen"} | more


def chain(*rows: dict[str, object]) -> pl.DataFrame:
    return events.chained(empty(REVIEWS), rows)


THREE = chain(event("open", "pending_review"), event("confirm", "confirmed", "pending_review"),
              event("note", "confirmed", "confirmed", due=D(2026, 1, 1)))


def test_a_chain_may_be_continued_later():
    longer = pl.concat([THREE, events.chained(THREE, [event("note", "confirmed", "confirmed")])])
    assert longer["seq"].to_list() == [1, 2, 3, 4]
    assert events.faults(longer) == []
    assert events.faults(longer.reverse()) == []


OTHER = {pl.String: "other", pl.Int64: 7, pl.Date: D(1999, 1, 1),
         pl.Datetime: dt.datetime(1999, 1, 1, tzinfo=dt.UTC)}


@pytest.mark.parametrize("name", schema(REVIEWS))
@pytest.mark.parametrize("row", [0, 1, 2])
def test_every_edit_of_every_cell_shows(name, row):
    dtype = schema(REVIEWS)[name]
    edited = THREE.with_row_index("_k").with_columns(
        pl.when(pl.col("_k") == row).then(pl.lit(OTHER[dtype.base_type()], dtype))
        .otherwise(pl.col(name)).alias(name)).drop("_k")
    assert events.faults(edited)


@pytest.mark.parametrize("kept", [[0, 2], [1, 2], [0, 0, 1, 2]])
def test_a_deleted_or_doubled_event_shows(kept):
    assert events.faults(THREE[kept])


def test_a_forged_event_that_fits_alone_does_not_fit_the_chain():
    for forged in ({"previous_id": "0" * 64}, {"seq": 4}):
        row = THREE.row(2, named=True) | forged
        row["event_id"] = events._hash(row)
        last = pl.DataFrame([row], schema=THREE.schema, orient="row")
        assert events.faults(pl.concat([THREE[:2], last]))


def test_two_events_that_changed_places_show():
    swapped = THREE.with_columns(pl.Series("seq", [2, 1, 3]))
    assert events.faults(swapped)


def test_a_vehicle_renamed_twice_keeps_its_review():
    rename = {"action": events.RENAME, "at": FIRST}
    stored = chain(event("confirm", "confirmed", "pending_review"),
                   {**rename, "vehicle_id": "v1.KEY.A", "renamed_to": "v1.KEY.B"},
                   {**rename, "vehicle_id": "v1.KEY.B", "renamed_to": "v1.KEY.C"})
    assert events.faults(stored) == []
    (row,) = cases(frame([finding() | {"vehicle_id": "v1.KEY.C"}]), stored).to_dicts()
    assert (row["state"], row["standing"], row["reviewer"]) == ("confirmed", "current", "li")


def test_a_proof_renamed_with_its_vehicle_keeps_its_review():
    renamed = finding() | {"vehicle_id": "v1.NEW.A", "first_record_id": "site-NEW.A"}
    rename = {"action": events.RENAME, "at": FIRST}
    stored = chain(event("confirm", "confirmed", "pending_review"),
                   {**rename, "vehicle_id": "v1.KEY.A", "renamed_to": "v1.NEW.A"},
                   {**rename, "finding_id": finding_ids(frame([finding()]))[0],
                    "renamed_to": finding_ids(frame([renamed]))[0]})
    (row,) = cases(frame([renamed]), stored).to_dicts()
    assert (row["state"], row["standing"]) == ("confirmed", "current")


def test_a_record_that_turns_out_to_be_another_vehicles_takes_no_decision_along():
    moved = finding() | {"vehicle_id": "v1.KEY.Z"}
    rows = cases(frame([moved]), THREE).sort("vehicle_id").to_dicts()
    assert [(r["vehicle_id"], r["state"], r["standing"]) for r in rows] == [
        ("v1.KEY.A", "confirmed", "withdrawn"), ("v1.KEY.Z", "auto_flagged", "current")]
    assert referable(cases(frame([moved]), THREE)).is_empty()


def test_a_clean_vehicle_is_never_referred():
    clean = frame([finding(kind="clean")])
    stored = chain(event("confirm", "confirmed", "pending_review",
                         finding_id=finding_ids(clean)[0]))
    rows = cases(clean, stored)
    assert rows["state"].to_list() == ["confirmed"]
    assert referable(rows).is_empty()


def test_what_was_undone_is_never_referred():
    rows = cases(frame([finding()]), chain(event("confirm", "confirmed", "pending_review")))
    assert referable(rows).height == 1
    for standing in ("changed since review", "withdrawn"):
        assert referable(rows.with_columns(pl.lit(standing).alias("standing"))).is_empty()


def test_what_two_confirmed_is_told_of_both():
    stored = chain(event("open", "pending_review"),
                   event("confirm", "pending_review", "pending_review", reviewer="li"),
                   event("confirm", "confirmed", "pending_review", reviewer="wu", reason="too"))
    (row,) = cases(frame([finding()]), stored).to_dicts()
    assert (row["reviewer"], row["review_reason"]) == ("li; wu", "seen / too")


def test_the_reviewer_of_before_an_objection_is_not_told_after_it():
    stored = chain(event("confirm", "confirmed", "pending_review", reviewer="li"),
                   event("reopen", "pending_review", "confirmed", reviewer="wu"))
    (row,) = cases(frame([finding()]), stored).to_dicts()
    assert (row["state"], row["reviewer"]) == ("pending_review", None)


# Working days


def calendar(first: D, last: D, off: set[D] = frozenset()) -> pl.DataFrame:
    days = pl.date_range(first, last, eager=True)
    return pl.DataFrame({"date": days, "is_working_day": [
        d.weekday() < 5 and d not in off for d in days], "name": [None] * len(days)},
        schema=schema(CALENDAR))


def test_twelve_working_days_from_a_monday_end_on_a_wednesday():
    june = WorkingDays(calendar(D(2026, 6, 1), D(2026, 6, 30)))
    assert june.after(D(2026, 6, 1), 12) == D(2026, 6, 17)
    holiday = WorkingDays(calendar(D(2026, 6, 1), D(2026, 6, 30), {D(2026, 6, 10)}))
    assert holiday.after(D(2026, 6, 1), 12) == D(2026, 6, 18)
    assert june.after(D(2026, 6, 6), 1) == D(2026, 6, 8)  # from a Saturday


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(0, 39), st.integers(1, 20))
def test_working_days_are_counted_or_refused(works, start, count):
    first = D(2026, 1, 1)
    table = pl.DataFrame({"date": [first + dt.timedelta(k) for k in range(len(works))],
                          "is_working_day": works, "name": [None] * len(works)},
                         schema=schema(CALENDAR))
    after = [k for k, is_one in enumerate(works) if is_one and k > start]
    if start < len(works) and len(after) >= count:
        expected = first + dt.timedelta(after[count - 1])
        assert WorkingDays(table).after(first + dt.timedelta(start), count) == expected
    else:
        with pytest.raises(UsageError, match="beyond the calendar"):
            WorkingDays(table).after(first + dt.timedelta(start), count)


def test_without_a_calendar_no_working_day_is_guessed():
    with pytest.raises(UsageError, match="no calendar"):
        WorkingDays(empty(CALENDAR)).after(D(2026, 1, 1), 1)


BAD_CALENDARS = [
    ("day,works\n2026-01-01,1\n", "is missing"),
    ("date,is_working_day\n", "without a day"),
    ("date,is_working_day\n2026-01-01,1\n2026-01-03,1\n", "no 2026-01-02"),
    ("date,is_working_day\n2026-01-01,1\n2026-01-01,0\n", "twice"),
    ("date,is_working_day\n2026-01-01,perhaps\n", "line 2"),
    ("date,is_working_day\n01/02/2026,1\n", "line 2"),
    ('date,is_working_day\n"2026-01-01,1\n', "no CSV"),
]


@pytest.mark.parametrize(("text", "says"), BAD_CALENDARS)
def test_a_calendar_that_cannot_be_used_is_refused(tmp_path, text, says):
    path = tmp_path / "c.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputRefused, match=says):
        read_calendar(path)


def test_a_calendar_is_read_in_any_order_and_encoding(tmp_path):
    path = tmp_path / "c.csv"
    path.write_bytes("is_working_day,date,name\nno,2026-01-02,\nYES,2026-01-01,元旦\n".encode(
        "gb18030"))
    assert read_calendar(path).rows() == [
        (D(2026, 1, 1), True, "元旦"), (D(2026, 1, 2), False, None)]


# Deadlines


def test_the_deadline_of_hong_kong_is_the_one_of_its_day():
    days = WorkingDays(calendar(D(2014, 1, 1), D(2016, 1, 1)))

    def due(day: D) -> tuple[D, str] | None:
        return deadlines.due(deadlines.load(), "hk_dual_rse", "", "notified", day, days)

    assert due(D(2014, 10, 13)) == (D(2014, 10, 29), "hk_retest")  # 12 days
    assert due(D(2014, 10, 20)) == (D(2014, 11, 24), "hk_retest")  # 25 days
    assert due(D(2015, 2, 2)) == (D(2015, 2, 18), "hk_retest")
    assert due(D(2014, 8, 31)) is None
    assert due(D(2014, 10, 16)) == (D(2014, 11, 3), "hk_retest")
    assert due(D(2014, 10, 17)) == (D(2014, 11, 21), "hk_retest")  # the first day of the longer one


def test_of_several_deadlines_the_earliest_counts(tmp_path):
    (tmp_path / deadlines.OWN_FILE).write_text(OWN + OWN.replace('"city"', '"short"').replace(
        "days = 60", "days = 6"), encoding="utf-8")
    found = deadlines.due(deadlines.load(tmp_path), "any", "City", "notified", D(2026, 1, 1),
                          WorkingDays(empty(CALENDAR)))
    assert found == (D(2026, 1, 7), "short")


def test_a_deadline_runs_where_its_jurisdiction_is_set():
    days = WorkingDays(calendar(D(2026, 1, 1), D(2026, 12, 31)))
    known = deadlines.load()
    assert deadlines.due(known, "cn_hj845_2017", "", "found", D(2026, 9, 2), days) is None
    assert deadlines.due(known, "cn_hj845_2017", "Xiamen", "found", D(2026, 9, 3), days) == (
        D(2026, 9, 7), "xiamen_review")
    assert deadlines.due(known, "cn_hj845_2017", "Guiyang", "notified", D(2026, 9, 3), days) == (
        D(2026, 9, 18), "guiyang_repair")


def test_no_built_in_deadline_is_called_verified():
    assert not any(p.verified for d in deadlines.load() for p in d.periods)


OWN = """
[[deadline]]
id = "city"
jurisdiction = "City"
starts = "notified"
for = "objection"
[[deadline.period]]
from = 2020-01-01
days = 60
unit = "days"
citation = "city order 1"
verified = true
"""


def test_a_city_has_its_own_deadlines(tmp_path):
    (tmp_path / deadlines.OWN_FILE).write_text(OWN, encoding="utf-8")
    found = deadlines.due(deadlines.load(tmp_path), "any", "City", "notified", D(2026, 1, 1),
                          WorkingDays(empty(CALENDAR)))
    assert found == (D(2026, 3, 2), "city")


@pytest.mark.parametrize(("old", "new", "says"), [
    ('jurisdiction = "City"', "", "no regulation and no jurisdiction"),
    ('starts = "notified"', 'starts = "convicted"', "starts"),
    ("days = 60", "days = 0", "no day"),
    ("days = 60", "dais = 60", "days"),
    ('citation = "city order 1"', "", "citation"),
    ('unit = "days"', 'unit = "weeks"', "unit"),
    ("verified = true", "verified = true\nextra = 1", "extra"),
    ("[[deadline]]", "[[deadline]", "TOML"),
    ("[[deadline.period]]", "[deadline.note]", "note|period"),
    (OWN, OWN + OWN, "twice"),
])
def test_a_file_of_deadlines_is_read_strictly(tmp_path, old, new, says):
    (tmp_path / deadlines.OWN_FILE).write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        deadlines.load(tmp_path)
