"""The Delta log of one table: what an entry says, and what the entries together mean.

Source: the Delta Transaction Log Protocol (delta-io/delta, PROTOCOL.md), reader version 1, writer
version 2. Entries are written here because one entry must hold adds, removes and several
application transactions and must be fsynced; measured on 500 entries, reading them here takes
11 ms, opening the table with deltalake 220 ms. Any Delta reader understands the result.

The first line of an entry of ours is its commitInfo, which counts the lines that follow: an entry
that is empty, cut short or no JSON is torn, and a torn last entry counts as not committed.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from rsd.errors import IntegrityError, StorageError, UsageError
from rsd.storage import disk

Action = dict[str, Any]

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_READER_VERSION = 1
_WORTH_A_CHECKPOINT = 200  # entries; one costs 0.02 ms, reading a checkpoint 5 to 8 ms
_PROTOCOL: Action = {"protocol": {"minReaderVersion": _READER_VERSION, "minWriterVersion": 2}}
_CONFIGURATION = {
    # The history is kept for good: "the list as it stood on that day" must stay answerable.
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
}
_DELTA_TYPE: dict[object, str] = {
    pl.String: "string", pl.Float64: "double", pl.Int64: "long", pl.Int8: "byte",
    pl.Boolean: "boolean", pl.Date: "date", pl.Binary: "binary",
    pl.Datetime("us", "UTC"): "timestamp",
}


@dataclass(frozen=True)
class DataFile:
    """One active file: its name in the table's folder, and what the log says of it."""

    name: str
    size: int
    statistics: Mapping[str, Any]
    sha256: str | None
    version: int
    """The version that added it: files of a higher one were ingested later."""


@dataclass(frozen=True)
class Snapshot:
    """A table as of one version; version -1 is a table that nobody wrote yet."""

    version: int = -1
    files: Mapping[str, DataFile] = field(default_factory=dict)
    transactions: Mapping[str, int] = field(default_factory=dict)
    schema_string: str | None = None
    table_id: str | None = None


class _Replay:
    """A snapshot that entries are being applied to."""

    def __init__(self, start: Snapshot, log: Path) -> None:
        self.version, self._log = start.version, log
        self._files, self._transactions = dict(start.files), dict(start.transactions)
        self._schema_string, self._table_id = start.schema_string, start.table_id

    def apply(self, version: int, actions: list[Action]) -> None:
        """Go on by one entry: its removes, then everything else."""
        self.version = version
        try:
            self._apply(version, actions)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError("an entry of the table's log cannot be understood",
                                 where=str(entry_path(self._log, version)),
                                 found=type(error).__name__,
                                 remedy="Restore it from a backup.") from error

    def _apply(self, version: int, actions: list[Action]) -> None:
        for action in actions:
            if "remove" in action:
                self._files.pop(file_name(action["remove"]["path"], self._log), None)
        for action in actions:
            if "add" in action:
                added = _data_file(action["add"], version, self._log)
                self._files[added.name] = added
            elif "txn" in action:
                self._transactions[action["txn"]["appId"]] = action["txn"]["version"]
            elif "metaData" in action:
                self._schema_string = action["metaData"]["schemaString"]
                self._table_id = action["metaData"]["id"]
            elif "protocol" in action:
                _check_protocol(action["protocol"], self._log)

    def snapshot(self) -> Snapshot:
        """Return what stands now."""
        return Snapshot(self.version, self._files, self._transactions, self._schema_string,
                        self._table_id)


def entry_path(log: Path, version: int) -> Path:
    """Return where the entry of a version stands."""
    return log / f"{version:020d}.json"


def checkpoint_path(log: Path, version: int) -> Path:
    """Return where the checkpoint of a version stands."""
    return log / f"{version:020d}.checkpoint.parquet"


def versions(log: Path) -> tuple[list[int], list[int]]:
    """Return the versions that have an entry, and those that have a checkpoint, ascending."""
    try:
        with disk.guard(log, "the table's log cannot be read"):
            names = os.listdir(log)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return [], []
        raise
    found = ([m for n in names if (m := p.fullmatch(n))] for p in (_ENTRY, _CHECKPOINT))
    entries, checkpoints = (sorted(int(m.group(1)) for m in matches) for matches in found)
    return entries, checkpoints


