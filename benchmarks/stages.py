"""Where the CPU time of `rsd run` goes: ``python -m benchmarks.stages LAKE FILE…``.

Reading, preparing and storing overlap in the real run, so a clock within it would count one stage
in another. Instead the same records are read to the end of a longer and longer part of the chain,
and what a stage costs is the difference. CPU time is that of all threads.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rsd.intake import damaged, records
from rsd.intake.layout import Layout
from rsd.intake.records import Reader
from rsd.intake.source import Source, fingerprint, stream_chunks
from rsd.lake import Lake, Table
from rsd.pipeline import ingest, nightly, versions
from rsd.pipeline.plates import PlateBook
from rsd.pipeline.prepare import Prepared
from rsd.pipeline.summary import FileSummary
from rsd.privacy import VehicleKey

WHOLE = "the rest"


class Stopwatch:
    """CPU seconds by name; what is spent in a part inside another is not counted twice."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inside = [0.0]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._inside.append(0.0)
        begin = time.process_time()
        try:
            yield
        finally:
            whole = time.process_time() - begin
            self.spent[name] = self.spent.get(name, 0.0) + whole - self._inside.pop()
            self._inside[-1] += whole

    def measure(self, work: Callable[[], object], parts: dict[str, tuple[Any, str]]) -> None:
        """Do a work; functions of it that are named, as owner and attribute, are told apart."""
        kept = [(owner, name, getattr(owner, name)) for owner, name in parts.values()]
        try:
            for part, (owner, name) in parts.items():
                setattr(owner, name, self._timed(part, getattr(owner, name)))
            with self.part(WHOLE):
                work()
        finally:
            for owner, name, function in kept:
                setattr(owner, name, function)

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(part):
                return function(*arguments, **named)

        return call


class Inline:
    """Stands for a pool of threads: does each work when it is submitted."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __enter__(self) -> Inline:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


def _drain(things: Iterable[object]) -> None:
    for _ in things:
        pass


def _measured(work: Callable[[], object], **parts: tuple[Any, str]) -> dict[str, float]:
    watch = Stopwatch()
    watch.measure(work, {name.replace("_", " "): place for name, place in parts.items()})
    return watch.spent


def slow_chunks(sources: list[Source], timezone: str) -> int:
    """Return how many chunks were not proven whole and took the slow path."""
    calls, read = [], damaged.read

    def noted(*arguments: Any, **named: Any) -> damaged.Damaged:
        calls.append(1)
        return read(*arguments, **named)

    damaged.read = noted
    try:
        for source in sources:
            _drain(Reader(source, timezone))
    finally:
        damaged.read = read
    return len(calls)


def run(lake: Lake, paths: list[Path]) -> dict[str, Any]:
    """Ingest and find; return the CPU seconds of each stage, and the chunks on the slow path."""
    records.ThreadPoolExecutor = Inline  # type: ignore[misc, assignment]
    key, sources = VehicleKey.load(lake.key_path), [fingerprint(path) for path in paths]

    def prepare(some: list[Source]) -> None:
        book = PlateBook(key)
        for source in some:
            summary = FileSummary(source.name, source.sha256)
            _drain(Prepared.open(source, summary, lake.timezone, None).frames(book))

    def each(read: Callable[[Source], Iterable[object]]) -> Callable[[], object]:
        return lambda: [_drain(read(source)) for source in sources]

    slow = slow_chunks(sources, lake.timezone)  # and what is done once stands in no stage
    prepare(sources[-1:])
    hashed = _measured(lambda: [fingerprint(path) for path in paths])
    cut = _measured(each(stream_chunks))
    proven = _measured(each(lambda s: Reader(s, lake.timezone)), typed_parse=(
        Layout, "parse_strict"), our_names_and_units=(records, "to_reported"))
    prepared = _measured(lambda: prepare(sources), plates=(PlateBook, "assign"))
    whole = _measured(lambda: ingest.ingest(lake, paths), compare=(versions, "compare"),
                      commit=(Table, "commit"))
    found = _measured(lambda: nightly.find_all(lake))
    reading = sum(proven.values())
    spent = {
        "hash of the file": hashed[WHOLE],
        "read and cut": cut[WHOLE],
        "proof (lines, separators)": proven.pop(WHOLE) - cut[WHOLE],
        **proven,
        "plates": prepared["plates"],
        "ids, repeats, account": prepared[WHOLE] - reading,
        "score and write": whole[WHOLE] - hashed[WHOLE] - sum(prepared.values()),
        "compare with history": whole["compare"],
        "commit": whole["commit"],
        "find": found[WHOLE],
    }
    return {"cpu_s": spent, "slow_chunks": slow}


if __name__ == "__main__":
    print(json.dumps(run(Lake.open(Path(sys.argv[1])), [Path(p) for p in sys.argv[2:]])))
