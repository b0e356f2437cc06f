"""A night's work on a lake that has a day in it, and what must hold however the work ended."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import checker
from chain import SITES, dump, record
from machine import TIMEOUT_SECONDS, End, Fault, Job, Machine

PLATES = ("闽D12345", "闽D23456", "闽D34567", "闽D45678", "粤B56789")
REGISTRY = "plate,plate_color,vehicle_type,fuel\n闽D12345,1,H11,B\n"
OVER = {"btgdjg": "60"}
ALL = os.environ.get("RSD_FAULTS") == "all"
"""Whether every step is visited, as `make faults` does, or a spread of them."""
ONE = os.environ.get("RSD_FAULT", "")
"""The one case to replay, by the name that a failure prints."""


@dataclass(frozen=True)
class Night:
    """A prepared lake, the dumps that come next, and the states that readers may see."""

    prepared: Path
    before: tuple[Path, ...]
    dumps: tuple[Path, ...]
    states: tuple[dict[str, str], ...]
    code: int
    alone: bool

    @property
    def old(self) -> dict[str, str]:
        return self.states[0]

    @property
    def new(self) -> dict[str, str]:
        return self.states[-1]

    def copy(self, place: Path) -> Path:
        """Return a copy of the prepared lake."""
        lake = place / "lake"
        if lake.exists():
            shutil.rmtree(lake)
        shutil.copytree(self.prepared, lake)
        return lake

    def job(self, lake: Path, fault: Fault | None = None, **more: object) -> Job:
        """Return the night's work on a copy."""
        return Job([["run", str(lake), *map(str, self.dumps)]], str(lake), fault or Fault(),
                   alone=self.alone, **more)  # type: ignore[arg-type]

    def check_state(self, lake: Path) -> int:
        """Assert that a reader sees one of the states, and return which (I1, I2)."""
        assert checker.problems(lake) == []
        seen = checker.view(lake)
        shown = ("passes", "evidence", "quarantine")
        at = [k for k, s in enumerate(self.states) if all(s[n] == seen[n] for n in shown)]
        assert at, "readers see neither an old nor a new state"
        known = {checker.read_dump(p).sha256: checker.read_dump(p)
                 for p in (*self.before, *self.dumps[:-1])}
        assert checker.account(lake, known).problems == []
        later = self.states[at[0]:at[0] + 2]
        assert seen["vehicles"] in [s["vehicles"] for s in later], "vehicles of no state"
        assert seen["findings"] in (self.old["findings"], self.new["findings"])
        if seen["findings"] == self.new["findings"]:
            assert at[0] == len(self.states) - 1, "findings of passes that are not there"
        return at[0]

    def check_end(self, end: End) -> None:
        """Assert what holds of every end: no plate said, no hang, no memory (I6, I7)."""
        said = end.out + end.err
        assert not [p for p in PLATES if p in said], "a plate was said"
        assert not end.timed_out, f"it took more than {TIMEOUT_SECONDS} s"
        assert end.memory_kib < 2 << 20
        assert "Traceback" not in said
        assert "internal fault" not in said, end.err

    def check_converges(self, machine: Machine, lake: Path) -> None:
        """Assert that a re-run ends where an undisturbed run ends, and that nothing lies about."""
        end = machine.run(self.job(lake))
        assert end.code == self.code, end.err
        self.check_end(end)
        assert checker.view(lake) == self.new
        assert checker.litter(lake) == []
        assert checker.problems(lake) == []
        assert checker.missing_runs(lake) == []
        again = machine.run(self.job(lake)) if ALL else None
        assert again is None or checker.view(lake) == self.new


def check_message(end: End, code: int = 6) -> None:
    """Assert that an error says where and what to do, in one line, and ends as it must (I4)."""
    assert end.code == code, (end.code, end.err)
    last = end.err.strip().splitlines()[-1]
    assert last.startswith("rsd: "), end.err
    assert "/" in last, last
    assert re.search(r"\b[Rr]un\b|Restore", last), last


