"""Bad input: one clear message (what, where, what to do), the right exit code, no traceback."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from chain import HEADER, dump, record, rsd

from rsd.lake import Lake
from rsd.storage import disk

GOOD = [record(jlbh="good")]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    assert rsd("init", tmp_path / "lake").code == 0
    return tmp_path / "lake"


def text_file(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Files that are refused as a whole

WHOLE = ",".join(HEADER) + "\n"
BAD_FILES = {
    "empty": (b"", "the file is empty"),
    "image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200), "line 1: "),
    "letter": (b"Dear colleague,\nplease find the dump elsewhere.\n", "of no known format"),
    "no_text": (b"\xff\xfd\xfa\x81,\x82\n1,2\n", "no text"),
    "no_site": (WHOLE.replace("dwbh", "x"), "a required column of format cn_platform is missing"),
    "no_time": (WHOLE.replace("jcsj", "x"), "expected jcsj or jcrq"),
    "no_plate": (WHOLE.replace("hphm", "x"), "expected hphm"),
    "twice": (WHOLE.replace("dwbh", "hphm"), "a column name stands twice"),
    "cut.gz": (gzip.compress(f"{WHOLE}{record()}\n".encode())[:-9], "the gzip archive is broken"),
    "crc.gz": (gzip.compress(f"{WHOLE}{record()}\n".encode())[:-8] + bytes(8), "broken"),
    "fake.gz": (b"\x1f\x8b" + bytes(50), "broken"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_and_the_others_are_processed(
    lake: Path, tmp_path: Path, name: str
):
    content, told = BAD_FILES[name]
    bad = text_file(tmp_path / name, content)
    first, last = dump(tmp_path / "1.csv", [record(jlbh="1")]), dump(tmp_path / "2.csv", GOOD)
    answer = rsd("run", lake, first, bad, last, "--format", "json")
    assert answer.code == 3
    files = answer.json["files"]
    assert [f["state"] for f in files] == ["done", "refused", "done"]
    assert told in files[1]["error"]
    assert str(bad) in files[1]["error"]
    assert (files[1]["records"], answer.json["totals"]["accepted"]) == (0, 2)
    table = rsd("run", lake, bad)
    assert table.code == 3
    refusals = [line for line in table.err.splitlines() if line.startswith("rsd: refused: ")]
    assert len(refusals) == 1
    assert told in refusals[0]


def test_a_missing_file_a_folder_without_files_and_a_pattern_without_matches(
    lake: Path, tmp_path: Path
):
    (tmp_path / "hollow").mkdir()
    good = dump(tmp_path / "good.csv", GOOD)
    answer = rsd("run", lake, tmp_path / "gone.csv", tmp_path / "hollow", tmp_path / "no*.csv",
                 good, "--format", "json")
    assert answer.code == 3
    told = {f["file"]: (f["state"], f["error"]) for f in answer.json["files"]}
    assert told["good.csv"] == ("done", None)
    for name in ("gone.csv", "no*.csv"):
        state, error = told[name]
        assert state == "refused"
        assert "no such file. Check the name" in error


def test_a_run_over_nothing_says_that_there_was_nothing(lake: Path, tmp_path: Path):
    (tmp_path / "hollow").mkdir()
    answer = rsd("run", lake, tmp_path / "hollow")
    assert answer.code in {0, 3}
    assert "0 files" in answer.out


def test_a_pipe_and_a_device_are_no_dumps(lake: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    answer = rsd("run", lake, tmp_path / "pipe", "/dev/null", "--format", "json")
    assert answer.code == 3
    assert all("not a regular file" in f["error"] for f in answer.json["files"])


def test_a_file_that_may_not_be_read(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Root may read everything, so the refusal of the system is put in its place."""
    bad, honest = dump(tmp_path / "bad.csv", GOOD), os.open

    def refusing(path: object, *arguments: object, **named: object) -> int:
        if Path(str(path)) == bad:
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    answer = rsd("run", lake, bad, dump(tmp_path / "good.csv", [record()]), "--format", "json")
    assert answer.code == 3
    assert [f["state"] for f in answer.json["files"]] == ["refused", "done"]
    assert "Permission denied" in answer.json["files"][0]["error"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"jcsj": "2026-02-30 08:00:00"}, "impossible_time"),
        ({"jcsj": "2026-09-01 25:00:00"}, "impossible_time"),
        ({"jcsj": "01.09.2026"}, "impossible_time"),
        ({"jcsj": ""}, "blank_required"),
        ({"dwbh": ""}, "blank_required"),
        ({"clsd": "0x10"}, "not_a_number"),
        ({"clsd": "1_000"}, "not_a_number"),
        ({"clsd": "NaN"}, "not_finite"),
        ({"clsd": "inf"}, "not_finite"),
        ({"clsd": "1e999"}, "not_finite"),
        ({"lgmhd": "1.5"}, "not_whole"),
    ],
)
def test_an_impossible_cell_is_quarantined_and_the_rest_accepted(
    lake: Path, tmp_path: Path, cells: dict[str, str], reason: str
):
    lines = [*[record(jlbh=str(k)) for k in range(20)], record(jlbh="x", **cells)]
    answer = rsd("run", lake, dump(tmp_path / "a.csv", lines), "--format", "json")
    assert answer.code == 0
    assert answer.json["totals"]["accepted"] == 20
    (row,) = rsd("quarantine", lake, "--format", "json").json
    assert row["reason"].startswith(reason)
    assert row["column"] == next(iter(cells))


