from __future__ import annotations

import polars as pl
import pytest

from rsd.errors import IntegrityError
from rsd.pipeline.registry import Registry


def registry(*ids: str) -> Registry:
    return Registry(pl.DataFrame({"vehicle_id": ids, "fuel": ["diesel"] * len(ids)},
                                 schema={"vehicle_id": pl.String, "fuel": pl.String}))


def test_each_vehicle_is_found_in_its_row():
    rows = registry("a", "b", "c").rows(pl.Series(["c", "nobody", "a", "c"]))
    assert rows.to_list() == [2, None, 0, 2]
    assert rows.dtype == pl.UInt32


def test_an_empty_registry_knows_nobody():
    assert Registry.empty().rows(pl.Series(["a"])).to_list() == [None]
    assert registry("a").rows(pl.Series([], dtype=pl.String)).to_list() == []


def clashing(self: Registry, ids: pl.Series, seed: int) -> pl.Series:
    if seed < 2:
        return pl.Series([7] * ids.len(), dtype=pl.UInt64)
    known = {2: {"a": 7, "b": 8, "stranger": 8}, 3: {"a": 1, "b": 2, "stranger": 3}}
    return ids.replace_strict(known[seed], return_dtype=pl.UInt64)


def test_an_equal_hash_is_not_taken_for_the_vehicle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Registry, "_hashes", clashing)
    found = registry("a", "b")
    assert found._seed == 2  # the first seeds cannot tell the two apart
    assert found.rows(pl.Series(["stranger", "b", "a"])).to_list() == [None, 1, 0]


def test_a_vehicle_that_stands_twice_is_refused():
    with pytest.raises(IntegrityError, match="stands twice"):
        registry("a", "a")
