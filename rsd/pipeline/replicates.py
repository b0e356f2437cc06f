"""Replicates: one event that two instruments recorded, as two passes that both stay.

Two passes are one event where the vehicle is the same, the instruments (site and line) differ, both
stand at one place, and few seconds lie between. A group is what such pairs join. Which passes are
replicates follows from the passes, the sites and two settings; nothing of it is stored. The view
`replicates` tells it of all passes. Here a run counts it for the passes that it changed, and looks
at vehicles only at places that have two instruments, only at times that the change touched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rsd.errors import UsageError
from rsd.lake import Lake
from rsd.views import Nearness

LONGEST_S = 300.0
"""Most that ``replicate_seconds`` may be, s; choice of this project."""
FARTHEST_M = 1000.0
"""Most that ``replicate_distance_m`` may be, m; choice of this project."""

_EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG (Moritz 2000); 0.5 % off at most at any latitude
_DEGREE_M = _EARTH_RADIUS_M * np.pi / 180
_SECOND_US = 1_000_000
_HOUR_US = 3600 * _SECOND_US
_WINDOW_US = 900 * _SECOND_US  # a vehicle is rarely twice at one place in that time
_PART_ROWS = 4_000_000  # rows whose 16 bytes are held at a time
_SPREAD = 0x9E37_79B9_7F4A_7C15  # 2^64 divided by the golden ratio: neighbours become far apart
_FEW = 10_000  # times, if no more: the scan then skips the other columns of all other rows
_LONG_AGO = -(1 << 62)
_INSTANT = pl.Datetime("us", "UTC")

Passes = Callable[..., pl.LazyFrame]
"""Passes of some files at some places; with ``times``, only those of these instants."""


def nearness(lake: Lake) -> Nearness:
    """Return what the lake's settings and sites call one event; UsageError for a setting."""
    seconds = _setting(lake, "replicate_seconds", LONGEST_S)
    distance_m = _setting(lake, "replicate_distance_m", FARTHEST_M)
    return Nearness(seconds, places(lake.table("sites").scan().collect(), distance_m))


def _setting(lake: Lake, key: str, most: float) -> float:
    value = float(str(lake.settings[key]))
    if not 0.0 <= value <= most:
        raise UsageError(f"setting {key} is out of range", where=str(lake.path / "rsd.toml"),
                         found=f"{value:g}", expected=f"0 to {most:g}")
    return value


def places(sites: pl.DataFrame, distance_m: float) -> dict[str, str]:
    """Return the sites that stand at one place with others → its southernmost site.

    Args:
        sites: ``site_id``, ``lon_wgs84`` and ``lat_wgs84`` in degrees; without them, alone.
        distance_m: two sites no farther apart stand at one place, and so do those that a row of
            such steps joins.
    """
    known = sites.drop_nulls(["lon_wgs84", "lat_wgs84"]).sort("lat_wgs84", "site_id")
    lon, lat = (known[name].to_numpy() for name in ("lon_wgs84", "lat_wgs84"))
    # Rounding must not part two sites on one meridian that stand just so far apart.
    last = np.searchsorted(lat, lat + distance_m / _DEGREE_M + 1e-9, side="right")
    number = last - np.arange(lat.size) - 1
    one = np.repeat(np.arange(lat.size), number)
    other = one + 1 + np.arange(one.size) - np.repeat(np.cumsum(number) - number, number)
    near = _distance_m(lon[one], lat[one], lon[other], lat[other]) <= distance_m
    one, other = one[near], other[near]
    first = np.arange(lat.size)
    while (first[one] != first[other]).any():
        lower = np.minimum(first[one], first[other])
        np.minimum.at(first, one, lower)
        np.minimum.at(first, other, lower)
    names = known["site_id"].to_list()
    return {names[k]: names[first[k]] for k in np.union1d(one, other)}


def _distance_m(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64],
                other_lon: npt.NDArray[np.float64], other_lat: npt.NDArray[np.float64],
                ) -> npt.NDArray[np.float64]:
    """Return great-circle distances in m between places in degrees (haversine formula)."""
    phi, other_phi = np.radians(lat), np.radians(other_lat)
    north = np.sin((other_phi - phi) * 0.5) ** 2
    east = np.sin(np.radians(other_lon - lon) * 0.5) ** 2
    chord = np.sqrt(north + np.cos(phi) * np.cos(other_phi) * east)
    distances: npt.NDArray[np.float64] = 2 * _EARTH_RADIUS_M * np.arcsin(np.minimum(chord, 1.0))
    return distances


