"""One Delta table of the lake: stage files, commit them in one entry, read what is committed."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import re
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from rsd.columns import RESTRICTED_TABLES, TABLES, schema
from rsd.errors import IntegrityError, LakeBusy, UsageError
from rsd.storage import checkpoint, disk, log
from rsd.version import VERSION

BATCH = "batch:"
"""Prefix of the transaction by which an entry of passes makes a batch exist."""

COMPACTED = "compacted"
"""Beginning of the batch id of files that hold rows of committed batches only."""

ROW_GROUP_SIZE = 131_072  # rows; measured flat between 64 k and 1 M, small enough to stream
_ARROW_SCHEMA = "ARROW:schema"  # key of a Parquet file's metadata
_LABELS = (pl.Categorical, pl.Enum)
_STATISTICS = ("measured_at", "record_id")  # columns whose range the log keeps
_BATCH_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DATA_FILE = re.compile(r"part-([A-Za-z0-9][A-Za-z0-9_.-]*)-\d{5}-[0-9a-f]{8}\.parquet")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}" + re.escape(disk.TEMPORARY))


class Home(Protocol):
    """What a table needs of its lake."""

    notices: list[str]

    def holding(self) -> AbstractContextManager[None]:
        """Hold the writer's lock."""

    def committed_batches(self) -> frozenset[str]:
        """Return the batches that exist."""

    def visible_files(self, name: str, version: int | None = None) -> list[Path]:
        """Return the files whose rows exist."""


@dataclass(frozen=True)
class Commit:
    """One entry of a table's log: its version, its instant (UTC), what the writer noted."""

    version: int
    at: dt.datetime
    info: Mapping[str, Any]


def batch_of(name: str) -> str | None:
    """Return the batch id in a data file's name; None where another program named it.

    >>> batch_of("part-day7-00001-0123abcd.parquet")
    'day7'
    """
    match = _DATA_FILE.fullmatch(name)
    return match.group(1) if match else None


def is_own_name(name: str, *, staged: bool = True) -> bool:
    """Say whether a name is one that a writer of ours gives to unpublished files."""
    if _TEMPORARY.fullmatch(name):
        return True
    return staged and _DATA_FILE.fullmatch(name) is not None


