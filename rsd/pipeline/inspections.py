"""Inspections and re-tests of vehicles: one that was passed breaks a chain of exceedances.

The lake keeps them by vehicle_id beside the passes; the plates stand with all others in the vault.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from rsd.columns import INSPECTIONS, PLATE_COLORS, schema
from rsd.errors import InputRefused, UsageError
from rsd.intake.formats import code_tables
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.vehicles import KnownVehicles, check_key
from rsd.privacy import VehicleKey, normalise_plate_expr, vehicle_ids

REQUIRED = ("plate", "plate_color", "inspected_at", "result")
"""Columns of the file; others are ignored."""

RESULTS = {"passed": "passed", "pass": "passed", "合格": "passed", "failed": "failed",
           "fail": "failed", "不合格": "failed"}
"""What a file may say → what is stored."""

_KEYS = ["vehicle_id", "inspected_at", "is_whole_day", "result"]
_TIMES = "2026-05-31, or 2026-05-31 08:30:00 on the clock of the lake's zone"
_LONGEST_DATE = len("2026-05-31")


def passed_inspections(lake: Lake, version: int | None = None) -> pl.LazyFrame:
    """Return ``vehicle_id, inspected_at, inspected_until`` (UTC) of passed inspections.

    Of one whose date alone is known nobody can say whether it came before or after a pass of that
    day: it may have been at any instant from the day's first to its last. The form is that of
    `rsd.findings.find`, by which such doubt counts for the vehicle.
    """
    rows = lake.table("inspections").scan(version).filter(pl.col("result") == "passed")
    days = rows.filter("is_whole_day").select(_local_day(lake.timezone)).unique().collect()
    zone = ZoneInfo(lake.timezone)
    ends = days.with_columns(pl.Series(
        "_until", [_last_instant(day, zone) for day in days["_day"]], pl.Datetime("us", "UTC")))
    whole = rows.filter("is_whole_day").with_columns(_local_day(lake.timezone)).join(
        ends.lazy(), on="_day", how="left").with_columns(inspected_until="_until")
    instants = rows.filter(~pl.col("is_whole_day")).with_columns(inspected_until="inspected_at")
    names = ("vehicle_id", "inspected_at", "inspected_until")
    return pl.concat([instants.select(names), whole.select(names)]).unique()


def _local_day(timezone: str) -> pl.Expr:
    return pl.col("inspected_at").dt.convert_time_zone(timezone).dt.date().alias("_day")


def _last_instant(day: date, zone: ZoneInfo) -> datetime:
    """Return the last microsecond of a local day, however long it is.

    The next midnight may be skipped, or stand twice, where clocks are changed at that hour: of
    both readings of it, the later one that has the day right before it.
    """
    midnight = datetime.combine(day + timedelta(1), time(), zone)
    before = (midnight.replace(fold=fold).astimezone(UTC) - timedelta(microseconds=1)
              for fold in (0, 1))
    return max(at for at in before if at.astimezone(zone).date() == day)


def add_inspections(lake: Lake, path: Path, *, replace: bool = False) -> dict[str, int]:
    """Add the inspections of a file to a lake; the next `find` looks at their vehicles again.

    Args:
        lake: the lake.
        path: CSV, UTF-8 or GB18030: ``plate, plate_color, inspected_at, result``.
        replace: the file holds all there are; what it does not name is no more.

    Returns:
        Counts: ``rows`` of the file, ``new`` ones among them, ``removed``, and ``total`` stored.

    Raises:
        InputRefused: a column is missing, or a cell is not what its column needs.
        LakeBusy: another run holds the lake.
    """
    with lake.writer():
        return store(lake, read_inspections(path, lake.timezone), replace=replace)


def store(lake: Lake, given: pl.DataFrame, *, replace: bool = False) -> dict[str, int]:
    """Store what `read_inspections` gave; the lake is held for writing."""
    key = VehicleKey.load(lake.key_path)
    check_key(lake, key)
    named = given.with_columns(vehicle_ids(key, given))
    table = lake.table("inspections")
    before = table.scan().collect()
    rows = named.select(schema(INSPECTIONS).names()).unique(_KEYS, keep="first",
                                                            maintain_order=True)
    stays = before.join(rows, on=_KEYS, how="semi") if replace else before
    new = rows.join(before, on=_KEYS, how="anti")
    counts = {"rows": given.height, "new": new.height, "removed": before.height - stays.height,
              "total": stays.height + new.height}
    if new.height or counts["removed"]:
        trail.record(lake, "inspections", counts)
        # first: a pseudonym without its plate could not follow a new key
        KnownVehicles(lake).add(named.select("vehicle_id", "plate", "plate_color").unique(),
                                "inspections")
        table.commit([table.write(pl.concat([stays, new]), "inspections")], overwrite=True,
                     info={"operation": "inspections", **counts})
    return counts


def read_inspections(path: Path, timezone: str) -> pl.DataFrame:
    """Read a file of inspections.

    Args:
        path: CSV, UTF-8 or GB18030, with the columns `REQUIRED`; ``inspected_at`` a date or a time.
        timezone: the zone of times that name none.

    Returns:
        ``plate, plate_color`` (normalised) and the columns of `INSPECTIONS` but ``vehicle_id``.

    Raises:
        InputRefused: as `add_inspections`.
        UsageError: an unknown zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError("the time zone is unknown", found=repr(timezone),
                         expected="an IANA name, for example Asia/Shanghai") from error
    raw = _bytes(path)
    rows = list(_decoded(path, raw, zone))
    columns = {name: dtype for name, dtype in schema(INSPECTIONS).items()
               if name not in ("vehicle_id", "source_sha256")}
    frame = pl.DataFrame(rows, schema={"plate": pl.String, "plate_color": pl.String, **columns},
                         orient="row")
    return frame.with_columns(normalise_plate_expr("plate").alias("plate"),
                              source_sha256=pl.lit(hashlib.sha256(raw).hexdigest()))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputRefused("the inspections cannot be read", where=str(path),
                           found=str(error.strerror or error)) from error