def test_a_first_line_of_data_is_no_header_and_is_told_without_its_plate(
    lake: Path, tmp_path: Path
):
    """A dump without its header: what stands in its place is a record, with a plate in it."""
    for content in ("A350203001,2026-09-01 08:00:00,闽D12345,1,10\n",
                    "闽D12345,闽D12345,2026-09-01 08:00:00\n",
                    "hphm,dwbh,闽D12345,闽D12346\n"):
        answer = rsd("run", lake, text_file(tmp_path / "a.csv", content))
        assert answer.code == 3
        assert "a.csv, line 1" in answer.err
        assert "D1234" not in (answer.out + answer.err).upper()
    stored = Lake.open(lake).table("runs").scan().collect()["error"].to_list()
    assert len(stored) == 3
    assert not [error for error in stored if "D1234" in error.upper()]


def test_nothing_is_stored_of_a_refused_file(lake: Path, tmp_path: Path):
    bad = text_file(tmp_path / "cut.gz", gzip.compress(
        (WHOLE + "".join(f"{record(jlbh=k, tp1='x')}\n" for k in range(50))).encode())[:-9])
    assert rsd("run", lake, bad).code == 3
    opened = Lake.open(lake)
    for table in ("passes", "evidence", "quarantine", "vehicles"):
        assert opened.table(table).scan().collect().is_empty()


# Options and arguments


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "LAKE", "DUMP", "--input-format", "cn_platfrom"],
         ["unknown input format", "found cn_platfrom", "Did you mean cn_platform?"]),
        (["run", "LAKE", "DUMP", "--input-format", ""], ["unknown input format", "cn_platform"]),
        (["aggregate", "LAKE", "--by", "vehicle_clas"],
         ["no such group column", "found vehicle_clas", "Did you mean vehicle_class?"]),
        (["aggregate", "LAKE", "--by", "plate"], ["no such group column", "found plate"]),
        (["aggregate", "LAKE", "--by", "fuel,fuel"], ["twice", "fuel"]),
        (["aggregate", "LAKE", "--by", "fuel", "--quantities", "co"], ["quantity", "found co"]),
        (["aggregate", "LAKE", "--by", "fuel", "--where", "fuel ="], ["the query does not work"]),
        (["query", "LAKE", "SELECT nothing FROM passes"], ["does not work", "nothing"]),
        (["query", "LAKE", "SELEC 1"], ["does not work"]),
        (["find", "LAKE", "--regulation", "cn_hj_845"], ["cn_hj_845", "cn_hj845_2017"]),
        (["explain", "LAKE", "闽D00000"], ["no such vehicle"]),
        (["explain", "LAKE", "v1.AAAAAAAA.B"], ["no such vehicle"]),
        (["export", "findings", "LAKE", "-o", "list.pdf"], ["list.pdf", "'.pdf'", ".csv"]),
        (["regulations", "cn_hj_845"], ["cn_hj_845", "cn_hj845_2017"]),
        (["formats", "cn_platfrom"], ["unknown input format", "Did you mean cn_platform?"]),
        (["init", "NEW", "--timezone", "Asia/Shangai"], ["Asia/Shangai", "Asia/Shanghai"]),
        (["init", "NEW", "--regulation", "cn_hj_845"], ["cn_hj_845", "cn_hj845_2017"]),
    ],
)
def test_a_call_that_can_mean_nothing_is_told_in_one_line(
    lake: Path, tmp_path: Path, arguments: list[str], told: list[str]
):
    places = {"LAKE": lake, "DUMP": dump(tmp_path / "a.csv", GOOD), "NEW": tmp_path / "new"}
    answer = rsd(*[places.get(a, a) for a in arguments])
    assert answer.code == 2
    assert answer.out == ""
    for words in told:
        assert words in answer.message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [["run", "LAKE"], ["run"], ["aggregate", "LAKE"], ["export", "findings", "LAKE"], ["init"],
     ["query", "LAKE", "SELECT 1", "--format", "yaml"], ["run", "LAKE", "x", "--format", "csv"],
     ["run", "LAKE", "x", "--max-quarantine", "2"], ["frobnicate"], ["run", "LAKE", "x", "--nope"],
     ["init", "NEW", "--sites", "missing.csv"], ["simulate", "NEW", "--days", "0"],
     ["simulate", "NEW", "--start", "2026-02-30"], ["export", "findings", "LAKE", "-o", "."]],
)
def test_a_wrong_option_is_a_usage_error(lake: Path, tmp_path: Path, arguments: list[str]):
    places = {"LAKE": lake, "NEW": tmp_path / "new"}
    answer = rsd(*[places.get(a, a) for a in arguments])
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("Error: ") == 1
    assert not (tmp_path / "new").exists()


