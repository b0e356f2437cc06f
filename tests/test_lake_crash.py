"""The lake under kill and power loss, moved one step at a time.

`Machine` counts every step by which the lake changes the disk. The process dies at step k, for
every k until a run goes through: from then on no step does anything, as after a kill. Then a
checker that knows only what was promised looks at what is left.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rsd.columns import TABLES, schema
from rsd.lake import Lake
from rsd.storage import checkpoint, log

OLD, NEW = (["r1"], [b"q1"]), (["r1", "r2"], [b"q1", b"q2"])
DEATHS = ("kill", "power loss", "power loss, names too")
MEMORY = "/dev/shm"  # thousands of fsyncs, of which no disk needs to hear


class Killed(BaseException):
    """The process is dead; no handler of the code under test may outlive it."""


class Machine:
    """A machine that dies at its k-th change of the disk, and what it had not yet made durable."""

    def __init__(self, dies_at: int) -> None:
        self.steps, self.dies_at = 0, dies_at
        self.unsynced_content: set[str] = set()
        self.synced_content: set[str] = set()
        self.unsynced_names: list[tuple[str, bytes | None]] = []  # name, what it named before

    def step(self) -> None:
        self.steps += 1
        if self.steps >= self.dies_at:
            raise Killed

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "fsync", "link", "replace", "rename", "unlink", "mkdir"):
                patch.setattr(os, name, getattr(self, name)(getattr(os, name)))
            patch.setattr(pl.LazyFrame, "sink_parquet", self.sink(pl.LazyFrame.sink_parquet))
            yield

    def open(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & os.O_CREAT:
                self.step()
                self.unsynced_names.append((str(path), None))
            return real(path, flags, *args, **kwargs)
        return call

    def write(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(descriptor: int, data: bytes) -> int:
            self.unsynced_content.add(_path_of(descriptor))
            try:
                self.step()
            except Killed:
                if self.steps == self.dies_at:
                    real(descriptor, bytes(data)[: len(data) // 2])
                raise
            return real(descriptor, data)
        return call

    def fsync(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(descriptor: int) -> None:
            self.step()
            path = _path_of(descriptor)
            self.unsynced_content.discard(path)
            self.synced_content.add(path)
            kept = [(p, old) for p, old in self.unsynced_names if os.path.dirname(p) != path]
            self.unsynced_names = kept
            real(descriptor)
        return call

    def link(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **kwargs: Any) -> None:
            self.step()
            real(source, target, **kwargs)
            self.unsynced_names.append((str(target), None))
            if str(source) in self.unsynced_content:
                self.unsynced_content.add(str(target))
        return call

    def replace(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any, **kwargs: Any) -> None:
            self.step()
            old = Path(target).read_bytes() if os.path.exists(target) else None
            real(source, target, **kwargs)
            self.unsynced_names.append((str(target), old))
            if str(source) not in self.synced_content:  # bytes that another program wrote
                self.unsynced_content.add(str(target))
        return call

    rename = replace

    def unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **kwargs: Any) -> None:
            self.step()
            real(*args, **kwargs)
        return call

    def mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, *args: Any, **kwargs: Any) -> None:
            self.step()
            real(path, *args, **kwargs)
            self.unsynced_names.append((str(path), None))
        return call

    def sink(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(frame: pl.LazyFrame, path: Path, **kwargs: Any) -> None:
            try:
                self.step()
            except Killed:
                if self.steps == self.dies_at:
                    path.write_bytes(b"PAR1 torn")
                raise
            real(frame, path, **kwargs)
            self.unsynced_names.append((str(path), None))
        return call

    def lose_power(self, *, names: bool) -> None:
        """Take away what no fsync had made durable: bytes, and with ``names`` names too."""
        for path in self.unsynced_content:
            if os.path.exists(path):
                os.truncate(path, os.path.getsize(path) // 2)
        for path, old in reversed(self.unsynced_names if names else []):
            if old is not None:
                Path(path).write_bytes(old)
            elif os.path.isdir(path):
                shutil.rmtree(path)
            else:
                Path(path).unlink(missing_ok=True)


def _path_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


def rows(name: str, **values: object) -> pl.DataFrame:
    nothing = pl.DataFrame(schema=schema(TABLES[name])).clear(1)
    return nothing.with_columns(**{k: pl.lit(v).cast(nothing.schema[k]) for k, v in
                                   values.items()})


def ingest(lake: Lake, number: int) -> str:
    """Do what a run does with one batch, in the order that the lake demands."""
    batch, record = f"b{number}", f"r{number}"
    with lake.writer():
        tables = {n: lake.table(n) for n in ("vehicles", "quarantine", "passes")}
        if tables["passes"].has_transaction(f"batch:{batch}"):
            return "already"
        content = {
            "vehicles": rows("vehicles", vehicle_id=record),
            "quarantine": rows("quarantine", raw=f"q{number}".encode()),
            "passes": rows("passes", record_id=record, measured_at=dt.datetime(2026, 1, number)),
        }
        for name, table in tables.items():
            path = table.write(content[name], batch)
            known = [f"batch:{batch}"] if name == "passes" else []
            table.commit([path], transactions=known, overwrite=name == "vehicles")
    return "done"


def seen(lake: Lake) -> tuple[list[str], list[bytes]]:
    def column(table: str, name: str) -> list[Any]:
        return sorted(lake.table(table).scan().collect()[name].to_list())

    return column("passes", "record_id"), column("quarantine", "raw")


def litter(lake: Lake) -> list[str]:
    """Return every file that no log names; the logs and the lake's own three files apart."""
    known = {"rsd.toml", ".lock", ".versions", "_last_checkpoint"}
    for name in TABLES:
        known |= log.names_ever(lake.table(name).folder / "_delta_log")
    return [p.name for p in lake.path.rglob("*") if p.is_file() and p.name not in known
            and not (p.name[:20].isdigit() and p.suffix in {".json", ".parquet", ".torn"})]


