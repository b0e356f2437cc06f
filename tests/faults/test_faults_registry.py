"""Every fault is tested somewhere, and the checker stands on its own feet."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import checker
import pytest
from registry import FAULTS
from scenario import Night

TESTS = Path(__file__).resolve().parents[1]


@functools.cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_number_of_the_list_is_there():
    assert sorted(FAULTS) == list(range(1, 73))


@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_names_tests_that_exist(number: int):
    title, tests = FAULTS[number]
    assert title
    assert tests
    for test in tests:
        file, _, function = test.partition("::")
        assert function.startswith("test_")
        assert function in functions(file), test


def test_the_checker_imports_nothing_of_what_it_checks():
    source = Path(checker.__file__).read_text(encoding="utf-8")
    imported = {name.split(".")[0] for node in ast.walk(ast.parse(source))
                for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else
                             [str(node.module)] if isinstance(node, ast.ImportFrom) else [])}
    assert imported <= set(sys.stdlib_module_names) | {"pyarrow"}


def test_the_checker_finds_what_is_wrong(together: Night, place: Path):
    """A record lost, one doubled, a file changed, one left about: it would see each."""
    lake = together.copy(place)
    assert checker.all_problems(lake, together.before) == []
    dumps = {d.sha256: d for d in map(checker.read_dump, together.before)}
    (sha, dump), = dumps.items()
    more = checker.Dump(sha, [*dump.good, checker.Record("lost", "1.0/None", 99)], dump.bad)
    assert len(checker.account(lake, {sha: more}).lost) == 1
    less = checker.Dump(sha, dump.good[:-1], dump.bad)
    assert len(checker.account(lake, {sha: less}).doubled) == 1
    assert checker.account(lake, {}).wrong
    folder = checker.table_folder(lake, "passes")
    (folder / "part-b-00001-0123abcd.parquet").write_bytes(b"left")
    (folder / ".x.0123abcd.tmp").write_bytes(b"left")
    assert len(checker.litter(lake)) == 2
    (folder / next(iter(checker.replay(folder).files))).write_bytes(b"changed")
    assert len(checker.problems(lake)) == 1
    program = [sys.executable, checker.__file__, str(lake)]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1
