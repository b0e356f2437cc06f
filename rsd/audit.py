"""The audit log: who did what, in a chain of hashes that shows every later change.

One JSON object a line in ``restricted/audit/audit.jsonl``: ``seq, at, actor, action, details,
prev, hash``, where ``hash`` is SHA-256 over the record without it and ``prev`` the hash before. A
record is durable before the answer that it speaks of is shown. That the tail was cut off shows
only against a head (`Head`) that was kept elsewhere.

Whoever may not write there sees no plate; what they ask is put into ``open/audit-inbox``, a letter
a record, and a later run of the owner adds it to the chain under the name of the letter's owner.
Such a letter is a courtesy: its writer could have read the open files without rsd.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import pwd
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsd.errors import IntegrityError, LakeBusy, StorageError
from rsd.storage import disk

GENESIS = "0" * 64
"""What the first record has as its predecessor's hash."""

TORN = "audit torn tail"
"""Action of the record that says that a crash had left a part of a record."""

BEGUN_ANEW = "audit log begun anew"
"""Action of the first record of a log whose predecessor was there once and is gone."""

ACCEPTED = "audit beginning accepted"
"""Action of a record by which somebody answers for a log that was begun anew: its details name the
hash of that first record as ``begun``."""

_FIELDS = {"seq", "at", "actor", "action", "details", "prev", "hash"}
PATIENCE_S = 20.0
"""How long a record waits for those of others, which take milliseconds; choice of this project."""
_BLOCK = 65_536  # bytes read at a time, backwards, to find the last line


@dataclass(frozen=True)
class Head:
    """The last record of a log: its number and hash. Give it to somebody else to keep."""

    seq: int
    hash: str


def audit_path(lake: Path) -> Path:
    """Return where a lake's audit log is."""
    return lake / "restricted" / "audit" / "audit.jsonl"


def is_gone(lake: Path) -> bool:
    """Say whether a lake has no audit log, or an empty one."""
    path = audit_path(lake)
    return not path.exists() or path.stat().st_size == 0


def append(lake: Path, action: str, details: Mapping[str, object], *,
           actor: str | None = None) -> Head:
    """Write one record, durably, and return the new head.

    ``details`` takes JSON values and no secret. ``actor`` is the user of the system unless given.
    What a crash left of an unfinished record is set aside, and a record says so. Raises
    IntegrityError when the last record was changed, StorageError when nothing can be written.
    """
    path = audit_path(lake)
    with disk.guard(path, "the audit log cannot be written"), _locked(path) as descriptor:
        head, torn = _last(descriptor, path)
        who = user_name(os.getuid()) if actor is None else actor
        if torn:
            head = _set_torn_aside(descriptor, path, head, torn, who)
        return _write(descriptor, head, who, action, details)