class Table:
    """A table of the lake. Reading needs no lock; `commit` takes it, free inside `Lake.writer`."""

    def __init__(self, home: Home, name: str, folder: Path, is_gated: bool) -> None:
        self.name, self.folder = name, folder
        self.schema = schema(TABLES[name])
        self._home, self._is_gated = home, is_gated
        self._log = folder / "_delta_log"
        self._latest = log.Snapshot()
        self._counter = 0

    def version(self) -> int:
        """Return the last committed version, -1 when nothing was committed."""
        return self.snapshot().version

    def files(self, version: int | None = None) -> list[Path]:
        """Return the active files by the log, in the order of their commits."""
        return [self.folder / name for name in self.snapshot(version).files]

    def scan(self, version: int | None = None) -> pl.LazyFrame:
        """Return the rows that exist for readers, with the declared schema."""
        return self.rows(self._home.visible_files(self.name, version))

    def rows(self, paths: Sequence[Path]) -> pl.LazyFrame:
        """Return the rows of some files, with the declared schema."""
        if not paths:
            return pl.LazyFrame(schema=self.schema)
        # A column that a later rsd declares is null in files of before.
        return pl.scan_parquet(list(paths), schema=self.schema, missing_columns="insert",
                               glob=False)

    def pieces(self, most_rows: int, paths: Sequence[Path] | None = None
               ) -> Iterator[pl.LazyFrame]:
        """Yield the rows of some files, by default of all, so many at a time; each reads little
        else."""
        for path in self._home.visible_files(self.name) if paths is None else paths:
            whole = self.rows([path])
            rows = int(whole.select(pl.len()).collect().item())  # of the footer: nothing is read
            yield from (whole.slice(begin, most_rows) for begin in range(0, rows, most_rows))

    def transactions(self) -> set[str]:
        """Return the ids of all application transactions of the table."""
        return set(self.snapshot().transactions)

    def has_transaction(self, app_id: str) -> bool:
        """Say whether an entry carried this application transaction."""
        return app_id in self.snapshot().transactions

    def snapshot(self, version: int | None = None) -> log.Snapshot:
        """Return files, statistics and transactions as of a version; UsageError if there is none.

        Entries never change, so only those that came since the last call are read.
        """
        if version is not None:
            return log.read(self._log, version)
        self._latest = log.read(self._log, base=self._latest)
        return self._latest

    def history(self) -> list[Commit]:
        """Return all commits, the first one first."""
        found = []
        for version, actions in log.actions_of(self._log):
            heads = (a["commitInfo"] for a in actions if "commitInfo" in a)
            info: dict[str, Any] = next(heads, {})
            at = dt.datetime.fromtimestamp(info.get("timestamp", 0) / 1000, dt.UTC)
            found.append(Commit(version, at, info.get("rsd", {})))
        return found

    def version_at(self, instant: dt.datetime) -> int:
        """Return the version that stood at an instant (with a zone), -1 before the first."""
        stood = [commit.version for commit in self.history() if commit.at <= instant]
        return max(stood, default=-1)

    def new_file(self, batch_id: str) -> Path:
        """Return a fresh name for a data file of a batch; readers see it once it is committed."""
        if not _BATCH_ID.fullmatch(batch_id):
            raise UsageError("no batch id", found=repr(batch_id),
                             expected="letters, digits, _ . - (at most 100)")
        with disk.guard(self.folder, "the table's folder cannot be made"):
            mode = 0o700 if self.name in RESTRICTED_TABLES else 0o755
            if mode == 0o700:
                disk.ensure_folder(self.folder.parent, mode)
            disk.ensure_folder(self.folder, mode)
        self._counter += 1
        unique = f"{self._counter % 100_000:05d}-{secrets.token_hex(4)}"
        return self.folder / f"part-{batch_id}-{unique}.parquet"

    def write(self, frame: pl.DataFrame | pl.LazyFrame, batch_id: str) -> Path:
        """Write rows of exactly the declared columns to a new, uncommitted file.

        It becomes durable when it is committed. A text column may come as categories; what is
        stored is text.
        """
        lazy = frame.lazy()
        self._check_columns(lazy.collect_schema(), f"{self.name}, batch {batch_id}",
                            lenient=True)
        path = self.new_file(batch_id)
        try:
            lazy.select(self.schema.names()).sink_parquet(
                path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_SIZE,
                metadata={_ARROW_SCHEMA: self._arrow_schema},
            )
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(path)  # Polars leaves the torn file of a full disk under its name
            number = getattr(error, "errno", None) or disk.system_error(error)
            is_fault = number is not None or disk.is_unnamed_write_fault(error)
            if not is_fault or not isinstance(error, Exception):
                raise
            raise disk.storage_error(number, path, "the rows cannot be written") from error
        return path

    @cached_property
    def _arrow_schema(self) -> str:
        """The declared types as Arrow writes them: categories of a writer are none of a reader."""
        stream = BytesIO()
        pl.DataFrame(schema=self.schema).write_parquet(stream)
        return pl.read_parquet_metadata(stream.getvalue())[_ARROW_SCHEMA]

    def commit(
        self, add: Sequence[Path], *, remove: Sequence[Path] = (),
        transactions: Sequence[str] = (), info: Mapping[str, object] | None = None,
        overwrite: bool = False,
    ) -> int:
        """Make files part of the table, others no more, and transactions known, all at once.

        Returns the new version. ``info`` (JSON values) is kept with the entry. ``overwrite``
        removes every file that was active. In evidence and quarantine, a batch is one commit:
        what an unfinished earlier try of it left is removed. Raises IntegrityError for a file
        that cannot be added or removed or a transaction that is known already, LakeBusy,
        StorageError. When it raises, the table is as before, unless the fault came after the
        entry appeared (its folder could not be flushed): run again, the transactions tell.
        """
        with self._home.holding(), disk.guard(self.folder, "the commit failed"):
            now = self.snapshot()
            self._check_transactions(now, transactions)
            added = [self._describe(path, now) for path in add]
            gone = self._removed(now, [path.name for path in add], remove, overwrite)
            if add:
                disk.sync(self.folder)
            stamp = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
            version = now.version + 1
            actions = self._head(now, stamp)
            actions += [{"add": action | {"modificationTime": stamp}} for action in added]
            actions += [{"remove": _remove_action(now.files[n], stamp)} for n in gone]
            actions += [{"txn": {"appId": t, "version": version, "lastUpdated": stamp}}
                        for t in transactions]
            if actions or info:
                self._append(version, actions, stamp, info or {})
        return self.version()

    def problems(self) -> list[str]:
        """Compare the active files with what the log says of them; [] when all hold."""
        found = []
        for file in self.snapshot().files.values():
            path = self.folder / file.name
            if not path.is_file():
                found.append(f"{path}: missing")
            elif path.stat().st_size != file.size:
                found.append(f"{path}: {path.stat().st_size} bytes, the log says {file.size}")
            elif file.sha256 is not None and _sha256(path) != file.sha256:
                found.append(f"{path}: content was changed")
        return found

    def _append(self, version: int, actions: list[log.Action], stamp: int,
                info: Mapping[str, object]) -> None:
        # No word about the user or the host: the log of an open table is read by many.
        note = {"timestamp": stamp, "operation": "WRITE", "operationParameters": {},
                "engineInfo": f"rsd/{VERSION}", "rsd": dict(info)}
        disk.ensure_folder(self._log, 0o700 if self.name in RESTRICTED_TABLES else 0o755)
        try:
            log.append(self._log, version, actions, note)
        except FileExistsError:
            raise LakeBusy("another program wrote to the table at the same moment",
                           where=str(self.folder), remedy="Run again.") from None
        if version and version % checkpoint.EVERY == 0:
            try:
                checkpoint.make(self.folder, version)
            except Exception as error:  # noqa: BLE001 - a checkpoint saves time, nothing else
                self._home.notices.append(f"{self.folder}: no checkpoint ({error})")

    def _head(self, now: log.Snapshot, stamp: int) -> list[log.Action]:
        if now.schema_string == log.schema_string(self.schema):
            return []
        table_id = now.table_id or str(uuid.uuid4())
        described = log.metadata(self.name, self.schema, table_id, stamp)
        return [described] if now.table_id else [log.protocol(), described]

    def _check_transactions(self, now: log.Snapshot, transactions: Sequence[str]) -> None:
        known = [t for t in transactions if t in now.transactions]
        if known and not self._is_gated:  # a gated table may repeat what passes never confirmed
            raise IntegrityError("already committed", where=self.name, found=known[0],
                                 remedy="Nothing was changed.")

    def _removed(self, now: log.Snapshot, added: list[str], remove: Sequence[Path],
                 overwrite: bool) -> list[str]:
        if overwrite:
            return list(now.files)
        names = dict.fromkeys(path.name for path in remove)
        unknown = [name for name in names if name not in now.files]
        if unknown:
            raise IntegrityError("not an active file", where=self.name, found=unknown[0])
        if self._is_gated:
            batches = {batch_of(name) for name in added}
            names |= dict.fromkeys(n for n in now.files if batch_of(n) in batches)
            if done := batches & self._home.committed_batches():
                raise IntegrityError("the batch is committed already", where=self.name,
                                     found=str(min(map(str, done))))
        return list(names)

    def _describe(self, path: Path, now: log.Snapshot) -> log.Action:
        where = str(path)
        if path.parent != self.folder or batch_of(path.name) is None:
            raise IntegrityError("no staged file of this table", where=where,
                                 remedy="Write it with Table.write or under Table.new_file.")
        if path.name in now.files or path.is_symlink() or not path.is_file():
            raise IntegrityError("the file is missing, or part of the table already", where=where)
        disk.sync(path)
        return {"path": path.name, "partitionValues": {}, "size": path.stat().st_size,
                "dataChange": True, "stats": self._statistics(path),
                "tags": {"sha256": _sha256(path), "version": str(now.version + 1)}}

    def _statistics(self, path: Path) -> str:
        columns = [name for name in _STATISTICS if name in self.schema]
        try:
            self._check_columns(pl.read_parquet_schema(path), str(path))
            facts = pl.scan_parquet(path, glob=False).select(
                pl.len().alias("rows"),
                *(pl.col(c).min().alias(f"min {c}") for c in columns),
                *(pl.col(c).max().alias(f"max {c}") for c in columns),
                *(pl.col(c).null_count().alias(f"nulls {c}") for c in columns),
            ).collect(engine="streaming").row(0, named=True)
        except pl.exceptions.PolarsError as error:
            raise IntegrityError("no whole Parquet file", where=str(path),
                                 found=str(error).partition("\n")[0]) from error
        return log.statistics(facts, columns)

    def _check_columns(self, given: Mapping[str, Any], where: str, *,
                       lenient: bool = False) -> None:
        wrong = [f"{n} is {given[n]}" for n, t in self.schema.items() if n in given
                 and given[n] != t and not (lenient and t == pl.String and given[n] in _LABELS)]
        wrong += [f"no {name}" for name in self.schema if name not in given]
        wrong += [f"undeclared {name}" for name in given if name not in self.schema]
        if wrong:
            raise IntegrityError("the columns are not those of the table", where=where,
                                 found="; ".join(wrong[:5]))


def _remove_action(file: log.DataFile, stamp: int) -> log.Action:
    return {"path": file.name, "deletionTimestamp": stamp, "dataChange": True,
            "extendedFileMetadata": True, "partitionValues": {}, "size": file.size}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
