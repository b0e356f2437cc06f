"""Many acts from one CSV file, each line accounted for."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from rsd.errors import InputRefused, UsageError
from rsd.lake import Lake
from rsd.pipeline.review_acts import Act, act_each

COLUMNS = ("finding_id", "action", "reason", "reviewer", "acted_on", "due")
_REQUIRED = ("finding_id", "action")


def import_acts(lake: Lake, path: Path, *, reviewer: str | None = None,
                is_rehearsal: bool = False) -> pl.DataFrame:
    """Do the acts of a file, in its order and in one commit; those not possible are refused.

    Args:
        lake: the lake.
        path: CSV, UTF-8 or GB18030, with a header: ``finding_id, action`` and any of ``reason,
            reviewer, acted_on, due`` (days as 2026-10-01). Further columns are ignored, so that
            the list of ``rsd review list`` with a column ``action`` will do.
        reviewer: who decided, where a line does not say.
        is_rehearsal: say what would happen, and do nothing.

    Returns:
        A row a line: ``line, finding_id, action, outcome, state, why``.

    Raises:
        InputRefused: no text, no CSV, or a required column is missing.
    """
    acts, bad = [], []
    for line, cells in _rows(path):
        try:
            acts.append((line, _act(cells, reviewer)))
        except UsageError as error:
            bad.append((line, cells["finding_id"], cells["action"], "refused", None, str(error)))
    account = act_each(lake, acts, is_rehearsal=is_rehearsal)
    refused = pl.DataFrame(bad, schema=account.schema, orient="row")
    return pl.concat([account, refused]).sort("line")


def _act(cells: dict[str, str], reviewer: str | None) -> Act:
    return Act(cells["finding_id"], cells["action"], cells["reason"] or None,
               cells["reviewer"] or reviewer, _day(cells, "acted_on"), _day(cells, "due"))


def _day(cells: dict[str, str], name: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(cells[name]) if cells[name] else None
    except ValueError:
        raise UsageError(f"no date in {name}", found=repr(cells[name][:40]),
                         expected="a date like 2026-10-01") from None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and known cells; blank lines do not count."""
    reader = csv.reader(_text(path).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [n for n in _REQUIRED if n not in header]:
            raise InputRefused("a column is missing", where=f"{path}, line 1",
                               expected=", ".join(missing),
                               remedy=f"Give a CSV with {', '.join(COLUMNS)}.")
        if twice := [n for n in COLUMNS if header.count(n) > 1]:
            raise InputRefused("a column stands twice", where=f"{path}, line 1", found=twice[0])
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputRefused("another number of fields than the header has",
                                   where=f"{path}, line {reader.line_num}", found=str(len(cells)),
                                   expected=str(len(header)), remedy="Nothing was done.")
            row = dict(zip(header, cells, strict=True))
            yield reader.line_num, {name: row.get(name, "").strip() for name in COLUMNS}
    except csv.Error as error:
        raise InputRefused("no CSV", where=f"{path}, line {reader.line_num}", found=str(error),
                           remedy="Close the quote, or remove it. Nothing was done.") from None


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputRefused("the file cannot be read", where=str(path),
                           found=str(error.strerror or error)) from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the file is no text", where=str(path), expected="UTF-8 or GB18030")
