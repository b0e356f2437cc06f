"""Commits batch after batch in a thread, and stops when the run does: what is not committed by then
is given up, and the lake stays taken until the thread is through."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait

from rsd.lake import Lake
from rsd.pipeline.batch import Known, Stage, commit_batch
from rsd.pipeline.permit import Permit
from rsd.pipeline.replicates import ReplicateCount
from rsd.pipeline.status import Watch
from rsd.pipeline.summary import FileSummary

THREAD = "rsd-commit"
"""Name of the thread."""

PATIENCE_S = 3.0
"""Seconds that a stopped run waits for its thread to tidy up; choice of this project."""


class Committer:
    """Commits one batch at a time, in their order, while the next one is staged.

    A batch that failed to commit ends the run where the next one is taken, or at the end. When the
    block ends by an error or an interrupt, the batch that is being committed gets its entries, and
    one that is not yet so far is given up. Its thread holds the lake too: as long as it is at work
    no other run may write, even if it does not come back from a slow disk.
    """

    def __init__(self, lake: Lake, watch: Watch) -> None:
        self._lake, self._watch = lake, watch
        self._known, self._permit = Known(lake), Permit()
        self._begun: Future[None] | None = None
        self._files: Sequence[FileSummary] = ()
        self.replicated = ReplicateCount(lake)

    def __enter__(self) -> Committer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._await()
        finally:
            self._permit.withdraw()
            if self._begun is not None:
                wait([self._begun], PATIENCE_S)

    def take(self, stage: Stage | None, files: Sequence[FileSummary]) -> None:
        """Commit a batch as soon as the one before it is; raises what that one raised."""
        before = self._begun
        try:
            self._await()
            if stage is None:
                self._watch.batch(files)
            else:
                self._start(stage, files)
        except BaseException:
            if stage is not None and self._begun in (None, before):
                stage.discard()
            raise

    def _start(self, stage: Stage, files: Sequence[FileSummary]) -> None:
        begun: Future[None] = Future()
        # Python waits at its end for every thread that is no daemon, and a stop must end soon.
        thread = threading.Thread(target=self._work, args=(begun, stage), name=THREAD, daemon=True)
        self._files, self._begun = files, begun
        thread.start()

    def _work(self, begun: Future[None], stage: Stage) -> None:
        try:
            with contextlib.ExitStack() as stack:
                with self._permit.using():  # the run still holds the lake: this cannot fail
                    stack.enter_context(self._lake.holding())
                commit_batch(stage, self._known, self.replicated, self._permit)
        except BaseException as error:  # noqa: BLE001 - the run raises it
            with contextlib.suppress(Exception):  # the first error counts; the next run sweeps
                stage.discard()
            begun.set_exception(error)
        else:
            begun.set_result(None)

    def _await(self) -> None:
        if self._begun is not None:
            self._begun.result()
            self._begun = None
            self._watch.batch(self._files)
