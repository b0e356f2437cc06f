"""What a check found, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

ERROR, WARNING, NOTE = "error", "warning", "note"
"""Something is lost or was changed; something is in disorder; worth knowing, and no problem."""

_COLUMNS = ("severity", "table", "file", "found", "expected", "remedy")

RESTORE = "Restore it from a backup."


@dataclass(frozen=True)
class Problem:
    """One thing that a check found; ``repair`` puts it right, where that can be done."""

    severity: str
    table: str | None
    file: str | None
    found: str
    expected: str | None = None
    remedy: str | None = None
    repair: Callable[[], object] | None = None


def as_frame(problems: Iterable[tuple[Problem, bool]], lake: Path) -> pl.DataFrame:
    """Return a row a problem; the flag says whether it was repaired. The worst stand first.

    ``file`` is named from the folder of the ``lake`` on.
    """
    rows: list[dict[str, Any]] = [
        {**{name: getattr(problem, name) for name in _COLUMNS}, "repaired": repaired}
        for problem, repaired in problems]
    for row in rows:
        row["file"] = row["file"] and row["file"].removeprefix(f"{lake}/")
    order = {ERROR: 0, WARNING: 1, NOTE: 2}
    rows.sort(key=lambda row: order[row["severity"]])
    types = dict.fromkeys(_COLUMNS, pl.String) | {"repaired": pl.Boolean}
    return pl.DataFrame(rows, schema=types)
