"""Rows gathered by a key, in memory or in files."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from rsd.errors import StorageError
from rsd.storage.buckets import Buckets


def rows(*keys: str) -> pl.DataFrame:
    return pl.DataFrame({"key": keys, "n": range(len(keys))}, schema={"key": pl.String,
                                                                      "n": pl.Int64})


def test_few_rows_stay_in_memory(tmp_path: Path):
    with Buckets("key", tmp_path / "scratch", most_rows=4) as buckets:
        buckets.add(rows("a", "b"))
        buckets.add(rows("a"))
        (frame,) = buckets.frames()
        assert frame.equals(pl.concat([rows("a", "b"), rows("a")]))
        assert buckets.spills == 0
        assert list(tmp_path.iterdir()) == []


def test_without_rows_there_is_no_frame():
    with Buckets("key", most_rows=1) as buckets:
        assert list(buckets.frames()) == []


@pytest.mark.parametrize("most_rows", [1, 3, 4])
def test_many_rows_come_back_whole_with_a_key_in_one_frame(tmp_path: Path, most_rows: int):
    given = [rows(*(f"k{(n * step) % 17}" for n in range(20))) for step in (1, 3, 5)]
    with Buckets("key", tmp_path / "scratch", most_rows=most_rows, parts=4) as buckets:
        for frame in given:
            buckets.add(frame)
        assert buckets.spills == len(given)
        frames = list(buckets.frames())
        assert 1 < len(frames) <= 4
        keys = [set(frame["key"]) for frame in frames]
        assert sum(map(len, keys)) == len(set().union(*keys)) == 17
        assert pl.concat(frames).sort("key", "n").equals(pl.concat(given).sort("key", "n"))
        assert (tmp_path / "scratch").stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_the_rest_in_memory_is_not_forgotten(tmp_path: Path):
    with Buckets("key", tmp_path / "scratch", most_rows=3, parts=2) as buckets:
        for _ in range(5):
            buckets.add(rows("a", "b"))
        assert buckets.spills == 2
        assert sum(frame.height for frame in buckets.frames()) == 10


def test_the_files_go_after_a_fault_too(tmp_path: Path):
    def fail(buckets: Buckets) -> None:
        with buckets:
            buckets.add(rows("a"))
            assert (tmp_path / "s").is_dir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(Buckets("key", tmp_path / "s", most_rows=1))
    assert list(tmp_path.iterdir()) == []


def test_a_place_of_the_system_is_used_where_none_is_given(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Buckets("key", most_rows=1) as buckets:
        buckets.add(rows("a"))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_said_with_its_place(tmp_path: Path, monkeypatch):
    with (Buckets("key", tmp_path / "none" / "scratch", most_rows=1) as buckets,
          pytest.raises(StorageError, match="put aside")):
        buckets.add(rows("a"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with (Buckets("key", tmp_path / "scratch", most_rows=1) as buckets,
          pytest.raises(StorageError, match="No space left")):
        buckets.add(rows("a"))
    assert list(tmp_path.iterdir()) == []
