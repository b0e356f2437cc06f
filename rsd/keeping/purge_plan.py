"""What a purge takes out of each table, staged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rsd.column import PHOTOS
from rsd.keeping.content import BATCH_ROWS
from rsd.keeping.plate_search import has_plate_of, masked_plates, telling
from rsd.keeping.staging import Staging, count, scan
from rsd.lake import Lake
from rsd.pipeline.versions import KEY
from rsd.review.cases import cases
from rsd.review.flow import WITHDRAWN

SETTLED = ("auto_flagged", "rejected", "closed", "retested_pass")
"""States of a review that hold nothing: not begun, or ended."""

PART_VEHICLES = 500_000
"""Vehicles, about, that are looked at at a time: it bounds the memory."""

_FREE = ("plate_raw", *(c.name for c in PHOTOS), "video_1", "raw_time")
_PROOF = ("first_record_id", "second_record_id")


@dataclass
class Plan:
    """What goes. ``sources``: dump → rows of passes and of quarantine that go."""

    lake: Lake
    staging: Staging
    before: dt.date
    removed: dict[str, int]
    sources: dict[str, dict[str, int]]
    held_ids: pl.DataFrame
    held: int = 0

    def stays_proven(self, findings: pl.DataFrame) -> pl.DataFrame:
        """Return the findings whose proof is still there."""
        ids = pl.concat([findings[n] for n in _PROOF]).drop_nulls().unique().alias("record_id")
        there = self.staging.rows("passes").select("record_id").join(
            ids.to_frame().lazy(), on="record_id", how="semi").collect(engine="streaming")
        known = there["record_id"].implode()
        return findings.filter(*(pl.col(n).is_null() | pl.col(n).is_in(known) for n in _PROOF))


@dataclass(frozen=True)
class _Doomed:
    """The passes that go: what they fulfil, and dump → the files they stand in."""

    lake: Lake
    goes: pl.Expr
    files: Mapping[str, list[Path]]

    def among(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return those of some keys whose pass goes."""
        sources = keys["source_sha256"].unique().to_list()
        paths = {path: None for sha256 in sources for path in self.files.get(sha256, ())}
        return scan(self.lake, "passes", list(paths)).filter(self.goes).select(KEY).join(
            keys.lazy(), on=KEY, how="semi").collect(engine="streaming")


def make(lake: Lake, staging: Staging, before: dt.date) -> Plan:
    """Stage what stays of every table that loses rows."""
    plan = Plan(lake, staging, before, {}, {}, _held(lake))
    plan.held = count(lake.table("passes").scan().filter(_is_old(before)).join(
        plan.held_ids.lazy(), on="record_id", how="semi"))
    spans = _spans(lake)
    doomed = _passes(plan)
    _evidence(plan, doomed)
    _inspections(plan)
    plates = _vehicles(plan)
    _names(plan, telling(plates))
    _quarantine(plan, spans, plates)
    _findings(plan)
    return plan


def _is_old(before: dt.date) -> pl.Expr:
    return (pl.col("date") < before).fill_null(value=False)


def _held(lake: Lake) -> pl.DataFrame:
    """Return the records that prove findings under review."""
    reviews = lake.table("reviews").scan().collect()
    none = pl.DataFrame(schema={"record_id": pl.String})
    if reviews.is_empty():
        return none
    known = cases(lake.table("findings").scan().collect(), reviews)
    held = known.filter(~pl.col("state").is_in(SETTLED), pl.col("standing") != WITHDRAWN)
    ids = [held.select(record_id=name) for name in _PROOF]
    return pl.concat([none, *ids]).drop_nulls().unique()


def _spans(lake: Lake) -> pl.DataFrame:
    """Return the first and last local day of each dump; of one without passes, when it came."""
    passes = lake.table("passes").scan().group_by("source_sha256").agg(
        first=pl.col("date").min(), last=pl.col("date").max())
    came = pl.col("started_at").dt.convert_time_zone(lake.timezone).dt.date()
    runs = lake.table("runs").scan().filter(pl.col("state") == "done").select(
        source_sha256="sha256", first=came, last=came)
    known = passes.collect(engine="streaming")
    others = runs.collect().join(known, on="source_sha256", how="anti")
    return pl.concat([known, others]).unique("source_sha256")


