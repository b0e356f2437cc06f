"""DuckDB over the lake's Parquet files: the views, and the gate for a statement.

A session is one in-memory database whose views read the committed files of the open tables. No
table with plates is ever given to it. The gate is the main defence, the engine's settings are the
second: a statement must be one SELECT (or the EXPLAIN of one), and its syntax tree may hold only
what the lists below name. The statement's type alone would not do: DuckDB 2.0 accepts
``WITH x AS (COPY … TO …) SELECT …`` and calls it a SELECT.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rsd.columns import OPEN_TABLES, PASSES, POLLUTANTS, TABLES, schema
from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.reasons import REASONS

if TYPE_CHECKING:
    import duckdb

DEADLINE_S = 60.0
"""Seconds after which a query is stopped; choice of this project."""

TEMPORARY_LIMIT = "16GiB"
"""Most that a session spills to disk; choice of this project."""

MAX_CELLS = 300_000_000
"""Most values (rows times columns) that one answer may hold; choice of this project."""

MAX_CHARACTERS = 100_000
"""Longest query; far longer ones keep the parser busy for minutes. Choice of this project."""

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

VIEWS = (*OPEN_TABLES, "judged_passes")
"""What a statement may select from; `judged_passes` adds the verdicts that rates are made of."""

_VERDICTS = ("applies", "tested", "exceeds")

# What a syntax tree may hold: kinds of query, of table reference, of modifier.
_KINDS = frozenset({
    "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
    "BASE_TABLE", "JOIN", "SUBQUERY", "EXPRESSION_LIST", "EMPTY", "TABLE_FUNCTION", "SHOW_REF",
    "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
    "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
})
_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest"})
# Functions that tell of settings, views or files, run or plan SQL held in a string, or write.
_FORBIDDEN_PREFIX = re.compile(
    r"(__internal|duckdb_|pragma_|pg_(?!typeof)|read_|write_|json_serialize|json_execute|"
    r"json_deserialize|query|getenv|getvariable|current_setting|which_secret|glob$|"
    r"copy_|sniff_|arrow_|pandas_|python_|parquet_|nextval|currval|setval|setseed|sqlite_)"
)
# One call of these builds a list or text beyond the engine's memory limit (15 GB were seen).
_UNBOUNDED = frozenset({"range", "generate_series", "list_resize", "array_resize", "repeat"})

_UNREADABLE = re.compile(r"INTERVAL|UNION|VARIANT|BIGNUM|\bBIT\b|GEOMETRY|TIME WITH TIME ZONE")
_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_EXPLAIN = re.compile(rf"{_BLANK}explain\b({_BLANK}analyze\b)?", re.IGNORECASE | re.DOTALL)
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/'\"():,;\]]+){2,}")
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass
class Session:
    """An open database over the lake; use it from one thread at a time.

    `judged` names the pollutants that a regulation of the session judges.
    """

    connection: duckdb.DuckDBPyConnection
    judged: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()

    def query(self, text: str, *, deadline_s: float | None = DEADLINE_S) -> pl.DataFrame:
        """Answer one SELECT, or the EXPLAIN of one.

        Instants come in UTC, decimals and 128-bit integers as Float64 and Int64, intervals as
        text. Raises `PolicyRefusal` for anything that is no read of the views, or that runs
        longer than `deadline_s`; `UsageError` for SQL that does not work.
        """
        try:
            statement = self._admit(text)
            return self._answer(statement, deadline_s)
        except RecursionError:
            raise UsageError("the query is nested too deeply") from None

    def _admit(self, text: str) -> str:
        """Return the statement to run; refuse what the gate does not know."""
        if "\0" in text or len(text) > MAX_CHARACTERS:
            raise PolicyRefusal("the query holds a NUL character, or is too long",
                                expected=f"at most {MAX_CHARACTERS:,} characters")
        kind = self._kind(text)
        head, select = "", text
        if kind == "EXPLAIN" and (match := _EXPLAIN.match(text)):
            head = "EXPLAIN ANALYZE " if match[1] else "EXPLAIN "
            select = text[match.end():]
        elif kind != "SELECT":
            raise PolicyRefusal(
                "only reading is possible here", found=f"a statement of type {kind}",
                expected="one SELECT, or EXPLAIN of one",
                remedy="For PIVOT, write GROUP BY with count(*) FILTER (WHERE …).",
            )
        _check_tree(self._tree(select), self.forbidden)
        return head + select

    def _kind(self, text: str) -> str:
        """Return the type of the one statement that the text must be."""
        import duckdb

        try:
            statements = self.connection.extract_statements(text)
        except duckdb.Error as error:
            raise self.told(error) from None
        if len(statements) != 1:
            raise PolicyRefusal("one statement at a time", found=f"{len(statements)} statements")
        return str(statements[0].type).rpartition(".")[2]

    def _tree(self, select: str) -> dict[str, Any]:
        """Return the syntax tree of a SELECT, as the engine itself parses it."""
        rows = self.connection.execute("SELECT json_serialize_sql(?)", [select]).fetchall()
        tree: dict[str, Any] = json.loads(rows[0][0])
        if tree["error"] and tree.get("error_type") == "parser":
            raise UsageError("the query does not parse", found=_one_line(tree["error_message"]))
        if tree["error"] or len(tree["statements"]) != 1:
            raise PolicyRefusal("only reading is possible here", expected="one SELECT",
                                remedy="PIVOT and statements inside EXPLAIN are not read.")
        return tree

    def _answer(self, statement: str, deadline_s: float | None) -> pl.DataFrame:
        """Run an admitted statement and return its rows; a plan without paths."""
        import duckdb

        timer = threading.Timer(deadline_s or 0.0, self.connection.interrupt)
        timer.daemon = True
        if deadline_s is not None:
            timer.start()
        try:
            frame = _frame(self.connection.sql(statement))
        except (duckdb.Error, pl.exceptions.ComputeError) as error:
            if "INTERRUPT Error" in str(error):
                raise PolicyRefusal(
                    "the query was stopped", found=f"more than {deadline_s} s",
                    remedy="Narrow it by date or site, or group the rows.") from None
            raise self.told(error) from None
        except pl.exceptions.PanicException:
            raise UsageError("a value of the answer has no counterpart outside SQL",
                             remedy="Cast the column with ::VARCHAR.") from None
        finally:
            timer.cancel()
        if not statement.startswith("EXPLAIN"):
            return frame
        return frame.with_columns(
            pl.col(pl.String).map_elements(self._scrub, return_dtype=pl.String))

    def told(self, error: Exception) -> UsageError | StorageError:
        """Return the engine's error in one line, without the names of the lake's files."""
        import duckdb

        text = self._scrub(_one_line(str(error)))
        if isinstance(error, (duckdb.IOException, duckdb.PermissionException)):
            return StorageError("a file of the lake cannot be read", found=text,
                                remedy="Run rsd doctor.")
        if isinstance(error, duckdb.OutOfMemoryException):
            return UsageError("the query needs more memory than the session may use", found=text,
                              remedy="Select fewer columns or rows, or group them.")
        return UsageError("the query does not work", found=text)

    def _scrub(self, text: str) -> str:
        for path in self.hidden:
            text = text.replace(path, "…")
        return _PATH.sub("…", text)


@contextmanager
def open_session(
    files: Mapping[str, Sequence[Path]],
    exceedance_sql: Mapping[str, Mapping[str, str]],
    *,
    threads: int | None = None,
    memory_limit: str = "1GiB",
    temp_directory: Path | None = None,
) -> Iterator[Session]:
    """Open a locked database over committed Parquet files, for the time of a `with`.

    `files`: open table → its files; a table without files is an empty view. `exceedance_sql`:
    pollutant → SQL for `applies`, `tested` and `exceeds` over the stored columns of a pass,
    combined over the regulations. Spills go to `temp_directory`, else to a private folder that is
    removed at the end. Raises `UsageError` for an unknown table or pollutant, `StorageError` for
    a file that cannot be read.
    """
    _known(files, OPEN_TABLES, "table")
    _known(exceedance_sql, POLLUTANTS, "pollutant")
    import duckdb

    paths = {table: [p.absolute() for p in given] for table, given in files.items()}
    every = [p for given in paths.values() for p in given]
    with tempfile.TemporaryDirectory(prefix="rsd-") as private:
        spill = str((temp_directory or Path(private)).absolute())
        config: dict[str, Any] = {
            "memory_limit": memory_limit, "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
            "allow_community_extensions": "false", "max_temp_directory_size": TEMPORARY_LIMIT,
            "temp_directory": spill,
        }
        if threads is not None:
            config["threads"] = threads
        with duckdb.connect(":memory:", config=config) as connection:
            judged = tuple(p for p in POLLUTANTS if p in exceedance_sql)
            session = Session(connection, judged, _hidden([*every, Path(spill)]),
                              _system_names(connection))
            try:
                _create_views(connection, paths, exceedance_sql)
                _lock(connection, every)
            except duckdb.Error as error:
                raise session.told(error) from None
            yield session


def _create_views(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Sequence[Path]],
                  exceedance_sql: Mapping[str, Mapping[str, str]]) -> None:
    """Create a view for every open table, and the verdicts beside the passes."""
    _run(connection, "SET TimeZone = 'UTC'")
    _run(connection, "SET parquet_metadata_cache = true")
    bodies = {table: _stored(connection, table, files.get(table, ())) for table in OPEN_TABLES}
    bodies["judged_passes"] = (
        f"SELECT *, {_reasons_sql()} AS reasons, {_verdicts_sql(exceedance_sql)} "
        f"FROM ({bodies['passes']}) WHERE is_current IS NOT FALSE")
    bodies["passes"] = f"SELECT {', '.join(PASSES_COLUMNS)} FROM judged_passes"
    for view in sorted(VIEWS):  # judged_passes before passes
        _run(connection, f"CREATE VIEW {view} AS {bodies[view]}")


def _stored(connection: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path]) -> str:
    """Return the SELECT that reads a table's files with the declared columns and types.

    A column that older files lack is null there.
    """
    listed = f"[{', '.join(map(_literal, paths))}]"
    found: dict[str, str] = {}
    if paths:
        # Reading by the first file's columns is four times faster where all files agree.
        shapes = _run(connection, f"""SELECT count(DISTINCT shape) FROM (
            SELECT list(name || coalesce(type, '') || coalesce(logical_type, '') ORDER BY name)
            AS shape FROM parquet_schema({listed}) GROUP BY file_name)""")[0][0]
        listed += f", union_by_name = {shapes > 1}, hive_partitioning = false"
        found = dict(_run(connection, "SELECT column_name, column_type FROM "
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


def _lock(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    """Leave the engine no file but the named ones, and no way back."""
    _run(connection, f"SET allowed_paths = [{', '.join(map(_literal, paths))}]")
    _run(connection, "SET enable_external_access = false")
    _run(connection, "SET lock_configuration = true")


def _check_tree(tree: dict[str, Any], forbidden: frozenset[str]) -> None:
    """Walk a syntax tree and refuse what the lists do not name."""
    nodes, named = [tree["statements"]], set[str]()
    tables: list[dict[str, Any]] = []
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        if not isinstance(node, dict):
            continue
        kind = node.get("type")
        if "class" not in node and isinstance(kind, str) and kind not in _KINDS:
            raise PolicyRefusal("only reading is possible here", found=kind.lower(),
                                expected="SELECT over the views")
        if "cte_map" in node:
            named |= {_plain(entry["key"], forbidden) for entry in node["cte_map"]["map"]}
        if kind == "RECURSIVE_CTE_NODE":
            named.add(_plain(node["cte_name"], forbidden))
        if kind == "BASE_TABLE":
            tables.append(node)
        if kind == "SHOW_REF" and node["query"] is None and node["table_name"] != '"tables"':
            raise PolicyRefusal("this SHOW is not possible here", expected="SHOW TABLES")
        if kind == "TABLE_FUNCTION":
            call = node.pop("function")
            nodes.append(call["arguments"])
            if call["function_name"].lower() not in _TABLE_FUNCTIONS:
                raise PolicyRefusal(
                    "this table function is not possible here", found=call["function_name"],
                    expected=", ".join((*VIEWS, *sorted(_TABLE_FUNCTIONS))))
        if node.get("class") in {"FUNCTION", "WINDOW"}:
            _check_function(node)
        nodes += node.values()
    for table in tables:
        _check_table(table, named, forbidden)


def _check_function(node: dict[str, Any]) -> None:
    """Refuse a function that reads settings or files, runs SQL, or fills the memory."""
    name = str(node.get("function_name") or "").lower()
    if _FORBIDDEN_PREFIX.match(name):
        raise PolicyRefusal("this function is not possible here", found=name)
    if name in _UNBOUNDED:
        raise PolicyRefusal("this function can fill the memory", found=name,
                            remedy="Use range(…) as a table in FROM instead.")


def _check_table(node: dict[str, Any], named: set[str], forbidden: frozenset[str]) -> None:
    """Let a statement read the views and its own subqueries, nothing else."""
    name, schema_name = node["table_name"], node["schema_name"].lower()
    if name.lower() in VIEWS and schema_name in {"", "main"}:
        return
    if name.lower() in named and not schema_name and not node["catalog_name"]:
        return
    expected = f"one of {', '.join(VIEWS)}"
    if schema_name or name.lower() in forbidden or not _NAME.fullmatch(name):
        raise PolicyRefusal("only the lake's tables can be read here", found=_PATH.sub("…", name),
                            expected=expected)
    near = get_close_matches(name.lower(), VIEWS, 1)
    raise UsageError("no such table", found=name, expected=expected,
                     remedy=f"Did you mean {near[0]}?" if near else None)


def _plain(name: str, forbidden: frozenset[str]) -> str:
    """Return the name of a subquery; refuse one that could stand for a file or a system view."""
    lowered = name.lower()
    if not _NAME.fullmatch(name) or lowered in forbidden or _FORBIDDEN_PREFIX.match(lowered):
        raise PolicyRefusal("a subquery cannot have this name", found=_PATH.sub("…", name))
    return lowered


def _system_names(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the names under which the engine speaks of itself."""
    rows = _run(connection, "SELECT view_name FROM duckdb_views() "
                            "WHERE schema_name <> 'information_schema'")
    return frozenset(str(row[0]).lower() for row in rows)


