"""A copy of one moment, beside whatever runs; a lake from it that is the same."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain import dump, record, rsd
from keeping_lake import copy, doctor, held, make, memory, named

from rsd.errors import IntegrityError, StorageError, UsageError
from rsd.keeping import backup as module
from rsd.keeping.backup import MANIFEST, backup, restore
from rsd.keeping.content import content_hash
from rsd.keeping.plate_search import files_with_plates
from rsd.keeping.purge import purge
from rsd.keeping.rotation import rotate
from rsd.lake import Lake


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        yield make(folder)


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Lake:
    return Lake.open(copy(original, tmp_path / "lake"))


def restored(lake: Lake, source: Path, place: Path) -> Lake:
    restore(source, place)
    shutil.copy2(lake.key_path, place / "restricted" / "vehicle.key")
    return Lake.open(place)


def ingest(lake: Lake, tmp_path: Path, number: int) -> None:
    rsd("run", lake.path, dump(tmp_path / f"n{number}.csv", [record(jlbh=f"N{number}")]))


def test_a_restored_lake_is_the_same_and_whole(lake: Lake, tmp_path: Path) -> None:
    done = backup(lake, tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("*.key*"))
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    new = restored(lake, tmp_path / "copy", tmp_path / "new")
    assert content_hash(new) == content_hash(lake)
    assert done.versions == {n: new.table(n).version() for n in done.versions}
    assert (new.path / "restricted").stat().st_mode & 0o777 == 0o700
    assert doctor(new.path) == []
    version = lake.table("passes").version() - 1
    assert new.table("passes").scan(version).collect().equals(
        lake.table("passes").scan(version).collect())
    ingest(new, tmp_path, 1)
    assert new.table("passes").scan().collect().height == 17


def test_only_what_is_new_is_copied_again(lake: Lake, tmp_path: Path) -> None:
    first = backup(lake, tmp_path / "copy")
    ingest(lake, tmp_path, 1)
    second = backup(lake, tmp_path / "copy")
    assert second.files < first.files / 2
    assert held(restored(lake, tmp_path / "copy", tmp_path / "new")) == held(lake)


def test_what_is_written_meanwhile_is_not_in_it(lake: Lake, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    before, real, count = held(lake), module._copy, 0

    def slow(*args: object, **kwargs: object) -> int:
        nonlocal count
        count += 1
        if count in (1, 20):
            ingest(Lake.open(lake.path), tmp_path, count)
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_copy", slow)
    backup(lake, tmp_path / "copy")
    assert held(lake) != before
    new = restored(lake, tmp_path / "copy", tmp_path / "new")
    assert held(new) == before
    assert doctor(new.path) == []


@pytest.mark.parametrize("what", ["review", "export", "doctor", "purge", "rotate"])
@pytest.mark.parametrize("when", ["before the tables", "after them"])
def test_what_is_done_beside_a_backup_leaves_it_whole(lake: Lake, tmp_path: Path, what: str,
                                                      when: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit, the list of exports and the deletions speak of no version that is not there."""
    other, is_done = Lake.open(lake.path), []

    def meanwhile() -> None:
        if is_done:
            return
        is_done.append(True)
        ingest(other, tmp_path, 1)
        (first, *_) = json.loads(rsd("review", "list", lake.path, "--format", "json").out)
        words: dict[str, list[object]] = {
            "review": ["review", "note", lake.path, first["finding_id"], "--reason", "x"],
            "export": ["export", "findings", lake.path, "-o", tmp_path / "l.csv"],
            "doctor": ["doctor", lake.path],
            "purge": ["purge", lake.path, "--before", "2026-07-01", "--reason", "x"],
            "rotate": ["key", "rotate", lake.path, "--reason", "x"],
        }
        assert rsd(*words[what]).code == 0

    name = "_check_history" if when == "before the tables" else "_others"
    real = getattr(module, name)

    def slow(*args: object) -> object:
        meanwhile()
        return real(*args)

    monkeypatch.setattr(module, name, slow)
    backup(lake, tmp_path / "copy")
    assert is_done
    retired = list((lake.path / "restricted").glob("vehicle.key.*.retired"))
    key = retired[0] if retired else lake.key_path  # that of the moment of the copy
    restore(tmp_path / "copy", tmp_path / "new")
    shutil.copy2(key, tmp_path / "new" / "restricted" / "vehicle.key")
    assert [row for row in doctor(tmp_path / "new") if row["severity"] != "note"] == []
    assert rsd("review", "verify", tmp_path / "new").code == 0
    assert rsd("audit", "verify", tmp_path / "new").code == 0
    assert rsd("export", "findings", tmp_path / "new", "-o", tmp_path / "new.csv").code == 0


