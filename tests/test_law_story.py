"""What each record means: said by the verb's own decisions, in two languages, nothing missing."""

from __future__ import annotations

import re
import string
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.columns import PASSES, POLLUTANTS, schema
from rsd.errors import UsageError
from rsd.exports.words import words
from rsd.law import judge
from rsd.law import story as law_story
from rsd.law.phrases import LANGUAGES, phrases, sections
from rsd.law.rulebook import BUILT_IN, available, load, load_file
from rsd.law.rules import NO_POLLUTANT, QUANTITIES, Regulation
from rsd.law.verbs import VERBS, Context, Note, Repeated
from rsd.law.verbs.repeated import repeated
from rsd.law.verbs.repeated_story import tell_repeated
from rsd.reasons import REASONS, mask

LAW = Path(law_story.__file__).parent
ZONE = "Asia/Shanghai"
NOON = datetime(2024, 1, 31, 4, tzinfo=UTC)  # 12:00 on the clock of Shanghai
RULE = Repeated(2, True, 6, "anchored", True, 0, True)
FLAGS = {"is_valid": True, **{f"is_valid_{p}": True for p in POLLUTANTS}}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


# Words


def test_every_language_has_every_phrase_with_the_same_facts():
    english, *others = (sections(language) for language in LANGUAGES)
    for own in others:
        assert own.keys() == english.keys()
        for section in english:
            assert own[section].keys() == english[section].keys(), section
            if section not in ("rules", "pieces"):  # English rules are the verbs' own sentences
                for key in english[section]:
                    assert placeholders(own[section][key]) == placeholders(english[section][key])


