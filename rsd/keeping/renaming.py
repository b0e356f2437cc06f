"""Old pseudonyms → new ones, in every table that has them.

The vault may know millions of vehicles: each piece of a table looks up its own.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass

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

PIECE_ROWS = 131_072
"""Rows whose vehicles are looked up, and renamed, at a time: it bounds the memory."""

_RECORD_IDS = ("first_record_id", "second_record_id")
_VAULT = ("vehicle_id", "plate", "plate_color")


@dataclass(frozen=True)
class _Few:
    """``old_id, new_id`` of some vehicles."""

    frame: pl.DataFrame

    def of_vehicles(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the new ``vehicle_id``; null stays null, an unknown one becomes null."""
        return rows.join(self.frame, left_on="vehicle_id", right_on="old_id", how="left",
                         maintain_order="left").with_columns(vehicle_id="new_id").drop("new_id")

    def of_records(self, rows: pl.DataFrame, column: str) -> pl.DataFrame:
        """Return rows whose record ids end in the new part, where they ended in an old one."""
        tails = self.frame.select(_tail=_tail("old_id"), _new_tail=_tail("new_id"))
        joined = rows.with_columns(_tail=_tail_of_record(column)).join(
            tails, on="_tail", how="left", maintain_order="left")
        renamed = pl.concat_str(_stem(column), pl.col("_new_tail"))
        return joined.with_columns(
            pl.when(pl.col("_new_tail").is_not_null()).then(renamed).otherwise(column)
            .alias(column)).drop("_tail", "_new_tail")


class Names:
    """The new names of a lake's vehicles, from their plates, for as many rows as are held."""

    def __init__(self, lake: Lake, old: VehicleKey, new: VehicleKey) -> None:
        """Look at the whole vault once; it takes 16 bytes a vehicle.

        Raises:
            IntegrityError: a name does not follow from its plate, or two vehicles would be one.
        """
        self._table, self._new = lake.table("vehicles"), new
        wrong, tails = 0, list[pl.DataFrame]()
        for piece in self._pieces():
            missing = piece.null_count().sum_horizontal().item()
            wrong += missing or int((hash_vehicles(old, piece) != piece["vehicle_id"]).sum())
            if not wrong:
                tails.append(pl.DataFrame({"old_id": piece["vehicle_id"],
                                           "new_id": hash_vehicles(new, piece)}
                                          ).select(_as_number("old_id"), _as_number("new_id")))
        if wrong:
            raise IntegrityError("vehicles whose name does not follow from their plate",
                                 where=str(self._table.folder), found=str(wrong),
                                 remedy="Nothing was changed. Run: rsd doctor LAKE")
        known = pl.concat(tails) if tails else pl.DataFrame(schema=["old_id", "new_id"])
        if any(known[column].n_unique() < known.height for column in known.columns):
            raise IntegrityError("two vehicles have one name", where=str(lake.path),
                                 remedy="Nothing was changed. Run: rsd doctor LAKE")
        self.count = known.height

    def renamed(self, rows: pl.DataFrame, *record_ids: str) -> pl.DataFrame:
        """Return rows under the new names: their ``vehicle_id``, if they have one, and record ids.

        A vehicle that the vault does not know becomes null.
        """
        has_vehicle = "vehicle_id" in rows.columns
        asked = [rows.select(_tail=_tail_of_record(name)) for name in record_ids]
        asked += [rows.select(_tail=_tail("vehicle_id"))] if has_vehicle else []
        few = self._few(pl.concat(asked).drop_nulls().unique())
        named = few.of_vehicles(rows) if has_vehicle else rows
        for name in record_ids:
            named = few.of_records(named, name)
        return named.select(rows.columns)

    def of_findings(self, findings: pl.DataFrame) -> pl.DataFrame:
        """Return findings under the new names."""
        return self.renamed(findings, *_RECORD_IDS)

    def of_ids(self, vehicle_ids: pl.Series) -> list[tuple[str, str]]:
        """Return old and new name of those of some vehicles that the vault knows."""
        rows = vehicle_ids.alias("vehicle_id").drop_nulls().unique(maintain_order=True).to_frame()
        both = rows.with_columns(self.renamed(rows)["vehicle_id"].alias("new_id"))
        return both.drop_nulls().rows()

    def of_vault(self) -> Iterator[pl.DataFrame]:
        """Yield the vault under the new names; ``former_id`` says the old ones."""
        for piece in self._table.pieces(PIECE_ROWS):
            rows = piece.collect()
            yield rows.with_columns(hash_vehicles(self._new, rows), former_id="vehicle_id"
                                    ).select(self._table.schema.names())

    def _pieces(self) -> Iterator[pl.DataFrame]:
        return (piece.select(_VAULT).collect() for piece in self._table.pieces(PIECE_ROWS))

    def _few(self, tails: pl.DataFrame) -> _Few:
        if tails.is_empty():
            return _Few(pl.DataFrame(schema={"old_id": pl.String, "new_id": pl.String}))
        found = self._table.scan().select(_VAULT).with_columns(_tail=_tail("vehicle_id")).join(
            tails.lazy(), on="_tail", how="semi").collect(engine="streaming")
        return _Few(pl.DataFrame({"old_id": found["vehicle_id"],
                                  "new_id": hash_vehicles(self._new, found)}))


