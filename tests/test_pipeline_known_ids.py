"""Which ids a table knows: the answer never depends on what is held in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.columns import VEHICLES, schema
from rsd.lake import Lake
from rsd.pipeline import known_ids
from rsd.pipeline.known_ids import KnownIds

IDS = st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=6)


def vehicles(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"vehicle_id": [f"v1.{k}" for k in numbers], "is_registered": False},
                        schema_overrides={"vehicle_id": pl.String, "is_registered": pl.Boolean},
                        ).select(c if c in ("vehicle_id", "is_registered")
                                 else pl.lit(None, t).alias(c)
                                 for c, t in schema(VEHICLES).items())


def hashes(numbers: list[int]) -> np.ndarray:
    return pl.Series([f"v1.{k}" for k in numbers], dtype=pl.String).hash().sort().to_numpy()


@pytest.mark.parametrize("most", [0, 7, 1000])
@given(before=IDS, during=IDS, asked=st.lists(st.integers(0, 60), max_size=30))
def test_what_was_met_is_what_stands_in_the_table(tmp_path_factory: pytest.TempPathFactory,
                                                  most: int, before: list[list[int]],
                                                  during: list[list[int]], asked: list[int]):
    lake = Lake.create(tmp_path_factory.mktemp("known") / "lake")
    table = lake.table("vehicles")
    for numbers in filter(None, before):
        table.commit([table.write(vehicles(numbers), "before")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_ids, "_MOST", most)
        known = KnownIds(table, "vehicle_id")
        there = {k for numbers in before for k in numbers}
        for numbers in filter(None, during):
            path = table.write(vehicles(numbers), "during")
            table.commit([path])
            known.add([path], hashes(numbers))
            there |= set(numbers)
            expected = hashes(sorted(there & set(asked)))
            assert known.met(hashes(sorted(set(asked)))).sort().to_list() == expected.tolist()


def test_a_file_that_was_written_again_is_not_read_again(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch):
    lake = Lake.create(tmp_path / "lake")
    table = lake.table("vehicles")
    old = table.write(vehicles([1, 2]), "old")
    table.commit([old])
    known = KnownIds(table, "vehicle_id")
    assert known.met(hashes([1])).len() == 1
    new = table.write(vehicles([1, 2]), "new")
    table.commit([new], remove=[old])
    known.replaced({old: new})
    monkeypatch.setattr(KnownIds, "_hashes", None)  # a look at the files would fail
    assert known.met(hashes([2, 3])).len() == 1
