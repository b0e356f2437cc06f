"""What a reviewer decides about: a proof, and the id that is made of it.

The id covers everything that was looked at: regulation and its file's hash, kind, pollutant, both
records with instant and value, limit, unit, and what the verdict took the vehicle to be. Where any
of it changes it is another proof, and no decision passes over to it. It does not cover the
vehicle's pseudonym, which a change of the key replaces: a review belongs to an id *and* a vehicle.
"""

from __future__ import annotations

import base64
import hashlib

import polars as pl

PROOF = ("regulation_id", "regulation_sha256", "kind", "pollutant", "first_record_id",
         "first_measured_at", "first_value", "second_record_id", "second_measured_at",
         "second_value", "limit", "unit", "vehicle_class", "fuel", "emission_stage")
"""Columns of a finding that its id is made of."""

CASE = ("regulation_id", "vehicle_id", "pollutant")
"""What stays the same while proofs change."""

SHORT = 10
"""Characters of an id that people are shown."""

_DIGEST = 16  # bytes kept of SHA-256: 128 bit


def finding_ids(findings: pl.DataFrame) -> pl.Series:
    """Return the id of each finding: ``f`` and 26 letters and digits, never a number to a sheet.

    A float counts by its bits and an instant by its microseconds, so that no spelling matters.
    """
    parts = [_spelt(name, findings.schema[name]).fill_null("\x00") for name in PROOF]
    texts = findings.select(pl.concat_str(parts, separator="\x1f")).to_series()
    return pl.Series("finding_id", [_digest(text) for text in texts], pl.String)


def _spelt(name: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(name)
    if dtype == pl.Float64:
        return value.reinterpret(signed=True).cast(pl.String)
    return (value.dt.epoch("us") if isinstance(dtype, pl.Datetime) else value).cast(pl.String)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()[:_DIGEST]
    return "f" + base64.b32encode(digest).decode().rstrip("=").lower()
