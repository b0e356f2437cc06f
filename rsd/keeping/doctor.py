"""The doctor: verify everything that a lake holds, repair what can be repaired, say the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from rsd.columns import OPEN_TABLES, TABLES
from rsd.errors import IntegrityError, RsdError, StorageError
from rsd.keeping import content_checks, file_checks, kept_checks, log_checks, place_checks
from rsd.keeping.problem import ERROR, NOTE, WARNING, Problem, as_frame
from rsd.lake import Lake
from rsd.pipeline import trail

_ROUNDS = 2


@dataclass(frozen=True)
class Diagnosis:
    """``problems``: a row each (`rsd.keeping.problem`); the counts leave notes out."""

    problems: pl.DataFrame

    @property
    def remaining(self) -> int:
        """Problems that are still there."""
        return self._count(repaired=False)

    @property
    def repaired(self) -> int:
        """Problems that were put right."""
        return self._count(repaired=True)

    @property
    def exit_code(self) -> int:
        """0 when nothing is wrong any more, else that of a failed check."""
        return IntegrityError.exit_code if self.remaining else 0

    def _count(self, *, repaired: bool) -> int:
        return self.problems.filter(pl.col("severity") != NOTE,
                                    pl.col("repaired") == repaired).height


def examine(lake: Lake, *, repair: bool = False) -> Diagnosis:
    """Examine a lake, and repair what can be repaired.

    The lake is held meanwhile: what a run is writing would look like disorder. Somebody without
    the right to write looks at it as it is, and without the right to ``restricted/`` at the open
    side only. The heads of all logs go into the audit, to be compared the next time.

    Raises:
        LakeBusy: another run holds the lake.
    """
    holder = _lock_text(lake)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lake.holding(despite_loss=True))
        except StorageError as error:
            lake.notices.append(f"examined without the lock: {error}")
            repair = False
        left, mended = list(_problems(lake, holder)), list[Problem]()
        # What is left after a repair is looked at anew, for it may have put several things right:
        # an entry that was let go of first, and then what is no use without it.
        for _ in range(_ROUNDS if repair else 0):
            if done := [p for p in left if _repaired(p)]:
                mended, left = mended + done, list(_problems(lake, ""))
        found = [*_told(lake), *((p, True) for p in mended), *((p, False) for p in left)]
        diagnosis = Diagnosis(as_frame(found, lake.path))
        _note(lake, diagnosis, repair=repair)
    return diagnosis


def _lock_text(lake: Lake) -> str:
    with contextlib.suppress(OSError):
        return (lake.path / ".lock").read_text(errors="replace").strip()
    return ""


def _told(lake: Lake) -> Iterator[tuple[Problem, bool]]:
    """Yield what opening the lake put right already."""
    for notice in lake.notices:
        is_mended = "set aside" in notice or "is finished" in notice
        yield Problem(WARNING, None, None, notice), is_mended


def _problems(lake: Lake, holder: str) -> Iterator[Problem]:
    readable = [n for n in TABLES if lake.may_read_restricted or n in OPEN_TABLES]
    lost = list(log_checks.lost(lake))
    yield from lost
    for problem in _all(lake, readable, holder):
        # While a committed entry is missing nobody knows what is litter and what it had named.
        is_litter = problem.severity == WARNING and problem.repair is not None
        if not lost or not (is_litter or problem.file in {p.file for p in lost}):
            yield problem


def _all(lake: Lake, readable: list[str], holder: str) -> Iterator[Problem]:
    for name in readable:
        yield from _of(log_checks.check(lake, name), name)
        yield from _of(file_checks.check(lake, name), name)
    yield from _of(file_checks.litter(lake, readable), None)
    if lake.may_read_restricted:
        yield from _of(log_checks.check_heads(lake, readable), None)
    yield from content_checks.check(lake)
    visits = [record["details"] for record in log_checks.visits(lake)]
    yield from _of(kept_checks.check(lake, visits), None)
    yield from _of(place_checks.check(lake, holder), None)


def _of(problems: Iterator[Problem], name: str | None) -> Iterator[Problem]:
    """Yield problems; a check that cannot go on says so."""
    try:
        yield from problems
    except (RsdError, OSError) as error:
        remedy = error.remedy if isinstance(error, RsdError) else None
        yield Problem(ERROR, name, getattr(error, "where", None), f"cannot be checked: {error}",
                      remedy=remedy)


def _repaired(problem: Problem) -> bool:
    if problem.repair is None:
        return False
    try:
        problem.repair()
    except (RsdError, OSError):
        return False
    return True


def _note(lake: Lake, diagnosis: Diagnosis, *, repair: bool) -> None:
    if not lake.may_read_restricted:
        return
    with contextlib.suppress(RsdError):  # a broken audit log is among the problems
        trail.record(lake, log_checks.ACTION, {
            "remaining": diagnosis.remaining, "repaired": diagnosis.repaired, "repair": repair,
            "states": kept_checks.head(lake),
            "heads": log_checks.heads(lake, [n for n in TABLES if n not in lake.lost()])})
