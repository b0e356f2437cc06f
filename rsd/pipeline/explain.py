"""A vehicle's story: every pass, each verdict, what it means, and the clause behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from rsd import reasons
from rsd.columns import MEASURED_VALUE
from rsd.errors import UsageError
from rsd.exports.words import words
from rsd.lake import Lake
from rsd.law import judge, story
from rsd.law.phrases import Phrases, phrases
from rsd.law.rules import NO_POLLUTANT, Regulation
from rsd.law.verbs import Context, Note
from rsd.pipeline import trail
from rsd.pipeline.inspections import passed_inspections
from rsd.pipeline.nightly import current_passes, regulations_of
from rsd.pipeline.reading import findings_of, resolve_vehicle

_SHOWN = ("vehicle_id", "measured_at", "site_id", "road_segment", "record_id")
_BESIDE = ("vehicle_class", "fuel", "emission_stage", "vsp_device_kw_t", "vsp_kw_t",
           "wind_speed_m_s", "is_valid", "reasons", "source_sha256", "source_line")


@dataclass(frozen=True)
class Story:
    """``verdicts`` has a row a pass, regulation and pollutant; ``findings`` what came of them.

    ``step`` names what a judged record means to the rule, null where it was not judged; ``story``
    says it, or why it was not judged, in the language of ``phrases``. Instants are UTC;
    ``timezone`` is the zone of the lake, whose clock people know. ``inspections``: those that were
    passed.
    """

    vehicles: list[str]
    verdicts: pl.DataFrame
    findings: pl.DataFrame
    timezone: str
    inspections: pl.DataFrame
    regulations: Sequence[Regulation]
    phrases: Phrases


def explain(lake: Lake, vehicle: str, *, reason: str | None = None,
            language: str = "en") -> Story:
    """Tell a vehicle's whole story under the regulations of the lake.

    Args:
        lake: the lake.
        vehicle: a vehicle id, or a plate (``plate/colour`` where it is ambiguous), which needs the
            right to read ``restricted/`` and is audited.
        reason: why, for the audit.
        language: of the sentences, ``en`` or ``zh``.

    Raises:
        UsageError: no such vehicle, or language.
        PolicyRefusal: a plate without the right.
    """
    lake = lake.pinned()
    said = phrases(language, lake.timezone, words(language).values)
    ids = resolve_vehicle(lake, vehicle, reason=reason)
    wanted = pl.col("vehicle_id").is_in(ids)
    passes = current_passes(lake).filter(wanted).collect(engine="streaming").sort(
        "vehicle_id", "measured_at", "record_id")
    if passes.is_empty():
        raise UsageError("no such vehicle in the lake", found="no pass of it",
                         remedy="Take a vehicle_id from the findings or from `rsd query`.")
    passes = passes.with_columns(_reason_lists(passes))
    inspections = passed_inspections(lake).filter(wanted).collect().sort("inspected_at")
    regulations = regulations_of(lake)
    told = [_told(passes, r, s, inspections, said) for r in regulations for s in r.subjects]
    rows = pl.concat(told).sort("measured_at", "record_id", "regulation_id", "pollutant")
    trail.record(lake, "explain", {"vehicles": ids, "rows": rows.height, "plates": False},
                 reason=reason)
    return Story(ids, rows, findings_of(lake).filter(wanted), lake.timezone, inspections,
                 regulations, said)


def _reason_lists(passes: pl.DataFrame) -> pl.Series:
    lists = [reasons.codes(bits or 0) for bits in passes["reason_bits"]]
    return pl.Series("reasons", lists, pl.List(pl.String))


def _told(passes: pl.DataFrame, regulation: Regulation, subject: str, inspections: pl.DataFrame,
          said: Phrases) -> pl.DataFrame:
    """Return the verdicts of one regulation for one subject, with the story of each."""
    is_judged = passes.select(judge.verdict(regulation, subject).alias("exceeds"))["exceeds"]
    value = (pl.lit(None, dtype=pl.Float64) if subject == NO_POLLUTANT
             else pl.col(MEASURED_VALUE[subject][0]))
    rows = passes.with_columns(exceeds=is_judged, value=value,
                               vehicle=pl.col("vehicle_id").rle_id()).with_row_index("at")
    is_limited = rows.select(
        judge.stated(regulation, subject, "kind").is_not_null()).to_series().to_list()
    steps: dict[int, Note] = {}
    for one in rows.partition_by("vehicle", maintain_order=True):
        walked = one.filter(pl.col("exceeds").is_not_null())
        own = inspections.filter(pl.col("vehicle_id") == one["vehicle_id"][0]).select(
            pl.lit(one["vehicle"][0]).cast(pl.UInt32).alias("vehicle"), "inspected_at",
            "inspected_until")
        context = Context(said.zone.key, own)
        told = zip(walked["at"], story.tell(regulation, subject, walked, context), strict=True)
        # a verb of all pollutants walks over records of days without a limit of this one
        steps |= {at: note for at, note in told if is_limited[at]}
    sentences, keys = [], []
    for at, record in enumerate(rows.iter_rows(named=True)):
        note = steps.get(at)
        keys.append(None if note is None else note.key)
        sentences.append(said.step(note) if note is not None else said.why(
            story.why(regulation, subject, record) or [Note("other_pollutant")]))
    clauses = [said.clause(c) for c in rows.select(
        judge.stated(regulation, subject, "clause").cast(pl.String)).to_series()]
    return _verdicts(rows, regulation, subject, pl.Series("step", keys, pl.String),
                     pl.Series("story", sentences, pl.String),
                     pl.Series("clause", clauses, pl.String))


def _verdicts(rows: pl.DataFrame, regulation: Regulation, subject: str, step: pl.Series,
              told: pl.Series, clause: pl.Series) -> pl.DataFrame:
    unit = None if subject == NO_POLLUTANT else MEASURED_VALUE[subject][1]
    return rows.select(
        *_SHOWN,
        pl.lit(regulation.id).alias("regulation_id"),
        pl.lit(subject).alias("pollutant"),
        "value",
        judge.stated(regulation, subject, "value").cast(pl.Float64).alias("limit"),
        pl.lit(unit, dtype=pl.String).alias("unit"),
        _verdict(regulation, subject).alias("verdict"),
        step, told, clause,
        *_BESIDE,
    )


def _verdict(regulation: Regulation, subject: str) -> pl.Expr:
    """Return the verdict on a record in a word."""
    if subject == NO_POLLUTANT:
        return (pl.when(pl.col("exceeds")).then(pl.lit("in a group"))
                .when(pl.col("exceeds").not_()).then(pl.lit("in no group"))
                .otherwise(pl.lit("not judged")))
    return (
        pl.when(~judge.applies(regulation, subject)).then(pl.lit("not judged"))
        .when(pl.col(MEASURED_VALUE[subject][0]).is_null()).then(pl.lit("not measured"))
        .when(~judge.tested(regulation, subject)).then(pl.lit("not valid"))
        .when(judge.exceeds(regulation, subject)).then(pl.lit("exceeds"))
        .otherwise(pl.lit("within the limit"))
    )
