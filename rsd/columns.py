"""Every column of every table, once: name, type, unit, range, meaning, source.

`REPORTED` is what intake makes of a dump (plates in clear, local clock), `PASSES` what the lake
keeps of a pass, the others are the tables beside it. Types are those of Polars; every measured
quantity is Float64, because a limit compared in another width flips verdicts.
"""

from __future__ import annotations

import polars as pl

from rsd.column import (
    CONCENTRATIONS,
    DERIVED_FROM,
    FUELS,
    MEASURED_VALUE,
    MOTION,
    PHOTOS,
    PLATE_COLORS,
    POLLUTANTS,
    RATIOS,
    REPORTED_G_KG,
    VALIDITY,
    VEHICLE_CLASSES,
    WEATHER,
    Column,
    Type,
)
from rsd.column import flag as _flag
from rsd.column import label as _label
from rsd.column import real as _real
from rsd.column import text as _text
from rsd.physics.exhaust import CONVENTIONS

__all__ = [
    "CALENDAR", "DERIVED_FROM", "EVIDENCE", "FINDINGS", "FUELS", "INSPECTIONS",
    "MEASURED_VALUE", "OPEN_TABLES",
    "PASSES", "PLATE_COLORS", "POLLUTANTS", "QUARANTINE", "REPLICATES", "REPORTED",
    "RESTRICTED_TABLES", "REVIEWS", "RUNS", "SEGMENTS", "SITES", "TABLES", "VALIDITY", "VEHICLES",
    "VEHICLE_CLASSES", "Column", "Type", "empty", "schema", "travelling",
]

_T = pl.Datetime("us")
_UTC = pl.Datetime("us", "UTC")

_AS_REPORTED = (
    _label("plate_type", "plate type, GA 24.7"),
    _label("vehicle_type", "vehicle type as it came (GA 24.4 or the vendor's)"),
    _label("fuel_reported", "one of FUELS, from the dump", FUELS),
    Column("emission_stage_reported", pl.Int8, "", "emission stage 0 to 6, from the dump"),
    Column("first_registered_reported", pl.Date, "", "first registration, from the dump"),
    _label("use_reported", "use of the vehicle, from the dump"),
    _label("vehicle_class_reported", "one of VEHICLE_CLASSES, from the dump's vehicle type; null "
           "in what was stored before this column", VEHICLE_CLASSES),
    _flag("is_device_valid", "the instrument's verdict; null where it says nothing"),
    _text("device_reason", "the instrument's reason for an invalid record, untouched"),
)

REPORTED: tuple[Column, ...] = (
    _text("record_id", "the instrument's number of the record; null where blank"),
    _label("site_id", "the instrument's place; never null"),
    _label("line_id", "measuring line or instrument"),
    _label("lane", "lane"),
    Column("measured_local", _T, "", "time of the pass on the clock of the lake's zone; not null"),
    _flag("is_second_hour", "which of two equal local times; null where the dump cannot tell"),
    _text("plate", "plate, normalised; null where unreadable"),
    _text("plate_raw", "the plate as it came, where it is unreadable"),
    _label("plate_color", "one of PLATE_COLORS", PLATE_COLORS),
    *_AS_REPORTED,
    _label("emission_standard", "emission standard as it came"),
    *MOTION,
    *RATIOS,
    *CONCENTRATIONS,
    _real("co2_raw_pct", "%", "CO2 measured in the beam, plume strength"),
    *REPORTED_G_KG,
    *WEATHER,
    _real("plate_confidence_pct", "%", "confidence of the plate reading", 0, 100),
    *PHOTOS,
    _text("video_1", "reference of a video"),
    _text("raw_time", "the time as it came, where it was repaired"),
    Column("intake_bits", pl.Int64, "", "reason codes that intake set"),
    Column("source_line", pl.Int64, "", "physical line in the source, the header is 1"),
)

