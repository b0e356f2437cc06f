"""The views that analysts see, as DuckDB SQL over the lake's Parquet files; no plate is in any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rsd.columns import OPEN_TABLES, PASSES, POLLUTANTS, REPLICATES, TABLES, schema
from rsd.gate import VIEWS
from rsd.reasons import REASONS

if TYPE_CHECKING:
    import duckdb

_SQL_TYPES: dict[pl.DataType, str] = {
    pl.String(): "VARCHAR", pl.Float64(): "DOUBLE", pl.Int64(): "BIGINT", pl.Int8(): "TINYINT",
    pl.Boolean(): "BOOLEAN", pl.Date(): "DATE", pl.Binary(): "BLOB",
    pl.Datetime("us"): "TIMESTAMP", pl.Datetime("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}

_OUTSIDE = (
    "co2_raw_pct", "no2_g_kg", "nox_source", "derived_from", "co_g_kg_reported",
    "hc_g_kg_reported", "no_g_kg_reported", "nox_g_kg_reported", "is_valid_ringelmann",
    "reason_bits", "plate_type", "vehicle_type", "fuel_reported", "emission_stage_reported",
    "first_registered_reported", "use_reported", "vehicle_class_reported", "is_device_valid",
    "device_reason", "is_site_slope", "is_current",
)
_SOURCE = ("source_sha256", "source_line")
PASSES_COLUMNS = (
    *(c.name for c in PASSES if c.name not in _OUTSIDE + _SOURCE),
    "reasons", *(f"exceeds_{p}" for p in POLLUTANTS), *_SOURCE, *_OUTSIDE,
)
"""Columns of the view `passes`: the contract's, in its order, then the other stored ones."""


_VERDICTS = ("applies", "tested", "exceeds")


@dataclass(frozen=True)
class Nearness:
    """Which passes of a vehicle are one event: at most so long apart, at one place.

    ``seconds``: most time between two passes. ``place_of``: site → place, for sites that share
    one; each other site is a place by itself.
    """

    seconds: float
    place_of: Mapping[str, str]


def create_views(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[Path]],
                  exceedance_sql: Mapping[str, Mapping[str, str]], near: Nearness) -> None:
    """Create a view for every open table, the verdicts beside the passes, and the replicates."""
    run(connection, "SET TimeZone = 'UTC'")
    run(connection, "SET parquet_metadata_cache = true")
    bodies = {table: _stored(connection, table, files.get(table, ())) for table in OPEN_TABLES}
    bodies["replicates"] = _replicates_sql(bodies["passes"], near)
    bodies["judged_passes"] = (
        f"SELECT *, {_reasons_sql()} AS reasons, {_verdicts_sql(exceedance_sql)} "
        f"FROM ({bodies['passes']}) WHERE is_current IS NOT FALSE")
    bodies["passes"] = f"SELECT {', '.join(PASSES_COLUMNS)} FROM judged_passes"
    for view in sorted(VIEWS):  # judged_passes before passes
        run(connection, f"CREATE VIEW {view} AS {bodies[view]}")


def _stored(connection: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path]) -> str:
    """Return the SELECT that reads a table's files with the declared columns and types.

    A column that older files lack is null there.
    """
    listed = f"[{', '.join(map(literal, paths))}]"
    found: dict[str, str] = {}
    if paths:
        # Reading by the first file's columns is four times faster where all files agree.
        shapes = run(connection, f"""SELECT count(DISTINCT shape) FROM (
            SELECT list(name || coalesce(type, '') || coalesce(logical_type, '') ORDER BY name)
            AS shape FROM parquet_schema({listed}) GROUP BY file_name)""")[0][0]
        listed += f", union_by_name = {shapes > 1}, hive_partitioning = false"
        found = dict(run(connection, "SELECT column_name, column_type FROM "
                                      f"(DESCRIBE FROM read_parquet({listed}))"))
    columns = []
    for name, dtype in schema(TABLES[table]).items():
        wanted = _SQL_TYPES[dtype]
        value = f'"{name}"' if name in found else "NULL"
        columns.append(f'"{name}"' if found.get(name) == wanted
                       else f'CAST({value} AS {wanted}) AS "{name}"')
    return (f"SELECT {', '.join(columns)} "
            + (f"FROM read_parquet({listed})" if paths else "WHERE false"))


