"""An independent reading of a lake: what it promises, looked at from outside.

It imports nothing of rsd: it replays the Delta logs itself, reads the Parquet files with pyarrow,
and counts the records of the dumps itself. Slow on purpose, and only for the dumps that the fault
tests write (GB18030 CSV with the columns ``jlbh, btgdjg, hphm …``, one record a line).

As a program: ``python tests/faults/checker.py LAKE [DUMP…]`` prints what is wrong.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import re
import sys
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

OPEN = ("passes", "sites", "segments", "findings", "runs", "reviews")
RESTRICTED = ("vehicles", "evidence", "quarantine")
_ENTRY = re.compile(r"\d{20}\.json")
_KEPT = re.compile(r"\d{20}\.(json|checkpoint\.parquet)|_last_checkpoint"
                   r"|\d{20}\.json\.\d{8}T\d+\.torn")
_UNPUBLISHED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp|.*\.(tmp|temp|part|partial)")
_BATCH_FILE = re.compile(r"part-(.+)-\d{5}-[0-9a-f]{8}\.parquet")
_OF_THE_RUN = {"run_id", "started_at", "file", "state", "error", "version", "replicates"}


@dataclass
class Log:
    """One table by its log: active files, all files ever named, transactions, entries."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)
    transactions: list[str] = field(default_factory=list)
    entries: list[list[dict[str, Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def table_folder(lake: Path, name: str) -> Path:
    return lake / ("open" if name in OPEN else "restricted") / name


def tables(lake: Path) -> list[str]:
    """Return the names of the tables that this lake has a log of."""
    return [p.parent.name for part in ("open", "restricted")
            for p in sorted((lake / part).glob("*/_delta_log"))]


def held_back(lake: Path) -> dict[str, int]:
    """Return the versions at which readers stay while a change of several tables is under way."""
    try:
        change = json.loads((lake / ".change").read_bytes())
    except FileNotFoundError:
        return {}
    return {} if change["is_published"] else change["versions"]


def replay(folder: Path) -> Log:
    """Apply the entries of a log one after the other; a torn last one does not count."""
    log = Log()
    until = held_back(folder.parents[1]).get(folder.name)
    directory = folder / "_delta_log"
    names = sorted(p.name for p in directory.glob("*.json") if _ENTRY.fullmatch(p.name))
    for number, name in enumerate(names):
        actions = _entry(directory / name)
        if actions is None:
            if number != len(names) - 1:
                log.problems.append(f"{directory / name}: torn, and not the last")
            continue
        if until is not None and number > until:
            log.ever |= {a["add"]["path"] for a in actions if "add" in a}
            continue
        if int(name[:20]) != number:
            log.problems.append(f"{directory / name}: entry {number} is missing")
        log.entries.append(actions)
        for action in actions:
            if "remove" in action:
                gone = urllib.parse.unquote(action["remove"]["path"])
                if log.files.pop(gone, None) is None:
                    log.problems.append(f"{directory / name}: removes {gone}, which is not active")
        for action in actions:
            if "add" in action:
                log.files[urllib.parse.unquote(action["add"]["path"])] = action["add"]
                log.ever.add(urllib.parse.unquote(action["add"]["path"]))
            if "txn" in action:
                log.transactions.append(action["txn"]["appId"])
    return log


def _entry(path: Path) -> list[dict[str, Any]] | None:
    try:
        actions = [json.loads(line) for line in path.read_bytes().splitlines()]
    except ValueError:
        return None
    head = actions[0].get("commitInfo", {}) if actions else {}
    counted = head.get("rsdActions", len(actions) - 1)
    return actions if actions and counted == len(actions) - 1 else None


def batches(lake: Path) -> set[str]:
    """Return the ids of the batches that exist: passes carries them."""
    known = replay(table_folder(lake, "passes")).transactions
    return {t.removeprefix("batch:") for t in known if t.startswith("batch:")}


def rows(lake: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows that exist for readers; fails where a file is not as its log says."""
    folder = table_folder(lake, name)
    found: list[dict[str, Any]] = []
    existing = batches(lake)
    for path in replay(folder).files:
        batch = _BATCH_FILE.fullmatch(path)
        if name in ("evidence", "quarantine") and batch and batch[1] not in existing and not (
                batch[1].startswith("compacted")):
            continue
        found += _parsed((folder / path).read_bytes())
    return found


@functools.lru_cache(256)
def _parsed(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file; thousands of states hold the same few files."""
    return pq.read_table(pa.BufferReader(data)).to_pylist()


def content(lake: Path, name: str) -> str:
    """Return a hash of a table's rows: neither order nor layout of files matters."""
    without = _OF_THE_RUN if name == "runs" else set[str]()
    kept = rows(lake, name)
    if name == "runs":  # what was sent again changes nothing, and says so each time
        kept = [row for row in kept if row["state"] == "done"]
    texts = [json.dumps({k: _plain(v) for k, v in sorted(row.items()) if k not in without},
                        sort_keys=True) for row in kept]
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool, type(None))) else repr(value)


def view(lake: Path, names: Iterable[str] = ("passes", "evidence", "quarantine", "vehicles",
                                             "findings", "runs")) -> dict[str, str]:
    """Return what a reader sees: the content hash of each table."""
    return {name: content(lake, name) for name in names}


def problems(lake: Path) -> list[str]:
    """Return what contradicts the logs: missing, changed or wrongly counted files, lost order."""
    found = []
    for name in tables(lake):
        folder = table_folder(lake, name)
        log = replay(folder)
        found += log.problems
        for path, add in log.files.items():
            file = folder / path
            if not file.is_file():
                found.append(f"{file}: missing")
                continue
            data = file.read_bytes()
            if len(data) != add["size"]:
                found.append(f"{file}: {len(data)} bytes, the log says {add['size']}")
            elif hashlib.sha256(data).hexdigest() != (add.get("tags") or {}).get("sha256"):
                found.append(f"{file}: content was changed")
            elif len(_parsed(data)) != json.loads(add["stats"])["numRecords"]:
                found.append(f"{file}: another number of rows than the log says")
        twice = [t for t, n in Counter(log.transactions).items() if n > 1 and name == "passes"]
        found += [f"{folder}: transaction {t} stands twice" for t in twice]
    return found + _ahead(lake)


def _ahead(lake: Path) -> list[str]:
    """Return which tables do not reach the version that the lake says they have reached."""
    try:
        told = json.loads((lake / ".versions").read_bytes())
    except FileNotFoundError:
        return []
    reached = {  # by the log alone: also while a change holds readers back
        name: sum(_entry(p) is not None for p in (table_folder(lake, name) / "_delta_log").glob(
            "*.json") if _ENTRY.fullmatch(p.name)) - 1 for name in tables(lake)}
    return [f"{name}: version {version} was reached, the log has {reached.get(name, -1)}"
            for name, version in told.items() if reached.get(name, -1) < version]


def litter(lake: Path) -> list[str]:
    """Return what dead writers left: unpublished files anywhere, data files that no log names."""
    kept = set[str]()
    for name in tables(lake):
        kept |= replay(table_folder(lake, name)).ever
    return sorted(
        str(p.relative_to(lake)) for p in lake.rglob("*")
        if _UNPUBLISHED.fullmatch(p.name) or p.name in (".unfinished", ".change")
        or (p.suffix == ".parquet" and p.parent.name != "_delta_log" and p.name not in kept)
        or (p.parent.name == "_delta_log" and not _KEPT.fullmatch(p.name)))


# --- the dumps' side ----------------------------------------------------------------------------

@dataclass(frozen=True)
class Record:
    """A good record of a dump: its key, what makes it another version, and its line."""

    key: str
    version: str
    line: int


@dataclass
class Dump:
    """What a dump must come to, by this module's own reading."""

    sha256: str
    good: list[Record]
    bad: list[tuple[int, bytes]]

    @property
    def records(self) -> int:
        return len(self.good) + len(self.bad)


def read_dump(path: Path) -> Dump:
    """Read a dump line by line. Bad: another number of fields, no number, no end of line."""
    data = path.read_bytes()
    lines = data.split(b"\n")
    is_torn = lines[-1] != b""
    body = list(enumerate(lines[1:] if is_torn else lines[1:-1], start=2))
    header = next(csv.reader([lines[0].decode("gb18030")]))
    good, bad = [], []
    for number, raw in body:
        if not raw.strip():
            continue
        cells = next(csv.reader([raw.decode("gb18030", "replace")]))
        cell = dict(zip(header, cells, strict=False))
        is_last_torn = is_torn and number == body[-1][0]
        if is_last_torn or len(cells) != len(header) or not _is_number(cell["btgdjg"]):
            bad.append((number, raw))
        else:
            good.append(Record(cell["jlbh"], _version(cell["btgdjg"], cell["tp1"]), number))
    return Dump(hashlib.sha256(data).hexdigest(), good, bad)


def _is_number(text: str) -> bool:
    try:
        return text == "" or float(text) == float(text)
    except ValueError:
        return False


def _version(opacity: str, photo: str) -> str:
    return f"{float(opacity) if opacity else None}/{photo or None}"


@dataclass
class Account:
    """What became of the records of all dumps that the lake says it has."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    records: int = 0

    @property
    def problems(self) -> list[str]:
        return [*(f"lost: {t}" for t in self.lost), *(f"doubled: {t}" for t in self.doubled),
                *self.wrong]


def account(lake: Path, dumps: Mapping[str, Dump]) -> Account:
    """Compare the lake with the dumps (by hash) that it has: each record is there, and once.

    The order in which dumps came is that of the transactions of passes. The rule: of a key, the
    first record of a content is a version, a further one a duplicate; the version that came last
    is the current one.
    """
    found = Account()
    passes = replay(table_folder(lake, "passes"))
    sent = [t.removeprefix("source:") for t in passes.transactions if t.startswith("source:")]
    stored = _stored(lake)
    quarantined = Counter((r["source_sha256"], r["line"], bytes(r["raw"]))
                          for r in rows(lake, "quarantine"))
    infos = _sources(passes)
    versions: dict[str, list[str]] = {}
    wanted: Counter[tuple[str, str, str, int]] = Counter()
    wanted_bad: Counter[tuple[str, int, bytes]] = Counter()
    for sha in sent:
        if sha not in dumps:
            found.wrong.append(f"the lake has a dump {sha[:8]} that nobody sent")
            continue
        dump = dumps[sha]
        found.records += dump.records
        accepted = 0
        for record in dump.good:
            contents = versions.setdefault(record.key, [])
            if record.version not in contents:
                contents.append(record.version)
                wanted[sha, record.key, record.version, record.line] += 1
                accepted += 1
        wanted_bad.update((sha, line, raw) for line, raw in dump.bad)
        counted = infos.get(sha, {})
        told = {k: counted.get(k) for k in ("records", "accepted", "quarantined", "duplicates")}
        if told != {"records": dump.records, "accepted": accepted, "quarantined": len(dump.bad),
                    "duplicates": len(dump.good) - accepted}:
            found.wrong.append(f"dump {sha[:8]}: the commit counts {told}")
    keys = set(stored)
    for key, number in stored.items():
        if number > wanted[key]:
            found.doubled.append(str(key))
    found.lost += [str(key) for key in wanted if key not in keys]
    found.lost += [f"quarantined {k}" for k, n in wanted_bad.items() if quarantined[k] < n]
    found.doubled += [f"quarantined {k}" for k, n in quarantined.items() if n > wanted_bad[k]]
    current = {(r["record_id"], r["is_current"]) for r in rows(lake, "passes")}
    currents = Counter(r["record_id"] for r in rows(lake, "passes") if r["is_current"])
    found.wrong += [f"{k}: {n} current versions" for k, n in currents.items() if n != 1]
    found.wrong += [f"{k}: no current version" for k in versions if (k, True) not in current]
    found.wrong += _not_newest(lake, versions)
    named = Counter(r["vehicle_id"] for r in rows(lake, "vehicles"))
    found.wrong += [f"vehicle {v} stands {n} times" for v, n in named.items() if n > 1]
    seen = {r["vehicle_id"] for r in rows(lake, "passes")} - {None}
    found.wrong += [f"vehicle {v} has no plate" for v in seen - set(named)]
    return found


def _stored(lake: Path) -> Counter[tuple[str, str, str, int]]:
    photos = {(r["source_sha256"], r["source_line"]): r for r in rows(lake, "evidence")}
    counted: Counter[tuple[str, str, str, int]] = Counter()
    for row in rows(lake, "passes"):
        place = row["source_sha256"], row["source_line"]
        counted[place[0], row["record_id"], _of(row, photos.get(place)), place[1]] += 1
    return counted


def _of(row: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> str:
    photo = next((v for k, v in (evidence or {}).items() if k.startswith("photo") and v), None)
    return f"{row['opacity_pct']}/{photo}"


def _not_newest(lake: Path, versions: Mapping[str, Sequence[str]]) -> list[str]:
    photos = {(r["source_sha256"], r["source_line"]): r for r in rows(lake, "evidence")}
    wrong = []
    for row in rows(lake, "passes"):
        known = versions.get(row["record_id"])
        if row["is_current"] and known:
            seen = _of(row, photos.get((row["source_sha256"], row["source_line"])))
            if seen != known[-1]:
                wrong.append(f"{row['record_id']}: current is {seen}, the newest is {known[-1]}")
    return wrong


def _sources(log: Log) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for actions in log.entries:
        info = actions[0].get("commitInfo", {}).get("rsd", {})
        found |= info.get("sources", {})
    return found


def missing_runs(lake: Path) -> list[str]:
    """Return the committed dumps whose account is not in the table of runs."""
    told = Counter(r["sha256"] for r in rows(lake, "runs") if r["state"] == "done")
    sent = _sources(replay(table_folder(lake, "passes")))
    return [f"{s}: {told[s]} accounts of one dump" for s in sent if told[s] != 1]


def all_problems(lake: Path, dumps: Iterable[Path] = ()) -> list[str]:
    """Return everything that is wrong with a lake at rest, litter included."""
    known = {d.sha256: d for d in map(read_dump, dumps)}
    return [*problems(lake), *(f"litter: {name}" for name in litter(lake)),
            *missing_runs(lake), *(account(lake, known).problems if known else [])]


if __name__ == "__main__":
    wrong = all_problems(Path(sys.argv[1]), map(Path, sys.argv[2:]))
    print("\n".join(wrong) or "the lake holds")
    sys.exit(bool(wrong))
