"""The writer without safeguards that the benchmark compares with still runs, and counts alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from chain import dump, record, rsd

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("safety", ["off", "on"])
def test_it_stores_what_the_safe_one_stores(tmp_path: Path, safety: str) -> None:
    rsd("init", tmp_path / "lake")
    path = dump(tmp_path / "a.csv", [record(jlbh="1"), record(jlbh="2"), "broken"])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.unsafe", safety, tmp_path / "lake", path], cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)["totals"]
    assert (totals["records"], totals["accepted"], totals["quarantined"]) == (3, 2, 1)
