"""Write constraints.txt and constraints-dev.txt: every dependency pinned, with its hashes.

pip itself is asked, once for each Python version and platform of PLATFORMS, what it would install
and with which hash; nothing is downloaded but metadata, and no address is recorded. A version that
a constraints file already pins is kept where it still satisfies pyproject.toml; `--upgrade` takes
the newest instead, and `--keep FILE` takes the pins of another file (`pip freeze`). What
pyproject.toml asks for under an environment marker is pinned under that marker.

    python tools/lock.py [--upgrade | --keep FILE]
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "constraints.txt"
DEVELOPMENT = ROOT / "constraints-dev.txt"

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
MACOS = {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"}


class Platform(NamedTuple):
    """A kind of machine: what its markers say, and the wheel tags it takes, best first."""

    name: str
    markers: dict[str, str]
    tags: list[str]


def glibc(minor: int, machine: str) -> Platform:
    """Give Linux with glibc 2.`minor`, which takes the wheels of every older one down to 2.17."""
    tags = [f"manylinux_2_{older}_{machine}" for older in range(minor, 16, -1)]
    return Platform(
        f"Linux {machine}, glibc 2.{minor}",
        LINUX | {"platform_machine": machine},
        [*tags, f"manylinux2014_{machine}"],
    )


PLATFORMS = (
    # The newest glibc and the oldest one served: a package may have a wheel for each.
    *(glibc(minor, machine) for machine in ("x86_64", "aarch64") for minor in (39, 28)),
    Platform(
        "macOS 15, arm64",
        MACOS | {"platform_machine": "arm64"},
        [f"macosx_{m}_0_{kind}" for kind in ("arm64", "universal2") for m in range(15, 10, -1)],
    ),
)

HEADER = """\
# {what}, pinned; the hashes are those of the wheels for
# Python {pythons} on Linux (glibc 2.28 and later; x86_64, aarch64) and macOS (arm64).
# Written by `make lock` (tools/lock.py): change pyproject.toml and run that, not this file.
"""


def main() -> int:
    """Resolve both sets and write both files; 1 with pip's own words where pip cannot."""
    parser = argparse.ArgumentParser(description="Pin every dependency, with its hashes.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("--keep", type=Path, help="keep the versions of this file (pip freeze)")
    options = parser.parse_args()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["build-system"]["requires"]
    extras = project["project"]["optional-dependencies"]
    runtime = [*project["project"]["dependencies"], *extras["notices"]]
    development = extras["dev"]

    markers = {canonicalize_name(r.name): r.marker
               for r in map(Requirement, [*runtime, *build, *development]) if r.marker}

    kept = [options.keep] if options.keep else [RUNTIME, DEVELOPMENT]
    pins = {} if options.upgrade else read_pins(path for path in kept if path.exists())
    try:
        pins, requires = choose([*runtime, *build, *development], pins)
        hashes = all_hashes(pins, markers)
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return 1
    needed = closure([*runtime, *build], requires).keys()
    write(RUNTIME, "What rsd needs to run, and setuptools to install it", set(needed), pins, hashes,
          markers)
    write(DEVELOPMENT, "What the tests, linters and benchmarks need besides",
          set(pins) - set(needed), pins, hashes, markers)
    return 0


def read_pins(paths: Iterable[Path]) -> dict[str, str]:
    """Name → version of every `name==version` line."""
    lines = itertools.chain.from_iterable(path.read_text("utf-8").splitlines() for path in paths)
    found = (re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line) for line in lines)
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def choose(
    wanted: list[str], pins: dict[str, str]
) -> tuple[dict[str, str], dict[str, list[Requirement]]]:
    """Choose one version of every package that any target needs, with what each requires.

    pip follows the environment markers of the interpreter that runs it. What only another target
    needs is found here in the packages' own words and asked for by name, until nothing is left.
    """
    while True:
        found = [entry["metadata"] for entry in resolve(wanted, pins, PYTHONS[0], PLATFORMS[0])]
        chosen: dict[str, str] = {canonicalize_name(m["name"]): m["version"] for m in found}
        requires: dict[str, list[Requirement]] = {
            canonicalize_name(m["name"]): [Requirement(text) for text in m.get("requires_dist", [])]
            for m in found
        }
        needed = closure(wanted, requires)
        lost = [needed[name] for name in needed.keys() - requires.keys()]
        if not lost:
            return {name: chosen[name] for name in needed}, requires
        wanted = [*wanted, *(f"{requirement.name}{requirement.specifier}" for requirement in lost)]


