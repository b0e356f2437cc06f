"""How a lake's passes are scored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rsd import quality
from rsd.clock import zone_of
from rsd.errors import UsageError
from rsd.physics.exhaust import CONVENTIONS

CO2_DENOMINATORS = ("cn042", "feat121")


@dataclass(frozen=True)
class ScoringRules:
    """How a lake's passes are scored.

    ``timezone`` is the IANA name of the lake's zone, ``span`` the first and last local time of the
    records where known (times within it are fast where the zone's clock does not change).
    ``convention`` names the g/kg convention, ``co2_denominator`` the form for concentrations from
    ratios, ``quality_profile`` the gates. ``impute_nox`` takes NOx from NO where there is no NO2,
    ``local_plates`` are the prefixes of the lake's own city, ``has_plates`` is false for a format
    without plates, ``has_hours`` for one that may tell the day alone. Raises UsageError for a name
    that is not known.
    """

    timezone: str
    convention: str = "feat"
    co2_denominator: str = "cn042"
    impute_nox: bool = True
    quality_profile: str = "hj845"
    local_plates: tuple[str, ...] = ("闽D",)
    has_plates: bool = True
    has_hours: bool = True
    span: tuple[datetime, datetime] | None = None

    def __post_init__(self) -> None:
        _one_of("g/kg convention", self.convention, tuple(CONVENTIONS))
        _one_of("CO2 denominator", self.co2_denominator, CO2_DENOMINATORS)
        _one_of("quality profile", self.quality_profile, quality.profile_names())
        zone_of(self.timezone)


def _one_of(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"unknown {what}", found=repr(name), expected=", ".join(known))
