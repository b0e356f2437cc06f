"""Others at work at the same moment: a run is stopped at a step, they do theirs, it goes on.

Faults 17 to 24. SIGSTOP at a counted step makes every interleaving repeatable.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import checker
from chain import dump, record
from machine import CHANGES, OPENREAD, READ, End, Fault, Job, Machine
from scenario import ALL, ONE, Night, case, check_message, chosen, spread

STOP = int(signal.SIGSTOP)


def steps_of(machine: Machine, night: Night, place: Path) -> int:
    return machine.run(night.job(night.copy(place), Fault())).steps


def stopped(machine: Machine, night: Night, lake: Path, step: int) -> End:
    """Begin the night's work and let it stand still at a step."""
    return machine.run(night.job(lake, Fault("signal", step, STOP)))


def asked(machine: Machine, lake: Path, command: str, *rest: str) -> End:
    return machine.run(Job([[*command.split(), str(lake), *rest]], str(lake),
                           before="import rsd.audit; rsd.audit.PATIENCE_S = 0.3"))


def holds_audit(lake: Path) -> bool:
    return holds(lake / "restricted" / "audit" / "audit.jsonl")


def test_readers_are_never_blocked_and_see_one_state(
    machine: Machine, alone: Night, place: Path
):
    """Fault 19: queries and exports at every step of a run; a second writer is told to wait."""
    sql = ("SELECT (SELECT count(*) FROM passes) AS passes, "
           "(SELECT count(DISTINCT source_sha256) FROM passes) AS dumps")
    seen = set()
    for full, step in chosen("beside", spread(steps_of(machine, alone, place), 3)):
        with case(full):
            lake = alone.copy(place)
            running = stopped(machine, alone, lake, step)
            assert running.code is None
            at = alone.check_state(lake)
            if holds_audit(lake):  # what is asked is recorded first: that waits, not without end
                check_message(asked(machine, lake, "query", sql), 5)
                assert machine.go_on(running).code == alone.code
                continue
            read = asked(machine, lake, "query", sql, "--format", "json")
            assert read.code == 0, read.err
            (row,) = json.loads(read.out)
            current = [r for r in checker.rows(lake, "passes") if r["is_current"]]
            assert row["passes"] == len(current)
            exported = asked(machine, lake, "export findings", "-o", str(place / "list.csv"))
            assert exported.code == 0, exported.err
            quarantine = asked(machine, lake, "quarantine", "--format", "json")
            assert len(json.loads(quarantine.out)) == len(checker.rows(lake, "quarantine"))
            if holds(lake / ".lock"):
                second = machine.run(alone.job(lake))
                check_message(second, 5)
                # locked already, its name not yet written: the lock counts, not the name
                assert str(running.pid) in second.err or "left no name" in second.err
            seen.add(at)
            end = machine.go_on(running)
            assert end.code == alone.code, end.err
            alone.check_converges(machine, lake)
    assert len(seen) > 1 or len(chosen("beside", [1])) == 0


def holds(path: Path) -> bool:
    """Say whether a process has the lock that a file is."""
    import fcntl

    if not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_two_runs_at_the_same_moment(machine: Machine, together: Night, place: Path):
    """Faults 17 and 18: the same files and other files; one does it, the other comes back."""
    other = dump(place / "other.csv", [record(jlbh="z1", hphm="闽D23456")])
    for full, step in chosen("two", spread(steps_of(machine, together, place), 2)):
        with case(full):
            lake = together.copy(place)
            first = stopped(machine, together, lake, step)
            busy = holds(lake / ".lock")
            jobs = (together.job(lake), Job([["ingest", str(lake), str(other)]], str(lake)))
            codes = [machine.run(job).code for job in jobs]
            assert codes == ([5, 5] if busy else [together.code, 0])
            assert machine.go_on(first).code == together.code
            for job in jobs:
                assert machine.run(job).code in (0, together.code)
            known = [checker.read_dump(p) for p in (
                *together.before, *together.dumps[:-1], other)]
            found = checker.account(lake, {d.sha256: d for d in known})
            assert found.problems == []
            assert checker.all_problems(lake) == []


def test_writers_that_race_without_a_referee(together: Night, place: Path):
    """Fault 17 without order: four processes begin at once; who is late is told so."""
    lake = together.copy(place)
    program = [sys.executable, "-c", "from cli.main import main; main()"]
    commands = [[*program, "run", str(lake), *map(str, together.dumps)] for _ in range(4)]
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                env=os.environ | {"POLARS_MAX_THREADS": "1"}) for c in commands]
    ends = [(p.communicate()[1], p.returncode) for p in running]
    assert {code for _, code in ends} <= {5, together.code}, ends
    assert together.code in {code for _, code in ends}
    assert checker.view(lake) == together.new
    assert checker.all_problems(lake) == []


