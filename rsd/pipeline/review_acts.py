"""Acts of reviewers: checked against the states, chained, audited, and committed at once."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd import audit
from rsd.errors import LakeBusy, PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.pipeline import review, trail
from rsd.privacy import seen
from rsd.review import calendar, deadlines, events, flow
from rsd.review import cases as review_cases
from rsd.review.identity import CASE

WAIT_S = 10.0
"""Seconds that an act waits for another one to end; a nightly run takes longer."""

_STEP_S = 0.1
_LONGEST = {"reason": 2000, "reviewer": 100}  # characters
_MANY_FILES = 64  # of these the next act makes one


@dataclass(frozen=True)
class Act:
    """What a reviewer does to one finding.

    ``finding``: its id or the beginning of it. ``reviewer``: the user of the system where None.
    ``acted_on``: local day of the act, today where None. ``due``: last local day of what must
    follow, where a person sets it and not the law.
    """

    finding: str
    action: str
    reason: str | None = None
    reviewer: str | None = None
    acted_on: dt.date | None = None
    due: dt.date | None = None


def act(lake: Lake, acts: Sequence[Act], *, now: dt.datetime | None = None,
        wait_s: float = WAIT_S) -> pl.DataFrame:
    """Do all acts or none, in one commit, and return their events.

    Raises:
        PolicyRefusal: no right to ``restricted/``; an act that is not possible in the state of its
            finding (the message names those that are); a second person is needed.
        UsageError: no such finding or act, no reason where one is needed, a day that cannot be, a
            deadline beyond the calendar.
        LakeBusy: another run held the lake for longer than ``wait_s``.
        IntegrityError: the stored events were changed.
    """
    with _desk(lake, now, wait_s) as desk:
        for one in acts:
            desk.take(one)
        return desk.commit()


def act_each(lake: Lake, acts: Sequence[tuple[int, Act]], *, now: dt.datetime | None = None,
             is_rehearsal: bool = False, wait_s: float = WAIT_S) -> pl.DataFrame:
    """Do those of many acts that are possible, in one commit, and account for each.

    Args:
        lake: the lake.
        acts: line and act, in order; a later one sees what an earlier one did.
        is_rehearsal: say what would happen, and do nothing.

    Returns:
        ``line, finding_id, action, outcome (accepted or refused), state, why``.
    """
    account: list[tuple[object, ...]] = []
    with _desk(lake, now, wait_s) as desk:
        for line, one in acts:
            try:
                state = desk.take(one)
                account.append((line, one.finding, one.action, "accepted", state, None))
            except (PolicyRefusal, UsageError) as error:
                account.append((line, one.finding, one.action, "refused", None, str(error)))
        if not is_rehearsal:
            desk.commit()
    names = ("finding_id", "action", "outcome", "state", "why")
    return pl.DataFrame(account, orient="row",
                        schema={"line": pl.Int64, **dict.fromkeys(names, pl.String)})


def set_calendar(lake: Lake, path: Path, *, wait_s: float = WAIT_S) -> pl.DataFrame:
    """Give the lake a calendar of working days in place of the one before; return it.

    Raises InputRefused for a file that cannot be used.
    """
    days = calendar.read_calendar(path)
    with _writing(lake, wait_s):
        table = lake.table("calendar")
        table.commit([table.write(days, "calendar")], overwrite=True)
    return days


class _Desk:
    """The cases as they stand under the lock, and the events that are about to be stored."""

    def __init__(self, lake: Lake, now: dt.datetime | None) -> None:
        self.lake = lake
        self.now = now or dt.datetime.now(dt.UTC)
        self.today = self.now.astimezone(ZoneInfo(lake.timezone)).date()
        self.user = trail.login_name() or audit.user_name(os.getuid())
        self.flow = flow.load(with_shortcuts=bool(lake.settings["review_shortcuts"]))
        self.version = lake.table("findings").version()
        self.stored = review.reviews_of(lake)
        self.named = events.with_new_names(self.stored)
        self.cases = review_cases.cases(lake.table("findings").scan().collect(), self.stored)
        ids = self.cases["finding_id"]
        places = zip(ids, range(len(ids)), ids.is_unique(), strict=True)
        self.by_id = {whole: place for whole, place, is_one in places if is_one}
        self.deadlines, self.days = deadlines.load(lake.path), review.working_days(lake)
        self.new: list[dict[str, Any]] = []
        self.states: dict[tuple[object, ...], str] = {}

    def take(self, act: Act) -> str:
        """Check an act and note its events; return the state that it leads to."""
        place = self.by_id.get(act.finding)  # a long file names findings whole
        row: Mapping[str, Any] = (self.cases.row(place, named=True) if place is not None
                                  else review.find_case(self.cases, act.finding))
        key = tuple(row[c] for c in CASE)
        state = self.states.get(key, str(row["state"]))
        path = self.flow.path(state, act.action,
                              is_withdrawn=row["standing"] == flow.WITHDRAWN)
        reason = self._text(act.reason, "reason")
        if reason is None and self.flow.needs_reason(act.action):
            raise UsageError(f"{act.action} needs a reason", expected='--reason "…"')
        reviewer = self._text(act.reviewer, "reviewer") or self.user
        day = self._day(act, row)
        made: list[dict[str, Any]] = []
        for step in path:
            target = step.target or state
            if step.action == "confirm":
                target = self._after_confirming(key, [*made], reviewer, state, target)
            end = self._due(act, row, state, target, day) if step is path[-1] else None
            made.append({
                **{c: row[c] for c in CASE},
                **{c: row[c] for c in ("finding_id", "first_record_id", "second_record_id",
                                       "regulation_sha256")},
                "findings_version": self.version, "action": step.action, "from_state": state,
                "to_state": target, "reviewer": reviewer, "entered_by": self.user, "at": self.now,
                "acted_on": day, "due": end and end[0], "deadline_id": end and end[1],
                "reason": reason if step is path[-1] else None})
            state = target
        self.new += made
        self.states[key] = state
        return state

    def commit(self) -> pl.DataFrame:
        """Audit and store what was taken, and return it."""
        made = events.chained(self.stored, self.new)
        if made.height:
            last = made.row(-1, named=True)
            trail.record(self.lake, review.ACTION, {
                "events": made.height, "actions": dict(Counter(made["action"].sort())),
                "findings": made["finding_id"].unique(maintain_order=True).head(20).to_list(),
                "reviewers": made["reviewer"].n_unique(), "last": last["seq"],
                "head": last["event_id"]})
            try:
                _commit(self.lake, self.stored, made)
            except BaseException:
                self._give_up(str(last["event_id"]))
                raise
        return made

    def _give_up(self, head: str) -> None:
        """Say in the audit that an act which stands there did not come to be."""
        with contextlib.suppress(Exception):  # the first error counts; somebody may answer later
            if head not in self.lake.table("reviews").scan().collect()["event_id"]:
                trail.record(self.lake, review.GIVEN_UP, {"heads": [head]})

    def _text(self, text: str | None, name: str) -> str | None:
        whole = (text or "").strip()
        if not seen(whole).strip():
            return None
        if len(whole) > _LONGEST[name]:
            raise UsageError(f"the {name} is too long", found=f"{len(whole)} characters",
                             expected=f"at most {_LONGEST[name]}")
        return whole

    def _day(self, act: Act, row: Mapping[str, Any]) -> dt.date:
        day = act.acted_on or self.today
        found = row["found_at"]
        first = None if found is None else found.astimezone(ZoneInfo(self.lake.timezone)).date()
        if day > self.today or (first is not None and day < first):
            raise UsageError("the day of the act cannot be", found=str(day),
                             expected=f"a day from {first or 'the finding'} to {self.today}")
        if act.due is not None and act.due < day:
            raise UsageError("the due day is before the act", found=str(act.due),
                             expected=f"{day} or later")
        return day

    def _after_confirming(self, key: tuple[object, ...], before: list[dict[str, Any]],
                          reviewer: str, state: str, target: str) -> str:
        """Return the state after a confirmation: the same until enough persons have confirmed.

        Another name is no other person: the users of the system must differ too.
        """
        needed = int(str(self.lake.settings["review_confirmations"]))
        if needed <= 1:
            return target
        mine = [e for e in [*self.new, *before] if tuple(e[c] for c in CASE) == key]
        history = [*events.of_case(self.named, [str(k) for k in key]).iter_rows(named=True), *mine]
        signed = events.signatures(history)
        if any(reviewer == r or self.user == u for r, u in signed):
            raise PolicyRefusal("a second person must confirm", found=f"{reviewer} again",
                                expected=f"{needed} persons, each as a user of the system",
                                remedy="Ask a colleague to confirm under their own login.")
        return target if len(signed) + 1 >= needed else state

    def _due(self, act: Act, row: Mapping[str, Any], state: str, target: str,
             day: dt.date) -> tuple[dt.date, str | None] | None:
        if act.due is not None:
            return act.due, None
        if target == state:
            return None  # what runs already goes on
        return deadlines.due(
            self.deadlines, str(row["regulation_id"]),
            str(self.lake.settings["jurisdiction"]), target, day, self.days)


@contextlib.contextmanager
def _desk(lake: Lake, now: dt.datetime | None, wait_s: float) -> Iterator[_Desk]:
    review.require_right(lake)
    with _writing(lake, wait_s):
        yield _Desk(lake, now)


@contextlib.contextmanager
def _writing(lake: Lake, wait_s: float) -> Iterator[None]:
    """Hold the lake for writing, waiting a little for another act to end."""
    until = time.monotonic() + wait_s
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lake.writer())
                break
            except LakeBusy:
                if time.monotonic() >= until:
                    raise
                time.sleep(_STEP_S)
        yield


def _commit(lake: Lake, stored: pl.DataFrame, made: pl.DataFrame) -> None:
    """Add events in one commit; where many small files have come together, as one file of all."""
    if made.is_empty():
        return
    table = lake.table("reviews")
    small = table.files() if len(table.files()) >= _MANY_FILES else []
    rows = pl.concat([stored, made]) if small else made
    table.commit([table.write(rows, "review")], remove=small,
                 info={"events": made.height, "head": made["event_id"][-1]})
