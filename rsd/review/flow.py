"""The states of a review and what leads from one to the next, read from ``flow.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rsd.errors import PolicyRefusal, UsageError
from rsd.law.strict_toml import StrictTable

FILE = Path(__file__).parent / "flow.toml"

UNDECIDED = ("auto_flagged", "pending_review")
"""States before a person has decided."""

CURRENT, CHANGED, WITHDRAWN = "current", "changed since review", "withdrawn"
STANDINGS = (CURRENT, CHANGED, WITHDRAWN)
"""How a reviewed proof stands to the findings of now."""


@dataclass(frozen=True)
class Transition:
    """One act: where it is possible and where it leads; ``target`` None changes no state."""

    action: str
    sources: tuple[str, ...]
    target: str | None
    after: str | None
    needs_reason: bool
    is_optional: bool
    is_of_withdrawn: bool
    citation: str


@dataclass(frozen=True)
class Flow:
    """All states and transitions; the optional ones only where a lake has them switched on."""

    initial: str
    states: tuple[str, ...]
    transitions: tuple[Transition, ...]

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of all acts."""
        return tuple(dict.fromkeys(t.action for t in self.transitions))

    def needs_reason(self, action: str) -> bool:
        """Whether an act needs a reason."""
        return any(t.needs_reason for t in self.transitions if t.action == action)

    def allowed(self, state: str, *, is_withdrawn: bool = False) -> tuple[str, ...]:
        """Return the acts that are possible in a state, those that do another one first too."""
        return tuple(dict.fromkeys(
            t.action for t in self.transitions if self._path(t, state, is_withdrawn)))

    def path(self, state: str, action: str, *,
             is_withdrawn: bool = False) -> tuple[Transition, ...]:
        """Return the transitions that an act makes in a state, one or two.

        Raises:
            UsageError: no such act.
            PolicyRefusal: not possible in this state; says what is.
        """
        if action not in self.actions:
            raise UsageError("no such act of a review", found=repr(action),
                             expected=", ".join(self.actions))
        for transition in self.transitions:
            if transition.action == action and (
                    path := self._path(transition, state, is_withdrawn)):
                return path
        where = f"{state}, {WITHDRAWN}" if is_withdrawn else state
        raise PolicyRefusal(
            f"{action} is not possible for a finding that is {where}",
            expected=f"one of {', '.join(self.allowed(state, is_withdrawn=is_withdrawn))}",
            remedy="Late data undid the finding: nothing may follow from it." if is_withdrawn
            else None)

    def _path(self, transition: Transition, state: str,
              is_withdrawn: bool) -> tuple[Transition, ...]:
        # `withdraw` is for what was undone, and there only a note is possible beside it
        is_note = transition.target is None
        if transition.is_of_withdrawn != is_withdrawn and not is_note:
            return ()
        if state in transition.sources:
            return (transition,)
        for first in self.transitions:
            if first.action == transition.after and state in first.sources:
                return (first, transition)
        return ()


def load(*, with_shortcuts: bool = False) -> Flow:
    """Return the flow; optional transitions only ``with_shortcuts``."""
    whole = _read()
    kept = tuple(t for t in whole.transitions if with_shortcuts or not t.is_optional)
    return Flow(whole.initial, whole.states, kept)


@cache
def _read() -> Flow:
    table = StrictTable(tomllib.loads(FILE.read_text(encoding="utf-8")), FILE.name, "")
    states = []
    for state in table.tables("state"):
        states.append(state.text("name"))
        state.text("meaning")
        state.refuse_unknown()
    flow = Flow(table.text("initial", states), tuple(states),
                tuple(_transition(item, states) for item in table.tables("transition")))
    table.refuse_unknown()
    return flow


def _transition(item: StrictTable, states: list[str]) -> Transition:
    def flag(key: str) -> bool:
        return item.flag(key) if key in item.content else False

    def text(key: str, one_of: list[str] | None = None) -> str | None:
        return item.text(key, one_of) if key in item.content else None

    made = Transition(item.text("action"), item.texts("from", states), text("to", states),
                      text("after"), flag("reason"), flag("optional"), flag("withdrawn"),
                      item.text("citation"))
    for key in ("to", "after", "reason", "optional", "withdrawn"):
        item.asked.add(key)
    item.refuse_unknown()
    return made