def replicates(rows: pl.DataFrame, within_us: int) -> pl.DataFrame:
    """Return the rows that have a row of another instrument near enough in time.

    Args:
        rows: ``who`` (vehicle and place), ``at`` in us, ``instrument``.
        within_us: most time between two rows of one event, us.
    """
    who, at, instrument = (pl.col(name) for name in ("who", "at", "instrument"))

    def nearest(step: int) -> pl.Expr:
        """Return the time of the nearest row before (1) or after (-1) of another instrument.

        Of a run of rows of one instrument it is the row before the run.
        """
        is_first = who.ne_missing(who.shift(step))
        is_other = instrument != instrument.shift(step)
        edge = pl.when(is_first).then(_LONG_AGO).when(is_other).then(at.shift(step))
        return edge.forward_fill() if step > 0 else edge.backward_fill()

    # abs: a time long ago is as far from `at` as one in the far future
    beside = [(at - nearest(step)).abs() <= within_us for step in (1, -1)]
    return rows.sort("who", "at", "instrument").filter(pl.any_horizontal(*beside))


def twice(rows: pl.DataFrame, within_us: int) -> pl.DataFrame:
    """Return the rows ``who, at`` that have another one of the same ``who`` near in time.

    Two rows that are near share a window of time, or stand on the two sides of its end: only rows
    that share a key of 8 bytes with another are looked at.
    """
    who, at = rows["who"].to_numpy(), rows["at"].to_numpy()
    window, late = at // _WINDOW_US, (at + within_us) // _WINDOW_US
    edge = np.flatnonzero(late != window)
    keys = pl.Series(np.concatenate([_keys(who, window), _keys(who[edge], late[edge])]))
    ordered = keys.sort()  # four times as fast as asking which are duplicated
    met = ordered.filter(ordered == ordered.shift()).unique()
    places = keys.is_in(met.implode()).arg_true().to_numpy()
    at_edge = places[places >= who.size] - who.size
    few = rows[np.union1d(places[places < who.size], edge[at_edge])].sort("who", "at")
    follows = ((pl.col("who") == pl.col("who").shift())
               & (pl.col("at") - pl.col("at").shift() <= within_us)).fill_null(value=False)
    return few.filter(follows | follows.shift(-1, fill_value=False))


