"""One dump → reported passes with vehicle ids and record ids, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from rsd.columns import QUARANTINE, REPORTED, empty, schema
from rsd.intake.records import Reader
from rsd.intake.source import Source
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.summary import FileSummary
from rsd.reasons import mask

PREPARED = pl.Schema([*schema(REPORTED).items(), ("vehicle_id", pl.String),
                      ("source_sha256", pl.String)])
"""Columns of a prepared frame: REPORTED and two keys."""

CONTENT = [n for n in PREPARED.names() if n not in ("source_line", "source_sha256", "plate")]
"""Columns that make the content of a record: two with the same id and content are one."""

_SHAPE = ("site_id", "measured_local", "speed_km_h", "acceleration_m_s2", "co_co2", "hc_co2",
          "no_co2", "no2_co2")
_PLATE_TYPE_COLOR = {"01": "yellow", "02": "blue"}


@dataclass
class Prepared:
    """A dump that is being read: its account grows with every chunk."""

    source: Source
    reader: Reader
    summary: FileSummary
    quarantine: list[pl.DataFrame] = field(default_factory=list)
    ids: list[pl.Series] = field(default_factory=list)
    _colors: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def open(cls, source: Source, summary: FileSummary, timezone: str,
             format_id: str | None) -> Prepared:
        """Open a dump and recognise its format; InputRefused as `Reader` says."""
        reader = Reader(source, timezone, format_id)
        summary.format, summary.ignored_columns = reader.format.id, reader.layout.ignored
        return cls(source, reader, summary)

    def frames(self, book: PlateBook) -> Iterator[pl.DataFrame]:
        """Yield prepared frames of the accepted records, exact repeats of a chunk taken out."""
        plates = self.reader.format.plates
        for records in self.reader:
            reported = records.frame
            if plates == "none":
                reported = _mark_near_repeats(reported)
            frame = book.assign(reported, plates).with_columns(
                source_sha256=pl.lit(self.source.sha256))
            frame = with_record_ids(frame).select(PREPARED.names())
            self.summary.records += frame.height + records.quarantine.height
            self.summary.quarantined += records.quarantine.height
            self.summary.blank += records.blank
            if records.quarantine.height:
                self.quarantine.append(records.quarantine)
            self._count_colors(frame)
            kept = drop_repeats(frame)
            self.ids.append(kept["record_id"].hash())
            self.summary.duplicates += frame.height - kept.height
            self.summary.accepted += kept.height
            yield kept

    def quarantined(self) -> pl.DataFrame:
        """Return what was quarantined so far."""
        return pl.concat(self.quarantine) if self.quarantine else empty(QUARANTINE)

    def _count_colors(self, frame: pl.DataFrame) -> None:
        counts = frame.filter(pl.col("plate_type").is_in(list(_PLATE_TYPE_COLOR))).group_by(
            "plate_type", "plate_color").len()
        for kind, color, number in counts.iter_rows():
            self._colors[kind, color] += number

    def note_contradictions(self) -> None:
        """Report a plate-colour numbering that contradicts the plate types of the file."""
        for kind, expected in _PLATE_TYPE_COLOR.items():
            colors = {c: n for (k, c), n in self._colors.items() if k == kind}
            total = sum(colors.values())
            if total < 20:
                continue
            most = max(colors, key=lambda c: colors[c])
            if most != expected:
                self.summary.notices.append(
                    f"plate colours contradict plate types: of {total} records with plate type "
                    f"{kind}, {colors[most]} are {most}, where {expected} is expected. The file "
                    "may number colours from 1; check the format before anyone is judged by it.")


def with_record_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill blank record ids from site, line, time and vehicle.

    Without a vehicle the readings stand in its place, so that two unreadable plates of one second
    stay two records and the same record sent again is known.
    """
    if not frame["record_id"].null_count():
        return frame
    readings = pl.concat_str(
        [pl.col(c).cast(pl.String) for c in ("speed_km_h", "co_pct", "no_ppm", "co_co2", "no_co2",
                                             "opacity_pct")], separator="_", ignore_nulls=True)
    derived = pl.concat_str(
        [pl.col("site_id"), pl.col("line_id").fill_null(""),
         pl.col("measured_local").dt.strftime("%Y%m%d%H%M%S%3f"),
         pl.coalesce(pl.col("vehicle_id").str.slice(-12), readings)], separator="-")
    return frame.with_columns(record_id=pl.coalesce("record_id", derived))


def drop_repeats(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame without records that stand earlier in it with the same id and content."""
    ids = frame["record_id"].hash()
    if ids.n_unique() == ids.len():
        return frame
    twice = frame.filter(ids.is_duplicated())
    repeats = twice.filter(~pl.struct(CONTENT).is_first_distinct())
    if repeats.is_empty():
        return frame
    keys = repeats.select("source_sha256", "source_line")
    return frame.join(keys, on=keys.columns, how="anti", maintain_order="left")


def _mark_near_repeats(reported: pl.DataFrame) -> pl.DataFrame:
    is_near = pl.struct(_SHAPE).is_duplicated() & pl.col("co_co2").is_not_null()
    bits = pl.col("intake_bits") | pl.when(is_near).then(mask("DUP_NEAR")).otherwise(0)
    return reported.with_columns(intake_bits=bits)
