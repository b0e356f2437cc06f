"""A table as of one version: everything that reads sees that version, nothing can be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rsd.errors import UsageError
from rsd.storage import log
from rsd.storage.table import Commit, Home, Table


class PinnedTable(Table):
    """A table fixed to a snapshot. Earlier versions can be read, later ones do not exist."""

    def __init__(self, home: Home, table: Table, snapshot: log.Snapshot, is_gated: bool) -> None:
        super().__init__(home, table.name, table.folder, is_gated)
        self._pinned = snapshot

    def snapshot(self, version: int | None = None) -> log.Snapshot:
        """Return the pinned snapshot, or an earlier version's; UsageError for a later one."""
        if version is None or version == self._pinned.version:
            return self._pinned
        if version > self._pinned.version:
            raise UsageError("a later version than the view is pinned to", where=self.name,
                             found=str(version), expected=f"at most {self._pinned.version}")
        return log.read(self._log, version)

    def history(self) -> list[Commit]:
        """Return the commits up to the pinned version, the first one first."""
        return [commit for commit in super().history() if commit.version <= self._pinned.version]

    def new_file(self, batch_id: str) -> Path:
        """Refuse: a pinned table is read-only."""
        raise read_only(self.name, batch_id)

    def commit(self, add: Sequence[Path], *, remove: Sequence[Path] = (),
               transactions: Sequence[str] = (), info: Mapping[str, object] | None = None,
               overwrite: bool = False) -> int:
        """Refuse: a pinned table is read-only."""
        raise read_only(self.name, ", ".join(path.name for path in add) or None)


def read_only(where: str, found: str | None = None) -> UsageError:
    """Return the error of a try to write through a pinned view."""
    return UsageError("a pinned view is read-only", where=where, found=found,
                      remedy="Open the lake to write to it.")
