"""The lake: the only state. Eight Delta tables, one writer, any number of readers.

What a reader sees is what the logs say, never what lies in a folder. A run commits the restricted
tables first and ``passes`` last: the entry of ``passes`` that carries ``batch:<id>`` is the moment
at which a batch exists, and until then no reader sees its rows anywhere.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rsd.columns import OPEN_TABLES, RESTRICTED_TABLES, TABLES
from rsd.errors import IntegrityError, RsdError, StorageError, UsageError
from rsd.storage import change, disk, litter, log, reached
from rsd.storage.lock import WriterLock
from rsd.storage.making import SETTINGS_FILE, already, refuse_occupied, refuse_unfinished
from rsd.storage.pinned import PinnedTable, read_only
from rsd.storage.settings import Configuration, Value, checked, read, text
from rsd.storage.table import BATCH, COMPACTED, Commit, Table, batch_of

__all__ = ["BATCH", "COMPACTED", "GATED", "Commit", "Lake", "Pin", "PinnedLake", "Table"]

_LOCK_FILE = ".lock"
GATED = ("evidence", "quarantine")  # rows exist once their batch stands in passes
_TRIES = 20  # readings of all versions, until two in a row agree


@dataclass(frozen=True)
class Pin:
    """What a read-only view of a lake is fixed to.

    ``snapshots``: table → snapshot; a table that the user may not read is not there.
    ``configuration``: the settings. ``law``: regulation → SHA-256 of its file, empty where the
    files as they stand count; ``folders``: where those files are searched before all others.
    ``exports``: how many versions of the findings had been exported; None: all that are known.
    ``lists``: list of the office in the lake's folder → SHA-256; None: as the files stand.
    """

    snapshots: Mapping[str, log.Snapshot]
    configuration: Configuration
    law: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    exports: int | None = None
    lists: Mapping[str, str] | None = None


class Lake:
    """A folder of tables with its settings; get one with `Lake.create` or `Lake.open`.

    ``notices`` lists, in words for the user, what was put right on the way (a torn log entry that
    was set aside, a checkpoint that could not be made).
    """

    def __init__(self, path: Path, configuration: Configuration) -> None:
        self.path = path
        self.notices: list[str] = []
        self.watch: object | None = None  # who is told how a run goes on
        self._configuration = configuration
        self._lock = WriterLock(path / _LOCK_FILE)
        self._tables: dict[str, Table] = {}

    @classmethod
    def create(
        cls, path: str | Path, *, timezone: str = "Asia/Shanghai",
        regulations: tuple[str, ...] | list[str] = ("cn_hj845_2017",),
        settings: Mapping[str, object] | None = None,
    ) -> Lake:
        """Make a lake in a new or empty folder; UsageError if something stands there.

        ``rsd.toml`` is written at once and first: a crash leaves an empty folder or a lake.
        """
        place = _absolute(path)
        configuration = checked(timezone, regulations, settings or {}, str(place))
        with disk.guard(place, "no lake can be made here"):
            if place.exists() and not place.is_dir():
                raise UsageError("no folder", where=str(place), expected="a new or empty folder")
            disk.ensure_folder(place)
            refuse_occupied(place)
            try:
                disk.publish(place / SETTINGS_FILE, text(configuration))
            except FileExistsError:
                raise already(place) from None
            disk.ensure_folder(place / "open")
            disk.ensure_folder(place / "restricted", 0o700)
        return cls(place, configuration)

    @classmethod
    def open(cls, path: str | Path) -> Lake:
        """Open a lake. UsageError when there is none, or when a newer rsd made it."""
        place = _absolute(path)
        with disk.guard(place, "the lake cannot be read"):
            is_lake = (place / SETTINGS_FILE).is_file()
        refuse_unfinished(place)
        if not is_lake:
            raise UsageError("no lake here", where=str(place),
                             found="no rsd.toml" if place.is_dir() else "no such folder",
                             remedy="Make one with: rsd init LAKE")
        lake = cls(place, read(place / SETTINGS_FILE))
        lake._mend_if_torn()
        return lake

    @property
    def timezone(self) -> str:
        """IANA name of the zone of all calendar arithmetic."""
        return self._configuration.timezone

    @property
    def regulations(self) -> tuple[str, ...]:
        """Ids of the regulations that findings are made by."""
        return self._configuration.regulations

    @property
    def settings(self) -> Mapping[str, Value]:
        """The other settings, defaults included (`rsd.storage.settings.SETTINGS`)."""
        return self._configuration.settings

    @property
    def configuration(self) -> Configuration:
        """The whole content of ``rsd.toml``."""
        return self._configuration

    @property
    def regulation_folders(self) -> tuple[Path, ...]:
        """Where the city's own regulations are, searched in this order before the built-in ones."""
        return (self.path / "regulations",)

    @property
    def key_path(self) -> Path:
        """Where the vehicle key is: ``RSD_KEY_FILE``, else ``restricted/vehicle.key``."""
        moved = os.environ.get("RSD_KEY_FILE")
        return _absolute(moved) if moved else self.path / "restricted" / "vehicle.key"

    @property
    def may_read_restricted(self) -> bool:
        """Whether this user may see what names a vehicle."""
        return os.access(self.path / "restricted", os.R_OK | os.X_OK, effective_ids=True)

    def configure(
        self, *, timezone: str | None = None, regulations: tuple[str, ...] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Change some settings, the others stay; UsageError for a key or value that is none."""
        configuration = checked(
            timezone or self.timezone, self.regulations if regulations is None else regulations,
            {**self.settings, **(settings or {})}, str(self.path / SETTINGS_FILE),
        )
        with self.holding(), disk.guard(self.path, "the settings cannot be written"):
            disk.replace(self.path / SETTINGS_FILE, text(configuration))
        self._configuration = configuration

    @contextlib.contextmanager
    def writer(self) -> Iterator[Lake]:
        """Hold the lake for writing, clean up after writers that died; LakeBusy if it is taken.

        The whole of a run belongs inside: what is staged outside may be swept by another run.
        """
        was_held = self._lock.is_held
        with self.holding():
            if not was_held:
                self.sweep()
            yield self

    @contextlib.contextmanager
    def holding(self, *, despite_loss: bool = False) -> Iterator[None]:
        """Hold the lock without cleaning up; inside `writer` this is free.

        IntegrityError where an entry of a log is lost, unless that is to be looked at.
        """
        is_outermost = self._lock.acquire()
        try:
            if is_outermost and not (despite_loss and self.lost()):
                self.check_whole()
                self._set_aside_torn()
                self._finish_change()
            yield
        finally:
            self._lock.release(self._note_versions)

    def lost(self) -> dict[str, Path]:
        """Return, a table, the entry of its log that was committed and is torn or gone now."""
        told = reached.told(self.path)
        return reached.lost(told, {n: self._folder(n) for n in self._readable()})

    def go_on_without(self, name: str) -> None:
        """Let a table count as whole without the entries that it lost; the lake is held."""
        reached.forget(self.path, name, self._folder(name))
        self._set_aside_torn([name])

    def check_whole(self) -> None:
        """Raise IntegrityError where the last entry of a log was committed and is not there."""
        for name, path in self.lost().items():
            raise IntegrityError("a committed entry of the table's log is torn or gone",
                                 where=str(path), expected=f"what the last writer of {name} left",
                                 remedy="See what else is: rsd doctor LAKE. Restore it from a "
                                        "backup.")

    def table(self, name: str) -> Table:
        """Return a table by its name in `rsd.columns.TABLES`; UsageError for another name."""
        if name not in TABLES:
            raise UsageError("no such table", found=repr(name), expected=", ".join(TABLES))
        if name not in self._tables:
            self._tables[name] = Table(self, name, self._folder(name), name in GATED)
        return self._tables[name]

    def pinned(self) -> PinnedLake:
        """Return a read-only view at the versions of all tables that stand at one moment.

        No lock is taken. Versions only grow, so two readings of all of them that agree were true
        at the moment between; under a writer that never pauses the last reading counts, in the
        order that keeps rows of the gated tables with their batch. IntegrityError where an entry
        of a log is lost.
        """
        self.check_whole()
        readable, found = self._readable(), dict[str, log.Snapshot]()
        for _ in range(_TRIES):
            now = {n: self.table(n).snapshot(self._held_back(n)) for n in readable}  # passes first
            if found and all(now[n].version == found[n].version for n in readable):
                break
            found = now
        return self.at(Pin(found, self._configuration))

    def at(self, pin: Pin) -> PinnedLake:
        """Return the read-only view that a pin describes."""
        return PinnedLake(self, pin)

    def committed_batches(self) -> frozenset[str]:
        """Return the ids of the batches that exist: those that an entry of passes carries."""
        known = self.table("passes").transactions()
        return frozenset(t.removeprefix(BATCH) for t in known if t.startswith(BATCH))

    def visible_files(self, name: str, version: int | None = None) -> list[Path]:
        """Return the files of a table whose rows exist for readers.

        Of evidence and quarantine those of committed batches, of every other table all.
        """
        version = self._held_back(name) if version is None else version
        is_gated = name in GATED  # batches before files: what is committed is then there
        batches = self.committed_batches() if is_gated else frozenset()
        paths = [
            path for path in self.table(name).files(version) if not is_gated
            or (batch := batch_of(path.name)) is None or batch in batches
            or batch.startswith(COMPACTED)
        ]
        change.check_present(self.table(name), paths)
        return paths

    def sweep(self) -> list[Path]:
        """Remove what writers that died left behind, and return it; committed files stay."""
        removed = litter.remove(litter.of_lake(self.path))
        following = self.key_path.with_name(f"{self.key_path.name}.next")  # of no change
        removed += litter.remove(path for path in [following] if path.exists())
        for name in TABLES:
            with contextlib.suppress(PermissionError, FileNotFoundError):
                removed += litter.remove(litter.of_table(self.table(name)))
        return removed

    def problems(self) -> list[str]:
        """Compare active files with what the logs say of them (size, hash); [] when all hold."""
        return [problem for name in TABLES for problem in self.table(name).problems()]

    def _held_back(self, name: str) -> int | None:
        """Return the version at which readers stay while several tables change."""
        return None if self._lock.is_held else change.held_back(self.path, name)

    def _finish_change(self) -> None:
        if (done := change.roll_forward(self)) is not None:
            self.notices.append(f"{self.path}: a {done.operation} that was begun is finished")

    def _note_versions(self) -> None:
        try:
            reached.note(self.path, self._folders())
        except StorageError as error:  # what was committed is: it is only not answered for
            self.notices.append(str(error))

    def _readable(self) -> list[str]:
        return [n for n in TABLES if self.may_read_restricted or n not in RESTRICTED_TABLES]

    def _folders(self) -> dict[str, Path]:
        return {name: self._folder(name) for name in TABLES}

    def _folder(self, name: str) -> Path:
        return self.path / ("open" if name in OPEN_TABLES else "restricted") / name

    def _torn(self, names: Iterable[str] = TABLES) -> list[Path]:
        found: list[Path | None] = []
        for name in names:
            with contextlib.suppress(StorageError):  # a table that this user may not read
                found.append(log.torn_tail(self._folder(name) / "_delta_log"))
        return [path for path in found if path is not None]

    def _mend_if_torn(self) -> None:
        torn = self._torn()
        if not torn and change.under_way(self.path) is None:
            return
        try:
            with self.holding():
                pass
        except IntegrityError:  # whoever reads or writes is told
            return
        except RsdError as error:
            self.notices += [f"{p}: torn, counts as not committed ({error})" for p in torn]

    def _set_aside_torn(self, names: Iterable[str] = TABLES) -> None:
        # Only under the lock: else a slow reader could set aside what a writer put in its place.
        for path in self._torn(names):
            aside = path.with_name(f"{path.name}.{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}.torn")
            with disk.guard(path, "a torn log entry cannot be set aside"):
                os.rename(path, aside)
                disk.sync(path.parent)
            self.notices.append(f"{path}: torn, not committed; set aside as {aside.name}")


class PinnedLake(Lake):
    """A lake as of one version of all its tables; see `Lake.pinned`. It can only be read."""

    def __init__(self, lake: Lake, pin: Pin) -> None:
        super().__init__(lake.path, pin.configuration)
        self.notices, self.pin = lake.notices, pin
        for name, snapshot in pin.snapshots.items():
            self._tables[name] = PinnedTable(self, lake.table(name), snapshot, name in GATED)

    @property
    def regulation_folders(self) -> tuple[Path, ...]:
        """Where regulations are: first the copies that the pin names."""
        return (*self.pin.folders, *super().regulation_folders)

    def pinned(self) -> PinnedLake:
        """Return itself."""
        return self

    def _held_back(self, name: str) -> None:
        return None

    def configure(self, **_: object) -> None:
        """Refuse: a pinned view is read-only."""
        raise read_only(str(self.path))

    def holding(self, *, despite_loss: bool = False) -> contextlib._GeneratorContextManager[None]:
        """Refuse: a pinned view is read-only."""
        raise read_only(str(self.path))


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))

