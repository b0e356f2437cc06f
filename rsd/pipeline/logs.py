"""Structured logs: one JSON object a line, for programs that watch many machines.

Nothing is written unless somebody asked for it (``rsd --log FILE``, ``RSD_LOG``, or a handler of
the logger ``rsd``). No field holds a cell of a record, a query or a plate; what could look like a
plate in a file's name is masked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsd.errors import StorageError
from rsd.pipeline.masking import mask_chinese_plates
from rsd.storage import disk

_NAME = "rsd"
_OURS = "rsd_event"  # attribute of a log record that carries an event's fields


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Tell an event with its fields (values of JSON); free when nobody listens."""
    logger = logging.getLogger(_NAME)
    if logger.hasHandlers() and logger.isEnabledFor(level):
        logger.log(level, name, extra={_OURS: fields})


def listen(target: str) -> None:
    """Write events to a file (it is appended to), or to the standard error for ``-``.

    A file that was moved away by a log rotation is opened anew. `stop` ends it.

    Raises:
        StorageError: the file cannot be written.
    """
    logger = logging.getLogger(_NAME)
    if any(handler.get_name() == target for handler in logger.handlers):
        return
    handler: logging.Handler
    if target == "-":
        handler = _Stream()
    else:
        with disk.guard(target, "the log cannot be written"):
            handler = _File(Path(target).expanduser(), encoding="utf-8")
    handler.setFormatter(_Json())
    handler.set_name(target)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def stop() -> None:
    """Write to no target of `listen` any more."""
    logger = logging.getLogger(_NAME)
    for handler in [h for h in logger.handlers if isinstance(h, _Quiet)]:
        logger.removeHandler(handler)
        with contextlib.suppress(OSError):  # what a full disk did not take was told already
            handler.close()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


class _Json(logging.Formatter):
    """One line of JSON, in which no control character and no plate stands."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, _OURS, {})
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"at": at, "level": record.levelname.lower(), "event": record.getMessage(),
                **fields}
        return json.dumps(_safe(told), ensure_ascii=True, default=str)


def _safe(value: Any) -> Any:
    match value:
        case str():
            return mask_chinese_plates(value)
        case dict():
            return {str(key): _safe(item) for key, item in value.items()}
        case list() | tuple():
            return [_safe(item) for item in value]
    return value


class _Quiet:
    """A log that cannot be written any more is said once, and stops nothing."""

    _is_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Say once, in one line, that the log fails."""
        if not self._is_told:
            self._is_told = True
            error = sys.exc_info()[1]
            number = error.errno if isinstance(error, OSError) else None
            told: StorageError = disk.storage_error(number, "--log", "the log cannot be written")
            sys.stderr.write(f"rsd: {told}\n")


class _File(_Quiet, logging.handlers.WatchedFileHandler):
    pass


class _Stream(_Quiet, logging.StreamHandler):  # type: ignore[type-arg]
    pass
