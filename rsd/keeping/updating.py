"""New small tables (registry, sites, segments, calendar), and the passes that hang on them.

A pass carries what the registry and the site list said when it was scored. When they change, the
passes that they touch are scored anew from what the dump had said, in the same moment; the next
`find` judges their vehicles again. Earlier versions stay readable.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rsd import geography
from rsd.columns import PASSES, VEHICLES, schema
from rsd.errors import IntegrityError, UsageError
from rsd.intake.formats import get_format
from rsd.keeping.content import content
from rsd.keeping.staging import Staging, scan, versions
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.accounts import record
from rsd.pipeline.batch import scoring_rules
from rsd.pipeline.summary import RunSummary
from rsd.pipeline.vehicles import check_key, read_registry
from rsd.privacy import VehicleKey, vehicle_ids
from rsd.review.calendar import read_calendar
from rsd.scoring import ScoringRules
from rsd.scoring.rescore import SmallTables, rescore
from rsd.storage import change

OPERATION = "update"
PIECE_ROWS = 131_072
"""Passes that are held at a time."""

_KEYS = {"vehicles": "vehicle_id", "sites": "site_id", "segments": "segment_id",
         "calendar": "date"}
_FILES = {"vehicles": "registry"}  # a table whose file has another name
_SOURCE = ["record_id", "source_sha256", "source_line", "measured_at", "vehicle_id"]


@dataclass(frozen=True)
class Updated:
    """What became of the small tables and of the passes.

    ``counts``: file → ``rows`` given, and of these ``new`` and ``changed``; ``removed`` by
    ``replace``. ``passes``: how many were scored anew. ``remarks``: sites far from their segment.
    """

    counts: Mapping[str, Mapping[str, int]]
    passes: int
    remarks: list[str]


def update(lake: Lake, *, registry: Path | None = None, sites: Path | None = None,
           segments: Path | None = None, calendar: Path | None = None,
           replace: bool = False) -> Updated:
    """Take over small tables; rows that are known already are replaced as a whole.

    Args:
        lake: the lake.
        registry, sites, segments, calendar: files as for `init_lake`.
        replace: each file holds all rows there are; what it does not name is no more. A vehicle
            that the registry names no more stays known by its plate.

    Returns:
        What was done. After a crash nothing has happened, or whoever next opens the lake for
        writing finishes it.

    Raises:
        InputRefused: a file cannot be used; nothing was changed.
        UsageError: no file was given.
        IntegrityError: a pass comes from a dump that no run tells of.
        LakeBusy, StorageError: as in every run.
    """
    given: dict[str, pl.DataFrame] = {}
    for name, path, read in (("vehicles", registry, read_registry),
                             ("sites", sites, geography.read_sites),
                             ("segments", segments, geography.read_segments),
                             ("calendar", calendar, read_calendar)):
        if path is not None:
            given[name] = read(path)
    if not given:
        raise UsageError("nothing to update", expected="one of --registry, --sites, --segments "
                                                       "and --calendar")
    with lake.writer():
        key = VehicleKey.load(lake.key_path)
        check_key(lake, key)
        if "vehicles" in given:
            rows = given["vehicles"]
            given["vehicles"] = rows.with_columns(vehicle_ids(key, rows).alias("vehicle_id"))
        # a run that died may not have told of its dumps yet
        record(lake, RunSummary(OPERATION, dt.datetime.now(dt.UTC).isoformat(timespec="seconds")))
        staging = Staging(lake, OPERATION)
        try:
            return _updated(lake, staging, given, replace=replace)
        except BaseException:
            staging.discard()
            raise


def _updated(lake: Lake, staging: Staging, given: Mapping[str, pl.DataFrame], *,
             replace: bool) -> Updated:
    before = _small_tables(staging)
    counts = {_FILES.get(n, n): _merge(lake, staging, n, rows, replace=replace)
              for n, rows in given.items()}
    passes = _rescored(lake, staging, before, _small_tables(staging))
    remarks = geography.check_sites(staging.rows("sites").collect(),
                                    staging.rows("segments").collect())
    if staging.added:
        note = {"operation": OPERATION, "rescored": passes,
                **{f: dict(c) for f, c in counts.items()}}
        trail.record(lake, OPERATION, {**note, "replace": replace, "change": staging.id})
        change.publish(lake, change.Change(staging.id, OPERATION, versions(lake),
                                           staging.steps(), info=note))
    return Updated(counts, passes, remarks if {"sites", "segments"} & set(given) else [])


def _small_tables(staging: Staging) -> SmallTables:
    return SmallTables.of(staging.rows("sites"), staging.rows("vehicles"))


def _merge(lake: Lake, staging: Staging, name: str, given: pl.DataFrame, *,
           replace: bool) -> dict[str, int]:
    """Stage a small table with the rows that were given; return how they differ."""
    table, key = lake.table(name), _KEYS[name]
    stored = table.scan().collect()
    columns = list(table.schema)
    if name == "vehicles":  # a name of before the last key belongs to the vehicle, not to a file
        given = given.drop("former_id").join(stored.select(key, "former_id"), on=key, how="left",
                                             maintain_order="left")
    given = given.select(columns)
    known = given.join(stored, on=key, how="semi")
    same = given.join(stored, on=columns, how="semi", nulls_equal=True)
    others = stored.join(given, on=key, how="anti", maintain_order="left")
    gone = others.filter("is_registered") if name == "vehicles" else others
    counts = {"rows": given.height, "new": given.height - known.height,
              "changed": known.height - same.height, "removed": gone.height if replace else 0}
    if not any(counts[n] for n in ("new", "changed", "removed")):
        return counts
    if replace:
        others = _forgotten(others) if name == "vehicles" else others.clear()
    staging.drop(name, lake.visible_files(name))
    staging.add(name, pl.concat([others, given]))
    return counts


def _forgotten(vehicles: pl.DataFrame) -> pl.DataFrame:
    """Return vehicles without what the registry had said of them."""
    kept = ("vehicle_id", "plate", "plate_color", "former_id")
    nothing = [pl.lit(None, dtype).alias(name) for name, dtype in schema(VEHICLES).items()
               if name not in kept and name != "is_registered"]
    return vehicles.with_columns(*nothing, is_registered=pl.lit(value=False))


def _differing(before: pl.DataFrame, after: pl.DataFrame, key: str) -> pl.Series:
    """Return the keys of rows that are in one frame only, or differ."""
    both = before.join(after, on=list(before.columns), how="semi", nulls_equal=True).select(key)
    keys = pl.concat([before.select(key), after.select(key)]).unique()
    return keys.join(both, on=key, how="anti").to_series()


def _rescored(lake: Lake, staging: Staging, before: SmallTables, after: SmallTables) -> int:
    """Stage the files of passes that the tables touch, scored anew; return how many passes."""
    touched = (pl.col("vehicle_id").is_in(
        _differing(before.vehicles, after.vehicles, "vehicle_id").implode())
        | pl.col("site_id").is_in(_differing(before.sites, after.sites, "site_id").implode()))
    total, rules = 0, _Rules(lake)
    for path in lake.visible_files("passes"):
        rows = scan(lake, "passes", [path])
        asked = rows.select(touched.fill_null(value=False).sum())
        number = int(asked.collect(engine="streaming").item())
        if not number:
            continue
        pieces = lake.table("passes").pieces(PIECE_ROWS, [path])
        made = staging.add_frames("passes", (
            _anew(piece.collect(), touched, before, after, rules) for piece in pieces))
        staging.drop("passes", [path])
        _check_same(lake, path, made)
        total += number
    return total


class _Rules:
    """How the passes of a source were scored."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        done = lake.table("runs").scan().filter(pl.col("state") == "done")
        self._formats = dict(done.select("sha256", "format").collect().iter_rows())

    def of(self, source_sha256: str) -> ScoringRules:
        """Return the rules; IntegrityError where no run tells of the source."""
        if (format_id := self._formats.get(source_sha256)) is None:
            raise IntegrityError("passes of a dump that no run tells of", found=source_sha256[:12],
                                 where=str(self._lake.path),
                                 remedy="Nothing was changed. Run: rsd doctor LAKE")
        return scoring_rules(self._lake, get_format(format_id))


