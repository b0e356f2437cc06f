"""The law and the settings of before: each text is kept under its hash, and when it changed.

``open/law/<sha256>/<regulation>.toml`` is the file of a regulation as it was, ``open/settings/
<sha256>.toml`` the settings, and ``open/settings/<instant>.json`` says which of them stood from
that instant on. A writer keeps them before it commits, an export before it is written, so that
whatever was judged or shown can be shown again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rsd.errors import IntegrityError, UsageError
from rsd.lake import Lake, PinnedLake
from rsd.law import rulebook
from rsd.law.rules import Regulation
from rsd.storage import disk, settings
from rsd.storage.settings import Configuration

LISTS = ("device_checks.csv",)
"""Lists that an office may keep in the lake's folder and that answers are made from."""

_STATE = re.compile(r"\d{8}T\d{12}Z\.json")
_STAMP = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class State:
    """What stood from an instant on: the settings' hash, each regulation's and each list's."""

    at: datetime
    settings: str
    regulations: Mapping[str, str]
    lists: Mapping[str, str]


def law_folder(lake: Lake, sha256: str) -> Path:
    """Return the folder that holds the regulation file of a hash."""
    return lake.path / "open" / "law" / sha256


def regulation_of(lake: Lake, regulation_id: str, sha256: str) -> Regulation | None:
    """Return a regulation in the very text of a hash, None where no readable one is there.

    Raises:
        IntegrityError: the kept text was changed.
    """
    kept_file = law_folder(lake, sha256) / f"{regulation_id}.toml"
    try:
        if not kept_file.is_file():
            found = rulebook.load(regulation_id, lake.regulation_folders)
            return found if found.sha256 == sha256 else None
        if hashlib.sha256(kept_file.read_bytes()).hexdigest() != sha256:
            raise IntegrityError("a kept regulation was changed", where=str(kept_file),
                                 remedy="Restore the file from a backup.")
        return rulebook.load_file(kept_file)
    except UsageError:  # gone, or written by rules of before
        return None


def settings_file(lake: Lake, sha256: str) -> Path:
    """Return where the settings of a hash are kept."""
    return _settings_folder(lake) / f"{sha256}.toml"


def settings_hash(configuration: Configuration) -> str:
    """Return the SHA-256 of settings as rsd writes them: comments and order do not count."""
    return hashlib.sha256(settings.text(configuration)).hexdigest()


def keep(lake: Lake, regulations: Sequence[Regulation]) -> None:
    """Keep the texts of these regulations and of the settings, durably; note what changed.

    Raises:
        UsageError: a regulation's file was changed since it was read.
        StorageError: nothing can be written.
    """
    with disk.guard(lake.path / "open", "the law in force cannot be kept"):
        for regulation in regulations:
            _keep_regulation(lake, regulation)
        content = settings.text(lake.configuration)
        _publish(settings_file(lake, settings_hash(lake.configuration)), content)
        lists = list_hashes(lake)
        for name in lists:
            _publish(_list_folder(lake, lists[name]) / name, (lake.path / name).read_bytes())
        _note(lake, {r.id: r.sha256 for r in regulations}, lists)


def list_hashes(lake: Lake) -> dict[str, str]:
    """Return the lists that are there → SHA-256 of their files."""
    if isinstance(lake, PinnedLake) and lake.pin.lists is not None:
        return dict(lake.pin.lists)
    return {name: hashlib.sha256((lake.path / name).read_bytes()).hexdigest()
            for name in LISTS if (lake.path / name).is_file()}


def list_file(lake: Lake, name: str) -> Path:
    """Return where a list is as of the view; nothing is there where the lake had none.

    Raises:
        UsageError: that text of it is not kept.
        IntegrityError: the kept text was changed.
    """
    if not isinstance(lake, PinnedLake) or lake.pin.lists is None:
        return lake.path / name
    sha256 = lake.pin.lists.get(name)
    if sha256 is None:
        return _list_folder(lake, "none") / name
    path = _list_folder(lake, sha256) / name
    if not path.is_file():
        raise UsageError(f"{name} of that time is not kept", where=str(path.parent),
                         remedy="Restore the folder from a backup.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise IntegrityError(f"the kept {name} was changed", where=str(path),
                             remedy="Restore the file from a backup.")
    return path


