"""Reviews in a lake: acts, late data, two reviewers, crashes, and what is referred."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import polars as pl
import pytest
from chain import rsd
from hypothesis import given, settings
from hypothesis import strategies as st
from review_lake import NOW, finding, make, store
from test_docs import calls, parse

from rsd import audit
from rsd.errors import (
    InputRefused,
    IntegrityError,
    LakeBusy,
    PolicyRefusal,
    StorageError,
    UsageError,
)
from rsd.lake import Lake
from rsd.pipeline import review, review_acts, trail
from rsd.pipeline.referral import export_referral
from rsd.pipeline.review_acts import Act, act, act_each, set_calendar
from rsd.pipeline.review_file import import_acts
from rsd.review.cases import referable

BOOK = tomllib.loads((Path(__file__).parent / "cases/review.toml").read_text(encoding="utf-8"))
PLATES = {"v1.KEY.A": "闽D12345", "v1.KEY.B": "闽D88888", "v1.KEY.C": "闽D77777"}
D = dt.date


def changed(vehicle: str = "v1.KEY.A") -> dict[str, object]:
    return finding(vehicle, second_value=57.0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make(tmp_path / "lake", map(finding, PLATES), plates=PLATES)


def ids(lake: Lake) -> dict[str, str]:
    rows = review.cases_of(lake)
    return dict(rows.select("vehicle_id", "finding_id").rows())


def of(lake: Lake, vehicle: str = "v1.KEY.A") -> dict[str, object]:
    (row,) = review.cases_of(lake).filter(pl.col("vehicle_id") == vehicle).to_dicts()
    return row


def do(lake: Lake, *actions: str, vehicle: str = "v1.KEY.A", **more: object) -> pl.DataFrame:
    whom = str(of(lake, vehicle)["finding_id"])
    return act(lake, [Act(whom, a, **({"reason": "seen"} | more)) for a in actions], now=NOW)


def version(lake: Lake) -> int:
    return lake.table("reviews").version()


# The case file


@pytest.mark.parametrize("case", BOOK["case"], ids=lambda case: case["id"])
def test_a_case_of_the_case_file(lake, case):
    for step in case["acts"]:
        if data := step.get("data"):
            store(lake, {"changed": [changed()], "withdrawn": [],
                         "as before": [finding()]}[data])
        elif step.get("refused"):
            with pytest.raises(PolicyRefusal):
                do(lake, step["act"])
        else:
            do(lake, step["act"])
        if "then" in step:
            assert of(lake)["state"] == step["then"]
    row = of(lake)
    assert row["standing"] == case.get("standing", "current")
    listed = referable(review.cases_of(lake))["finding_id"].to_list()
    assert (row["finding_id"] in listed) == case["referral"]


# Any sequence of acts and late data, beside a machine read from the case file


class Model:
    """The review of one case in plain Python."""

    def __init__(self) -> None:
        self.proof: str | None = "first"
        self.events: list[tuple[str | None, str, str]] = []  # proof, act, state

    @property
    def reviewed(self) -> str | None:
        """The proof that the case is about: the one of now, else the last one reviewed."""
        return self.proof or (self.events[-1][0] if self.events else None)

    @property
    def state(self) -> str | None:
        if not self.events:
            return BOOK["initial"] if self.proof else None
        last_proof, _, state = self.events[-1]
        if self.proof is None:
            return state
        moves = [a for _, a, _ in self.events if a != "note"]
        is_undone = bool(moves) and moves[-1] == "withdraw"
        return state if last_proof == self.proof and not is_undone else BOOK["initial"]

    def do(self, act: str) -> bool:
        state = self.state
        if state is None:
            return False
        known = BOOK["machine"][state]
        if self.proof is None:
            known = {"note": [state]} | ({} if state == "closed" else
                                         {a: [to] for a, to in BOOK["withdrawn"].items()})
        if act not in known:
            return False
        names = ["open", act] if len(known[act]) == 2 else [act]
        self.events += [(self.reviewed, a, to) for a, to in zip(names, known[act], strict=True)]
        return True

    @property
    def is_referred(self) -> bool:
        return self.proof is not None and self.state in {"confirmed", "notified"}


STEPS = st.lists(st.tuples(st.sampled_from("AB"), st.one_of(
    st.sampled_from(["confirm", "notify", "refer"]),
    st.sampled_from(sorted({a for m in BOOK["machine"].values() for a in m} | {"withdraw"})),
    st.sampled_from(["data:first", "data:other", "data:none"]))), max_size=14)


@settings(max_examples=25)
@given(steps=STEPS)
def test_any_sequence_leads_where_the_case_file_says(steps):
    proofs = {"first": finding, "other": changed}
    with TemporaryDirectory() as folder:
        vehicles = {"A": "v1.KEY.A", "B": "v1.KEY.B"}
        lake = make(Path(folder) / "lake", map(finding, vehicles.values()))
        models = {name: Model() for name in vehicles}
        for name, step in steps:
            model, vehicle = models[name], vehicles[name]
            if step.startswith("data:"):
                wanted = step.removeprefix("data:")
                model.proof = None if wanted == "none" else wanted
                store(lake, [proofs[m.proof](vehicles[n]) for n, m in models.items() if m.proof])
                continue
            rows = review.cases_of(lake).filter(pl.col("vehicle_id") == vehicle)
            if rows.is_empty():
                assert model.state is None
                continue
            account = act_each(lake, [(1, Act(rows["finding_id"].item(), step, "why"))], now=NOW)
            is_possible = model.do(step)
            assert (account["outcome"].item() == "accepted") == is_possible, account
        rows = {r["vehicle_id"]: r for r in review.cases_of(lake).to_dicts()}
        referred = set(referable(review.cases_of(lake))["vehicle_id"])
        for name, model in models.items():
            row = rows.get(vehicles[name])
            assert (row and row["state"]) == model.state
            assert (vehicles[name] in referred) == model.is_referred
        assert review.problems(lake) == []
        assert lake.table("reviews").scan().collect().height == sum(
            len(m.events) for m in models.values())


# Acts


def test_an_act_says_who_when_and_why(lake):
    made = do(lake, "confirm", reviewer="Li Wei", reason=" both photographs show it ")
    assert made["action"].to_list() == ["open", "confirm"]
    row = of(lake)
    assert (row["reviewer"], row["review_reason"]) == ("Li Wei", "both photographs show it")
    assert row["reviewed_at"] == NOW
    assert set(made["entered_by"]) == {audit.user_name(os.getuid())}
    assert set(made["findings_version"]) == {lake.table("findings").version()}
    assert version(lake) == 0  # two events, one commit


def test_acts_are_done_all_or_none(lake):
    a, b = ids(lake)["v1.KEY.A"], ids(lake)["v1.KEY.B"]
    with pytest.raises(PolicyRefusal, match="notify"):
        act(lake, [Act(a, "confirm", "seen"), Act(b, "notify")])
    assert version(lake) == -1


@pytest.mark.parametrize("name", ["confirm", "reject", "note"])
@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_decision_needs_a_reason(lake, name, reason):
    with pytest.raises(UsageError, match="reason"):
        do(lake, name, reason=reason)


@pytest.mark.parametrize("given", [
    {"reason": "x" * 2001}, {"reviewer": "x" * 101}, {"acted_on": D(2026, 11, 24)},
    {"acted_on": D(2026, 9, 1)}, {"due": D(2026, 11, 1)},
])
def test_what_cannot_be_is_refused(lake, given):
    with pytest.raises(UsageError):
        do(lake, "confirm", **given)
    assert version(lake) == -1


def test_a_finding_is_named_by_the_beginning_of_its_id(lake):
    whole = ids(lake)["v1.KEY.A"]
    act(lake, [Act(whole[:8].upper(), "open")], now=NOW)
    assert of(lake)["state"] == "pending_review"
    for wanted, says in ((whole[:3], "too short"), ("fzzzzzzz", "no such"), ("", "too short"),
                         (" " * 9, "too short")):
        with pytest.raises(UsageError, match=says):
            act(lake, [Act(wanted, "open")])


def test_an_ambiguous_beginning_names_the_findings():
    rows = pl.DataFrame({"finding_id": ["fabcdx", "fabcdy"],
                         "earlier_finding_id": [None, None]}, schema_overrides={
                             "earlier_finding_id": pl.String})
    with pytest.raises(UsageError, match="fabcdx, fabcdy"):
        review.find_case(rows, "fabcd")


def test_the_id_of_a_proof_that_changed_names_the_one_of_now(lake):
    before = ids(lake)["v1.KEY.A"]
    do(lake, "confirm")
    store(lake, [changed()])
    with pytest.raises(UsageError, match=str(of(lake)["finding_id"])):
        act(lake, [Act(before, "notify")])


def test_a_case_is_picked_by_vehicle_regulation_and_pollutant(lake):
    store(lake, [finding(), finding(pollutant="no")])
    with pytest.raises(UsageError, match="several findings"):
        review.pick(lake, ["v1.KEY.A"], None, None)
    picked = review.pick(lake, ["v1.KEY.A"], "cn_hj845_2017", "no")
    assert review.find_case(review.cases_of(lake), picked)["pollutant"] == "no"
    with pytest.raises(UsageError, match="no finding"):
        review.pick(lake, ["v1.KEY.B"], None, None)


def test_a_note_on_a_new_proof_does_not_hide_that_it_changed(lake):
    do(lake, "confirm")
    store(lake, [changed()])
    do(lake, "note")
    assert (of(lake)["state"], of(lake)["standing"], of(lake)["earlier_state"]) == (
        "auto_flagged", "changed since review", "confirmed")


def test_two_persons_must_confirm_where_the_lake_says_so(tmp_path, monkeypatch):
    lake = make(tmp_path / "lake", [finding()], review_confirmations=2)
    do(lake, "confirm", reviewer="li")
    assert of(lake)["state"] == "pending_review"
    for again in ("li", "wu"):  # the same login under another name is no other person
        with pytest.raises(PolicyRefusal, match="second person"):
            do(lake, "confirm", reviewer=again)
    with pytest.raises(PolicyRefusal, match="second person"):
        act(lake, [Act(str(of(lake)["finding_id"]), a, "x", "zhao") for a in ("note", "confirm")])
    monkeypatch.setattr(audit, "user_name", lambda _: "wu")
    with pytest.raises(PolicyRefusal, match="second person"):
        do(lake, "confirm", reviewer="li")
    do(lake, "note", reviewer="wu")
    do(lake, "confirm", reviewer="wu")
    assert (of(lake)["state"], of(lake)["reviewer"]) == ("confirmed", "li; wu")
    do(lake, "reopen", reviewer="wu")
    with pytest.raises(PolicyRefusal, match="second person"):
        do(lake, "confirm", "confirm", reviewer="wu")  # twice in one go is once
    do(lake, "confirm", reviewer="wu")
    assert of(lake)["state"] == "pending_review"  # a reopened case is confirmed by two again


def test_two_persons_may_work_as_the_owner_of_the_lake(tmp_path, monkeypatch):
    """Through sudo: the process is the owner's, the login that the kernel keeps is the person's."""
    lake = make(tmp_path / "lake", [finding()], review_confirmations=2)
    monkeypatch.setattr(trail, "LOGIN", tmp_path / "loginuid")
    monkeypatch.setattr(audit, "user_name", {os.getuid(): "rsd", 7001: "li", 7002: "wu"}.get)
    for login, reviewer, state in ((7001, "li", "pending_review"), (7001, "wu", None),
                                   (7002, "wu", "confirmed")):
        (tmp_path / "loginuid").write_text(f"{login}\n")
        if state is None:
            with pytest.raises(PolicyRefusal, match="second person"):
                do(lake, "confirm", reviewer=reviewer)
        else:
            do(lake, "confirm", reviewer=reviewer)
            assert of(lake)["state"] == state
    stored = lake.table("reviews").scan().collect()
    assert set(stored["entered_by"]) == {"li", "wu"}


def test_shortcuts_are_possible_where_the_lake_says_so(tmp_path):
    lake = make(tmp_path / "lake", [finding()], review_shortcuts=True)
    do(lake, "confirm", "refer")
    assert of(lake)["state"] == "referred"


# The right, the audit, the chain


def test_without_the_right_there_is_no_review(lake):
    (lake.path / "restricted").rename(lake.path.parent / "away")
    barred = Lake.open(lake.path)
    for ask in (lambda: review.cases_of(barred), lambda: review.list_cases(barred),
                lambda: act(barred, []), lambda: review.problems(barred),
                lambda: export_referral(barred, lake.path.parent / "r.csv")):
        with pytest.raises(PolicyRefusal):
            ask()


def audited(lake: Lake) -> list[tuple[str, dict]]:
    path = audit.audit_path(lake.path)
    assert audit.verify(path) == []
    return [(r["action"], r["details"]) for r in audit.records(path)]


def test_every_act_is_audited_without_a_word_of_the_reason(lake):
    made = do(lake, "confirm", reason="the plate is 闽D12345")
    ((action, details),) = audited(lake)
    assert (action, details["head"], details["last"]) == ("review", made["event_id"][-1], 2)
    assert details["actions"] == {"confirm": 1, "open": 1}
    assert "D12345" not in audit.audit_path(lake.path).read_text()


def test_what_the_audit_cannot_note_is_not_done(lake, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(audit, "append", failing)
    with pytest.raises(StorageError):
        do(lake, "confirm")
    assert version(lake) == -1


def test_a_commit_that_fails_leaves_nothing_and_can_be_repeated(lake, monkeypatch):
    def failing(*_: object, **__: object) -> None:
        raise StorageError("full")

    with monkeypatch.context() as patch:
        patch.setattr(type(lake.table("reviews")), "commit", failing)
        with pytest.raises(StorageError):
            do(lake, "confirm")
    lake = Lake.open(lake.path)
    assert of(lake)["state"] == "auto_flagged"
    act(lake, [Act(str(of(lake)["finding_id"]), "confirm", "seen")])
    assert of(lake)["state"] == "confirmed"
    assert len(lake.table("reviews").files()) == 1
    assert review.problems(lake) == []  # the audit says of the first one that it never came to be
    told = [r["action"] for r in audit.records(audit.audit_path(lake.path))]
    assert told == [review.ACTION, review.GIVEN_UP, review.ACTION]


def test_a_stored_event_that_was_edited_stops_everything(lake, tmp_path):
    do(lake, "reject")
    table = lake.table("reviews")
    edited = table.scan().collect().with_columns(
        pl.col("to_state").str.replace("rejected", "confirmed"))
    with lake.writer():
        table.commit([table.write(edited, "x")], overwrite=True)
    for ask in (lambda: review.cases_of(lake), lambda: do(lake, "notify"),
                lambda: export_referral(lake, tmp_path / "r.csv")):
        with pytest.raises(IntegrityError, match="edited"):
            ask()
    assert not (tmp_path / "r.csv").exists()
    assert any("edited" in p for p in review.problems(lake))


def test_a_tail_that_was_cut_off_shows_beside_the_audit(lake):
    do(lake, "confirm")
    do(lake, "reopen")
    assert review.problems(lake) == []
    table = lake.table("reviews")
    with lake.writer():
        table.commit([table.write(table.scan().collect().filter(pl.col("seq") < 3), "x")],
                     overwrite=True)
    (problem,) = review.problems(lake)
    assert "event 3" in problem


def test_many_small_files_become_one(lake, monkeypatch):
    monkeypatch.setattr(review_acts, "_MANY_FILES", 3)
    for _ in range(4):
        do(lake, "note")
    assert len(lake.table("reviews").files()) == 1
    assert lake.table("reviews").scan().collect().height == 4
    assert review.problems(lake) == []


# Two reviewers at once


def test_two_reviewers_at_once_wait_for_each_other(lake):
    whom = ids(lake)["v1.KEY.A"]
    failures: list[Exception] = []

    def work(reviewer: str) -> None:
        try:
            mine = Lake.open(lake.path)
            for _ in range(3):
                act(mine, [Act(whom, "note", "x", reviewer)])
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("li", "wu")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    stored = lake.table("reviews").scan().collect()
    assert stored["seq"].sort().to_list() == [1, 2, 3, 4, 5, 6]
    assert review.problems(lake) == []


def test_of_two_who_decide_at_once_the_second_is_told_what_is_possible(lake):
    whom = ids(lake)["v1.KEY.A"]
    other = Lake.open(lake.path)
    act(other, [Act(whom, "reject", "seen")])
    with pytest.raises(PolicyRefusal, match="rejected"):
        act(lake, [Act(whom, "confirm", "seen")])


def test_a_lake_that_stays_busy_says_so(lake):
    with Lake.open(lake.path).writer(), pytest.raises(LakeBusy):
        act(lake, [Act(ids(lake)["v1.KEY.A"], "open")], wait_s=0.15)


# Deadlines


@pytest.fixture
def days(tmp_path: Path) -> Path:
    path = tmp_path / "days.csv"
    dates = pl.date_range(D(2026, 9, 1), D(2026, 12, 31), eager=True)
    path.write_text("date,is_working_day\n" + "".join(
        f"{d},{int(d.weekday() < 5)}\n" for d in dates))
    return path


def test_a_review_is_due_by_the_days_of_its_jurisdiction(tmp_path, days):
    lake = make(tmp_path / "lake", [finding(), finding("v1.KEY.B")], jurisdiction="Xiamen")
    rows, remarks = review.list_cases(lake, on=D(2026, 9, 4))
    assert rows["due"].to_list() == [None, None]
    assert "no calendar" in remarks[0]
    with pytest.raises(UsageError, match="no calendar"):
        review.list_cases(lake, overdue=True)
    set_calendar(lake, days)
    for on, late in ((D(2026, 9, 4), 0), (D(2026, 9, 5), 2)):  # found on 2 September
        rows, remarks = review.list_cases(lake, on=on, overdue=True)
        assert (rows.height, remarks) == (late, [])
    do(lake, "confirm")  # a decision meets the deadline
    rows, _ = review.list_cases(lake, on=D(2026, 9, 5), overdue=True)
    assert rows["vehicle_id"].to_list() == ["v1.KEY.B"]


def test_a_deadline_beyond_the_calendar_is_no_guess(tmp_path, days):
    lake = make(tmp_path / "lake", [finding(regulation_id="hk_dual_rse")])
    set_calendar(lake, days)
    do(lake, "confirm")
    late = dt.datetime(2026, 12, 21, 4, tzinfo=dt.UTC)
    whom = str(of(lake)["finding_id"])
    with pytest.raises(UsageError, match="2026-12-31"):
        act(lake, [Act(whom, "notify")], now=late)
    act(lake, [Act(whom, "notify", due=D(2027, 1, 8))], now=late)
    assert (of(lake)["due"], of(lake)["deadline_id"]) == (D(2027, 1, 8), None)


def test_a_deadline_runs_from_the_day_of_service(tmp_path, days):
    lake = make(tmp_path / "lake", [finding(regulation_id="hk_dual_rse")])
    set_calendar(lake, days)
    do(lake, "confirm")
    do(lake, "notify", acted_on=D(2026, 11, 2))  # a Monday
    assert (of(lake)["due"], of(lake)["deadline_id"]) == (D(2026, 11, 18), "hk_retest")
    do(lake, "note")
    assert of(lake)["due"] == D(2026, 11, 18)  # a remark ends no deadline
    do(lake, "note", due=D(2026, 12, 1))  # but a day by hand moves it
    assert (of(lake)["due"], of(lake)["deadline_id"]) == (D(2026, 12, 1), None)
    do(lake, "refer")
    assert of(lake)["due"] is None


# The file


def test_a_file_of_acts_is_accounted_for_line_by_line(lake, tmp_path):
    a, b, c = (ids(lake)[v] for v in PLATES)
    path = tmp_path / "acts.csv"
    path.write_text(
        "action,finding_id,reason,reviewer,acted_on,plate\n"
        f"confirm,{a},good,li,2026-11-02,x\n\n"
        f"notify,{a},,li,2026-11-03,x\n"      # sees what the line before it did
        f"confirm,{b},,li,,x\n"               # no reason
        f"refer,{c},,li,,x\n"                 # not possible
        f"reject,{c},bad,,02/11/2026,x\n"     # no date
        f"reject,{c},bad,,,x\n"
        "reject,fzzzzzzzz,bad,,,x\n", encoding="utf-8-sig")
    told = import_acts(lake, path, reviewer="wu", is_rehearsal=True)
    assert version(lake) == -1
    assert import_acts(lake, path, reviewer="wu").equals(told)
    assert told.select("line", "outcome", "state").rows() == [
        (2, "accepted", "confirmed"), (4, "accepted", "notified"), (5, "refused", None),
        (6, "refused", None), (7, "refused", None), (8, "accepted", "rejected"),
        (9, "refused", None)]
    for k, says in enumerate(["needs a reason", "expected one of", "acted_on"], 2):
        assert says in told["why"][k]
    assert version(lake) == 0
    assert (of(lake, "v1.KEY.C")["reviewer"], of(lake)["reviewer"]) == ("wu", "li")


@pytest.mark.parametrize(("text", "says"), [
    ("finding_id,reason\n", "action"), ("", "finding_id, action"),
    ("finding_id,action,action\n", "twice"), ("finding_id,action\nx,y,z\n", "line 2"),
    ('finding_id,action\n"x,y\n', "no CSV"),
])
def test_a_file_that_is_none_is_refused_whole(lake, tmp_path, text, says):
    path = tmp_path / "acts.csv"
    path.write_text(text)
    with pytest.raises(InputRefused, match=says):
        import_acts(lake, path)
    assert version(lake) == -1


# The referral


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "xlsx", "geojson"])
def test_a_referral_is_masked_and_the_same_twice(lake, tmp_path, suffix):
    do(lake, "confirm", reason="it is 闽D12345")
    out = tmp_path / f"r.{suffix}"
    assert export_referral(lake, out) == 1
    first = out.read_bytes()
    assert b"D12345" not in first
    export_referral(lake, out)
    assert out.read_bytes() == first


def test_a_referral_says_who_confirmed_when_and_why(lake, tmp_path):
    do(lake, "confirm", reviewer="Li Wei", reason="seen on both")
    do(lake, "reject", vehicle="v1.KEY.B")
    out = tmp_path / "r.json"
    assert export_referral(lake, out, show_plates=True) == 1
    (row,) = json.loads(out.read_text(encoding="utf-8"))
    assert (row["plate"], row["reviewer"], row["review_reason"]) == (
        "闽D12345", "Li Wei", "seen on both")
    assert row["reviewed_at"].startswith("2026-11-23T04:00")
    assert row["finding_id"] == of(lake)["finding_id"]
    action, details = audited(lake)[-1]
    assert (action, details["plates"], details["rows"]) == ("export referral", True, 1)
    assert (details["plates_shown"], details["reviews_version"]) == (1, version(lake))


def test_what_was_handed_over_is_referred_again_when_asked(lake, tmp_path):
    do(lake, "confirm", "notify", "refer")
    assert export_referral(lake, tmp_path / "r.csv") == 0
    assert export_referral(lake, tmp_path / "r.csv", again=True) == 1


# The command line


def test_the_commands_of_a_review(lake, tmp_path):
    listed = rsd("review", "list", lake.path, "--format", "json")
    assert {r["state"] for r in listed.json} == {"auto_flagged"}
    assert {r["plate"] for r in listed.json} == {"闽D****5", "闽D****8", "闽D****7"}
    whom = ids(lake)["v1.KEY.A"][:10]
    said = rsd("review", "confirm", lake.path, whom)
    assert (said.code, "--reason" in said.err) == (2, True)
    said = rsd("review", "notify", lake.path, whom)
    assert said.code == 8
    assert "expected one of note, open, confirm, reject" in said.message
    done = rsd("review", "confirm", lake.path, whom, "--reason", "seen: 闽D12345", "--as", "Li",
               "--format", "json")
    assert [e["to_state"] for e in done.json] == ["pending_review", "confirmed"]
    assert "D12345" not in done.out + done.err
    said = rsd("review", "note", lake.path, "--vehicle", "v1.KEY.A", "--text", "call back")
    assert said.code == 0
    shown = rsd("review", "show", lake.path, whom)
    assert "seen: 闽D****5" in shown.out
    assert "D12345" not in shown.out
    assert "seen: 闽D12345" in rsd("review", "show", lake.path, whom, "--plates").out
    events = rsd("review", "show", lake.path, whom, "--format", "json").json
    assert [e["action"] for e in events] == ["open", "confirm", "note"]
    for name, *more in (("notify",), ("refer",), ("retest", "--result", "pass"),
                        ("close", "--reason", "done"), ("reopen", "--reason", "objection")):
        assert rsd("review", name, lake.path, whom, *more).code == 0, name
    assert rsd("review", "list", lake.path, "--state", "pending_review",
               "--format", "json").json[0]["finding_id"].startswith(whom)
    assert rsd("review", "list", lake.path, "--state", "guilty").code == 2
    assert rsd("review", "verify", lake.path).code == 0
    both = rsd("review", "open", lake.path, whom, "--vehicle", "v1.KEY.A")
    assert both.code == rsd("review", "open", lake.path).code == 2


def test_importing_with_refusals_ends_with_4(lake, tmp_path):
    path = tmp_path / "acts.csv"
    whom = ids(lake)["v1.KEY.B"]
    path.write_text(f"finding_id,action,reason\n{whom},refer,\n{whom},confirm,ok\n")
    said = rsd("review", "import", lake.path, path, "--format", "json")
    assert (said.code, [r["outcome"] for r in said.json]) == (4, ["refused", "accepted"])
    assert "1 acts done, 1 refused" in said.err


def test_a_calendar_is_given_and_shown(lake, tmp_path, days):
    assert rsd("review", "calendar", lake.path, "--format", "json").json == []
    assert "122 days from 2026-09-01 to 2026-12-31" in rsd(
        "review", "calendar", lake.path, days).err
    shown = rsd("review", "calendar", lake.path, "--format", "json").json
    assert shown[0] == {"date": "2026-09-01", "is_working_day": True, "name": None}
    bad = tmp_path / "bad.csv"
    bad.write_text("date,is_working_day\n2026-01-01,x\n")
    assert rsd("review", "calendar", lake.path, bad).code == 3
    assert rsd("init", tmp_path / "new", "--calendar", bad).code == 3
    assert rsd("init", tmp_path / "new", "--calendar", days).code == 0
    assert Lake.open(tmp_path / "new").table("calendar").scan().collect().height == 122


def test_the_deadlines_are_listed_with_their_source(lake):
    rows = rsd("review", "deadlines", lake.path, "--format", "json").json
    assert {"hk_retest", "xiamen_review"} <= {r["deadline_id"] for r in rows}
    assert not any(r["is_verified"] or r["runs_here"] for r in rows)


def test_a_list_as_of_before_shows_the_review_of_then(lake):
    do(lake, "confirm")
    do(lake, "notify")
    then = rsd("review", "list", lake.path, "--as-of", "reviews=0", "--state", "confirmed",
               "--format", "json")
    assert len(then.json) == 1, then.err


def test_every_call_in_the_page_for_officers_can_be_parsed():
    page = Path(__file__).resolve().parents[1] / "docs/review.md"
    found = calls(page.read_text(encoding="utf-8"))
    assert len(found) >= 12
    for line in found:
        try:
            parse(line)
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")
