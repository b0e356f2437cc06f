"""The finding step: which vehicles must be looked at again, their findings, one entry.

The entry of the findings notes what they were made from: the version of the passes and of the
inspections, the hash of each regulation, the time zone and the code. The next time, only vehicles
whose judged passes changed between those versions are looked at, over their whole history; where
anything else differs, or cannot be told, all are. Both ways give the same findings.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rsd import findings
from rsd.columns import FINDINGS, empty, schema
from rsd.lake import Lake, Table
from rsd.law.rulebook import Regulation
from rsd.pipeline.inspections import passed_inspections
from rsd.storage import disk, log
from rsd.storage.buckets import Buckets
from rsd.version import VERSION

MADE = "made_from"
"""Key of an entry's note: regulation → what its findings were made from."""

MOST_CHANGED_ROWS = 4_000_000
"""Passes in changed files up to which their vehicles are told apart; it bounds the memory. Beyond
them all vehicles are looked at, which costs little more by then."""

HELD_FINDINGS = 200_000
"""Findings, stored and new together, that are held in memory; more are taken part by part."""

PIECE_ROWS = 524_288
"""Passes that are read at a time where most of them are wanted."""

_PARTS = 64
_Task = tuple[list[Regulation], pl.Series | None]  # whom to ask about; None: all vehicles


@dataclass(frozen=True)
class Made:
    """What the findings of one regulation were made from."""

    passes: int
    inspections: int
    regulation: str
    timezone: str
    code: str


@dataclass(frozen=True)
class Renewed:
    """What became of the findings.

    ``counts``: ``total, new, changed, withdrawn``, told apart by regulation, vehicle and pollutant.
    ``files``: staged, with all findings as they should stand; None where nothing changed.
    ``vehicles``: how many were asked, None where all were. ``made``: what they are made from.
    """

    counts: dict[str, int]
    files: list[Path] | None
    vehicles: int | None
    made: Mapping[str, Made]


def current_passes(lake: Lake) -> pl.LazyFrame:
    """Return the passes that count: of each record its latest version."""
    return _counting(lake.table("passes").scan())


def renew(lake: Lake, regulations: Sequence[Regulation], *,
          everything: bool = False) -> Renewed:
    """Stage the findings that follow from the lake as it stands; it is held for writing.

    Findings of other regulations stay as they are stored. Memory is bounded, however many there
    are: stored and new ones are dealt into parts by their vehicle, and compared part by part.

    Args:
        lake: the lake.
        regulations: those to judge by.
        everything: look at every vehicle, whatever was noted.
    """
    table, noted = lake.table("findings"), made_from(lake)
    after = {r.id: _made_now(lake, r) for r in regulations}
    tasks = _tasks(lake, regulations, {} if everything else noted, after)
    asked = [None if vehicles is None else vehicles.len() for _, vehicles in tasks]
    made = {**{r: m for r, m in noted.items() if r not in after}, **after}
    if table.version() >= 0 and not any(asked) and None not in asked:
        total = int(table.scan().select(pl.len()).collect().item())
        return Renewed({"total": total, "new": 0, "changed": 0, "withdrawn": 0}, None, 0, made)
    with _buckets(lake) as buckets:
        for piece in table.pieces(HELD_FINDINGS, table.files()):
            buckets.add(piece.collect().with_columns(_is_new=False))
        for together, vehicles in tasks:
            for part in _found(lake, together, vehicles):
                buckets.add(part.with_columns(_is_new=True))
        counts, files = _staged(table, buckets, tasks)
    known = [n for n in asked if n is not None]
    return Renewed(counts, files, sum(known) if len(known) == len(asked) else None, made)


def note(made: Mapping[str, Made]) -> dict[str, Any]:
    """Return what is put into the note of an entry."""
    return {MADE: {regulation: asdict(basis) for regulation, basis in sorted(made.items())}}


