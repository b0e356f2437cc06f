"""What an answer was made from, and the lake as it stood then.

Every list, and every answer that is written to a file, has a companion ``FILE.provenance.json``:
the versions of all tables, the hashes of settings and regulations, the version of rsd. Given back
with ``--as-of``, the same command makes the same bytes. An instant, or versions by hand, do as
well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from rsd.columns import RESTRICTED_TABLES, TABLES
from rsd.errors import IntegrityError, UsageError
from rsd.exports.safety import printable, replacing
from rsd.lake import Lake, Pin, PinnedLake
from rsd.pipeline import kept
from rsd.pipeline.nightly import regulations_of
from rsd.storage import change, disk, log
from rsd.version import VERSION

FORMAT = "rsd provenance 1"
COMPANION = ".provenance.json"
"""What is put behind a file's name to name its companion."""

_VERSIONS = re.compile(r"\w+=-?\d+(,\w+=-?\d+)*")
_EXPECTED = ("an instant (2026-11-23 or 2026-11-23T08:00), FILE.provenance.json, or "
             "table=version,…")


def open_at(path: str | Path, as_of: str | None) -> PinnedLake:
    """Open a lake for reading: as it stands, or as it stood.

    Args:
        path: the lake.
        as_of: None for now; an instant in ISO 8601 (in the lake's zone unless it names one; a date
            means the end of that day); a file that an export left beside it, or that export; or
            versions as ``passes=12,findings=3``, the other tables as they stood with the newest
            of these.

    Raises:
        UsageError: the text is none of these; that time is yet to come or before the lake; its
            data were removed or its law was not kept.
        IntegrityError: what was kept was changed since.
        StorageError: a file of then is lost.
    """
    lake = Lake.open(path)
    return now(lake) if as_of is None else at(lake, as_of)


def now(lake: Lake) -> PinnedLake:
    """Return the lake as it stands, fixed: what is exported meanwhile does not count either."""
    view = lake.pinned()
    if view.pin.exports is not None:
        return view
    return lake.at(replace(view.pin, exports=len(exported_versions(view))))


def at(lake: Lake, as_of: str) -> PinnedLake:
    """Return the lake as it stood; arguments and errors as `open_at`."""
    if (instant := _instant(as_of, ZoneInfo(lake.timezone))) is not None:
        pin = _pin_of(lake, {}, instant)
    elif _VERSIONS.fullmatch(as_of):
        named = dict(part.split("=") for part in as_of.split(","))
        pin = _pin_of(lake, {_known(n): int(v) for n, v in named.items()}, None)
    else:
        pin = _pin_of_document(lake, _document(as_of))
    view = lake.at(pin)
    for name in pin.snapshots:  # before anything is shown: a purge may have taken that time away
        change.check_present(view.table(name), view.table(name).files())
    return view


def provenance(lake: Lake, **made: object) -> dict[str, Any]:
    """Return what an answer of a view of the lake is made from, as a document of JSON.

    ``made`` are the command and its options. Nothing in it depends on the time of asking.
    """
    view = now(lake)
    findings = view.table("findings")
    entry = log.read_entry(log.entry_path(findings.folder / "_delta_log", findings.version())
                           ) if findings.version() >= 0 else None
    stamp = (entry or [{}])[0].get("commitInfo", {}).get("timestamp")
    dated = {} if stamp is None else {
        "created_at": datetime.fromtimestamp(stamp / 1000, UTC).isoformat()}
    return {
        "format": FORMAT, "rsd": VERSION, "timezone": view.timezone, **dated,
        "tables": {name: snapshot.version for name, snapshot in view.pin.snapshots.items()},
        "settings": kept.settings_hash(view.configuration),
        "regulations": {r.id: r.sha256 for r in regulations_of(view)},
        "findings_by": _judged_by(view), "lists": kept.list_hashes(view),
        "exports": view.pin.exports, "made": made,
    }


