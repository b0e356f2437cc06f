"""A limit that only screens convicts nobody, alone or beside another, and hides nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import oracle_verbs
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.columns import PASSES, POLLUTANTS, schema
from rsd.findings import find
from rsd.law import story
from rsd.law.decide import decide
from rsd.law.rulebook import BUILT_IN, load, load_file
from rsd.law.rules import Regulation
from rsd.law.verbs import Context

ZONE = "Asia/Shanghai"
SHANGHAI = oracle_verbs.ZoneInfo(ZONE)
FIRM_FROM, FIRM_UNTIL = date(2026, 7, 1), date(2026, 9, 1)
FLAGS = {"is_valid": True, **{f"is_valid_{p}": True for p in POLLUTANTS}}


@pytest.fixture(scope="module")
def law(tmp_path_factory: pytest.TempPathFactory) -> Regulation:
    """HJ 845, by which NO is enforceable from July to August 2026 and screens before and after."""
    head, _, period = (BUILT_IN / "cn_hj845_2017.toml").read_text(
        encoding="utf-8").partition("[[period]]")
    began = "from = 2017-07-27"
    periods = [period.replace(began, f"{began}\nuntil = {FIRM_FROM}", 1),
               period.replace(began, f"from = {FIRM_FROM}\nuntil = {FIRM_UNTIL}", 1).replace(
                   'role = "screening"', 'role = "enforceable"'),
               period.replace(began, f"from = {FIRM_UNTIL}", 1)]
    file = tmp_path_factory.mktemp("law") / "cn_hj845_2017.toml"
    file.write_text(head + "\n".join(f"[[period]]{p}" for p in periods), encoding="utf-8")
    return load_file(file)


def passes(*given: tuple[str, bool]) -> pl.LazyFrame:
    """Passes of one truck: local time, and whether NO is above 1500 ppm."""
    rows = []
    for number, (text, over) in enumerate(given):
        local = datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
        rows.append(FLAGS | {
            "record_id": f"r{number}", "vehicle_id": "v1", "fuel": "diesel",
            "measured_at": local.astimezone(UTC), "date": local.date(),
            "no_ppm": 2000.0 if over else 100.0})
    return pl.LazyFrame(rows, schema=schema(PASSES))


def found(law: Regulation, *given: tuple[str, bool]) -> list[tuple]:
    findings = find(passes(*given), [law], timezone=ZONE)
    return findings.select("kind", "first_record_id", "second_record_id").rows()


def over(*days: str) -> list[tuple[str, bool]]:
    return [(f"2026-{day} 08:00", True) for day in days]


@pytest.mark.parametrize(("days", "expected"), [
    (("01-01", "01-02"), ("screening", "r0", "r1")),
    (("08-01", "08-02"), ("violation", "r0", "r1")),
    # what was found earlier, as a matter of screening, hides no violation
    (("01-01", "01-02", "08-01", "08-02", "08-03"), ("violation", "r2", "r3")),
    # one above a limit that only screens is no half of a violation
    (("06-30", "07-01"), ("screening", "r0", "r1")),
    (("06-30", "07-01", "07-02"), ("violation", "r1", "r2")),
    (("08-31", "09-01"), ("screening", "r0", "r1")),
    (("08-31", "09-01", "09-02"), ("screening", "r0", "r1")),
])
def test_a_violation_is_proven_by_enforceable_limits_alone(law, days, expected):
    assert found(law, *over(*days)) == [expected]


def test_a_law_of_one_kind_is_decided_as_ever():
    assert found(load("cn_hj845_2017"), *over("06-30", "07-01")) == [("screening", "r0", "r1")]


def test_the_story_tells_the_same(law):
    rows = passes(*over("06-29", "06-30", "07-01", "07-02", "09-02")).collect().with_columns(
        exceeds=pl.lit(value=True), value=pl.col("no_ppm"), vehicle=pl.lit(0, pl.UInt32))
    notes = story.tell(law, "no", rows, Context(ZONE))
    assert [n.key for n in notes] == [
        "only_screens", "only_screens", "first", "found", "only_screens"]
    assert [n.key for n in story.tell(law, "no", rows.head(3), Context(ZONE))] == [
        "first", "found", "after"]


_DAYS = st.integers(0, 300).map(lambda n: datetime(2026, 3, 1, 8) + timedelta(days=n))


@given(given_passes=st.lists(st.tuples(_DAYS, st.sampled_from([True, True, False])), max_size=9))
def test_it_is_what_two_plain_readings_say(law, given_passes):
    """The plain reading of the verb, once over what exceeds an enforceable limit, once over all."""
    given_passes = sorted(given_passes)
    rows = passes(*((at.isoformat(), is_over) for at, is_over in given_passes)).collect()
    history = [{"measured_at": at, "exceeds": is_over, "row": k, "date": day} for k, (
        at, is_over, day) in enumerate(rows.select(
            "measured_at", pl.col("no_ppm") > 1500, "date").rows())]
    rule = {name: getattr(law.verb.settings, name)
            for name in law.verb.settings.__dataclass_fields__}
    strict = [r | {"exceeds": r["exceeds"] and FIRM_FROM <= r["date"] < FIRM_UNTIL}
              for r in history]
    proofs = {kind: oracle_verbs.repeated(read, rule, SHANGHAI)
              for kind, read in (("violation", strict), ("screening", history))}
    expected = next(((proof[0]["row"], proof[1]["row"], kind)
                     for kind, proof in proofs.items() if proof), None)
    walked = rows.with_columns(exceeds=pl.col("no_ppm") > 1500, value=pl.col("no_ppm"),
                               vehicle=pl.lit(0, pl.UInt32))
    decided = decide(law, "no", walked, Context(ZONE)).rows()
    assert decided == ([] if expected is None else [expected])
    # whoever is found by law of one kind is found by this one too
    assert bool(decided) == bool(found(load("cn_hj845_2017"), *(
        (at.isoformat(), is_over) for at, is_over in given_passes)))
