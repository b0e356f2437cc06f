"""Mutation testing of the law: break it in one small place at a time; some test must go red.

A mutant is the syntax tree of a module with one change: a comparison moved by its boundary or
turned, a sign, ``and`` for ``or``, a number by one, a truth value turned, a ``not`` removed, a
condition negated, a ``raise`` or a bare call deleted. It is written into a copy of the tree, and
the test modules of its source run there, the quick ones first, up to the first failure.
A mutant that no test notices *survives*: there a rule could be wrong and nobody would see it.

    python tools/mutate.py [--seconds 1200] [--seed 845] [--jobs 1] [--least 85] [SOURCE …]

The mutants are shuffled by the seed and run until the time is over, so that a short run is a fair
sample. The score is killed / (killed + survived); the exit code is 1 below --least.

Why no library: mutmut forks the test process for each mutant, and after a fork Polars hangs on its
thread pool (measured with mutmut 3.8, Polars 2.1); cosmic-ray starts processes as this does, but
brings a database and a web client, and has neither a time budget nor an order of tests.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("rsd", "cli", "tests", "docs", "sample_data", "pyproject.toml")

SOURCES = ("rsd/law/*.py", "rsd/law/verbs/*.py", "rsd/findings.py")

# The first pattern that fits a source gives the test modules for its mutants, quick ones first.
TESTS = (
    ("rsd/law/verbs/*_story.py", ("test_law_story",)),
    ("rsd/law/verbs/*.py", ("test_law_verbs", "test_law_cases", "test_law_oracle")),
    ("rsd/law/judge.py", ("test_law_cases", "test_law_rulebook", "test_law_oracle",
                          "test_findings")),
    ("rsd/law/decide.py", ("test_law_decide",)),
    ("rsd/law/story.py", ("test_law_story", "test_law_decide")),
    ("rsd/law/phrases.py", ("test_law_story",)),
    ("rsd/law/*.py", ("test_law_rulebook", "test_law_cases")),
    ("rsd/findings.py", ("test_findings", "test_law_cases", "test_law_oracle")),
)
SLOWEST_S = 180
"""A run of tests beyond it hangs, which a test suite notices: killed."""

COMPARED: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}
COMBINED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """One change: the source with it, and how to speak of it."""

    source: str
    line: int
    was: str
    becomes: str
    text: str


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node may become; the node itself is left as it is."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            yield _with(node, lambda new, k=k, op=op: new.ops.__setitem__(k, COMPARED[type(op)]()))
    elif isinstance(node, ast.BinOp) and type(node.op) in COMBINED:
        yield _with(node, lambda new: setattr(new, "op", COMBINED[type(node.op)]()))
    elif isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield _with(node, lambda new: setattr(new, "op", other()))
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield _with(node, lambda new: setattr(new, "test", ast.UnaryOp(ast.Not(), new.test)))
    elif isinstance(node, ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()


def _with(node: ast.AST, change: Callable[..., object]) -> ast.AST:
    new = copy.deepcopy(node)
    change(new)
    return new


def mutants(source: str, text: str) -> Iterator[Mutant]:
    """Yield all mutants of a module. Annotations, decorators and docstrings stay."""
    tree = ast.parse(text)
    for parent, field, index, node in list(_places(tree)):
        for new in changes(node):
            was = ast.unparse(node)
            _put(parent, field, index, ast.copy_location(new, node))
            broken = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, field, index, node)
            yield Mutant(source, getattr(node, "lineno", 0), was.split("\n")[0],
                         ast.unparse(new).split("\n")[0], broken)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yield every node below with the place where it hangs."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        items = enumerate(value) if isinstance(value, list) else ((None, value),)
        for index, child in items:
            if isinstance(child, ast.AST):
                yield node, field, index, child
                yield from _places(child)


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def tests_of(source: str) -> list[str]:
    """Return the test modules for a source, and its own doctests."""
    names = next(names for pattern, names in TESTS if fnmatch(source, pattern))
    return [*(f"tests/{name}.py" for name in names if (ROOT / f"tests/{name}.py").exists()), source]


def is_red(tree: Path, tests: list[str]) -> bool:
    """Whether some test fails in a copy of the tree, or none ends in time."""
    path = os.pathsep.join([str(tree), str(tree / "tests")])
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider",
               *tests]
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1",
                                "HYPOTHESIS_PROFILE": "ci"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, timeout=SLOWEST_S, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def copied(folder: Path) -> Path:
    """Copy what the tests need."""
    folder.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name,
                            ignore=shutil.ignore_patterns("__pycache__", "faults"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def survives(mutant: Mutant, tree: Path) -> bool:
    """Put a mutant into a tree, run its tests, put the source back."""
    file = tree / mutant.source
    before = file.read_text(encoding="utf-8")
    file.write_text(mutant.text, encoding="utf-8")
    try:
        return not is_red(tree, tests_of(mutant.source))
    finally:
        file.write_text(before, encoding="utf-8")


def main() -> int:
    """Run mutants until the time is over; print survivors and the score."""
    parser = argparse.ArgumentParser(description="Mutation testing of the law.")
    parser.add_argument("sources", nargs="*", metavar="SOURCE")
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seed", type=int, default=845)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--least", type=float, default=85, help="percent of mutants to be killed")
    asked = parser.parse_args()
    sources = asked.sources or [
        str(p.relative_to(ROOT)) for pattern in SOURCES for p in sorted(ROOT.glob(pattern))]
    every = [m for s in sources for m in mutants(s, (ROOT / s).read_text(encoding="utf-8"))]
    random.Random(asked.seed).shuffle(every)
    print(f"{len(every)} mutants of {len(sources)} modules; up to {asked.seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        trees: queue.Queue[Path] = queue.Queue()
        for job in range(asked.jobs):
            trees.put(copied(Path(scratch) / str(job)))
        tree = trees.queue[0]
        for tests in sorted({tuple(tests_of(s)[:-1]) for s in sources}):
            if is_red(tree, list(tests)):
                print(f"the tests fail without a mutant: {' '.join(tests)}")
                return 2
        return _run(every, trees, asked)


def _run(every: list[Mutant], trees: queue.Queue[Path], asked: argparse.Namespace) -> int:
    until, counts = time.monotonic() + asked.seconds, {True: 0, False: 0}

    def one(mutant: Mutant) -> None:
        if time.monotonic() > until:
            return
        tree = trees.get()
        try:
            lives = survives(mutant, tree)
        finally:
            trees.put(tree)
        counts[lives] += 1
        if lives:
            print(f"survived: {mutant.source}:{mutant.line}: {mutant.was}  →  {mutant.becomes}",
                  flush=True)

    with ThreadPoolExecutor(asked.jobs) as pool:
        list(pool.map(one, every))
    run = sum(counts.values())
    score = 100 * counts[False] / run if run else 0.0
    print(f"{counts[False]} of {run} mutants killed: {score:.1f} % (of {len(every)} in all; "
          f"at least {asked.least:g} % asked)")
    return 0 if score >= asked.least else 1


if __name__ == "__main__":
    sys.exit(main())