def may_keep(lake: Lake) -> bool:
    """Whether this user may write to the open side of the lake."""
    return os.access(lake.path / "open", os.W_OK | os.X_OK, effective_ids=True)


def states(lake: Lake) -> list[State]:
    """Return what stood when, the first state first.

    Raises:
        IntegrityError: a state is not what rsd writes.
    """
    return [state_of(path) for path in state_files(lake)]


def state_files(lake: Lake) -> list[Path]:
    """Return the files that say what stood when, in the order of time."""
    try:
        names = sorted(n for n in os.listdir(_settings_folder(lake)) if _STATE.fullmatch(n))
    except (FileNotFoundError, PermissionError):
        return []
    return [_settings_folder(lake) / name for name in names]


def texts_of(lake: Lake, state: State) -> list[Path]:
    """Return the files that hold what a state names by its hash."""
    return [settings_file(lake, state.settings),
            *(law_folder(lake, sha256) / f"{name}.toml"
              for name, sha256 in state.regulations.items()),
            *(_list_folder(lake, sha256) / name for name, sha256 in state.lists.items())]


def configuration_of(lake: Lake, sha256: str) -> Configuration:
    """Return the settings of a hash; UsageError where they are not kept."""
    if sha256 == settings_hash(lake.configuration):
        return lake.configuration
    path = settings_file(lake, sha256)
    if not path.is_file():
        raise UsageError("the settings of that time are not kept", where=str(path.parent),
                         found=f"no settings of the hash {sha256[:12]}…",
                         remedy="Restore the folder from a backup.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise IntegrityError("kept settings were changed", where=str(path),
                             remedy="Restore the file from a backup.")
    return settings.read(path)


def _list_folder(lake: Lake, sha256: str) -> Path:
    return lake.path / "open" / "law" / "lists" / sha256


def _settings_folder(lake: Lake) -> Path:
    return lake.path / "open" / "settings"


def _keep_regulation(lake: Lake, regulation: Regulation) -> None:
    path = law_folder(lake, regulation.sha256) / f"{regulation.id}.toml"
    if path.exists():
        return
    content = Path(regulation.path).read_bytes()
    if hashlib.sha256(content).hexdigest() != regulation.sha256:
        raise UsageError("the regulation was changed while it was used", where=regulation.path,
                         remedy="Run again.")
    _publish(path, content)


def _publish(path: Path, content: bytes) -> None:
    if path.exists():
        return
    disk.ensure_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        disk.publish(path, content)


def _note(lake: Lake, regulations: Mapping[str, str], lists: Mapping[str, str]) -> None:
    """Write down the state if it is news; what is not spoken of stands as it did."""
    past = states(lake)
    last = past[-1] if past else None
    law = {**(last.regulations if last else {}), **regulations}
    now = settings_hash(lake.configuration)
    if last is not None and (last.settings, last.regulations, last.lists) == (now, law, lists):
        return
    at = datetime.now(UTC)
    if last is not None and at <= last.at:  # a clock that was set back must not undo the order
        at = last.at + timedelta(microseconds=1)
    document = {"at": at.isoformat(), "settings": now, "regulations": law,
                "lists": dict(lists)}
    _publish(_settings_folder(lake) / f"{at:{_STAMP}}.json",
             (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())


def state_of(path: Path) -> State:
    """Return what a file says of a state; IntegrityError when it is not what rsd writes."""
    try:
        content = json.loads(path.read_bytes())
        return State(datetime.fromisoformat(content["at"]), str(content["settings"]),
                     *({str(k): str(v) for k, v in content[name].items()}
                       for name in ("regulations", "lists")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError("no state of the settings", where=str(path), found=str(error),
                             remedy="Restore the file from a backup.") from None
