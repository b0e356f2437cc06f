"""Data that come twice, late, out of order, in another shape: faults 25 to 40, from outside.

Each is sent to a lake through the command line; the checker counts with its own reading.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import checker
import pytest
from chain import HEADER, dump, record
from machine import Fault, Job, Machine
from scenario import PLATES, Night

OVER = {"btgdjg": "60"}


class Lake:
    """A lake and the dumps that it was sent."""

    def __init__(self, machine: Machine, place: Path, *options: str) -> None:
        self._machine, self.path = machine, place / "lake"
        self.sent: list[Path] = []
        assert self._do("init", *options).code == 0

    def _do(self, command: str, *rest: str):
        return self._machine.run(Job([[*command.split(), str(self.path), *rest]], str(self.path)))

    def send(self, *dumps: Path, command: str = "ingest") -> list[dict]:
        """Ingest and return the files of the summary; the account is checked from outside."""
        end = self._do(command, *map(str, dumps), "--format", "json", "--max-quarantine", "1")
        assert end.code in (0, 3), end.err
        assert not [p for p in PLATES if p in end.out + end.err]
        self.sent += [d for d in dumps if d not in self.sent]
        assert checker.problems(self.path) == []
        assert checker.litter(self.path) == []
        assert checker.missing_runs(self.path) == []
        return json.loads(end.out)["files"]

    def check_account(self) -> None:
        known = [checker.read_dump(p) for p in self.sent]
        assert checker.account(self.path, {d.sha256: d for d in known}).problems == []

    def ask(self, sql: str) -> list[dict]:
        end = self._do("query", sql, "--format", "json")
        assert end.code == 0, end.err
        return json.loads(end.out)

    def findings(self) -> int:
        assert self._do("find").code == 0
        return len(checker.rows(self.path, "findings"))


@pytest.fixture
def lake(machine: Machine, place: Path) -> Lake:
    return Lake(machine, place)


def counts(file: dict) -> tuple[int, ...]:
    assert file["records"] == file["accepted"] + file["quarantined"] + file["duplicates"]
    return tuple(file[k] for k in ("records", "accepted", "quarantined", "duplicates", "corrected"))


def numbered(*numbers: object, **cells: object) -> list[str]:
    return [record(jlbh=f"n{n}", **cells) for n in numbers]


# --- time ---------------------------------------------------------------------------------------

def test_an_hour_that_occurs_twice_is_taken_once(machine: Machine, place: Path):
    """Fault 25: of two instants the first; sent again it is the same record."""
    lake = Lake(machine, place, "--timezone", "Europe/London")
    times = ["2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 02:30:00"]
    first = dump(place / "a.csv", [record(jlbh="", jcsj=t) for t in times])
    assert counts(lake.send(first)[0]) == (3, 3, 0, 0, 0)
    again = dump(place / "b.csv", [record(jlbh="", jcsj=times[1]), *numbered(1)])
    assert counts(lake.send(again)[0]) == (2, 1, 0, 1, 0)
    hours = [r["hour"] for r in lake.ask("SELECT hour FROM passes ORDER BY measured_at LIMIT 3")]
    assert hours != sorted(hours) or len(set(hours)) == 3


def test_an_hour_that_never_occurs_is_quarantined(machine: Machine, place: Path):
    """Fault 26: a clock that shows it is wrong, and nobody knows by how much."""
    lake = Lake(machine, place, "--timezone", "Europe/London")
    file = dump(place / "a.csv", [record(jlbh="1", jcsj="2026-03-29 00:59:59"),
                                  record(jlbh="2", jcsj="2026-03-29 01:30:00"),
                                  record(jlbh="3", jcsj="2026-03-29 02:00:00")])
    assert counts(lake.send(file)[0]) == (3, 2, 1, 0, 0)
    assert [r["line"] for r in checker.rows(lake.path, "quarantine")] == [3]


def test_times_with_and_without_a_zone_in_one_file(lake: Lake, place: Path):
    """Fault 27: three spellings of one instant are one record."""
    times = ["2026-09-01 08:00:00", "2026-09-01T00:00:00Z", "2026-09-01 08:00:00+08:00"]
    file = dump(place / "a.csv", [record(jlbh="", jcsj=t) for t in times])
    assert counts(lake.send(file)[0]) == (3, 1, 0, 2, 0)


@pytest.mark.parametrize(("time", "is_time"), [
    ("2028-02-29 08:00:00", True), ("2026-02-29 08:00:00", False),
    ("2025-12-31 23:59:59", True), ("1970-01-01 00:00:00", True),
    ("9999-12-31 23:59:59", False), ("46266.33", False), ("0000-00-00 00:00:00", False)])
def test_odd_times(lake: Lake, place: Path, time: str, is_time: bool):
    """Fault 28: leap days, ends of years, the epoch, endless years, a spreadsheet's days."""
    file = dump(place / "a.csv", [record(jlbh="1", jcsj=time)])
    assert counts(lake.send(file)[0])[:3] == (1, int(is_time), int(not is_time))


# --- twice, late, out of order ------------------------------------------------------------------

def test_a_dump_sent_again_in_every_way(lake: Lake, place: Path):
    """Faults 29, 30, 31, 35: renamed, overlapping, twice in a file, corrected."""
    one = dump(place / "one.csv", [*numbered(1, 2, 3), *numbered(3), *numbered(4, tp1="4.jpg")])
    renamed = place / "two.csv"
    renamed.write_bytes(one.read_bytes())
    overlapping = dump(place / "three.csv", numbered(2, 3, 5))
    corrected = dump(place / "four.csv", [*numbered(3, btgdjg="33"), *numbered(2)])
    back = dump(place / "five.csv", [*numbered(3), *numbered(6)])
    assert counts(lake.send(one)[0]) == (5, 4, 0, 1, 0)
    assert lake.send(renamed)[0]["state"] == "already"
    assert counts(lake.send(overlapping)[0]) == (3, 1, 0, 2, 0)
    assert counts(lake.send(corrected)[0]) == (2, 1, 0, 1, 1)
    assert counts(lake.send(back)[0]) == (2, 1, 0, 1, 0)
    lake.check_account()
    assert lake.ask("SELECT opacity_pct FROM passes WHERE record_id = 'n3'") == [
        {"opacity_pct": 33.0}]