def write_dumps(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Write the dumps of the day before and of the night; the last of the night is broken."""
    one, two, three, four, guest = PLATES
    day1 = dump(folder / "day1.csv", [
        record(jlbh="a1", hphm=one, **OVER), record(jlbh="a2", hphm=two, **OVER, tp1="a2.jpg"),
        record(jlbh="a3", hphm=two, jcsj="2026-09-02 08:00:00", **OVER), "broken,record",
        record(jlbh="a4", hphm=three)])
    day2 = dump(folder / "day2.csv", [
        record(jlbh="b1", hphm=one, jcsj="2026-09-03 08:00:00", **OVER), "",
        record(jlbh="b2", hphm=four, tp1="b2.jpg"), record(jlbh="b2", hphm=four, tp1="b2.jpg"),
        record(jlbh="b3", hphm=guest, btgdjg="abc"), record(jlbh="b4", hphm=guest)])
    again = dump(folder / "again.csv", [
        record(jlbh="a3", hphm=two, jcsj="2026-09-02 08:00:00", btgdjg="3"),
        record(jlbh="a4", hphm=three), record(jlbh="b4", hphm=guest, btgdjg="11"),
        record(jlbh="c1", hphm=three, tp1="c1.jpg"), record(jlbh="c2", btgdjg="1e", hphm=one)])
    broken = folder / "broken.csv.gz"
    broken.write_bytes(gzip.compress(day1.read_bytes(), mtime=0)[:-7])
    return (day1,), (day2, again, broken)


def prepare(machine: Machine, folder: Path, *, alone: bool) -> Night:
    """Make the lake of the day before, and the states that the night goes through."""
    folder.mkdir()
    before, dumps = write_dumps(folder / "dumps")
    (folder / "sites.csv").write_text(SITES)
    (folder / "registry.csv").write_text(REGISTRY)
    lake = folder / "prepared"
    made = machine.run(Job([
        ["init", str(lake), "--sites", str(folder / "sites.csv"),
         "--registry", str(folder / "registry.csv")],
        ["run", str(lake), *map(str, before)]], str(lake)))
    assert made.code in (0, 4), made.err
    night = Night(lake, before, dumps, (checker.view(lake),), 0, alone)
    states = [checker.view(lake)]
    work = night.copy(folder)
    for k in range(1, len(dumps)) if alone else ():
        machine.run(Job([["ingest", str(work), str(dumps[k - 1])]], str(work)))
        states.append(checker.view(work))
    work = night.copy(folder)
    end = machine.run(night.job(work))
    states = [*(states if alone else states[:1]), checker.view(work)]
    if alone:
        del states[-2]  # the last batch's passes: the same as at the end
    return Night(lake, before, dumps, tuple(states), int(end.code or 0), alone)


def spread(steps: int, wanted: int, seed: int = 0) -> list[int]:
    """Return steps 1 to ``steps``: all of them, or a spread of some that ``seed`` shifts."""
    if ALL or steps <= wanted:
        return list(range(1, steps + 1))
    return sorted({1 + (round(k * steps / wanted) + seed) % steps for k in range(wanted)})


@contextlib.contextmanager
def case(name: str) -> Iterator[None]:
    """Name a case, so that its failure says how to see it again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"replay: RSD_FAULT='{name}' RSD_FAULTS=all python -m pytest tests/faults")
        raise


def chosen(name: str, steps: Iterable[int]) -> list[tuple[str, int]]:
    """Return the cases of a walk by name: all of ``steps``, or the one to replay."""
    named = [(f"{name}/{k}", k) for k in steps]
    return [(n, k) for n, k in named if not ONE or n == ONE]


def digest(tree: dict[str, bytes | None]) -> str:
    """Return a hash of a folder's content."""
    sha = hashlib.sha256()
    for name, content in sorted(tree.items()):
        sha.update(f"{name}\0{-1 if content is None else len(content)}\0".encode())
        sha.update(content or b"")
    return sha.hexdigest()
