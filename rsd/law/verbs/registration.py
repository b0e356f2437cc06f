"""The verb `registration`: who is registered in a group, whatever was measured."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd.law.verbs.base import Context, first_exceedance


@dataclass(frozen=True)
class Registration:
    """Settings of `registration`: it has no numbers; the groups stand in the file's periods."""

    @property
    def least_exceedances(self) -> int:
        """One pass as a member of a group."""
        return 1

    def sentence(self) -> str:
        """Say the rule in plain English."""
        return ("A vehicle is found at its first pass, valid or not, while it is registered in one "
                "of the groups. No reading is judged; where fuel, stage, class or date of "
                "registration is unknown and would decide, nothing is said.")


def registration(readings: pl.DataFrame, _settings: Registration,
                 _context: Context) -> pl.DataFrame:
    """Find a vehicle at its first pass in one of the regulation's groups.

    ``exceeds`` says here that the pass falls into a group. Source: rule XM-1, policy analysts'
    `registration_high_emission`, after notice 厦府〔2019〕375号 of Xiamen.
    """
    return first_exceedance(readings)
