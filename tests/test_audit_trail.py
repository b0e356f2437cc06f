"""Who did what: every command leaves its record, and every change of the records is found."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chain import HIGH_NO, dump, record, rsd

from rsd import audit, inbox
from rsd.errors import PolicyRefusal, StorageError
from rsd.lake import Lake
from rsd.pipeline import reading, trail, watching
from rsd.pipeline.setup import init_lake

PLATE = "闽D88888"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of which everything was asked that can be asked."""
    folder = tmp_path_factory.mktemp("trail")
    lake = folder / "lake"
    lines = [record(jlbh="n1", hphm=PLATE, **HIGH_NO), record(jlbh="x", hphm=PLATE) + ",more",
             record(jlbh="n2", hphm=PLATE, jcsj="2026-09-03 08:00:00", **HIGH_NO)]
    assert rsd("init", lake).code == 0
    assert rsd("run", lake, dump(folder / "a.csv", lines, encoding="utf-8"),
               "--max-quarantine", 1).code == 0
    assert rsd("ingest", lake, folder / "a.csv").code == 0
    assert rsd("find", lake).code == 0
    for command in (
        ("export", "findings", lake, "-o", folder / "l.csv", "--plates", "--reason", "case 7"),
        ("export", "findings", lake, "-o", folder / "m.csv"),
        ("query", lake, f"SELECT count(*) FROM passes WHERE record_id <> '{PLATE}'"),
        ("aggregate", lake, "--by", "fuel", "--where", f"fuel <> '{PLATE}'"),
        ("explain", lake, PLATE, "--reason", f"a letter of the owner of {PLATE}"),
        ("quarantine", lake, "--plates"), ("quarantine", lake)):
        assert rsd(*command).code == 0
    assert rsd("query", lake, f"DROP TABLE passes -- {PLATE}").code == 8
    return lake


@pytest.fixture
def lake(asked: Path, tmp_path: Path) -> Path:
    shutil.copytree(asked, tmp_path / "lake")
    return tmp_path / "lake"


def log(lake: Path) -> list[dict]:
    return [json.loads(line) for line in audit.audit_path(lake).read_bytes().splitlines()]


def test_every_action_has_its_record(asked: Path):
    assert [r["action"] for r in log(asked)] == [
        "init", "run started", "run", "ingest started", "ingest", "find started", "find",
        "export findings", "export findings", "query", "aggregate", "look up plate", "explain",
        "show quarantine", "show quarantine", "query refused"]


def test_a_record_says_who_when_why_and_how_much(asked: Path):
    records = log(asked)
    assert {r["actor"] for r in records} == {audit.user_name(os.getuid())}
    assert all(r["at"].endswith("+00:00") for r in records)
    told = {r["action"]: r["details"] for r in records[::-1]}  # the first one of each
    assert told["run"] | {"run_id": ""} == {
        "run_id": "", "files": 1, "refused": 0, "records": 3, "accepted": 2, "quarantined": 1,
        "duplicates": 0}
    exported = told["export findings"]
    assert (exported["reason"], exported["rows"], exported["plates"], exported["plates_shown"]) == (
        "case 7", 1, True, 1)
    assert told["query"]["rows"] == 1
    assert told["query"]["query"].startswith("SELECT count(*) FROM passes")
    assert told["explain"]["reason"] == "a letter of the owner of 闽D****8"
    assert told["show quarantine"]["plates_shown"] == 1
    assert "DROP" in told["query refused"]["query"]


def test_no_plate_is_in_the_log(asked: Path):
    raw = audit.audit_path(asked).read_bytes()
    assert b"88888" not in raw


def test_the_log_is_shown(asked: Path):
    rows = rsd("audit", "show", asked, "--format", "json").json
    assert [r["seq"] for r in rows] == list(range(1, 17))
    assert rows[7]["reason"] == "case 7"
    shown = rsd("audit", "show", asked, "--shown-plates", "--format", "json").json
    assert [r["action"] for r in shown] == ["export findings", "look up plate", "show quarantine"]
    assert len(rsd("audit", "show", asked, "--action", "export", "--format", "json").json) == 2
    assert rsd("audit", "show", asked, "--actor", "nobody", "--format", "json").json == []
    assert rsd("audit", "show", asked, "--since", "2999-01-01", "--format", "json").json == []
    assert len(rsd("audit", "show", asked, "--since", "2000-01-01", "--format", "json").json) == 16
    assert rsd("audit", "show", asked, "--since", "soon").code == 2


# Seven changes, seven found


def change(lake: Path, alter: Callable[[list[bytes]], list[bytes]]) -> None:
    path = audit.audit_path(lake)
    path.write_bytes(b"".join(alter(path.read_bytes().splitlines(keepends=True))))