def _text(path: Path, raw: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputRefused("the inspections are no text", where=str(path), expected="UTF-8 or GB18030")


def _decoded(path: Path, raw: bytes, zone: ZoneInfo,
             ) -> Iterator[tuple[str, str, datetime, bool, str]]:
    """Yield the rows; no message quotes a cell that may be a plate."""
    reader = csv.reader(_text(path, raw).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if missing := [name for name in REQUIRED if header.count(name) != 1]:
            raise InputRefused("a column of the inspections is missing or stands twice",
                               where=f"{path}, line 1", expected=", ".join(missing))
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise InputRefused("another number of fields than the header has", where=where,
                                   found=str(len(cells)), expected=str(len(header)))
            row = dict(zip(header, map(str.strip, cells), strict=True))
            at, is_whole_day = _instant(row["inspected_at"], zone, where)
            yield (_plate(row["plate"], where), _color(row["plate_color"], where), at,
                   is_whole_day, _result(row["result"], where))
    except csv.Error as error:
        raise InputRefused("no CSV", where=f"{path}, line {reader.line_num}", found=str(error),
                           remedy="Close the quote, or remove it.") from None


def _plate(cell: str, where: str) -> str:
    if not any(character.isalnum() for character in cell):
        raise InputRefused("an inspection without a plate", where=where, expected="a plate",
                           remedy="Fill the cell or remove the line.")
    return cell


def _color(cell: str, where: str) -> str:
    if not cell:
        return "unknown"
    for name in ("own_plate_color", "plate_color_from_0"):
        color, is_known = code_tables()[name].decode(cell)
        if is_known:
            return str(color)
    raise InputRefused("an unknown code in plate_color", where=where,
                       expected=", ".join(PLATE_COLORS))


def _instant(cell: str, zone: ZoneInfo, where: str) -> tuple[datetime, bool]:
    try:
        moment = datetime.fromisoformat(cell)
        is_whole_day = len(cell) <= _LONGEST_DATE
        if is_whole_day:
            moment = datetime.combine(date.fromisoformat(cell), time())
        placed = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        return placed.astimezone(UTC), is_whole_day
    except (ValueError, OverflowError):
        raise InputRefused("no time in inspected_at", where=where, expected=_TIMES) from None


def _result(cell: str, where: str) -> str:
    found = RESULTS.get(cell.lower())
    if found is None:
        raise InputRefused("an unknown result of an inspection", where=where,
                           expected=", ".join(RESULTS))
    return found
