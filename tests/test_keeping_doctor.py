"""The doctor finds each kind of damage, repairs what can be repaired, and says the rest."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from chain import rsd
from keeping_lake import MONTHS, copy, doctor, held, make, memory

from rsd import audit
from rsd.keeping import kept_checks
from rsd.keeping.doctor import examine
from rsd.lake import Lake
from rsd.storage import checkpoint
from rsd.storage.lock import WriterLock


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with memory() as folder:
        place = make(folder)
        assert doctor(place) == []  # its heads stand in the audit from now on
        yield place


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return copy(original, tmp_path / "lake")


def data(place: Path, table: str) -> Path:
    side = "open" if table in ("passes", "findings", "runs", "sites") else "restricted"
    return min((place / side / table).glob("*.parquet"))


def entry(place: Path, table: str, version: int) -> Path:
    side = "open" if table in ("passes", "findings", "runs", "sites") else "restricted"
    return place / side / table / "_delta_log" / f"{version:020d}.json"


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def recommitted(place: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Put other rows in a table's place, by an entry that is in order."""
    lake = Lake.open(place)
    table = lake.table(name)
    rows = change(table.scan().collect())
    with lake.writer():
        table.commit([table.write(rows, "compacted-x")], overwrite=True)


def twice(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.head(1)])


