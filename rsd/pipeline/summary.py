"""What a run did, file by file, and the exit code that it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rsd.errors import IntegrityError
from rsd.privacy import mask_chinese_plates

_COUNTS = ("records", "accepted", "quarantined", "duplicates", "duplicates_in_file",
           "duplicates_earlier", "corrected", "replicates", "blank")


@dataclass
class FileSummary:
    """What became of one file.

    ``state`` is ``done``, ``already`` (the same bytes were ingested before: nothing changed, all
    counts are 0) or ``refused`` (``error`` says why).

    Of the duplicates, those ``in_file`` stand earlier in the same file, whatever else is known of
    them; the other ones (``earlier``) in another file of this or an earlier run. ``replicates``:
    of the accepted, those that another instrument recorded too (`rsd.pipeline.replicates`).
    """

    file: str
    sha256: str | None = None
    format: str | None = None
    records: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicates: int = 0
    duplicates_in_file: int = 0
    duplicates_earlier: int = 0
    corrected: int = 0
    replicates: int = 0
    blank: int = 0
    state: str = "done"
    error: str | None = None
    ignored_columns: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __setattr__(self, name: str, value: Any) -> None:
        # A dump may be named after a vehicle; a summary is printed, logged and stored in the open.
        if name in ("file", "error") and isinstance(value, str):
            value = mask_chinese_plates(value)
        super().__setattr__(name, value)

    def clear_counts(self) -> None:
        """Forget what was counted: nothing of the file was stored."""
        for name in _COUNTS:
            setattr(self, name, 0)

    def count_duplicates(self, *, in_file: int = 0, earlier: int = 0) -> None:
        """Count duplicates of either kind."""
        self.duplicates += in_file + earlier
        self.duplicates_in_file += in_file
        self.duplicates_earlier += earlier

    def check(self) -> None:
        """Assert that every record is accounted for.

        Raises:
            IntegrityError: records are not accepted + quarantined + duplicates, or duplicates are
                not those in the file + earlier ones.
        """
        if self.duplicates != self.duplicates_in_file + self.duplicates_earlier:
            raise IntegrityError(
                "the duplicates are not told apart; nothing of the file was stored",
                where=self.file, expected=f"{self.duplicates} duplicates",
                found=f"{self.duplicates_in_file} in the file + {self.duplicates_earlier} earlier",
                remedy="This is a fault of rsd: please report it with the file's header.")
        if self.records != self.accepted + self.quarantined + self.duplicates:
            raise IntegrityError(
                "the account does not balance; nothing of the file was stored", where=self.file,
                found=f"{self.accepted} accepted + {self.quarantined} quarantined + "
                      f"{self.duplicates} duplicates",
                expected=f"{self.records} records",
                remedy="This is a fault of rsd: please report it with the file's header.")


@dataclass
class RunSummary:
    """What a run did with all its files."""

    run_id: str
    started_at: str
    files: list[FileSummary] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    findings: dict[str, int] | None = None

    def totals(self) -> dict[str, int]:
        """Return the sums over all files, and how many files ended in each state."""
        sums = {name: sum(getattr(f, name) for f in self.files) for name in _COUNTS}
        states = {s: sum(f.state == s for f in self.files) for s in ("done", "already", "refused")}
        return {"files": len(self.files), **states, **sums}

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as the machine-readable document of the command line."""
        document: dict[str, Any] = {
            "run_id": self.run_id, "started_at": self.started_at,
            "files": [asdict(f) for f in self.files], "totals": self.totals(),
            "notices": self.notices,
        }
        if self.findings is not None:
            document["findings"] = self.findings
        return document

    def exit_code(self, max_quarantine: float) -> int:
        """Return 3 if a file was refused, else 4 if one has too large a quarantined share, else 0.

        Args:
            max_quarantine: largest quarantined share of a file's records, a fraction.
        """
        if any(f.state == "refused" for f in self.files):
            return 3
        return 4 if self.over_limit(max_quarantine) else 0

    def over_limit(self, max_quarantine: float) -> Sequence[FileSummary]:
        """Return the files whose quarantined share is above a limit."""
        return [f for f in self.files if f.quarantined > max_quarantine * f.records]
