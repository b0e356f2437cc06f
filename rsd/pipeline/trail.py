"""Who did what: each action of the engine becomes a record of the audit log.

A record is on the disk before the answer is shown; where it cannot be written, nothing is shown.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from rsd import audit, inbox
from rsd.errors import PolicyRefusal, RsdError
from rsd.lake import Lake
from rsd.pipeline.masking import mask_chinese_plates, mask_plates_in_text
from rsd.storage import disk

ROLE_PREFIX = "rsd-"
"""A group of the system of this name, ``rsd-enforcement``, gives its members that role."""

LOGIN = Path("/proc/self/loginuid")
_NO_LOGIN = 4_294_967_295  # what Linux says of a process that nobody logged in for
_LONGEST_TEXT = 10_000  # characters of a query that are recorded


def record(lake: Lake, action: str, details: Mapping[str, object], *,
           reason: str | None = None) -> None:
    """Write an action down, durably, with who asked and why.

    Details are counts and names; free texts go through `masked` first. In the reason, which
    names cases and files, plates of China alone are masked. Whoever may not read ``restricted/``
    leaves a letter instead (`rsd.inbox`).

    Raises:
        StorageError: it cannot be written.
        IntegrityError: the last record of the log was changed.
    """
    content = {**_who(), **details, **({} if reason is None else {
        "reason": mask_chinese_plates(reason)})}
    if lake.may_read_restricted:
        if audit.is_gone(lake.path) and lake.table("runs").version() >= 0:
            # each run left records: a log that has none was removed, and verifying says so
            audit.append(lake.path, audit.BEGUN_ANEW, _who())
        audit.append(lake.path, action, content)
    else:
        inbox.leave(lake.path, action, content)


@contextlib.contextmanager
def refusals(lake: Lake, action: str, details: Mapping[str, object]) -> Iterator[None]:
    """Write down too what was asked and refused by policy."""
    try:
        yield
    except PolicyRefusal as error:
        record(lake, f"{action} refused", {**details, "error": error.what})
        raise


def require_reason(lake: Lake, reason: str | None) -> None:
    """Raise PolicyRefusal where the lake wants a reason for showing plates and none is given."""
    if lake.settings["require_reason"] and not (reason or "").strip():
        raise PolicyRefusal("plates are shown for a reason only", where=str(lake.path / "rsd.toml"),
                            found="require_reason = true",
                            remedy='Say why: --reason "case 2026-118".')


def masked(text: str) -> str:
    """Return a text for the audit: cut if very long, and no plate in it."""
    short = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " … (cut)"
    return mask_plates_in_text(short)


def collect(lake: Lake) -> int:
    """Add the letters of the inbox to the log; return how many there were."""
    inbox.make(lake.path)
    return inbox.collect(lake.path, lambda action, details, writer: audit.append(
        lake.path, action, details, actor=audit.user_name(writer)))


def keep_head(lake: Lake) -> str | None:
    """Add the log's head to the file of ``audit_head_path``; return what failed, in words."""
    place = str(lake.settings["audit_head_path"])
    if not place:
        return None
    try:
        head = audit.head(lake.path)
        if head is not None:
            add_head(Path(place).expanduser(), head)
    except (RsdError, OSError) as error:
        return f"the audit's head could not be kept elsewhere: {error}"
    return None


def add_head(path: Path, head: audit.Head) -> None:
    """Add a head as one line of JSON to a file, durably; what stands there stays.

    Raises:
        StorageError: it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with disk.guard(path, "the audit's head cannot be kept there"):
        descriptor = os.open(path, flags, 0o644)
        try:
            disk.write_all(descriptor, (json.dumps(asdict(head)) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def login_name() -> str | None:
    """Return the login of the person, where it is not the process's user; None elsewhere.

    The kernel sets it when a session begins and keeps it through sudo, unlike any variable of the
    environment.
    """
    with contextlib.suppress(OSError, ValueError):
        login = int(LOGIN.read_text())
        if login not in (_NO_LOGIN, os.getuid()):
            return audit.user_name(login)
    return None


def _who() -> dict[str, object]:
    """Return the person's login, where it is not the process's user, and roles by group."""
    found: dict[str, object] = {}
    if (login := login_name()) is not None:
        found["login"] = login
    roles = set()
    for number in os.getgroups():
        with contextlib.suppress(KeyError):
            name = grp.getgrgid(number).gr_name
            if name.startswith(ROLE_PREFIX):
                roles.add(name.removeprefix(ROLE_PREFIX))
    if roles:
        found["role"] = ", ".join(sorted(roles))
    return found
