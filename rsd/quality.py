"""Validity, per record and per pollutant, with a reason code for each doubt.

The gates are data (`quality_profiles.toml`); each is a named boolean expression "this value lies
outside". A failed gate sets its reason bit; the profile says which bits unset a flag, so that a
flag is one test of the bit mask and always has its reason beside it.

Three values of logic: a missing input fails no gate (unknown is not invalid), but a pollutant
without a value has nothing to be valid.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any, cast

import polars as pl

from rsd.columns import VALIDITY
from rsd.errors import UsageError
from rsd.reasons import BIT, REASONS
from rsd.units import PCT_TO_PPM

PRESENT: dict[str, tuple[str, ...]] = {
    "co": ("co_pct", "co_co2"),
    "hc": ("hc_ppm", "hc_co2"),
    "no": ("no_ppm", "no_co2"),
    "no2": ("no2_ppm", "no2_co2"),
    "nox": ("nox_g_kg",),
    "nh3": ("nh3_co2",),
    "opacity": ("opacity_pct",),
    "ringelmann": ("ringelmann",),
}
"""Pollutant → columns of which one must hold a value: concentration for limits, ratio for means."""

EFFECTS = ("unset", "note", "off")


def quantity(name: str) -> pl.Expr:
    """Return the value that a gate tests: a column of a pass, or one of two that are none.

    ``vsp_kw_t`` is the device's own value where it gave one: a verdict trusts the instrument.
    ``nh3_ppm`` follows from ratio and CO2.
    """
    if name == "vsp_kw_t":
        return pl.coalesce("vsp_device_kw_t", "vsp_kw_t")
    if name == "nh3_ppm":
        return pl.col("nh3_co2") * pl.col("co2_pct") * PCT_TO_PPM
    return pl.col(name)


@dataclass(frozen=True)
class Rule:
    """One gate: the reason code of its failure, the quantity, the bounds, and what it does."""

    code: str
    quantity: str
    unit: str
    effect: str
    source: str
    verified: bool
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def failure(self) -> pl.Expr:
        """Return "the value lies outside": Boolean, null where there is no value."""
        value = quantity(self.quantity)
        below = None if self.low is None else (
            value <= self.low if self.low_open else value < self.low)  # fmt: skip
        above = None if self.high is None else (
            value >= self.high if self.high_open else value > self.high)  # fmt: skip
        if below is None or above is None:
            return cast(pl.Expr, above if below is None else below)
        return below | above


@dataclass(frozen=True)
class QualityProfile:
    """A named set of gates."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    noted: tuple[str, ...] = ()

    def unsetting(self, flag: str) -> int:
        """Return the mask of the reason bits that unset a flag, such as ``is_valid_co``.

        A code outside this profile's rules (the device's verdict, a gas vehicle's HC) counts
        unless it is ``noted`` only; one of its rules counts where its effect is "unset".

        >>> load_profile("campaign").unsetting("is_valid")  # the device's verdict alone
        1
        """
        quiet = {rule.code for rule in self.rules if rule.effect != "unset"} | set(self.noted)
        return sum(1 << r.bit for r in REASONS if r.unsets == flag and r.code not in quiet)


def _document() -> dict[str, Any]:
    text = files("rsd").joinpath("quality_profiles.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def profile_names() -> tuple[str, ...]:
    """Return the names of the quality profiles, the default first.

    >>> profile_names()
    ('hj845', 'campaign', 'analysis', 'gasoline_hk', 'us_im')
    """
    return tuple(_document()["profiles"])


def load_profile(name: str) -> QualityProfile:
    """Return a quality profile by name; UsageError where there is none, or it cannot be meant.

    >>> load_profile("gasoline_hk").rules[0].high
    22.0
    """
    return parse_profile(_document(), name)


def parse_profile(document: Mapping[str, Any], name: str) -> QualityProfile:
    """Return a profile of a document in the form of ``quality_profiles.toml``."""
    if name not in document["profiles"]:
        raise UsageError("unknown quality profile", found=repr(name),
                         expected=", ".join(document["profiles"]))  # fmt: skip
    profile = document["profiles"][name]
    changes = profile.get("rules", {})
    if unknown := set(changes) - set(document["rules"]):
        raise _bad(name, f"rules {sorted(unknown)}", "codes of [rules]")
    rules = [_rule(code, rule | changes.get(code, {})) for code, rule in document["rules"].items()]
    noted = tuple(profile.get("noted", ()))
    if unknown := set(noted) - set(BIT):
        raise _bad(name, f"noted {sorted(unknown)}", "codes of rsd/reasons.py")
    kept = tuple(r for r in rules if r.effect != "off")
    return QualityProfile(name, profile["title"], kept, noted)


def _rule(code: str, values: Mapping[str, Any]) -> Rule:
    """Return one rule, checked: known code, known keys, an effect, a bound, its source."""
    known = {field.name for field in fields(Rule)} - {"code"}
    missing = {"quantity", "unit", "effect", "source", "verified"} - set(values)
    if code not in BIT:
        raise _bad(code, "no reason code", "a code of rsd/reasons.py")
    if set(values) - known or missing:
        raise _bad(code, f"keys {sorted(set(values) - known | missing)}", "each key, spelt right")
    if values["effect"] not in EFFECTS or not {"low", "high"} & set(values):
        raise _bad(code, str(dict(values)), f"an effect of {EFFECTS} and a bound")
    return Rule(code=code, **values)


def _bad(where: str, found: str, expected: str) -> UsageError:
    return UsageError("a quality profile cannot be meant", where=f"quality_profiles.toml, {where}",
                      found=found, expected=expected)  # fmt: skip


def add_bits(bits: pl.Expr, flags: Iterable[tuple[str, pl.Expr]]) -> pl.Expr:
    """Return a bit mask with the bit of each reason code set where its flag is true (not null)."""
    zero = pl.lit(0, pl.Int64)
    for code, flag in flags:
        bits = bits | pl.when(flag).then(pl.lit(1 << BIT[code], pl.Int64)).otherwise(zero)
    return bits


def failures(profile: QualityProfile) -> list[tuple[str, pl.Expr]]:
    """Return each gate's reason code and its "lies outside", on the columns of `PASSES`."""
    return [(rule.code, rule.failure()) for rule in profile.rules]


def validity(profile: QualityProfile) -> list[pl.Expr]:
    """Return ``is_valid`` and ``is_valid_<pollutant>``: Boolean, never null.

    Reads ``reason_bits`` (complete) and the value columns (`PRESENT`). ``is_valid`` is the device's
    verdict, motion and weather; a pollutant's flag asks moreover for its plume, its range and a
    value. NOx follows NO, and NO2 where it was measured.
    """
    bits, record = pl.col("reason_bits"), profile.unsetting("is_valid")
    plume = profile.unsetting("pollutants")
    flags = [((bits & record) == 0).alias("is_valid")]
    for pollutant in VALIDITY:
        mask = record | plume | profile.unsetting(f"is_valid_{pollutant}")
        if pollutant == "nox":
            # NO2_RANGE can only be set where NO2 was measured.
            mask |= profile.unsetting("is_valid_no") | profile.unsetting("is_valid_no2")
        present = _any_value(PRESENT[pollutant])
        flags.append((((bits & mask) == 0) & present).alias(f"is_valid_{pollutant}"))
    return flags


def _any_value(columns: tuple[str, ...]) -> pl.Expr:
    first, *others = (pl.col(name).is_not_null() for name in columns)
    for other in others:
        first = first | other
    return first
