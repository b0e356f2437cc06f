"""What lies beside the tables: rights, the audit log, records of deletions."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from rsd import audit
from rsd.keeping import deletion
from rsd.keeping.problem import ERROR, NOTE, RESTORE, Problem
from rsd.lake import Lake

_MEND = "Run: rsd doctor --repair"


def check(lake: Lake, holder: str) -> Iterator[Problem]:
    """Yield what is wrong beside the tables; ``holder`` is what the lock's file said."""
    if holder:
        yield Problem(NOTE, None, str(lake.path / ".lock"), "a run died while it held the lake",
                      remedy="Nothing to do: the lock went with it.")
    if not lake.may_read_restricted:
        yield Problem(NOTE, None, str(lake.path / "restricted"), "not checked: no right to read it")
        return
    yield from _rights(lake)
    path = audit.audit_path(lake.path)
    if audit.is_gone(lake.path) and lake.table("runs").version() >= 0:
        yield Problem(ERROR, "audit", str(path), "there is no audit log",
                      "the records of the runs of this lake", f"{RESTORE} Find out who removed it.")
    for fault in audit.verify(path):
        yield Problem(ERROR, "audit", str(path), fault, "an unbroken chain",
                      f"{RESTORE} Find out who can write there.")
    for record, fault in deletion.faults(lake):
        yield Problem(ERROR, "deletions", str(record), fault, "the record as it was signed",
                      RESTORE)


def _rights(lake: Lake) -> Iterator[Problem]:
    """Find what others may read and must not."""
    folder = lake.path / "restricted"
    wanted = [(folder, 0o700), (lake.key_path, 0o600),
              *((p, 0o600) for p in lake.key_path.parent.glob(f"{lake.key_path.name}.*"))]
    for path, mode in wanted:
        if not path.exists():
            continue
        found = stat.S_IMODE(path.stat().st_mode)
        if found & 0o077:
            yield Problem(ERROR, None, str(path), f"mode {found:04o}: others may read it",
                          f"{mode:04o}", f"{_MEND}. If it was so for long, change the key.",
                          lambda path=path, mode=mode: _close(path, mode))  # type: ignore[misc]


def _close(path: Path, mode: int) -> None:
    path.chmod(mode)
