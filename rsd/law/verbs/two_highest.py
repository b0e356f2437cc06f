"""The verb `two_highest`: a vehicle's two highest readings both exceed, and lie close together."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd.law.verbs.base import CENTURY_DAYS, Context, earliest, require_between


@dataclass(frozen=True)
class TwoHighest:
    """Settings of `two_highest`: the days between the two local dates, at most."""

    within_days: int

    def __post_init__(self) -> None:
        require_between(self, {"within_days": (0, CENTURY_DAYS)})

    @property
    def least_exceedances(self) -> int:
        """The two."""
        return 2

    def sentence(self) -> str:
        """Say the rule in plain English."""
        return ("A vehicle is found at the first reading after which the two highest of all its "
                "tested readings of a pollutant both exceed the limit and lie at most "
                f"{self.within_days} days apart (local dates; of equal values the earlier ranks "
                "higher).")


def two_highest(readings: pl.DataFrame, settings: TwoHighest, _context: Context) -> pl.DataFrame:
    """Find a vehicle once its two highest readings so far exceed and are near in time.

    After each reading the two highest up to it are looked at; the later of the two decides. What
    is measured afterwards does not undo the finding.

    Source: Virginia, notices to cars whose two highest readings fall within 120 days (description
    of the programme); equal values and the order of events are choices of this project.
    """
    rows = readings.select("vehicle", "date", "exceeds", "value").with_row_index("row")
    ranking = rows.sort("vehicle", "value", "row", descending=[False, False, True])
    places = _two_highest_so_far(rows, ranking)
    one, two = (ranking.select(pl.all().gather(places[place])) for place in ("one", "two"))
    pairs = pl.concat([one, two.select(pl.all().name.suffix("_two"))], how="horizontal")
    days = (pl.col("date") - pl.col("date_two")).dt.total_days().abs()
    found = pairs.filter("exceeds", "exceeds_two", days <= settings.within_days)
    ordered = found.select("vehicle", first=pl.min_horizontal("row", "row_two"),
                           row=pl.max_horizontal("row", "row_two"))
    return earliest(ordered).select("first", second="row")


def _two_highest_so_far(rows: pl.DataFrame, ranking: pl.DataFrame) -> pl.DataFrame:
    """Return for each reading but a vehicle's first the places of the two highest up to it.

    A later vehicle ranks above all earlier ones, so a running maximum over the frame is one over
    the vehicle. What a reading leaves for the second place is the lower of it and the highest
    before it.
    """
    place = ranking.select("row").with_row_index("place").sort("row")["place"]
    highest = pl.col("place").cum_max()
    left = pl.when("same").then(pl.min_horizontal("place", highest.shift(1)))
    marked = rows.select(place, same=pl.col("vehicle") == pl.col("vehicle").shift(1))
    return marked.select("same", one=highest, two=left.cum_max()).filter("same")
