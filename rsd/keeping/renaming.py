"""Old pseudonyms → new ones, in every table that has them."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from rsd import audit
from rsd.errors import IntegrityError
from rsd.keeping.staging import Staging, scan
from rsd.lake import Lake
from rsd.privacy import VehicleKey, hash_vehicles
from rsd.review import events
from rsd.review.identity import finding_ids

TAIL = 12
"""Characters of a pseudonym that a derived record id ends with (`rsd.pipeline.prepare`)."""

_RECORD_IDS = ("first_record_id", "second_record_id")
_PIECE = 200_000  # vehicles that are hashed at a time
_NAMED = ("inspections",)  # other tables with pseudonyms, small ones


@dataclass(frozen=True)
class Names:
    """``old_id, new_id`` of every vehicle."""

    frame: pl.DataFrame

    @classmethod
    def of(cls, lake: Lake, old: VehicleKey, new: VehicleKey) -> Names:
        """Return the new names of a lake's vehicles, from their plates.

        Raises:
            IntegrityError: a name does not follow from its plate, or two vehicles would be one.
        """
        vehicles = lake.table("vehicles").scan().select(
            "vehicle_id", "plate", "plate_color").collect()
        pieces = [vehicles.slice(k, _PIECE) for k in range(0, vehicles.height, _PIECE)]
        _check_plates(lake, vehicles, pieces, old)
        names = [hash_vehicles(new, piece) for piece in pieces]
        frame = pl.DataFrame({
            "old_id": vehicles["vehicle_id"],
            "new_id": pl.concat(names) if names else pl.Series([], dtype=pl.String)})
        for column in ("old_id", "new_id"):
            tails = frame[column].str.slice(-TAIL)
            if frame[column].n_unique() < frame.height or tails.n_unique() < frame.height:
                raise IntegrityError("two vehicles have one name", where=str(lake.path),
                                     remedy="Nothing was changed. Run: rsd doctor LAKE")
        return cls(frame)

    @property
    def count(self) -> int:
        """How many vehicles there are."""
        return self.frame.height

    @cached_property
    def tails(self) -> pl.DataFrame:
        """``tail, new_tail``: the parts that record ids end with."""
        return self.frame.select(tail=pl.col("old_id").str.slice(-TAIL),
                                 new_tail=pl.col("new_id").str.slice(-TAIL))

    def of_vehicles(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return rows with the new ``vehicle_id``; null stays null, an unknown one becomes null."""
        return rows.join(self.frame.lazy(), left_on="vehicle_id", right_on="old_id", how="left",
                         maintain_order="left").with_columns(vehicle_id="new_id").drop("new_id")

    def of_records(self, rows: pl.LazyFrame, column: str) -> pl.LazyFrame:
        """Return rows whose record ids end in the new part, where they ended in an old one."""
        name, size = pl.col(column), pl.col(column).str.len_chars().cast(pl.Int64)
        stem = name.str.slice(0, pl.max_horizontal(size - TAIL, pl.lit(0)))
        joined = rows.with_columns(tail=pl.when(stem.str.ends_with("-")).then(
            name.str.slice(-TAIL))).join(self.tails.lazy(), on="tail", how="left",
                                         maintain_order="left")
        changed = pl.when(pl.col("new_tail").is_not_null()).then(
            pl.concat_str(stem, pl.col("new_tail"))).otherwise(name)
        return joined.with_columns(changed.alias(column)).drop("tail", "new_tail")

    def of_findings(self, findings: pl.DataFrame) -> pl.DataFrame:
        """Return findings under the new names."""
        rows = self.of_vehicles(findings.lazy())
        for column in _RECORD_IDS:
            rows = self.of_records(rows, column)
        return rows.select(findings.columns).collect()