def renumbered(line: bytes, **news: object) -> bytes:
    """A record that is true in itself: the forger knows how it is made."""
    content = json.loads(line) | news
    content["hash"] = audit._hash(content)
    return audit._canonical(content).encode() + b"\n"


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edit": lambda x: [*x[:7], x[7].replace(b"case 7", b"case 8"), *x[8:]],
    "edit with a new hash": lambda x: [*x[:7], renumbered(x[7], actor="nobody"), *x[8:]],
    "delete": lambda x: [*x[:7], *x[8:]],
    "insert": lambda x: [*x[:7], renumbered(x[7], details={}), *x[7:]],
    "swap": lambda x: [*x[:6], x[7], x[6], *x[8:]],
    "duplicated seq": lambda x: [*x, renumbered(x[-1], prev=json.loads(x[-1])["hash"])],
    "truncated tail": lambda x: x[:-3],
    "rollback": lambda x: x[:4],
    "half a record": lambda x: [*x[:-1], x[-1][:50]],
    "nothing left": lambda x: [],
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_found(lake: Path, tmp_path: Path, name: str):
    heads = tmp_path / "heads.jsonl"
    assert rsd("audit", "head", lake, "-o", heads).code == 0
    assert rsd("audit", "verify", lake, "--head", heads).code == 0
    change(lake, CHANGES[name])
    answer = rsd("audit", "verify", lake, "--head", heads)
    assert answer.code == 7
    assert "audit log was changed" in answer.message


def test_a_rollback_is_found_though_the_log_went_on(lake: Path, tmp_path: Path):
    heads = tmp_path / "heads.jsonl"
    rsd("audit", "head", lake, "-o", heads)
    change(lake, CHANGES["rollback"])
    for _ in range(20):
        rsd("quarantine", lake)
    assert rsd("audit", "verify", lake).code == 0  # the chain is whole: the head alone tells
    rsd("audit", "head", lake, "-o", heads)  # a new head added does not hide the old one
    answer = rsd("audit", "verify", lake, "--head", heads)
    assert answer.code == 7
    assert "rewritten" in answer.message


def test_a_log_that_was_taken_away_is_found(lake: Path):
    audit.audit_path(lake).unlink()
    for command in ("verify", "head"):
        assert "no audit log" in rsd("audit", command, lake).message
        assert rsd("audit", command, lake).code == 7


def test_without_a_head_it_is_said_what_was_not_shown(lake: Path):
    answer = rsd("audit", "verify", lake)
    assert answer.code == 0
    assert "no kept head" in answer.err
    assert json.loads(rsd("audit", "head", lake).out)["seq"] == 16


def test_a_file_without_heads(lake: Path, tmp_path: Path):
    for text in ("", "{}\n", "no head\n", "[1]\n"):
        (tmp_path / "h").write_text(text, encoding="utf-8")
        assert rsd("audit", "verify", lake, "--head", tmp_path / "h").code == 2
    assert rsd("audit", "verify", lake, "--head", tmp_path / "nothing").code == 6


def test_a_run_keeps_the_head_elsewhere(lake: Path, tmp_path: Path):
    kept = tmp_path / "elsewhere.jsonl"
    Lake.open(lake).configure(settings={"audit_head_path": str(kept)})
    for _ in range(2):
        assert rsd("find", lake).code == 0
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 2
    assert rsd("audit", "verify", lake, "--head", kept).code == 0
    Lake.open(lake).configure(settings={"audit_head_path": str(tmp_path / "no" / "folder")})
    opened = Lake.open(lake)
    from rsd.pipeline.nightly import find_all

    find_all(opened)
    assert any("head could not be kept" in notice for notice in opened.notices)


# Nothing is shown that cannot be written down


