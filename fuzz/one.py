"""Fuzz one target: ``python -m fuzz.one NAME LIBFUZZER-OPTIONS…``; `python -m fuzz` calls it."""

import importlib
import sys

import atheris


def main() -> None:
    """Import the target with rsd instrumented for coverage, and let libFuzzer drive it."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["rsd"]):
        target = importlib.import_module(f"fuzz.{name}")
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
