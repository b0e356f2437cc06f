"""What each reading means to the verb `repeated`: where its chain began, what broke it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd.law.verbs.base import Context, Note
from rsd.law.verbs.repeated import (
    Repeated,
    _hits,
    _reach_back,
    _within_window,
    _without_inspection,
)


def tell_repeated(readings: pl.DataFrame, settings: Repeated, context: Context) -> list[Note]:
    """Return a note a reading of one vehicle; see `rsd.law.verbs.base.Tell`.

    Chains, window and inspections are asked of the verb's own functions, so that no note says
    other than the verdict.
    """
    hits = _hits(readings, settings.consecutive)
    chains = _reach_back(hits, settings).with_columns(
        is_open=_within_window(settings, context.timezone))
    whole = chains
    if settings.reset_on_inspection and context.inspections is not None:
        whole = _without_inspection(chains, context.inspections)
    unbroken = set(whole["row"])
    by_row = {row["row"]: row | {"is_whole": row["row"] in unbroken}
              for row in chains.iter_rows(named=True)}
    runs = dict(hits.select("row", "run").iter_rows())
    teller = _Teller(settings, context, by_row)
    return [teller.note(row, at, runs.get(row)) for row, at in
            enumerate(readings["measured_at"])]


class _Teller:
    """Walks a vehicle's readings and remembers what a note refers to."""

    def __init__(self, settings: Repeated, context: Context,
                 chains: dict[int, dict[str, Any]]) -> None:
        self._settings, self._context, self._chains = settings, context, chains
        self._begun: datetime | None = None  # where the open chain began
        self._broken: datetime | None = None  # the pass that broke the one before
        self._found: datetime | None = None
        self._run: int | None = None
        self._count = 0

    def note(self, row: int, at: datetime, run: int | None) -> Note:
        """Return the note of a reading; ``run`` is null where it is within the limit."""
        if run is None:
            return self._within(at)
        if run != self._run:
            self._run, self._count, self._begun = run, 0, at
        self._count += 1
        if self._found is not None:
            return Note("after", {"found_at": self._found})
        note = self._exceeding(at, self._chains.get(row))
        self._broken = None
        return note

    def _within(self, at: datetime) -> Note:
        begun, self._begun = self._begun, None
        if begun is None or self._found is not None or not self._settings.consecutive:
            self._begun = begun
            return Note("within")
        self._broken, self._run = at, None
        return Note("breaks", {"first": begun})

    def _exceeding(self, at: datetime, chain: dict[str, Any] | None) -> Note:
        least = self._settings.min_hits
        if chain is None:
            if self._count >= least:
                return Note("too_soon", {"min_gap_s": self._settings.min_gap_s})
            key = "first" if self._count == 1 else "next"
            if self._broken is not None:
                key = "first_again"
            return Note(key, {"count": self._count, "least": least, "broken": self._broken,
                              "until": self._end(at if self._count == 1 else self._begun)})
        facts = {"first": chain["began_at"], "until": self._end(chain["began_at"]),
                 "anew": self._end(at), "count": self._count, "least": least}
        if not chain["is_open"]:
            return Note("expired", facts)
        if not chain["is_whole"]:
            return Note("inspected", {**facts, "inspected": self._inspected(chain["began_at"], at)})
        self._found = at
        return Note("found" if least > 1 else "found_alone", facts)

    def _end(self, first: datetime | None) -> datetime | None:
        """Return the last instant of the window that an exceedance opens."""
        if first is None:
            return None
        zone, months = self._context.timezone, f"{self._settings.window_months}mo"
        local = pl.Series([first.astimezone(ZoneInfo(zone)).replace(tzinfo=None)])
        begin = local if self._settings.window == "anchored" else local.dt.truncate("1mo")
        end: datetime = begin.dt.offset_by(months).item()
        if self._settings.window != "anchored":
            end -= timedelta(seconds=1)
        return end.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    def _inspected(self, first: datetime, last: datetime) -> datetime | None:
        if self._context.inspections is None:
            return None
        between = self._context.inspections.filter(
            pl.col("inspected_until") > first, pl.col("inspected_at") < last)
        found = between["inspected_at"].max()
        return found if isinstance(found, datetime) else None
