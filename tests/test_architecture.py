"""The house keeps its shape: read from the syntax trees of rsd/ and cli/, and from a bare import.

Each check is a function from a source tree to a list of complaints. It is run on this project,
where it must find nothing, and on a small tree with the fault in it, where it must find that.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A module imports from the floors below, and from its own package.
FLOORS = (
    {"rsd.errors", "rsd.version"},
    {"rsd.physics", "rsd.units", "rsd.column"},
    {"rsd.columns", "rsd.reasons", "rsd.clock"},
    {"rsd.storage"},
    {"rsd.lake", "rsd.privacy", "rsd.audit", "rsd.inbox"},
    {"rsd.scoring", "rsd.quality", "rsd.geography", "rsd.intake", "rsd.synthetic"},
    {"rsd.law", "rsd.detection", "rsd.gate", "rsd.views"},
    {"rsd.aggregates", "rsd.findings", "rsd.sql", "rsd.review"},
    {"rsd.exports", "rsd.engines"},
    {"rsd.pipeline"},
    {"rsd.keeping"},
    {"rsd"},
    {"cli"},
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
# Neighbours on one floor: scoring puts these two together; an exact factor has one place, units.
ALLOWED_ASIDE = {
    ("rsd.scoring", "rsd.quality"),
    ("rsd.scoring", "rsd.geography"),
    ("rsd.physics", "rsd.units"),
    ("rsd.views", "rsd.gate"),
    ("rsd.aggregates", "rsd.sql"),  # the type of the session that it asks
}
# Together they need nothing but the standard library.
PURE = {"rsd.physics", "rsd.units", "rsd.errors"}

MAX_LINES = 350
# `rsd --help` must answer at once: none of these is loaded by importing the command line.
HEAVY = {
    "polars", "duckdb", "numpy", "deltalake", "pyarrow", "pandas", "pyproj", "shapely", "sklearn",
    "scipy", "xlsxwriter", "rich",
}
# These few are needed by single commands, so that no module loads them at import.
HEAVY_AND_RARE = {"pyproj", "shapely", "sklearn", "xlsxwriter", "openpyxl", "rich", "typst",
                  "fontTools"}
TRUTH_PATH = re.compile(r"(^|/)truth(/|$)|\btruth[\w-]*\.(csv|parquet|json|toml)\b")


def modules(root: Path) -> dict[str, Path]:
    """Dotted name → file of every module under rsd/ and cli/."""
    found = {}
    for path in sorted([*root.glob("rsd/**/*.py"), *root.glob("cli/**/*.py")]):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(name: str) -> str:
    """The part of the house a module belongs to: `rsd.law.verbs` → `rsd.law`, `cli.x` → `cli`."""
    parts = name.split(".")
    return "cli" if parts[0] == "cli" else ".".join(parts[:2])


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything a module imports, wherever in it."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *(node.module.split(".") if node.module else [])])
            inner = (f"{base}.{alias.name}" for alias in node.names)
            for target in dict.fromkeys(name if name in known else base for name in inner):
                yield node.lineno, target


def upward_imports(root: Path) -> list[str]:
    known = modules(root)
    complaints = []
    for name, path in known.items():
        here = room_of(name)
        if here not in FLOOR:
            complaints.append(f"{name}: {here} has no floor; give it one in FLOORS")
            continue
        for line, target in imports(name, path, known):
            there = room_of(target)
            if target.split(".")[0] not in {"rsd", "cli"} or there == here:
                continue
            if there not in FLOOR:
                complaints.append(f"{name}:{line} imports {target}, which has no floor in FLOORS")
            elif FLOOR[there] >= FLOOR[here] and (here, there) not in ALLOWED_ASIDE:
                complaints.append(f"{name}:{line} imports {target}, which is not below it")
    return complaints


def foreign_imports_of_physics(root: Path) -> list[str]:
    """Formulas and factors take the standard library only, so that any engine can carry them."""
    known = modules(root)
    return [
        f"{name}:{line} imports {target}; formulas take the standard library only"
        for name, path in known.items()
        if room_of(name) in PURE
        for line, target in imports(name, path, known)
        if target.split(".")[0] not in sys.stdlib_module_names and room_of(target) not in PURE
    ]


def long_modules(root: Path) -> list[str]:
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in modules(root).items()
    }
    return [
        f"{name}: {length} lines, {MAX_LINES} at most"
        for name, length in lengths.items()
        if length > MAX_LINES
    ]


def eager_imports(root: Path) -> list[str]:
    """Rare and heavy packages imported when the module is, not when they are needed."""
    complaints = []
    for name, path in modules(root).items():
        for node in run_at_import(tree_of(path).body):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                targets = [node.module or ""]
            else:
                continue
            heavy = HEAVY_AND_RARE & {target.split(".")[0] for target in targets}
            complaints += [f"{name}:{node.lineno} imports {found} at import" for found in heavy]
    return complaints


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Every statement that importing runs: functions and TYPE_CHECKING blocks are not entered."""
    for node in body:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for field in ("orelse",) if checking else ("body", "orelse", "finalbody"):
            yield from run_at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from run_at_import(handler.body)


