"""Coverage-guided fuzzing: one module a target, each with seeds made by code and real oracles.

A target has ``WORDS`` (pieces that its inputs are made of), ``seeds()`` (inputs to begin with) and
``check(data)``, which raises where something that must hold does not. `make fuzz` runs them all
with atheris; the test suite runs every target over its seeds, without atheris.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("splitter", "records", "decoder", "times", "plates", "archives", "formats", "gate",
           "exports")

if str(ROOT / "tests") not in sys.path:
    sys.path.append(str(ROOT / "tests"))  # the independent counter lives there