LAKE_COMMANDS = [["run", "LAKE", "x.csv"], ["ingest", "LAKE", "x.csv"], ["find", "LAKE"],
                 ["export", "findings", "LAKE", "-o", "x.csv"], ["explain", "LAKE", "v1.A.B"],
                 ["aggregate", "LAKE", "--by", "fuel"], ["query", "LAKE", "SELECT 1"],
                 ["quarantine", "LAKE"]]


@pytest.mark.parametrize("command", LAKE_COMMANDS, ids=lambda c: c[0])
def test_a_lake_that_is_none(tmp_path: Path, command: list[str]):
    (tmp_path / "folder").mkdir()
    newer = tmp_path / "newer"
    newer.mkdir()
    text_file(newer / "rsd.toml", "layout = 999\n")
    torn = tmp_path / "torn"
    torn.mkdir()
    text_file(torn / "rsd.toml", "layout = ")
    other = tmp_path / "other"
    other.mkdir()
    text_file(other / "rsd.toml", 'layout = 1\ntimezone = "Asia/Shanghai"\nregulations = []\n'
                                  'colour = "blue"\n')
    for place, told in ((tmp_path / "missing", "no lake here: found no such folder. Make one with"),
                        (tmp_path / "folder", "no lake here: found no rsd.toml. Make one with"),
                        (text_file(tmp_path / "file", "x"), "no lake here"),
                        (newer, "made by a newer rsd"), (torn, "no TOML"), (other, "colour")):
        answer = rsd(*[place if a == "LAKE" else a for a in command])
        assert (answer.code, answer.out) == (2, ""), answer.err
        assert str(place) in answer.message
        assert told in answer.message