def made_from(lake: Lake) -> dict[str, Made]:
    """Return what the stored findings were made from; empty where that cannot be told.

    An entry that changes no file (a vacuum) is looked past; one that does and says nothing, such
    as that of a purge, leaves nothing to go on from.
    """
    table = lake.table("findings")
    for version in range(table.version(), -1, -1):
        actions = _actions(table, version)
        noted = _info(actions).get(MADE)
        if isinstance(noted, dict):
            try:
                return {str(r): Made(**basis) for r, basis in noted.items()}
            except TypeError:  # another rsd noted other things
                return {}
        if actions is None or any("add" in a or "remove" in a for a in actions):
            return {}
    return {}


def changed_vehicles(lake: Lake, passes: int, inspections: int,
                     regulations: Sequence[Regulation]) -> pl.Series | None:
    """Return the vehicles whose findings may differ from those of earlier versions.

    Args:
        lake: the lake.
        passes: version of the passes that the findings were made from.
        inspections: version of the inspections likewise.
        regulations: those that they were made by.

    Returns:
        The vehicle_ids, each once; None where it cannot be told, or would cost more than to look
        at all.
    """
    files = changed_files(lake.table("passes"), passes)
    inspected = _newly_inspected(lake, inspections)
    if files is None or inspected is None:
        return None
    gone, come = (_marks(lake.table("passes"), paths, regulations) for paths in files)
    both = gone.join(come, on="vehicle_id", how="full", coalesce=True, suffix="_now")
    differs = (pl.col("mark").ne_missing(pl.col("mark_now"))
               | pl.col("passes").ne_missing(pl.col("passes_now")))
    return pl.concat([both.filter(differs)["vehicle_id"], inspected]).unique()


def changed_files(table: Table, version: int) -> tuple[list[Path], list[Path]] | None:
    """Return the files whose rows went and those whose rows came since a version.

    Compaction moves rows and changes none: its entries are passed over where the log says that as
    many rows came as went. What is then removed again still stands on the disk under its old name.
    None where a file is gone for good, an entry is not ours to understand, or too much changed.
    """
    now = table.snapshot()
    if not -1 <= version <= now.version:
        return None
    rows = {f.name: _rows(f.statistics) for f in table.snapshot(version).files.values()}
    gone: Counter[str] = Counter()
    come: Counter[str] = Counter()
    for number in range(version + 1, now.version + 1):
        actions = _actions(table, number)
        if actions is None:
            return None
        added = {a["add"]["path"]: _rows(json.loads(a["add"].get("stats") or "{}"))
                 for a in actions if "add" in a}
        removed = [a["remove"]["path"] for a in actions if "remove" in a]
        rows |= added
        moved = sum(rows.get(name, 0) for name in removed)
        is_moved = _info(actions).get("operation") == "compact" and 0 < moved == sum(
            added.values())
        if not is_moved:
            come.update(list(added))
            gone.update(removed)
    went, came = gone - come, come - gone
    changed = sum(rows.get(name, 0) for name in (*went, *came))
    paths = [[table.folder / name for name in names] for names in (went, came)]
    if changed > MOST_CHANGED_ROWS or not all(path.is_file() for path in (*paths[0], *paths[1])):
        return None
    return paths[0], paths[1]


def _since(known: Made | None, now: Made) -> tuple[int, int] | None:
    """Return the versions to go on from; None where the findings must be made anew."""
    if known is None or (known.regulation, known.timezone, known.code) != (
            now.regulation, now.timezone, now.code):
        return None
    return known.passes, known.inspections


def _tasks(lake: Lake, regulations: Sequence[Regulation], before: Mapping[str, Made],
           after: Mapping[str, Made]) -> list[_Task]:
    """Return which regulations are asked about which vehicles."""
    groups: dict[tuple[int, int] | None, list[Regulation]] = {}
    for regulation in regulations:
        since = _since(before.get(regulation.id), after[regulation.id])
        groups.setdefault(since, []).append(regulation)
    return [(together, None if since is None else changed_vehicles(lake, *since, together))
            for since, together in groups.items()]


def _found(lake: Lake, regulations: Sequence[Regulation],
           vehicles: pl.Series | None) -> Iterator[pl.DataFrame]:
    if vehicles is not None and vehicles.is_empty():
        return
    yield from findings.find_parts(
        current_passes(lake), regulations, timezone=lake.timezone, vehicles=vehicles,
        inspections=passed_inspections(lake), pieces=pieces(lake), scratch=_scratch(lake))


