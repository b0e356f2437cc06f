"""Working days from a supplied calendar. A day that it does not hold is an error, never a guess."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import polars as pl

from rsd.columns import CALENDAR, schema
from rsd.errors import InputRefused, UsageError

_YES = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_REQUIRED = ("date", "is_working_day")
_LONGEST_NAME = 100


def read_calendar(path: Path) -> pl.DataFrame:
    """Read a calendar: CSV ``date, is_working_day[, name]``, UTF-8 or GB18030, one row a day.

    Returns the columns of `CALENDAR`, by date. Raises InputRefused for a missing column, a cell
    that is none, a day that stands twice, or a day missing between the first and the last.
    """
    rows = sorted(_rows(path), key=lambda row: row[1])
    if not rows:
        raise InputRefused("a calendar without a day", where=str(path),
                           expected="a row a day: date,is_working_day,name")
    for (_, before, *_), (line, day, *_) in pairwise(rows):
        if day == before:
            raise InputRefused("a day stands twice", where=f"{path}, line {line}", found=str(day))
        if (missing := before + dt.timedelta(days=1)) != day:
            raise InputRefused("a day is missing", where=str(path), found=f"no {missing}",
                               expected="every day from the first to the last",
                               remedy="Add the days, those without work too.")
    return pl.DataFrame([row[1:] for row in rows], schema=schema(CALENDAR), orient="row")


def _rows(path: Path) -> Iterator[tuple[int, dt.date, bool, str | None]]:
    reader = csv.DictReader(_text(path).splitlines(), strict=True, restkey="…")
    reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
    if missing := [name for name in _REQUIRED if name not in reader.fieldnames]:
        raise InputRefused("a column of the calendar is missing", where=f"{path}, line 1",
                           expected=", ".join(missing))
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            cells = {k: (v or "").strip() for k, v in row.items() if isinstance(v, str | None)}
            try:
                day = dt.date.fromisoformat(cells["date"])
            except ValueError:
                raise InputRefused("no date", where=where, found=repr(cells["date"])[:40],
                                   expected="a date like 2026-10-01") from None
            works = _YES.get(cells["is_working_day"].lower())
            if works is None:
                raise InputRefused("neither yes nor no in is_working_day", where=where,
                                   found=repr(cells["is_working_day"])[:40],
                                   expected="true or false, 1 or 0, yes or no")
            yield reader.line_num, day, works, cells.get("name", "")[:_LONGEST_NAME] or None
    except csv.Error as error:
        raise InputRefused("no CSV", where=f"{path}, line {reader.line_num}",
                           found=str(error)) from None


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputRefused("the calendar cannot be read", where=str(path),
                           found=str(error.strerror or error)) from error
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the calendar is no text", where=str(path), expected="UTF-8 or GB18030")


class WorkingDays:
    """The working days of a calendar (the columns of `CALENDAR`), to count with."""

    def __init__(self, calendar: pl.DataFrame) -> None:
        ordered = calendar.sort("date")
        self.days: dict[dt.date, bool] = dict(ordered.select("date", "is_working_day").iter_rows())
        self.first, self.last = min(self.days, default=None), max(self.days, default=None)

    def after(self, start: dt.date, count: int) -> dt.date:
        """Return the ``count``-th working day after a day, which itself does not count.

        Raises UsageError where the calendar does not hold every day from the next one on.
        """
        day, left = start, count
        while left:
            day += dt.timedelta(days=1)
            left -= self._known(day)
        return day

    def _known(self, day: dt.date) -> bool:
        if day in self.days:
            return self.days[day]
        if self.first is None:
            raise UsageError("the lake has no calendar of working days",
                             expected="a calendar, for a deadline in working days",
                             remedy="Give one with: rsd review calendar LAKE FILE; or say --due.")
        raise UsageError("a day beyond the calendar of working days", found=str(day),
                         expected=f"a day from {self.first} to {self.last}",
                         remedy="Give a longer one with: rsd review calendar LAKE FILE.")
