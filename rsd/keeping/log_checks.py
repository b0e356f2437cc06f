"""The logs: whole, in order, summed up rightly, and what they were when last looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsd import audit
from rsd.keeping.problem import ERROR, NOTE, RESTORE, WARNING, Problem
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.storage import checkpoint, log, reached

ACTION = "doctor"
"""Action of the audit records that hold the heads of all logs."""

LET_GO = "doctor let an entry go"
"""Action of the record by which a table goes on without entries that are lost."""

_MEND = "Run: rsd doctor --repair"
_ANEW = {"findings": "Then rsd find LAKE computes the findings anew.",
         "runs": "The accounts of committed dumps are told anew by the next run, those of refused "
                 "ones are lost."}
_LATER = f"{RESTORE} Later entries stand on it: nothing else can put it right."


def lost(lake: Lake) -> Iterator[Problem]:
    """Yield which entries at the end of a log were committed and are torn or gone."""
    for name, path in lake.lost().items():
        found = "torn, and it was committed" if path.exists() else "gone, and it was committed"
        told = reached.told(lake.path)[name]
        if name in _ANEW and path.exists():  # what is left of it is set aside, not lost
            remedy = f"{RESTORE} Without one: rsd doctor --repair goes on without it. {_ANEW[name]}"
            yield Problem(ERROR, name, str(path), found, f"entries up to {told}", remedy,
                          lambda name=name: _let_go(lake, name))  # type: ignore[misc]
        else:
            yield Problem(ERROR, name, str(path), found, f"entries up to {told}",
                          f"{RESTORE} Without one, make a new lake from the dumps.")
    if reached.unreadable(lake.path):
        yield Problem(WARNING, None, str(lake.path / reached.NAME), "unreadable",
                      "the versions that were reached", _MEND,
                      (lake.path / reached.NAME).unlink)


def _let_go(lake: Lake, name: str) -> None:
    trail.record(lake, LET_GO, {"table": name, "lost": lake.lost()[name].name})
    lake.go_on_without(name)


def check(lake: Lake, name: str) -> Iterator[Problem]:
    """Yield what is wrong with the log of a table."""
    folder = lake.table(name).folder / "_delta_log"
    entries, checkpoints = log.versions(folder)
    last = max([*entries, *checkpoints], default=-1)
    for version in sorted(set(range(last + 1)) - set(entries)):
        yield Problem(ERROR, name, str(log.entry_path(folder, version)), "missing", "an entry",
                      _LATER)
    whole = True
    for version in entries:
        path = log.entry_path(folder, version)
        actions = log.read_entry(path)
        if actions is None:
            whole = False
            yield Problem(ERROR, name, str(path), "torn, or lines were added or taken out",
                          "as many actions as its first line says", _LATER)
        elif "rsdActions" not in (actions[0].get("commitInfo") or {}):
            yield Problem(NOTE, name, str(path), "written by another program")
    if folder.is_dir():
        for path in sorted(folder.glob("*.torn")):
            yield Problem(NOTE, name, str(path), "an entry that a crash tore, set aside",
                          remedy="It was never committed: you may delete it.")
    if whole and entries == list(range(last + 1)):
        yield from _checkpoints(lake, name, folder, checkpoints, last)


def _checkpoints(lake: Lake, name: str, folder: Path, checkpoints: list[int],
                 last: int) -> Iterator[Problem]:
    due = max(0, last) // checkpoint.EVERY * checkpoint.EVERY
    table = lake.table(name).folder

    def remake(version: int) -> None:
        log.checkpoint_path(folder, version).unlink(missing_ok=True)
        checkpoint.make(table, version)

    for version in checkpoints:
        found, right = log.by_checkpoint(folder, version), log.replayed(folder, version)
        if found is None or not _same(found, right):
            yield Problem(
                WARNING, name, str(log.checkpoint_path(folder, version)),
                "unreadable" if found is None else "not what the entries say",
                "the sum of the entries", _MEND,
                lambda version=version: remake(version))  # type: ignore[misc]
    if due and due not in checkpoints:
        yield Problem(WARNING, name, str(log.checkpoint_path(folder, due)), "missing",
                      f"one in {checkpoint.EVERY} entries", _MEND,
                      lambda: remake(due))


def _same(one: log.Snapshot, other: log.Snapshot) -> bool:
    def facts(state: log.Snapshot) -> dict[str, tuple[int, str | None]]:
        return {name: (file.size, file.sha256) for name, file in state.files.items()}

    return facts(one) == facts(other) and set(one.transactions) == set(other.transactions)


def heads(lake: Lake, names: list[str]) -> dict[str, list[Any]]:
    """Return, a table, its last version and the hash of the chain of its entries up to it."""
    found = {}
    for name in names:
        if chain := _chain(lake, name):
            version = max(chain)
            found[name] = [version, chain[version]]
    return found


def visits(lake: Lake) -> list[dict[str, Any]]:
    """Return what the doctor wrote into the audit before; [] for whoever may not read it."""
    if not lake.may_read_restricted:
        return []
    return [record for record in audit.records(audit.audit_path(lake.path))
            if record["action"] in (ACTION, LET_GO)]


def check_heads(lake: Lake, names: list[str]) -> Iterator[Problem]:
    """Yield which logs are not what they were when the doctor last wrote their heads down.

    An entry that was edited in a way that fits its files is found by this alone. It cannot find
    what was written and edited since, nor an edit by somebody who rewrote the audit log too: for
    that its head must be kept elsewhere.
    """
    noted = visits(lake)
    for name in names:
        chain, right = _chain(lake, name), -1
        place = str(lake.table(name).folder / "_delta_log")
        for record, version, digest in _noted(noted, name):
            if chain.get(version) == digest:
                right = max(right, version)
                continue
            last = max(chain, default=-1)
            found = (f"the log ends at version {last}: it was rolled back" if version > last else
                     f"an entry of versions {right + 1} to {version} was edited")
            yield Problem(ERROR, name, place, found, f"the log as on {record['at'][:10]}",
                          f"{RESTORE} Find out who can write there.")
            break


def _noted(records: list[dict[str, Any]], name: str) -> list[tuple[dict[str, Any], int, str]]:
    """Return the heads of a table that were written down, but for those that were let go of."""
    found: list[tuple[dict[str, Any], int, str]] = []
    for record in records:
        details = record["details"]
        if record["action"] == LET_GO and details.get("table") == name:
            lost = int(str(details["lost"]).partition(".")[0])
            found = [one for one in found if one[1] < lost]
        told = (details.get("heads") or {}).get(name)
        if isinstance(told, list) and len(told) == 2:
            found.append((record, *told))
    return found


def _chain(lake: Lake, name: str) -> dict[int, str]:
    """Return version → hash over its entry and all before it."""
    folder = lake.table(name).folder / "_delta_log"
    digest, found = "", {}
    for version in log.versions(folder)[0]:
        entry = hashlib.sha256(log.entry_path(folder, version).read_bytes()).hexdigest()
        digest = hashlib.sha256(json.dumps([digest, version, entry]).encode()).hexdigest()
        found[version] = digest
    return found
