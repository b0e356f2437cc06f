"""What a list takes out of the lake beside the findings: their evidence, for this user's eyes."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from rsd.errors import StorageError, UsageError
from rsd.exports.evidence import LIMITS, PLACES, Sources, with_evidence
from rsd.exports.words import words
from rsd.lake import Lake
from rsd.pipeline import kept, review
from rsd.pipeline.kept import list_file
from rsd.pipeline.masking import mask_plates_in_text
from rsd.review.identity import CASE, finding_ids

CHECKS_FILE = "device_checks.csv"
"""In the lake's folder, kept by the office: when each instrument was checked, and what came of it.
"""

REVIEW: dict[str, pl.DataType] = {
    "review_state": pl.String(), "review_standing": pl.String(), "reviewer": pl.String(),
    "reviewed_at": pl.Datetime("us", "UTC"), "review_reason": pl.String(), "review_due": pl.Date(),
}
"""What a list says of each finding's review, behind its ``finding_id``."""

_FROM_CASE = {"review_state": "state", "review_standing": "standing", "reviewer": "reviewer",
              "reviewed_at": "reviewed_at", "review_reason": "review_reason", "review_due": "due"}
_CHECK_COLUMNS = ("site_id", "line_id", "checked_at", "result")
_SLACK = dt.timedelta(milliseconds=1)  # statistics of another writer may be cut to milliseconds


def chosen(findings: pl.DataFrame, regulations: Sequence[str], known: Sequence[str]
           ) -> pl.DataFrame:
    """Return the findings of some regulations, of all where none is named.

    Raises UsageError for a regulation that is neither in the lake's settings nor found by.
    """
    if not regulations:
        return findings
    have = sorted({*known, *findings["regulation_id"].unique().drop_nulls()})
    if unknown := [name for name in regulations if name not in have]:
        raise UsageError("the lake has no findings by this regulation", found=unknown[0],
                         expected=", ".join(have) or "none at all",
                         remedy="Name one of these, or run: rsd find LAKE --regulation ID")
    return findings.filter(pl.col("regulation_id").is_in(list(regulations)))


def language_of(lake: Lake, language: str | None) -> str:
    """Return a language, by default that of the lake's settings; UsageError for another."""
    return words(language or str(lake.settings["language"])).language


def detailed(lake: Lake, findings: pl.DataFrame, *, show_plates: bool) -> pl.DataFrame:
    """Return findings with the state of their review and their evidence, a row a finding."""
    return evidence_of(lake, with_review(lake, findings, show_plates=show_plates),
                       show_plates=show_plates)


def with_review(lake: Lake, findings: pl.DataFrame, *, show_plates: bool) -> pl.DataFrame:
    """Add the id of each finding, and how its review stands, null without the right to know.

    What a reviewer wrote is masked like every free text unless ``show_plates``. IntegrityError
    where an event of a review was changed.
    """
    named = findings.with_columns(finding_ids(findings))
    if not lake.may_read_restricted:
        return named.with_columns(pl.lit(None, t).alias(n) for n, t in REVIEW.items())
    known = review.cases_of(lake)
    told = known.select(*CASE, "finding_id", *(pl.col(of).alias(n) for n, of in _FROM_CASE.items()))
    if not show_plates:
        told = told.with_columns(
            pl.col("reviewer", "review_reason").map_elements(mask_plates_in_text,
                                                             return_dtype=pl.String))
    # without one of these keys a vehicle is the same case still, but another proof
    joined = named.join(told.unique([*CASE, "finding_id"], keep="first", maintain_order=True),
                        on=[*CASE, "finding_id"], how="left", maintain_order="left")
    return joined.select(*named.columns, *(pl.col(n).cast(t) for n, t in REVIEW.items()))


def evidence_of(lake: Lake, findings: pl.DataFrame, *, show_plates: bool) -> pl.DataFrame:
    """Return findings with their evidence, as `rsd.exports.evidence.with_evidence`.

    References of photographs are given only with ``show_plates``, for their names often carry
    plates; names of source files to who may read ``restricted/``.
    """
    return with_evidence(findings, _sources(lake, findings, show_plates))


def _sources(lake: Lake, findings: pl.DataFrame, show_plates: bool) -> Sources:
    entitled = lake.may_read_restricted
    return Sources(
        passes=_passes_of(lake, findings), sites=lake.table("sites").scan().collect(),
        timezone=lake.timezone, files=_file_names(lake) if entitled else None,
        restricted=lake.table("evidence").scan() if entitled else None,
        checks=read_checks(list_file(lake, CHECKS_FILE), lake.timezone),
        limits=_limits(lake, findings), show_photos=show_plates)