def _keys(who: npt.NDArray[np.uint64], window: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    return who ^ (window.view(np.uint64) * np.uint64(_SPREAD))


def _rows(passes: Passes, near: pl.DataFrame) -> pl.DataFrame:
    """Return the passes of some ``who, at``."""
    times = near["at"].unique()
    found = passes(times=times if times.len() <= _FEW else None)
    return found.join(near.lazy(), on=["who", "at"], how="semi").collect(engine="streaming")


class ReplicateCount:
    """How many passes of each source another instrument recorded too, change by change of a run.

    ``counts``: source → passes; of a source of an earlier run, how many more than before the run.
    """

    def __init__(self, lake: Lake) -> None:
        self._table = lake.table("passes")
        near = nearness(lake)
        self._within_us = round(near.seconds * _SECOND_US)
        self._place_of = dict(near.place_of)
        self._instruments: dict[str, pl.DataFrame] = {}
        self.counts: Counter[str] = Counter()

    def changed(self, added: Sequence[Path], removed: Sequence[Path]) -> Counter[str]:
        """Return by source how many passes more (or fewer) are replicates after a change.

        Args:
            added: files that are written and not yet committed.
            removed: active files that they replace.
        """
        found: Counter[str] = Counter()
        hours = self._hours([*added, *removed])
        kept = self._overlapping(hours, {path.name for path in removed})
        if not (sites := self._crowded_sites([*added, *removed], kept)):
            return found
        # Twice, for whether a neighbour is new as a replicate lies with its own neighbours.
        margin = 2 * self._within_us
        span = (hours[0] * _HOUR_US - margin, (hours[-1] + 1) * _HOUR_US + margin)
        rows = self._table.rows([*added, *removed]).select(pl.len()).collect().item()
        parts = 1 + rows // _PART_ROWS
        for part in range(parts):
            found.update(self._difference(*(
                partial(self._passes, files, sites=sites, span=within, part=(part, parts))
                for files, within in ((added, None), (removed, None), (kept, span)))))
        return found

    def add(self, found: Counter[str]) -> None:
        """Count a change that is committed."""
        self.counts.update(found)

    def _difference(self, added: Passes, removed: Passes, kept: Passes) -> dict[str, int]:
        """Return by source the replicates of what stands after the change less those before."""
        new, old = (side().select("who", "at").collect(engine="streaming")
                    for side in (added, removed))
        whos = pl.concat([new["who"], old["who"]]).to_frame().lazy()
        beside = kept().select("who", "at").join(whos, on="who", how="semi").collect(
            engine="streaming")
        near = pl.concat([twice(pl.concat([side, beside]), self._within_us)
                          for side in (new, old)]).unique()
        if near.is_empty():
            return {}
        new, old, beside = (_rows(side, near) for side in (added, removed, kept))
        found = Counter(self._by_source(pl.concat([new, beside])))
        found.subtract(self._by_source(pl.concat([old, beside])))
        return found

    def _by_source(self, rows: pl.DataFrame) -> dict[str, int]:
        return dict(replicates(rows, self._within_us)["source_sha256"].value_counts().iter_rows())

    def _passes(self, files: Sequence[Path], *, sites: list[str], span: tuple[int, int] | None,
                part: tuple[int, int], times: pl.Series | None = None) -> pl.LazyFrame:
        """Return the current passes at some sites as ``who, at, instrument, source_sha256``.

        ``span``: first and last instant, us; ``part``: which of how many parts of the vehicles;
        ``times``: only these instants, us.
        """
        frame = self._table.rows(files).filter(
            pl.col("is_current").ne_missing(other=False), pl.col("vehicle_id").is_not_null(),
            pl.col("site_id").is_in(sites))
        if span is not None:
            first, last = (pl.lit(us).cast(_INSTANT) for us in span)
            frame = frame.filter(pl.col("measured_at").is_between(first, last))
        if times is not None:
            frame = frame.filter(pl.col("measured_at").is_in(times.cast(_INSTANT).implode()))
        site, line = pl.col("site_id"), pl.col("line_id").fill_null("")
        place = site.replace(self._place_of) if self._place_of else site
        rows = frame.select(
            "source_sha256", who=pl.col("vehicle_id").hash() ^ place.hash(1),
            at=pl.col("measured_at").to_physical(), instrument=site.hash(2) ^ line.hash(3))
        number, parts = part
        return rows if parts == 1 else rows.filter(pl.col("who") % parts == number)

    def _hours(self, files: Sequence[Path]) -> list[int]:
        """Return the hours since 1970 (UTC) in which files have passes, ascending."""
        hour = pl.col("measured_at").to_physical() // _HOUR_US
        is_next = (hour != hour.shift()).fill_null(value=True)  # most rows follow the one before
        hours = self._table.rows(files).select(hour.filter(is_next).unique().drop_nulls().sort())
        return hours.collect().to_series().to_list()

    def _overlapping(self, hours: list[int], removed: set[str]) -> list[Path]:
        """Return the active files with passes in or beside some hours, by the log's statistics."""
        margin = 2 * self._within_us

        def overlaps(statistics: Mapping[str, Any]) -> bool:
            low, high = (statistics.get(kind, {}).get("measured_at")
                         for kind in ("minValues", "maxValues"))
            if low is None or high is None:
                return True
            first, last = (_hour(low, -margin), _hour(high, margin))
            place = bisect_left(hours, first)
            return place < len(hours) and hours[place] <= last

        return [self._table.folder / file.name for file in self._table.snapshot().files.values()
                if file.name not in removed and overlaps(file.statistics)]

    def _crowded_sites(self, changed: Sequence[Path], kept: Sequence[Path]) -> list[str]:
        """Return the sites of changed files' places at which two instruments stand."""
        here, beside = (pl.concat([
            pl.DataFrame(schema={"site_id": pl.String, "line_id": pl.String}),
            *map(self._instruments_of, files)]) for files in (changed, kept))
        place = pl.col("site_id").replace(self._place_of).alias("place")
        every = pl.concat([here, beside]).unique().with_columns(place)
        crowded = every.filter(
            pl.col("place").is_in(here.select(place).to_series().implode())
            & (pl.len().over("place") > 1))
        return crowded["site_id"].unique().to_list()

    def _instruments_of(self, path: Path) -> pl.DataFrame:
        """Return the instruments of a file: ``site_id, line_id``, blank where it has none."""
        if path.name not in self._instruments:
            self._instruments[path.name] = self._table.rows([path]).select(
                "site_id", pl.col("line_id").fill_null("")).unique().collect(engine="streaming")
        return self._instruments[path.name]


def _hour(instant: str, more_us: int) -> int:
    at = datetime.fromisoformat(instant)
    return int((at.timestamp() * _SECOND_US + more_us) // _HOUR_US)
