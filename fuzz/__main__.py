"""Fuzz every target for some seconds, and say how often each one ran and what was found.

    python -m fuzz [--seconds N] [TARGET …]     fuzz all targets, or some
    python -m fuzz TARGET FILE                  run one target on one input: a finding again

Inputs that were worth keeping and findings stay in ``.fuzz/``, so that the next run goes on where
this one stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from fuzz import ROOT, TARGETS

KEPT = ROOT / ".fuzz"
SLOWEST_S = 60  # longer for one input is a finding; time that a single file may hang
MEMORY_MB = 3072
LONGEST = 8192  # bytes of one input
_RUNS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERED = re.compile(r"cov: (\d+)")
_PYTHON_ERROR = re.compile(r"=== Uncaught Python exception: ===.*?(?=^==\d+==|\Z)",
                           re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How often a target ran, how much of rsd it reached, and what it found."""

    name: str
    runs: int
    covered: int
    findings: tuple[Path, ...]
    words: str
    seconds: float = 1.0


def main() -> int:
    """Fuzz, or run one input; 1 where anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    names = options.names or list(TARGETS)
    if len(names) == 2 and names[0] in TARGETS and Path(names[1]).is_file():
        importlib.import_module(f"fuzz.{names[0]}").check(Path(names[1]).read_bytes())
        print(f"{names[0]}: nothing wrong with {names[1]}")
        return 0
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if not is_for_this_machine():
        print(no_wheel())
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: run `make fuzz`, or pip install -r constraints-dev.txt")
        return 1
    outcomes = [fuzz(name, options.seconds) for name in names]
    print(summary(outcomes))
    return int(any(outcome.findings for outcome in outcomes))


def requirement() -> Requirement:
    """Return the line of pyproject.toml that asks for atheris, with its marker."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = map(Requirement, project["optional-dependencies"]["dev"])
    return next(r for r in wanted if r.name == "atheris")


def is_for_this_machine(environment: dict[str, str] | None = None) -> bool:
    """Say whether there is a wheel of atheris for this Python and machine: the marker knows."""
    marker = requirement().marker
    return marker is None or marker.evaluate(environment)


def no_wheel() -> str:
    """Say plainly that the targets were not fuzzed, and why."""
    here = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.system()} "
    return (f"NOT FUZZED: atheris has no wheel for {here}{platform.machine()} "
            f"(it is pinned for: {requirement().marker}). Only the property tests ran.")


def fuzz(name: str, seconds: int) -> Outcome:
    """Fuzz one target in a process of its own."""
    corpus, findings = KEPT / "corpus" / name, KEPT / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    before = set(findings.iterdir())
    target = importlib.import_module(f"fuzz.{name}")
    print(f"{name}: {seconds} s", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        seeds, words = Path(scratch) / "seeds", Path(scratch) / "words"
        seeds.mkdir()
        for seed in target.seeds():
            (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
        words.write_text(dictionary(target.WORDS), encoding="ascii")
        begun = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "fuzz.one", name, str(corpus), str(seeds), f"-dict={words}",
             f"-max_total_time={seconds}", f"-timeout={SLOWEST_S}", f"-rss_limit_mb={MEMORY_MB}",
             f"-max_len={LONGEST}", f"-artifact_prefix={findings}/{name}-", "-reload=0",
             "-print_final_stats=1"],
            cwd=ROOT, env=os.environ | {"POLARS_MAX_THREADS": "1"},  # inputs are small
            capture_output=True, text=True, errors="replace", check=False,
        )
    new = tuple(sorted(set(findings.iterdir()) - before))
    told = _PYTHON_ERROR.search(run.stdout)
    words_of = told[0].strip() if told else run.stderr[-3000:]
    if run.returncode and not new:  # it broke before it ran: no finding, but no pass either
        new = (findings / f"{name}-did-not-run",)
    ran, covered = _RUNS.search(run.stderr), _COVERED.findall(run.stderr)
    return Outcome(name, int(ran[1]) if ran else 0, int(covered[-1]) if covered else 0, new,
                   words_of if run.returncode else "", time.monotonic() - begun)


def dictionary(words: Iterable[bytes]) -> str:
    """Return words as libFuzzer's dictionary file.

    >>> dictionary([b'a"', b"\\xff"])
    '"a\\\\x22"\\n"\\\\xff"\\n'
    """
    def quoted(word: bytes) -> str:
        return "".join(chr(b) if 0x20 < b < 0x7F and b not in b'"\\' else f"\\x{b:02x}"
                       for b in word)

    return "".join(f'"{quoted(word)}"\n' for word in words if word)


def summary(outcomes: list[Outcome]) -> str:
    """Return the table of executions, and each finding with how to see it again."""
    lines = [f"{'target':<10} {'executions':>11} {'a second':>9} {'reached':>8}  findings"]
    lines += [f"{o.name:<10} {o.runs:>11,} {o.runs / o.seconds:>9,.0f} {o.covered:>8,}  "
              f"{len(o.findings) or 'none'}" for o in outcomes]
    for outcome in outcomes:
        for path in outcome.findings:
            shown = path.relative_to(ROOT)
            lines += ["", f"FOUND by {outcome.name}; again: python -m fuzz {outcome.name} {shown}",
                      outcome.words]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