def _limits(lake: Lake, findings: pl.DataFrame) -> pl.DataFrame:
    """Return the limits of the texts of law that findings were made by, as `LIMITS`."""
    texts = findings.select("regulation_id", "regulation_sha256").drop_nulls().unique()
    laws = [kept.regulation_of(lake, *text) for text in texts.rows()]
    rows = [(law.sha256, limit.pollutant, period.start, period.until, limit.value, limit.clause)
            for law in laws if law is not None for period in law.periods
            for limit in period.limits]
    return pl.DataFrame(rows, LIMITS, orient="row")


def _passes_of(lake: Lake, findings: pl.DataFrame) -> pl.LazyFrame:
    """Return the passes of those files in whose range of instants a proof record can be.

    No other file can hold one: a later version of the record that moved it in time shows in its
    absence from here, and is told as ``record_changed`` or ``record``.
    """
    table = lake.table("passes")
    instants = pl.concat([findings[f"{place}_measured_at"] for place in PLACES]).drop_nulls().sort()
    statistics = table.snapshot().files
    paths = [path for path in lake.visible_files("passes")
             if _may_hold(statistics[path.name].statistics, instants)]
    return table.rows(paths)


def _may_hold(statistics: object, instants: pl.Series) -> bool:
    """Say whether a file's range of ``measured_at`` has one of some sorted instants in it."""
    if instants.is_empty():
        return False
    ranges = statistics if isinstance(statistics, dict) else {}
    try:
        low, high = (dt.datetime.fromisoformat(ranges[key]["measured_at"])
                     for key in ("minValues", "maxValues"))
    except (KeyError, TypeError, ValueError):
        return True
    first = instants.search_sorted(low - _SLACK)
    return bool(first < len(instants) and instants[int(first)] <= high + _SLACK)


def _file_names(lake: Lake) -> pl.DataFrame:
    """Return ``source_sha256, source_file``; a file may be named after another vehicle: masked."""
    runs = lake.table("runs").scan().filter(pl.col("state") == "done").select("sha256", "file")
    files = runs.collect().unique("sha256", keep="first", maintain_order=True)
    names = [None if name is None else mask_plates_in_text(name) for name in files["file"]]
    return pl.DataFrame({"source_sha256": files["sha256"],
                         "source_file": pl.Series(names, dtype=pl.String)})


def read_checks(path: Path, timezone: str) -> pl.DataFrame | None:
    """Read the office's list of instrument checks; None where there is none.

    CSV with a header: ``site_id, line_id`` (blank: all lines of the site), ``checked_at`` (ISO
    8601, in ``timezone`` unless it names one), ``result`` (any words). Raises UsageError with the
    line to mend, StorageError where it cannot be read.
    """
    try:
        if not path.is_file():
            return None
        rows = pl.read_csv(path, infer_schema=False, encoding="utf8")
    except OSError as error:
        raise _unreadable(path, error) from error
    except pl.exceptions.PolarsError as error:
        raise UsageError("this is no CSV in UTF-8", where=str(path),
                         found=str(error).partition("\n")[0]) from None
    if missing := [name for name in _CHECK_COLUMNS if name not in rows.columns]:
        raise UsageError("no such column", where=f"{path}, line 1", found=", ".join(rows.columns),
                         expected=", ".join(_CHECK_COLUMNS), remedy=f"Add {missing[0]}.")
    at = [_instant(text, timezone, f"{path}, line {line}")
          for line, text in enumerate(rows["checked_at"], 2)]
    return rows.select(
        pl.col("site_id").str.strip_chars(), pl.col("line_id").str.strip_chars().replace("", None),
        pl.Series("checked_at", at, pl.Datetime("us", "UTC")), pl.col("result"))


def checks_hash(lake: Lake) -> str | None:
    """Return the SHA-256 of the list of instrument checks; None where there is none."""
    path = list_file(lake, CHECKS_FILE)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError("cannot be read", where=str(path), found=str(error.strerror),
                        remedy="Check the file's rights.")


def _instant(text: str | None, timezone: str, where: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise UsageError("no time of a check", where=where, found=repr(text),
                         expected="ISO 8601, as 2026-09-01T08:00") from None
    local = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))
    return local.astimezone(dt.UTC)
