"""Random faults against random work on a lake, for a given time, from a printed seed.

``SOAK_SECONDS=60 SEED=7 python tests/faults/soak.py``. After each operation, however it ended, the
independent checker counts the records of all dumps that the lake says it has; now and then a run
without a fault must bring everything in, and leave nothing about. The same seed makes the same
operations and faults; ``STOP=n`` keeps the lake as it is after operation n.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import checker
from chain import SITES, dump, record
from machine import (
    CHANGES,
    OPENREAD,
    READ,
    SYNC,
    UNBORN_THREAD,
    UNLINK,
    WRITE,
    End,
    Fault,
    Job,
    Machine,
)
from scenario import PLATES, REGISTRY

DUMPS_A_LAKE = 25
"""Then a new lake is begun: what is checked after each operation must stay small."""
CODES = {0, 3, 4, 5, 6, 130, 143, -signal.SIGKILL, -signal.SIGABRT}
"""How an operation may end. SIGABRT: Polars' own allocator where memory runs out."""

STARVED = {-signal.SIGSEGV, 127}
"""How one may end too that runs out of memory: the kernel cannot grow a stack, or the C library
has nothing for a thread's own data."""


@dataclass
class Tally:
    """What came of the soak."""

    operations: int = 0
    injected: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0
    records: int = 0
    violations: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


