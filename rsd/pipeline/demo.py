"""The whole chain on a synthetic city."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rsd.errors import UsageError
from rsd.lake import Lake
from rsd.pipeline import reading
from rsd.pipeline.nightly import run
from rsd.pipeline.setup import init_lake
from rsd.pipeline.summary import RunSummary
from rsd.synthetic import simulate

VEHICLES, DAYS, SEED = 30_000, 30, 2026
"""About 300,000 passes at 20 sites."""

_MARK = ".rsd-demo"
Bar = Callable[[str], AbstractContextManager[Callable[[int, int | None], None]]]


@dataclass(frozen=True)
class Demo:
    """What the demonstration made, and where."""

    folder: Path
    lake: Path
    list_csv: Path
    list_xlsx: Path
    aggregate_csv: Path
    findings: int
    run: RunSummary
    aggregate: pl.DataFrame


def demo(folder: Path, bar: Bar, *, vehicles: int = VEHICLES, days: int = DAYS,
         seed: int = SEED) -> Demo:
    """Simulate a city, ingest a month of it, find, export and aggregate.

    Args:
        folder: new, empty, or one that an earlier demonstration made (it is made anew).
        bar: gives a progress bar for a step's name.
        vehicles, days, seed: of the city.

    Raises:
        UsageError: the folder holds something else.
    """
    _clear(folder)
    city, lake_path, results = folder / "city", folder / "lake", folder / "results"
    with bar("simulate a city") as tick:
        simulate(city, vehicles=vehicles, days=days, seed=seed, progress=tick)
    lake, _ = init_lake(lake_path, sites=city / "sites.csv", segments=city / "segments.geojson",
                        registry=city / "registry.csv")
    with bar("ingest and judge") as tick:
        summary = run(lake, [city / "dumps"], progress=tick)
    results.mkdir()
    list_csv, list_xlsx = results / "findings.csv", results / "findings.xlsx"
    with bar("export") as tick:
        found = reading.export_list(lake, list_csv)
        reading.export_list(lake, list_xlsx)
        tick(1, 1)
    with bar("aggregate") as tick:
        table = reading.aggregate(lake, ["vehicle_class", "road_segment"])
        table.write_csv(results / "class_by_segment.csv")
        overview = reading.aggregate(lake, ["vehicle_class", "fuel"])
        tick(1, 1)
    return Demo(folder, Lake.open(lake_path).path, list_csv, list_xlsx,
                results / "class_by_segment.csv", found, summary, overview)


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).is_file():
            raise UsageError("the folder holds something else", where=str(folder),
                             expected="a new or empty folder", remedy="Name another folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("made by rsd demo, which may remove this folder\n")