def closure(
    wanted: Iterable[str], requires: dict[str, list[Requirement]]
) -> dict[str, Requirement]:
    """Name → requirement of everything that is needed on at least one target."""
    environments = [environment_of(*target) for target in itertools.product(PYTHONS, PLATFORMS)]
    needed: dict[str, Requirement] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(text) for text in wanted]
    while waiting:
        parent = waiting.pop()
        name = canonicalize_name(parent.name)
        if (name, frozenset(parent.extras)) in seen:
            continue
        seen.add((name, frozenset(parent.extras)))
        needed[name] = parent
        waiting += [
            child
            for child in requires.get(name, [])
            if child.marker is None
            or any(
                child.marker.evaluate(environment | {"extra": extra})
                for environment in environments
                for extra in ("", *parent.extras)
            )
        ]
    return needed


def environment_of(python: str, platform: Platform) -> dict[str, str]:
    """Return what markers are judged by on one target."""
    here = {key: str(value) for key, value in default_environment().items()}
    versions = {"python_version": python, "python_full_version": f"{python}.0"}
    return here | platform.markers | versions


def resolve(
    requirements: Iterable[str],
    pins: dict[str, str],
    python: str,
    platform: Platform,
) -> list[dict[str, Any]]:
    """Return the `install` entries of pip's report: what it would install, and from which file."""
    with tempfile.TemporaryDirectory() as scratch:
        constraints, report = Path(scratch, "pins.txt"), Path(scratch, "report.json")
        constraints.write_text("".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
             "--only-binary=:all:", f"--python-version={python}",
             *(f"--platform={tag}" for tag in platform.tags), f"--target={scratch}",
             f"--constraint={constraints}", f"--report={report}", *requirements],
            check=True, capture_output=True, text=True,
        )
        return list(json.loads(report.read_text(encoding="utf-8"))["install"])


def all_hashes(pins: dict[str, str], markers: dict[str, Marker]) -> dict[str, set[str]]:
    """Name → sha256 of the wheel that pip chooses on each target that the marker allows."""
    hashes: dict[str, set[str]] = {name: set() for name in pins}
    for python, platform in itertools.product(PYTHONS, PLATFORMS):
        print(f"Python {python}, {platform.name}", file=sys.stderr)
        here = environment_of(python, platform)
        requirements = [f"{name}=={version}" for name, version in pins.items()
                        if name not in markers or markers[name].evaluate(here)]
        for entry in resolve(requirements, pins, python, platform):
            name = canonicalize_name(entry["metadata"]["name"])
            hashes[name].add(entry["download_info"]["archive_info"]["hashes"]["sha256"])
    return hashes


def write(
    path: Path, what: str, names: set[str], pins: dict[str, str], hashes: dict[str, set[str]],
    markers: dict[str, Marker],
) -> None:
    """Write one constraints file, sorted by name."""
    lines = [HEADER.format(what=what, pythons=f"{PYTHONS[0]} to {PYTHONS[-1]}")]
    for name in sorted(names):
        where = f" ; {markers[name]}" if name in markers else ""
        found = (f"--hash=sha256:{digest}" for digest in sorted(hashes[name]))
        rows = [f"{name}=={pins[name]}{where}", *found]
        lines.append(" \\\n    ".join(rows) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    print(f"{path.name}: {len(names)} packages", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
