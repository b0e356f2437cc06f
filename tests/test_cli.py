"""The command line: what each command answers, where it says it, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import polars as pl
import pytest
from chain import REGISTRY, SEGMENTS, SITES, balances, dump, record, rsd, versions

import rsd as library
from cli.main import Terminated, _exit_code, commands
from rsd.pipeline import reading

OVER = {"btgdjg": "55"}


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name, command in commands.commands.items():
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands]
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake in it, made and filled by the commands alone."""
    folder = tmp_path_factory.mktemp("cli")
    for name, text in (("sites.csv", SITES), ("segments.geojson", SEGMENTS),
                       ("registry.csv", REGISTRY)):
        (folder / name).write_text(text, encoding="utf-8")
    answer = rsd("init", folder / "lake", "--sites", folder / "sites.csv", "--segments",
                 folder / "segments.geojson", "--registry", folder / "registry.csv")
    assert (answer.code, answer.out) == (0, "")
    lines = [record(jlbh="s1", **OVER), record(jlbh="s2", jcsj="2026-09-02 08:00:00", **OVER),
             *[record(jlbh=f"c{k}", hphm="闽D77777") for k in range(60)],
             record(jlbh="s1", **OVER), "", record(jlbh="q", clsd="fast")]
    dump(folder / "dumps" / "a.csv", lines, encoding="utf-8")
    assert rsd("run", folder / "lake", folder / "dumps").code == 0
    return folder


@pytest.fixture
def lake(place: Path) -> Path:
    return place / "lake"


# Help


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_has_help(command: tuple[str, ...]):
    answer = rsd(*command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: {' '.join(('rsd', *command))}")
    found = commands
    for name in command:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option) and parameter.name not in {"help", "version"}:
            explained = parameter.help or parameter.show_default
            assert explained, f"{command}: {parameter.opts} has no help"


def test_the_help_lists_every_exit_code():
    text = " ".join(rsd("--help").out.split())
    for code in ("0 done", "1 internal fault", "2 usage", "3 an input refused", "4 done, but more",
                 "5 another run", "6 storage", "7 integrity", "8 refused by policy", "130, 143"):
        assert code in text


def test_the_version_is_the_packages():
    assert rsd("--version").out == f"rsd, version {library.__version__}\n"


# The nightly job


def test_run_answers_with_the_document_of_the_contract(tmp_path: Path):
    assert rsd("init", tmp_path / "lake").code == 0
    path = dump(tmp_path / "a.csv", [record(), record(), "torn", record(jlbh="2", btgdjg="70")])
    answer = rsd("run", tmp_path / "lake", path, "--format", "json", "--max-quarantine", 0.5)
    assert (answer.code, answer.err) == (0, "")
    (file,) = answer.json["files"]
    assert (file["records"], file["accepted"], file["quarantined"], file["duplicates"]) == (
        4, 2, 1, 1)
    assert balances(file)
    assert {k: file[k] for k in ("file", "format", "state", "error", "blank", "corrected")} == {
        "file": "a.csv", "format": "cn_platform", "state": "done", "error": None, "blank": 0,
        "corrected": 0}
    totals = answer.json["totals"]
    assert {k: totals[k] for k in ("files", "done", "records", "accepted")} == {
        "files": 1, "done": 1, "records": 4, "accepted": 2}
    assert answer.json["findings"]["total"] == 0
    again = rsd("run", tmp_path / "lake", path, "--format", "json")
    assert (again.code, again.json["files"][0]["state"]) == (0, "already")


def test_ingest_judges_nothing_and_find_does(tmp_path: Path):
    rsd("init", tmp_path / "lake")
    path = dump(tmp_path / "a.csv", [record(jlbh="1", **OVER),
                                     record(jlbh="2", jcsj="2026-09-02 08:00:00", **OVER)])
    answer = rsd("ingest", tmp_path / "lake", path, "--format", "json")
    assert "findings" not in answer.json
    assert rsd("query", tmp_path / "lake", "SELECT count(*) AS n FROM findings", "--format",
               "json").json == [{"n": 0}]
    told = rsd("find", tmp_path / "lake", "--format", "json").json
    assert (told["total"], told["new"], told["withdrawn"]) == (1, 1, 0)


