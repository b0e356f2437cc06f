"""Compaction, purge, a new key or registry and exports, under a kill or power loss at every step.

Faults 3, 4 and 5. What must hold is said without pseudonyms, for a new key changes them: rows with
the plate in their place.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import checker
import pytest
from machine import Fault, Job, Machine
from power import VARIANTS, Disk, read_journal, write_tree
from scenario import ALL, PLATES, REGISTRY, Night, case, chosen, digest, spread

NEW_REGISTRY = "the new registry"
WORK = {
    "compact": (["doctor"], ["--repair", "--compact"]),
    "rotate": (["key", "rotate"], ["--reason", "test"]),
    "purge": (["purge"], ["--before", "2026-09-03", "--reason", "test"]),
    "update": (["update"], ["--registry", NEW_REGISTRY]),
}


def meaning(lake: Path) -> str:
    """Return a hash of all that a lake says of vehicles, whatever they are called now."""
    vehicles = checker.rows(lake, "vehicles")
    plates = {r["vehicle_id"]: (r["plate"], r["plate_color"]) for r in vehicles}
    assert len(plates) == len(vehicles)
    texts = [repr(sorted(map(str, plates.values())))]
    for name in ("passes", "findings", "evidence", "quarantine"):
        for row in checker.rows(lake, name):
            whose = plates[row["vehicle_id"]] if row.get("vehicle_id") else None
            texts.append(repr(sorted((row | {"vehicle_id": whose}).items(), key=str)))
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


def job_of(work: str, lake: Path, **more: object) -> Job:
    command, options = WORK[work]
    if NEW_REGISTRY in options:
        path = lake.parent / "registry.new"
        path.write_text(REGISTRY.replace(",B\n", ",A\n"))
        options = [str(path) if o == NEW_REGISTRY else o for o in options]
    return Job([[*command, str(lake), *options]], str(lake), **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def full(machine: Machine, alone: Night, ground: Path) -> Path:
    """A lake after the night: several files a table, findings, reviews of none."""
    lake = alone.copy(ground / "keeping")
    assert machine.run(alone.job(lake)).code == alone.code
    return lake


@pytest.mark.parametrize("work", WORK)
def test_power_loss_at_every_step_of_keeping(
    machine: Machine, full: Path, place: Path, work: str
):
    lake = place / "lake"
    shutil.copytree(full, lake)
    disk, old = Disk.of(lake), meaning(lake)
    end = machine.run(job_of(work, lake, journal=str(place / "journal")))
    assert end.code == 0, end.err
    new = meaning(lake)
    assert (old == new) == (work not in ("purge", "update"))
    assert checker.problems(lake) == []
    steps = list(read_journal(place / "journal"))
    assert len(steps) > 20
    trees: dict[str, tuple[str, dict[str, bytes | None]]] = {}
    for number, step in enumerate(steps, start=1):
        disk.do(step)
        for variant in VARIANTS:
            for name, _ in chosen(f"{work}/{variant}", [number]):
                tree = disk.after_loss(variant, number)
                trees.setdefault(digest(tree), (name, tree))
    seen = set()
    again = set(spread(len(trees), 4))
    look = again | set(spread(len(trees), 25))
    for number, (name, tree) in enumerate(trees.values(), start=1):
        if number not in look:
            continue
        with case(name):
            write_tree(tree, lake)
            seen.add(meaning(lake))
            assert seen <= {old, new}
            if number in again:
                first = machine.run(Job([["query", str(lake), "SELECT count(*) AS n FROM passes",
                                          "--format", "json"]], str(lake)))
                assert first.code == 0, first.err
                last = machine.run(job_of(work, lake))
                assert last.code == 0, last.err
                assert meaning(lake) == new
                assert checker.problems(lake) == []
                assert checker.litter(lake) == []
    assert seen == {old, new} or not ALL


def test_a_kill_in_the_middle_of_a_new_key_is_finished_by_the_next_run(
    machine: Machine, full: Path, place: Path
):
    steps = None
    for name, step in chosen("rotate/kill", spread(60, 4)):
        with case(name):
            lake = place / "lake"
            shutil.rmtree(lake, ignore_errors=True)
            shutil.copytree(full, lake)
            old = meaning(lake)
            end = machine.run(job_of("rotate", lake, fault=Fault("kill", step)))
            steps = end.code
            found = machine.run(Job([["find", str(lake)]], str(lake)))
            assert found.code == 0, found.err
            assert meaning(lake) == old
            assert not [p for p in PLATES if p in found.out + found.err]
            assert checker.litter(lake) == []
    assert steps in (0, -9) or not ALL


def test_an_export_appears_whole_or_not_at_all(machine: Machine, full: Path, place: Path):
    """Fault 3: at every step; the list of yesterday stays until that of today is durable."""
    for suffix in ("csv", "xlsx", "parquet", "json"):
        file = place / "out" / f"list.{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"yesterday")
        command = [["export", "findings", str(full), "-o", str(file)]]
        disk = Disk.of(file.parent)
        journal = place / f"journal {suffix}"
        end = machine.run(Job(command, str(file.parent), journal=str(journal)))
        assert end.code == 0, end.err
        steps = list(read_journal(journal))
        assert steps
        for number, step in enumerate(steps, start=1):
            disk.do(step)
            for variant in VARIANTS:
                with case(f"export {suffix}/{variant}/{number}"):
                    tree = disk.after_loss(variant, number)
                    assert tree[file.name] in (b"yesterday", file.read_bytes())
        for name, step in chosen(f"export {suffix}/kill", spread(len(steps), 2)):
            with case(name):
                file.write_bytes(b"yesterday")
                machine.run(Job(command, str(file.parent), Fault("kill", step)))
                assert file.read_bytes()[:4] in (b"yest", *_begins(suffix))
                assert machine.run(Job(command, str(file.parent))).code == 0
                assert file.read_bytes() != b"yesterday"


def _begins(suffix: str) -> tuple[bytes, ...]:
    return {"csv": (b"\xef\xbb\xbfr",), "xlsx": (b"PK\x03\x04",), "parquet": (b"PAR1",),
            "json": (b"[\n {", b"[{\"r", b"[\n{\"", b"[{\n ")}[suffix]