@dataclass
class _Stream:
    """Arrow's stream of a relation.

    Polars remembers the type of what it reads; given the relation itself, it would keep the
    engine's classes alive, and the engine complains of leaks when the interpreter ends.
    """

    relation: duckdb.DuckDBPyRelation

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.relation.__arrow_c_stream__(requested_schema)


def _frame(relation: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """Return a relation's rows through Arrow's C interface, which needs no pyarrow."""
    limit = MAX_CELLS // len(relation.columns)
    relation = relation.limit(limit + 1)  # also makes the names of the columns differ
    types = {n: str(k) for n, k in zip(relation.columns, relation.types, strict=True)}
    if any(_UNREADABLE.search(kind) for kind in types.values()):
        relation = relation.project(", ".join(
            f"CAST({_quoted(n)} AS VARCHAR) AS {_quoted(n)}" if _UNREADABLE.search(k)
            else _quoted(n) for n, k in types.items()))
    frame = pl.DataFrame(_Stream(relation))
    if frame.height > limit:
        raise PolicyRefusal("the answer is too large", found=f"more than {limit:,} rows",
                            remedy="Group the rows, or select fewer columns or rows.")
    wide = [n for n, k in types.items() if k in {"HUGEINT", "UHUGEINT"}]
    exact = [n for n in wide if frame[n].abs().max() is None or frame[n].abs().max() < 2**63]  # type: ignore[operator]
    return frame.with_columns(pl.col(exact).cast(pl.Int64)).with_columns(
        pl.col(pl.Decimal).cast(pl.Float64), pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _known(given: Mapping[str, object], valid: Sequence[str], what: str) -> None:
    for name in given:
        if name not in valid:
            raise UsageError(f"no such {what}", found=name, expected=f"one of {', '.join(valid)}")


def _hidden(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the files and folders that no message may show, longest first."""
    texts = {str(p) for path in paths for p in (path, path.parent, path.parent.resolve())}
    return tuple(sorted(texts - {"/"}, key=len, reverse=True))


def _run(connection: duckdb.DuckDBPyConnection, text: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = connection.execute(text).fetchall()
    return rows


def _one_line(message: str) -> str:
    """Return an engine's message without its excerpt of the statement."""
    return " ".join(message.partition("\n\nLINE ")[0].split())


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