def test_init_does_not_touch_a_folder_that_holds_something(lake: Path, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    text_file(tmp_path / "mine" / "notes.txt", "mine")
    answer = rsd("init", tmp_path / "mine")
    assert answer.code == 2
    assert "not empty and no lake: found notes.txt" in answer.message
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    again = rsd("init", lake)
    assert again.code == 2
    assert "already a lake" in again.message
    assert rsd("init", text_file(tmp_path / "file", "x")).code == 2


@pytest.mark.parametrize(
    ("option", "content", "code", "told"),
    [
        ("--sites", "site_id,lon,lat,crs\nA,118,24,mars\n", 3, ", line 2: unknown coordinate"),
        ("--sites", "a,b\n", 3, ", line 1: not the header"),
        ("--segments", "{", 3, "not a JSON file"),
        ("--segments", '{"features": [{"geometry": null}]}', 3, ", feature 1: no LineString"),
        ("--registry", "plate,plate_color\n闽D12345,pink\n", 3, ", line 2: an unknown code"),
        ("--registry", "plate\n闽D12345\n", 3, ", line 1: a column of the registry is missing"),
        ("--registry", "plate,plate_color,first_registered\n闽D12345,1,31.12.2019\n", 3,
         ", line 2: no date"),
    ],
)
def test_init_names_the_file_and_line_of_what_it_cannot_use(
    tmp_path: Path, option: str, content: str, code: int, told: str
):
    path = text_file(tmp_path / "given.txt", content)
    answer = rsd("init", tmp_path / "new", option, path)
    assert answer.code == code
    assert answer.message.startswith(f"{path}")
    assert told in answer.message
    assert "D12345" not in answer.err
    assert not (tmp_path / "new").exists()


# The key


def test_a_missing_key_an_open_one_and_one_of_another_size(lake: Path, tmp_path: Path):
    path, key = dump(tmp_path / "a.csv", GOOD), lake / "restricted" / "vehicle.key"
    secret = key.read_bytes()
    key.unlink()
    answer = rsd("run", lake, path)
    assert answer.code == 6
    assert f"{key}: no vehicle key. Restore it, or set RSD_KEY_FILE" in answer.message
    key.write_bytes(secret)
    key.chmod(0o644)
    answer = rsd("run", lake, path)
    assert answer.code == 8
    assert "found mode 0644, expected 0600. Run: chmod 600" in answer.message
    key.chmod(0o600)
    for wrong in (secret[:-1], secret + b"\n", b""):
        key.write_bytes(wrong)
        answer = rsd("run", lake, path)
        assert answer.code == 7
        assert "no vehicle key: found" in answer.message
        assert secret[:8].hex() not in answer.err
    key.write_bytes(secret)
    assert rsd("run", lake, path).code == 0


def test_a_key_that_is_a_folder_or_elsewhere_and_gone(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = dump(tmp_path / "a.csv", GOOD)
    monkeypatch.setenv("RSD_KEY_FILE", str(tmp_path / "gone.key"))
    answer = rsd("run", lake, path)
    assert answer.code == 6
    assert "gone.key: no vehicle key" in answer.message
    monkeypatch.setenv("RSD_KEY_FILE", str(tmp_path))
    assert rsd("run", lake, path).code in {2, 6}


def test_another_key_is_not_taken_in_silence(lake: Path, tmp_path: Path):
    """With another key every vehicle would be a new one and no pair would ever be found."""
    over = {"btgdjg": "55"}
    assert rsd("run", lake, dump(tmp_path / "a.csv", [record(jlbh="1", **over)])).code == 0
    (lake / "restricted" / "vehicle.key").write_bytes(bytes(32))
    second = dump(tmp_path / "b.csv", [record(jlbh="2", jcsj="2026-09-02 08:00:00", **over)])
    answer = rsd("run", lake, second)
    assert answer.code != 0


# Rights, other runs, and the disk


def test_what_needs_plates_is_refused_without_the_right(lake: Path, tmp_path: Path):
    rsd("run", lake, dump(tmp_path / "a.csv", [*GOOD, "torn"]), "--max-quarantine", 1)
    (lake / "restricted").rename(tmp_path / "away")
    for command in (["export", "findings", lake, "-o", tmp_path / "x.csv", "--plates"],
                    ["quarantine", lake], ["quarantine", lake, "--plates"],
                    ["explain", lake, "闽D12345"]):
        answer = rsd(*command)
        assert (answer.code, answer.out) == (8, ""), answer.err
        assert "restricted" in answer.message
        assert "D12345" not in answer.err
    assert not (tmp_path / "x.csv").exists()
    vehicle = rsd("query", lake, "SELECT vehicle_id FROM passes", "--format", "csv").out.split()[1]
    for command in (["export", "findings", lake, "-o", tmp_path / "x.csv"],
                    ["aggregate", lake, "--by", "fuel"], ["query", lake, "SELECT 1"],
                    ["explain", lake, vehicle]):
        assert rsd(*command).code == 0


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM passes", "DROP VIEW passes", "CREATE TABLE t AS SELECT 1",
     "COPY passes TO 'x.csv'", "INSERT INTO passes SELECT * FROM passes", "ATTACH 'x.db'",
     "SET memory_limit = '1TB'", "INSTALL httpfs", "SELECT 1; SELECT 2", "PRAGMA version",
     "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'",
     "SELECT * FROM duckdb_settings()", "WITH x AS (COPY passes TO 'x') SELECT 1",
     "SELECT * FROM vehicles", "", "SELECT getenv('HOME')"],
)
def test_sql_that_does_more_than_read_is_refused(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
):
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    answer = rsd("query", lake, statement)
    assert answer.out == ""
    assert answer.code == 8 if "vehicles" not in statement else answer.code in {2, 8}
    assert answer.message
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_condition_cannot_smuggle_a_statement(lake: Path):
    for where in ("true) TO 'x'", "1=1; DROP VIEW passes", "fuel IN (SELECT 1 FROM vehicles)",
                  "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0"):
        answer = rsd("aggregate", lake, "--by", "fuel", "--where", where)
        assert answer.code in {2, 8}
        assert answer.out == ""


