"""Sizes, data and the printing of tables. Numbers are compared, never asserted."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks import measure

ROWS = int(os.environ.get("RSD_BENCH_ROWS", "2_000_000"))
ROUNDS = int(os.environ.get("RSD_BENCH_ROUNDS", "3"))
_ROWS_A_DAY = 1_000_000
_GENERATOR = "2"  # a new number where dumps.py makes other bytes than before
_DATA = Path(__file__).parent / "data"
_TABLES = pytest.StashKey[list[tuple[str, list[str]]]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLES] = []
    # of a few rounds the other columns say nothing; all times go to --benchmark-json
    config.option.benchmark_columns = ["min", "median", "max", "rounds"]


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell a waiting person what is going on."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")

    def tell(text: str) -> None:
        reporter.write_line(f"  {text}", flush=True)

    return tell


@pytest.fixture(scope="session")
def show(request: pytest.FixtureRequest) -> Callable[[str, list[str]], None]:
    """Keep a table for the end of the run."""
    tables = request.config.stash[_TABLES]
    return lambda title, lines: tables.append((title, lines))


@pytest.fixture(scope="session")
def rows() -> int:
    return ROWS


@pytest.fixture(scope="session")
def rounds() -> int:
    return ROUNDS


@pytest.fixture(scope="session")
def data(say: Callable[[str], None]) -> Path:
    """The dumps, written by a process of their own and kept for the next run of the same size."""
    files = max(2, ROWS // _ROWS_A_DAY)
    folder = _DATA / f"{ROWS}-{files}-{_GENERATOR}"
    if not folder.exists():
        say(f"writing {ROWS:,} records, clean and in five variants")
        begun = folder.with_name(folder.name + ".begun")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        measure.run(measure.python("dumps", begun, str(ROWS), str(files)))
        begun.rename(folder)
    return folder


@pytest.fixture(scope="session")
def clean(data: Path) -> list[Path]:
    return sorted((data / "clean").iterdir())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the tables, whatever the capture."""
    tables = config.stash[_TABLES]
    if not tables:
        return
    terminalreporter.section("side by side")
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "duckdb", "pandas"))
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    terminalreporter.write_line(
        f"{ROWS:,} records, {ROUNDS} rounds in turn, medians. Python {platform.python_version()}, "
        f"{packages}, {os.cpu_count()} processors, {sys.platform}, load {load}.")
    for title, lines in tables:
        terminalreporter.write_line(f"\n{title}")
        for line in lines:
            terminalreporter.write_line(f"  {line}")
