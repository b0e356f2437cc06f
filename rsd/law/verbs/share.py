"""The verb `share`: too great a share of a vehicle's passes exceeds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from rsd.law.verbs.base import CENTURY_DAYS, Context, earliest, require_between


@dataclass(frozen=True)
class Share:
    """Settings of `share`; see there."""

    share_pct: int
    least_passes: int
    window_days: int

    def __post_init__(self) -> None:
        require_between(self, {"share_pct": (1, 100), "least_passes": (1, 1_000_000),
                               "window_days": (1, CENTURY_DAYS)})

    @property
    def least_exceedances(self) -> int:
        """The share of the fewest passes, rounded up."""
        return -(-self.share_pct * self.least_passes // 100)

    def sentence(self) -> str:
        """Say the rule in plain English."""
        return (f"A vehicle is found at the first exceedance at which at least {self.share_pct} % "
                f"of its tested passes of the last {self.window_days} days (that day's counted) "
                f"exceed the limit of the same pollutant, of at least {self.least_passes} passes.")


def share(readings: pl.DataFrame, settings: Share, _context: Context) -> pl.DataFrame:
    """Find a vehicle at the first exceedance that brings its share to ``share_pct`` or more.

    Looked at are the tested readings up to the deciding one, on its local date and the
    ``window_days - 1`` dates before it. The proof is the first exceedance among them and the
    deciding one (null where these are the same). Shares are compared in whole numbers.

    Source: a verb for a city's own rule; no built-in regulation uses it.
    """
    rows = readings.select("vehicle", "date", "exceeds").with_row_index("row").with_columns(
        pl.col("row").cast(pl.Int64), hits=pl.col("exceeds").cum_sum().cast(pl.Int64),
        # where clocks are put back over midnight a date returns; a window must not
        date=pl.col("date").cum_max().over("vehicle"))
    counted = _before_window(rows, settings.window_days)
    passes, hits = pl.col("row") - pl.col("row_before"), pl.col("hits") - pl.col("hits_before")
    found = earliest(counted.filter(passes >= settings.least_passes,
                                    hits * 100 >= settings.share_pct * passes))
    nth = rows.filter("exceeds").select(hits="hits", first="row")
    proofs = found.select("row", hits=pl.col("hits_before") + 1).join(
        nth, on="hits", how="left", maintain_order="left")
    later = pl.when(pl.col("first") != pl.col("row")).then("row")
    return proofs.select(pl.col("first").cast(pl.UInt32), second=later.cast(pl.UInt32))


def _before_window(rows: pl.DataFrame, window_days: int) -> pl.DataFrame:
    """Add to each exceedance the row and the count of hits just before its window begins.

    That is the vehicle's last reading before the window, or what precedes its first reading.
    """
    begin = rows.group_by("vehicle", maintain_order=True).agg(
        row_first=pl.col("row").first() - 1,
        hits_first=(pl.col("hits") - pl.col("exceeds").cast(pl.Int64)).first())
    earlier = rows.select("vehicle", since="date", row_before="row", hits_before="hits")
    asked = rows.filter("exceeds").with_columns(since=pl.col("date") - timedelta(days=window_days))
    known = asked.join_asof(earlier, on="since", by="vehicle", check_sortedness=False)
    return known.join(begin, on="vehicle", how="left", maintain_order="left").with_columns(
        pl.col("row_before").fill_null(pl.col("row_first")),
        pl.col("hits_before").fill_null(pl.col("hits_first")))