PASSES: tuple[Column, ...] = (
    _text("record_id", "key of the pass"),
    _label("site_id", "the instrument's place"),
    _label("line_id", "measuring line or instrument"),
    _label("lane", "lane"),
    _label("road_segment", "road segment, from the site list; the site where it has none"),
    Column("measured_at", _UTC, "", "instant of the pass"),
    Column("date", pl.Date, "", "date in the lake's time zone"),
    Column("hour", pl.Int8, "h", "hour in the lake's time zone", 0, 23),
    _text("vehicle_id", "keyed pseudonym of plate and plate colour; null without a plate"),
    _label("plate_color", "one of PLATE_COLORS", PLATE_COLORS),
    _label("vehicle_class", "one of VEHICLE_CLASSES; the registry first, then the dump",
           VEHICLE_CLASSES),
    _label("fuel", "one of FUELS; the registry first, then the dump", FUELS),
    Column("emission_stage", pl.Int8, "", "emission stage 0 to 6", 0, 6),
    _label("emission_standard", "emission standard as it came"),
    Column("first_registered", pl.Date, "", "first registration"),
    _label("use", "use of the vehicle"),
    _flag("is_local", "plate of the lake's own city"),
    *MOTION,
    _real("vsp_kw_t", "kW/t", "specific power, own computation"),
    *RATIOS,
    *CONCENTRATIONS,
    _real("co2_raw_pct", "%", "CO2 measured in the beam, plume strength"),
    _real("co_g_kg", "g/kg", "CO per kg fuel"),
    _real("hc_g_kg", "g/kg", "HC per kg fuel"),
    _real("no_g_kg", "g/kg", "NO per kg fuel, in the mass that the convention names"),
    _real("no2_g_kg", "g/kg", "NO2 per kg fuel"),
    _real("nox_g_kg", "g/kg", "NOx as NO2 per kg fuel"),
    _real("nh3_g_kg", "g/kg", "NH3 per kg fuel"),
    _label("convention", "named g/kg convention", tuple(CONVENTIONS)),
    _label("nox_source", "measured, imputed, or null", ("measured", "imputed")),
    _label("derived_from", "how concentrations or ratios were derived where the file lacked them",
           DERIVED_FROM),
    *REPORTED_G_KG,
    *WEATHER,
    _real("plate_confidence_pct", "%", "confidence of the plate reading", 0, 100),
    _flag("is_valid", "device verdict, motion and weather allow the record"),
    *(_flag(f"is_valid_{p}", f"the record and its {p} may be used") for p in VALIDITY),
    Column("reason_bits", pl.Int64, "", "reason codes as a bit mask (rsd.reasons)"),
    *_AS_REPORTED,
    _flag("is_site_slope", "slope_deg is the site's, the record had none; null in what was stored "
          "before this column"),
    _flag("is_current", "false for a version that a later correction replaced"),
    _label("source_sha256", "hash of the source file's bytes"),
    Column("source_line", pl.Int64, "", "physical line in the source, the header is 1"),
)

EVIDENCE: tuple[Column, ...] = (
    _text("record_id", "key of the pass"),
    _text("source_sha256", "hash of the source file's bytes"),
    Column("source_line", pl.Int64, "", "physical line in the source"),
    _text("plate_raw", "the plate as it came, where it is unreadable"),
    *PHOTOS,
    _text("video_1", "reference of a video"),
    _text("raw_time", "the time as it came, where it was repaired"),
)
"""One row a pass that has any of these; what names no vehicle stands in `PASSES`."""

QUARANTINE: tuple[Column, ...] = (
    _text("source_sha256", "hash of the source file's bytes"),
    _text("file", "name of the source file"),
    Column("line", pl.Int64, "", "physical line, the header is 1"),
    Column("byte_offset", pl.Int64, "byte", "offset of the record in the unpacked source"),
    _text("reason", "why the record cannot be used"),
    _text("column", "the column, where one is to blame"),
    Column("raw", pl.Binary, "", "the record's exact bytes"),
)

