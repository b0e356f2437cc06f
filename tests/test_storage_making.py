"""A lake that is being made is marked; what a dead `rsd init` left can be made again."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from rsd import audit
from rsd.errors import LakeBusy, StorageError, UsageError
from rsd.lake import Lake
from rsd.pipeline.setup import init_lake
from rsd.privacy import VehicleKey
from rsd.storage import disk
from rsd.storage.making import MARK, marked


def test_a_half_made_lake_is_no_lake_and_can_be_made(tmp_path: Path):
    place = tmp_path / "lake"
    lake = init_lake(place)[0]
    (place / MARK).touch()  # as if the making had died at its last step
    first = lake.key_path.read_bytes()
    with pytest.raises(UsageError, match="rsd init"):
        Lake.open(place)
    made, _ = init_lake(place)
    assert made.key_path.read_bytes() != first
    assert not (place / MARK).exists()
    with pytest.raises(UsageError, match="already a lake"):
        init_lake(place)


def test_two_makings_at_once(tmp_path: Path):
    place = tmp_path / "lake"
    with marked(place):
        with pytest.raises(LakeBusy, match="another process is making"):
            init_lake(place)
        (place / "rsd.toml").write_text("x")
    assert (place / "rsd.toml").exists()


def test_what_somebody_put_there_is_never_removed(tmp_path: Path):
    place = tmp_path / "lake"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.txt"), marked(place):
        pass
    assert [p.name for p in place.iterdir()] == ["mine.txt"]


def test_a_making_that_fails_leaves_nothing(tmp_path: Path):
    place = tmp_path / "lake"
    with pytest.raises(FileNotFoundError), marked(place):
        (place / "gone" / "open").mkdir()
    assert list(place.iterdir()) == []


def test_a_key_elsewhere_outlives_a_making_that_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    key = tmp_path / "vehicle.key"
    monkeypatch.setenv("RSD_KEY_FILE", str(key))
    made = VehicleKey.create(key)
    place = tmp_path / "lake"
    with pytest.raises(UsageError, match="exists already"):
        init_lake(place)
    place.mkdir()
    (place / MARK).touch()
    init_lake(place)
    assert VehicleKey.load(key) == made


def test_a_key_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = VehicleKey.create(tmp_path / "vehicle.key")
    read = disk.os.read
    monkeypatch.setattr(disk.os, "read", lambda descriptor, size: read(descriptor, min(size, 5)))
    assert VehicleKey.load(tmp_path / "vehicle.key") == key


def test_a_write_that_fails_without_a_number_is_a_matter_of_storage():
    error = ValueError("parquet: File out of specification: Invalid thrift: transport error")
    assert disk.is_unnamed_write_fault(error)
    assert not disk.is_unnamed_write_fault(ValueError("no such column"))
    said = disk.storage_error(None, "/lake/x", "the rows cannot be written")
    assert isinstance(said, StorageError)
    assert "Check free space" in str(said)


def test_the_audit_log_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(20):
        audit.append(tmp_path, "test", {"number": number})
    read = disk.os.pread
    monkeypatch.setattr(disk.os, "pread", lambda f, size, at: read(f, max(1, size // 2), at))
    assert audit.append(tmp_path, "test", {}).seq == 21
    assert audit.verify(audit.audit_path(tmp_path)) == []


def test_a_held_audit_log_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    audit.append(tmp_path, "test", {})
    monkeypatch.setattr(audit, "PATIENCE_S", 0.05)
    with audit.audit_path(tmp_path).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LakeBusy, match="holds the audit log"):
            audit.append(tmp_path, "test", {})
    assert audit.append(tmp_path, "test", {}).seq == 2
