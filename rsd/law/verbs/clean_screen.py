"""The verb `clean_screen`: a vehicle's latest readings are all within the clean limits."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd.law.verbs.base import Context, local, require_between


@dataclass(frozen=True)
class CleanScreen:
    """Settings of `clean_screen`; see there."""

    readings: int
    least_days: int
    window_months: int

    def __post_init__(self) -> None:
        require_between(self, {"readings": (1, 1000), "least_days": (1, 1000),
                               "window_months": (1, 1200)})
        if self.least_days > self.readings:
            raise ValueError("least_days must not be above readings")

    @property
    def least_exceedances(self) -> int:
        """None: it looks for those who do not exceed."""
        return 0

    def sentence(self) -> str:
        """Say the rule in plain English."""
        latest = "latest reading" if self.readings == 1 else f"{self.readings} latest readings"
        days = f", on at least {self.least_days} different days" if self.least_days > 1 else ""
        return (f"A vehicle is clean while its {latest} with every pollutant tested exceed no "
                f"limit, the last no later than {self.window_months} months after the first (that "
                f"instant included, day clamped to the month's end){days}. A reading that exceeds "
                "any limit counts even where another pollutant was not tested.")


def clean_screen(readings: pl.DataFrame, settings: CleanScreen, context: Context) -> pl.DataFrame:
    """Find the vehicles whose latest ``readings`` readings exceed nothing.

    Unlike the other verbs it speaks of now, not of the first time: a later reading above a limit
    takes a vehicle from the list, a later clean one renews its proof. The days are local dates.

    Source: Virginia, 9VAC5-91-185 (the two most recent readings within 12 months; three days for
    the older track); Colorado's two readings. What the window is counted from is a choice of this
    project.
    """
    back = settings.readings - 1
    rows = readings.select(
        "vehicle", "measured_at", "date", over=pl.col("exceeds").cast(pl.Int64),
        # where clocks are put back over midnight a date returns, and is no further day
        new_day=(pl.col("date") > pl.col("date").shift(1)).cast(pl.Int64).fill_null(1),
    ).with_row_index("row")
    ends = rows.with_columns(
        first=pl.col("row").shift(back), began_at=pl.col("measured_at").shift(back),
        vehicle_first=pl.col("vehicle").shift(back),
        over=pl.col("over").rolling_sum(settings.readings),
        days=pl.col("new_day").rolling_sum(back) + 1 if back else pl.lit(1),
    ).filter(pl.col("vehicle").ne_missing(pl.col("vehicle").shift(-1)))
    start, end = local("began_at", context.timezone), local("measured_at", context.timezone)
    clean = ends.filter(
        pl.col("vehicle_first") == pl.col("vehicle"), pl.col("over") == 0,
        pl.col("days") >= settings.least_days,
        end <= start.dt.offset_by(f"{settings.window_months}mo"))
    second = pl.col("row") if back else pl.lit(None, dtype=pl.UInt32)
    return clean.select("first", second=second)