def every_death(
    prepared: Path, scratch: Path, work: Callable[[Lake], object], after: str
) -> Iterator[tuple[Lake, int]]:
    """Yield the lake, opened anew, after a death at each step of ``work``."""
    for dies_at in range(1, 1000):
        place = scratch / str(dies_at)
        shutil.copytree(prepared, place)
        machine = Machine(dies_at)
        try:
            with machine.running():
                work(Lake.open(place))
            return
        except Killed:
            pass
        if after != "kill":
            machine.lose_power(names=after == "power loss, names too")
        yield Lake.open(place), dies_at
        shutil.rmtree(place)
    raise AssertionError("the work has no end")


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as folder:
        yield Path(folder)


@pytest.fixture
def prepared(scratch: Path) -> Path:
    lake = Lake.create(scratch / "prepared")
    assert ingest(lake, 1) == "done"
    assert seen(lake) == OLD
    return lake.path


@pytest.mark.parametrize("after", DEATHS)
def test_a_batch_is_wholly_there_or_not_at_all(prepared: Path, scratch: Path, after: str) -> None:
    states = []
    for lake, step in every_death(prepared, scratch, lambda lake: ingest(lake, 2), after):
        states.append(seen(lake))
        assert states[-1] in (OLD, NEW), step
        assert ingest(lake, 2) == ("already" if states[-1] == NEW else "done"), step
        assert seen(lake) == NEW, step
        assert litter(lake) == [], step
        assert lake.problems() == [], step
        assert lake.table("vehicles").scan().collect()["vehicle_id"].to_list() == ["r2"], step
    assert len(states) > 15
    assert states == sorted(states)  # once new, new at every later step
    # The entry has its name, loses its first one, and its folder is flushed: of a name without that
    # nothing may be left. Five more steps note the versions that were reached.
    assert len(states) - states.index(NEW) == (5 if after == "power loss, names too" else 7)


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_done_outlives_a_power_loss(scratch: Path, number: int) -> None:
    machine = Machine(dies_at=1000)
    with machine.running():
        lake = Lake.create(scratch / "lake")
        for k in range(number):
            assert ingest(lake, k + 1) == "done"
    machine.lose_power(names=True)
    assert seen(Lake.open(lake.path)) == (OLD if number == 1 else NEW)
    assert Lake.open(lake.path).problems() == []


@pytest.mark.parametrize("after", DEATHS[2:])
def test_a_first_batch_survives_likewise(scratch: Path, after: str) -> None:
    prepared = Lake.create(scratch / "lake").path
    nothing: tuple[list[str], list[bytes]] = ([], [])
    for lake, step in every_death(prepared, scratch / "at", lambda lake: ingest(lake, 1), after):
        assert seen(lake) in (nothing, OLD), step
        ingest(lake, 1)
        assert seen(lake) == OLD, step
        assert litter(lake) == [], step


@pytest.mark.parametrize("after", DEATHS[::2])
def test_a_checkpoint_may_die_at_every_step(
    prepared: Path, scratch: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deltalake

    monkeypatch.setattr(checkpoint, "EVERY", 1)
    monkeypatch.setattr(log, "_WORTH_A_CHECKPOINT", 0)

    def work(lake: Lake) -> None:
        table = lake.table("segments")
        with lake.writer():
            for k in range(2):
                table.commit([table.write(rows("segments", segment_id=f"s{k}"), f"b{k}")])

    for lake, step in every_death(prepared, scratch, work, after):
        found = sorted(lake.table("segments").scan().collect()["segment_id"])
        assert found == [f"s{k}" for k in range(len(found))], step
        if found:
            delta = deltalake.DeltaTable(str(lake.path / "open" / "segments"))
            assert len(delta.file_uris()) == len(found), step
        with lake.writer():
            pass
        assert litter(lake) == [], step


@pytest.mark.parametrize("after", DEATHS)
def test_a_lake_half_made_can_be_made_again(scratch: Path, after: str) -> None:
    for dies_at in range(1, 100):
        machine, place = Machine(dies_at), scratch / str(dies_at) / "lake"
        try:
            with machine.running():
                Lake.create(place)
            break
        except Killed:
            pass
        if after != "kill":
            machine.lose_power(names=after == "power loss, names too")
        with contextlib.suppress(Exception):  # either it can be made, or it is made
            Lake.create(place)
        lake = Lake.open(place)
        assert ingest(lake, 1) == "done"
        assert litter(lake) == [], dies_at
    assert dies_at > 5


@pytest.mark.parametrize("call", ["sink_parquet", "link", "fsync"])
def test_a_process_that_is_really_killed(prepared: Path, scratch: Path, call: str) -> None:
    place = scratch / "lake"
    shutil.copytree(prepared, place)
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import polars as pl
from test_lake_crash import Lake, ingest
home, count = (pl.LazyFrame if {call!r} == "sink_parquet" else os), 0
real = getattr(home, {call!r})
def call(*args, **kwargs):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), 9)
    return real(*args, **kwargs)
setattr(home, {call!r}, call)
ingest(Lake.open({str(place)!r}), 2)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    lake = Lake.open(place)
    assert seen(lake) == OLD
    assert ingest(lake, 2) == "done"
    assert seen(lake) == NEW
    assert litter(lake) == []