def head(lake: Path) -> Head | None:
    """Return the last record's number and hash; None when there is no record.

    Only the end of the log is read. Raises IntegrityError when the last record was changed.
    """
    path = audit_path(lake)
    with disk.guard(path, "the audit log cannot be read"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            found, _ = _last(descriptor, path)
        finally:
            os.close(descriptor)
    return found if found.seq else None


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of the log at ``path`` in their order; what is none is left out."""
    yield from (r for r in _records(path) if r is not None and r.keys() == _FIELDS)


def verify(path: Path, head: Head | Sequence[Head] | None = None) -> list[str]:
    """Return what is wrong with the log at ``path``, a sentence each; [] when nothing is.

    Finds records that were edited, deleted, inserted, swapped or numbered twice, a log that was
    begun anew and for which nobody answered (`ACCEPTED`), and, with a ``head`` of before (or
    several), a tail that was cut off or a log that was rolled back.
    """
    problems: list[str] = []
    expected, previous, found = 1, GENESIS, dict[int, str]()
    answered = {str(r["details"].get("begun")) for r in _records(path)
                if r is not None and r.get("action") == ACCEPTED}
    for number, record in enumerate(_records(path), start=1):
        where = f"line {number}"
        if record is None or record.keys() != _FIELDS or not isinstance(record["seq"], int):
            problems.append(f"{where}: no record")
            expected, previous = expected + 1, ""
            continue
        seq = record["seq"]
        if _hash(record) != record["hash"]:
            problems.append(f"{where}: record {seq} was edited")
        if previous and record["prev"] != previous:
            problems.append(f"{where}: record {seq} does not follow the one before it")
        if record["action"] == BEGUN_ANEW and record["hash"] not in answered:
            problems.append(f"{where}: the log was begun anew, what stood before is gone")
        if seq in found:
            problems.append(f"{where}: number {seq} stands twice")
        elif seq != expected:
            problems.append(f"{where}: number {seq} where {expected} belongs")
        found.setdefault(seq, str(record["hash"]))
        expected, previous = seq + 1, str(record["hash"])
    for kept in [head] if isinstance(head, Head) else head or ():
        if kept.seq not in found:
            problems.append(f"the kept head, record {kept.seq}, is gone: the tail was cut off")
        elif found[kept.seq] != kept.hash:
            problems.append(f"record {kept.seq} is not the one of the kept head: the log was "
                            "rewritten")
    return problems


def _take(descriptor: int, path: Path) -> None:
    """Lock the log; others that write a record are waited for, each briefly, and not for ever."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise LakeBusy(
                    "another process holds the audit log, and does not go on", where=str(path),
                    remedy="See which (`fuser FILE`), end it if it hangs, then run again: without "
                           "a record nothing is answered.") from None
            time.sleep(0.01)
        else:
            return


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    disk.ensure_folder(path.parent.parent, 0o700)
    disk.ensure_folder(path.parent, 0o700)
    is_new = not path.exists()
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        _take(descriptor, path)
        if is_new:
            disk.sync(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, head: Head, actor: str, action: str,
           details: Mapping[str, object]) -> Head:
    record: dict[str, Any] = {
        "seq": head.seq + 1,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
        "actor": actor, "action": action, "details": json.loads(json.dumps(dict(details))),
        "prev": head.hash,
    }
    record["hash"] = _hash(record)
    disk.write_all(descriptor, (_canonical(record) + "\n").encode())
    os.fsync(descriptor)
    return Head(record["seq"], record["hash"])


def _last(descriptor: int, path: Path) -> tuple[Head, bytes]:
    """Return the last whole record, and the bytes of an unfinished one behind it."""
    end = os.fstat(descriptor).st_size
    tail = b""
    while end and tail.count(b"\n") < 2:
        start = max(0, end - _BLOCK)
        tail = disk.read_at(descriptor, end - start, start) + tail
        end = start
    whole, _, torn = tail.rpartition(b"\n")
    line = whole.rpartition(b"\n")[2]
    if not line:
        return Head(0, GENESIS), torn
    record = _parsed(line)
    if record is None or record.keys() != _FIELDS or _hash(record) != record["hash"]:
        raise IntegrityError("the last record of the audit log was changed", where=str(path),
                             remedy="Find out by whom; move the file away to begin a new log.")
    return Head(int(record["seq"]), str(record["hash"])), torn


def _set_torn_aside(descriptor: int, path: Path, head: Head, torn: bytes, actor: str) -> Head:
    digest = hashlib.sha256(torn).hexdigest()
    aside = path.with_name(f"{path.name}.{head.seq + 1}.{digest[:8]}.torn")
    for left in path.parent.glob(f".{path.name}.*{disk.TEMPORARY}"):
        left.unlink()  # of one who died right here; the lock is ours
    disk.replace(aside, torn, 0o600)
    os.ftruncate(descriptor, os.fstat(descriptor).st_size - len(torn))
    return _write(descriptor, head, actor, TORN,
                  {"bytes": len(torn), "sha256": digest, "kept_as": aside.name})


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    try:
        with disk.guard(path, "the audit log cannot be read"), path.open("rb") as stream:
            for line in stream:
                yield _parsed(line) if line.endswith(b"\n") else None
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    # One record has one spelling: a byte that changed without changing the meaning shows too.
    is_ours = isinstance(record, dict) and _canonical(record).encode() == line.rstrip(b"\n")
    return record if is_ours else None


def _hash(record: Mapping[str, Any]) -> str:
    content = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(_canonical(content).encode()).hexdigest()


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def user_name(number: int) -> str:
    """Return the name of a user of the system, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
