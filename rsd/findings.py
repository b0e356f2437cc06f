"""Law over the history of vehicles: passes → findings with the records that prove them.

A finding is the first time (a clean vehicle's: the latest) that a vehicle fulfils a regulation's
verb for a pollutant; a violation stands before what only asks for a closer look. It is computed
from all passes of the vehicle, so that late and corrected data need no special case; what one
vehicle did says nothing about another, so any set of vehicles can be computed by itself.

What makes that fast is exact: a vehicle with fewer exceedances than the verb needs cannot have a
finding. One streaming pass counts what may exceed, and only the readings of the few vehicles left
are read, in parts once they are many, sorted and looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from rsd.columns import FINDINGS, MEASURED_VALUE, empty, schema
from rsd.errors import UsageError
from rsd.law import judge
from rsd.law.decide import decide
from rsd.law.rules import NO_POLLUTANT, Regulation
from rsd.law.verbs import Context
from rsd.storage.buckets import Buckets

ORDER = ("found_at", "vehicle_id", "pollutant", "regulation_id")
"""How findings are ordered."""

REVISION = 2
"""One more whenever the same passes and law give other findings than before."""

COUNTED_ROWS = 64_000_000
"""Passes whose exceedances are counted at a time: it bounds the vehicles that are held."""

HELD_ROWS = 400_000
"""Readings that are held in memory; beyond them they are put aside and looked at part by part."""

SHORT = 100_000
"""Vehicles up to which those that are asked for are all looked at, and not counted first; and up to
which the readings that are wanted are few among those that are read."""

_BATCH_ROWS = 131_072
_UTC = pl.Datetime("us", "UTC")
_WALK = ("vehicle_id", "measured_at", "record_id")
_KEPT = ("vehicle_id", "record_id", "measured_at", "date", "plate_color", "vehicle_class", "fuel",
         "emission_stage", "road_segment")


@dataclass(frozen=True)
class _Question:
    """One regulation and what it finds of: a pollutant, or `NO_POLLUTANT`."""

    number: int
    regulation: Regulation
    subject: str

    @property
    def least(self) -> int:
        """A vehicle with fewer exceedances can have no finding."""
        return self.regulation.verb.settings.least_exceedances

    @property
    def exceeds(self) -> str:
        """The name of the verdict in the frames that all questions share."""
        return f"exceeds_{self.number}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of a pass that are read once the verdict is known."""
        measured = ("first_registered",) if self.subject == NO_POLLUTANT else (
            MEASURED_VALUE[self.subject][0],)
        return (*measured, *self.regulation.how.reads)

    @property
    def value(self) -> pl.Expr:
        """The value that is judged; null where none is."""
        if self.subject == NO_POLLUTANT:
            return pl.lit(None, dtype=pl.Float64)
        return pl.col(MEASURED_VALUE[self.subject][0])

    def verdict(self) -> pl.Expr:
        """The verdict on a record, null where there is none."""
        return judge.verdict(self.regulation, self.subject)

    def may_exceed(self) -> pl.Expr:
        """What every record with a verdict of true fulfils, and few others; reads few columns."""
        if self.regulation.how.subject != "each pollutant":
            return self.verdict()
        limits = [period.limit(self.subject) for period in self.regulation.periods]
        least = min(limit.value for limit in limits if limit is not None)
        usable = pl.col("is_valid") & pl.col(f"is_valid_{self.subject}") & (self.value >= least)
        fuels = self.regulation.scope.fuels
        return usable & pl.col("fuel").is_in(fuels) if fuels else usable