def _passes(plan: Plan) -> _Doomed:
    """Stage the passes that stay; return where those stand that go."""
    lake, staging = plan.lake, plan.staging
    held = plan.held_ids["record_id"].implode()
    goes = _is_old(plan.before) & ~pl.col("record_id").is_in(held)
    # a correction may have moved a record to an earlier day: its versions of before go with it
    late = lake.table("passes").scan().filter(
        ~pl.col("is_current"), ~_is_old(plan.before)).select("record_id").collect()
    if late.height:
        moved = lake.table("passes").scan().filter(goes & pl.col("is_current")).join(
            late.lazy(), on="record_id", how="semi").select("record_id").collect(
            engine="streaming")
        goes |= ~pl.col("is_current") & pl.col("record_id").is_in(moved["record_id"].implode())
    files: dict[str, list[Path]] = {}
    plan.removed["passes"] = 0
    for path in lake.visible_files("passes"):
        rows = scan(lake, "passes", [path])
        counts = rows.filter(goes).group_by("source_sha256").len().collect(engine="streaming")
        if counts.is_empty():
            continue
        for sha256, number in counts.rows():
            files.setdefault(str(sha256), []).append(path)
            _account(plan, "passes", str(sha256), number)
        gone = int(counts["len"].sum())
        plan.removed["passes"] += gone
        staging.drop("passes", [path])
        if gone < count(rows):
            staging.add("passes", rows.filter(~goes))
    return _Doomed(lake, goes, files)


def _evidence(plan: Plan, doomed: _Doomed) -> None:
    """Stage the evidence of the passes that stay; what no pass was ever committed for goes too."""
    lake, staging = plan.lake, plan.staging
    plan.removed["evidence"] = 0
    for path in lake.visible_files("evidence"):
        rows = scan(lake, "evidence", [path])
        keys = doomed.among(rows.select(KEY).collect())
        if keys.is_empty():
            continue
        plan.removed["evidence"] += keys.height
        staging.drop("evidence", [path])
        if keys.height < count(rows):
            staging.add("evidence", rows.join(keys.lazy(), on=KEY, how="anti",
                                              maintain_order="left"))
    _drop_unfinished(plan, "evidence")


def _names(plan: Plan, plates: pl.Series) -> None:
    """Stage evidence that stays without the plates that go: names of photos may hold any."""
    if plates.is_empty():
        return
    table, staging = plan.lake.table("evidence"), plan.staging

    def masked(part: pl.DataFrame) -> pl.DataFrame:
        return part.with_columns(masked_plates(part[name], plates) for name in _FREE)

    for path in staging.files("evidence"):
        def parts(path: Path = path) -> Iterator[pl.DataFrame]:
            return (piece.collect() for piece in table.pieces(BATCH_ROWS, [path]))

        if all(part.equals(masked(part)) for part in parts()):
            continue
        staging.add_frames("evidence", map(masked, parts()))
        if path in staging.added["evidence"]:
            staging.take_back("evidence", path)
        else:
            staging.drop("evidence", [path])


def _inspections(plan: Plan) -> None:
    """Stage the inspections that stay; a vehicle under review keeps those of before too."""
    lake, staging = plan.lake, plan.staging
    stored = lake.table("inspections").scan().collect()
    day = pl.col("inspected_at").dt.convert_time_zone(lake.timezone).dt.date()
    vehicles = lake.table("passes").scan().join(
        plan.held_ids.lazy(), on="record_id", how="semi").select("vehicle_id").collect()
    goes = (day < plan.before) & ~pl.col("vehicle_id").is_in(vehicles["vehicle_id"].implode())
    stays = stored.filter(~goes.fill_null(value=False))
    plan.removed["inspections"] = stored.height - stays.height
    if plan.removed["inspections"]:
        staging.drop("inspections", lake.visible_files("inspections"))
        staging.add("inspections", stays)