SITES: tuple[Column, ...] = (
    _text("site_id", "the instrument's place"),
    _text("name", "name of the place"),
    _label("road_segment", "road segment"),
    _real("lon", "degree", "longitude as given"),
    _real("lat", "degree", "latitude as given"),
    _text("crs", "wgs84, gcj02, bd09 or cgcs2000; null without coordinates"),
    _real("slope_deg", "degree", "slope of the road"),
    _real("lon_wgs84", "degree", "longitude, WGS-84"),
    _real("lat_wgs84", "degree", "latitude, WGS-84"),
)

SEGMENTS: tuple[Column, ...] = (
    _text("segment_id", "road segment"),
    _text("name", "name of the segment"),
    _real("length_m", "m", "length on the ground"),
    _text("geometry", "LineString as GeoJSON text, WGS-84"),
)

VEHICLES: tuple[Column, ...] = (
    _text("vehicle_id", "keyed pseudonym"),
    _text("plate", "plate"),
    _text("plate_color", "one of PLATE_COLORS"),
    _label("plate_type", "plate type, GA 24.7, from the registry"),
    _text("vehicle_class", "from the registry; null where it has none"),
    _label("vehicle_type", "vehicle type as the registry gave it"),
    _text("fuel", "from the registry; null where it has none"),
    Column("emission_stage", pl.Int8, "", "from the registry"),
    Column("first_registered", pl.Date, "", "from the registry"),
    _label("use", "from the registry"),
    _flag("is_registered", "stands in the registry"),
    _text("former_id", "pseudonym under the key of before, as long as it is still answered to"),
)

RUNS: tuple[Column, ...] = (
    _text("run_id", "one run of ingest"),
    Column("started_at", _UTC, "", "start of the run"),
    _text("file", "name of the source file, without its folder"),
    _text("sha256", "hash of its bytes"),
    _text("format", "format id"),
    Column("records", pl.Int64, "", "records in the file"),
    Column("accepted", pl.Int64, "", "stored as passes"),
    Column("quarantined", pl.Int64, "", "kept in quarantine"),
    Column("duplicates", pl.Int64, "", "already known, or twice in the file"),
    Column("duplicates_in_file", pl.Int64, "", "of these, those that stand earlier in the file"),
    Column("duplicates_earlier", pl.Int64, "", "of these, those known from another file only"),
    Column("corrected", pl.Int64, "", "of the accepted, those that replace an earlier version"),
    Column("replicates", pl.Int64, "", "of the accepted, those that another instrument recorded "
           "too, by the end of the run"),
    Column("blank", pl.Int64, "", "blank lines"),
    _text("state", "done, already or refused"),
    _text("error", "why it was refused"),
    _text("version", "version of rsd"),
)

REPLICATES: tuple[Column, ...] = (
    _text("record_id", "key of the pass"),
    _text("replicate_id", "the event: the record_id of its earliest pass"),
    Column("n_instruments", pl.Int64, "", "instruments that recorded the event, 2 or more"),
    Column("n_passes", pl.Int64, "", "passes of the event"),
    _text("vehicle_id", "keyed pseudonym"),
    _text("site_id", "the instrument's place"),
    _text("line_id", "measuring line or instrument"),
    Column("measured_at", _UTC, "", "instant of the pass"),
)
"""View: one row a pass that another instrument recorded too. No table: it follows `PASSES`."""

FINDINGS: tuple[Column, ...] = (
    _text("regulation_id", "regulation"),
    _text("kind", "violation, screening, registration or clean"),
    _text("pollutant", "one of POLLUTANTS; none where a registration is judged"),
    _text("vehicle_id", "keyed pseudonym"),
    _text("plate_color", "one of PLATE_COLORS"),
    _text("vehicle_class", "of the deciding record"),
    _text("fuel", "of the deciding record"),
    Column("emission_stage", pl.Int8, "", "of the deciding record"),
    Column("found_at", _UTC, "", "instant of the deciding record"),
    _text("first_record_id", "first record of the proof"),
    Column("first_measured_at", _UTC, "", "its instant"),
    _real("first_value", "unit", "its value"),
    _text("second_record_id", "second record of the proof; null for a verb that needs one"),
    Column("second_measured_at", _UTC, "", "its instant"),
    _real("second_value", "unit", "its value"),
    _real("limit", "unit", "the limit that applied to the deciding record"),
    _text("unit", "unit of values and limit"),
    Column("exceedances", pl.Int64, "", "the vehicle's exceeding passes up to found_at"),
    Column("passes", pl.Int64, "", "the vehicle's tested passes up to found_at"),
    _label("road_segment", "of the deciding record"),
    _text("clause", "clause behind the verdict"),
    _flag("is_verified", "every number behind the verdict was verified in the law's text"),
    _text("regulation_sha256", "hash of the regulation's file"),
)