def test_the_table_of_a_run_says_the_account_in_words(tmp_path: Path):
    rsd("init", tmp_path / "lake")
    answer = rsd("run", tmp_path / "lake", dump(tmp_path / "a.csv", [record(), "torn"]),
                 "--max-quarantine", 1)
    assert "2 records = 1 accepted + 1 quarantined + 0 duplicates" in answer.out
    assert "0 findings" in answer.out


def test_an_unknown_column_is_named_on_stderr(tmp_path: Path):
    rsd("init", tmp_path / "lake")
    path = tmp_path / "a.csv"
    path.write_text("site_id,measured_at,shoe_size\nA,2026-09-01 08:00:00,44\n", encoding="utf-8")
    answer = rsd("run", tmp_path / "lake", path)
    assert answer.code == 0
    assert "ignored: shoe_size" in answer.err
    document = rsd("run", tmp_path / "lake", path, "--format", "json").json
    assert document["files"][0]["ignored_columns"] == []


def test_max_quarantine_decides_between_done_and_too_many(tmp_path: Path):
    rsd("init", tmp_path / "lake")
    lines = [record(jlbh=str(k)) for k in range(19)]
    five = dump(tmp_path / "five.csv", [*lines, "torn"])
    six = dump(tmp_path / "six.csv", ["torn", *[record(jlbh=f"b{k}") for k in range(15)]])
    assert rsd("ingest", tmp_path / "lake", five).code == 0
    answer = rsd("ingest", tmp_path / "lake", six)
    assert answer.code == 4
    assert "six.csv: 1 of 16 records were quarantined, more than 5%" in answer.err
    strict = dump(tmp_path / "strict.csv", [*[record(jlbh=f"c{k}") for k in range(99)], "torn"])
    assert rsd("ingest", tmp_path / "lake", strict, "--max-quarantine", 0).code == 4


# What is read


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet", "json", "geojson"])
def test_the_list_in_every_format(lake: Path, tmp_path: Path, suffix: str):
    out = tmp_path / f"list.{suffix}"
    answer = rsd("export", "findings", lake, "-o", out)
    assert (answer.code, answer.out) == (0, "")
    assert "1 findings" in answer.err
    assert out.stat().st_size > 0


def test_the_list_has_the_contracts_columns(lake: Path, tmp_path: Path):
    rsd("export", "findings", lake, "-o", tmp_path / "list.json")
    (finding,) = json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))
    expected = ["regulation_id", "kind", "pollutant", "vehicle_id", "plate", "plate_color",
                "vehicle_class", "fuel", "emission_stage", "found_at", "first_record_id",
                "first_measured_at", "first_value", "second_record_id", "second_measured_at",
                "second_value", "limit", "unit", "exceedances", "passes", "road_segment", "clause",
                "is_verified"]
    assert [name for name in finding if name in expected] == expected
    assert (finding["kind"], finding["pollutant"], finding["plate"]) == (
        "violation", "opacity", "闽D****5")
    assert finding["found_at"] == "2026-09-02T00:00:00Z"
    assert (finding["first_record_id"], finding["second_record_id"]) == ("s1", "s2")
    assert finding["is_verified"] is False


def test_every_format_of_an_answer_says_the_same(lake: Path, tmp_path: Path):
    select = "SELECT record_id, no_ppm, is_valid, measured_at FROM passes ORDER BY record_id"
    frame = reading.query(library.Lake.open(lake), select)
    assert frame.height == 62
    as_json = rsd("query", lake, select, "--format", "json").json
    assert [row["record_id"] for row in as_json] == frame["record_id"].to_list()
    assert as_json[0]["measured_at"] == "2026-09-01T00:00:00Z"
    as_csv = rsd("query", lake, select, "--format", "csv").out
    assert [r["record_id"] for r in csv.DictReader(io.StringIO(as_csv))] == [
        r["record_id"] for r in as_json]
    out = tmp_path / "x.parquet"
    assert rsd("query", lake, select, "--format", "parquet", "-o", out).out == ""
    assert pl.read_parquet(out).equals(frame)


def test_a_table_shows_fifty_rows_and_says_so_on_stderr(lake: Path):
    answer = rsd("query", lake, "SELECT record_id FROM passes")
    assert len(answer.out.splitlines()) == 52
    assert answer.err.startswith("50 of 62 rows; use ")
    assert "--format csv" in answer.err
    assert answer.err.count("\n") == 1