def read_entry(path: Path) -> list[Action] | None:
    """Return the actions of an entry, its commitInfo among them; None when it is torn."""
    with disk.guard(path, "the table's log cannot be read"):
        lines = path.read_bytes().splitlines()
    try:
        actions = [json.loads(line) for line in lines]
    except ValueError:
        return None
    if not actions or not all(isinstance(action, dict) for action in actions):
        return None
    announced = (actions[0].get("commitInfo") or {}).get("rsdActions")
    return None if announced not in (None, len(actions) - 1) else actions


def read(log: Path, version: int | None = None, base: Snapshot | None = None) -> Snapshot:
    """Return the table as of ``version``, or as of its last whole entry.

    ``base`` is an earlier snapshot of the same table to go on from. A torn last entry counts as
    not committed; a torn or missing entry before it raises IntegrityError.
    """
    entries, checkpoints = versions(log)
    last = max([*entries, *checkpoints], default=-1)
    if version is not None and not -1 <= version <= last:
        raise UsageError("no such version of the table", where=str(log.parent),
                         found=str(version), expected=f"-1 to {last}")
    wanted = last if version is None else version
    state = base if base is not None and base.version <= wanted else Snapshot()
    if wanted - state.version > _WORTH_A_CHECKPOINT or state.version + 1 not in entries:
        later = [c for c in checkpoints if state.version < c <= wanted]
        state = _from_checkpoint(log, later) or state
    replay, present = _Replay(state, log), set(entries)
    for number in range(state.version + 1, wanted + 1):
        actions = read_entry(entry_path(log, number)) if number in present else None
        if actions is None:
            if number == last and version is None:
                break
            raise IntegrityError("an entry of the table's log is torn or missing",
                                 where=str(entry_path(log, number)),
                                 remedy="Restore it from a backup: later entries stand on it.")
        replay.apply(number, actions)
    return replay.snapshot()


def replayed(log: Path, version: int) -> Snapshot:
    """Return the table as of ``version`` by its entries alone, whatever a checkpoint says."""
    replay = _Replay(Snapshot(), log)
    for number, actions in actions_of(log):
        if number <= version:
            replay.apply(number, actions)
    return replay.snapshot()


def by_checkpoint(log: Path, version: int) -> Snapshot | None:
    """Return the table as the checkpoint of ``version`` has it; None when it cannot be read."""
    return _from_checkpoint(log, [version])


def torn_tail(log: Path) -> Path | None:
    """Return the last entry when it is torn, else None."""
    entries, checkpoints = versions(log)
    if not entries or (checkpoints and checkpoints[-1] >= entries[-1]):
        return None
    last = entry_path(log, entries[-1])
    return last if read_entry(last) is None else None


def actions_of(log: Path) -> Iterator[tuple[int, list[Action]]]:
    """Yield every whole entry that the log still has, ascending, as (version, actions)."""
    for version in versions(log)[0]:
        actions = read_entry(entry_path(log, version))
        if actions is not None:
            yield version, actions


def names_ever(log: Path) -> set[str]:
    """Return the names of all data files that any version refers to."""
    kept = set(read(log).files)
    for _, actions in actions_of(log):
        kept |= {file_name(a[k]["path"], log) for a in actions for k in ("add", "remove") if k in a}
    return kept


def append(log: Path, version: int, actions: list[Action], info: Action) -> None:
    """Write the entry of ``version``: the moment it appears under its name is the commit.

    Raises FileExistsError when another program wrote that version.
    """
    head = {"commitInfo": info | {"rsdActions": len(actions)}}
    lines = [json.dumps(action, ensure_ascii=False) for action in [head, *actions]]
    disk.publish(entry_path(log, version), ("\n".join(lines) + "\n").encode())


