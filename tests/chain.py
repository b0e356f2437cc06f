"""What the tests of the whole chain share: small dumps, and the command line in this process."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.main import _exit_code
from rsd.lake import Lake

HEADER = ("jlbh", "dwbh", "ycxbh", "cdxh", "jcsj", "cdpd", "pdjg", "wxyy", "hphm", "cpys", "hpzl",
          "cllx", "rlzl", "co2scz", "coco2", "hcco2", "noco2", "co2jg", "cojg", "hcjg", "nojg",
          "btgdjg", "lgmhd", "clsd", "cljsd", "vsp", "fs", "hjwd", "sd", "dqy", "sbzxd", "tp1")
ORDINARY = {
    "jlbh": "R1", "dwbh": "A350203001", "ycxbh": "01", "cdxh": "1", "jcsj": "2026-09-01 08:00:00",
    "cdpd": "1.0", "pdjg": "1", "wxyy": "", "hphm": "闽D12345", "cpys": "1", "hpzl": "01",
    "cllx": "H11", "rlzl": "B", "co2scz": "1.2", "coco2": "0.01", "hcco2": "2", "noco2": "50",
    "co2jg": "14.9", "cojg": "0.149", "hcjg": "29.8", "nojg": "745", "btgdjg": "10", "lgmhd": "0",
    "clsd": "36", "cljsd": "0.3", "vsp": "5", "fs": "1.5", "hjwd": "25", "sd": "60",
    "dqy": "101.3", "sbzxd": "99", "tp1": "",
}  # fmt: skip
"""An ordinary valid pass of a diesel truck, cell by cell."""
HIGH_NO = {"noco2": "150", "nojg": "2235"}
"""Above 1500 ppm, consistent with its ratio."""


def record(**cells: object) -> str:
    """Return the ordinary record with some cells changed, without a line end."""
    return ",".join(str((ORDINARY | cells)[name]) for name in HEADER)


def dump(path: Path, records: Iterable[str], *, encoding: str = "gb18030", end: str = "\n",
         header: Iterable[str] = HEADER) -> Path:
    """Write a dump of records; each line is ended."""
    text = "".join(f"{line}{end}" for line in (",".join(header), *records))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@dataclass(frozen=True)
class Answer:
    """What a command said: its exit code, its standard output and its standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def message(self) -> str:
        """The one line that a failed command says; anything else fails the test."""
        assert self.err.startswith("rsd: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("rsd: ").rstrip("\n")


def rsd(*arguments: object) -> Answer:
    """Run a command of rsd in this process, as `main` does; no answer shows a traceback."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = _exit_code([str(a) for a in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "surrogateescape"))
    answer = Answer(code, *texts)
    assert "Traceback" not in answer.out + answer.err, answer.err
    assert code != 1, answer.err  # an internal fault is never the answer
    return answer


def versions(lake: Path) -> dict[str, int]:
    """Return the version of every table of a lake."""
    opened = Lake.open(lake)
    names = ("passes", "sites", "segments", "findings", "vehicles", "evidence", "quarantine")
    return {name: opened.table(name).version() for name in names}


def balances(file: Mapping[str, Any]) -> bool:
    """Say whether every record of a file of the run summary is accounted for."""
    return file["records"] == file["accepted"] + file["quarantined"] + file["duplicates"]


SITES = """site_id,name,road_segment,lon,lat,crs,slope_deg
A350203001,Gate,S1,118.1,24.5,wgs84,1.0
"""
SEGMENTS = json.dumps({"type": "FeatureCollection", "features": [{
    "type": "Feature", "properties": {"segment_id": "S1", "name": "One"},
    "geometry": {"type": "LineString", "coordinates": [[118.1, 24.499], [118.1, 24.501]]},
}]})
REGISTRY = """plate,plate_color,plate_type,vehicle_type,fuel,emission_stage,first_registered,use
闽D12345,1,01,H11,B,3,2014-05-06,F
闽D99999,blue,02,mini_small_bus,gasoline,5,,
"""
