"""The verb `two_instruments`: two instruments at one place agree that a vehicle exceeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from rsd.law.verbs.base import Context, earliest, require_between


@dataclass(frozen=True)
class TwoInstruments:
    """Settings of `two_instruments`: the longest time between the two readings, included."""

    within_s: int

    def __post_init__(self) -> None:
        require_between(self, {"within_s": (0, 3600)})

    @property
    def least_exceedances(self) -> int:
        """One of each instrument."""
        return 2

    def sentence(self) -> str:
        """Say the rule in plain English."""
        return (f"A vehicle is found when two instruments of one site, at most {self.within_s} s "
                "apart, both measure it above the limit of the same pollutant.")


def two_instruments(readings: pl.DataFrame, settings: TwoInstruments,
                    _context: Context) -> pl.DataFrame:
    """Find a vehicle at the first exceedance that a second instrument of the site confirms.

    The instrument is the measuring line of a site; where the line is unknown nobody can say that
    there were two, so the reading confirms nothing. Each exceedance is compared with the nearest
    earlier one of another line at the same site. Of equal instants the record's number decides
    which is earlier.

    Source: Hong Kong, both sets of a site must register an excess (EPD letter of 2015-11-25); what
    makes two readings one passing event is a choice of this project.
    """
    hits = readings.select("vehicle", "measured_at", "exceeds", "site_id", "line_id")
    hits = hits.with_row_index("row").filter("exceeds").drop_nulls(["site_id", "line_id"])
    pairs = _with_other_line(hits.sort("vehicle", "site_id", "row"))
    near = pl.col("measured_at") - pl.col("began_at") <= timedelta(seconds=settings.within_s)
    return earliest(pairs.filter(near)).select("first", second="row")


def _with_other_line(hits: pl.DataFrame) -> pl.DataFrame:
    """Add the row (``first``) and instant (``began_at``) of the nearest earlier other line.

    Within a site's hits of a vehicle the nearest one of another line is the last before the run of
    the same line begins.
    """
    place = [pl.col(key).eq_missing(pl.col(key).shift(1)) for key in ("vehicle", "site_id")]
    same_place = pl.all_horizontal(place)
    begins = ~(same_place & pl.col("line_id").eq_missing(pl.col("line_id").shift(1)))
    here = pl.int_range(pl.len(), dtype=pl.UInt32)
    before = pl.when(begins).then(here).forward_fill()
    marked = hits.with_columns(
        run=before, previous=pl.when(same_place).then(pl.col("row").shift(1)),
        previous_at=pl.when(same_place).then(pl.col("measured_at").shift(1)))
    return marked.with_columns(first=pl.col("previous").gather(pl.col("run")),
                               began_at=pl.col("previous_at").gather(pl.col("run")))
