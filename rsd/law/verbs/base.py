"""What a verb is: its settings, its function, what it sees and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import polars as pl

CENTURY_DAYS = 100 * 366
"""The longest span a setting may ask for."""

Subject = Literal["each pollutant", "all pollutants", "registration"]


class Settings(Protocol):
    """What every verb's settings can say of themselves."""

    @property
    def least_exceedances(self) -> int:
        """A vehicle with fewer exceedances of a pollutant can have no finding; 0: no such bound."""

    def sentence(self) -> str:
        """Say the rule in plain English."""


@dataclass(frozen=True)
class Context:
    """What a verb needs beside the readings.

    ``timezone``: the lake's zone, in which calendar arithmetic is done. ``inspections``: None, or
    passed inspections as a frame of ``vehicle``, ``inspected_at`` and ``inspected_until`` (UTC, not
    null): the inspection was at one instant from the one to the other, nobody knows at which; where
    the instant is known they are the same.
    """

    timezone: str
    inspections: pl.DataFrame | None = None


Decide = Callable[[pl.DataFrame, Any, Context], pl.DataFrame]
"""(readings, settings, context) → proofs.

Readings: ``vehicle`` (integer key), ``measured_at`` (UTC), ``exceeds`` (not null), ``value``
(Float64; null where no pollutant is judged) and the verb's `Verb.reads`, sorted by vehicle,
measured_at, record_id. Proofs: at most one row a vehicle, columns ``first`` and ``second``, row
numbers in the readings (UInt32); second is null where one reading is proof enough, and else the
later of the two. The later decides. A verb looks at one vehicle at a time: what it says of a
vehicle depends on that vehicle's readings alone."""


@dataclass(frozen=True)
class Note:
    """What one judged record means to a verb: the key of a phrase and the facts that go into it.

    The phrases stand in `rsd.law.phrases`; an instant among the facts is said on the lake's clock.
    """

    key: str
    facts: Mapping[str, object] = field(default_factory=dict)


Tell = Callable[[pl.DataFrame, Any, Context], list[Note]]
"""(readings of one vehicle, settings, context) → a note a reading. Readings are as for `Decide`."""


@dataclass(frozen=True)
class Verb:
    """A verb: the class of its settings, its function, the columns of a pass it reads besides.

    ``subject``: what one verdict on a record is about. ``each pollutant``: its limit, one finding
    a pollutant. ``all pollutants``: a record exceeds if any pollutant does, and is within only if
    all were tested. ``registration``: no reading, but the group a vehicle is registered in.
    ``roles``: the roles that its limits may have. ``tell``: what each reading means to it; without
    it only what came of them is told (`rsd.law.story`).
    """

    settings: type[Any]
    decide: Decide
    reads: tuple[str, ...] = ()
    subject: Subject = "each pollutant"
    roles: tuple[str, ...] = ("enforceable", "screening")
    tell: Tell | None = None


def require_between(settings: object, bounds: Mapping[str, tuple[int, int]]) -> None:
    """Raise `ValueError` for a setting outside its bounds (both included)."""
    for key, (low, high) in bounds.items():
        if not low <= getattr(settings, key) <= high:
            raise ValueError(f"{key} must lie between {low} and {high}")


def local(instant: str, timezone: str) -> pl.Expr:
    """Return an instant as the clock of a zone showed it, without zone."""
    return pl.col(instant).dt.convert_time_zone(timezone).dt.replace_time_zone(None)


def earliest(proofs: pl.DataFrame) -> pl.DataFrame:
    """Keep each vehicle's proof with the lowest deciding ``row``."""
    return proofs.sort("row").unique("vehicle", keep="first", maintain_order=True)


def first_exceedance(readings: pl.DataFrame) -> pl.DataFrame:
    """Prove each vehicle's finding by its first exceeding reading alone."""
    hits = readings.select("vehicle", "exceeds").with_row_index("row").filter("exceeds")
    return earliest(hits).select(first="row", second=pl.lit(None, dtype=pl.UInt32))