def _tail(column: str) -> pl.Expr:
    return pl.col(column).str.slice(-TAIL)


def _as_number(column: str) -> pl.Expr:
    """The end of a name as a number: twelve letters and digits fit, so that no two become one."""
    return _tail(column).str.to_integer(base=36, dtype=pl.Int64)


def _stem(column: str) -> pl.Expr:
    size = pl.col(column).str.len_chars().cast(pl.Int64)
    return pl.col(column).str.slice(0, pl.max_horizontal(size - TAIL, pl.lit(0)))


def _tail_of_record(column: str) -> pl.Expr:
    """What a derived record id ends with; null for the numbers of instruments."""
    return pl.when(_stem(column).str.ends_with("-")).then(_tail(column))


def stage(lake: Lake, staging: Staging, names: Names) -> None:
    """Stage every table under the new names.

    Raises:
        IntegrityError: a row names a vehicle that the vault does not know.
    """
    for name, record_ids in (("passes", ("record_id",)), ("evidence", ("record_id",)),
                             ("inspections", ())):
        table = lake.table(name)
        for path in lake.visible_files(name):
            made = staging.add_frames(name, (
                names.renamed(piece.collect(), *record_ids)
                for piece in table.pieces(PIECE_ROWS, [path])))
            staging.drop(name, [path])
            if "vehicle_id" in table.schema:
                _check_same(lake, scan(lake, name, [path]), scan(lake, name, [made]))
    if names.count:
        staging.drop("vehicles", lake.visible_files("vehicles"))
        staging.add_frames("vehicles", names.of_vault())
    _stage_findings(lake, staging, names)


def _check_same(lake: Lake, before: pl.LazyFrame, after: pl.LazyFrame) -> None:
    """Compare numbers of rows, of rows without a vehicle, and of distinct vehicles."""
    asked = (pl.len().alias("rows"), pl.col("vehicle_id").null_count().alias("nameless"),
             pl.col("vehicle_id").n_unique().alias("vehicles"))
    old, new = (rows.select(asked).collect(engine="streaming").row(0) for rows in (before, after))
    if old != new:
        raise IntegrityError("rows name vehicles that the vault does not know",
                             where=str(lake.path), found=str(new), expected=str(old),
                             remedy="Nothing was changed. Run: rsd doctor LAKE")


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
    base = {"action": events.RENAME, "entered_by": user, "at": now,
            "reason": "the vehicle key was changed"}
    told: list[dict[str, object]] = [
        {**base, "vehicle_id": old, "renamed_to": new}
        for old, new in names.of_ids(known["vehicle_id"])]
    proofs = pl.DataFrame({"old": finding_ids(findings),
                           "new": finding_ids(names.of_findings(findings))})
    changed = proofs.filter(pl.col("old") != pl.col("new")).join(
        known, left_on="old", right_on="finding_id", how="semi")
    return told + [{**base, "finding_id": old, "renamed_to": new} for old, new in changed.rows()]