def test_a_lake_that_another_run_holds(lake: Path, tmp_path: Path):
    path = dump(tmp_path / "a.csv", GOOD)
    with Lake.open(lake).writer():
        for command in (["run", lake, path], ["ingest", lake, path], ["find", lake]):
            answer = rsd(*command)
            assert answer.code == 5
            assert "another run is writing to this lake" in answer.message
            assert f"process {os.getpid()}" in answer.message
        assert rsd("query", lake, "SELECT 1 AS x").code == 0
        assert rsd("aggregate", lake, "--by", "fuel").code == 0
    assert rsd("run", lake, path).code == 0


def test_a_full_disk(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    path = dump(tmp_path / "a.csv", GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "publish", full)
        answer = rsd("run", lake, path)
    assert answer.code == 6
    assert "No space left on device" in answer.message
    assert rsd("run", lake, path).code == 0


def test_an_output_that_cannot_be_written(lake: Path, tmp_path: Path):
    for command in (["export", "findings", lake, "-o", tmp_path / "none" / "x.csv"],
                    ["query", lake, "SELECT 1", "-o", tmp_path / "none" / "x.csv"]):
        answer = rsd(*command)
        assert answer.code == 6
        assert "x.csv: cannot be written" in answer.message


def test_a_damaged_lake_is_told_and_not_worked_on(lake: Path, tmp_path: Path):
    rsd("run", lake, dump(tmp_path / "a.csv", GOOD))
    (file,) = Lake.open(lake).table("passes").files()
    file.unlink()
    for command in (["query", lake, "SELECT * FROM passes"], ["aggregate", lake, "--by", "fuel"],
                    ["find", lake]):
        answer = rsd(*command)
        assert answer.code in {6, 7}
        assert answer.message


def test_a_law_file_of_the_lake_that_is_wrong(lake: Path, tmp_path: Path):
    (lake / "regulations").mkdir()
    text_file(lake / "regulations" / "cn_hj845_2017.toml", "id = [")
    path = dump(tmp_path / "a.csv", GOOD)
    answer = rsd("run", lake, path)
    assert answer.code == 2
    assert "cn_hj845_2017.toml" in answer.message
    assert Lake.open(lake).table("runs").scan().collect().is_empty()


@pytest.mark.parametrize("words", [
    ["review", "confirm", "LAKE", "fabcdef", "--reason", "\udcff"],
    ["review", "note", "LAKE", "fabcdef", "--reason", "x", "--as", "\udcd5"],
    ["query", "LAKE", "select '\udcff'"], ["review", "list", "LAKE", "--regulation", "\udcff"],
    ["explain", "LAKE", "v1.\udcff"]])
def test_an_argument_of_another_encoding_is_refused(lake: Path, words: list[str]):
    answer = rsd(*[lake if word == "LAKE" else word for word in words])
    assert answer.code == 2
    assert "an argument is no text in UTF-8" in answer.err
    assert "Set the terminal to UTF-8" in answer.err


def test_a_file_may_have_a_name_of_another_encoding(lake: Path, tmp_path: Path):
    path = tmp_path / os.fsdecode("厦门.csv".encode("gb18030"))
    path.write_bytes(dump(tmp_path / "a.csv", GOOD).read_bytes())
    empty = tmp_path / os.fsdecode("空.csv".encode("gb18030"))
    empty.touch()
    answer = rsd("run", lake, path, "--log", tmp_path / "l.jsonl", "--files")
    assert answer.code == 0, answer.err
    assert "厦门.csv" in answer.out
    answer = rsd("run", lake, empty, "--log", tmp_path / "l.jsonl")
    assert (answer.code, "空.csv: the file is empty" in answer.err) == (3, True)
    events = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert {"厦门.csv", "空.csv"} <= {event.get("file") for event in events}
    assert "空.csv" in rsd("query", lake, "select file from runs", "--format", "csv").out
    out = tmp_path / os.fsdecode("单.csv".encode("gb18030"))
    assert rsd("export", "findings", lake, "-o", out).code == 0
    assert out.exists()
