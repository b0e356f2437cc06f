"""What a run is doing: ``LAKE/status.json`` while it goes on, its log events, its audit records.

The file is replaced at once, at most once a second, and not flushed: it is for monitoring, and a
power loss may leave an older one. It stays after the run. A run that was killed cannot say so: it
is told by its process, which is no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from logging import ERROR, INFO, WARNING
from pathlib import Path
from typing import Any

from rsd.errors import StorageError
from rsd.lake import Lake
from rsd.pipeline import trail
from rsd.pipeline.logs import event
from rsd.pipeline.masking import mask_chinese_plates
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.storage import disk, lock
from rsd.version import VERSION

EVERY_S = 1.0
"""Seconds between two writings of the status; choice of this project."""

_CODES = {KeyboardInterrupt: 130, SystemExit: 1}


@dataclass
class Status:
    """The content of ``status.json``. ``state``: running, done, failed or interrupted.

    ``exit_code`` is null while it runs. Of ``files`` that were named, ``file_number`` are done;
    ``file`` is the one that is read.
    """

    command: str
    state: str = "running"
    step: str = "start"
    run_id: str | None = None
    exit_code: int | None = None
    file: str | None = None
    file_number: int = 0
    files: int = 0
    refused: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    records: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicates: int = 0
    last_error: str | None = None
    started_at: str = ""
    updated_at: str = ""
    ended_at: str | None = None
    rsd: str = VERSION
    process: Mapping[str, str | int] = field(default_factory=lock.identity)


class Watch:
    """What a run tells of itself; get one with `watched`."""

    def __init__(self, lake: Lake, command: str) -> None:
        self._lake, self._next, self.code = lake, 0.0, 0
        self.status = Status(command, started_at=_now())

    def begin(self, run_id: str, files: int, bytes_total: int) -> None:
        """Say which run it is and what it will read."""
        status = self.status
        status.run_id, status.files, status.bytes_total = run_id, files, bytes_total
        self.tell("run started", command=status.command, files=files, bytes=bytes_total)
        for notice in self._lake.notices:
            self.warn(notice)
        self._write(is_due=True)

    def step(self, name: str) -> None:
        """Say what the run does now: read, find, …"""
        self.status.step, self.status.file = name, None
        self._write(is_due=True)

    def reading(self, file: str) -> None:
        """Say which file is opened."""
        self.status.file = mask_chinese_plates(file)
        self._write()

    def progress(self, done: int, total: int) -> None:
        """Say how many bytes are done with."""
        self.status.bytes_done, self.status.bytes_total = done, total
        self._write()

    def ended(self, file: FileSummary) -> None:
        """Say what became of a file."""
        status = self.status
        status.file_number += 1
        for name in ("records", "accepted", "quarantined", "duplicates"):
            setattr(status, name, getattr(status, name) + getattr(file, name))
        facts = asdict(file)
        del facts["error"], facts["notices"]
        if file.state == "refused":
            status.refused += 1
            status.last_error = mask_chinese_plates(file.error or "")
            self.tell("file refused", level=ERROR, **facts, error=file.error)
        else:
            self.tell(f"file {file.state}", **facts)
        for notice in file.notices:
            self.warn(notice, file=file.file)
        self._write()

    def batch(self, files: Sequence[FileSummary]) -> None:
        """Say what became of the files of one commit."""
        done = [file for file in files if file.state == "done"]
        if done:
            self.tell("batch committed", files=len(done),
                      records=sum(file.records for file in done))
        for file in files:
            self.ended(file)

    def warn(self, text: str, **fields: object) -> None:
        """Tell what somebody should look at."""
        self.tell("warning", level=WARNING, text=text, **fields)

    def tell(self, name: str, *, level: int = INFO, **fields: object) -> None:
        """Tell an event of this run."""
        event(name, level=level, run_id=self.status.run_id, lake=str(self._lake.path), **fields)

    def finish(self, code: int, state: str, error: str | None = None) -> None:
        """Say how it ended."""
        status = self.status
        status.state, status.exit_code, status.step = state, code, "end"
        status.file, status.ended_at = None, _now()
        if error is not None:
            status.last_error = mask_chinese_plates(error)
        self.tell("run ended", level=INFO if code == 0 else ERROR, command=status.command,
                  state=state, exit_code=code, records=status.records, accepted=status.accepted,
                  quarantined=status.quarantined, duplicates=status.duplicates, error=error)
        self._write(is_due=True)

    def _write(self, *, is_due: bool = False) -> None:
        now = time.monotonic()
        if not is_due and now < self._next:
            return
        self._next = now + EVERY_S
        self.status.updated_at = _now()
        with contextlib.suppress(OSError):  # a full disk shows itself where it matters
            _replace(status_path(self._lake.path), asdict(self.status))


class _Silent(Watch):
    """Tells nothing: a rehearsal is no run."""

    def tell(self, name: str, *, level: int = INFO, **fields: object) -> None:
        """Tell nothing."""

    def _write(self, *, is_due: bool = False) -> None:
        pass


@contextlib.contextmanager
def watched(lake: Lake, command: str) -> Iterator[Watch]:
    """Watch a run of the lake's writer; inside another one, that one goes on.

    The caller holds the lake. The run's start and end stand in the audit log; an error that ends
    it is told everywhere and raised.
    """
    if isinstance(lake.watch, Watch):
        yield lake.watch
        return
    watch = lake.watch = Watch(lake, command)
    try:
        trail.collect(lake)
        trail.record(lake, f"{command} started", {"process": os.getpid()})
        watch.step("start")
        yield watch
        _end(lake, watch)
    except BaseException as error:
        code = _code_of(error)
        state = "interrupted" if code > 128 else "failed"
        text = str(error) if hasattr(error, "remedy") else type(error).__name__
        watch.finish(code, state, text)
        with contextlib.suppress(Exception):  # the first error is the one to tell
            trail.record(lake, f"{command} {state}",
                         _account(watch) | {"error": mask_chinese_plates(text)})
        raise
    finally:
        lake.watch = None


@contextlib.contextmanager
def silent(lake: Lake) -> Iterator[None]:
    """Tell nothing of what is done with this lake inside."""
    lake.watch = _Silent(lake, "dry run")
    try:
        yield
    finally:
        lake.watch = None


def note_exit_code(lake: Lake, summary: RunSummary, max_quarantine: float | None = None) -> None:
    """Give the watched run the exit code that its account means, for `watched` to tell."""
    limit = max_quarantine
    if limit is None:
        limit = float(str(lake.settings["max_quarantine"]))
    if isinstance(lake.watch, Watch):
        lake.watch.code = summary.exit_code(limit)


def read_status(path: Path) -> dict[str, Any]:
    """Return the status of a lake's last run; ``state`` is ``died`` for one that was killed.

    ``{"state": "idle"}`` where nothing ever ran. A run on another host, which cannot be asked,
    stays as its file says.

    Raises:
        StorageError: the file cannot be read.
    """
    place = status_path(path)
    with disk.guard(place, "the status cannot be read"):
        try:
            found = json.loads(place.read_bytes())
        except FileNotFoundError:
            return {"state": "idle"}
        except ValueError:
            found = None
    try:
        process = found["process"]
        here = lock.identity()["host"] == process["host"]
        if found["state"] == "running" and here and not lock.is_alive(
                int(process["pid"]), str(process["boot_id"]), str(process["process_start"])):
            found["state"] = "died"
        return dict(found)
    except (KeyError, TypeError, ValueError):
        raise StorageError("the status is none of rsd", where=str(place),
                           remedy="The next run writes it anew.") from None


def status_path(lake: Path) -> Path:
    """Return where a lake's status is."""
    return lake / "status.json"


def _end(lake: Lake, watch: Watch) -> None:
    trail.record(lake, watch.status.command, _account(watch))
    if failed := trail.keep_head(lake):
        lake.notices.append(failed)
        watch.warn(failed)
    watch.finish(watch.code, "done")


def _account(watch: Watch) -> dict[str, object]:
    names = ("run_id", "files", "refused", "records", "accepted", "quarantined", "duplicates")
    return {name: getattr(watch.status, name) for name in names}


def _code_of(error: BaseException) -> int:
    """Return the exit code that an error means; classes that have one carry it."""
    known = next((code for kind, code in _CODES.items() if isinstance(error, kind)), 1)
    return int(getattr(error, "exit_code", known))


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid() & 0xFFFFFFFF:08x}{disk.TEMPORARY}")
    try:
        staged.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        os.replace(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(staged)
        raise


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
