"""A progress bar on stderr, where a person watches; silence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Unit = Literal["bytes", "days", "steps"]


class Update(Protocol):
    """What is called as work goes on."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how much is ``done``, and of how much where that is news."""


@contextmanager
def progress(description: str, total: int | None = None, unit: Unit = "steps") -> Iterator[Update]:
    """Show a bar while the block runs, if stderr is a terminal; give what moves it.

    Until the total is known a wheel turns; then there are percent, the amount in ``unit`` and the
    time left.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import Progress

    from rsd.exports.safety import printable

    first = _wheel() if total is None else _bar(unit)
    with Progress(*first, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(printable(description), total=total)

        def update(done: int, total: int | None = None) -> None:
            if total is not None and bar.tasks[0].total is None:
                bar.columns = tuple(_bar(unit))
            bar.update(task, completed=done, total=total)

        yield update


def _wheel() -> list[ProgressColumn]:
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    # Markup off: a file's name in square brackets is a name, no colour.
    return [SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()]


def _bar(unit: Unit) -> list[ProgressColumn]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    amount: ProgressColumn = TextColumn("{task.completed:.0f} of {task.total:.0f} " + unit)
    if unit == "bytes":
        amount = DownloadColumn(binary_units=True)
    return [SpinnerColumn(finished_text=" "), TextColumn("{task.description}", markup=False),
            BarColumn(), TaskProgressColumn(), amount, TimeRemainingColumn(), TextColumn("left")]


def _silent(done: int, total: int | None = None) -> None:
    """Show nothing."""
