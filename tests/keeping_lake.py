"""What the tests of keeping share: a small lake with everything in it, and a look at it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from chain import HIGH_NO, REGISTRY, SITES, dump, record, rsd

from rsd.keeping.content import content_hash
from rsd.lake import Lake

MEMORY = "/dev/shm"  # hundreds of copies and fsyncs, of which no disk needs to hear
MONTHS = (5, 6, 7, 8)
HELD = ("passes", "findings", "vehicles", "evidence", "quarantine", "inspections", "reviews")


def dumps(folder: Path, months: tuple[int, ...] = MONTHS) -> list[Path]:
    """Four passes and a broken record a month; vehicles of neighbouring months overlap.

    In May and June drive 闽D12340 and 闽D12341, which nobody sees later. Half of the records have
    no number of their own, so that their ids hold a part of the pseudonym.
    """
    found = []
    for month in months:
        records = [
            record(jlbh="" if k % 2 else f"R{month}{k}", jcsj=f"2026-0{month}-03 08:0{k}:00",
                   hphm=f"闽D1234{k + month - 5}", tp1=f"p_闽D1234{k + month - 5}.jpg", **HIGH_NO)
            for k in range(4)]
        records.append(record(jlbh=f"Q{month}", jcsj="broken", hphm=f"闽D1234{month - 5}"))
        found.append(dump(folder / f"{month}.csv", records))
    return found


def make(folder: Path, months: tuple[int, ...] = MONTHS, *, find: bool = True) -> Path:
    """Make a lake with a dump a month, each a run of its own."""
    (folder / "sites.csv").write_text(SITES)
    (folder / "registry.csv").write_text(REGISTRY)
    lake = folder / "lake"
    assert rsd("init", lake, "--sites", folder / "sites.csv",
               "--registry", folder / "registry.csv").code == 0
    for path in dumps(folder, months):
        assert rsd("run" if find else "ingest", lake, path, "--max-quarantine", 1).code == 0
    return lake


@contextmanager
def memory() -> Iterator[Path]:
    """Give a folder in memory where there is one."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        yield Path(folder)


def copy(lake: Path, place: Path) -> Path:
    """Copy a lake."""
    shutil.copytree(lake, place)
    return place


def held(lake: Lake) -> dict[str, str]:
    """What the tables hold that a run's instant does not show in."""
    return content_hash(lake, HELD)


def plates(lake: Lake) -> set[str]:
    """The plates that the vault knows."""
    return set(lake.table("vehicles").scan().select("plate").collect().to_series())


def named(lake: Lake) -> pl.DataFrame:
    """Passes by their plate instead of the pseudonym: what no change of the key may change."""
    vehicles = lake.table("vehicles").scan().select("vehicle_id", "plate")
    passes = lake.table("passes").scan().select("measured_at", "vehicle_id", "is_current")
    return passes.join(vehicles, on="vehicle_id", how="left").drop("vehicle_id").sort(
        "measured_at", "plate").collect()


def doctor(lake: Path, *options: str) -> list[dict[str, object]]:
    """The problems that the doctor finds, as the command line gives them; notes left out."""
    answer = rsd("doctor", lake, "--format", "json", *options)
    rows = [row for row in answer.json if row["severity"] != "note"]
    assert answer.code == (7 if any(not row["repaired"] for row in rows) else 0), answer
    return rows
