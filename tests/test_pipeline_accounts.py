"""The account of a dump is stored, also when the run died behind its commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain import dump, record

from rsd.lake import Lake
from rsd.pipeline import accounts
from rsd.pipeline import ingest as pipeline_ingest
from rsd.pipeline.ingest import ingest
from rsd.pipeline.setup import init_lake
from rsd.storage.table import Table


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake")[0]


def told(lake: Lake) -> list[tuple]:
    runs = Lake.open(lake.path).table("runs").scan().collect()
    return sorted(runs.select("file", "state", "records", "accepted", "quarantined",
                              "duplicates").rows())


def died(lake: Lake, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest, each dump a batch of its own, and die before the accounts are stored."""
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(pipeline_ingest, "record", kill)
        patch.setattr(pipeline_ingest, "SMALL_BYTES", 0)
        with pytest.raises(Killed):
            ingest(lake, paths)


def test_accounts_that_a_dead_run_could_not_store_are_stored_by_the_next(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = dump(tmp_path / "one.csv", [record(jlbh="1"), "bad", record(jlbh="1")])
    two = dump(tmp_path / "two.csv", [record(jlbh="2")])
    three = dump(tmp_path / "three.csv", [record(jlbh="3")])
    died(lake, [one, two], monkeypatch)
    assert told(lake) == []
    ingest(lake, [three, one])
    done = [("one.csv", "done", 3, 1, 1, 1), ("three.csv", "done", 1, 1, 0, 0),
            ("two.csv", "done", 1, 1, 0, 0)]
    assert told(lake) == sorted([*done, ("one.csv", "already", 0, 0, 0, 0)])
    ingest(lake, [two])
    assert [row for row in told(lake) if row[1] == "done"] == done


def test_a_commit_behind_the_account_s_back_is_told_the_next_time(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one = dump(tmp_path / "one.csv", [record(jlbh="1")])
    two = dump(tmp_path / "two.csv", [record(jlbh="2")])
    true_missing = accounts._missing

    def late(*arguments: object) -> list:
        rows = true_missing(*arguments)
        monkeypatch.setattr(accounts, "_missing", true_missing)
        died(lake, [two], monkeypatch)
        return rows

    monkeypatch.setattr(accounts, "_missing", late)
    ingest(lake, [one])
    assert [row[0] for row in told(lake)] == ["one.csv"]
    ingest(lake, [])
    assert [row[0] for row in told(lake) if row[1] == "done"] == ["one.csv", "two.csv"]


def test_a_lake_of_before_has_its_accounts_already(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Runs without a note of how far they reach, as they were written once."""
    ingest(lake, [dump(tmp_path / "one.csv", [record(jlbh="1")])])
    entry = lake.table("runs").folder / "_delta_log" / f"{0:020d}.json"
    entry.write_text(entry.read_text().replace("passes_version", "something"))
    again = Lake.open(lake.path)
    ingest(again, [dump(tmp_path / "two.csv", [record(jlbh="2")])])
    assert [row[:2] for row in told(lake)] == [("one.csv", "done"), ("two.csv", "done")]


def test_what_was_never_finished_is_taken_out_whoever_comes_next(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A batch that died between its tables; its dumps come in another batch, or never."""
    class Killed(BaseException):
        pass

    one = dump(tmp_path / "one.csv", [record(jlbh="1", tp1="1.jpg"), "bad"])
    commit = Table.commit

    def die(self: Table, *args: object, **options: object) -> int:
        if self.name == "passes":
            raise Killed
        return commit(self, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", die)
        with pytest.raises(Killed):
            ingest(lake, [one])
    later = Lake.open(lake.path)
    assert later.table("quarantine").files()
    assert later.visible_files("quarantine") == []
    ingest(later, [dump(tmp_path / "two.csv", [record(jlbh="2")])])
    assert [later.table(name).files() for name in ("quarantine", "evidence")] == [[], []]
    (file,) = ingest(later, [one]).files
    assert (file.state, file.accepted, file.quarantined) == ("done", 1, 1)
    assert len(later.visible_files("quarantine")) == 1