class Soak:
    """One lake after the other under random work."""

    def __init__(self, machine: Machine, folder: Path, seed: int) -> None:
        self._machine, self._folder = machine, folder
        self._random, self._seed = random.Random(seed), seed
        self.tally, self.lake = Tally(), folder / "lake-0"
        self._lakes = 0
        self._dumps: list[Path] = []
        self._begin()

    def _begin(self) -> None:
        shutil.rmtree(self.lake, ignore_errors=True)
        self._lakes += 1
        self.lake = self._folder / f"lake-{self._lakes}"
        self._dumps = []
        (self._folder / "sites.csv").write_text(SITES)
        (self._folder / "registry.csv").write_text(REGISTRY)
        end = self._run(["init", str(self.lake), "--sites", str(self._folder / "sites.csv"),
                         "--registry", str(self._folder / "registry.csv")], Fault())
        self._expect(end.code == 0, "init", end)

    def _run(self, command: list[str], fault: Fault, **more: object) -> End:
        return self._machine.run(Job([command], str(self.lake), fault, **more))

    def step(self) -> None:
        """Do one operation under one fault, and look at what is left."""
        self.tally.operations += 1
        if len(self._dumps) >= DUMPS_A_LAKE:
            self._settle()
            self._begin()
        name, command = self._operation()
        kind, fault, more = self._fault()
        end = self._run(command, fault, **more)
        what = f"operation {self.tally.operations}: {name} under {kind}"
        before = len(self.tally.violations)
        codes = CODES | ({7} if name in ("compact", "doctor") else set())  # 7: it found a fault
        codes |= STARVED if kind == "memory" else set()
        self._expect(end.code in codes, f"{what}: ended with {end.code}", end)
        self._expect(not end.timed_out or UNBORN_THREAD in end.err, f"{what}: no end", end)
        self._expect("internal fault" not in end.err, what, end)
        said = end.out + end.err
        self._expect(not any(p in said for p in PLATES), f"{what}: a plate was said", end)
        self._look(what)
        self.tally.kinds[f"{name} · {kind}"] += 1
        if kind != "none":
            self.tally.injected += 1
            self.tally.survived += len(self.tally.violations) == before
        if self.tally.operations % 12 == 0 and self._dumps:
            self._settle()

    def _operation(self) -> tuple[str, list[str]]:
        lake, pick = str(self.lake), self._random
        name = pick.choices(
            ["run", "ingest", "find", "export", "query", "quarantine", "compact", "doctor",
             "rotate", "purge", "update"], [30, 30, 6, 5, 4, 2, 8, 3, 4, 2, 4])[0]
        if name in ("run", "ingest"):
            fresh = [self._dump() for _ in range(pick.randint(1, 3))]
            again = pick.sample(self._dumps, min(len(self._dumps), pick.randint(0, 2)))
            self._dumps += fresh
            files = [*fresh, *again]
            pick.shuffle(files)
            return name, [name, lake, *map(str, files)]
        return name, {
            "find": ["find", lake],
            "export": ["export", "findings", lake, "-o", str(self._folder / "list.csv")],
            "query": ["query", lake, "SELECT count(*) FROM passes", "--format", "json"],
            "quarantine": ["quarantine", lake, "--format", "json"],
            "compact": ["doctor", lake, "--repair", "--compact"],
            "doctor": ["doctor", lake, "--repair"],
            "rotate": ["key", "rotate", lake, "--reason", "soak"],
            "purge": ["purge", lake, "--before", "2001-01-01", "--reason", "soak"],
            "update": ["update", lake, "--registry", str(self._registry())],
        }[name]

    def _registry(self) -> Path:
        """Write a registry that says other things of some vehicles than the last one."""
        rows = [f"{plate},1,H11,{self._random.choice('AB')}" for plate in PLATES[:3]]
        path = self._folder / "registry.new"
        path.write_text("\n".join(["plate,plate_color,vehicle_type,fuel", *rows, ""]))
        return path

    def _dump(self) -> Path:
        """Write a dump whose records meet those of others: repeats, versions, damage."""
        pick = self._random
        lines: list[str] = []
        for _ in range(pick.randint(1, 12)):
            number = pick.randint(1, 150)
            cells = {"jlbh": f"k{number}", "hphm": PLATES[number % 5],
                     "jcsj": f"2026-{1 + number % 9:02d}-{1 + number % 28:02d} 08:00:00"}
            cells["btgdjg"] = pick.choice(["10", "35", "60", "60", ""])
            cells["tp1"] = f"{number}.jpg" if number % 4 == 0 else ""
            lines.append(record(**cells))
        for damage in ("broken,line", record(jlbh="bad", btgdjg="1e"), "", record(btgdjg="--")):
            if pick.random() < 0.25:
                lines.insert(pick.randrange(len(lines) + 1), damage)
        path = self._folder / f"{self._lakes}-{len(list(self._folder.glob('*.csv')))}.csv"
        dump(path, lines)
        if pick.random() < 0.15:
            path.write_bytes(path.read_bytes()[:-7])  # the last record is torn
        return path

    def _fault(self) -> tuple[str, Fault, dict[str, object]]:
        pick = self._random
        step = int(pick.choice((10, 40, 120, 240)) * pick.random()) + 1
        kind = pick.choices(
            ["none", "kill", "signal", "error once", "error on", "read", "fsync", "bytes", "short",
             "size", "memory", "clock"], [12, 24, 8, 10, 10, 6, 6, 8, 4, 4, 2, 4])[0]
        number = pick.choice((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES))
        more: dict[str, object] = {"alone": pick.random() < 0.4}
        if kind == "size":
            more["limits"] = {"RLIMIT_FSIZE": pick.randrange(30_000)}
        if kind == "memory":
            more["limits"] = {"RLIMIT_AS": pick.randrange(64, 300) << 20}
        if kind == "clock":
            more["clock"] = (pick.choice((-86400, -3600, 3600, 366 * 86400)), pick.randint(1, 40))
        fault = {
            "kill": Fault("kill", step),
            "signal": Fault("signal", step, pick.choice((signal.SIGTERM, signal.SIGINT))),
            "error once": Fault("error", step, number, operations=CHANGES & ~UNLINK),
            "error on": Fault("error", step, number, on=True),
            "read": Fault("error", step, errno.EIO, operations=READ | OPENREAD),
            "fsync": Fault("error", step // 4 + 1, errno.EIO, operations=SYNC),
            "bytes": Fault("budget", pick.randrange(120_000), errno.ENOSPC),
            "short": Fault("short", step, on=True, operations=WRITE | READ),
        }.get(kind, Fault())
        return kind, fault, more

    def _settle(self) -> None:
        """Run without a fault: everything that was ever sent is there afterwards, once."""
        end = self._run(["run", str(self.lake), *map(str, self._dumps)], Fault())
        what = f"after operation {self.tally.operations}: a run without a fault"
        self._expect(end.code in (0, 3, 4), what, end)
        known = [checker.read_dump(p) for p in self._dumps]
        have = checker.replay(checker.table_folder(self.lake, "passes")).transactions
        missing = [d for d in known if f"source:{d.sha256}" not in have]
        self.tally.lost += sum(d.records for d in missing)
        self._expect(not missing, f"{what}: {len(missing)} dumps are not in the lake")
        self._expect(not (left := checker.litter(self.lake)), f"{what}: litter {left[:3]}")
        self._expect(not (odd := checker.missing_runs(self.lake)), f"{what}: {odd[:3]}")
        self.tally.records += self._look(what)
        doctor = self._run(["doctor", str(self.lake)], Fault())
        self._expect(doctor.code == 0, f"{what}: doctor [{doctor.out}]", doctor)

    def _look(self, what: str) -> int:
        known = {d.sha256: d for d in map(checker.read_dump, self._dumps)}
        try:
            wrong = checker.problems(self.lake)
            found = checker.account(self.lake, known)
        except (OSError, KeyError, ValueError) as error:
            self._expect(False, f"{what}: the lake cannot be read ({error})")
            return 0
        self.tally.lost += len(found.lost)
        self.tally.doubled += len(found.doubled)
        for text in [*wrong, *found.problems][:5]:
            self._expect(False, f"{what}: {text}")
        return found.records

    def _expect(self, holds: bool, what: str, end: End | None = None) -> None:
        if not holds:
            said = f" [{end.code}: {end.err.strip()[-300:]}]" if end is not None else ""
            self.tally.violations.append(what + said)
            print(f"VIOLATION {what}{said}\n  replay: SEED={self._seed} "
                  f"STOP={self.tally.operations} make soak", flush=True)


def main() -> int:
    seconds = float(os.environ.get("SOAK_SECONDS", "60"))
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    stop = int(os.environ.get("STOP", "0"))
    print(f"soak: {seconds:.0f} s, SEED={seed}", flush=True)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder = Path(tempfile.mkdtemp(dir=memory, prefix="rsd-soak-"))
    until = time.monotonic() + seconds
    with Machine() as machine:
        soak = Soak(machine, folder, seed)
        while (soak.tally.operations < stop) if stop else (time.monotonic() < until):
            soak.step()
        if not stop and soak._dumps:
            soak._settle()
    tally = soak.tally
    for name, number in sorted(tally.kinds.items()) if os.environ.get("VERBOSE") else ():
        print(f"  {number:4d} {name}")
    print(f"operations {tally.operations}, faults injected {tally.injected}, "
          f"survived {tally.survived}; records {tally.records}, lost {tally.lost}, "
          f"doubled {tally.doubled}; violations {len(tally.violations)}")
    if stop:
        print(f"the lake is kept: {soak.lake}")
    else:
        shutil.rmtree(folder)
    return int(bool(tally.violations))


if __name__ == "__main__":
    sys.exit(main())
