"""What a regulation is once read: frozen dataclasses, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from rsd.errors import PolicyRefusal
from rsd.law.verbs import VERBS, Settings, Verb

KIND_OF_ROLE = {"enforceable": "violation", "screening": "screening", "clean": "clean"}
"""Role of a limit → kind of the finding it makes."""

NO_POLLUTANT = "none"
"""What stands for the pollutant in a finding by registration, which judges none."""

QUANTITIES: dict[str, tuple[tuple[str, ...], str]] = {
    # the instrument's own VSP decides; ours only where it has none
    "vsp": (("vsp_device_kw_t", "vsp_kw_t"), "kW/t"),
    "wind_speed": (("wind_speed_m_s",), "m/s"),
    "speed": (("speed_km_h",), "km/h"),
}
"""Quantity of a validity bound → the columns of a pass that give it (first not null), its unit."""

LIMIT_OPS = (">", ">=")
BOUND_OPS = (">", ">=", "<", "<=")

_DRY = "dry exhaust without excess air"
BASES: dict[str, tuple[str, ...]] = {
    "co": (_DRY,),
    "hc": (f"{_DRY}, as propane", f"{_DRY}, hydrocarbon not stated"),
    "no": (_DRY,),
    "no2": (_DRY,),
    "nox": ("fuel burnt, as NO2",),
    "nh3": ("fuel burnt",),
    "opacity": ("plume",),
    "ringelmann": ("Ringelmann chart",),
}
"""Pollutant → what a limit may be stated on: only what the columns of a pass hold, so that nobody
compares a limit of hexane or of the raw beam with them."""


@dataclass(frozen=True)
class Limit:
    """A reading exceeds where ``value <op> limit``. Unit: that of the pollutant's column."""

    pollutant: str
    value: float
    unit: str
    basis: str
    op: str
    role: str
    clause: str
    citation: str
    verified: bool

    @property
    def kind(self) -> str:
        """Kind of the findings this limit makes: violation, screening or clean."""
        return KIND_OF_ROLE[self.role]


@dataclass(frozen=True)
class Group:
    """A group of vehicles by what they are registered as; an empty tuple or None asks nothing."""

    name: str
    fuels: tuple[str, ...]
    vehicle_classes: tuple[str, ...]
    emission_stages: tuple[int, ...]
    registered_before: date | None
    clause: str
    citation: str
    verified: bool

    kind = "registration"
    value = None
    unit = None


@dataclass(frozen=True)
class Bound:
    """A reading may be judged where ``quantity <op> value`` holds.

    Where the quantity is unknown it may be judged too, unless the bound is ``required``.
    """

    quantity: str
    op: str
    value: float
    unit: str
    required: bool
    citation: str
    verified: bool


@dataclass(frozen=True)
class Period:
    """What holds from one local date (inclusive) until another (exclusive; None: still)."""

    start: date
    until: date | None
    citation: str
    validity: tuple[Bound, ...]
    limits: tuple[Limit, ...]
    groups: tuple[Group, ...]

    def limit(self, pollutant: str) -> Limit | None:
        """Return the period's limit of a pollutant, or None."""
        return next((x for x in self.limits if x.pollutant == pollutant), None)


@dataclass(frozen=True)
class VerbRule:
    """The verb of a regulation: its name in `rsd.law.verbs.VERBS`, its numbers, its source."""

    name: str
    settings: Settings
    clause: str
    citation: str
    verified: bool


@dataclass(frozen=True)
class Scope:
    """Whom a regulation judges; an empty tuple asks nothing."""

    fuels: tuple[str, ...]
    vehicle_classes: tuple[str, ...]
    emission_stages: tuple[int, ...]
    citation: str


@dataclass(frozen=True)
class Regulation:
    """One regulation, as its file states it. ``sha256`` is the hash of the file's bytes."""

    id: str
    title: str
    jurisdiction: str
    citation: str
    notes: tuple[str, ...]
    scope: Scope
    verb: VerbRule
    periods: tuple[Period, ...]
    path: str
    sha256: str

    @property
    def how(self) -> Verb:
        """The verb itself."""
        return VERBS[self.verb.name]

    @property
    def pollutants(self) -> tuple[str, ...]:
        """Pollutants with a limit in any period, in the order of the file."""
        return tuple(dict.fromkeys(x.pollutant for p in self.periods for x in p.limits))

    @property
    def subjects(self) -> tuple[str, ...]:
        """What its findings are of: its pollutants, or `NO_POLLUTANT` where it has groups."""
        groups = any(p.groups for p in self.periods)
        return (*self.pollutants, *((NO_POLLUTANT,) if groups else ()))

    def kinds(self, subject: str) -> frozenset[str]:
        """Return the kinds of findings that the limits of one of `subjects`, or its groups, make.
        """
        rules: tuple[Limit | Group, ...] = tuple(
            x for p in self.periods for x in (p.groups if subject == NO_POLLUTANT else p.limits))
        return frozenset(x.kind for x in rules if isinstance(x, Group) or x.pollutant == subject)

    @property
    def acquits(self) -> bool:
        """Whether its limits say who is clean, so that to exceed one is no exceedance of law."""
        return "clean" in self.how.roles

    def require_runnable(self) -> None:
        """Raise `PolicyRefusal` where the file has nothing to judge by."""
        if self.subjects:
            return
        table = "group" if self.how.subject == "registration" else "limit"
        raise PolicyRefusal(
            f"regulation {self.id} has no {table}s, so nobody can be judged by it",
            where=self.path,
            expected=f"at least one [[period.{table}]]",
            remedy=f"Copy the file to the lake's folder regulations/{self.id}.toml and add the "
            f"{table}s from the standard's own text, each with its clause and citation.",
        )