def flat(document: Mapping[str, Any]) -> dict[str, str]:
    """Return a provenance as names and texts, for formats that have room for it."""
    told = {key: document[key] for key in ("rsd", "timezone", "created_at", "settings")
            if key in document}
    told |= {f"version of {name}": v for name, v in document["tables"].items()}
    told |= {f"regulation {name}": v for name, v in document["regulations"].items()}
    told |= {f"list {name}": v for name, v in document["lists"].items()}
    told |= {f"findings made by {k}": v for k, v in document["findings_by"].items()
             if document["regulations"].get(k) != v}
    return {key: str(value) for key, value in told.items()}


def keep_law(lake: Lake) -> None:
    """Keep the law and settings of an answer that is to be shown again, where one may write."""
    view = lake.pinned()
    if not view.pin.law and kept.may_keep(view):
        kept.keep(view, regulations_of(view))


def write_companion(path: Path, document: Mapping[str, Any], rows: int) -> None:
    """Write a provenance beside the file that it is about, with that file's hash.

    Raises:
        StorageError: it cannot be written.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    content = {**document, "rows": rows, "sha256": digest}
    with replacing(path.with_name(path.name + COMPANION)) as staged:
        staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n",
                          encoding="utf-8")


def exported_versions(lake: Lake) -> list[tuple[int, datetime | None]]:
    """Return the versions of the findings that were exported, and since when each one was.

    A view of before knows those of before. Whoever may not read ``restricted/`` knows none.
    """
    try:
        lines = exports_file(lake).read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []
    found = []
    for line in lines:
        version, _, since = line.partition(" ")
        try:
            found.append((int(version), datetime.fromisoformat(since) if since else None))
        except ValueError:
            raise IntegrityError("the list of exports was changed", where=str(exports_file(lake)),
                                 found=printable(line[:60]), expected="a version and an instant",
                                 remedy="Restore the file from a backup.") from None
    return found[:lake.pin.exports] if isinstance(lake, PinnedLake) else found


def remember_export(lake: Lake, rows: int) -> None:
    """Keep which version of the findings was exported: what is withdrawn is told from it.

    An export as of before counts too: somebody has that list now.
    """
    version = lake.table("findings").version()
    seen = exported_versions(Lake.open(lake.path))
    if not lake.may_read_restricted or not rows or version in [v for v, _ in seen]:
        return
    lines = [f"{v} {since.isoformat()}" if since else f"{v}" for v, since in
             [*seen, (version, datetime.now(UTC))]]
    disk.replace(exports_file(lake), ("\n".join(lines) + "\n").encode())


def exports_file(lake: Lake) -> Path:
    """Return where the versions of the findings that were exported are listed; it only grows."""
    return lake.path / "restricted" / "exported_versions"


def _judged_by(lake: Lake) -> dict[str, str]:
    """Return by which files the findings were made: regulation → hash, several with commas."""
    pairs = lake.table("findings").scan().select("regulation_id", "regulation_sha256").unique()
    found: dict[str, list[str]] = {}
    for name, sha256 in pairs.sort(pl.all()).collect().iter_rows():
        found.setdefault(str(name), []).append(str(sha256))
    return {name: ", ".join(hashes) for name, hashes in found.items()}


def _instant(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the instant that a text means, or None; a date is the end of its day."""
    now = datetime.now(UTC)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        end = datetime.combine(day + timedelta(days=1), time(), zone) - timedelta(microseconds=1)
        return _past(min(end, now) if day <= now.astimezone(zone).date() else end, now)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _past(moment if moment.tzinfo else moment.replace(tzinfo=zone), now)


def _past(moment: datetime, now: datetime) -> datetime:
    if moment > now:
        raise UsageError("that time is yet to come", where="--as-of", found=moment.isoformat(),
                         expected=f"at most {now.isoformat(timespec='seconds')}")
    return moment


def _known(table: str) -> str:
    if table not in TABLES:
        raise UsageError("no such table", where="--as-of", found=table,
                         expected=", ".join(TABLES))
    return table


