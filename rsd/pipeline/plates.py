"""Plates of a dump → vehicles: each text is normalised, judged and hashed once.

Texts that were met before are looked up by 128 bits of hash (two seeds, within one process): a
clash, which would join two vehicles, is as unlikely as one of the pseudonyms themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from rsd.columns import PLATE_COLORS
from rsd.pipeline.hash_index import HashIndex, Positions
from rsd.pipeline.registry import Registry
from rsd.privacy import (
    VehicleKey,
    hash_vehicles,
    normalise_plate_expr,
    plain_plate_expr,
    plate_status_expr,
)
from rsd.reasons import mask

_ANY_PLATE = r"^[\p{L}\p{N}][\p{L}\p{N}\-]{1,14}$"
_KEYS = ["hash", "check"]
_COLOR = pl.Enum(PLATE_COLORS)
_TEXTS = pl.Schema({"hash": pl.UInt64(), "check": pl.UInt64(), "color": _COLOR,
                    "plate": pl.String(), "vehicle_id": pl.String(), "registry_row": pl.UInt32()})
_FOUND = ["check", "plate", "vehicle_id", "registry_row"]
_SPREAD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: a few colours become far apart


class _Texts:
    """Described texts, found by their hash; their order is that in which they were met.

    They are kept in few frames, each at least twice as long as the next: a text that comes in
    moves few others, and a look-up gathers from few places (from one in many pieces it would cost
    25 times as much).
    """

    def __init__(self) -> None:
        self.index = HashIndex()
        self._frames: list[pl.DataFrame] = []

    def __len__(self) -> int:
        return len(self.index)

    def cut(self, rows: int) -> None:
        """Forget all but the first texts."""
        kept = self.since(0).head(rows)
        self.index, self._frames = HashIndex(), []
        self.add(kept)

    def add(self, described: pl.DataFrame) -> None:
        """Add texts that are not here yet."""
        self.index.insert(described["hash"].to_numpy())
        self._frames.append(described)
        while len(self._frames) > 1 and self._frames[-2].height < 2 * self._frames[-1].height:
            last = self._frames.pop()
            self._frames[-1] = pl.concat([self._frames[-1], last], rechunk=True)

    def since(self, first: int) -> pl.DataFrame:
        """Return the texts from a number on."""
        return pl.concat([pl.DataFrame(schema=_TEXTS), *self._frames]).slice(first)

    def rows(self, positions: Positions) -> pl.DataFrame:
        """Return what is known of the texts at some positions."""
        if not positions.size:
            return pl.DataFrame(schema=_TEXTS).select(_FOUND)
        start, parts, places = 0, list[pl.DataFrame](), list[Positions]()
        for frame in self._frames:
            few = frame.select(_FOUND)
            if frame is self._frames[0] and positions.max() < frame.height:
                return few[positions]
            here = np.flatnonzero((positions >= start) & (positions < start + frame.height))
            parts.append(few[positions[here] - start])
            places.append(here)
            start += frame.height
        order = np.argsort(np.concatenate(places), kind="stable")
        return pl.concat(parts, rechunk=True)[order]


class PlateBook:
    """The plate texts of a run, by the kind of plates that their formats have."""

    def __init__(self, key: VehicleKey, registry: Registry | None = None) -> None:
        self._key, self._registry = key, registry
        self._texts: dict[str, _Texts] = {}

    def mark(self) -> dict[str, int]:
        """Return how far the book is now; for `vehicles_since` and `forget_since`."""
        return {kind: len(texts) for kind, texts in self._texts.items()}

    def vehicles_since(self, mark: Mapping[str, int]) -> pl.DataFrame:
        """Return the vehicles first met after a mark: ``vehicle_id, plate, plate_color``."""
        new = [t.since(mark.get(kind, 0)) for kind, t in self._texts.items()]
        named = pl.concat([pl.DataFrame(schema=_TEXTS), *new]).drop_nulls("vehicle_id").select(
            "vehicle_id", "plate", plate_color=pl.col("color").cast(pl.String))
        # a vehicle whose plate was spelled in two ways; hashes tell the few that it may be
        hashes = named["vehicle_id"].hash()
        ordered = np.sort(hashes.to_numpy())
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not twice.size:
            return named
        may_be_twice = hashes.is_in(pl.Series(twice).implode())
        once = named.filter(may_be_twice).unique("vehicle_id", maintain_order=True)
        return pl.concat([named.filter(~may_be_twice), once])

    def forget_since(self, mark: Mapping[str, int]) -> None:
        """Forget what came after a mark: its records were refused, so nobody has met it."""
        for kind, texts in self._texts.items():
            if len(texts) > mark.get(kind, 0):
                texts.cut(mark.get(kind, 0))

    def assign(self, passes: pl.DataFrame, kind: str) -> pl.DataFrame:
        """Return passes with ``vehicle_id``; ``plate`` becomes normal, or null if it is no plate.

        ``registry_row`` is where the registry knows the vehicle.

        Args:
            passes: ``plate`` as it came, ``plate_color``, ``intake_bits``.
            kind: ``cn`` for Chinese plates, ``any`` for others, ``none`` for a format without.

        A text that is no plate stays in ``plate_raw`` and sets ``plate_unreadable``, as a blank
        does.
        """
        if kind == "none":
            nothing = pl.lit(None, pl.String)
            return passes.with_columns(plate=nothing, vehicle_id=nothing,
                                       registry_row=pl.lit(None, pl.UInt32))
        found = self._looked_up(passes, kind)
        named = passes.with_columns(found.drop("check"))
        if not found["plate"].null_count():
            return named
        is_plate = pl.col("plate").is_not_null()
        bits = pl.when(is_plate).then(0).otherwise(mask("plate_unreadable"))
        return named.with_columns(plate_raw=pl.when(~is_plate).then(passes["plate"]),
                                  intake_bits=pl.col("intake_bits") | bits)

    def _looked_up(self, passes: pl.DataFrame, kind: str) -> pl.DataFrame:
        """Return ``check, plate, vehicle_id, registry_row`` of each pass."""
        color = pl.col("plate_color").cast(_COLOR).fill_null(pl.lit("unknown", _COLOR))
        spread = pl.col("color").to_physical().cast(pl.UInt64) * pl.lit(_SPREAD, pl.UInt64)
        asked = passes.select(text=pl.col("plate"), color=color).with_columns(
            hash=pl.col("text").hash() ^ spread, check=pl.col("text").hash(seed=1) ^ spread)
        texts = self._texts.setdefault(kind, _Texts())
        hashes = asked["hash"].to_numpy()
        positions = texts.index.lookup(hashes)
        missing = positions < 0
        if missing.any():
            new = asked.filter(missing).unique("hash", maintain_order=True)
            texts.add(self._described(new, kind))
            positions[missing] = texts.index.lookup(hashes[missing])
        found = texts.rows(positions)
        if (found["check"] == asked["check"]).all():
            return found
        # two texts with one hash: look at the texts themselves
        described = self._described(asked.unique(_KEYS), kind)
        return asked.select(_KEYS).join(described, on=_KEYS, how="left",
                                        maintain_order="left").select(_FOUND)

    def _described(self, texts: pl.DataFrame, kind: str) -> pl.DataFrame:
        if kind != "cn":
            return self._judged(texts, pl.col("plate").str.contains(_ANY_PLATE))
        # a text that has a plate's form is normal already: most are
        is_plain = texts.select(plain_plate_expr("text").fill_null(value=False)).to_series()
        plain = texts.filter(is_plain).with_columns(plate="text")
        others = self._judged(texts.filter(~is_plain), plate_status_expr("plate") == "recognised")
        return pl.concat([self._named(plain), others])

    def _judged(self, texts: pl.DataFrame, is_plate: pl.Expr) -> pl.DataFrame:
        judged = texts.with_columns(plate=normalise_plate_expr("text")).with_columns(
            is_plate=is_plate.fill_null(value=False))
        nothing = judged.filter(~pl.col("is_plate")).with_columns(
            plate=pl.lit(None, pl.String), vehicle_id=pl.lit(None, pl.String),
            registry_row=pl.lit(None, pl.UInt32))
        return pl.concat([self._named(judged.filter("is_plate")), nothing.select(_TEXTS.names())])

    def _named(self, plates: pl.DataFrame) -> pl.DataFrame:
        plates = plates.with_columns(plate_color=pl.col("color").cast(pl.String))
        named = plates.with_columns(hash_vehicles(self._key, plates))
        row = (pl.lit(None, pl.UInt32) if self._registry is None
               else self._registry.rows(named["vehicle_id"]))
        return named.with_columns(registry_row=row).select(_TEXTS.names())