def test_what_the_lock_says_never_decides(machine: Machine, together: Night, place: Path):
    """Fault 20: a lock file of a dead process, of a living one with its number, of nobody."""
    stories = [
        {"pid": 2 ** 22 - 1, "boot_id": "none", "process_start": "1", "host": "h", "since": "s"},
        {"pid": os.getpid(), "boot_id": "none", "process_start": "1", "host": "h", "since": "s"},
        {"pid": 1}, "", "no json", "\0" * 100]
    for number, story in enumerate(stories[::1 if ALL else 2]):
        with case(f"lock/{number}"):
            lake = together.copy(place)
            (lake / ".lock").write_text(story if isinstance(story, str) else json.dumps(story))
            together.check_converges(machine, lake)


def test_a_file_that_grows_or_is_replaced_while_it_is_read(
    machine: Machine, together: Night, alone: Night, place: Path
):
    """Faults 21 and 22, at every reading: refused, or taken as it was; afterwards all is there."""
    codes = set()
    for night, change in ((together, "grow"), (alone, "replace"), (alone, "grow"),
                          (together, "replace")):
        for step in (2, 7, 9, 10, 12, 13) if ALL else (2, 10):
            with case(f"{change}/{night.alone}/{step}"):
                lake = night.copy(place)
                path = place / "growing.csv"
                dump(path, [record(jlbh="g1", hphm="闽D45678"), record(jlbh="g2")])
                was = checker.read_dump(path)
                job = Job([["ingest", str(lake), str(path), str(night.dumps[0])]], str(path),
                          Fault("signal", step, STOP, operations=READ | OPENREAD),
                          alone=night.alone)
                running = machine.run(job)
                if change == "grow":
                    with path.open("ab") as stream:
                        stream.write((record(jlbh="g3") + "\n").encode("gb18030"))
                else:
                    dump(place / "new.csv", [record(jlbh="g4")])
                    os.replace(place / "new.csv", path)
                end = machine.go_on(running) if running.code is None else running
                codes.add(end.code)
                assert end.code in (3, 4), end.err
                assert end.code == 4 or "changed while it was read" in end.err
                stored = {r["source_sha256"] for r in checker.rows(lake, "passes")}
                assert checker.read_dump(night.dumps[0]).sha256 in stored  # I5
                known = [was, checker.read_dump(path), *map(checker.read_dump, (
                    *night.before, night.dumps[0]))]
                dumps = {d.sha256: d for d in known}
                assert checker.account(lake, dumps).problems == []
                again = machine.run(Job([["ingest", str(lake), str(path)]], str(lake)))
                assert again.code == 0, again.err
                assert checker.account(lake, dumps).problems == []
                kept = {r["record_id"] for r in checker.rows(lake, "passes")}
                assert {r.key for r in known[1].good} <= kept
    assert codes == {3, 4} or ONE


def test_a_clock_that_jumps(machine: Machine, together: Night, place: Path):
    """Faults 23 and 24: by an hour back and a year on, at several readings: nothing depends on it.

    The age of an entry is told, and used for nothing that must hold.
    """
    for seconds in (-3600, 366 * 86400):
        for reading in (1, 20) if not ALL else range(1, 60, 3):
            with case(f"clock/{seconds}/{reading}"):
                lake = together.copy(place)
                end = machine.run(together.job(lake, clock=(seconds, reading)))
                assert end.code == together.code, end.err
                assert checker.view(lake) == together.new
                assert checker.all_problems(lake) == []
                together.check_converges(machine, lake)


def test_a_second_fault_while_the_first_is_mended(machine: Machine, together: Night, place: Path):
    """A run that cleans up after a dead one may die as well, at any step.

    Where all steps are visited, each is a first and a second one, but not every pair is tried:
    that took hours.
    """
    steps = steps_of(machine, together, place)
    firsts = spread(steps, 4)
    quarters = range(0, steps, max(1, steps // 4))
    for first in firsts if ALL else firsts[1::2]:
        seconds = spread(steps, 2, first) if ONE or not ALL else [
            1 + (first + k) % steps for k in quarters]
        for full, second in chosen(f"again/{first}", seconds):
            with case(full):
                lake = together.copy(place)
                machine.run(together.job(lake, Fault("kill", first, operations=CHANGES)))
                machine.run(together.job(lake, Fault("kill", second, operations=CHANGES)))
                together.check_state(lake)
                together.check_converges(machine, lake)
