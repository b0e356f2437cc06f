"""A disk that is full, broken or read-only, and limits on memory and size, at every step."""

from __future__ import annotations

import errno
from pathlib import Path

import checker
import pytest
from machine import (
    CHANGES,
    MKDIR,
    NAME,
    OPEN,
    OPENREAD,
    READ,
    TRUNCATE,
    UNBORN_THREAD,
    UNLINK,
    WRITE,
    Fault,
    Machine,
)
from scenario import ALL, Night, case, check_message, chosen, spread

KINDS = {
    "no space once": (errno.ENOSPC, CHANGES & ~UNLINK, False),
    "no space": (errno.ENOSPC, OPEN | WRITE | MKDIR | NAME, True),
    "no inode": (errno.ENOSPC, OPEN | MKDIR, True),
    "quota": (errno.EDQUOT, OPEN | WRITE | MKDIR, True),
    "fault of the disk once": (errno.EIO, CHANGES, False),
    "fault of the disk": (errno.EIO, CHANGES, True),
    "read-only": (errno.EROFS, OPEN | NAME | UNLINK | MKDIR | TRUNCATE, True),
    "permission lost": (errno.EACCES, OPEN | NAME | UNLINK | MKDIR, True),
    "permission lost once": (errno.EPERM, OPEN | NAME | UNLINK | MKDIR, False),
}
"""Faults 8, 9, 10, 12, 14, 15: the error, the calls that it meets, and whether it stays."""


def counted(machine: Machine, night: Night, place: Path, operations: int) -> int:
    end = machine.run(night.job(night.copy(place), Fault(operations=operations)))
    assert end.code == night.code
    return end.steps


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_at_every_step(machine: Machine, together: Night, place: Path, kind: str):
    number, operations, stays = KINDS[kind]
    steps = counted(machine, together, place, operations)
    seed = list(KINDS).index(kind)
    failed = 0
    for full, step in chosen(kind, spread(steps, 2, seed)):
        with case(full):
            lake = together.copy(place)
            fault = Fault("error", step, number, stays, operations)
            end = machine.run(together.job(lake, fault))
            together.check_end(end)
            at = together.check_state(lake)
            if end.code == together.code:  # a step that is a courtesy: a name, a removal
                assert at == len(together.states) - 1
            else:
                failed += 1
                check_message(end)
            together.check_converges(machine, lake)
    assert failed or not ALL


def test_a_disk_that_takes_so_many_bytes_and_no_more(
    machine: Machine, together: Night, place: Path
):
    """Fault 8: the limit moves; the write that meets it is a short one, the next one fails."""
    written = machine.run(together.job(together.copy(place), Fault())).written
    limits = range(0, written, 997 if ALL else written // 4)
    for full, limit in chosen("bytes", limits):
        with case(full):
            lake = together.copy(place)
            end = machine.run(together.job(lake, Fault("budget", limit, errno.ENOSPC)))
            together.check_end(end)
            together.check_state(lake)
            assert end.hits
            if end.code != together.code:
                check_message(end)
            together.check_converges(machine, lake)


def test_a_limit_on_the_size_of_a_file(machine: Machine, together: Night, place: Path):
    largest = max(p.stat().st_size for p in together.prepared.rglob("*.parquet"))
    for full, limit in chosen("size", range(0, largest, 500 if ALL else largest // 3)):
        with case(full):
            lake = together.copy(place)
            end = machine.run(together.job(lake, limits={"RLIMIT_FSIZE": limit}))
            together.check_end(end)
            together.check_state(lake)
            if end.code != together.code:
                check_message(end)
            together.check_converges(machine, lake)


def test_writes_and_reads_that_do_less_than_asked(machine: Machine, together: Night, place: Path):
    """Fault 13: every one of them; nothing may come of it."""
    for operations in (WRITE, READ):
        lake = together.copy(place)
        end = machine.run(together.job(lake, Fault("short", 1, on=True, operations=operations)))
        assert end.code == together.code, end.err
        assert end.hits > 10
        assert checker.view(lake) == together.new
        assert checker.problems(lake) == []


MEMORY_MIB = (*(range(32, 620, 6) if ALL else (32, 110, 200, 320)), 2048)
"""Address space beyond that which a process has when it begins to work; the last is enough."""


def test_memory_that_runs_out(machine: Machine, together: Night, place: Path):
    """Fault 16: the limit moves; a worker may die, as the kernel would have it, or say so."""
    ends = []
    limits = [mebibytes << 20 for mebibytes in MEMORY_MIB]
    for full, limit in chosen("memory", limits):
        with case(full):
            lake = together.copy(place)
            end = machine.run(together.job(lake, limits={"RLIMIT_AS": limit}, timeout=20))
            ends.append(end.code)
            assert not end.timed_out or UNBORN_THREAD in end.err
            assert "internal fault" not in end.err
            assert end.code != 6 or "memory" in end.err
            together.check_state(lake)
            together.check_converges(machine, lake)
    assert len(ends) == 1 or (ends[0] != together.code and ends[-1] == together.code), ends


def test_a_dump_that_cannot_be_read_midway_stops_no_other(
    machine: Machine, together: Night, alone: Night, place: Path
):
    """Fault 11 and I5: the disk's fault is the file's; the files beside it are processed."""
    for night in (together, alone):
        bad = night.dumps[0]
        job = night.job(night.copy(place), Fault(operations=READ | OPENREAD))
        steps = machine.run(job.__class__(**{**job.__dict__, "root": str(bad)})).steps
        assert steps >= 4
        for full, step in chosen(f"read/{len(night.states)}", spread(steps, 3)):
            with case(full):
                lake = night.copy(place)
                fault = Fault("error", step, errno.EIO, operations=READ | OPENREAD)
                job = night.job(lake, fault)
                end = machine.run(job.__class__(**{**job.__dict__, "root": str(bad)}))
                night.check_end(end)
                assert end.code == 3, end.err
                assert f"refused: {bad}" in end.err
                assert "Input/output error" in end.err
                stored = {r["source_sha256"] for r in checker.rows(lake, "passes")}
                assert checker.read_dump(bad).sha256 not in stored
                assert checker.read_dump(night.dumps[1]).sha256 in stored
                known = [checker.read_dump(p) for p in (*night.before, *night.dumps[:-1])]
                assert checker.account(lake, {d.sha256: d for d in known}).problems == []


def test_a_lake_that_cannot_be_read(machine: Machine, together: Night, place: Path):
    """Fault 11 on the lake's side: nothing is taken for empty because it could not be read."""
    steps = counted(machine, together, place, READ | OPENREAD)
    for full, step in chosen("read lake", spread(steps, 6)):
        with case(full):
            lake = together.copy(place)
            fault = Fault("error", step, errno.EIO, operations=READ | OPENREAD)
            end = machine.run(together.job(lake, fault))
            together.check_end(end)
            together.check_state(lake)
            if end.code != together.code:
                check_message(end)
            together.check_converges(machine, lake)
