"""The gate for analysts' SQL: what the syntax tree of a statement may hold.

The statement's type alone would not do: DuckDB 2.0 accepts ``WITH x AS (COPY … TO …) SELECT …`` and
calls it a SELECT. Kinds of nodes, tables and table functions are named here and all others refused;
of scalar functions those are refused that tell of settings, views or files, run SQL, or write.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from rsd.columns import OPEN_TABLES
from rsd.errors import PolicyRefusal, UsageError

VIEWS = (*OPEN_TABLES, "judged_passes", "replicates")
"""What a statement may select from; `judged_passes` adds the verdicts that rates are made of,
`replicates` names the passes that are one event."""

PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\s\\/'\"():,;\]]+){2,}")
"""A path of a file system in a text."""

_NAME = re.compile(r"[^\W\d]\w*")

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


def check_tree(tree: dict[str, Any], forbidden: frozenset[str]) -> None:
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
        raise PolicyRefusal("only the lake's tables can be read here", found=PATH.sub("…", name),
                            expected=expected)
    near = get_close_matches(name.lower(), VIEWS, 1)
    raise UsageError("no such table", found=name, expected=expected,
                     remedy=f"Did you mean {near[0]}?" if near else None)


def _plain(name: str, forbidden: frozenset[str]) -> str:
    """Return the name of a subquery; refuse one that could stand for a file or a system view."""
    lowered = name.lower()
    if not _NAME.fullmatch(name) or lowered in forbidden or _FORBIDDEN_PREFIX.match(lowered):
        raise PolicyRefusal("a subquery cannot have this name", found=PATH.sub("…", name))
    return lowered