def find(
    passes: pl.LazyFrame,
    regulations: Sequence[Regulation],
    *,
    timezone: str,
    inspections: pl.LazyFrame | None = None,
    vehicles: pl.Series | None = None,
    pieces: Sequence[pl.LazyFrame] = (),
    scratch: Path | None = None,
) -> pl.DataFrame:
    """Return the findings of some regulations, in the columns FINDINGS.

    ``passes``: the columns of PASSES, one row a pass, corrections already resolved; a null
    ``vehicle_id`` is never judged. ``timezone``: the lake's zone, in which windows are counted.
    ``inspections``: passed inspections and re-tests, ``vehicle_id`` and ``inspected_at`` (an
    instant), and ``inspected_until`` where only a span is known that it was in; used by verbs that
    reset on inspection. ``vehicles``: only the findings of these
    vehicle_ids. ``pieces``: the same passes once more, cut into pieces of some 500,000: where most
    of them are wanted, the engine reads ahead of what can be put aside, and pieces bound that.
    ``scratch``: a folder to make and remove for readings beyond `HELD_ROWS`, by
    default in the system's place for such. One row per vehicle, regulation and pollutant, in the
    order `ORDER`.

    Raises `PolicyRefusal` for a regulation without limits, `UsageError` for an unknown time zone,
    a regulation given twice, or inspections of another shape, `StorageError` for no room.
    """
    made = list(find_parts(passes, regulations, timezone=timezone, inspections=inspections,
                           vehicles=vehicles, pieces=pieces, scratch=scratch))
    return pl.concat([empty(FINDINGS), *made]).sort(ORDER)


