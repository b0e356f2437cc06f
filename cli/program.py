"""The program's name as the user can type it, for the commands that are suggested."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "rsd"


def program() -> str:
    """Return how rsd is called: its name where the shell finds this one, else a path to it."""
    called = Path(sys.argv[0])
    if called.name != NAME or not called.is_file():
        return NAME
    found = shutil.which(NAME)
    if found is not None and os.path.samefile(found, called):
        return NAME
    if not called.is_absolute():
        return shlex.quote(sys.argv[0])
    here = Path.cwd()
    path = called.relative_to(here) if called.is_relative_to(here) else called
    return shlex.quote(str(path))


def command(*words: object) -> str:
    """Return a command of rsd as one can type it, arguments quoted where the shell needs it."""
    return " ".join([program(), *(shlex.quote(str(word)) for word in words)])
