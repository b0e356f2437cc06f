"""The evidence of each finding, joined at export: what its proof records say, and what is missing.

A finding names one or two records of proof. Their values, checks, weather, power, place,
photographs and source are read from the passes (only those records) and stand behind the columns
of the list, each with ``first_`` or ``second_`` before its name. What cannot be had is named in
``evidence_missing``; a finding is never dropped for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from rsd.column import Column, flag, real, text
from rsd.columns import EVIDENCE, MEASURED_VALUE, PASSES, SITES
from rsd.reasons import REASONS

PLACES = ("first", "second")
"""The records of proof that a finding names, in their order."""

_LIST = pl.List(pl.String)
_OF_PASSES = {column.name: column for column in PASSES}
_VALUES = tuple(name for name, _ in MEASURED_VALUE.values())
_WEATHER = ("air_temperature_c", "relative_humidity_pct", "pressure_kpa", "wind_speed_m_s")
_MOTION = ("speed_km_h", "acceleration_m_s2", "vsp_device_kw_t", "vsp_kw_t")

PROOF: tuple[Column, ...] = (
    Column("measured_local", pl.Datetime("us"), "", "clock of the lake's time zone at the pass"),
    real("limit", "unit", "the limit in force on the day of the pass"),
    text("clause", "clause of that limit"),
    real("excess_ratio", "", "value divided by that limit"),
    _OF_PASSES["is_valid"],
    flag("is_valid_pollutant", "the record and the finding's pollutant may be used"),
    _OF_PASSES["is_device_valid"],
    _OF_PASSES["device_reason"],
    Column("reasons", _LIST, "", "reason codes of the pass (see rsd.reasons)"),
    _OF_PASSES["site_id"],
    text("site_name", "name of the place, from the site list"),
    _OF_PASSES["line_id"],
    _OF_PASSES["lane"],
    *(column for column in SITES if column.name in ("lon_wgs84", "lat_wgs84")),
    _OF_PASSES["slope_deg"],
    Column("device_checked_at", pl.Datetime("us", "UTC"), "",
           "last check of the instrument before the pass"),
    text("device_check", "result of that check"),
    *(_OF_PASSES[name] for name in _MOTION),
    *(_OF_PASSES[name] for name in _VALUES),
    *(_OF_PASSES[name] for name in _WEATHER),
    _OF_PASSES["plate_confidence_pct"],
    Column("n_photos", pl.Int64, "", "photographs of the pass; null without the right to know"),
    Column("photos", _LIST, "", "references of the photographs; only where plates are shown"),
    text("video", "reference of the video; only where plates are shown"),
    text("source_file", "name of the source file; null without the right to read restricted/"),
    _OF_PASSES["source_sha256"],
    _OF_PASSES["source_line"],
)
"""What is said of each record of proof, besides its record_id, measured_at and value."""

SUMMARY: tuple[Column, ...] = (
    flag("evidence_incomplete", "something is missing that evidence_missing names"),
    Column("evidence_missing", _LIST, "", "what is missing, as place.column; 'record': the lake "
           "has no such pass; 'record_changed': find was not run since a correction; 'photo': no "
           "reference of a photograph; 'restricted': photographs cannot be seen by this user"),
    real("days_between", "d", "days between the two records of proof"),
)

NEEDED = (*_MOTION, *_WEATHER, "plate_confidence_pct", "source_sha256", "source_line")
"""What every proof needs; a null is named as missing."""

_READ = ("record_id", "vehicle_id", "measured_at", "site_id", "line_id", "lane", "slope_deg",
         *_MOTION, *_VALUES, *_WEATHER, "plate_confidence_pct", "is_valid", "is_device_valid",
         "device_reason", "reason_bits", "source_sha256", "source_line",
         *(f"is_valid_{pollutant}" for pollutant in MEASURED_VALUE))
_PHOTOS = tuple(column.name for column in EVIDENCE if column.name.startswith("photo_"))
_VERSION = ("record_id", "source_sha256", "source_line")

LIMITS: dict[str, pl.DataType] = {
    "regulation_sha256": pl.String(), "pollutant": pl.String(), "since": pl.Date(),
    "until": pl.Date(), "limit": pl.Float64(), "clause": pl.String(),
}
"""One row a limit and period of a regulation's text; ``until`` is excluded, null where it goes on.
"""


@dataclass(frozen=True)
class Sources:
    """What evidence is joined from.

    ``passes``: the columns of PASSES, files without proof records may be left out. ``files``:
    ``source_sha256, source_file``; ``restricted``: the columns of EVIDENCE; both None without the
    right to read them. ``checks``: ``site_id, line_id`` (null: every line of the site),
    ``checked_at, result``; None where nobody keeps them. ``limits``: the columns of `LIMITS`,
    of the texts that the findings were made by; None where none is known. ``show_photos``: give
    references, which often carry plates, and not only their number.
    """

    passes: pl.LazyFrame
    sites: pl.DataFrame
    timezone: str
    files: pl.DataFrame | None = None
    restricted: pl.LazyFrame | None = None
    checks: pl.DataFrame | None = None
    limits: pl.DataFrame | None = None
    show_photos: bool = False


def columns(place: str) -> list[str]:
    """Return the names of a place's columns, as they stand in the list."""
    return [f"{place}_{column.name}" for column in PROOF]