def find_parts(
    passes: pl.LazyFrame,
    regulations: Sequence[Regulation],
    *,
    timezone: str,
    inspections: pl.LazyFrame | None = None,
    vehicles: pl.Series | None = None,
    pieces: Sequence[pl.LazyFrame] = (),
    scratch: Path | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the findings of `find` in parts and no order, so that nobody must hold them all.

    Arguments and errors as there.
    """
    _check(regulations, timezone, inspections)
    questions = _questions(regulations)
    context = Context(timezone, None if inspections is None else _instants(inspections))
    for few in (True, False):
        asked = [q for q in questions if (q.least > 0) == few]
        if not asked:
            continue
        is_short = vehicles is not None and vehicles.len() <= SHORT
        chosen = (_suspects(passes, asked, vehicles) if few and not is_short
                  else _hashes(vehicles))
        with Buckets("vehicle_id", scratch, most_rows=HELD_ROWS) as buckets:
            are_many = chosen is None or chosen.len() > SHORT
            _fill(buckets, pieces if pieces and are_many else [passes], asked, chosen)
            for readings in map(_walkable, buckets.frames()):
                for question in asked:
                    yield _only(_answer(readings, question, context), vehicles)


def _only(found: pl.DataFrame, vehicles: pl.Series | None) -> pl.DataFrame:
    """Return the findings of these vehicles: others of the same hash were looked at with them."""
    if vehicles is None:
        return found
    return found.join(vehicles.to_frame("vehicle_id"), on="vehicle_id", how="semi")


def marks(passes: pl.LazyFrame, regulations: Sequence[Regulation]) -> pl.DataFrame:
    """Return what tells whether the judged passes of a vehicle are the same in two sets of them.

    One row a vehicle: ``vehicle_id``, ``passes`` and ``mark``, the sum of hashes of all that
    findings are made of. A pass without a verdict is in no verb's sight: it can make or undo no
    finding. Compare marks of one process only.
    """
    questions = _questions(regulations)
    judged = pl.any_horizontal(pl.lit(False), *(q.verdict().is_not_null() for q in questions))
    asked = [c for q in questions for c in judge.columns_read(q.regulation, q.subject)]
    names = dict.fromkeys((*_KEPT, *(c for q in questions for c in q.reads), *asked))
    rows = passes.filter(judged, _named()).select("vehicle_id", mark=pl.struct(*names).hash())
    return rows.group_by("vehicle_id").agg(pl.col("mark").sum(), passes=pl.len()).collect(
        engine="streaming")


def _questions(regulations: Sequence[Regulation]) -> list[_Question]:
    pairs = [(r, s) for r in regulations for s in r.subjects]
    return [_Question(k, r, s) for k, (r, s) in enumerate(pairs)]


def _named() -> pl.Expr:
    return pl.col("vehicle_id").is_not_null()


def _check(regulations: Sequence[Regulation], timezone: str,
           inspections: pl.LazyFrame | None) -> None:
    for regulation in regulations:
        regulation.require_runnable()
    ids = [r.id for r in regulations]
    if len(set(ids)) < len(ids):
        raise UsageError("a regulation is given twice", found=", ".join(ids),
                         remedy="Give each regulation once.")
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError("the time zone is unknown", found=repr(timezone),
                         expected="an IANA name, for example Asia/Shanghai") from error
    if inspections is not None:
        found = inspections.collect_schema()
        instants = [found.get("inspected_at"), found.get("inspected_until", _UTC)]
        are_instants = all(isinstance(t, pl.Datetime) and t.time_zone for t in instants)
        if "vehicle_id" not in found or not are_instants:
            raise UsageError(
                "the inspections have another shape", found=str(dict(found)),
                expected="columns vehicle_id (text) and inspected_at (instant with time zone)",
            )


def _instants(inspections: pl.LazyFrame) -> pl.DataFrame:
    until = ("inspected_until" if "inspected_until" in inspections.collect_schema()
             else "inspected_at")
    return inspections.select(
        "vehicle_id", *(pl.col(of).dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(name)
                        for name, of in (("inspected_at", "inspected_at"),
                                         ("inspected_until", until)))
    ).drop_nulls().collect(engine="streaming")


def _hashes(vehicles: pl.Series | None) -> pl.Series | None:
    return None if vehicles is None else vehicles.hash().unique()


def _suspects(passes: pl.LazyFrame, questions: list[_Question],
              vehicles: pl.Series | None) -> pl.Series:
    """Return hashes of vehicles, all among them that may have a finding.

    A vehicle too many (a reading that the law's window shuts out, two vehicles of one hash) is
    looked at in vain, nothing else; a hash takes a fifth of an id's memory.
    """
    over = {q.exceeds: q.may_exceed() for q in questions}
    few = passes.filter(pl.any_horizontal(*over.values()), _named()).select(
        pl.col("vehicle_id").hash().alias("_hash"), **over)
    if (wanted := _hashes(vehicles)) is not None:
        few = few.join(wanted.to_frame("_hash").lazy(), on="_hash", how="semi")
    rows = int(passes.select(pl.len()).collect(engine="streaming").item())
    turns = rows // COUNTED_ROWS + 1
    enough = pl.any_horizontal(pl.col(q.exceeds).sum() >= q.least for q in questions)
    return pl.concat(
        few.filter(pl.col("_hash") % turns == turn).group_by("_hash").agg(enough=enough)
        .filter("enough").select("_hash").collect(engine="streaming").to_series()
        for turn in range(turns))


def _fill(buckets: Buckets, pieces: Sequence[pl.LazyFrame], questions: list[_Question],
          chosen: pl.Series | None) -> None:
    """Gather what is judged of the chosen vehicles, or of all.

    ``exceeds_<n>`` is null where question n has nothing to ask of the record.
    """
    reads = [c for q in questions for c in q.reads]
    asked = [c for q in questions for c in judge.columns_read(q.regulation, q.subject)]
    # a condition of the scan itself spares it the other columns of all other vehicles
    wanted = _named() if chosen is None else pl.col("vehicle_id").hash().is_in(chosen.implode())
    verdicts = {q.exceeds: q.verdict() for q in questions}
    is_judged = pl.any_horizontal(pl.col(name).is_not_null() for name in verdicts)
    for passes in pieces:
        few = passes.filter(wanted).select(*dict.fromkeys((*_KEPT, *reads, *asked)))
        rows = few.with_columns(**verdicts).filter(is_judged).select(
            *dict.fromkeys((*_KEPT, *reads)), *verdicts)
        for batch in rows.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=False,
                                          engine="streaming"):
            buckets.add(batch)


def _walkable(readings: pl.DataFrame) -> pl.DataFrame:
    """Return readings in the order that verbs walk them; ``vehicle`` numbers the vehicles."""
    return readings.sort(_WALK).with_columns(vehicle=pl.col("vehicle_id").rle_id())


def _answer(readings: pl.DataFrame, question: _Question, context: Context) -> pl.DataFrame:
    """Answer one question: the findings of one regulation for one subject."""
    walked = readings.filter(pl.col(question.exceeds).is_not_null()).with_columns(
        exceeds=pl.col(question.exceeds), value=question.value)
    here = Context(context.timezone, _of_vehicles(context.inspections, walked))
    proofs = decide(question.regulation, question.subject, walked, here)
    deciding = _rows(walked, proofs, pl.coalesce("second", "first"))
    first, second = (_proof(_rows(walked, proofs, pl.col(place)), question, place)
                     for place in ("first", "second"))
    found = pl.concat([deciding, first, second, proofs.select("kind")], how="horizontal")
    counts = _counts(walked, deciding.select("vehicle", found_at="measured_at"))
    # a verb of all pollutants finds for those alone that its records were judged by
    is_judged = pl.col("first_is_limited") & pl.col("second_is_limited")
    return found.filter(is_judged).join(counts, on="vehicle").select(_columns(question))


def _of_vehicles(inspections: pl.DataFrame | None, walked: pl.DataFrame) -> pl.DataFrame | None:
    """Return the inspections of the vehicles of a frame by their number."""
    if inspections is None:
        return None
    numbers = walked.select("vehicle_id", "vehicle").unique()
    return inspections.join(numbers, on="vehicle_id").drop("vehicle_id")


def _rows(walked: pl.DataFrame, proofs: pl.DataFrame, number: pl.Expr) -> pl.DataFrame:
    """Return the readings with these row numbers; a row of nulls for a null."""
    return walked.select(pl.all().gather(proofs.select(number).to_series()))


def _proof(rows: pl.DataFrame, question: _Question, place: str) -> pl.DataFrame:
    """Name the columns of a record of proof by its place; all null for a null row."""
    verified, kind = (judge.stated(question.regulation, question.subject, name)
                      for name in ("verified", "kind"))
    return rows.select(
        pl.col("record_id").alias(f"{place}_record_id"),
        pl.col("measured_at").alias(f"{place}_measured_at"),
        pl.col("value").alias(f"{place}_value"),
        verified.alias(f"{place}_verified"),
        (kind.is_not_null() | pl.col("record_id").is_null()).alias(f"{place}_is_limited"),
    )


def _counts(walked: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Count each found vehicle's judged and exceeding passes up to and including found_at."""
    before = walked.join(found, on="vehicle").filter(pl.col("measured_at") <= pl.col("found_at"))
    return before.group_by("vehicle").agg(
        passes=pl.len().cast(pl.Int64), exceedances=pl.col("exceeds").sum().cast(pl.Int64))


def _columns(question: _Question) -> list[pl.Expr]:
    """Spell the columns FINDINGS over deciding record, proof and counts."""
    regulation, subject = question.regulation, question.subject
    verified = pl.col("first_verified") & pl.col("second_verified").fill_null(True)
    told = {"limit": "value", "unit": "unit", "clause": "clause"}
    made = {
        **{column: judge.stated(regulation, subject, name) for column, name in told.items()},
        "regulation_id": pl.lit(regulation.id),
        "pollutant": pl.lit(subject),
        "found_at": pl.col("measured_at"),
        "is_verified": verified & regulation.verb.verified,
        "regulation_sha256": pl.lit(regulation.sha256),
    }
    return [made.get(name, pl.col(name)).cast(dtype).alias(name)
            for name, dtype in schema(FINDINGS).items()]
