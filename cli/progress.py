"""A progress bar on stderr, where a person watches; silence everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """What is called as work goes on."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how much is ``done``, and of how much where that is news."""


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Update]:
    """Show a bar while the block runs, if stderr is a terminal; give what moves it."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from rsd.exports.safety import printable

    # Markup off: a file's name in square brackets is a name, no colour.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(printable(description), total=total)

        def update(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield update


def _silent(done: int, total: int | None = None) -> None:
    """Show nothing."""
