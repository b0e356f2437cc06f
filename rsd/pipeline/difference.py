"""Two regulations on the same data: whom the second would convict, whom acquit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rsd import findings
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.law.rulebook import Regulation
from rsd.pipeline import trail
from rsd.pipeline.finding import current_passes, pieces
from rsd.pipeline.inspections import passed_inspections

_KEY = ["pollutant", "vehicle_id"]
_TOLD = ["kind", "vehicle_class", "found_at", "first_value", "second_value", "limit", "unit"]


@dataclass(frozen=True)
class Difference:
    """What two regulations, ``a`` and ``b``, make of the same passes.

    ``vehicles``: a row a vehicle and pollutant that they differ on: ``change, pollutant,
    vehicle_class, vehicle_id``, and of each regulation ``kind, found_at, first_value,
    second_value, limit``. ``change``: ``convicted`` where b alone finds it, ``acquitted`` where a
    alone does, ``other_kind`` where both do, as another kind of finding. The vehicle class is that
    of b's deciding record, else of a's. ``counts``: a row a pollutant and vehicle class, with
    ``found_a, found_b, both, convicted, acquitted, other_kind``.
    """

    a: Regulation
    b: Regulation
    vehicles: pl.DataFrame
    counts: pl.DataFrame


def difference(lake: Lake, a: str, b: str) -> Difference:
    """Judge the passes of a lake by two regulations, and tell where they differ. Nothing is stored.

    Args:
        lake: the lake, or a view of it.
        a, b: ids of regulations, or files of their own.

    Raises:
        UsageError: no such regulation, or a faulty file.
        PolicyRefusal: one has no limits.
    """
    laws = regulation_of(lake, a), regulation_of(lake, b)
    first, second = (findings.find(
        current_passes(lake), [law], timezone=lake.timezone, pieces=pieces(lake),
        inspections=passed_inspections(lake)).select(*_KEY, *_TOLD) for law in laws)
    both = first.join(second, on=_KEY, how="full", coalesce=True, suffix="_b")
    in_a, in_b = pl.col("kind").is_not_null(), pl.col("kind_b").is_not_null()
    change = (pl.when(~in_a).then(pl.lit("convicted")).when(~in_b).then(pl.lit("acquitted"))
              .when(pl.col("kind") != pl.col("kind_b")).then(pl.lit("other_kind")))
    told = both.select(
        change.alias("change"), "pollutant",
        pl.coalesce("vehicle_class_b", "vehicle_class").alias("vehicle_class"), "vehicle_id",
        pl.coalesce("unit_b", "unit").alias("unit"),
        *(pl.col(f"{name}{suffix}").alias(f"{name}_{law}")
          for law, suffix in (("a", ""), ("b", "_b"))
          for name in _TOLD if name not in ("vehicle_class", "unit")),
    )
    vehicles = told.filter(pl.col("change").is_not_null()).sort(
        "change", "pollutant", "vehicle_class", "vehicle_id", descending=[True, *3 * [False]])
    trail.record(lake, "regulations diff", {
        "regulations": [f"{law.id} {law.sha256}" for law in laws], "rows": vehicles.height,
        "plates": False})
    return Difference(*laws, vehicles, _counts(told))


def regulation_of(lake: Lake, name: str) -> Regulation:
    """Return a regulation by its id, the lake's own first, or by its file."""
    path = Path(name)
    is_file = path.suffix == ".toml" or len(path.parts) > 1
    found = rulebook.load_file(path) if is_file else rulebook.load(name, lake.regulation_folders)
    found.require_runnable()
    return found


def _counts(told: pl.DataFrame) -> pl.DataFrame:
    in_a, in_b = pl.col("kind_a").is_not_null(), pl.col("kind_b").is_not_null()
    changes = {name: pl.col("change").eq_missing(pl.lit(name))
               for name in ("convicted", "acquitted", "other_kind")}
    asked = {"found_a": in_a, "found_b": in_b, "both": in_a & in_b, **changes}
    return told.group_by("pollutant", "vehicle_class").agg(
        **{name: expr.sum().cast(pl.Int64) for name, expr in asked.items()},
    ).sort("pollutant", "vehicle_class")