def mentions_of_truth(root: Path) -> list[str]:
    """Whoever reads the answers cannot be tested with them: only rsd.synthetic writes them."""
    complaints = []
    for name, path in modules(root).items():
        if room_of(name) == "rsd.synthetic":
            continue
        tree = tree_of(path)
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in prose and TRUTH_PATH.search(node.value):
                complaints.append(f"{name}:{node.lineno} mentions the truth folder")
    return complaints


def undocumented(root: Path) -> list[str]:
    """Modules, and public functions, classes and methods, without a docstring."""
    complaints = []
    for name, path in modules(root).items():
        tree = tree_of(path)
        if not ast.get_docstring(tree):
            complaints.append(f"{name}: the module has no docstring")
        complaints += [
            f"{name}:{node.lineno} {node.name} has no docstring"
            for node in public_definitions(tree)
            if not ast.get_docstring(node)
        ]
    return complaints


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public_definitions(parent: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    for node in parent.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            if not any("overload" in ast.unparse(mark) for mark in node.decorator_list):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def loaded_by(statement: str, root: Path) -> set[str]:
    """Heavy packages that a new interpreter has loaded after one statement."""
    program = f"{statement}\nimport sys\nprint(*({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


CHECKS = (
    upward_imports, foreign_imports_of_physics, long_modules, eager_imports, mentions_of_truth,
    undocumented,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_this_project_has_no(check):
    complaints = check(ROOT)
    assert not complaints, "\n".join(complaints)


def test_the_project_has_modules_to_look_at():
    assert {"rsd", "rsd.errors", "rsd.columns"} <= modules(ROOT).keys()


def test_the_command_line_starts_light():
    if not (ROOT / "cli" / "main.py").exists():
        pytest.skip("there is no cli/main.py yet")
    assert loaded_by("import cli.main", ROOT) == set()


# The checks themselves, on small trees with one fault each.

DOC = '"""Doc."""\n'


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


FAULTS = [
    (upward_imports, "rsd/units.py", "import rsd.columns", "rsd.columns, which is not below"),
    (upward_imports, "rsd/columns.py", "from rsd.scoring import score", "rsd.scoring, which"),
    (upward_imports, "rsd/columns.py", "from rsd import lake", "rsd.lake, which is not below"),
    (upward_imports, "rsd/columns.py", "from . import lake", "rsd.lake, which is not below"),
    (upward_imports, "rsd/law/verbs.py", "from ..findings import f", "rsd.findings, which"),
    (upward_imports, "rsd/law/verbs.py", "from rsd.detection import f", "rsd.detection, which"),
    (upward_imports, "rsd/law/verbs.py", "def f():\n    import rsd.sql", "rsd.sql, which"),
    (upward_imports, "rsd/quality.py", "from rsd.scoring import score", "rsd.scoring, which"),
    (upward_imports, "rsd/lake.py", "from rsd import __version__", "imports rsd, which"),
    (upward_imports, "rsd/pipeline.py", "import cli.main", "cli.main, which is not below"),
    (upward_imports, "rsd/attic.py", "", "rsd.attic has no floor"),
    (upward_imports, "cli/main.py", "import rsd.attic", "rsd.attic, which has no floor"),
    (foreign_imports_of_physics, "rsd/physics/vsp.py", "import numpy as np", "imports numpy"),
    (foreign_imports_of_physics, "rsd/physics/vsp.py", "from rsd import lake", "rsd.lake"),
    (foreign_imports_of_physics, "rsd/units.py", "import polars", "imports polars"),
    (long_modules, "rsd/units.py", "\n" * MAX_LINES, f"{MAX_LINES + 1} lines"),
    (eager_imports, "rsd/geography.py", "from pyproj import CRS", "imports pyproj"),
    (eager_imports, "cli/main.py", "try:\n    import rich.table\nfinally:\n    pass", "rich"),
    (mentions_of_truth, "rsd/findings.py", "PATH = f'{1}/truth/x.csv'", "truth folder"),
    (mentions_of_truth, "cli/main.py", "open('truth_passes.parquet')", "truth folder"),
    (undocumented, "rsd/units.py", "def f():\n    return 1", "f has no docstring"),
    (undocumented, "rsd/units.py", "class C:\n    'D.'\n    def g(self): ...", "g has no"),
]


@pytest.mark.parametrize(("check", "name", "text", "complaint"), FAULTS)
def test_a_fault_is_found(tmp_path, check, name, text, complaint):
    house = {"rsd/__init__.py": DOC, "rsd/lake.py": DOC, "rsd/columns.py": DOC}
    found = check(plant(tmp_path, house | {name: DOC + text}))
    assert len(found) == 1, found
    assert complaint in found[0]


def test_a_module_without_a_docstring_is_found(tmp_path):
    assert undocumented(plant(tmp_path, {"rsd/units.py": "A = 1\n"})) == [
        "rsd.units: the module has no docstring"
    ]


def test_a_sound_house_passes(tmp_path):
    sound = {
        "rsd/__init__.py": "from rsd.pipeline import run",
        "rsd/errors.py": "",
        "rsd/physics/__init__.py": "from rsd.physics import vsp",
        "rsd/units.py": "import math\nfrom rsd.errors import RsdError",
        "rsd/physics/vsp.py": "import math\nfrom . import smoke\nfrom rsd.units import factor",
        "rsd/physics/smoke.py": "",
        "rsd/lake/__init__.py": "from .log import read",
        "rsd/lake/log.py": "from rsd.errors import RsdError\nimport polars",
        "rsd/quality.py": "from rsd import lake",
        "rsd/scoring.py": "from rsd.quality import flags",
        "rsd/geography.py": "if TYPE_CHECKING:\n    import pyproj\ndef _f():\n    import shapely",
        "rsd/synthetic/city.py": "TRUTH = 'truth/'",
        "rsd/pipeline.py": "from rsd import findings, scoring",
        "rsd/findings.py": "A = 'a known truth, in truth'",
        "cli/main.py": "import rsd\nfrom cli import options\nfrom rsd.errors import RsdError",
        "cli/options.py": "",
    }
    house = plant(tmp_path, {name: DOC + text for name, text in sound.items()})
    assert [complaint for check in CHECKS for complaint in check(house)] == []


def test_a_heavy_start_is_found(tmp_path):
    late = {"late.py": "def f():\n    import duckdb\n"}
    main = {"cli/__init__.py": "", "cli/main.py": "from late import f\nimport polars\n"}
    house = plant(tmp_path, late | main)
    assert "polars" in loaded_by("import cli.main", house)
    assert "duckdb" not in loaded_by("import cli.main", house)
