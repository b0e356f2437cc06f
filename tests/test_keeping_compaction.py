"""Small files become large ones; no row, no earlier version and no reader notices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pytest
from chain import dump, record, rsd
from keeping_lake import copy, doctor, dumps, held, make, memory

from rsd.errors import IntegrityError, UsageError
from rsd.keeping import compaction
from rsd.keeping.compaction import compact, vacuum
from rsd.lake import Lake


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        yield make(folder)


@pytest.fixture
def lake(original: Path, tmp_path: Path) -> Lake:
    return Lake.open(copy(original, tmp_path / "lake"))


def test_many_files_become_one_and_nothing_else_changes(lake: Lake) -> None:
    before, then = held(lake), lake.pinned()
    merged = {m.table: (m.files_before, m.files_after, m.rows) for m in compact(lake)}
    assert merged["passes"] == (4, 1, 16)
    assert merged["evidence"] == (4, 1, 16)
    assert merged["quarantine"][:2] == merged["runs"][:2] == (4, 1)
    assert held(lake) == held(Lake.open(lake.path)) == before
    assert held(then) == before  # a reader that began before goes on with the old files
    assert lake.table("passes").history()[-1].info["operation"] == "compact"
    assert doctor(lake.path) == []


def test_a_second_time_there_is_nothing_to_do(lake: Lake) -> None:
    compact(lake)
    versions = [lake.table(n).version() for n in ("passes", "runs")]
    assert compact(lake) == []
    assert [lake.table(n).version() for n in ("passes", "runs")] == versions


def test_earlier_versions_stay_readable(lake: Lake) -> None:
    version = lake.table("passes").version() - 1
    before = lake.table("passes").scan(version).collect()
    compact(lake)
    assert lake.table("passes").scan(version).collect().equals(before)


def test_full_files_are_left_alone_and_groups_stay_below_the_target(lake: Lake) -> None:
    size = max(f.size for f in lake.table("passes").snapshot().files.values())
    assert compact(lake, ["passes"], target_bytes=size) == []
    (merged,) = compact(lake, ["passes"], target_bytes=2 * size + 2)
    assert merged.files_after == 2


def test_merged_files_follow_time(lake: Lake, tmp_path: Path) -> None:
    late = dump(tmp_path / "late.csv", [record(jlbh="L", jcsj="2026-05-01 00:00:00")])
    rsd("ingest", lake.path, late)
    compact(lake, ["passes"])
    (path,) = lake.table("passes").files()
    instants = pl.read_parquet(path)["measured_at"]
    assert instants.is_sorted()


def test_known_records_are_known_still(lake: Lake, tmp_path: Path) -> None:
    compact(lake)
    again = dumps(tmp_path, (8,))[0]
    again.write_bytes(again.read_bytes() + (record(jlbh="N") + "\n").encode("gb18030"))
    totals = rsd("ingest", lake.path, again, "--format", "json", "--max-quarantine", 1
                 ).json["totals"]
    assert (totals["accepted"], totals["duplicates"]) == (1, 4)
    assert doctor(lake.path) == []


def test_a_correction_reaches_into_a_merged_file(lake: Lake, tmp_path: Path) -> None:
    compact(lake)
    fixed = record(jlbh="R80", jcsj="2026-08-03 08:00:00", hphm="闽D12343", nojg="100", noco2="7",
                   tp1="p.jpg")
    totals = rsd("ingest", lake.path, dump(tmp_path / "fix.csv", [fixed]), "--format", "json"
                 ).json["totals"]
    assert totals["corrected"] == 1
    assert doctor(lake.path) == []


def test_rows_that_would_be_lost_stop_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before, files = held(lake), sorted(lake.path.rglob("*.parquet"))
    real = compaction.Staging.add_frames

    def lossy(staging: compaction.Staging, name: str, frames: Iterable[pl.DataFrame]) -> Path:
        return real(staging, name, (frame.head(1) for frame in frames))

    monkeypatch.setattr(compaction.Staging, "add_frames", lossy)
    with pytest.raises(IntegrityError, match="does not hold the rows of its parts"):
        compact(lake, ["passes"])
    assert held(lake) == before
    assert sorted(lake.path.rglob("*.parquet")) == files


def test_vacuum_removes_what_no_later_version_needs(lake: Lake) -> None:
    before = held(lake)
    first = lake.table("passes").version()
    compact(lake)
    assert vacuum(lake, dt.date(2020, 1, 1)) == 0
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(2)
    assert vacuum(lake, tomorrow) >= 20
    assert vacuum(lake, tomorrow) == 0
    assert held(lake) == before
    with pytest.raises(UsageError, match="that version of the table is gone"):
        lake.table("passes").scan(first).collect()
    assert doctor(lake.path) == []
    assert rsd("export", "findings", lake.path, "-o", lake.path.parent / "f.csv").code == 0


def test_the_command_compacts_a_whole_lake_only(lake: Lake) -> None:
    path = lake.table("passes").files()[0]
    path.rename(path.with_suffix(".kept"))
    answer = rsd("doctor", lake.path, "--compact")
    assert answer.code == 7
    assert "nothing was compacted" in answer.err
    path.with_suffix(".kept").rename(path)
    answer = rsd("doctor", lake.path, "--compact")
    assert answer.code == 0
    assert "passes: 4 files, now 1" in answer.err
