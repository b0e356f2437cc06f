"""The command `rsd`. Heavy imports happen inside the command that needs them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click

from cli import options
from cli.audit_commands import audit, status
from cli.demo_commands import demo, simulate
from cli.export_commands import export
from cli.finding_commands import diff, inspections
from cli.keep_commands import backup, doctor, key, purge, restore, update
from cli.lake_commands import find, ingest, init, run
from cli.law_commands import regulations
from cli.read_commands import aggregate, explain, formats, quarantine, query
from cli.review_commands import review
from rsd.errors import IntegrityError, RsdError, StorageError, UsageError, readable
from rsd.version import VERSION

_INTERRUPTED, _TERMINATED, _FAULT = 130, 143, 1
_AGAIN_S = 1.0
_has_ended = False


_WRITTEN = ("-o", "--output", "--log")  # what follows may be a new file of any name

_PANIC = "PanicException"  # how an engine in Rust gives up, in words of its own
_NEAR_BYTES = 128 << 20  # an arena of the allocator and the stack of a thread are asked for at once
_NO_MEMORY = ("memory or threads ran out; nothing was half committed. Free some, or raise the "
              "limits of this process, then run again")


class Terminated(BaseException):
    """SIGTERM arrived: unwind, clean up, and end with 143."""

    exit_code = _TERMINATED


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100,
                               "show_default": True})
@click.version_option(VERSION, prog_name="rsd")
@options.log
def commands() -> None:
    """Validate, score, judge and aggregate roadside remote-sensing emission records.

    Start with `rsd demo`, or `rsd init LAKE` and `rsd run LAKE DUMP…`. Data goes to the standard
    output, everything else to the standard error.

    Exit codes: 0 done; 1 internal fault; 2 usage; 3 an input refused as a whole; 4 done, but more
    quarantined than the limit; 5 another run holds the lake; 6 storage; 7 integrity check failed;
    8 refused by policy; 130, 143 interrupted.
    """


for _command in (demo, init, run, ingest, find, export, explain, aggregate, query, quarantine,
                 formats, regulations, simulate, status, audit, review,
                 inspections, update,
                 doctor, purge, key, backup, restore):
    commands.add_command(_command)
regulations.add_command(diff)


def _terminate(number: int, _frame: FrameType | None) -> None:
    """End the run where it stands; again and again until it ends.

    The exception comes up wherever the program is, also in the callback of an import, where Python
    ignores it, or in a library that catches everything: without the repetition the run would go on
    as if nobody had asked it to end. A run that is cleaning up is left in peace.
    """
    if _has_ended or _is_unwinding(sys.exc_info()[1]):
        return
    timer = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
    raise Terminated


def _is_unwinding(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, Terminated):
        error = error.__context__
    return error is not None


def _quietly(lost: Any) -> None:
    """Say what Python says of an exception that it must ignore; of ours nothing, it comes again."""
    if lost.exc_type is not Terminated:
        sys.__unraisablehook__(lost)


# Polars' allocator gives pages back at once, which costs a tenth of an ingest in page faults; kept
# for a second they are used again. Read when Polars is loaded, so it is set before.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000,muzzy_decay_ms:1000")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _quietly
    code = _exit_code(arguments)
    if any(thread.name == "rsd-commit" for thread in threading.enumerate()):
        # The thread of a stopped run is still busy with what it will give up. Beside one in native
        # code Python may end with another code than its own.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code(arguments: list[str] | None) -> int:
    """Run a command; the log, if there is one, hears how it ended."""
    global _has_ended  # noqa: PLW0603 - a signal handler knows nothing but the process
    said: list[str] = []
    code = _attempt(arguments, said)
    _has_ended = True
    for line in said:
        click.echo(f"rsd: {line}", err=True)
    if logs := sys.modules.get("rsd.pipeline.logs"):
        level = logging.ERROR if code else logging.INFO
        logs.event("command ended", level=level, exit_code=code,
                   error=said[0] if said else None)
        logs.stop()
    return code


def _attempt(  # noqa: PLR0911 - one return an ending
        arguments: list[str] | None, said: list[str]) -> int:
    """Run a command and return its exit code; what is to be said of an error goes to `said`."""
    try:
        _refuse_bytes(_given(arguments))
        result: Any = commands.main(args=arguments, prog_name="rsd", standalone_mode=False)
    except RsdError as error:
        said.append(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        said.append("interrupted; what was not committed is cleaned up by the next run")
        return _INTERRUPTED
    except Terminated:
        said.append("terminated; what was not committed is cleaned up by the next run")
        return _TERMINATED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        said.append(_NO_MEMORY)
        return StorageError.exit_code
    except OSError as error:
        said.append(str(StorageError(
            "the system refused", where=str(error.filename or "storage"),
            found=error.strerror or str(error),
            remedy="Check the disk and permissions, then run again.")))
        return StorageError.exit_code
    except BaseException as error:
        is_panic = type(error).__name__ == _PANIC
        if os.environ.get("RSD_TRACEBACK") or not (isinstance(error, Exception) or is_panic):
            raise
        if _is_starved(error):
            said.append(_NO_MEMORY)
            return StorageError.exit_code
        if _is_damage(error):
            said.append(str(IntegrityError(
                "a stored file is not what was written", where=_lake_of(arguments),
                remedy="Run `rsd doctor LAKE`: it names the file. Restore it from a backup.")))
            return IntegrityError.exit_code
        # the text of an unforeseen error may quote data; its kind and place are enough to report
        place = _place(error)
        said.append(f"internal fault ({type(error).__name__} at {place}); nothing uncommitted is "
                    "kept. Please report it; RSD_TRACEBACK=1 shows the trace.")
        return _FAULT
    return result if isinstance(result, int) else 0


def _is_starved(error: BaseException) -> bool:
    """Say whether Python or an engine could have no thread or no memory (EAGAIN, ENOMEM)."""
    signs = [text.format(number) for text in ("code: {},", "(os error {})")
             for number in (errno.EAGAIN, errno.ENOMEM)]
    name = type(error).__name__
    return name == "OutOfMemoryException" or any(
        sign in str(error) for sign in (*signs, "can't start new thread")) or (
        name == _PANIC and _is_at_its_limit())


def _is_at_its_limit() -> bool:
    """Say whether this process has come near the end of the address space that it may have."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmPeak:"))
        return 0 <= limit < (peak << 10) + _NEAR_BYTES
    return False


def _is_damage(error: BaseException) -> bool:
    """Say whether an engine could not read a Parquet file: all of those are the lake's own."""
    engine = type(error).__module__.partition(".")[0]
    return engine in ("polars", "duckdb", "_duckdb") and "parquet" in str(error).lower()


def _given(arguments: list[str] | None) -> list[str]:
    return sys.argv[1:] if arguments is None else arguments


def _refuse_bytes(given: list[str]) -> None:
    """Raise UsageError for an argument that is neither text nor the name of what is there."""
    before = ""
    for argument in given:
        is_text = readable(argument) == argument
        if not is_text and before not in _WRITTEN and not os.path.exists(argument):
            raise UsageError("an argument is no text in UTF-8", where=before or None,
                             found=repr(os.fsencode(argument))[1:80],
                             remedy="Set the terminal to UTF-8 (locale), and type it again.")
        before = argument


def _lake_of(arguments: list[str] | None) -> str:
    lakes = (a for a in _given(arguments) if os.path.isfile(os.path.join(a, "rsd.toml")))
    return next(lakes, "the lake")


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown place"
    code = trace.tb_frame.f_code
    return f"{os.path.basename(code.co_filename)}:{trace.tb_lineno}"