def _anew(piece: pl.DataFrame, touched: pl.Expr, before: SmallTables, after: SmallTables,
          rules: _Rules) -> pl.DataFrame:
    rows = piece.with_row_index("_at").with_columns(
        _touched=touched.fill_null(value=False))
    wanted = rows.filter("_touched")
    if wanted.is_empty():
        return piece
    sources: dict[ScoringRules, list[str]] = {}
    for source in wanted["source_sha256"].unique():
        sources.setdefault(rules.of(source), []).append(source)
    parts = [rows.filter(~pl.col("_touched")).drop("_touched")]
    for own, names in sources.items():
        part = wanted.filter(pl.col("source_sha256").is_in(names))
        scored = rescore(part.drop("_at", "_touched").lazy(), before, after, own).collect()
        parts.append(scored.cast(schema(PASSES)).insert_column(0, part["_at"]))
    return pl.concat(parts).sort("_at").drop("_at")


def _check_same(lake: Lake, path: Path, made: Path) -> None:
    """Compare what scoring never changes: no record, source, instant or vehicle is another."""
    old, new = (content(piece.select(_SOURCE) for piece in lake.table("passes").pieces(
        PIECE_ROWS, [file])) for file in (path, made))
    if old != new:
        raise IntegrityError("passes scored anew are not those of before", where=str(path),
                             found=str(new), expected=str(old), remedy="Nothing was changed.")
