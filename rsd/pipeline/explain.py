"""A vehicle's story: every pass, each verdict, and the clause behind it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd import reasons
from rsd.columns import MEASURED_VALUE
from rsd.lake import Lake
from rsd.law import judge
from rsd.law.rulebook import Regulation
from rsd.pipeline import trail
from rsd.pipeline.nightly import current_passes, regulations_of
from rsd.pipeline.reading import findings_of, resolve_vehicle

_SHOWN = ("vehicle_id", "measured_at", "site_id", "road_segment", "record_id")
_BESIDE = ("vehicle_class", "fuel", "emission_stage", "vsp_device_kw_t", "vsp_kw_t",
           "wind_speed_m_s", "is_valid", "reasons", "source_sha256", "source_line")


@dataclass(frozen=True)
class Story:
    """``verdicts`` has a row a pass, regulation and pollutant; ``findings`` what came of them.

    Instants are UTC; ``timezone`` is the zone of the lake, whose clock people know.
    """

    vehicles: list[str]
    verdicts: pl.DataFrame
    findings: pl.DataFrame
    timezone: str


def explain(lake: Lake, vehicle: str, *, reason: str | None = None) -> Story:
    """Tell a vehicle's whole story under the regulations of the lake.

    Args:
        lake: the lake.
        vehicle: a vehicle id, or a plate (``plate/colour`` where it is ambiguous), which needs the
            right to read ``restricted/`` and is audited.

    Raises:
        UsageError: no such vehicle.
        PolicyRefusal: a plate without the right.
    """
    lake = lake.pinned()
    ids = resolve_vehicle(lake, vehicle, reason=reason)
    wanted = pl.col("vehicle_id").is_in(ids)
    passes = current_passes(lake).filter(wanted).collect(engine="streaming")
    if passes.is_empty():
        from rsd.errors import UsageError

        raise UsageError("no such vehicle in the lake", found="no pass of it",
                         remedy="Take a vehicle_id from the findings or from `rsd query`.")
    passes = passes.with_columns(_reason_lists(passes))
    regulations = regulations_of(lake)
    verdicts = [_verdicts(passes, r, p) for r in regulations for p in r.pollutants]
    rows = pl.concat(verdicts).sort("measured_at", "record_id", "regulation_id", "pollutant")
    trail.record(lake, "explain", {"vehicles": ids, "rows": rows.height, "plates": False},
                 reason=reason)
    return Story(ids, rows, findings_of(lake).filter(wanted), lake.timezone)


def _reason_lists(passes: pl.DataFrame) -> pl.Series:
    lists = [reasons.codes(bits or 0) for bits in passes["reason_bits"]]
    return pl.Series("reasons", lists, pl.List(pl.String))


def _verdicts(passes: pl.DataFrame, regulation: Regulation, pollutant: str) -> pl.DataFrame:
    column, unit = MEASURED_VALUE[pollutant]
    applies, tested = judge.applies(regulation, pollutant), judge.tested(regulation, pollutant)
    over = judge.exceeds(regulation, pollutant)
    verdict = (
        pl.when(~applies).then(pl.lit("not judged"))
        .when(pl.col(column).is_null()).then(pl.lit("not measured"))
        .when(~tested).then(pl.lit("not valid"))
        .when(over).then(pl.lit("exceeds"))
        .otherwise(pl.lit("within the limit"))
    )
    return passes.select(
        *_SHOWN,
        pl.lit(regulation.id).alias("regulation_id"),
        pl.lit(pollutant).alias("pollutant"),
        pl.col(column).alias("value"),
        judge.by_period(regulation, pollutant, lambda p: _limit(p.limit(pollutant)))
        .cast(pl.Float64).alias("limit"),
        pl.lit(unit).alias("unit"),
        verdict.alias("verdict"),
        judge.by_period(regulation, pollutant, lambda p: _clause(p.limit(pollutant)))
        .cast(pl.String).alias("clause"),
        *_BESIDE,
    )


def _limit(limit: object) -> float | None:
    return getattr(limit, "value", None)


def _clause(limit: object) -> str | None:
    return getattr(limit, "clause", None)
