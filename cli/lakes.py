"""Lakes as commands open them: each remark on one is told once, on stderr and in the log."""

from __future__ import annotations

from logging import WARNING
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rsd.lake import Lake, PinnedLake

_TOLD = "rsd.told"  # in the context's memory: what was told already


def opened(path: Path) -> Lake:
    """Open a lake; what was put right on the way is told when the command ends, if not before."""
    from rsd.lake import Lake

    lake = Lake.open(path)
    _at_the_end(lake)
    return lake


def opened_at(path: Path, as_of: str | None) -> PinnedLake:
    """Open a lake for reading, as `rsd.pipeline.as_of.open_at` does; remarks as `opened`."""
    from rsd.pipeline.as_of import open_at

    view = open_at(path, as_of)
    _at_the_end(view)
    return view


def tell(lake: Lake) -> None:
    """Tell what remarks there are on a lake."""
    from rsd.pipeline.logs import event

    for notice in lake.notices:
        if say(notice):
            event("warning", level=WARNING, text=notice, lake=str(lake.path))


def say(remark: str) -> bool:
    """Say a remark on stderr unless this command did; return whether it did not."""
    context = click.get_current_context(silent=True)
    told: set[str] = set() if context is None else context.meta.setdefault(_TOLD, set())
    if remark in told:
        return False
    told.add(remark)
    click.echo(f"rsd: {remark}", err=True)
    return True


def _at_the_end(lake: Lake) -> None:
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(lambda: tell(lake))