def _vehicles(plan: Plan) -> pl.Series:
    """Stage the vehicles that are spoken of or registered; return the plates that go."""
    lake, staging = plan.lake, plan.staging
    stored = lake.table("vehicles").scan()
    parts = count(stored) // PART_VEHICLES + 1
    gone, removed = [pl.Series("plate", [], pl.String)], 0

    def stays() -> Iterator[pl.DataFrame]:
        nonlocal removed
        for part in range(parts):
            known, goes = _of_part(plan, stored, parts, part)
            removed += goes.height
            gone.append(goes["plate"].drop_nulls().unique())
            yield known

    made = staging.add_frames("vehicles", stays())
    plan.removed["vehicles"] = removed
    if not removed:
        staging.take_back("vehicles", made)
        return gone[0]
    staging.drop("vehicles", lake.visible_files("vehicles"))
    # the same characters on a plate of another colour may be a vehicle that stays
    return pl.concat(gone).unique().to_frame().lazy().join(
        scan(lake, "vehicles", [made]), on="plate", how="anti").collect()["plate"]


def _of_part(plan: Plan, stored: pl.LazyFrame, parts: int,
             part: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the vehicles of a part that stay, and those that go: unregistered and not seen."""
    is_here = pl.col("vehicle_id").hash() % parts == part
    seen = pl.concat([plan.staging.rows(name).select("vehicle_id").drop_nulls().filter(is_here)
                      for name in ("passes", "inspections")]).unique().collect(engine="streaming")
    known = stored.filter(is_here).collect(engine="streaming")
    goes = known.filter(~pl.col("is_registered").fill_null(value=False)).join(
        seen, on="vehicle_id", how="anti")
    return known.join(goes, on="vehicle_id", how="anti", maintain_order="left"), goes


def _quarantine(plan: Plan, spans: pl.DataFrame, plates: pl.Series) -> None:
    """Stage the quarantined records of dumps that reach the date, without the plates that go.

    A dump on both sides of the date is searched for all of them, a later one for those that are
    not found by chance.
    """
    lake, staging = plan.lake, plan.staging
    wholly = spans.filter(pl.col("last") < plan.before)["source_sha256"].implode()
    mixed = spans.filter(pl.col("first") < plan.before,
                         pl.col("last") >= plan.before)["source_sha256"].implode()
    plan.removed["quarantine"] = 0
    for path in lake.visible_files("quarantine"):
        rows = scan(lake, "quarantine", [path]).collect()
        goes = rows.select(pl.col("source_sha256").is_in(wholly)).to_series()
        doubtful = rows.select(pl.col("source_sha256").is_in(mixed)).to_series()
        goes |= doubtful & has_plate_of(rows["raw"], doubtful, plates)
        goes |= has_plate_of(rows["raw"], ~goes & ~doubtful, telling(plates))
        if not goes.any():
            continue
        plan.removed["quarantine"] += int(goes.sum())
        for sha256, number in rows.filter(goes).group_by("source_sha256").len().rows():
            _account(plan, "quarantine", str(sha256), number)
        staging.drop("quarantine", [path])
        if not goes.all():
            staging.add("quarantine", rows.filter(~goes))
    _drop_unfinished(plan, "quarantine")


def _findings(plan: Plan) -> None:
    lake, staging = plan.lake, plan.staging
    stored = lake.table("findings").scan().collect()
    stays = plan.stays_proven(stored)
    plan.removed["findings"] = stored.height - stays.height
    if plan.removed["findings"]:
        staging.drop("findings", lake.visible_files("findings"))
        staging.add("findings", stays)


def _drop_unfinished(plan: Plan, name: str) -> None:
    """Let go of what a run that died left of batches that never came to be."""
    seen = set(plan.lake.visible_files(name))
    unfinished: list[Path] = [p for p in plan.lake.table(name).files() if p not in seen]
    if unfinished:
        plan.staging.drop(name, unfinished)


def _account(plan: Plan, table: str, sha256: str, number: int) -> None:
    counts = plan.sources.setdefault(sha256, {})
    counts[table] = counts.get(table, 0) + number