def test_aggregate_prints_groups_with_counts_rates_and_intervals(lake: Path):
    (row,) = rsd("aggregate", lake, "--by", "vehicle_class,road_segment, month", "--format",
                 "json").json
    assert (row["vehicle_class"], row["road_segment"], row["month"]) == (
        "heavy_truck", "S1", "2026-09")
    assert (row["n_records"], row["n_valid"], row["n_vehicles"]) == (62, 62, 2)
    assert (row["n_no_ppm"], row["mean_no_ppm"]) == (62, pytest.approx(745.0))
    assert (row["n_judged_opacity"], row["n_exceed_opacity"]) == (62, 2)
    assert row["rate_valid_opacity"] == pytest.approx(2 / 62)


def test_a_small_group_keeps_its_row_without_measures(lake: Path):
    (row,) = rsd("aggregate", lake, "--by", "fuel", "--min-vehicles", 3, "--format", "json").json
    assert (row["fuel"], row["n_records"], row["n_vehicles"]) == ("diesel", 62, 2)
    assert row["mean_no_ppm"] is None
    assert row["rate_valid_opacity"] is None


def test_quarantine_shows_where_why_and_the_raw_record_masked(lake: Path):
    (row,) = rsd("quarantine", lake, "--format", "json").json
    assert set(row) == {"file", "line", "byte_offset", "reason", "column", "raw"}
    assert (row["file"], row["line"], row["reason"], row["column"]) == (
        "a.csv", 66, "not_a_number", "clsd")
    assert "闽D****5" in row["raw"]


def test_explain_tells_the_verdicts_and_the_findings(lake: Path):
    vehicle = reading.findings_of(library.Lake.open(lake))["vehicle_id"].item()
    answer = rsd("explain", lake, vehicle)
    for words in ("exceeds", "violation", "cn_hj845_2017", "opacity", "s1 and s2", "HJ 845-2017",
                  "unverified"):
        assert words in answer.out
    other = rsd("explain", lake, "闽D77777/yellow")
    assert other.out.rstrip().endswith("no finding")
    assert len(rsd("explain", lake, vehicle, "--format", "json").json) == 6


def test_formats_and_regulations_say_what_is_built_in():
    assert {row["format"] for row in rsd("formats", "--format", "json").json} >= {
        "cn_platform", "conox", "rsd"}
    for asked in (("formats", "conox"), ("formats", "show", "conox")):
        assert "clock has no am and pm" in rsd(*asked).out
    columns = rsd("formats", "cn_platform", "--format", "json").json
    assert {"hphm", "dwbh"} <= {c["column"] for c in columns if c["is_required"]}
    assert "cn_hj845_2017" in {r["regulation"] for r in rsd("regulations", "--format", "json").json}
    told = rsd("regulations", "cn_hj845_2017").out
    assert "HJ 845" in told
    assert "UNVERIFIED" in told


def test_simulate_says_what_it_made(tmp_path: Path):
    answer = rsd("simulate", tmp_path / "city", "--vehicles", 50, "--days", 1, "--seed", 3)
    assert answer.code == 0
    assert {p.name for p in (tmp_path / "city").iterdir()} == {
        "dumps", "truth", "registry.csv", "segments.geojson", "sites.csv"}
    assert "files" in answer.out


def test_demo_shows_the_whole_chain_and_can_be_made_anew(tmp_path: Path):
    for _ in range(2):
        answer = rsd("demo", tmp_path / "d", "--vehicles", 200, "--days", 1)
        assert answer.code == 0, answer.err
    for name in ("findings.csv", "findings.xlsx", "class_by_segment.csv"):
        assert (tmp_path / "d" / "results" / name).is_file()
    assert "accepted +" in answer.out


# How a command ends


def test_data_go_to_stdout_and_remarks_to_stderr(lake: Path, tmp_path: Path):
    assert rsd("query", lake, "SELECT 1 AS x", "--format", "csv") .out == "x\n1\n"
    made = rsd("init", tmp_path / "new")
    assert made.out == ""
    assert "Next: rsd run" in made.err


