"""The verb `repeated`: some exceedances of one pollutant within some months."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

from rsd.law.verbs.base import CENTURY_DAYS, Context, earliest, local, require_between


@dataclass(frozen=True)
class Repeated:
    """Settings of `repeated`; see there."""

    min_hits: int
    consecutive: bool
    window_months: int
    window: Literal["anchored", "calendar_bucket"]
    inclusive: bool
    min_gap_s: int
    reset_on_inspection: bool

    def __post_init__(self) -> None:
        require_between(self, {"min_hits": (1, 1000), "window_months": (1, 1200),
                               "min_gap_s": (0, CENTURY_DAYS * 86400)})

    @property
    def least_exceedances(self) -> int:
        """As many as the chain is long."""
        return self.min_hits

    def sentence(self) -> str:
        """Say the rule in plain English."""
        if self.min_hits == 1:
            return "A vehicle is found at its first exceedance."
        adjacent = "consecutive" if self.consecutive else "(not necessarily consecutive)"
        end = "that instant included" if self.inclusive else "that instant excluded"
        within = {
            "anchored": f"the last no later than {self.window_months} months after the first "
            f"({end}, day clamped to the month's end)",
            "calendar_bucket": f"all within {self.window_months} calendar months, the first's own "
            "month counted",
        }[self.window]
        gap = f", each at least {self.min_gap_s} s after the one before" if self.min_gap_s else ""
        reset = " A passed inspection in between breaks the chain." * self.reset_on_inspection
        return (
            f"A vehicle is found when {self.min_hits} {adjacent} tested readings exceed the limit "
            f"of the same pollutant, {within}{gap}.{reset}"
        )


def repeated(readings: pl.DataFrame, settings: Repeated, context: Context) -> pl.DataFrame:
    """Find a vehicle at the first chain of ``min_hits`` exceedances within the window.

    A chain ends at a deciding exceedance and reaches back ``min_hits - 1`` times, each time to
    the nearest earlier exceedance at least ``min_gap_s`` before. With ``consecutive``, a tested
    reading that does not exceed breaks it; untested readings are not here and do neither. The
    window is taken on the clock of the lake's zone: ``anchored``, last <= first + months with the
    day clamped to the month's end (< where not ``inclusive``); ``calendar_bucket``, the months'
    numbers differ by less than ``window_months``. With ``reset_on_inspection``, a passed
    inspection that was, or may have been, strictly between the first and the last breaks the chain.

    Source: the rule, HJ 845-2017 clause 6 as quoted by DB11/318-2022 and Chuzhou's notice of
    2019; its reading point by point, choices of this project.
    """
    chains = _reach_back(_hits(readings, settings.consecutive), settings)
    chains = chains.filter(_within_window(settings, context.timezone))
    if settings.reset_on_inspection and context.inspections is not None:
        chains = _without_inspection(chains, context.inspections)
    second = pl.col("row") if settings.min_hits > 1 else pl.lit(None, dtype=pl.UInt32)
    return earliest(chains).select("first", second=second)


def _hits(readings: pl.DataFrame, consecutive: bool) -> pl.DataFrame:
    """Keep exceedances; those of a vehicle with the same ``run`` may stand in one chain."""
    breaks = (~pl.col("exceeds")).cum_sum() if consecutive else pl.lit(0, dtype=pl.UInt32)
    rows = readings.select("vehicle", "measured_at", "exceeds").with_row_index("row")
    return rows.with_columns(run=breaks).filter("exceeds").drop("exceeds")


def _reach_back(hits: pl.DataFrame, settings: Repeated) -> pl.DataFrame:
    """Add to each hit the row (``first``) and instant (``began_at``) where its chain begins."""
    links = settings.min_hits - 1
    if settings.min_gap_s == 0:
        # shift().over() was measured 23 times slower than a plain shift and a comparison
        same = (pl.col(key) == pl.col(key).shift(links) for key in ("vehicle", "run"))
        return hits.with_columns(
            first=pl.col("row").shift(links), began_at=pl.col("measured_at").shift(links)
        ).filter(*same)
    gap = timedelta(seconds=settings.min_gap_s)
    chains = hits.with_columns(first=pl.col("row"), began_at=pl.col("measured_at"))
    earlier = hits.select("vehicle", "run", first="row", began_at="measured_at")
    for _ in range(links):
        chains = (
            chains.drop("first")
            .with_columns(pl.col("began_at") - gap)
            .join_asof(earlier.with_columns(reached_at="began_at"), on="began_at",
                       by=["vehicle", "run"], check_sortedness=False)
            .with_columns(began_at="reached_at")
            .drop("reached_at")
            .drop_nulls("first")
        )
    return chains


def _within_window(settings: Repeated, timezone: str) -> pl.Expr:
    """Whether a chain's ends lie within the window, on the clock of the zone."""
    first, last = local("began_at", timezone), local("measured_at", timezone)
    if settings.window == "calendar_bucket":
        index_first, index_last = (c.dt.year() * 12 + c.dt.month() for c in (first, last))
        return index_last - index_first < settings.window_months
    end = first.dt.offset_by(f"{settings.window_months}mo")
    return last <= end if settings.inclusive else last < end


def _without_inspection(chains: pl.DataFrame, inspections: pl.DataFrame) -> pl.DataFrame:
    """Drop chains with an inspection that was, or may have been, strictly between their ends."""
    until = pl.col("inspected_until").cum_max().over("vehicle")  # an earlier one may end later
    spans = inspections.sort("inspected_at").select("vehicle", "inspected_at", _until=until)
    latest = chains.join_asof(
        spans, left_on="measured_at", right_on="inspected_at", by="vehicle",
        allow_exact_matches=False, check_sortedness=False,
    )
    broken = (pl.col("_until") > pl.col("began_at")) & (pl.col("measured_at") > pl.col("began_at"))
    return latest.filter(broken.not_().fill_null(True)).drop("_until")