def stage(lake: Lake, staging: Staging, names: Names) -> None:
    """Stage every table under the new names.

    Raises:
        IntegrityError: a row names a vehicle that the vault does not know.
    """
    columns = {name: lake.table(name).schema.names() for name in ("passes", "evidence")}
    for path in lake.visible_files("passes"):
        rows = scan(lake, "passes", [path])
        renamed = names.of_records(names.of_vehicles(rows), "record_id")
        staging.drop("passes", [path])
        made = staging.add("passes", renamed.select(columns["passes"]))
        _check_same(lake, rows, scan(lake, "passes", [made]))
    for path in lake.visible_files("evidence"):
        rows = names.of_records(scan(lake, "evidence", [path]), "record_id")
        staging.drop("evidence", [path])
        staging.add("evidence", rows.select(columns["evidence"]))
    for name in _NAMED:
        stored = lake.table(name).scan()
        if lake.visible_files(name):
            staging.drop(name, lake.visible_files(name))
            made = staging.add(name, names.of_vehicles(stored).select(lake.table(name).schema))
            _check_same(lake, stored, scan(lake, name, [made]))
    _stage_vehicles(lake, staging, names)
    _stage_findings(lake, staging, names)


def _check_plates(lake: Lake, vehicles: pl.DataFrame, pieces: list[pl.DataFrame],
                  old: VehicleKey) -> None:
    missing = vehicles.null_count().sum_horizontal().item() if vehicles.height else 0
    wrong = 0 if missing else sum(
        int((hash_vehicles(old, piece) != piece["vehicle_id"]).sum()) for piece in pieces)
    if missing or wrong:
        raise IntegrityError("vehicles whose name does not follow from their plate",
                             where=str(lake.table("vehicles").folder), found=str(missing or wrong),
                             remedy="Nothing was changed. Run: rsd doctor LAKE")


def _check_same(lake: Lake, before: pl.LazyFrame, after: pl.LazyFrame) -> None:
    """Compare numbers of rows, of rows without a vehicle, and of distinct vehicles."""
    asked = (pl.len().alias("rows"), pl.col("vehicle_id").null_count().alias("nameless"),
             pl.col("vehicle_id").n_unique().alias("vehicles"))
    old, new = (rows.select(asked).collect(engine="streaming").row(0) for rows in (before, after))
    if old != new:
        raise IntegrityError("rows name vehicles that the vault does not know",
                             where=str(lake.path), found=str(new), expected=str(old),
                             remedy="Nothing was changed. Run: rsd doctor LAKE")


def _stage_vehicles(lake: Lake, staging: Staging, names: Names) -> None:
    stored = lake.table("vehicles").scan()
    if not names.count:
        return
    staging.drop("vehicles", lake.visible_files("vehicles"))
    renamed = names.of_vehicles(stored.with_columns(former_id="vehicle_id"))
    staging.add("vehicles", renamed.select(lake.table("vehicles").schema.names()))


def _stage_findings(lake: Lake, staging: Staging, names: Names) -> None:
    stored = lake.table("findings").scan().collect()
    if stored.height:
        staging.drop("findings", lake.visible_files("findings"))
        staging.add("findings", names.of_findings(stored))
    reviews = lake.table("reviews").scan().collect().sort("seq")
    if reviews.height:
        staging.add("reviews", events.chained(reviews, _renames(stored, reviews, names)))


def _renames(findings: pl.DataFrame, reviews: pl.DataFrame,
             names: Names) -> list[dict[str, object]]:
    """Return an event for each reviewed vehicle, and for each proof that has another id now."""
    now, user = dt.datetime.now(dt.UTC), audit.user_name(os.getuid())
    known = events.with_new_names(reviews)
    vehicles = names.frame.join(known, left_on="old_id", right_on="vehicle_id", how="semi")
    base = {"action": events.RENAME, "entered_by": user, "at": now,
            "reason": "the vehicle key was changed"}
    told: list[dict[str, object]] = [
        {**base, "vehicle_id": old, "renamed_to": new} for old, new in vehicles.rows()]
    proofs = pl.DataFrame({"old": finding_ids(findings),
                           "new": finding_ids(names.of_findings(findings))})
    changed = proofs.filter(pl.col("old") != pl.col("new")).join(
        known, left_on="old", right_on="finding_id", how="semi")
    return told + [{**base, "finding_id": old, "renamed_to": new} for old, new in changed.rows()]
