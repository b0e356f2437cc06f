"""Kill, power loss and signals at every step of a night's work."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import checker
import pytest
from machine import SYNC, Fault, Job, Machine
from power import VARIANTS, Disk, read_journal, write_tree
from scenario import Night, case, check_message, chosen, digest, spread

NIGHTS = ("together", "alone")


@pytest.fixture(params=NIGHTS)
def night(request: pytest.FixtureRequest) -> Night:
    return request.getfixturevalue(request.param)


def counted(machine: Machine, night: Night, place: Path, operations: int | None = None) -> int:
    """Return how many steps the work takes."""
    fault = Fault() if operations is None else Fault(operations=operations)
    end = machine.run(night.job(night.copy(place), fault))
    assert end.code == night.code, end.err
    return end.steps


def test_the_night_is_worth_the_trouble(night: Night):
    """Every table changes, a version is replaced, a finding comes and one goes."""
    assert night.code == 3
    assert all(night.old[name] != night.new[name] for name in night.old)
    assert len(night.states) == (2 if not night.alone else 3)
    assert not checker.account(night.prepared, {}).lost


def test_the_journal_tells_all_that_reached_the_disk(machine: Machine, night: Night, place: Path):
    lake = night.copy(place)
    disk = Disk.of(lake)
    machine.run(night.job(lake, journal=str(place / "journal")))
    for step in read_journal(place / "journal"):
        disk.do(step)
    now = {str(p.relative_to(lake)): None if p.is_dir() else p.read_bytes()
           for p in [lake, *lake.rglob("*")]}
    assert disk.now() == now
    # and what was done is done: a power loss afterwards takes nothing but what speaks of the moment
    passing = (".lock", "status.json")
    kept = {n: c for n, c in disk.after_loss("names lost").items() if n not in passing}
    assert kept == {n: c for n, c in now.items() if n not in passing}


def test_power_loss_at_every_step(machine: Machine, night: Night, place: Path):
    """Faults 1, 2 and 7: the disk as a kill or a power loss leaves it, at every step."""
    lake = night.copy(place)
    disk = Disk.of(lake)
    machine.run(night.job(lake, journal=str(place / "journal")))
    walked: dict[str, tuple[str, dict[str, bytes | None]]] = {}
    reached: set[int] = set()
    for number, step in enumerate(read_journal(place / "journal"), start=1):
        disk.do(step)
        for variant in VARIANTS:
            tree = disk.after_loss(variant, number)
            name = f"{'alone' if night.alone else 'together'}/power loss/{variant}"
            for full, _ in chosen(name, [number]):
                if digest(tree) in walked:
                    continue
                walked[digest(tree)] = full, tree
                with case(full):
                    write_tree(tree, lake)
                    reached.add(night.check_state(lake))
    assert len(walked) > 50 or len(walked) == 1
    assert len(walked) == 1 or reached == set(range(len(night.states)))
    for k in spread(len(walked), 3):
        full, tree = list(walked.values())[k - 1]
        with case(full):
            write_tree(tree, lake)
            night.check_converges(machine, lake)


def test_kill_9_at_every_step(machine: Machine, night: Night, place: Path):
    name = f"{'alone' if night.alone else 'together'}/kill"
    for full, step in chosen(name, spread(counted(machine, night, place), 3)):
        with case(full):
            lake = night.copy(place)
            end = machine.run(night.job(lake, Fault("kill", step)))
            assert end.code == -signal.SIGKILL
            night.check_end(end)
            night.check_state(lake)
            night.check_converges(machine, lake)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_every_step(machine: Machine, together: Night, place: Path, number: int):
    steps = spread(counted(machine, together, place), 3, seed=number)
    for full, step in chosen(f"signal {number}", steps):
        with case(full):
            lake = together.copy(place)
            end = machine.run(together.job(lake, Fault("signal", step, number)))
            assert end.code in (128 + number, together.code), end.err
            together.check_end(end)
            at = together.check_state(lake)
            assert end.code != together.code or at == 1
            together.check_converges(machine, lake)


def test_init_may_die_at_every_step(machine: Machine, together: Night, place: Path):
    """Faults 1 and 7 for `rsd init`: made again, or made."""
    folder, files = place / "at", together.prepared.parent
    folder.mkdir()
    lake = folder / "lake"
    job = Job([["init", str(lake), "--sites", str(files / "sites.csv"),
                "--registry", str(files / "registry.csv")]], str(folder),
              journal=str(place / "journal"))
    disk, trees = Disk.of(folder), dict[str, tuple[str, dict[str, bytes | None]]]()
    assert machine.run(job).code == 0
    whole = checker.view(lake, ("sites",)) | {"vehicles": str(len(checker.rows(lake, "vehicles")))}
    for number, step in enumerate(read_journal(place / "journal"), start=1):
        disk.do(step)
        for variant in VARIANTS:
            tree = disk.after_loss(variant, number)
            trees.setdefault(digest(tree), (f"init/{variant}/{number}", tree))
    assert len(trees) > 50
    for k in spread(len(trees), 8):
        full, tree = list(trees.values())[k - 1]
        with case(full):
            write_tree(tree, folder)
            ends = [machine.run(Job(job.commands, str(folder))) for _ in range(2)]
            assert ends[0].code == 0 or "already a lake" in ends[0].err, ends[0].err
            assert ends[1].code == 2
            again = checker.view(lake, ("sites",))
            assert again | {"vehicles": str(len(checker.rows(lake, "vehicles")))} == whole
            assert checker.litter(lake) == []


def test_a_failed_fsync_is_never_taken_for_a_success(
    machine: Machine, together: Night, place: Path
):
    """Fault 12, at every fsync: the bytes may be gone, and a second fsync would not say so."""
    steps = counted(machine, together, place, SYNC)
    assert steps > 15
    for full, step in chosen("fsync", spread(steps, 5)):
        with case(full):
            lake = together.copy(place)
            end = machine.run(together.job(lake, Fault("error", step, errno.EIO, operations=SYNC)))
            together.check_end(end)
            if end.code != together.code:
                check_message(end)
            together.check_state(lake)
            together.check_converges(machine, lake)
