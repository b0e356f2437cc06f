"""The views that analysts see, as DuckDB SQL over the lake's Parquet files; no plate is in any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rsd.columns import OPEN_TABLES, PASSES, POLLUTANTS, TABLES, schema
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
    "first_registered_reported", "use_reported", "is_device_valid", "device_reason", "is_current",
)
_SOURCE = ("source_sha256", "source_line")
PASSES_COLUMNS = (
    *(c.name for c in PASSES if c.name not in _OUTSIDE + _SOURCE),
    "reasons", *(f"exceeds_{p}" for p in POLLUTANTS), *_SOURCE, *_OUTSIDE,
)
"""Columns of the view `passes`: the contract's, in its order, then the other stored ones."""


_VERDICTS = ("applies", "tested", "exceeds")


def create_views(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[Path]],
                  exceedance_sql: Mapping[str, Mapping[str, str]]) -> None:
    """Create a view for every open table, and the verdicts beside the passes."""
    run(connection, "SET TimeZone = 'UTC'")
    run(connection, "SET parquet_metadata_cache = true")
    bodies = {table: _stored(connection, table, files.get(table, ())) for table in OPEN_TABLES}
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


def run(connection: duckdb.DuckDBPyConnection, text: str) -> list[tuple[Any, ...]]:
    """Return all rows of a statement of ours."""
    rows: list[tuple[Any, ...]] = connection.execute(text).fetchall()
    return rows


def literal(path: Path) -> str:
    """Return a path as an SQL string."""
    return "'" + str(path).replace("'", "''") + "'"