REVIEWS: tuple[Column, ...] = (
    Column("seq", pl.Int64, "", "number of the event, 1 is the first"),
    _text("event_id", "SHA-256 of the event and of the one before it: a chain that shows edits"),
    _text("previous_id", "event_id of the event before"),
    _text("finding_id", "hash of the proof that was reviewed (rsd.review.identity)"),
    _text("regulation_id", "regulation"),
    _text("vehicle_id", "keyed pseudonym"),
    _text("pollutant", "one of POLLUTANTS"),
    _text("first_record_id", "first record of the proof"),
    _text("second_record_id", "second record of the proof"),
    _text("regulation_sha256", "hash of the regulation's file"),
    Column("findings_version", pl.Int64, "", "version of the findings that the reviewer saw"),
    _text("action", "what was done"),
    _text("from_state", "state of the review before"),
    _text("to_state", "state of the review after"),
    _text("reviewer", "who decided"),
    _text("entered_by", "user of the system who entered it"),
    Column("at", _UTC, "", "when it was entered"),
    Column("acted_on", pl.Date, "", "local day of the act, as the service of a notice"),
    Column("due", pl.Date, "", "last local day of what must follow"),
    _text("deadline_id", "the deadline behind it; null where a person set it"),
    _text("reason", "why"),
    _text("renamed_to", "the new name of the vehicle, or of the proof where finding_id is given"),
)

CALENDAR: tuple[Column, ...] = (
    Column("date", pl.Date, "", "local day"),
    _flag("is_working_day", "deadlines in working days count it"),
    _text("name", "holiday, or why a weekend is worked"),
)

INSPECTIONS: tuple[Column, ...] = (
    _text("vehicle_id", "keyed pseudonym"),
    Column("inspected_at", _UTC, "", "instant of the inspection; of a bare date its first one"),
    _flag("is_whole_day", "only the local date is known"),
    _text("result", "passed or failed"),
    _text("source_sha256", "hash of the file that it was first given in"),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "passes": PASSES,
    "sites": SITES,
    "segments": SEGMENTS,
    "findings": FINDINGS,
    "runs": RUNS,
    "vehicles": VEHICLES,
    "evidence": EVIDENCE,
    "quarantine": QUARANTINE,
    "calendar": CALENDAR,
    "inspections": INSPECTIONS,
    "reviews": REVIEWS,
}
"""Table name → its columns, as stored."""

OPEN_TABLES = ("passes", "sites", "segments", "findings", "runs", "calendar", "inspections")
RESTRICTED_TABLES = ("vehicles", "evidence", "quarantine", "reviews")


def schema(columns: tuple[Column, ...]) -> pl.Schema:
    """Return the Polars schema of a table's columns.

    >>> schema(SEGMENTS)["length_m"]
    Float64
    """
    return pl.Schema([(c.name, c.dtype) for c in columns])


def travelling(columns: tuple[Column, ...]) -> pl.Schema:
    """Return the types in which columns travel from intake to the file.

    A text of few values costs a fraction as a number beside a dictionary; stored is the text.

    >>> travelling(PASSES)["fuel"] == pl.Enum(FUELS), schema(PASSES)["fuel"]
    (True, String)
    """
    return pl.Schema([(c.name, c.dtype if c.travels is None else c.travels) for c in columns])


def empty(columns: tuple[Column, ...]) -> pl.DataFrame:
    """Return a frame with a table's columns and no row.

    >>> empty(QUARANTINE).shape
    (0, 7)
    """
    return pl.DataFrame(schema=schema(columns))