def test_an_interrupt_ends_with_130(lake: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "run", stopped)
    answer = rsd("run", lake, "x.csv")
    assert answer.code == 130
    # click moves to a new line, away from the ^C of the terminal
    assert answer.err.strip().startswith("rsd: interrupted")


def test_a_termination_ends_with_143(lake: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(*_: object, **__: object) -> None:
        raise Terminated

    monkeypatch.setattr(library, "run", stopped)
    answer = rsd("run", lake, "x.csv")
    assert (answer.code, answer.message.partition(";")[0]) == (143, "terminated")


def test_an_internal_fault_tells_its_place_and_no_data(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def faulty(*_: object, **__: object) -> None:
        raise ValueError("闽D12345 is odd")

    monkeypatch.setattr(library, "run", faulty)
    assert _exit_code(["run", str(lake), "x.csv"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("rsd: internal fault (ValueError at test_cli.py:")
    assert "D12345" not in told.err
    assert told.err.count("\n") == 1
    monkeypatch.setenv("RSD_TRACEBACK", "1")
    with pytest.raises(ValueError, match="is odd"):
        _exit_code(["run", str(lake), "x.csv"])


def test_an_error_of_the_system_is_a_storage_error(lake: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/data/x")

    monkeypatch.setattr(library, "run", full)
    answer = rsd("run", lake, "x.csv")
    assert answer.code == 6
    assert answer.message.startswith("/data/x: the system refused: found No space left on device")


def script(text: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", text, *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


RUN = "import sys; from cli.main import main; main(sys.argv[1:])"
SLOW = """
import sys, time
import rsd.pipeline.batch as batch
honest = batch._check
def slow(*a):
    honest(*a)
    print("staged", flush=True)
    time.sleep(60)
batch._check = slow
""" + RUN


def test_a_reader_that_goes_away_is_no_fault(lake: Path):
    process = script(RUN, "query", lake, "SELECT * FROM range(300000)", "--format", "csv")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "range\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130),
                                              (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_leaves_nothing_and_the_next_one_does_it_all(
    tmp_path: Path, number: int, code: int
):
    lake = tmp_path / "lake"
    rsd("init", lake)
    path = dump(tmp_path / "a.csv", [record(tp1="x.jpg"), "torn"])
    process = script(SLOW, "ingest", lake, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "staged\n"
    busy = rsd("run", lake, path)
    assert busy.code == 5
    assert f"process {process.pid}" in busy.message
    assert rsd("query", lake, "SELECT count(*) AS n FROM passes", "--format", "json").json == [
        {"n": 0}]
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in err
    answer = rsd("ingest", lake, path, "--format", "json", "--max-quarantine", 1)
    assert (answer.code, answer.json["files"][0]["state"]) == (0, "done")
    opened = library.Lake.open(lake)
    for table, expected in (("passes", 1), ("evidence", 1), ("quarantine", 1)):
        assert opened.table(table).scan().collect().height == expected
        names = {p.name for p in opened.table(table).folder.glob("*.parquet")}
        assert names == {p.name for p in opened.table(table).files()}


def test_the_script_ends_with_the_code_of_its_command(lake: Path, tmp_path: Path):
    """Through the entry point itself, in its own process: the code, and one line of reason."""
    process = script(RUN, "query", tmp_path, "SELECT 1")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("rsd: ")
    assert "no lake here" in err
    process = script(RUN, "query", lake, "SELECT 7 AS x", "--format", "json")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out), err) == (0, [{"x": 7}], "")


def test_no_command_but_the_writers_changes_a_lake(lake: Path, tmp_path: Path):
    before = versions(lake)
    stamps = {p: p.stat().st_mtime_ns for p in (lake / "open").rglob("*") if p.is_file()}
    for command in (["aggregate", lake, "--by", "fuel"], ["query", lake, "SELECT 1"],
                    ["quarantine", lake], ["explain", lake, "闽D77777"],
                    ["export", "findings", lake, "-o", tmp_path / "x.csv"]):
        assert rsd(*command).code == 0
    assert versions(lake) == before
    assert {p: p.stat().st_mtime_ns for p in (lake / "open").rglob("*") if p.is_file()} == stamps


def test_the_environment_of_a_cron_job_is_enough(lake: Path):
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", RUN, "quarantine", str(lake)], check=False,
                          capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
