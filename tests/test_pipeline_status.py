"""What a run says of itself: the status file, the log, and what is told of a run that died."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from chain import HIGH_NO, Answer, dump, record, rsd

from rsd.errors import LakeBusy
from rsd.lake import Lake
from rsd.pipeline import logs, status
from rsd.pipeline.nightly import run

PLATE = "闽D88888"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    assert rsd("init", tmp_path / "lake").code == 0
    return tmp_path / "lake"


def dumps(folder: Path) -> list[Path]:
    bad = folder / f"{PLATE}.csv"
    bad.write_bytes(b"")
    damaged = [record(jlbh="x"), record(jlbh="y") + ",more"]
    return [dump(folder / "a.csv", [record(jlbh="a", hphm=PLATE, **HIGH_NO)], encoding="utf-8"),
            dump(folder / "b.csv", damaged, encoding="utf-8"), bad]


def nightly(lake: Path, *options: object) -> Answer:
    return rsd("run", lake, *dumps(lake.parent), *options)


def told(lake: Path) -> dict:
    return rsd("status", lake, "--format", "json").json


def events(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_lake_in_which_nothing_ran_is_idle(lake: Path):
    assert told(lake) == {"state": "idle"}
    assert rsd("status", lake.parent / "none").code == 2


def test_the_status_stays_when_the_run_is_over(lake: Path):
    assert nightly(lake).code == 3
    found = told(lake)
    assert {k: found[k] for k in ("command", "state", "step", "exit_code", "file", "file_number",
                                  "files", "refused", "records", "accepted", "quarantined")} == {
        "command": "run", "state": "done", "step": "end", "exit_code": 3, "file": None,
        "file_number": 3, "files": 3, "refused": 1, "records": 3, "accepted": 2, "quarantined": 1}
    assert found["bytes_done"] == found["bytes_total"] > 0
    assert found["started_at"] <= found["updated_at"] <= found["ended_at"]
    assert "闽D****8.csv" in found["last_error"]
    assert PLATE not in status.status_path(lake).read_text(encoding="utf-8")
    assert [p.name for p in lake.iterdir() if p.name.startswith(".status")] == []


def test_the_exit_code_follows_the_limit_that_was_asked_for(lake: Path):
    path = dumps(lake.parent)[1]
    assert rsd("ingest", lake, path, "--max-quarantine", 0.5).code == 0
    assert told(lake)["exit_code"] == 0
    assert rsd("ingest", lake, dump(path, [record(jlbh="z") + ",more"])).code == 4
    assert told(lake)["exit_code"] == 4


def test_a_run_that_goes_on_can_be_watched(lake: Path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def look(done: int, total: int) -> None:
        seen.append(told(lake))

    monkeypatch.setattr(status, "EVERY_S", 0.0)
    run(Lake.open(lake), dumps(lake.parent), progress=look)
    assert {s["state"] for s in seen} == {"running"}
    assert {s["exit_code"] for s in seen} == {None}
    assert seen[-1]["bytes_done"] == seen[-1]["bytes_total"]
    assert "read" in {s["step"] for s in seen}
    assert {s["process"]["pid"] for s in seen} == {os.getpid()}


def test_the_status_is_written_at_most_once_a_second(
    lake: Path, monkeypatch: pytest.MonkeyPatch
):
    written = []
    monkeypatch.setattr(status, "_replace", lambda _path, document: written.append(document))
    monkeypatch.setattr(status.time, "monotonic", lambda: 5.0)
    opened = Lake.open(lake)
    with opened.writer(), status.watched(opened, "ingest") as watch:
        watch.begin("r", 1, 100)
        for done in range(100):
            watch.progress(done, 100)
    assert len(written) == 3  # two words of the beginning, and the end


@pytest.mark.parametrize("change", [
    {"pid": 2**22 + 1}, {"boot_id": "another boot"}, {"process_start": "1"},
])
def test_a_run_that_was_killed_has_died(lake: Path, change: dict):
    nightly(lake)
    path = status.status_path(lake)
    from rsd.storage import lock

    alive = json.loads(path.read_text(encoding="utf-8")) | {
        "state": "running", "process": lock.identity()}
    path.write_text(json.dumps(alive), encoding="utf-8")
    assert told(lake)["state"] == "running"
    path.write_text(json.dumps(alive | {"process": alive["process"] | change}), encoding="utf-8")
    assert told(lake)["state"] == "died"
    elsewhere = alive["process"] | change | {"host": "another host"}
    path.write_text(json.dumps(alive | {"process": elsewhere}), encoding="utf-8")
    assert told(lake)["state"] == "running"  # its process cannot be asked from here


def test_a_run_that_fails_says_why(lake: Path):
    (lake / "restricted" / "vehicle.key").unlink()
    answer = nightly(lake)
    found = told(lake)
    assert (found["state"], found["exit_code"]) == ("failed", answer.code)
    assert "vehicle.key" in found["last_error"]
    assert found["ended_at"]


def test_a_run_that_must_wait_leaves_the_status_of_the_other(lake: Path):
    holder = Lake.open(lake)
    with holder.writer(), status.watched(holder, "ingest") as watch:
        watch.begin("theirs", 1, 1)
        assert nightly(lake).code == LakeBusy.exit_code
        assert told(lake)["run_id"] == "theirs"


def test_a_status_that_cannot_be_written_stops_nothing(
    lake: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(status, "_replace", full)
    assert nightly(lake).code == 3


def test_a_status_that_is_no_json(lake: Path):
    for text in ("", "{", "[]", '{"process": 1}', '{"state": "running", "process": {"pid": "x"}}'):
        status.status_path(lake).write_text(text, encoding="utf-8")
        assert rsd("status", lake).code == 6, text


def test_a_rehearsal_is_no_run(lake: Path, tmp_path: Path):
    out = tmp_path / "log.jsonl"
    assert rsd("ingest", lake, *dumps(tmp_path), "--dry-run", "--log", out).code == 3
    assert told(lake) == {"state": "idle"}
    assert [e["event"] for e in events(out)] == ["command ended"]


# The log


def test_the_log_tells_what_happens_without_plates(lake: Path, tmp_path: Path):
    out = tmp_path / "log.jsonl"
    assert nightly(lake, "--log", out).code == 3
    found = events(out)
    assert sorted(e["event"] for e in found) == sorted([
        "run started", "file refused", "batch committed", "file done", "file done", "findings",
        "run ended", "command ended"])
    assert len({e["run_id"] for e in found[:-1]}) == 1
    refused = next(e for e in found if e["event"] == "file refused")
    assert (refused["level"], refused["file"]) == ("error", "闽D****8.csv")
    assert refused["error"]
    done = next(e for e in found if e["event"] == "file done" and e["file"] == "b.csv")
    assert (done["records"], done["accepted"], done["quarantined"]) == (2, 1, 1)
    assert len(done["sha256"]) == 64
    assert found[-1] | {"at": ""} == {"at": "", "level": "error", "event": "command ended",
                                      "exit_code": 3, "error": None}
    text = out.read_text(encoding="utf-8")
    assert "88888" not in text
    assert text.isascii()


def test_an_error_is_in_the_log_with_its_exit_code(lake: Path, tmp_path: Path):
    out = tmp_path / "log.jsonl"
    assert rsd("--log", out, "query", lake, f"SELECT '{PLATE}' FROM nothing").code == 2
    (last,) = events(out)
    assert (last["exit_code"], last["level"]) == (2, "error")
    assert "88888" not in out.read_text(encoding="utf-8")


def test_the_environment_names_the_log_and_a_file_is_added_to(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "log.jsonl"
    monkeypatch.setenv("RSD_LOG", str(out))
    for _ in range(2):
        rsd("status", lake)
    assert [e["event"] for e in events(out)] == ["command ended"] * 2


def test_a_log_named_twice_is_written_once(lake: Path, tmp_path: Path):
    out = tmp_path / "log.jsonl"
    rsd("--log", out, "find", lake, "--log", out)
    assert [e["event"] for e in events(out)].count("command ended") == 1


def test_a_dash_is_the_standard_error(lake: Path):
    answer = rsd("--log", "-", "status", lake, "--format", "json")
    assert answer.json == {"state": "idle"}
    assert json.loads(answer.err)["event"] == "command ended"


def test_a_log_that_cannot_be_opened_stops_before_the_work(lake: Path, tmp_path: Path):
    answer = nightly(lake, "--log", tmp_path / "no" / "log.jsonl")
    assert answer.code == 6
    assert told(lake) == {"state": "idle"}


def test_a_log_whose_disk_fills_stops_nothing(lake: Path, capfd: pytest.CaptureFixture[str]):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    answer = nightly(lake, "--log", "/dev/full")
    assert answer.code == 3
    assert answer.err.count("the log cannot be written") == 1


def test_nothing_is_told_where_nobody_listens(lake: Path, caplog: pytest.LogCaptureFixture):
    assert logging.getLogger("rsd").level == logging.NOTSET
    nightly(lake)
    assert [r for r in caplog.records if r.levelno < logging.WARNING] == []


def test_a_rotated_log_is_opened_anew(tmp_path: Path):
    out = tmp_path / "log.jsonl"
    logs.listen(str(out))
    try:
        logs.event("one")
        out.rename(tmp_path / "log.1")
        logs.event("two")
    finally:
        logs.stop()
    assert [[e["event"] for e in events(p)] for p in (tmp_path / "log.1", out)] == [
        ["one"], ["two"]]
