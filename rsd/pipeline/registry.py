"""The registry in memory: what it says of a vehicle, found by the vehicle's pseudonym."""

from __future__ import annotations

import polars as pl

from rsd.columns import VEHICLES, schema
from rsd.errors import IntegrityError
from rsd.lake import Lake
from rsd.pipeline.hash_index import HashIndex
from rsd.scoring.attributes import registry_facts


class Registry:
    """What the registry says, a row a vehicle.

    ``facts``: ``vehicle_id`` and what a pass takes from the registry (`registry_facts`).
    """

    def __init__(self, facts: pl.DataFrame) -> None:
        self.facts, self._seed = facts, 0
        while (hashes := self._hashes(facts["vehicle_id"])).n_unique() != facts.height:
            if facts["vehicle_id"].n_unique() != facts.height:
                raise IntegrityError("a vehicle stands twice in the registry", where="vehicles",
                                     expected="each vehicle_id once")
            self._seed += 1  # two ids of one hash: another seed parts them
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
        positions = self._index.lookup(self._hashes(vehicle_ids).to_numpy())
        asked = pl.DataFrame({"vehicle_id": vehicle_ids, "row": positions}).with_columns(
            row=pl.when(pl.col("row") >= 0).then("row").cast(pl.UInt32))
        known = self.facts["vehicle_id"].gather(asked["row"])
        is_same = known == asked["vehicle_id"]  # an equal hash alone proves nothing
        return asked.select(registry_row=pl.when(is_same).then("row")).to_series()

    def _hashes(self, vehicle_ids: pl.Series) -> pl.Series:
        return vehicle_ids.hash(seed=self._seed)
