"""Keep a small lake as this code writes it: ``python tools/keep_lake.py NAME``.

To be run once for every release, before it is tagged: ``tests/data/lakes/NAME.tar.gz`` is then
opened, verified and worked on by the tests of all later ones. Everything in it is made up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "faults")]


def main() -> None:
    """Make a lake with a day, its correction, quarantine and findings, and pack it."""
    import checker
    from chain import SEGMENTS, SITES, dump, record

    name = sys.argv[1]
    target = ROOT / "tests" / "data" / "lakes" / f"{name}.tar.gz"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lake, dumps = place / "lake", place / "dumps"
        (place / "sites.csv").write_text(SITES)
        (place / "segments.geojson").write_text(SEGMENTS)
        (place / "registry.csv").write_text(
            "plate,plate_color,vehicle_type,fuel\n闽D12345,1,H11,B\n")
        over = {"btgdjg": "60"}
        first = dump(dumps / "one.csv", [
            record(jlbh="1", **over), record(jlbh="2", jcsj="2026-09-02 08:00:00", **over),
            record(jlbh="3", hphm="闽D23456", tp1="3.jpg"), "bad,record",
            record(jlbh="4", hphm="粤B56789"), record(jlbh="4", hphm="粤B56789")])
        second = dump(dumps / "two.csv", [
            record(jlbh="4", hphm="粤B56789", btgdjg="12"), record(jlbh="5", hphm="")])
        rsd("init", lake, "--sites", place / "sites.csv", "--segments",
            place / "segments.geojson", "--registry", place / "registry.csv")
        for path in (first, second):
            rsd("run", lake, path, "--max-quarantine", "1")
        tables = ("passes", "evidence", "quarantine", "vehicles", "findings", "sites", "segments")
        kept = {"counts": {t: len(checker.rows(lake, t)) for t in tables}}
        (place / "expected.json").write_text(json.dumps(kept))
        with tarfile.open(target, "w:gz") as archive:
            for part in ("lake", "dumps", "expected.json"):
                archive.add(place / part, part)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes, {kept['counts']}")


def rsd(*arguments: str | Path) -> None:
    """Run a command of rsd."""
    program = [sys.executable, "-c", "from cli.main import main; main()"]
    subprocess.run([*program, *map(str, arguments)], check=True, capture_output=True)


if __name__ == "__main__":
    main()
