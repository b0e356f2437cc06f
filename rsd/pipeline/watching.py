"""The audit log read: is its chain whole, and who did what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd import audit
from rsd.errors import IntegrityError, PolicyRefusal, UsageError
from rsd.lake import Lake
from rsd.storage import disk

_TOLD: dict[str, pl.DataType | type[pl.DataType]] = {
    "seq": pl.Int64, "at": pl.Datetime("us", "UTC"), "actor": pl.String, "login": pl.String,
    "role": pl.String, "action": pl.String, "reason": pl.String, "rows": pl.Int64,
    "plates_shown": pl.Int64, "details": pl.String,
}


@dataclass(frozen=True)
class Checked:
    """What a check of the log looked at; ``answers``: of whom, when and why a late beginning was
    answered for."""

    records: int
    heads: int
    answers: tuple[str, ...] = ()


def check(lake: Lake, head_file: Path | None = None) -> Checked:
    """Verify the log's chain, and that every head in a file of kept ones is still in it.

    Raises:
        IntegrityError: something was changed; the message names the first places.
        PolicyRefusal: without the right to read ``restricted/``.
        UsageError: the file holds no heads.
    """
    path = _readable(lake)
    heads = [] if head_file is None else _heads(head_file)
    if not path.exists():
        raise IntegrityError("there is no audit log", where=str(path),
                             expected="the records of the runs of this lake",
                             remedy="Restore it from a backup; find out who removed it.")
    problems = audit.verify(path, heads)
    if problems:
        raise IntegrityError("the audit log was changed", where=str(path),
                             found="; ".join(problems[:5]) + (
                                 f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
                             remedy="Compare it with a backup; find out by whom. A log that was "
                                    "begun anew for a reason: rsd audit accept")
    records = list(audit.records(path))
    return Checked(len(records), len(heads), tuple(
        f"record {r['seq']}, {r['at']}: {r['details'].get('login') or r['actor']} answers for the "
        f"beginning: {r['details'].get('reason')}"
        for r in records if r["action"] == audit.ACCEPTED))


def head_of(lake: Lake) -> audit.Head:
    """Return the last record's number and hash.

    Raises:
        IntegrityError: the last record was changed, or there is none.
        PolicyRefusal: without the right to read ``restricted/``.
    """
    path = _readable(lake)
    found = audit.head(lake.path)
    if found is None:
        raise IntegrityError("there is no audit log", where=str(path),
                             remedy="Restore it from a backup; find out who removed it.")
    return found


def told(lake: Lake, *, action: str | None = None, actor: str | None = None,
         since: str | None = None, shown_plates: bool = False) -> pl.DataFrame:
    """Return the records, the first one first: ``seq, at, actor, login, role, action, reason,
    rows, plates_shown, details``.

    Args:
        lake: the lake.
        action: only actions with this text in their name.
        actor: only what this user did, as the process's user or by login.
        since: only from this date or instant on (ISO 8601, in the lake's zone).
        shown_plates: only where plates were shown in clear.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
        UsageError: ``since`` is no date.
    """
    start = None if since is None else _start(since, ZoneInfo(lake.timezone))
    rows = [_row(record) for record in audit.records(_readable(lake))
            if (action is None or action in record["action"])
            and (start is None or datetime.fromisoformat(record["at"]) >= start)]
    frame = pl.DataFrame(rows, schema=_TOLD, orient="row")
    if actor is not None:
        frame = frame.filter(pl.any_horizontal(
            pl.col("actor", "login").fill_null("") == actor))
    return frame.filter(pl.col("plates_shown") > 0) if shown_plates else frame


def _row(record: Mapping[str, Any]) -> tuple[object, ...]:
    details = dict(record["details"])
    known = {name: details.pop(name, None) for name in ("login", "role", "reason", "rows",
                                                        "plates_shown")}
    # before there was a count, a record said only that plates were shown
    shown = known["plates_shown"]
    count = int(shown) if isinstance(shown, int) else int(details.get("plates") is True)
    texts = [None if known[n] is None else str(known[n]) for n in ("login", "role", "reason")]
    rows = known["rows"] if isinstance(known["rows"], int) else None
    return (record["seq"], datetime.fromisoformat(record["at"]), record["actor"], *texts[:2],
            record["action"], texts[2], rows, count, json.dumps(details, ensure_ascii=False))


def _start(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("no date", where="--since", found=repr(text),
                         expected="a date or an instant, as 2026-11-23 or 2026-11-23T08:00",
                         ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _heads(path: Path) -> list[audit.Head]:
    try:
        with disk.guard(path, "the kept heads cannot be read"):
            lines = path.read_text(encoding="utf-8").split("\n")
        found = [audit.Head(int(head["seq"]), str(head["hash"]))
                 for line in lines if line.strip() for head in [json.loads(line)]]
    except (ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise UsageError("no kept head of an audit log", where=str(path),
                         expected='lines as {"seq": 7, "hash": "…"}',
                         remedy="Make it with: rsd audit head LAKE -o FILE")
    return found


def _readable(lake: Lake) -> Path:
    if not lake.may_read_restricted:
        raise PolicyRefusal("the audit may not be read", where=str(lake.path / "restricted"),
                            found="no right to read it", remedy="Ask who holds the right.")
    return audit.audit_path(lake.path)
