"""The exit codes of the contract, each from the real program in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chain import dump, record

PROGRAM = "import sys; from cli.main import main; main(sys.argv[1:])"
ROOT = Path(__file__).resolve().parents[1]


def start(*arguments: object, code: str = PROGRAM, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    # what is started in the background of a shell ignores SIGINT, and hands that down
    heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    return subprocess.Popen([sys.executable, "-c", heard, *map(str, arguments)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                            **options)  # type: ignore[call-overload, no-any-return]


def rsd(*arguments: object, **options: object) -> tuple[int, str, str]:
    with start(*arguments, **options) as process:  # type: ignore[arg-type]
        out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    assert rsd("init", tmp_path / "lake")[0] == 0
    return tmp_path / "lake"


def status(lake: Path) -> dict:
    return json.loads((lake / "status.json").read_text(encoding="utf-8"))


def test_0_done(lake: Path, tmp_path: Path):
    code, out, _ = rsd("run", lake, dump(tmp_path / "a.csv", [record()]))
    assert code == 0
    assert "1 accepted" in out


def test_1_internal_fault(lake: Path):
    broken = ("import sys, cli.main as m, rsd.pipeline.reading as r\n"
              "def fail(*_): raise ZeroDivisionError('a secret of the data')\n"
              "r.query = fail\nm.main(sys.argv[1:])")
    code, _, err = rsd("query", lake, "SELECT 1", code=broken)
    assert code == 1
    assert "internal fault (ZeroDivisionError at" in err
    assert "secret" not in err


@pytest.mark.parametrize("room_mib", [64, 4096])
def test_an_engine_that_gives_up_at_the_end_of_memory_is_no_fault_of_ours(lake: Path,
                                                                         room_mib: int):
    panic = ("import resource, sys, cli.main as m, rsd.pipeline.reading as r\n"
             "class PanicException(BaseException): pass\n"
             "def fail(*_):\n"
             "    lines = open('/proc/self/status').read().split('VmPeak:')[1]\n"
             f"    limit = (int(lines.split()[0]) << 10) + ({room_mib} << 20)\n"
             "    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
             "    raise PanicException('called `Option::unwrap()` on a `None` value')\n"
             "r.query = fail\nm.main(sys.argv[1:])")
    code, _, err = rsd("query", lake, "SELECT 1", code=panic)
    assert (code, "memory" in err) == ((6, True) if room_mib < 128 else (1, False)), err


def test_2_usage(lake: Path):
    assert rsd("query", lake)[0] == 2
    assert rsd("run", lake.parent / "none", "x.csv")[0] == 2
    assert rsd("frobnicate")[0] == 2


def test_3_an_input_refused(lake: Path, tmp_path: Path):
    (tmp_path / "empty.csv").write_bytes(b"")
    good = dump(tmp_path / "a.csv", [record()])
    code, out, err = rsd("run", lake, tmp_path / "empty.csv", good)
    assert code == 3
    assert "empty.csv" in err
    assert "1 accepted" in out  # the other file is in


def test_4_more_quarantined_than_the_limit(lake: Path, tmp_path: Path):
    assert rsd("run", lake, dump(tmp_path / "a.csv", [record(), record() + ",more"]))[0] == 4


def test_5_another_run_holds_the_lake(lake: Path, tmp_path: Path):
    with (lake / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code, _, err = rsd("run", lake, dump(tmp_path / "a.csv", [record()]))
    assert code == 5
    assert "another run" in err


def test_6_storage(lake: Path, tmp_path: Path):
    # a limit on the size of files stands for the full disk, which no test can have
    limited = ("import resource, signal, sys; from cli.main import main\n"
               "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
               "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\nmain(sys.argv[1:])")
    code, _, err = rsd("run", lake, dump(tmp_path / "a.csv", [record()]), code=limited)
    assert code == 6
    assert "cannot be written" in err


def test_7_integrity(lake: Path, tmp_path: Path):
    log = lake / "restricted" / "audit" / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"init"', b'"none"'))
    assert rsd("audit", "verify", lake)[0] == 7
    assert rsd("query", lake, "SELECT 1")[0] == 7


def test_8_policy(lake: Path):
    assert rsd("query", lake, "DROP TABLE passes")[0] == 8


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_130_and_143_interrupted(lake: Path, tmp_path: Path, number: int, code: int):
    """The run waits for more of its standard input when the signal comes."""
    log = tmp_path / "log.jsonl"
    with start("--log", log, "ingest", lake, "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("half a header")
        process.stdin.flush()
        wait_for((lake / "status.json").exists)
        process.send_signal(number)
        assert process.wait(timeout=30) == code
        said = process.stderr.read()  # type: ignore[union-attr]
    assert len(said.strip().splitlines()) == 1
    assert "next run" in said
    assert (status(lake)["state"], status(lake)["exit_code"]) == ("interrupted", code)
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("command ended", code)
    assert rsd("audit", "verify", lake)[0] == 0
    assert rsd("run", lake, dump(tmp_path / "a.csv", [record()]))[0] == 0


CALLBACK = """
    class Thing: pass
    def swallow(_):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
    thing = Thing()
    reference = weakref.ref(thing, swallow)
    del thing
"""
LIBRARY = """
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
    except:
        pass
"""


@pytest.mark.parametrize("swallow", [CALLBACK, LIBRARY])
def test_a_signal_that_is_swallowed_comes_again(swallow: str):
    """Python ignores what is raised in the callback of a weak reference, as imports use them."""
    program = f"""
import os, signal, sys, weakref
from cli import main
def work(*_arguments, **_named):
    {swallow.strip()}
    try:
        sys.stdin.read()
    finally:
        for _ in range(3):  # a run that cleans up is not disturbed
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000): pass
        print("cleaned up", flush=True)
main._AGAIN_S = 0.2
main.commands.main = work
main.main([])
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.wait(timeout=30) == 143
        assert process.stdout.read() == "cleaned up\n"  # type: ignore[union-attr]
        said = process.stderr.read()  # type: ignore[union-attr]
        assert len(said.strip().splitlines()) == 1, said


def test_a_killed_run_is_told_as_died(lake: Path):
    with start("ingest", lake, "-", stdin=subprocess.PIPE) as process:
        wait_for((lake / "status.json").exists)
        assert json.loads(rsd("status", lake, "--format", "json")[1])["state"] == "running"
        process.kill()
        process.wait(timeout=30)
    assert json.loads(rsd("status", lake, "--format", "json")[1])["state"] == "died"


def wait_for(is_so: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come so far"
        time.sleep(0.02)