def test_no_note_lacks_its_phrase():
    code = "".join(path.read_text(encoding="utf-8") for path in (
        LAW / "story.py", LAW / "verbs" / "repeated_story.py"))
    used = set(re.findall(r'Note\("(\w+)"', code)) | set(re.findall(r'key = "(\w+)"', code))
    used |= {f"{kind}_{end}" for kind in ("rule", "clean", "member")
             for end in re.findall(r'f"\{kind\}_(\w+)"', code)}
    used |= {"found", "found_alone", "next", "first", "scope_fuel", "scope_vehicle_class",
             "scope_emission_stage", "other_pollutant"}
    known = sections("en")["steps"].keys() | sections("en")["why"].keys()
    assert used == known


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_verb_quantity_reason_and_verdict_has_its_words(language):
    own = sections(language)
    assert own["rules"].keys() == VERBS.keys()
    assert own["quantities"].keys() == QUANTITIES.keys()
    assert {r.code for r in REASONS} <= words(language).values["reasons"].keys()
    assert own["verdicts"].keys() == {"exceeds", "within the limit", "not valid", "not measured",
                                      "not judged", "in a group", "in no group"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("regulation_id", available())
def test_a_rule_is_said_with_its_numbers(language, regulation_id):
    regulation = load(regulation_id)
    sentence = phrases(language, ZONE, {}).rule(regulation)
    assert "{" not in sentence
    numbers = {str(v) for k, v in vars(regulation.verb.settings).items()
               if type(v) is int and not (k == "min_gap_s" and v == 0)}
    assert numbers <= set(re.findall(r"\d+", sentence))
    assert (language == "zh") == bool(re.search("[一-龥]", sentence))


def test_the_parts_of_a_chinese_rule_follow_its_settings(tmp_path):
    text = (BUILT_IN / "cn_hj845_2017.toml").read_text(encoding="utf-8")
    for before, after in (("consecutive = true", "consecutive = false"),
                          ('window = "anchored"', 'window = "calendar_bucket"'),
                          ("min_gap_s = 0", "min_gap_s = 86400"),
                          ("reset_on_inspection = true", "reset_on_inspection = false")):
        assert before in text
        text = text.replace(before, after)
    file = tmp_path / "cn_hj845_2017.toml"
    file.write_text(text, encoding="utf-8")
    said = phrases("zh", ZONE, {})
    assert said.rule(load_file(file)) == (
        "同一污染物累计（不要求连续）2次检测超过限值，且均在6个日历月之内（第一次所在月份计入），"
        "予以认定；相邻两次至少间隔86400秒。")
    assert said.rule(load("cn_hj845_2017")) == (
        "同一污染物连续2次检测超过限值，且最后一次不晚于第一次之后6个月（含该时刻，月末取月底），"
        "予以认定；其间检验合格的，连续超标中断。")


@pytest.mark.parametrize(("clause", "cited"), [
    ("HJ 845-2017, clause 5, table 1", "HJ 845-2017，第5条，表1"),
    ("HJ 845-2017, clauses 5 and 6", "HJ 845-2017，第5条、第6条"),
    ("annex A", "附录A"), ("two most recent", "two most recent"), (None, None),
])
def test_a_clause_is_cited_as_the_language_cites(clause, cited):
    assert phrases("zh", ZONE, {}).clause(clause) == cited
    assert phrases("en", ZONE, {}).clause(clause) == clause


def test_facts_are_said_on_the_lakes_clock_and_in_words():
    said = phrases("zh", ZONE, words("zh").values)
    assert said.step(Note("after", {"found_at": NOON})) == "超标；已于2024-01-31 12:00:00认定"
    assert said.why([Note("scope_fuel", {"found": "gasoline"}), Note("not_measured")]) == (
        "该法规不适用于燃料“汽油”；未测得")
    assert said.why([Note("scope_fuel", {"found": None})]) == "该法规不适用于燃料“未知”"
    assert said.why([Note("reason", {"reason": "WEATHER_WIND"})]) == "风速超过规定上限"
    assert phrases("en", ZONE, {}).why([Note("bound", {
        "quantity": "wind_speed", "op": "<=", "value": 5.0, "unit": "m/s", "found": 5.25})]) == (
        "wind speed 5.25 m/s, and it must be <= 5 m/s")
    assert said.why([Note("no_period", {"since": date(2017, 7, 27)})]) == (
        "该日法规尚未生效或已失效（自2017-07-27起施行）")


def test_another_language_is_refused():
    with pytest.raises(UsageError, match="no such language"):
        phrases("de", ZONE, {})


# The chain


def readings(*given: tuple[float, bool]) -> pl.DataFrame:
    """Readings of one vehicle: days after the first noon, and whether each exceeds."""
    rows = [(0, NOON + timedelta(days=day), over) for day, over in given]
    return pl.DataFrame(rows, orient="row", schema={
        "vehicle": pl.UInt32, "measured_at": pl.Datetime("us", "UTC"), "exceeds": pl.Boolean})


def inspections(*days: float) -> pl.DataFrame:
    return pl.DataFrame([(0, NOON + timedelta(days=d)) for d in days], orient="row", schema={
        "vehicle": pl.UInt32, "inspected_at": pl.Datetime("us", "UTC")}).with_columns(
            inspected_until="inspected_at")


def keys(history: pl.DataFrame, settings: Repeated = RULE,
         inspected: pl.DataFrame | None = None) -> list[str]:
    return [n.key for n in tell_repeated(history, settings, Context(ZONE, inspected))]


CHAINS = {
    "found, and what comes after": (RULE, [(0, True), (1, True), (2, False), (3, True)], (),
                                    ["first", "found", "within", "after"]),
    "broken and begun anew": (RULE, [(0, True), (1, False), (2, False), (3, True), (4, True)], (),
                              ["first", "breaks", "within", "first_again", "found"]),
    "the window ends": (RULE, [(0, True), (300, True), (301, True)], (),
                        ["first", "expired", "found"]),
    "an inspection breaks it": (RULE, [(0, True), (2, True), (3, True)], (1,),
                                ["first", "inspected", "found"]),
    "no reset, no inspection": (Repeated(2, True, 6, "anchored", True, 0, False),
                                [(0, True), (2, True)], (1,), ["first", "found"]),
    "three in a row": (Repeated(3, True, 6, "anchored", True, 0, True),
                       [(0, True), (1, True), (2, True)], (), ["first", "next", "found"]),
    "too soon": (Repeated(2, True, 6, "anchored", True, 86400, True),
                 [(0, True), (0.5, True), (1, True)], (), ["first", "too_soon", "found"]),
    "not in a row": (Repeated(2, False, 6, "anchored", True, 0, True),
                     [(0, True), (1, False), (2, True)], (), ["first", "within", "found"]),
    "one is enough": (Repeated(1, True, 6, "anchored", True, 0, True), [(0, False), (1, True)], (),
                      ["within", "found_alone"]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_told_as_it_goes(name):
    settings, given, inspected, expected = CHAINS[name]
    assert keys(readings(*given), settings, inspections(*inspected)) == expected


def facts(*given: tuple[float, bool], settings: Repeated = RULE,
          inspected: pl.DataFrame | None = None) -> dict:
    return dict(tell_repeated(readings(*given), settings, Context(ZONE, inspected))[-1].facts)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text + "+08:00").astimezone(UTC)


def test_the_facts_of_a_note():
    assert facts((0, True)) == {
        "count": 1, "least": 2, "broken": None, "until": local("2024-07-31T12:00:00")}
    assert facts((0, True), (1, False)) == {"first": NOON}
    assert facts((0, True), (1, False), (2, True))["broken"] == NOON + timedelta(days=1)
    late = facts((0, True), (300, True))
    assert (late["first"], late["until"], late["anew"]) == (
        NOON, local("2024-07-31T12:00:00"), local("2025-05-26T12:00:00"))
    assert facts((0, True), (2, True), inspected=inspections(0.5, 1))["inspected"] == (
        NOON + timedelta(days=1))
    assert facts((0, True), (1, True), (2, True)) == {"found_at": NOON + timedelta(days=1)}
    bucket = Repeated(3, True, 6, "calendar_bucket", True, 0, True)
    assert facts((0, True), (1, True), settings=bucket) == {
        "count": 2, "least": 3, "broken": None, "until": local("2024-06-30T23:59:59")}


SETTINGS = [RULE, Repeated(1, True, 6, "anchored", True, 0, True),
            Repeated(3, True, 6, "anchored", True, 0, True),
            Repeated(2, False, 6, "calendar_bucket", True, 0, True),
            Repeated(2, True, 1, "anchored", False, 86400, True),
            Repeated(3, False, 6, "anchored", True, 86400, False)]


@given(settings=st.sampled_from(SETTINGS), given_inspections=st.lists(st.integers(0, 400)),
       given=st.lists(st.tuples(st.integers(0, 800).map(lambda n: n * 0.5), st.booleans()),
                      max_size=12))
def test_the_story_says_what_the_verb_decides(settings, given_inspections, given):
    history = readings(*sorted(given))
    inspected = inspections(*given_inspections)
    notes = tell_repeated(history, settings, Context(ZONE, inspected))
    proofs = repeated(history, settings, Context(ZONE, inspected))
    deciding = None
    if proofs.height:
        first, second = proofs.row(0)
        deciding = first if second is None else second
    assert [row for row, note in enumerate(notes) if note.key.startswith("found")] == (
        [] if deciding is None else [deciding])
    if deciding is not None:
        assert notes[deciding].facts["first"] == history["measured_at"][first]
    for row, (note, exceeds) in enumerate(zip(notes, history["exceeds"], strict=True)):
        assert (note.key in ("within", "breaks")) == (not exceeds)
        assert (note.key == "after") == (exceeds and deciding is not None and row > deciding)
        assert phrases("en", ZONE, {}).step(note)
        assert phrases("zh", ZONE, {}).step(note)


# Other verbs


def subject_of(regulation: Regulation) -> str:
    return next(iter(regulation.subjects), "co")  # of one without limits: any


def told(regulation_id: str, verdicts: list[bool]) -> list[str]:
    regulation = load(regulation_id)
    rows = readings(*((float(day), over) for day, over in enumerate(verdicts))).with_columns(
        value=pl.col("exceeds").cast(pl.Float64), date=pl.col("measured_at").dt.date(),
        site_id=pl.lit("s"), line_id=pl.lit("1"))
    return [note.key for note in law_story.tell(regulation, subject_of(regulation), rows,
                                                Context(ZONE, None))]


def test_a_verb_without_a_story_of_its_own_is_told_by_what_it_decides():
    assert told("us_clean_screen", [True, False, False]) == [
        "clean_counts", "clean_proof", "clean_found"]
    assert told("us_clean_screen", [False, True]) == ["clean_within", "clean_counts"]
    assert told("us_two_highest_120d", [True, False, True, True, False]) == [
        "rule_proof", "rule_within", "rule_found", "rule_after", "rule_within"]
    assert told("us_two_highest_120d", [True]) == ["rule_counts"]
    assert told("xm_375_2019_registration", [False, True, True]) == [
        "member_within", "member_found", "member_after"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("regulation_id", [
    "us_clean_screen", "us_two_highest_120d", "xm_375_2019_registration"])
def test_every_step_of_it_can_be_said(language, regulation_id):
    said = phrases(language, ZONE, {})
    rows = readings((0, True), (1, False), (2, True), (3, True), (4, False), (5, False))
    rows = rows.with_columns(value=pl.lit(1.0), date=pl.col("measured_at").dt.date())
    regulation = load(regulation_id)
    notes = law_story.tell(regulation, subject_of(regulation), rows, Context(ZONE, None))
    assert all(said.step(note) for note in notes)


# Why not


RECORD = {
    "date": st.sampled_from([date(2017, 7, 26), date(2017, 7, 27), date(2024, 1, 1)]),
    "fuel": st.sampled_from(["diesel", "gasoline", None]),
    "vehicle_class": st.sampled_from(["heavy_truck", "mini_small_bus", None]),
    "emission_stage": st.sampled_from([0, 3, None]),
    "is_valid": st.sampled_from([True, False, None]),
    "is_valid_opacity": st.sampled_from([True, False, None]),
    "is_valid_co": st.sampled_from([True, False, None]),
    "opacity_pct": st.sampled_from([None, 5.0, 50.0, float("inf")]),
    "co_pct": st.sampled_from([None, 0.1, 3.0]), "hc_ppm": st.just(10.0), "no_ppm": st.just(10.0),
    "vsp_device_kw_t": st.sampled_from([None, 0.0, 5.0]),
    "vsp_kw_t": st.sampled_from([None, -1.0, 5.0]),
    "wind_speed_m_s": st.sampled_from([None, 5.0, 5.5]),
    "reason_bits": st.sampled_from([None, 0, mask("WEATHER_WIND", "GRADE_MISSING")]),
    "first_registered": st.sampled_from([None, date(2005, 1, 1)]),
}
ASKED = [("cn_hj845_2017", "opacity"), ("platform_observed_gasoline", "co"),
         ("us_clean_screen", "co"), ("xm_375_2019_registration", NO_POLLUTANT)]


@given(record=st.fixed_dictionaries(RECORD), asked=st.sampled_from(ASKED))
def test_whatever_is_not_judged_has_its_reason_and_whatever_is_has_none(record, asked):
    regulation, subject = load(asked[0]), asked[1]
    row = pl.DataFrame([FLAGS | record], schema=schema(PASSES))
    why = law_story.why(regulation, subject, row.row(0, named=True))
    is_judged = row.select(judge.verdict(regulation, subject).is_not_null()).item()
    if subject == NO_POLLUTANT:
        assert why or is_judged  # of a record that is judged nobody asks
    else:
        assert (why == []) == row.select(judge.tested(regulation, subject)).item()
    for language in LANGUAGES:
        assert bool(why) == bool(phrases(language, ZONE, words(language).values).why(why))


def test_only_reasons_that_unset_something_are_named_and_a_flag_without_one_is_told():
    record = dict.fromkeys(schema(PASSES).names()) | FLAGS | {
        "date": date(2024, 1, 1), "fuel": "diesel", "opacity_pct": 50.0, "is_valid": False,
        "reason_bits": mask("WEATHER_WIND", "GRADE_MISSING", "NO_RANGE", "PLUME_LOW")}
    law = load("cn_hj845_2017")
    assert [n.facts["reason"] for n in law_story.why(law, "opacity", record)] == [
        "WEATHER_WIND", "PLUME_LOW"]
    assert law_story.why(law, "opacity", record | {"reason_bits": 0}) == [Note("invalid")]
    outside = law_story.why(law, "opacity", record | {"is_valid": True, "wind_speed_m_s": 6.0,
                                                      "vsp_device_kw_t": 0.0})
    assert [(n.key, n.facts["quantity"], n.facts["found"]) for n in outside] == [
        ("bound", "vsp", 0.0), ("bound", "wind_speed", 6.0)]
    screen = law_story.why(load("us_clean_screen"), "co", record | {
        "is_valid": True, "fuel": "gasoline", "co_pct": 0.1})
    assert {n.key for n in screen} == {"bound_unknown"}