def pieces(lake: Lake) -> list[pl.LazyFrame]:
    """Return the passes that count, cut into pieces."""
    table = lake.table("passes")
    return [_counting(piece) for piece in table.pieces(PIECE_ROWS, table.files())]


def _buckets(lake: Lake) -> Buckets:
    return Buckets("vehicle_id", _scratch(lake), most_rows=HELD_FINDINGS, parts=_PARTS)


def _scratch(lake: Lake) -> Path:
    """Return a folder that whoever next holds the lake removes if we cannot."""
    return lake.path / f".findings.{secrets.token_hex(4)}{disk.TEMPORARY}"


def _staged(table: Table, buckets: Buckets,
            tasks: Sequence[_Task]) -> tuple[dict[str, int], list[Path] | None]:
    """Compare the stored findings with those that should stand; stage these if they differ."""
    totals = dict.fromkeys(("total", "new", "changed", "withdrawn"), 0)
    files = []
    for part in buckets.frames():
        before, made = (part.filter(wanted).drop("_is_new")
                        for wanted in (~pl.col("_is_new"), pl.col("_is_new")))
        after = pl.concat([_untouched(before, tasks), made]).sort(findings.ORDER)
        for name, number in _compared(before, after).items():
            totals[name] += number
        files.append(table.write(after, "findings"))
    if table.version() < 0 and not files:
        files.append(table.write(empty(FINDINGS), "findings"))
    if table.version() >= 0 and not (totals["new"] or totals["changed"] or totals["withdrawn"]):
        for file in files:
            file.unlink()
        return totals, None
    return totals, files


def _untouched(stored: pl.DataFrame, tasks: Sequence[_Task]) -> pl.DataFrame:
    """Return the stored findings that nobody was asked about."""
    for regulations, vehicles in tasks:
        is_theirs = pl.col("regulation_id").is_in([r.id for r in regulations])
        if vehicles is not None:
            is_theirs &= pl.col("vehicle_id").is_in(vehicles.implode())
        stored = stored.filter(~is_theirs)
    return stored


def _compared(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    keys = ["regulation_id", "vehicle_id", "pollutant"]
    new = after.join(before, on=keys, how="anti").height
    touched = after.join(before, on=before.columns, how="anti", nulls_equal=True).height
    return {"total": after.height, "new": new, "changed": touched - new,
            "withdrawn": before.join(after, on=keys, how="anti").height}


def _made_now(lake: Lake, regulation: Regulation) -> Made:
    columns = hashlib.sha256(repr(list(schema(FINDINGS).items())).encode()).hexdigest()[:12]
    return Made(lake.table("passes").version(), lake.table("inspections").version(),
                regulation.sha256, lake.timezone,
                f"{VERSION} {findings.REVISION} {columns}")


def _marks(table: Table, paths: list[Path], regulations: Sequence[Regulation]) -> pl.DataFrame:
    return findings.marks(_counting(table.rows(paths)), regulations)


def _counting(passes: pl.LazyFrame) -> pl.LazyFrame:
    return passes.filter(pl.col("is_current"))


def _newly_inspected(lake: Lake, version: int) -> pl.Series | None:
    """Return the vehicles whose passed inspections differ from those of a version."""
    table = lake.table("inspections")
    if version == table.version():
        return pl.Series("vehicle_id", [], pl.String)
    if not -1 <= version < table.version() or not all(p.is_file() for p in table.files(version)):
        return None
    now, then = (passed_inspections(lake, v).collect() for v in (None, version))
    either = pl.concat([now.join(then, on=now.columns, how="anti"),
                        then.join(now, on=now.columns, how="anti")])
    return either["vehicle_id"]


def _actions(table: Table, version: int) -> list[log.Action] | None:
    path = log.entry_path(table.folder / "_delta_log", version)
    return log.read_entry(path) if path.is_file() else None


def _info(actions: list[log.Action] | None) -> Mapping[str, Any]:
    heads = (a["commitInfo"].get("rsd") for a in actions or [] if "commitInfo" in a)
    found = next(heads, None)
    return found if isinstance(found, dict) else {}


def _rows(statistics: Mapping[str, Any]) -> int:
    return int(statistics.get("numRecords", 0))
