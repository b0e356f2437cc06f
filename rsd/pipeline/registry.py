"""The registry in memory: what it says of a vehicle, found by the vehicle's pseudonym.

A pseudonym is known by 128 bits of hash (two seeds, within one process), not by its text: a clash
is as unlikely as one of the pseudonyms themselves.
"""

from __future__ import annotations

import polars as pl

from rsd.columns import VEHICLES, schema
from rsd.errors import IntegrityError
from rsd.lake import Lake
from rsd.pipeline.hash_index import HashIndex
from rsd.scoring.attributes import registry_facts


class Registry:
    """What the registry says, a row a vehicle.

    ``facts``: what a pass takes from the registry (`registry_facts`), without ``vehicle_id``.
    """

    def __init__(self, facts: pl.DataFrame) -> None:
        ids, self._seed = facts["vehicle_id"], 0
        while (hashes := self._hashes(ids, self._seed)).n_unique() != ids.len():
            if ids.n_unique() != ids.len():
                raise IntegrityError("a vehicle stands twice in the registry", where="vehicles",
                                     expected="each vehicle_id once")
            self._seed += 1  # two ids of one hash: another seed parts them
        self.facts, self._check = facts.drop("vehicle_id"), self._hashes(ids, self._seed + 1)
        self._index = HashIndex()
        self._index.insert(hashes.to_numpy())

    @classmethod
    def of(cls, lake: Lake) -> Registry:
        """Return the registry of a lake."""
        rows = lake.table("vehicles").scan().filter("is_registered")
        return cls(registry_facts(rows).collect())

    @classmethod
    def empty(cls) -> Registry:
        """Return one that knows nobody."""
        return cls(registry_facts(pl.LazyFrame(schema=schema(VEHICLES))).collect())

    def rows(self, vehicle_ids: pl.Series) -> pl.Series:
        """Return the number of each vehicle's row in ``facts``; null where there is none."""
        positions = self._index.lookup(self._hashes(vehicle_ids, self._seed).to_numpy())
        asked = pl.DataFrame({"row": positions}).select(
            pl.when(pl.col("row") >= 0).then("row").cast(pl.UInt32)).to_series()
        is_same = self._check.gather(asked) == self._hashes(vehicle_ids, self._seed + 1)
        return pl.select(registry_row=pl.when(is_same).then(asked)).to_series()

    def _hashes(self, vehicle_ids: pl.Series, seed: int) -> pl.Series:
        return vehicle_ids.hash(seed=seed)
