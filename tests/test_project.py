"""The project's own files: pins, version, licence, first page, and nothing of a machine."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rsd

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = [ROOT / "constraints.txt", ROOT / "constraints-dev.txt"]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+$",
                 re.MULTILINE)

MAX_FILE_BYTES = 2 * 1024 * 1024
# Brackets keep these patterns from finding themselves.
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:hom[e]|roo[t]|User[s]|wor[k]|far[m])/[\w.]+")
REGISTRY = re.compile(r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org")


def files_of_the_project() -> list[Path]:
    """What git tracks or would track; where there is no repository, nothing to look at."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed: the list of files is not known")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    if listing.returncode != 0:
        pytest.skip("not a git repository: its list of files is not known")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def complaints_about(text: str) -> list[str]:
    """Paths of one machine and hosts of package registries in a text."""
    return [found[0] for pattern in (MACHINE_PATH, REGISTRY) for found in pattern.finditer(text)]


def pins() -> dict[str, str]:
    texts = [path.read_text(encoding="utf-8") for path in CONSTRAINTS]
    return {pin[1]: pin[2] for text in texts for pin in PIN.finditer(text)}


def test_no_file_names_a_machine_or_a_registry():
    complaints = []
    for path in files_of_the_project():
        text = path.read_bytes().decode("utf-8", errors="replace")
        complaints += [f"{path.relative_to(ROOT)}: {found}" for found in complaints_about(text)]
    assert complaints == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("see /hom" + "e/ana/x.csv", True),
        ("open('/roo" + "t/x')", True),
        ("https://files.python" + "hosted.org/a", True),
        ("https://example.org/home/page", False),
        ("the work/home ratio", False),
        ("~/home/x and $DIR/home/x", False),
    ],
)
def test_a_machine_or_registry_is_found(text, is_found):
    assert bool(complaints_about(text)) is is_found


def test_no_file_is_large():
    large = {
        str(path.relative_to(ROOT)): path.stat().st_size
        for path in files_of_the_project()
        if path.stat().st_size > MAX_FILE_BYTES
    }
    assert large == {}


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_constraints_are_pins_with_hashes_and_nothing_else(path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    rest = [line for line in PIN.sub("", text).splitlines() if line and not line.startswith("#")]
    assert rest == []
    assert PIN.search(text)


@pytest.mark.parametrize(
    "wanted",
    [
        *PROJECT["project"]["dependencies"],
        *PROJECT["build-system"]["requires"],
        *PROJECT["project"]["optional-dependencies"]["notices"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ],
)
def test_every_dependency_is_pinned_as_it_is_wanted(wanted):
    requirement = Requirement(wanted)
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"constraints pin no {requirement.name}: run `make lock`"
    assert requirement.specifier.contains(pinned, prereleases=True), f"pinned: {pinned}"


@pytest.mark.parametrize("wanted", [
    w for w in (*PROJECT["project"]["dependencies"],
                *PROJECT["project"]["optional-dependencies"]["dev"]) if ";" in w])
def test_what_is_wanted_under_a_marker_is_pinned_under_it(wanted):
    requirement = Requirement(wanted)
    name = canonicalize_name(requirement.name)
    texts = "\n".join(path.read_text(encoding="utf-8") for path in CONSTRAINTS)
    assert f"\n{name}=={pins().get(name)} ; {requirement.marker} \\\n" in texts


def test_running_needs_no_development_tool():
    text = CONSTRAINTS[0].read_text(encoding="utf-8")
    runtime = {pin[1] for pin in PIN.finditer(text)}
    tools = {
        canonicalize_name(Requirement(wanted).name)
        for wanted in PROJECT["project"]["optional-dependencies"]["dev"]
    }
    assert runtime & tools == set()


def test_the_version_is_said_once_or_alike():
    version = PROJECT["project"]["version"]
    assert getattr(rsd, "__version__", version) == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(version)}\]", changelog, re.MULTILINE)


def test_the_changelog_says_what_changed_in_the_rules():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    assert releases
    assert [text.splitlines()[0] for text in releases if "\n### Rules\n" not in text] == []


def test_the_licence_is_the_one_that_is_declared():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_readme_opens_with_the_demo_and_the_tests():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    first_screen = readme.read_text(encoding="utf-8").splitlines()[:40]
    for command in ("make demo", "make test"):
        assert any(command in line for line in first_screen), f"{command} is not there"


@pytest.mark.parametrize(
    "target", ["demo", "test", "bench", "lint", "fuzz", "clean", "lock", "help"]
)
def test_make_knows(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*  ## \S", makefile, re.MULTILINE)


def test_ci_lints_and_tests():
    script = ROOT / ".ci" / "run"
    commands = script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o100
    assert "set -euo pipefail" in commands
    assert commands.index("make lint") < commands.index("make test")
