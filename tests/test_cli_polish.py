"""What a person at a terminal sees: tables that fit, few rows, local times, commands to type."""

from __future__ import annotations

import io
import json
import re
import sys

import click
import polars as pl
import pytest
from chain import REGISTRY, SEGMENTS, SITES, dump, record, rsd

import rsd as library
from cli import program
from cli.main import commands
from cli.output import emit
from cli.progress import progress
from cli.tables import Look
from cli.text import width_of, wrap, wrap_paragraphs
from rsd.aggregates import GROUPS, QUANTITIES
from rsd.lake import Lake
from rsd.pipeline import reading
from rsd.pipeline.summary import FileSummary, RunSummary
from rsd.synthetic.city import START


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self):
        return True


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with a convicted truck: of its first proving pass no specific power is known."""
    folder = tmp_path_factory.mktemp("polish")
    for name, text in (("sites.csv", SITES), ("segments.geojson", SEGMENTS),
                       ("registry.csv", REGISTRY)):
        (folder / name).write_text(text, encoding="utf-8")
    assert rsd("init", folder / "lake", "--sites", folder / "sites.csv", "--segments",
               folder / "segments.geojson", "--registry", folder / "registry.csv").code == 0
    over = {"btgdjg": "55"}
    lines = [record(jlbh="s1", vsp="", cljsd="", **over),
             record(jlbh="s2", jcsj="2026-09-02 08:00:00", **over),
             *[record(jlbh=f"c{k}", hphm="闽D77777") for k in range(60)],
             record(jlbh="q", clsd="fast")]
    assert rsd("run", folder / "lake", dump(folder / "a.csv", lines)).code == 0
    return folder / "lake"


@pytest.fixture
def vehicle(lake):
    return reading.findings_of(Lake.open(lake))["vehicle_id"].item()


def on_terminal(frame, columns, monkeypatch, look=None):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    emit(frame, "table", file=terminal, look=look)
    return terminal.getvalue().splitlines()


WIDE = pl.DataFrame({f"column_{k}": [k, 10 * k] for k in range(30)})


@pytest.mark.parametrize("columns", [20, 80, 100, 120])
def test_a_terminal_shows_the_first_columns_that_fit_and_folds_no_head(
    columns, monkeypatch, capsys
):
    lines = on_terminal(WIDE, columns, monkeypatch)
    shown = lines[0].split()
    assert shown == WIDE.columns[: len(shown)]
    assert len(lines) == 4
    assert max(map(len, lines)) <= columns < len("  ".join(WIDE.columns[: len(shown) + 1]))
    hidden = 30 - len(shown)
    assert capsys.readouterr().err.startswith(
        f"{hidden} of 30 columns do not fit and are not shown (column_{len(shown)}, ")


def test_what_fits_is_shown_without_a_remark(monkeypatch, capsys):
    lines = on_terminal(WIDE.select(WIDE.columns[:3]), 80, monkeypatch)
    assert lines[0].split() == WIDE.columns[:3]
    assert capsys.readouterr().err == ""


def test_one_column_is_shown_however_narrow_the_terminal(monkeypatch):
    lines = on_terminal(WIDE, 5, monkeypatch)
    assert lines[0] == "column_0"


def test_a_pipe_gets_every_column(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    pipe = io.StringIO()
    emit(WIDE, "table", file=pipe)
    assert pipe.getvalue().splitlines()[0].split() == WIDE.columns
    assert capsys.readouterr().err == ""


def test_a_long_text_takes_several_lines_and_stays_whole(monkeypatch):
    raw = "A350203001,2026-09-01 08:00:00,闽D****5,4,36,0.3," * 3
    frame = pl.DataFrame({"line": [7], "raw": [raw], "byte_offset": [123]})
    lines = on_terminal(frame, 60, monkeypatch)
    assert lines[0].split() == ["line", "raw", "byte_offset"]
    assert max(map(width_of, lines)) <= 60
    start = lines[0].index("raw")
    parts = [line[start:].removesuffix("123").strip() for line in lines[2:]]
    assert "".join(parts).replace(" ", "") == raw.replace(" ", "")
    assert len(parts) > 3


def test_an_identifier_is_shown_whole_or_not_at_all(monkeypatch, capsys):
    frame = pl.DataFrame({"n": [1], "vehicle_id": ["v1.HDYVC4MX.TLOWDJELL5A2Y4X"]})
    assert on_terminal(frame, 25, monkeypatch)[0] == "n"
    assert "(vehicle_id)" in capsys.readouterr().err
    assert "v1.HDYVC4MX.TLOWDJELL5A2Y4X" in on_terminal(frame, 32, monkeypatch)[2]


def test_rows_of_a_table(capsys):
    frame = pl.DataFrame({"n": range(60)})
    for rows, shown in ((0, 60), (7, 7), (60, 60)):
        pipe = io.StringIO()
        emit(frame, "table", file=pipe, look=Look(max_rows=rows))
        assert len(pipe.getvalue().splitlines()) == shown + 2
    assert capsys.readouterr().err == "7 of 60 rows; use --rows 0 or --format csv for all\n"


def test_wrapping_loses_nothing_and_keeps_the_width():
    text = "a regulation 的说明 in words, " * 20
    for width in (3, 10, 40):
        lines = wrap(text.strip(), width)
        assert all(width_of(line) <= width for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap_paragraphs(["", "  - x"]) == ["", "  - x"]


# --columns, --rows, -o on every command that prints a frame


FRAMES = [("aggregate", "LAKE", "--by", "fuel"), ("query", "LAKE", "SELECT * FROM passes"),
          ("quarantine", "LAKE"), ("explain", "LAKE", "VEHICLE"), ("formats",), ("regulations",),
          ("formats", "conox")]


def filled(words, lake, vehicle):
    return [{"LAKE": lake, "VEHICLE": vehicle}.get(word, word) for word in words]


@pytest.mark.parametrize("words", FRAMES, ids=" ".join)
def test_every_command_that_prints_a_frame_chooses_columns(words, lake, vehicle):
    asked = filled(words, lake, vehicle)
    known = list(rsd(*asked, "--format", "json").json[0])
    two = [known[-1], known[0]]
    chosen = rsd(*asked, "--columns", ", ".join(two), "--format", "json").json
    assert list(chosen[0]) == two
    table = rsd(*asked, "--columns", ",".join(two), "--rows", 1)
    assert [line.split() for line in table.out.splitlines() if line.split() == two]
    wrong = rsd(*asked, "--columns", known[0][:-1])
    assert (wrong.code, wrong.out) == (2, "")
    assert f"--columns: no such column: found {known[0][:-1]}" in wrong.message
    assert f"Did you mean {known[0]}?" in wrong.message


@pytest.mark.parametrize(("columns", "told"), [("fuel,fuel", "stands twice"), ("", "no column"),
                                               (" , ", "no column")])
def test_columns_that_can_mean_nothing(lake, columns, told):
    answer = rsd("query", lake, "SELECT fuel FROM passes", "--columns", columns)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.message


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "CSV"])
def test_the_suffix_of_the_file_decides_the_format(lake, tmp_path, suffix):
    out = tmp_path / f"x.{suffix}"
    answer = rsd("aggregate", lake, "--by", "fuel", "-o", out)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    read = {"csv": pl.read_csv, "json": pl.read_json, "parquet": pl.read_parquet}[suffix.lower()]
    assert read(out)["n_records"].to_list() == [62]


def test_a_format_that_is_given_wins_and_another_suffix_is_a_table(lake, tmp_path):
    rsd("query", lake, "SELECT 7 AS x", "-o", tmp_path / "x.csv", "--format", "json")
    assert json.loads((tmp_path / "x.csv").read_text(encoding="utf-8")) == [{"x": 7}]
    rsd("query", lake, "SELECT 7 AS x", "-o", tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text(encoding="utf-8") == "x\n-\n7\n"


# aggregate


def test_an_aggregate_for_people_starts_with_what_they_ask(lake):
    answer = rsd("aggregate", lake, "--by", "fuel,month", "--quantities", "no_ppm")
    heads = re.split(r"  +", answer.out.splitlines()[0])
    assert heads[:6] == ["fuel", "month", "n_records", "n_valid", "n_vehicles",
                         "mean_no_ppm [95 % CI]"]
    assert heads[6].startswith("rate_valid_")
    assert not {"ci_low_no_ppm", "mean_no_ppm"} & set(heads)
    full = rsd("aggregate", lake, "--by", "fuel,month", "--quantities", "no_ppm", "--format",
               "json").json
    assert {"mean_no_ppm", "ci_low_no_ppm", "ci_high_no_ppm"} <= set(full[0])
    assert len(heads) == len(full[0]) - 2


def test_an_interval_stands_beside_its_mean(lake):
    (row,) = rsd("aggregate", lake, "--by", "fuel", "--quantities", "opacity_pct", "--format",
                 "json").json
    told = rsd("aggregate", lake, "--by", "fuel", "--quantities", "opacity_pct").out
    mean, low, high = re.search(r"(\S+) \[(\S+), (\S+)\]", told.splitlines()[2]).groups()
    for text, name in ((mean, "mean"), (low, "ci_low"), (high, "ci_high")):
        assert float(text) == pytest.approx(row[f"{name}_opacity_pct"], rel=5e-3)


# explain


def test_a_story_says_once_who_it_is_and_then_pass_by_pass(lake, vehicle):
    lines = rsd("explain", lake, vehicle).out.splitlines()
    assert lines[0] == f"Vehicle {vehicle}: 2 passes"
    assert lines[1] == "  class heavy_truck, fuel diesel, emission stage 3"
    assert lines[2] == "Judged by cn_hj845_2017; times are those of Asia/Shanghai"
    assert lines[3].startswith("cn_hj845_2017: A vehicle is found when 2 consecutive")
    assert lines[4] == ("  opacity > 30 %: violation (HJ 845-2017, clause 5, table 1; number "
                        "UNVERIFIED)")
    assert lines[8].split() == ["local_time", "site_id", "pollutant", "value", "limit", "unit",
                                "verdict", "story", "reasons", "road_segment"]
    assert lines[11].split()[:7] == ["2026-09-01", "08:00:00", "A350203001", "opacity", "55", "30",
                                    "%"]
    assert not [line for line in lines[1:] if vehicle in line]


def test_a_finding_of_a_story_has_local_times_and_tells_an_unknown_power(lake, vehicle):
    told = rsd("explain", lake, vehicle).out.splitlines()[-1]
    assert told.startswith("violation of cn_hj845_2017: opacity, found at 2026-09-02 08:00:00, "
                           "proven by s1 and s2 (")
    assert "(2026-09-01 08:00:00: 55 %, VSP unknown; 2026-09-02 08:00:00: 55 %)" in told


def test_a_story_for_programs_has_every_column_in_utc(lake, vehicle):
    rows = rsd("explain", lake, vehicle, "--format", "json").json
    assert {"vehicle_id", "measured_at", "record_id", "regulation_id", "clause", "vehicle_class",
            "source_sha256", "source_line"} <= set(rows[0])
    assert rows[0]["measured_at"] == "2026-09-01T00:00:00Z"


def test_a_story_shows_as_many_rows_as_are_wanted(lake):
    short = rsd("explain", lake, "闽D77777/yellow")
    assert "50 of 180 rows; use --rows 0 for all" in short.err
    whole = rsd("explain", lake, "闽D77777/yellow", "--rows", 0)
    assert whole.err == ""
    assert whole.out.count("2026-09-01 08:00:00") == 180


# regulations


def test_a_regulation_as_json_has_its_numbers_and_no_path_of_this_machine():
    document = rsd("regulations", "cn_hj845_2017", "--format", "json").json
    assert document["id"] == "cn_hj845_2017"
    assert document["periods"][0]["start"] == "2017-07-27"
    assert {x["pollutant"]: x["value"] for x in document["periods"][0]["limits"]} == {
        "opacity": 30, "ringelmann": 1, "no": 1500}
    assert document["verb"]["settings"]
    assert "path" not in document


def test_a_regulation_in_words_keeps_the_width_and_every_word():
    told = rsd("regulations", "cn_hj845_2017").out
    assert max(map(width_of, told.splitlines())) <= 100
    assert "Not compared with the law's own text" in told
    assert rsd("regulations", "cn_hj845_2017", "--format", "csv").code == 2


def test_a_regulation_without_limits_says_that_it_refuses():
    lines = rsd("regulations").out.splitlines()
    (line,) = [line for line in lines if line.startswith("cn_bj_db11_318_2022")]
    assert line.endswith("no limits given: refuses to run")


# run


def run_of(monkeypatch, summary):
    monkeypatch.setattr(library, "run", lambda *_, **__: summary)


def test_a_run_lists_only_the_files_that_want_a_look(lake, monkeypatch):
    plain = [FileSummary(f"f{k:03}.csv", records=1, accepted=1) for k in range(600)]
    odd = [FileSummary("r.csv", state="refused", error="r.csv: torn"),
           FileSummary("q.csv", records=100, accepted=99, quarantined=1),
           FileSummary("c.csv", records=1, accepted=1, corrected=1),
           FileSummary("n.csv", records=1, accepted=1, notices=["its clock is odd"]),
           FileSummary("m.csv", records=1, accepted=1, notices=["its clock is odd"])]
    run_of(monkeypatch, RunSummary("x", "y", files=[*plain, *odd], notices=["no file in z"]))
    answer = rsd("run", lake, "x")
    assert answer.code == 3
    assert "5 of 605 files want a look (--files lists all)" in answer.out
    assert "f001.csv" not in answer.out
    for file in odd:
        assert f"\n{file.file} " in answer.out
    assert "rsd: no file in z\n" in answer.err
    assert "rsd: n.csv and 1 more: its clock is odd\n" in answer.err
    assert answer.err.count("its clock") == 1
    assert "605 files" in answer.out.splitlines()[-1]
    every = rsd("run", lake, "x", "--files")
    assert every.out.count("\nf") == 600 + 1  # and the head
    assert "rows" not in every.err
    assert len(rsd("run", lake, "x", "--format", "json").json["files"]) == 605


def test_a_run_without_anything_odd_prints_the_account_alone(lake, monkeypatch):
    run_of(monkeypatch, RunSummary("x", "y", files=[FileSummary("f.csv", records=1, accepted=1)]))
    assert len(rsd("run", lake, "x").out.splitlines()) == 1


# Progress


def shown_while(monkeypatch, total, unit, *updates):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("ingest", total, unit) as update:
        for done, of in updates:
            update(done, of)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


def test_progress_without_a_total_is_a_wheel(monkeypatch):
    told = shown_while(monkeypatch, None, "bytes", (5, None))
    assert "ingest" in told
    assert not {"?", "%", "/"} & set(told)


def test_progress_in_bytes_says_percent_and_mebibytes_and_time_left(monkeypatch):
    told = shown_while(monkeypatch, None, "bytes", (0, 4 << 20), (1 << 20, 4 << 20))
    assert re.search(r"25% 1\.0/4\.0 MiB \S+ left", told)


# Commands that are suggested


def script(folder):
    path = folder / "rsd"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("called", "on_path", "typed"),
    [(".venv/bin/rsd", False, ".venv/bin/rsd"), ("/HERE/.venv/bin/rsd", False, ".venv/bin/rsd"),
     ("/HERE/.venv/bin/rsd", True, "rsd"), ("my tools/rsd", False, "'my tools/rsd'"),
     ("./rsd", False, "./rsd"), ("/HERE/pytest", False, "rsd")],
)
def test_the_program_is_named_as_one_can_type_it(tmp_path, monkeypatch, called, on_path, typed):
    script(tmp_path / ".venv" / "bin")
    script(tmp_path / "my tools")
    script(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [called.replace("/HERE", str(tmp_path))])
    monkeypatch.setenv("PATH", str(tmp_path / ".venv" / "bin") if on_path else "/nowhere")
    assert program.program() == typed
    assert program.command("run", "my lake") == f"{typed} run 'my lake'"


def test_the_demo_suggests_commands_with_the_paths_as_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = rsd("demo", "d", "--vehicles", 150, "--days", 1)
    assert answer.code == 0, answer.err
    suggested = answer.out.partition("Try next:\n")[2]
    assert "rsd quarantine d/lake" in suggested
    assert str(tmp_path) not in answer.out
    first = suggested.splitlines()[0].split()
    assert rsd(*first[1:]).code == 0


# Help


def options_of(command):
    return [p for p in command.params if isinstance(p, click.Option)]


def test_every_option_of_every_command_says_what_it_does():
    every = [*commands.commands.values(), *commands.commands["export"].commands.values()]
    mute = [(c.name, o.opts) for c in every for o in options_of(c) if not o.help]
    assert mute == []


def test_the_help_shows_defaults_and_every_group():
    assert "[default: 30000; x>=1]" in " ".join(rsd("simulate", "-h").out.split())
    told = rsd("aggregate", "--help").out
    assert [g for g in GROUPS if not re.search(rf"\b{g}\b", told)] == []


def test_the_help_names_the_quantities_that_are_averaged():
    told = rsd("aggregate", "--help").out
    assert [q for q in QUANTITIES if not re.search(rf"\b{q}\b", told)] == []


def test_the_help_of_simulate_names_its_first_day():
    assert f"{START:%Y-%m-%d}" in rsd("simulate", "--help").out