def _document(text: str) -> dict[str, Any]:
    """Return the provenance in a file, or in the companion of a file."""
    companion = Path(text if text.endswith(COMPANION) else text + COMPANION)
    try:
        is_there = bool(text) and companion.is_file()
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        raise UsageError("no time of the lake", where="--as-of", found=printable(repr(text[:200])),
                         expected=_EXPECTED,
                         remedy="Keep FILE.provenance.json beside the file that it is about.")
    try:
        content = json.loads(companion.read_bytes())
        is_ours = content["format"] == FORMAT
        content["tables"] = {_known(str(n)): int(v) for n, v in content["tables"].items()}
        for key in ("regulations", "lists"):
            content[key] = {str(k): str(v) for k, v in content[key].items()}
        int(content["exports"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_ours = False
    if not is_ours:
        raise UsageError("no provenance of rsd", where=printable(str(companion)),
                         expected=f'a JSON object with "format": "{FORMAT}"')
    return dict(content)


def _pin_of_document(lake: Lake, document: dict[str, Any]) -> Pin:
    if document["rsd"] != VERSION:
        lake.notices.append(f"made by rsd {document['rsd']}, this is {VERSION}: the facts are the "
                            "same, the bytes may differ")
    snapshots, _ = _snapshots(lake, document["tables"], None)
    law = document["regulations"]
    return Pin(snapshots, kept.configuration_of(lake, str(document["settings"])), law,
               _folders(lake, law), int(document["exports"]), document["lists"])


def _pin_of(lake: Lake, versions: Mapping[str, int], instant: datetime | None) -> Pin:
    snapshots, moment = _snapshots(lake, versions, instant)
    exports = sum(since is None or since <= moment for _, since in exported_versions(lake))
    state = _state_at(lake, moment)
    if state is None:
        return Pin(snapshots, lake.configuration, exports=exports)
    return Pin(snapshots, kept.configuration_of(lake, state.settings), state.regulations,
               _folders(lake, state.regulations), exports, state.lists)


def _snapshots(lake: Lake, versions: Mapping[str, int], instant: datetime | None,
               ) -> tuple[dict[str, log.Snapshot], datetime]:
    """Return the tables at versions, and the instant at which those not named are taken.

    Unless it is given, that is the instant of the newest version that is named.
    """
    readable = [n for n in TABLES if lake.may_read_restricted or n not in RESTRICTED_TABLES]
    tables = {name: lake.table(name) for name in readable}
    if instant is None:
        times = [commit.at for name in tables.keys() & versions.keys()
                 for commit in tables[name].history() if commit.version == versions[name]]
        instant = max(times, default=datetime.min.replace(tzinfo=UTC))
    return {name: table.snapshot(versions[name] if name in versions
                                 else table.version_at(instant))
            for name, table in tables.items()}, instant


def _state_at(lake: Lake, instant: datetime) -> kept.State | None:
    """Return the law and settings that stood at an instant; None for a lake that kept none."""
    known = kept.states(lake)
    stood = [state for state in known if state.at <= instant]
    if stood:
        return stood[-1]
    if known and not _is_older(lake, known[0].at):
        raise UsageError("the lake was not there yet", where="--as-of",
                         found=instant.isoformat(timespec="seconds"),
                         expected=f"{known[0].at.isoformat(timespec='seconds')} or later")
    lake.notices.append("the law and the settings of that time are not kept, as in a lake that an "
                        "earlier rsd made: today's are used")
    return None


def _is_older(lake: Lake, instant: datetime) -> bool:
    """Say whether something was committed before an instant."""
    return any(lake.table(n).version_at(instant) >= 0 for n in ("sites", "passes", "findings"))


def _folders(lake: Lake, law: Mapping[str, str]) -> tuple[Path, ...]:
    return tuple(folder for sha256 in law.values()
                 if (folder := kept.law_folder(lake, sha256)).is_dir())
