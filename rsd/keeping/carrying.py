"""What was exported once, carried over a change that does away with earlier versions.

`rsd.pipeline.reading.withdrawn` compares the findings of now with those of exported versions. Where
such versions go, or their vehicles get other names, one version in their place keeps what was
exported: an entry that is covered by the next one before any reader sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from rsd.keeping.staging import Staging, exported_findings
from rsd.lake import Lake
from rsd.pipeline import as_of
from rsd.storage import disk
from rsd.storage.change import Step

_LIST = "exported_versions"
LIST_STAGED = f"{_LIST}.staged"
"""Name of the list that takes its place."""


@dataclass(frozen=True)
class Carried:
    """Entries of the findings, files of earlier versions that stay, files to be moved."""

    steps: list[Step] = field(default_factory=list)
    keep: tuple[str, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()


def carry(lake: Lake, staging: Staging,
          keep: Callable[[pl.DataFrame], pl.DataFrame]) -> Carried:
    """Stage the version that stands for all exported ones; ``keep`` filters or renames its rows.

    The step of the findings is taken out of ``staging`` and given back with the other.
    """
    table = lake.table("findings")
    once = exported_findings(lake)
    if once is None:
        return Carried()
    now = staging.rows("findings").collect()
    own = [staging.add("findings", keep(once))]
    new = staging.add("findings", now)
    earlier = [p for p in staging.added.pop("findings") if p not in (own[0], new)]
    for path in [*earlier, *own, new]:
        staging.other(path)
    staging.removed.pop("findings", None)
    last = as_of.exported_versions(lake)[-1][1]
    place = lake.path / "restricted" / _LIST
    listed = place.with_name(LIST_STAGED)
    version = table.version() + 1
    text = f"{version}\n" if last is None else f"{version} {last.isoformat()}\n"
    with disk.guard(place, "the list of exports cannot be written"):
        disk.replace(staging.other(listed), text.encode())
    active = tuple(table.snapshot().files)
    steps = [Step("findings", (own[0].name,), active),
             Step("findings", (new.name,), (own[0].name,))]
    return Carried(steps, (own[0].name,), ((str(listed), str(place)),))
