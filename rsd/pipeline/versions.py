"""Duplicates and corrections: new passes against each other and against the whole history.

Optimistic: a batch is staged as if every record were new; record ids are then compared, 8 bytes
each. Only where ids meet are contents compared, and only then are files written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rsd.columns import EVIDENCE, empty
from rsd.lake import Lake
from rsd.pipeline.hash_index import Hashes
from rsd.pipeline.known_ids import KnownIds
from rsd.reasons import mask

KEY = ["source_sha256", "source_line"]
"""A row of passes or evidence is known by the file and line that it came from."""

_DERIVED = {
    "road_segment", "vehicle_class", "vehicle_class_reported", "fuel", "emission_stage",
    "first_registered", "use", "is_local", "is_site_slope", "vsp_kw_t", "co_g_kg", "hc_g_kg",
    "no_g_kg", "no2_g_kg", "nox_g_kg", "nh3_g_kg", "convention", "nox_source", "derived_from",
    "is_current", "reason_bits", "measured_at", "date", "hour", *KEY,
}  # fmt: skip
_FROM_INTAKE = mask("SENTINEL", "CLOCK_REPAIRED", "plate_unreadable")


@dataclass(frozen=True)
class Verdicts:
    """What comparing told. Frames of `KEY` columns; ``corrected`` counts by source.

    The duplicates have ``in_file`` too: whether an equal record stands earlier in the same file.
    """

    duplicates: pl.DataFrame
    outdated: pl.DataFrame
    corrected: Mapping[str, int]

    @property
    def is_clean(self) -> bool:
        """Whether every new record is new indeed."""
        return self.duplicates.is_empty() and self.outdated.is_empty() and not self.corrected


def _nothing() -> Verdicts:
    keys = pl.DataFrame(schema={"source_sha256": pl.String, "source_line": pl.Int64})
    return Verdicts(keys.with_columns(in_file=pl.lit(value=False)), keys, {})


def compare(lake: Lake, known: KnownIds, hashes: Hashes, passes: Path, evidence: list[Path],
            order: list[str]) -> Verdicts:
    """Compare staged passes with each other and with the lake.

    Args:
        lake: the lake, held for writing.
        known: the record ids of the lake.
        hashes: `Expr.hash` of the staged record ids, sorted.
        passes: staged file of passes.
        evidence: staged files of evidence.
        order: source hashes of the batch, in the order in which they count as sent.
    """
    twice = hashes[1:][hashes[1:] == hashes[:-1]]
    met = pl.concat([pl.Series("id", twice), known.met(hashes).alias("id")])
    suspects = met.unique().to_frame()
    if suspects.is_empty():
        return _nothing()
    beside = pl.scan_parquet(evidence, glob=False) if evidence else empty(EVIDENCE).lazy()
    staged, history = pl.scan_parquet(passes, glob=False), lake.table("passes").scan()
    return _judge(_suspects(staged, beside, suspects, order),
                  _suspects(history, lake.table("evidence").scan(), suspects, None))


def _suspects(passes: pl.LazyFrame, evidence: pl.LazyFrame, suspects: pl.DataFrame,
              order: list[str] | None) -> pl.DataFrame:
    """Return the suspect rows with a hash of their content; ``rank`` orders, null = stored."""
    wanted = passes.with_columns(pl.col("record_id").hash().alias("id")).join(
        suspects.lazy(), on="id", how="semi")
    more = [c.name for c in EVIDENCE if c.name not in ("record_id", *KEY)]
    rows = wanted.join(evidence.select(*KEY, *more), on=KEY, how="left").collect(engine="streaming")
    content = [n for n in rows.columns if n not in _DERIVED
               and not n.startswith("is_valid") and n not in ("id", "record_id")]
    bits = pl.col("reason_bits") & _FROM_INTAKE
    local_time = pl.col("measured_at")
    rank = (pl.lit(None, pl.Int64) if order is None else pl.col("source_sha256").replace_strict(
        order, list(range(len(order))), return_dtype=pl.Int64))
    return rows.select(
        "record_id", *KEY, "is_current", rank.alias("rank"),
        pl.struct([*content, bits.alias("bits"), local_time]).hash().alias("content"))


def _judge(new: pl.DataFrame, stored: pl.DataFrame) -> Verdicts:
    rows = pl.concat([stored, new]).sort("rank", "source_line", nulls_last=False).with_row_index(
        "at")
    is_new = pl.col("rank").is_not_null()
    content = ("record_id", "content")
    rows = rows.with_columns(
        is_duplicate=is_new & (pl.col("at") != pl.col("at").min().over(content)),
        in_file=pl.col("at") != pl.col("at").min().over(*content, "source_sha256"))
    versions = rows.filter(~pl.col("is_duplicate")).with_columns(
        last_new=pl.col("at").filter(is_new).max().over("record_id"),
        first=pl.col("at").min().over("record_id"))
    outdated = versions.filter(
        pl.col("last_new").is_not_null() & (pl.col("at") != pl.col("last_new"))
        & pl.col("is_current"))
    corrected = versions.filter(is_new & (pl.col("at") != pl.col("first")))
    counts = corrected.group_by("source_sha256").len()
    return Verdicts(rows.filter("is_duplicate").select(*KEY, "in_file"), outdated.select(KEY),
                    dict(counts.iter_rows()))


def settle(frame: pl.LazyFrame, verdicts: Verdicts, *, flags: bool) -> pl.LazyFrame:
    """Return rows without the duplicates and, if they have flags, outdated ones marked."""
    kept = frame.join(verdicts.duplicates.lazy(), on=KEY, how="anti", maintain_order="left")
    if not flags:
        return kept
    marks = verdicts.outdated.lazy().with_columns(is_outdated=True)
    joined = kept.join(marks, on=KEY, how="left", maintain_order="left")
    is_current = pl.col("is_current") & pl.col("is_outdated").is_null()
    return joined.with_columns(is_current=is_current).drop("is_outdated")


def files_with(files: list[Path], keys: pl.DataFrame) -> list[Path]:
    """Return the files that hold rows of these keys."""
    if keys.is_empty():
        return []
    sources = keys["source_sha256"].unique().to_list()
    return [f for f in files if not pl.scan_parquet(f, glob=False).filter(
        pl.col("source_sha256").is_in(sources)).select(KEY).join(
            keys.lazy(), on=KEY, how="semi").head(1).collect().is_empty()]
