"""A machine whose disk fails on demand: rsd in forked processes under the shim of `shim.c`.

One server process loads rsd once and forks for each job, so that a job costs tenths of a second.
The server touches no engine before it forks: a thread pool does not survive a fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TIMEOUT_SECONDS = 60  # the longest that any single input may take (I7)
MEMORY_KIB = 2 << 20

OPEN, WRITE, SYNC, NAME, UNLINK, MKDIR, TRUNCATE, READ, OPENREAD = (1 << k for k in range(9))
CHANGES = OPEN | WRITE | SYNC | NAME | UNLINK | MKDIR | TRUNCATE
"""Every call by which a disk changes, or is told to keep what it has."""
KINDS = {"count": 0, "kill": 1, "error": 2, "short": 3, "signal": 4, "budget": 5}


@dataclass(frozen=True)
class Fault:
    """What happens at a step. ``number``: of the error or signal; ``on``: and ever after.

    ``at`` of a ``budget``: the bytes that the disk still takes.
    """

    kind: str = "count"
    at: int = 0
    number: int = 0
    on: bool = False
    operations: int = CHANGES


@dataclass(frozen=True)
class Job:
    """Commands of rsd, one after the other in one process, and what goes wrong meanwhile.

    ``root``: the folder whose calls count. ``alone``: every dump is a batch of its own, read as a
    stream. ``limits``: of `resource`, by name. ``clock``: seconds by which the clock jumps, and at
    which of its readings.
    """

    commands: Sequence[Sequence[str]]
    root: str
    fault: Fault = field(default_factory=Fault)
    journal: str = ""
    alone: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    clock: tuple[int, int] = (0, 1)
    before: str = ""
    """Python statements that the child runs first."""
    stdin: str = ""
    timeout: int = TIMEOUT_SECONDS


UNBORN_THREAD = "Exception ignored in thread started by"
"""What CPython says before it hangs: a thread that found no memory before it had begun is waited
for without end. It happens where address space is limited; a system kills instead."""


@dataclass(frozen=True)
class End:
    """How a job ended. ``code``: exit code, or minus a signal; None: it stands still (SIGSTOP)."""

    pid: int
    code: int | None
    out: str
    err: str
    steps: int
    hits: int
    written: int
    memory_kib: int
    timed_out: bool


def compiler() -> str | None:
    """Return the C compiler of this machine, if there is one that can build the shim."""
    return next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)


def build(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    subprocess.run([compiler() or "cc", "-O1", "-shared", "-fPIC", "-o", str(library),
                    str(HERE / "shim.c"), "-lpthread"], check=True, capture_output=True)
    return library


class Machine:
    """Runs jobs; use it as a context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rsd-machine-")
        library = build(Path(self._folder.name))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("RSD_")} | {
            "LD_PRELOAD": str(library), "POLARS_MAX_THREADS": "2", "OPENBLAS_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore", "NO_COLOR": "1", "COLUMNS": "200"}
        self._server = subprocess.Popen(
            [sys.executable, str(HERE / "machine.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
            cwd=HERE.parents[1])

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        self._folder.cleanup()

    def run(self, job: Job) -> End:
        """Run a job until it ends, or stands still."""
        return self._ask({"op": "run", "job": asdict(job)})

    def go_on(self, end: End) -> End:
        """Let a job that stands still go on until it ends."""
        return self._ask({"op": "go on", "pid": end.pid})

    def _ask(self, question: dict[str, Any]) -> End:
        print(json.dumps(question), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the machine's server is gone")
        return End(**json.loads(answer))


# --- the server ---------------------------------------------------------------------------------

def serve() -> None:
    """Answer questions on standard input until its end."""
    import ctypes

    load_everything()
    shim = ctypes.CDLL(None)
    shim.fault_counters.restype = ctypes.POINTER(ctypes.c_long)
    running: dict[int, tuple[Any, list[int]]] = {}
    for line in sys.stdin:
        question = json.loads(line)
        if question["op"] == "run":
            counters, pipes = shim.fault_counters(), [_pipe(), _pipe()]
            pid = os.fork()
            if pid == 0:
                _child(shim, question["job"], [write for _, write in pipes])
            for _, write in pipes:
                os.close(write)
            running[pid] = counters, [read for read, _ in pipes]
            timeout = question["job"]["timeout"]
        else:
            pid = question["pid"]
            os.kill(pid, signal.SIGCONT)
            timeout = TIMEOUT_SECONDS
        counters, pipes = running[pid]
        code, memory, timed_out = _waited(pid, timeout)
        out, err = ("", "") if code is None else map(_all_of, pipes)
        end = End(pid, code, out, err, counters[0], counters[1], counters[2], memory, timed_out)
        if code is not None:
            shim.fault_forget(counters)
            del running[pid]
        print(json.dumps(asdict(end)), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def load_everything() -> None:
    """Import what commands import when they run: a fork should not do it again."""
    import importlib

    import deltalake  # noqa: F401
    import duckdb  # noqa: F401

    import rsd

    for name in ("cli.main", "cli.output", "cli.memory", "cli.progress", "rsd.pipeline.nightly",
                 "rsd.pipeline.ingest", "rsd.pipeline.setup", "rsd.pipeline.reading", "rsd.sql",
                 "rsd.exports.lists", "rsd.audit", "rsd.scoring", "zoneinfo", "pyarrow",
                 "rsd.keeping.compaction", "rsd.keeping.rotation", "rsd.keeping.purge",
                 "rsd.keeping.doctor", "xlsxwriter"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in getattr(rsd, "__all__", ()):
        with contextlib.suppress(Exception):
            getattr(rsd, name)


def _waited(pid: int, timeout: int) -> tuple[int | None, int, bool]:
    """Wait for the end or a stop, so many seconds at most: then the child is killed."""
    timed_out = False
    descriptor = os.pidfd_open(pid)
    try:
        waited = 0.0
        while True:
            found, status, usage = os.wait4(pid, os.WUNTRACED | os.WNOHANG)
            if found:
                break
            if waited > timeout and not timed_out:
                timed_out = True
                os.kill(pid, signal.SIGKILL)
            if select.select([descriptor], [], [], 0.02) == ([], [], []):
                waited += 0.02
    finally:
        os.close(descriptor)
    if os.WIFSTOPPED(status):
        return None, usage.ru_maxrss, False
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss, timed_out


def _pipe() -> tuple[int, int]:
    """Return a pipe that holds all that a job says: limits on files are none of its."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    return read, write


def _all_of(pipe: int) -> str:
    with os.fdopen(pipe, "rb") as stream:
        return stream.read().decode("utf-8", "surrogateescape")


def _child(shim: Any, job: dict[str, Any], pipes: list[int]) -> None:
    code = 1
    try:
        for pipe, descriptor in zip(pipes, (1, 2), strict=True):
            os.dup2(pipe, descriptor)
        standard_input = os.open(job["stdin"] or os.devnull, os.O_RDONLY)
        os.dup2(standard_input, 0)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        code = _work(shim, job)
    except BaseException:  # noqa: BLE001 - a fault of the test itself, or RSD_TRACEBACK
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _work(shim: Any, job: dict[str, Any]) -> int:
    from cli import main
    from rsd.pipeline import ingest

    signal.signal(signal.SIGTERM, main._terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job["alone"]:
        ingest.SMALL_BYTES = 0
    if job["before"]:
        exec(job["before"], {})
    _limit(job["limits"])
    seconds, reading = job["clock"]
    shim.fault_clock(seconds, reading)
    fault = job["fault"]
    shim.fault_arm(os.fsencode(job["root"]), KINDS[fault["kind"]], fault["at"],
                   fault["operations"], fault["number"], int(fault["on"]),
                   os.fsencode(job["journal"]))
    code = 0
    for command in job["commands"]:
        code = max(code, main._exit_code(list(command)))
    shim.fault_disarm()
    return code


def _limit(limits: dict[str, int]) -> None:
    import resource

    for name, value in limits.items():
        now = 0
        if name == "RLIMIT_AS":  # bytes above what the process has
            now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(getattr(resource, name), (now + value, now + value))


if __name__ == "__main__":
    serve()