def _reasons_sql() -> str:
    """Return SQL for the list of reason codes in the order of their bits."""
    cases = ", ".join(f"CASE WHEN reason_bits & {1 << r.bit} <> 0 THEN '{r.code}' END"
                      for r in sorted(REASONS, key=lambda r: r.bit))
    return (f"CASE WHEN coalesce(reason_bits, 0) = 0 THEN []::VARCHAR[] "
            f"ELSE list_filter([{cases}], lambda code: code IS NOT NULL) END")


def _verdicts_sql(exceedance_sql: Mapping[str, Mapping[str, str]]) -> str:
    """Return SQL for applies_, tested_ and exceeds_ of every pollutant; untested is null."""
    columns = []
    for pollutant in POLLUTANTS:
        sql = exceedance_sql.get(pollutant, dict.fromkeys(_VERDICTS, "NULL::BOOLEAN"))
        applies, tested, exceeds = (f"({sql[key]})" for key in _VERDICTS)
        columns += [f"{applies} AS applies_{pollutant}", f"{tested} AS tested_{pollutant}",
                    f"CASE WHEN {tested} THEN {exceeds} END AS exceeds_{pollutant}"]
    return ", ".join(columns)


def _replicates_sql(passes: str, near: Nearness) -> str:
    """Return SQL for the passes that another instrument recorded too, with their event.

    In the order of time, two neighbours belong to one event exactly if the later one has a row of
    another instrument near before it, or the earlier one near after it. The row nearest before a
    pass by another instrument is the one before the run of its own instrument's rows.
    """
    shared = ", ".join(f"({_text(site)}, {_text(place)})"
                       for site, place in sorted(near.place_of.items())) or "(NULL, NULL)"
    window = "PARTITION BY vehicle_id, place ORDER BY at_us, instrument, record_id"
    until, since = "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"
    beside = ", ".join(
        f"CASE WHEN {step}(instrument) OVER w <> instrument THEN {step}(at_us) OVER w END AS {name}"
        for step, name in (("lag", "from_at"), ("lead", "to_at")))
    limit = round(near.seconds * 1_000_000)
    return f"""
        WITH instruments AS (
            SELECT site_id, line, coalesce(place, site_id) AS place,
                   row_number() OVER (ORDER BY site_id, line) AS instrument
            FROM (SELECT DISTINCT site_id, coalesce(line_id, '') AS line FROM ({passes}))
            LEFT JOIN (VALUES {shared}) AS shared(site_id, place) USING (site_id)
        ), crowded AS (
            SELECT * FROM instruments
            WHERE place IN (SELECT place FROM instruments GROUP BY place HAVING count(*) > 1)
        ), seen AS (
            SELECT p.*, place, instrument, epoch_us(measured_at) AS at_us
            FROM (SELECT record_id, vehicle_id, site_id, line_id, measured_at FROM ({passes})
                  WHERE is_current IS NOT FALSE AND vehicle_id IS NOT NULL) AS p
            JOIN crowded AS c ON p.site_id = c.site_id AND coalesce(p.line_id, '') = c.line
        ), beside AS (SELECT *, {beside} FROM seen WINDOW w AS ({window})
        ), linked AS (
            SELECT *,
                coalesce(at_us - last_value(from_at IGNORE NULLS) OVER ({window} {until})
                         <= {limit}, false) AS is_after,
                coalesce(first_value(to_at IGNORE NULLS) OVER ({window} {since}) - at_us
                         <= {limit}, false) AS is_before
            FROM beside
        ), begun AS (
            SELECT *, NOT is_after AND NOT lag(is_before, 1, false) OVER w AS is_first
            FROM linked WHERE is_after OR is_before WINDOW w AS ({window})
        ), numbered AS (
            SELECT *, sum(is_first::INT) OVER ({window} {until}) AS number FROM begun
        ), events AS (
            SELECT vehicle_id, place, number, count(*) AS n_passes,
                   count(DISTINCT instrument) AS n_instruments,
                   arg_min(record_id, (at_us, instrument, record_id)) AS replicate_id
            FROM numbered GROUP BY vehicle_id, place, number
        )
        SELECT {', '.join(c.name for c in REPLICATES)}
        FROM numbered JOIN events USING (vehicle_id, place, number)"""


def run(connection: duckdb.DuckDBPyConnection, text: str) -> list[tuple[Any, ...]]:
    """Return all rows of a statement of ours."""
    rows: list[tuple[Any, ...]] = connection.execute(text).fetchall()
    return rows


def literal(path: Path) -> str:
    """Return a path as an SQL string."""
    return _text(str(path))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
