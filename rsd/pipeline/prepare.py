"""One dump → reported passes with vehicle ids and record ids, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl

from rsd.columns import PASSES, QUARANTINE, REPORTED, empty, travelling
from rsd.errors import InputRefused
from rsd.intake.format_file import Format
from rsd.intake.ranges import Doubt, RangeProfile
from rsd.intake.records import Reader
from rsd.intake.source import Source
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.summary import FileSummary
from rsd.reasons import mask

PREPARED = pl.Schema([*travelling(REPORTED).items(), ("vehicle_id", pl.String()),
                      ("source_sha256", travelling(PASSES)["source_sha256"]),
                      ("registry_row", pl.UInt32())])
"""Columns of a prepared frame: REPORTED, two keys, and where the registry knows the vehicle."""

CONTENT = [n for n in PREPARED.names()
           if n not in ("source_line", "source_sha256", "plate", "registry_row")]
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
    profile: RangeProfile
    refuse_doubtful_units: bool = False
    doubts: list[Doubt] = field(default_factory=list)
    quarantine: list[pl.DataFrame] = field(default_factory=list)
    ids: list[pl.Series] = field(default_factory=list)
    _colors: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def open(cls, source: Source, summary: FileSummary, timezone: str,
             format_id: str | None, *, refuse_doubtful_units: bool = False) -> Prepared:
        """Open a dump and recognise its format; InputRefused as `Reader` says."""
        reader = Reader(source, timezone, format_id)
        summary.format, summary.ignored_columns = reader.format.id, reader.layout.ignored
        return cls(source, reader, summary, RangeProfile.of(reader.layout),
                   refuse_doubtful_units)

    def frames(self, book: PlateBook) -> Iterator[pl.DataFrame]:
        """Yield prepared frames of the accepted records, exact repeats of a chunk taken out.

        Raises InputRefused after the last one where a unit is in doubt and the policy refuses that.
        """
        plates = self.reader.format.plates
        for records in self.reader:
            reported = records.frame
            self.profile.add(reported)
            if plates == "none":
                reported = _mark_near_repeats(reported)
            frame = book.assign(reported, plates).with_columns(
                source_sha256=pl.lit(self.source.sha256, PREPARED["source_sha256"]))
            frame = with_record_ids(_told_apart(frame, self.reader.format)).select(PREPARED.names())
            self.summary.records += frame.height + records.quarantine.height
            self.summary.quarantined += records.quarantine.height
            self.summary.blank += records.blank
            if records.quarantine.height:
                self.quarantine.append(records.quarantine)
            self._count_colors(frame)
            kept = drop_repeats(frame)
            self.ids.append(kept["record_id"].hash())
            self.summary.count_duplicates(in_file=frame.height - kept.height)
            self.summary.accepted += kept.height
            yield kept
        self._judge_units()

    def quarantined(self) -> pl.DataFrame:
        """Return what was quarantined so far."""
        return pl.concat(self.quarantine) if self.quarantine else empty(QUARANTINE)

    def _count_colors(self, frame: pl.DataFrame) -> None:
        counts = frame.filter(pl.col("plate_type").is_in(list(_PLATE_TYPE_COLOR))).group_by(
            "plate_type", "plate_color").len()
        for kind, color, number in counts.iter_rows():
            self._colors[kind, color] += number

    def _judge_units(self) -> None:
        self.doubts = self.profile.findings()
        self.profile.clear()  # it holds on to the frames
        if self.doubts and self.refuse_doubtful_units:
            raise InputRefused(
                "units are in doubt", where=self.source.name, found=" ".join(map(str, self.doubts)),
                expected="columns in the units that the format declares",
                remedy="Correct file or format; or take it as it is, with the doubt as a notice, "
                       "by refuse_doubtful_units = false.")

    def note_contradictions(self) -> None:
        """Report units in doubt, and plate colours that contradict the plate types of the file."""
        self.summary.notices += [f"unit in doubt: {d}" for d in self.doubts]
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


def _told_apart(frame: pl.DataFrame, fmt: Format) -> pl.DataFrame:
    """Return the frame with running numbers made ids that no other source's numbers meet.

    A number that every instrument begins at 1 would else "correct" another one's record.
    """
    if not fmt.record_id_within:
        return frame
    parts = [pl.lit(fmt.id)]
    if fmt.record_id_within == "day":
        parts += [pl.col("site_id"), pl.col("line_id").fill_null(""),
                  pl.col("measured_local").dt.strftime("%Y%m%d")]
    own = pl.concat_str(*parts, "record_id", separator="-")  # null where the number is blank
    return frame.with_columns(record_id=own)


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
    found = repeats(frame)
    if found.is_empty():
        return frame
    keys = ["source_sha256", "source_line"]
    return frame.join(found, on=keys, how="anti", maintain_order="left")


def repeats(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``source_sha256, source_line, in_file`` of records that stand earlier in the frame.

    ``in_file``: one of the same file does.
    """
    ids = frame["record_id"].hash()
    suspects = frame.clear() if ids.n_unique() == ids.len() else frame.filter(ids.is_duplicated())
    judged = suspects.select(
        "source_sha256", "source_line", is_repeat=~pl.struct(CONTENT).is_first_distinct(),
        in_file=~pl.struct(*CONTENT, "source_sha256").is_first_distinct())
    return judged.filter("is_repeat").drop("is_repeat")


def _mark_near_repeats(reported: pl.DataFrame) -> pl.DataFrame:
    is_near = pl.struct(_SHAPE).is_duplicated() & pl.col("co_co2").is_not_null()
    bits = pl.col("intake_bits") | pl.when(is_near).then(mask("DUP_NEAR")).otherwise(0)
    return reported.with_columns(intake_bits=bits)