# what is done to the lake → the table and a part of what the doctor says
DAMAGE: dict[str, tuple[Callable[[Path], object], str | None, str]] = {
    "a changed bit": (lambda p: flip(data(p, "passes")), "passes", "other bytes"),
    "a changed bit behind the door": (lambda p: flip(data(p, "evidence")), "evidence",
                                      "other bytes"),
    "a lost file": (lambda p: data(p, "vehicles").unlink(), "vehicles", "missing"),
    "a cut file": (lambda p: os.truncate(data(p, "quarantine"), 9), "quarantine", "9 bytes"),
    "a lost entry": (lambda p: entry(p, "passes", 1).unlink(), "passes", "missing"),
    "a cut entry": (lambda p: os.truncate(entry(p, "passes", 1), 99), "passes", "torn"),
    "a line added to an entry": (
        lambda p: entry(p, "runs", 1).write_bytes(entry(p, "runs", 1).read_bytes() + b"{}\n"),
        "runs", "lines were added"),
    "an entry edited with care": (
        lambda p: edited(entry(p, "passes", 2), '"duplicates": 0', '"duplicates":  0'), "passes",
        "an entry of versions 0 to 3 was edited"),
    "a log rolled back": (lambda p: entry(p, "runs", 3).unlink(), "runs", "rolled back"),
    "an account edited": (lambda p: edited(entry(p, "passes", 3), '"accepted": 4',
                                           '"accepted": 5'), "passes", "does not balance"),
    "a record doubled": (lambda p: recommitted(p, "passes", twice), "passes",
                         "without exactly one version"),
    "passes lost": (lambda p: recommitted(p, "passes", lambda rows: rows.head(15)), "passes",
                    "by the account"),
    "quarantine lost": (lambda p: recommitted(p, "quarantine", lambda rows: rows.head(3)),
                        "quarantine", "by the account"),
    "evidence of no pass": (
        lambda p: recommitted(p, "evidence", lambda rows: rows.with_columns(
            source_line=pl.col("source_line") + 99)), "evidence", "rows of no pass"),
    "vehicles lost": (lambda p: recommitted(p, "vehicles", lambda rows: rows.head(2)), "passes",
                      "nobody can name"),
    "a vehicle doubled": (lambda p: recommitted(p, "vehicles", twice), "vehicles",
                          "stand twice"),
    "plates exchanged": (
        lambda p: recommitted(p, "vehicles", lambda rows: rows.with_columns(
            plate=pl.col("plate").reverse())), "vehicles", "does not follow from their plate"),
    "another key": (lambda p: (p / "restricted/vehicle.key").write_bytes(b"k" * 32), "vehicles",
                    "not this lake's"),
    "no key": (lambda p: (p / "restricted/vehicle.key").unlink(), "vehicles", "no vehicle key"),
    "a proof gone": (
        lambda p: recommitted(p, "findings", lambda rows: rows.with_columns(
            first_record_id=pl.lit("gone"))), "findings", "not among the passes"),
    "the audit edited": (lambda p: edited(p / "restricted/audit/audit.jsonl", '"seq":2}',
                                          '"seq":3}'), "audit", "edited"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_not_called_repaired(place: Path, what: str) -> None:
    damage, table, message = DAMAGE[what]
    damage(place)
    problems = doctor(place, "--repair")
    told = [row for row in problems if row["table"] == table and message in str(row["found"])]
    assert told, problems
    assert not told[0]["repaired"]
    assert told[0]["remedy"]
    assert "闽" not in json.dumps(problems, ensure_ascii=False)


def test_a_lost_file_names_the_dumps_that_were_in_it(place: Path) -> None:
    (path,) = [p for p in (place / "open/passes").glob("*.parquet")
               if p.name in entry(place, "passes", 2).read_text()]
    path.unlink()
    (told,) = [r for r in doctor(place) if r["found"] == "missing"]
    assert f"{MONTHS[2]}.csv" in str(told["remedy"])
    assert told["file"] == f"open/passes/{path.name}"


def orphan(place: Path) -> None:
    """Die between the restricted side and the passes."""
    lake = Lake.open(place)
    table = lake.table("evidence")
    with lake.writer():
        table.commit([table.write(table.scan().head(1).collect(), "died")])


MENDABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "litter of a table": (
        lambda p: (p / "open/passes/part-x-00001-01234567.parquet").write_bytes(b"x"), "died"),
    "litter of a log": (
        lambda p: (p / "open/runs/_delta_log/.e.01234567.tmp").write_bytes(b"x"), "died"),
    "litter of the lake": (lambda p: (p / ".rsd.toml.01234567.tmp").write_bytes(b"x"), "died"),
    "the next key of no change": (
        lambda p: (p / "restricted/vehicle.key.next").write_bytes(b"x"), "died"),
    "an open door": (lambda p: (p / "restricted").chmod(0o750), "others may read"),
    "an open key": (lambda p: (p / "restricted/vehicle.key").chmod(0o644), "others may read"),
    "a batch that never came": (orphan, "never committed"),
}


@pytest.mark.parametrize("what", MENDABLE)
def test_disorder_is_found_and_repaired(place: Path, what: str) -> None:
    before = held(Lake.open(place))
    damage, message = MENDABLE[what]
    damage(place)
    found = doctor(place)
    assert any(message in str(row["found"]) for row in found), found
    assert not any(row["repaired"] for row in found)
    mended = doctor(place, "--repair")
    assert any(message in str(row["found"]) for row in mended)
    assert all(row["repaired"] for row in mended)
    assert doctor(place) == []
    assert held(Lake.open(place)) == before


def test_a_torn_last_entry_is_set_aside(place: Path) -> None:
    before = held(Lake.open(place))
    entry(place, "runs", 4).write_bytes(b'{"commitInfo": {"rsdActions": 3}}\n')
    told = doctor(place)
    assert [(row["repaired"], "set aside" in str(row["found"])) for row in told] == [(True, True)]
    assert doctor(place) == []
    assert held(Lake.open(place)) == before


def spoilt(place: Path, name: str, how: str) -> tuple[Path, bytes]:
    """Damage the last entry of a table, and return where it stood and what it said."""
    path = sorted((Lake.open(place).table(name).folder / "_delta_log").glob("*.json"))[-1]
    whole = path.read_bytes()
    if how == "cut":
        path.write_bytes(whole[:len(whole) * 2 // 3])
    else:
        path.unlink()
    return path, whole


@pytest.mark.parametrize(("name", "how"), [
    *itertools.product(["passes", "evidence", "quarantine", "vehicles"], ["cut", "gone"]),
    ("findings", "gone"), ("runs", "gone")])
def test_a_committed_last_entry_that_is_damaged_takes_nothing_with_it(place: Path, name: str,
                                                                     how: str) -> None:
    doctor(place)  # an earlier visit, whose word on the logs counts too
    before, files = held(Lake.open(place)), sorted(place.rglob("*.parquet"))
    path, whole = spoilt(place, name, how)
    for command in (["find", place], ["doctor", place, "--repair"], ["doctor", place, "--compact"],
                    ["purge", place, "--before", "2026-05-01", "--reason", "x"],
                    ["key", "rotate", place, "--reason", "x"], ["backup", place, place / "../b"],
                    ["export", "findings", place, "-o", place / "../l.csv"],
                    ["query", place, "select count(*) from passes"],
                    ["query", place, "select 1", "--as-of", "2026-11-01T08:00"]):
        answer = rsd(*command)
        assert answer.code == 7 or "--as-of" in command, (command, answer.err)
    assert sorted(place.rglob("*.parquet")) == files
    told = [r for r in doctor(place, "--repair") if r["file"] == str(path.relative_to(place))]
    assert [(r["severity"], r["table"], r["repaired"]) for r in told] == [("error", name, False)]
    assert "and it was committed" in str(told[0]["found"])
    path.write_bytes(whole)
    assert doctor(place) == []
    assert held(Lake.open(place)) == before


@pytest.mark.parametrize("name", ["findings", "runs"])
def test_what_can_be_made_anew_may_lose_its_last_entry(place: Path, name: str) -> None:
    doctor(place)
    before = held(Lake.open(place))
    spoilt(place, name, "cut")
    told, edited = doctor(place)
    assert (told["severity"], told["table"]) == ("error", name)
    assert "edited" in str(edited["found"]), "an earlier visit saw it whole"
    assert "--repair goes on without it" in str(told["remedy"])
    mended = [r for r in doctor(place, "--repair") if r["severity"] != "note"]
    assert all(r["repaired"] for r in mended)
    assert "doctor let an entry go" in rsd("audit", "show", place).out
    assert [r for r in doctor(place) if r["severity"] != "note"] == []
    assert rsd("find", place, "--everything").code == 0
    assert [r for r in doctor(place) if r["severity"] != "note"] == []
    if name == "findings":
        assert held(Lake.open(place)) == before


def test_a_dump_that_a_run_took_has_its_entry(place: Path) -> None:
    (place / ".versions").unlink()
    spoilt(place, "passes", "gone")
    assert "a dump that a run took, and no entry brought it" in [r["found"] for r in doctor(place)]


@pytest.mark.parametrize("damage", ["gone", "garbled", "another version's"])
def test_a_checkpoint_is_made_again(place: Path, damage: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 2)
    doctor(place, "--repair")  # other tables have none yet
    lake = Lake.open(place)
    table = lake.table("runs")
    for k in range(3):
        table.commit([table.write(table.scan().head(1).collect(), f"b{k}")])
    assert doctor(place) == [], "those that are due are there"
    folder = place / "open/runs/_delta_log"
    *_, early, late = sorted(folder.glob("*.checkpoint.parquet"))
    if damage == "gone":
        late.unlink()
    else:
        late.write_bytes(b"PAR1" if damage == "garbled" else early.read_bytes())
    (told,) = doctor(place)
    assert told["severity"] == "warning"
    assert all(row["repaired"] for row in doctor(place, "--repair"))
    assert doctor(place) == []
    assert late.exists()


def test_what_is_worth_knowing_is_no_problem(place: Path) -> None:
    (place / "open/passes/notes.txt").write_text("mine")
    (place / ".lock").write_text('{"pid": 1}')
    answer = rsd("doctor", place, "--format", "json")
    assert answer.code == 0
    assert {row["severity"] for row in answer.json} == {"note"}
    assert len(answer.json) == 2


def test_a_running_writer_is_waited_for(place: Path) -> None:
    lock = WriterLock(place / ".lock")
    lock.acquire()
    assert rsd("doctor", place).code == 5
    lock.release()
    assert rsd("doctor", place).code == 0


def test_without_the_right_to_it_the_open_side_is_examined(
        place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lake, "may_read_restricted", property(lambda lake: False))
    flip(data(place, "evidence"))
    flip(data(place, "runs"))
    problems = examine(Lake.open(place)).problems
    assert problems.filter(pl.col("severity") == "error")["table"].to_list() == ["runs"]
    assert "not checked" in problems.filter(pl.col("severity") == "note")["found"][0]


def test_every_visit_stands_in_the_audit_with_the_heads(place: Path) -> None:
    doctor(place)
    last = list(audit.records(audit.audit_path(place)))[-1]
    assert last["action"] == "doctor"
    assert last["details"]["heads"]["passes"][0] == 3
    assert last["details"]["remaining"] == 0


def test_the_table_is_for_people(place: Path) -> None:
    flip(data(place, "passes"))
    answer = rsd("doctor", place)
    assert answer.code == 7
    assert "other bytes than were committed" in answer.out
    assert "problems remain" in answer.err
    content = rsd("doctor", place, "--content", "--format", "csv")
    assert content.code in (0, 6, 7)


def test_an_entry_whose_statistics_are_no_json_is_told_of(place: Path) -> None:
    entry = max((place / "open/passes/_delta_log").glob("*.json"))
    entry.write_text(entry.read_text().replace('"stats": "{', '"stats": "}'))
    answer = rsd("doctor", place)
    assert answer.code == 7, answer


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_an_audit_log_that_is_gone_stays_told(place: Path, how: str):
    lake = Lake.open(place)
    path = audit.audit_path(lake.path)
    assert path.stat().st_size
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(b"")
    for _ in range(2):  # the first visit's own record begins a new log, which says so
        diagnosis = examine(lake)
        assert diagnosis.exit_code == 7
        assert "audit" in diagnosis.problems["table"]


def test_kept_law_that_was_cut_is_found(place: Path):
    kept = sorted((place / "open" / "law").rglob("*.toml"))
    assert kept
    kept[0].write_bytes(b"")
    assert examine(Lake.open(place)).remaining == 1


@pytest.fixture
def older(place: Path) -> Path:
    """A lake whose settings were others once."""
    Lake.open(place).configure(settings={"max_quarantine": 0.5})
    assert rsd("find", place).code == 0
    assert len(list(place.glob("open/settings/*.json"))) == 2
    return place


# files of what is kept → (does a repair bring them back, a part of what is said)
KEPT = {
    "open/law/*/*.toml": (True, "missing"),
    "open/settings/*.toml": (False, "missing"),  # those of before
    "open/settings/*.json": (False, "is not what it was"),
}


@pytest.mark.parametrize("pattern", KEPT)
def test_kept_law_and_settings_that_are_gone_are_found(older: Path, pattern: str):
    for path in older.glob(pattern):
        path.unlink()
    is_mended, message = KEPT[pattern]
    assert message in str([r["found"] for r in doctor(older)])
    left = [r for r in doctor(older, "--repair") if not r["repaired"]]
    assert (left == []) == is_mended, left
    assert (doctor(older) == []) == is_mended


def test_all_notes_of_the_settings_that_vanished_before_the_first_visit_are_found(older: Path):
    for path in older.glob("open/settings/*.json"):
        path.unlink()
    (told,) = kept_checks.check(Lake.open(older), [])
    assert "nothing says when" in told.found


def test_a_note_of_the_settings_that_was_cut_is_found(older: Path):
    for path in older.glob("open/settings/*.json"):
        os.truncate(path, 40)
    told = [r for r in doctor(older, "--repair") if "no state of the settings" in str(r["found"])]
    assert [(r["severity"], r["repaired"]) for r in told] == [("error", False)] * 2


@pytest.mark.parametrize("which", [0, -1])
def test_a_note_of_the_settings_that_vanished_is_found(older: Path, which: int):
    assert doctor(older) == []  # this visit saw both
    sorted(older.glob("open/settings/*.json"))[which].unlink()
    assert "is not what it was" in str([r["found"] for r in doctor(older)])