def test_one_event_of_two_instruments_stays_two_records(lake: Lake, place: Path):
    """Fault 32: neither lost nor doubled, and told apart from a duplicate."""
    file = dump(place / "a.csv", [record(jlbh="1", ycxbh="01"), record(jlbh="2", ycxbh="02")])
    (told,) = lake.send(file)
    assert counts(told) == (2, 2, 0, 0, 0)
    assert told["replicates"] == 2
    lake.check_account()


def sent_in(machine: Machine, place: Path, order: Sequence[Path]) -> tuple[str, str]:
    lake = Lake(machine, place)
    (place / "lake" / "restricted" / "vehicle.key").write_bytes(b"k" * 32)
    for path in order:
        lake.send(path, command="run")
    lake.check_account()
    return checker.content(lake.path, "passes"), checker.content(lake.path, "findings")


def test_days_in_any_order_come_to_the_same(machine: Machine, place: Path):
    """Faults 33 and 34: days out of order, and one that comes 40 days late into a closed window."""
    days = [dump(place / f"{d}.csv", [
        record(jlbh=f"{d}{k}", hphm=plate, jcsj=f"{d} 08:00:0{k}", **OVER)
        for k, plate in enumerate(PLATES[:3])])
        for d in ("2026-07-01", "2026-08-10", "2026-08-11")]
    results = {sent_in(machine, place / str(k), order) for k, order in enumerate((
        days, [days[1], days[2], days[0]], [days[2], days[0], days[1]]))}
    assert len(results) == 1


def test_late_data_close_a_pair_and_a_correction_opens_it(lake: Lake, place: Path):
    """Faults 34 and 35: findings follow the history, whenever it becomes known."""
    lake.send(dump(place / "a.csv", numbered(1, **OVER)))
    assert lake.findings() == 0
    lake.send(dump(place / "late.csv", numbered(2, jcsj="2026-07-20 08:00:00", **OVER)))
    assert lake.findings() == 1
    lake.send(dump(place / "fix.csv", numbered(2, jcsj="2026-07-20 08:00:00", btgdjg="6")))
    assert lake.findings() == 0
    lake.check_account()


# --- another shape ------------------------------------------------------------------------------


def test_columns_that_move_come_or_change_case(lake: Lake, place: Path):
    """Faults 36, 37, 39: what a dump calls the same is the same; sent again it is a duplicate."""
    rows = numbered(1, 2)
    lake.send(dump(place / "a.csv", rows))
    order = [*reversed(HEADER)]
    turned = [",".join(r.split(",")[HEADER.index(n)] for n in order) for r in rows]
    moved = dump(place / "b.csv", turned, header=[n.upper() for n in order])
    more = dump(place / "c.csv", [r + ",new" for r in [*rows, *numbered(3)]],
                header=[*HEADER, "sblx_new"])
    assert counts(lake.send(moved)[0]) == (2, 0, 0, 2, 0)
    (file,) = lake.send(more)
    assert counts(file) == (3, 1, 0, 2, 0)
    assert file["ignored_columns"] == ["sblx_new"]


@pytest.mark.parametrize("column", ["dwbh", "jcsj", "hphm"])
def test_a_required_column_that_is_gone_refuses_that_file_alone(
    lake: Lake, place: Path, column: str
):
    """Fault 38."""
    at = HEADER.index(column)
    cut = [",".join(r.split(",")[:at] + r.split(",")[at + 1:]) for r in numbered(1, 2)]
    bad = dump(place / "bad.csv", cut, header=[n for n in HEADER if n != column])
    good = dump(place / "good.csv", numbered(3))
    files = lake.send(bad, good)
    assert [f["state"] for f in files] == ["refused", "done"]
    assert "bad.csv" in files[0]["error"]
    assert len(checker.rows(lake.path, "passes")) == 1


def test_a_unit_that_changed_is_doubted(lake: Lake, place: Path):
    """Fault 40: CO in ppm where percent is declared; the file says so."""
    rows = [record(jlbh=f"u{k}", cojg=f"{1490 + k}", coco2="0.01", hphm=PLATES[k % 5],
                   jcsj=f"2026-09-01 08:{k // 60:02d}:{k % 60:02d}") for k in range(600)]
    (file,) = lake.send(dump(place / "a.csv", rows))
    assert any("unit in doubt" in n for n in file["notices"]), file["notices"]


def test_a_night_of_everything_at_once_survives_a_kill(
    machine: Machine, together: Night, place: Path
):
    """The mixes above with a kill in the middle: the account holds after the second run."""
    lake = together.copy(place)
    files = [dump(place / f"{k}.csv", [*numbered(k, k + 1, btgdjg=str(k)), "bad"])
             for k in range(5)]
    job = Job([["run", str(lake), *map(str, files)]], str(lake), Fault("kill", 70), alone=True)
    assert machine.run(job).code == -9
    known = {d.sha256: d for d in map(checker.read_dump, (*together.before, *files))}
    assert checker.account(lake, known).problems == []
    machine.run(Job(job.commands, str(lake)))
    found = checker.account(lake, known)
    assert found.problems == []
    assert found.records == sum(d.records for d in known.values())
    assert checker.all_problems(lake, (*together.before, *files)) == []
