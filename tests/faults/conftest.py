"""The machine and the nights that the fault tests share."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # chain.py
pytest.register_assert_rewrite("scenario")

from machine import Machine, compiler  # noqa: E402, RUF100
from scenario import Night, prepare  # noqa: E402, RUF100

MEMORY = "/dev/shm"  # thousands of copies of a lake, of which no disk needs to hear


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    if not sys.platform.startswith("linux"):
        pytest.skip("the shim that makes a disk fail is for Linux")
    if compiler() is None:
        pytest.skip("no C compiler here to build the shim that makes a disk fail")
    with Machine() as made:
        yield made


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def together(machine: Machine, ground: Path) -> Night:
    """All dumps of the night in one batch."""
    return prepare(machine, ground / "together", alone=False)


@pytest.fixture(scope="session")
def alone(machine: Machine, ground: Path) -> Night:
    """Each dump of the night a batch of its own."""
    return prepare(machine, ground / "alone", alone=True)


@pytest.fixture
def place(ground: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=ground) as folder:
        yield Path(folder)
