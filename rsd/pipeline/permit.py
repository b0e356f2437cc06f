"""Leave of a run for the thread that commits for it: withdrawn when the run is stopped."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class GivenUpError(Exception):
    """The run was stopped before a batch was committed."""


class Permit:
    """Leave to go on with a batch, until it is withdrawn; a commit that runs is waited for."""

    def __init__(self) -> None:
        self._lock, self._is_withdrawn = threading.Lock(), False

    def check(self) -> None:
        """Raise GivenUpError when it was withdrawn."""
        if self._is_withdrawn:
            raise GivenUpError

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Do what must not be cut in two, or raise GivenUpError."""
        with self._lock:
            self.check()
            yield

    def withdraw(self) -> None:
        """Let nothing begin any more; return when nothing runs, whatever interrupts meanwhile.

        The first of the interrupts is raised then.
        """
        interrupt: BaseException | None = None
        while not self._is_withdrawn:
            try:
                with self._lock:
                    self._is_withdrawn = True
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = interrupt or error
        if interrupt is not None:
            raise interrupt