@pytest.fixture
def closed(lake: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The disk takes no record any more."""
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rsd.storage.disk.write_all", full)
    return lake


@pytest.mark.parametrize("words", [
    ("query", "LAKE", "SELECT 1 AS secret"), ("aggregate", "LAKE", "--by", "fuel"),
    ("explain", "LAKE", PLATE), ("quarantine", "LAKE"), ("quarantine", "LAKE", "--plates"),
    ("export", "findings", "LAKE", "-o", "OUT"),
    ("query", "LAKE", "SELECT 1 AS secret", "-o", "OUT"),
])
def test_nothing_is_shown_where_no_record_can_be_written(
    closed: Path, tmp_path: Path, words: tuple[str, ...]
):
    out = tmp_path / "out.csv"
    answer = rsd(*({"LAKE": closed, "OUT": out}.get(w, w) for w in words))
    assert answer.code == StorageError.exit_code
    assert answer.out == ""
    assert "No space left" in answer.message
    assert not out.exists()


def test_a_reason_is_asked_for_where_the_lake_wants_one(lake: Path, tmp_path: Path):
    Lake.open(lake).configure(settings={"require_reason": True})
    out = tmp_path / "l.csv"
    for words in (("export", "findings", lake, "-o", out, "--plates"),
                  ("quarantine", lake, "--plates"), ("explain", lake, PLATE)):
        for more in ((), ("--reason", " ")):
            answer = rsd(*words, *more)
            assert (answer.code, "--reason" in answer.message) == (8, True)
        assert rsd(*words, "--reason", "case 7").code == 0
    assert rsd("export", "findings", lake, "-o", out).code == 0  # masked: no reason needed


# Who may not write the log


@pytest.fixture
def barred(lake: Path) -> Lake:
    """The lake for somebody who may not read restricted/ (root always may: so moved away)."""
    (lake / "restricted").rename(lake.parent / "away")
    return Lake.open(lake)


def letters(lake: Path) -> list[dict]:
    return [json.loads(p.read_bytes()) for p in sorted(inbox.inbox_path(lake).iterdir())]


def test_a_letter_is_left_and_collected(barred: Lake):
    reading.query(barred, f"SELECT '{PLATE}' AS p")
    (letter,) = letters(barred.path)
    assert letter["action"] == "query"
    assert PLATE not in json.dumps(letter, ensure_ascii=False)
    (barred.path.parent / "away").rename(barred.path / "restricted")
    before = log(barred.path)
    assert trail.collect(Lake.open(barred.path)) == 1
    assert letters(barred.path) == []
    (added,) = log(barred.path)[len(before):]
    assert (added["action"], added["details"]["rows"]) == ("query", 1)
    assert added["actor"] == audit.user_name(os.getuid())
    assert added["details"]["asked_at"] == letter["at"]


def test_a_lake_without_an_inbox_still_answers(barred: Lake):
    shutil.rmtree(inbox.inbox_path(barred.path))
    assert reading.query(barred, "SELECT 1 AS one").item() == 1


def test_a_full_disk_is_no_excuse(barred: Lake, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rsd.storage.disk.write_all", full)
    with pytest.raises(StorageError, match="No space"):
        reading.query(barred, "SELECT 1")
    assert list(inbox.inbox_path(barred.path).iterdir()) == []


def test_the_inbox_can_be_written_by_all_and_listed_by_its_owner(lake: Path):
    box = inbox.inbox_path(lake)
    assert stat.S_IMODE(box.stat().st_mode) == inbox.MODE == 0o1733
    box.chmod(0o755)  # as a restored backup has it
    assert rsd("find", lake).code == 0
    assert stat.S_IMODE(box.stat().st_mode) == inbox.MODE


def test_nothing_in_the_inbox_stops_a_run(lake: Path):
    box = inbox.inbox_path(lake)
    (box / "a.json").write_bytes(b"\xff")
    (box / "b.json").write_bytes(b'{"action": 1}')
    (box / "c.json").write_bytes(b" " * (inbox.LARGEST_BYTES + 1))
    (box / "d.json").symlink_to("/etc/passwd")
    os.mkfifo(box / "e.json")
    (box / "folder").mkdir()
    (box / "f.json").write_bytes(b"[" * 100_000)
    assert rsd("find", lake).code == 0
    assert [p.name for p in box.iterdir()] == ["folder"]
    strange = [r for r in log(lake) if r["action"] == "no letter"]
    assert [r["details"]["letter"] for r in strange] == [f"{c}.json" for c in "abcdef"]
    assert rsd("audit", "verify", lake).code == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A lake in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        init_lake(Path(folder) / "lake")
        yield Path(folder) / "lake"


def test_a_letter_of_another_user_is_in_the_log_under_his_name(shared: Path):
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    os.seteuid(65534)
    try:
        lake = Lake.open(shared)
        assert not lake.may_read_restricted
        reading.query(lake, "SELECT 1 AS one")
        with pytest.raises(PolicyRefusal):
            watching.told(lake)
        with pytest.raises(PermissionError):
            os.listdir(inbox.inbox_path(shared))
    finally:
        os.seteuid(0)
    assert trail.collect(Lake.open(shared)) == 1
    assert log(shared)[-1]["actor"] == audit.user_name(65534)


def test_the_audit_is_for_who_may_read_it(barred: Lake):
    for command in ("verify", "show", "head"):
        assert rsd("audit", command, barred.path).code == 8
