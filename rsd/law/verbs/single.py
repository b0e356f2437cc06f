"""The verb `single`: one exceedance is enough."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd.law.verbs.base import Context, first_exceedance


@dataclass(frozen=True)
class Single:
    """Settings of `single`: it has no numbers."""

    @property
    def least_exceedances(self) -> int:
        """One."""
        return 1

    def sentence(self) -> str:
        """Say the rule in plain English."""
        return "A vehicle is found at its first exceedance of a pollutant's limit."


def single(readings: pl.DataFrame, _settings: Single, _context: Context) -> pl.DataFrame:
    """Find a vehicle at its first exceeding reading.

    Source: practice of reminders at the first exceedance (Chuzhou's notice of 2019).
    """
    return first_exceedance(readings)
