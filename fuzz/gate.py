"""Arbitrary SQL at the analysts' gate: a table or a refusal, never a file or a secret."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import polars as pl

from fuzz.draw import Draw
from rsd.columns import FINDINGS, PASSES, schema
from rsd.errors import RsdError
from rsd.exports.safety import json_blocks
from rsd.sql import Session, open_session

SECRET = "QX7-SECRET-PLATE"
LAW = {"co": {"applies": "fuel = 'gasoline'", "tested": "is_valid", "exceeds": "co_pct > 2.0"}}
GOOD = (
    "SELECT site_id, count(*) FROM passes GROUP BY ALL", "FROM judged_passes LIMIT 1",
    "WITH x AS (SELECT 1 AS a) SELECT * FROM x", "SELECT unnest([1, 2]), co_pct FROM passes",
    "SELECT * FROM range(3) t(i) JOIN passes ON true", "EXPLAIN SELECT 1", "SHOW TABLES",
    "SELECT max(co_pct) OVER (PARTITION BY fuel ORDER BY date) FROM passes", "DESCRIBE passes",
    "FROM passes SELECT fuel UNION ALL SELECT 'x' ORDER BY 1 DESC LIMIT 1", "SUMMARIZE passes",
    "SELECT [x * 2 FOR x IN [1, 2]], {'a': 1}, INTERVAL 1 DAY, DATE '2024-02-29'",
)
ATTACKS = (
    "SELECT * FROM read_csv('{f}')", "SELECT * FROM '{f}'", "SELECT content FROM read_text('{f}')",
    "COPY passes TO '{d}/x.csv'", "WITH x AS (COPY passes TO '{d}/x') SELECT 1",
    "ATTACH '{d}/x.db'", "SET memory_limit='1TB'", "SELECT current_setting('temp_directory')",
    "SELECT getenv('HOME')", "PRAGMA database_list", "SELECT * FROM duckdb_settings()",
    "FROM query('SELECT 1')", "FROM query_table('passes')", "INSTALL httpfs", "LOAD httpfs",
    "CREATE TABLE t AS SELECT 1", "DROP VIEW passes", "EXPLAIN ANALYZE COPY passes TO '{d}/y'",
    "SELECT 1; SELECT 2", "SELECT * FROM glob('{d}/*')", "EXPORT DATABASE '{d}/e'",
    "SELECT * FROM \"{f}\"", "SELECT * FROM main.passes, duckdb_views", "CALL pragma_version()",
    "SELECT json_execute_serialized_sql('x')", "SELECT repeat('a', 1000000000)", "VACUUM", "SELECT",
    "PIVOT passes ON fuel USING count(*)", "SELECT * FROM passes AT (VERSION => 1)", "",
)
WORDS = tuple(w.encode() for w in (
    "SELECT ", " FROM ", "WITH x AS (", "COPY ", " TO ", "read_text(", "read_csv(", "glob(",
    "query(",
    "passes", "findings", "judged_passes", "range(", "unnest(", "getenv('HOME')", "{f}", "{d}", ";",
    "--", "/*", "*/", "EXPLAIN ", "ANALYZE ", "PRAGMA ", "CALL ", "SET ", "ATTACH ",
    "duckdb_secrets()",
    "current_setting(", "main.", "\"", "''", "$$", "UNION ALL ", "RECURSIVE ", "LATERAL ",
    "VALUES (1)",
    "::VARCHAR", "COLUMNS(*)", "EXCLUDE", "(", ")", ",", "*", "\0", "\u00a0", "which_secret("))


def seeds() -> Iterator[bytes]:
    """Queries that are answered, and attacks that are not."""
    for text in (*GOOD, *ATTACKS):
        yield text.encode()


def check(data: bytes) -> None:
    """Ask; then look whether anything was told or written."""
    session, room, before = opened()
    text = Draw(data).text().replace("{f}", str(room / "secret.csv")).replace("{d}", str(room))
    told = ""
    try:
        answer = session.query(text, deadline_s=5.0)
        told = b"".join(json_blocks(answer.head(1000))).decode()
    except RsdError as error:
        told = str(error)
        assert "\n" not in told
    assert SECRET not in told or SECRET in text
    assert listing(room) == before
    assert session.connection.execute(
        "SELECT current_setting('enable_external_access'), current_setting('lock_configuration'), "
        "current_setting('memory_limit')").fetchone() == (False, True, "256.0 MiB")


def check_seeds_are_told_apart() -> None:
    """Every good query is answered, every attack is refused: else `check` would prove nothing."""
    session, room, _ = opened()
    for text in GOOD:
        session.query(text)
    for text in ATTACKS:
        try:
            session.query(text.replace("{f}", str(room / "secret.csv")).replace("{d}", str(room)))
        except RsdError:
            continue
        raise AssertionError(f"answered: {text}")


@cache
def opened() -> tuple[Session, Path, list[str]]:
    """Return one session for all inputs, its folder, and the files in it."""
    stack = ExitStack()
    atexit.register(stack.close)
    room = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (room / "secret.csv").write_text(f"plate\n{SECRET}\n", encoding="utf-8")
    pl.DataFrame({"fuel": ["gasoline"], "co_pct": [2.5]}, schema_overrides=schema(PASSES)).select(
        pl.col(n) if n in ("fuel", "co_pct") else pl.lit(None, t).alias(n)
        for n, t in schema(PASSES).items()).write_parquet(room / "p.parquet")
    pl.DataFrame(schema=schema(FINDINGS)).write_parquet(room / "f.parquet")
    session = stack.enter_context(open_session(
        {"passes": [room / "p.parquet"], "findings": [room / "f.parquet"]}, LAW, threads=1,
        memory_limit="256MiB"))
    return session, room, listing(room)


def listing(room: Path) -> list[str]:
    """Return the files of the session's folder, and of the folder that the process stands in."""
    return sorted(os.listdir(room)) + sorted(os.listdir("."))