def metadata(name: str, schema: pl.Schema, table_id: str, now_ms: int) -> Action:
    """Return the metaData action of a table."""
    return {"metaData": {
        "id": table_id, "name": name, "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_string(schema), "partitionColumns": [],
        "configuration": _CONFIGURATION, "createdTime": now_ms,
    }}


def protocol() -> Action:
    """Return the protocol action: the oldest one, which every Delta reader knows."""
    return _PROTOCOL


def schema_string(schema: pl.Schema) -> str:
    """Return a schema in Delta's JSON.

    >>> schema_string(pl.Schema({"hour": pl.Int8}))[:64]
    '{"type": "struct", "fields": [{"name": "hour", "type": "byte", "'
    """
    fields = [
        {"name": name, "type": _DELTA_TYPE[dtype], "nullable": True, "metadata": {}}
        for name, dtype in schema.items()
    ]
    return json.dumps({"type": "struct", "fields": fields})


def statistics(facts: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return a file's statistics in Delta's JSON, from ``rows`` and ``min|max|nulls <column>``."""
    def ranges(kind: str) -> dict[str, Any]:
        found = {c: facts[f"{kind} {c}"] for c in columns}
        return {c: _json_value(value) for c, value in found.items() if value is not None}

    return json.dumps({"numRecords": facts["rows"], "minValues": ranges("min"),
                       "maxValues": ranges("max"), "nullCount": ranges("nulls")})


def _json_value(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def _from_checkpoint(log: Path, candidates: list[int]) -> Snapshot | None:
    # The entries are never deleted, so a checkpoint that cannot be read costs time, nothing else.
    for version in reversed(candidates):
        try:
            table = pl.read_parquet(checkpoint_path(log, version), use_statistics=False)
        except (OSError, pl.exceptions.PolarsError):
            continue
        actions = [
            {kind: {k: _plain(v) for k, v in row.items() if v is not None}}
            for kind, key in (("protocol", "minReaderVersion"), ("metaData", "id"),
                              ("add", "path"), ("txn", "appId"))
            for row in _structs(table, kind, key)
        ]
        replay = _Replay(Snapshot(), log)
        replay.apply(version, actions)
        state = replay.snapshot()
        in_order = sorted(state.files.values(), key=lambda file: file.version)
        return replace(state, files={file.name: file for file in in_order})
    return None


def _structs(table: pl.DataFrame, kind: str, key: str) -> list[dict[str, Any]]:
    if kind not in table.columns:
        return []
    present = pl.col(kind).struct.field(key).is_not_null()
    return table.filter(present)[kind].to_list()


def _plain(value: Any) -> Any:
    is_map = isinstance(value, list) and all(
        isinstance(item, dict) and item.keys() == {"key", "value"} for item in value
    )
    return {item["key"]: item["value"] for item in value} if is_map else value


def _data_file(add: Action, version: int, log: Path) -> DataFile:
    if add.get("deletionVector"):
        raise IntegrityError("the table has deletion vectors, which rsd does not read",
                             where=str(log.parent), remedy="Compact it with the program that did.")
    statistics = json.loads(add.get("stats") or "{}")
    tags = add.get("tags") or {}
    return DataFile(file_name(add["path"], log), int(add["size"]), statistics, tags.get("sha256"),
                    int(tags.get("version", version)))


def file_name(path: str, log: Path) -> str:
    """Return the name of the file that an action speaks of; IntegrityError for one elsewhere."""
    name = urllib.parse.unquote(path)
    parts = name.split("/")
    if not name or "\0" in name or ":" in parts[0] or {"", ".", ".."} & set(parts):
        raise IntegrityError("the table's log names a file outside its folder", where=str(log),
                             found=repr(path))
    return name


def _check_protocol(wanted: Action, log: Path) -> None:
    if wanted["minReaderVersion"] > _READER_VERSION:
        raise IntegrityError(
            "another program raised the table's protocol", where=str(log),
            found=f"minReaderVersion {wanted['minReaderVersion']}",
            expected=str(_READER_VERSION), remedy="Read it with that program.",
        )
