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
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from rsd.columns import OPEN_TABLES, POLLUTANTS
from rsd.errors import PolicyRefusal, StorageError, UsageError
from rsd.gate import PATH, check_tree
from rsd.views import Nearness, create_views, literal, run

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

_DAY_US = 86_400_000_000
_DAYS = (-719_162, 2_932_896)  # of the years 1 to 9999, from 1970 on
_UNREADABLE = re.compile(r"INTERVAL|UNION|VARIANT|BIGNUM|\bBIT\b|GEOMETRY|TIME WITH TIME ZONE")
_BLANK = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_EXPLAIN = re.compile(rf"{_BLANK}explain\b({_BLANK}analyze\b)?", re.IGNORECASE | re.DOTALL)


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
        check_tree(self._tree(select), self.forbidden)
        return head + select

    def _kind(self, text: str) -> str:
        """Return the type of the one statement that the text must be."""
        import duckdb

        try:
            statements = self.connection.extract_statements(text)
        except duckdb.Error as error:
            raise self.told(error) from None
        except UnicodeDecodeError:  # the engine's message cuts a character in two
            raise UsageError("the query does not parse", found="a message that is no text",
                             remedy="Look for a literal that is none, such as x'…'.") from None
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
                                remedy="Restore it from a backup.")
        if isinstance(error, duckdb.OutOfMemoryException):
            return UsageError("the query needs more memory than the session may use", found=text,
                              remedy="Select fewer columns or rows, or group them.")
        return UsageError("the query does not work", found=text)

    def _scrub(self, text: str) -> str:
        for path in self.hidden:
            text = text.replace(path, "…")
        return PATH.sub("…", text)


@contextmanager
def open_session(
    files: Mapping[str, Sequence[Path]],
    exceedance_sql: Mapping[str, Mapping[str, str]],
    *,
    threads: int | None = None,
    memory_limit: str = "1GiB",
    temp_directory: Path | None = None,
    near: Nearness | None = None,
) -> Iterator[Session]:
    """Open a locked database over committed Parquet files, for the time of a `with`.

    `files`: open table → its files; a table without files is an empty view. `exceedance_sql`:
    pollutant → SQL for `applies`, `tested` and `exceeds` over the stored columns of a pass,
    combined over the regulations. `near`: which passes the view `replicates` calls one event, by
    default those of one instant and site. Spills go to `temp_directory`, else to a private folder
    that is removed at the end. Raises `UsageError` for an unknown table or pollutant,
    `StorageError` for a file that cannot be read.
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
                create_views(connection, paths, exceedance_sql, near or Nearness(0.0, {}))
                _lock(connection, every)
            except duckdb.Error as error:
                raise session.told(error) from None
            yield session


def _lock(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> None:
    """Leave the engine no file but the named ones, and no way back."""
    run(connection, f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    run(connection, "SET enable_external_access = false")
    run(connection, "SET lock_configuration = true")


def _system_names(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the names under which the engine speaks of itself."""
    rows = run(connection, "SELECT view_name FROM duckdb_views() "
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
    _refuse_endless(frame)
    wide = [n for n, k in types.items() if k in {"HUGEINT", "UHUGEINT"}]
    largest = {n: cast("float | None", frame[n].abs().max()) for n in wide}
    exact = [n for n, value in largest.items() if value is None or value < 2**63]
    return frame.with_columns(pl.col(exact).cast(pl.Int64)).with_columns(
        pl.col(pl.Decimal).cast(pl.Float64), pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _refuse_endless(frame: pl.DataFrame) -> None:
    """Refuse dates beyond the calendar, such as infinity, which nothing here can write down."""
    days = frame.select(pl.col(pl.Date).to_physical(), pl.col(pl.Datetime("us")).to_physical()
                        .floordiv(_DAY_US), pl.col(pl.Datetime("us", "*")).to_physical()
                        .floordiv(_DAY_US))
    inside = days.select(pl.all().is_between(*_DAYS).all())
    if bad := [name for name in inside.columns if not inside[name][0]]:
        raise UsageError("a date that cannot be shown", where=bad[0], found="infinity, or a year "
                         "before 1 or after 9999", remedy="Cast the column to VARCHAR.")


def _known(given: Mapping[str, object], valid: Sequence[str], what: str) -> None:
    for name in given:
        if name not in valid:
            raise UsageError(f"no such {what}", found=name, expected=f"one of {', '.join(valid)}")


def _hidden(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the files and folders that no message may show, longest first."""
    texts = {str(p) for path in paths for p in (path, path.parent, path.parent.resolve())}
    return tuple(sorted(texts - {"/"}, key=len, reverse=True))


def _one_line(message: str) -> str:
    """Return an engine's message without its excerpt of the statement."""
    return " ".join(message.partition("\n\nLINE ")[0].split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
