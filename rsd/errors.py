"""What can go wrong, and how it is said.

A bad record is never an exception: it is data and goes to quarantine. An exception speaks to the
person who can mend the cause: where it is, what was found, what was expected, what to do.
Each class carries the exit code that the command line ends with.
"""

from __future__ import annotations

import os
from typing import ClassVar


def readable(name: str) -> str:
    """Return a name of the system as text: bytes that are no UTF-8 are read as GB18030.

    So Chinese systems write names of files, and Python keeps such bytes as what no text may hold.

    >>> readable(os.fsdecode("厦门.csv".encode("gb18030")))
    '厦门.csv'
    """
    if name.isascii() or name.encode(errors="ignore").decode() == name:
        return name
    raw = os.fsencode(name)
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError:
        return raw.decode(errors="replace")


class RsdError(Exception):
    """An error that a user can act upon.

    ``str(error)`` is one line: ``where: what: found …, expected …. remedy``.

    >>> str(InputRefused("no such column", where="a.csv, line 1", found="foo", remedy="Add it."))
    'a.csv, line 1: no such column: found foo. Add it.'
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.found = what, where, found
        self.expected, self.remedy = expected, remedy
        facts = [f"found {found}"] if found is not None else []
        facts += [f"expected {expected}"] if expected is not None else []
        head = what if where is None else f"{where}: {what}"
        text = f"{head}: {', '.join(facts)}" if facts else head
        super().__init__(readable(text if remedy is None else f"{text.rstrip('.')}. {remedy}"))


class UsageError(RsdError):
    """The call cannot mean anything: a wrong column, an unknown id, a contradiction."""

    exit_code = 2


class InputRefused(RsdError):  # noqa: N818 - the field says it so
    """A file cannot be used as a whole."""

    exit_code = 3


class LakeBusy(RsdError):  # noqa: N818
    """Another run holds the lake."""

    exit_code = 5


class StorageError(RsdError):
    """The disk is full, a folder cannot be written, a file cannot be read."""

    exit_code = 6


class IntegrityError(RsdError):
    """Something stored is not what the log says, or an account does not balance."""

    exit_code = 7


class PolicyRefusal(RsdError):  # noqa: N818
    """The caller may not do this: plates without the right, SQL that is no query."""

    exit_code = 8