def test_a_purge_meanwhile_gives_the_purged_lake(lake: Lake, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = module._copy, 0

    def slow(*args: object, **kwargs: object) -> int:
        nonlocal count
        count += 1
        if count == 3:
            purge(Lake.open(lake.path), dt.date(2026, 7, 1), "rule")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_copy", slow)
    backup(lake, tmp_path / "copy")
    new = restored(lake, tmp_path / "copy", tmp_path / "new")
    assert held(new) == held(lake)
    assert files_with_plates(tmp_path / "copy", ["闽D12340"]) == []


def test_what_was_purged_leaves_the_copy_too(lake: Lake, tmp_path: Path) -> None:
    backup(lake, tmp_path / "copy")
    purge(lake, dt.date(2026, 7, 1), "rule")
    assert files_with_plates(tmp_path / "copy", ["闽D12340"]) != []
    assert backup(lake, tmp_path / "copy").removed > 0
    assert files_with_plates(tmp_path / "copy", ["闽D12340"]) == []
    assert doctor(restored(lake, tmp_path / "copy", tmp_path / "new").path) == []


def test_a_new_key_does_not_spoil_a_copy(lake: Lake, tmp_path: Path) -> None:
    backup(lake, tmp_path / "copy")
    rotate(lake, "leak")
    backup(lake, tmp_path / "copy")
    new = restored(lake, tmp_path / "copy", tmp_path / "new")
    assert named(new).equals(named(lake))
    assert doctor(new.path) == []


def test_a_lost_file_of_the_lake_is_said_and_the_copy_keeps_its_own(lake: Lake,
                                                                    tmp_path: Path) -> None:
    before = held(lake)
    backup(lake, tmp_path / "copy")
    lake.table("passes").files()[0].unlink()
    with pytest.raises(IntegrityError, match="a file of the lake is missing"):
        backup(lake, tmp_path / "copy")
    assert held(restored(lake, tmp_path / "copy", tmp_path / "new")) == before


@pytest.mark.parametrize("dies_at", [1, 5, 30])
def test_what_was_interrupted_is_done_again(lake: Lake, tmp_path: Path, dies_at: int,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = module._copy, 0

    class Killed(BaseException):
        pass

    def dying(*args: object, **kwargs: object) -> int:
        nonlocal count
        count += 1
        if count == dies_at:
            raise Killed
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_copy", dying)
    with pytest.raises(Killed):
        backup(lake, tmp_path / "copy")
    with pytest.raises(UsageError, match="no whole backup"):
        restore(tmp_path / "copy", tmp_path / "new")
    backup(lake, tmp_path / "copy")
    count = 0
    with pytest.raises(Killed):
        restore(tmp_path / "copy", tmp_path / "new")
    with pytest.raises(UsageError, match="no lake here"):
        Lake.open(tmp_path / "new")
    assert held(restored(lake, tmp_path / "copy", tmp_path / "new")) == held(lake)


def test_wrong_places_are_refused(lake: Lake, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert rsd("init", other).code == 0
    backup(lake, tmp_path / "copy")
    for place, message in ((lake.path / "in", "outside the lake"), (lake.path, "outside"),
                           (tmp_path, "outside the lake")):
        with pytest.raises(UsageError, match=message):
            backup(lake, place)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    with pytest.raises(UsageError, match="no whole backup"):
        backup(lake, tmp_path / "mine")
    rsd("run", other, dump(tmp_path / "o.csv", [record()]))
    with pytest.raises(UsageError, match="another lake"):
        backup(Lake.open(other), tmp_path / "copy")
    with pytest.raises(UsageError, match="not empty"):
        restore(tmp_path / "copy", tmp_path / "mine")
    (tmp_path / "copy/open/passes/_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(StorageError, match="lacks an entry"):
        restore(tmp_path / "copy", tmp_path / "new")


def test_the_commands(lake: Lake, tmp_path: Path) -> None:
    answer = rsd("backup", lake.path, tmp_path / "copy")
    assert answer.code == 0
    assert "vehicle key is not in it" in answer.err
    assert (tmp_path / "copy" / MANIFEST).exists()
    answer = rsd("restore", tmp_path / "copy", tmp_path / "new")
    assert answer.code == 0
    assert "put the key to" in answer.err
    assert rsd("doctor", tmp_path / "new").code == 7  # the key is not there yet
    shutil.copy2(lake.key_path, tmp_path / "new/restricted/vehicle.key")
    assert rsd("doctor", tmp_path / "new").code == 0
    assert rsd("restore", tmp_path / "none", tmp_path / "x").code == 2


def test_a_copy_of_another_history_is_not_added_to(lake: Lake, tmp_path: Path) -> None:
    backup(lake, tmp_path / "copy")
    old = restored(lake, tmp_path / "copy", tmp_path / "old")
    ingest(lake, tmp_path, 1)
    backup(Lake.open(lake.path), tmp_path / "copy")
    ingest(old, tmp_path, 2)
    with pytest.raises(UsageError, match="another history"):
        backup(Lake.open(old.path), tmp_path / "copy")