def with_evidence(findings: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    """Return ``findings`` (columns of FINDINGS, any more stay) with their evidence behind.

    One row a finding, in the same order, none dropped: `SUMMARY`, then `PROOF` for each of
    `PLACES`. Only the proof records are read of the passes.
    """
    found = _proof_records(findings, sources)
    told = findings.with_row_index("_row")
    for place in PLACES:
        told = _under_limit(_joined(told, found, place), place, sources)
    missing = pl.concat_list(*(_missing(place, sources) for place in PLACES)).list.drop_nulls()
    told = told.with_columns(
        missing.alias("evidence_missing"),
        ((pl.col("second_measured_at") - pl.col("first_measured_at")).dt.total_microseconds()
         * (1 / 86_400e6)).alias("days_between"),
    ).with_columns(evidence_incomplete=pl.col("evidence_missing").list.len() > 0)
    return told.sort("_row").select(
        *findings.columns, *(c.name for c in SUMMARY),
        *(name for place in PLACES for name in columns(place)))


def reason_codes(bits: pl.Expr) -> pl.Expr:
    """Return the reason codes of bit masks as lists, in the order of their bits."""
    known = (pl.when((bits & (1 << r.bit)) != 0).then(pl.lit(r.code)) for r in REASONS)
    return pl.concat_list(*known).list.drop_nulls()


def _proof_records(findings: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    """Return the proof records that the passes have, with all that is known beside them."""
    ids = pl.concat([findings[f"{place}_record_id"] for place in PLACES]).drop_nulls().unique()
    # is_in lets the scan skip the other columns of all other rows, which no join does
    wanted = pl.col("record_id").is_in(ids.implode()) & pl.col("is_current").ne_missing(other=False)
    found = (sources.passes.filter(wanted).select(_READ).collect(engine="streaming")
             .unique("record_id", keep="last", maintain_order=True))
    found = found.with_columns(
        reasons=reason_codes(pl.col("reason_bits")),
        measured_local=pl.col("measured_at").dt.convert_time_zone(ZoneInfo(sources.timezone).key)
        .dt.replace_time_zone(None))
    found = _at_sites(found, sources.sites)
    found = _of_files(found, sources.files)
    found = _last_checks(found, sources.checks)
    return _with_photos(found, sources)


def _at_sites(found: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    known = sites.select("site_id", pl.col("name").alias("site_name"), "lon_wgs84", "lat_wgs84",
                         pl.lit(value=True).alias("has_site"))
    return found.join(known.unique("site_id", keep="first", maintain_order=True),
                      on="site_id", how="left")


def _of_files(found: pl.DataFrame, files: pl.DataFrame | None) -> pl.DataFrame:
    if files is None:
        return found.with_columns(source_file=pl.lit(None, pl.String))
    named = files.select("source_sha256", "source_file").drop_nulls()
    return found.join(named.unique("source_sha256", keep="first", maintain_order=True),
                      on="source_sha256", how="left")


def _last_checks(found: pl.DataFrame, checks: pl.DataFrame | None) -> pl.DataFrame:
    """Add the last check of the line, or of the whole site, at or before the pass."""
    nothing = {"device_checked_at": pl.lit(None, pl.Datetime("us", "UTC")),
               "device_check": pl.lit(None, pl.String)}
    if checks is None or checks.is_empty():
        return found.with_columns(**nothing)
    before = found.select("record_id", "site_id", "line_id", "measured_at").join(
        checks.rename({"line_id": "_line"}), on="site_id")
    own = pl.col("_line").is_null() | (pl.col("_line") == pl.col("line_id"))
    last = (before.filter(own & (pl.col("checked_at") <= pl.col("measured_at")))
            .sort("checked_at", "result").unique("record_id", keep="last", maintain_order=True)
            .select("record_id", pl.col("checked_at").alias("device_checked_at"),
                    pl.col("result").alias("device_check")))
    return found.join(last, on="record_id", how="left")


def _with_photos(found: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    """Add how many photographs there are, and their references where they may be shown."""
    if sources.restricted is None:
        return found.with_columns(
            n_photos=pl.lit(None, pl.Int64), photos=pl.lit(None, _LIST),
            video=pl.lit(None, pl.String))
    ids = found["record_id"].implode()
    kept = (sources.restricted.filter(pl.col("record_id").is_in(ids))
            .select(*_VERSION, *_PHOTOS, "video_1").collect(engine="streaming")
            .unique(_VERSION, keep="last", maintain_order=True))
    joined = found.join(kept, on=_VERSION, how="left", nulls_equal=True)
    photos = pl.concat_list(
        *(pl.col(name).replace("", None) for name in _PHOTOS)).list.drop_nulls()
    shown = photos if sources.show_photos else pl.lit(None, _LIST)
    video = pl.col("video_1") if sources.show_photos else pl.lit(None, pl.String)
    return joined.with_columns(
        n_photos=photos.list.len().cast(pl.Int64), photos=shown, video=video)


def _joined(findings: pl.DataFrame, found: pl.DataFrame, place: str) -> pl.DataFrame:
    """Add one place's record of proof, every column with the place before its name."""
    pollutant = pl.col("pollutant").cast(pl.String)
    named = found.rename({name: f"{place}_{name}" if name in _PROOF_NAMES else f"_{place}_{name}"
                          for name in found.columns if name != "record_id"})
    told = findings.join(named.rename({"record_id": f"{place}_record_id"}),
                         on=f"{place}_record_id", how="left")
    return told.with_columns(
        _by_pollutant(pollutant, f"_{place}_is_valid_").alias(f"{place}_is_valid_pollutant"),
        _by_pollutant(pollutant, f"{place}_", value=True).alias(f"_{place}_stored"))


def _under_limit(told: pl.DataFrame, place: str, sources: Sources) -> pl.DataFrame:
    """Add the limit that a place's record was judged by: two proofs may fall in two periods.

    The record that decides was judged by the limit that the finding names, whatever is known.
    """
    limits = pl.DataFrame(schema=LIMITS) if sources.limits is None else sources.limits
    zone = ZoneInfo(sources.timezone).key
    day = pl.col(f"{place}_measured_at").dt.convert_time_zone(zone).dt.date()
    keys = ["regulation_sha256", "pollutant"]
    in_force = (pl.col("since") <= pl.col("_day")) & (
        pl.col("until").is_null() | (pl.col("_day") < pl.col("until")))
    dated = (told.select("_row", *(pl.col(k).cast(pl.String) for k in keys), _day=day)
             .join(limits, on=keys).filter(in_force)
             .unique("_row", keep="first", maintain_order=True)
             .select("_row", _limit="limit", _clause="clause"))
    decides = pl.lit(value=True) if place == PLACES[-1] else pl.col("second_record_id").is_null()
    is_named = pl.col(f"{place}_record_id").is_not_null()
    stated = {name: pl.when(is_named).then(
        pl.when(decides).then(name).otherwise(f"_{name}")) for name in ("limit", "clause")}
    return told.join(dated, on="_row", how="left").with_columns(
        **{f"{place}_{name}": value for name, value in stated.items()}).with_columns(
        (pl.col(f"{place}_value") / pl.col(f"{place}_limit")).alias(f"{place}_excess_ratio"),
    ).drop("_limit", "_clause")


_PROOF_NAMES = frozenset(column.name for column in PROOF)


def _by_pollutant(pollutant: pl.Expr, prefix: str, *, value: bool = False) -> pl.Expr:
    """Return, of columns that there is one of for each pollutant, the finding's."""
    ends = {p: name if value else p for p, (name, _) in MEASURED_VALUE.items()}
    return pl.coalesce(pl.when(pollutant == p).then(pl.col(prefix + end))
                       for p, end in ends.items())


def _missing(place: str, sources: Sources) -> pl.Expr:
    """Name what a place lacks, as ``place.what``; an empty list where it names no record."""
    def unless(have: pl.Expr, what: str) -> pl.Expr:
        return pl.when(~have).then(pl.lit(f"{place}.{what}"))

    stored, value = pl.col(f"_{place}_stored"), pl.col(f"{place}_value")
    agrees = (stored.eq_missing(value)
              & (pl.col("vehicle_id") == pl.col(f"_{place}_vehicle_id"))
              & (pl.col(f"_{place}_measured_at") == pl.col(f"{place}_measured_at")))
    photo = (unless(pl.lit(value=False), "restricted") if sources.restricted is None
             else unless(pl.col(f"{place}_n_photos") > 0, "photo"))
    facts = pl.concat_list(
        unless(agrees | value.is_null(), "record_changed"),
        unless(pl.col(f"{place}_limit").is_not_null() | value.is_null(), "limit"),
        *(unless(pl.col(f"{place}_{name}").is_not_null(), name) for name in NEEDED),
        unless(pl.col(f"_{place}_has_site").is_not_null(), "site"),
        unless(pl.col(f"{place}_lon_wgs84").is_not_null(), "coordinates"),
        unless(pl.col(f"{place}_device_checked_at").is_not_null(), "device_check"), photo,
    ).list.drop_nulls()
    is_kept = pl.col(f"_{place}_measured_at").is_not_null()
    absent = pl.concat_list(pl.lit(f"{place}.record"))
    is_named = pl.col(f"{place}_record_id").is_not_null() | pl.lit(place == "first")
    return (pl.when(~is_named).then(pl.lit([], _LIST)).when(is_kept).then(facts)
            .otherwise(absent))


def proof_rows(told: pl.DataFrame, beside: list[str]) -> pl.DataFrame:
    """Return a row a record of proof: ``beside``, ``place``, its id, instant, value, `PROOF`.

    ``told`` has evidence joined. The rows of a finding stand together, first before second.
    """
    own = ("record_id", "measured_at", "value", *(column.name for column in PROOF))
    names = [name for name in beside if name in told.columns]
    parts = [
        told.with_row_index("_row").filter(pl.col(f"{place}_record_id").is_not_null()).select(
            "_row", *names, pl.lit(place).alias("place"),
            *(pl.col(f"{place}_{name}").alias(name) for name in own))
        for place in PLACES
    ]
    return pl.concat(parts).sort("_row", maintain_order=True).drop("_row")
