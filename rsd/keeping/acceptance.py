"""Answering for an audit log that begins late.

A lake from before there was an audit, or one whose damaged log was moved away, has a log that says
of itself that it was begun anew, and every check finds that. Somebody looks into it and answers for
it by name and with a reason; the answer is a record of the log itself, and is shown ever after. So
it is with acts of review that a crash left in the audit alone.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rsd import audit
from rsd.errors import IntegrityError, PolicyRefusal, UsageError
from rsd.keeping import deletion
from rsd.lake import Lake
from rsd.pipeline import review, trail


def accept_beginning(lake: Lake, reason: str) -> int:
    """Answer for a log that was begun anew, and for acts that it alone knows; return its records.

    Records of deletions of before, which the new log does not know, are answered for too, as they
    stand. Kept heads of before still show that the log is another one.

    Raises:
        PolicyRefusal: without the right to read ``restricted/``.
        UsageError: no reason, or nothing to answer for.
        IntegrityError: the log has other faults, which nobody can answer for.
    """
    if not lake.may_read_restricted:
        raise PolicyRefusal("the audit may not be written", where=str(lake.path / "restricted"),
                            found="no right to it", remedy="Ask who holds the right.")
    if not reason.strip():
        raise UsageError("an answer needs a reason", expected="why the log begins late",
                         remedy='Add --reason "…".')
    path = audit.audit_path(lake.path)
    with lake.writer():
        if audit.is_gone(lake.path):
            trail.record(lake, "audit looked at", {})
        begun = _unanswered(list(audit.records(path)))
        others = [fault for fault in audit.verify(path) if "begun anew" not in fault]
        if others:
            raise IntegrityError("the audit log was changed", where=str(path), found=others[0],
                                 remedy="Compare it with a backup; find out by whom.")
        acts = [record["details"].get("head") for record in review.unstored(lake)]
        if not begun and not acts:
            raise UsageError("the audit log was not begun anew", where=str(path),
                             remedy="There is nothing to accept.")
        if acts:
            trail.record(lake, review.GIVEN_UP, {"heads": acts}, reason=reason)
        for first in begun:
            trail.record(lake, audit.ACCEPTED, {"begun": first["hash"], "deletions": [
                hashlib.sha256(r.read_bytes()).hexdigest() for r in deletion.records(lake)],
            }, reason=reason)
    return sum(1 for _ in audit.records(path))


def _unanswered(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answered = {r["details"].get("begun") for r in records if r["action"] == audit.ACCEPTED}
    return [r for r in records if r["action"] == audit.BEGUN_ANEW and r["hash"] not in answered]
