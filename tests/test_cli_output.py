"""What a command prints: complete for machines, readable for people, harmless for terminals."""

import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cli.output import emit, emit_document
from cli.progress import progress
from cli.tables import Look
from rsd.errors import StorageError, UsageError

ROOT = Path(__file__).resolve().parents[1]
FRAME = pl.DataFrame(
    {
        "road_segment": ["环岛路", "=1+1"],
        "n_tested_co": [1200, 3],
        "rate_valid_co": [0.0375, None],
        "share": [0.5, 0.25],
        "mean_co_pct": [0.1234567, float("nan")],
        "last_at": [datetime(2026, 3, 1, 0, 30, tzinfo=UTC), None],
        "reasons": [["PLUME_LOW", "fuel_conflict"], []],
    },
)


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self):
        return True


class Pipe(io.TextIOWrapper):
    """A standard output whose bytes can be looked at."""

    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def bytes(self):
        self.flush()
        return self.buffer.getvalue()


def emitted(frame, name, **options):
    pipe = Pipe()
    emit(frame, name, file=pipe, **options)
    return pipe.bytes()


def test_json_is_complete_and_plain():
    frame = pl.concat([FRAME] * 60)
    rows = json.loads(emitted(frame, "json"), parse_constant=pytest.fail)
    assert len(rows) == 120
    assert rows[0] == {
        "road_segment": "环岛路", "n_tested_co": 1200, "rate_valid_co": 0.0375, "share": 0.5,
        "mean_co_pct": 0.1234567, "last_at": "2026-03-01T00:30:00Z",
        "reasons": ["PLUME_LOW", "fuel_conflict"],
    }
    assert rows[1]["mean_co_pct"] is None
    assert "环岛路".encode() in emitted(frame, "json")


def test_json_of_nothing_is_an_empty_array():
    assert json.loads(emitted(FRAME.clear(), "json")) == []


def test_csv_has_fractions_and_no_formula():
    lines = emitted(FRAME, "csv").decode().splitlines()
    assert lines == [
        "road_segment,n_tested_co,rate_valid_co,share,mean_co_pct,last_at,reasons",
        "环岛路,1200,0.0375,0.5,0.1234567,2026-03-01T00:30:00Z,PLUME_LOW;fuel_conflict",
        "'=1+1,3,,0.25,,,\"\"",
    ]
    assert b"\n=1+1," in emitted(FRAME, "csv", raw_csv=True)


def test_parquet_comes_back():
    frame = FRAME.drop("mean_co_pct")
    assert pl.read_parquet(io.BytesIO(emitted(frame, "parquet"))).equals(frame)


def test_parquet_is_refused_on_a_terminal():
    with pytest.raises(UsageError, match="-o"):
        emit(FRAME, "parquet", file=Terminal())


def test_a_plain_table_aligns_also_chinese_and_says_percent():
    text = emitted(FRAME, "table", look=Look(title="Rates", percent=["share"])).decode()
    assert text.splitlines() == [
        "Rates",
        "",
        "road_segment  n_tested_co  rate_valid_co    share  mean_co_pct  last_at"
        "               reasons",
        "------------  -----------  -------------  -------  -----------  --------------------"
        "  ------------------------",
        "环岛路               1200         3.75 %  50.00 %     0.123457  2026-03-01T00:30:00Z"
        "  PLUME_LOW, fuel_conflict",
        "=1+1                    3                 25.00 %",
    ]


@pytest.mark.parametrize("stream", [Pipe, Terminal])
def test_a_table_shows_fifty_rows_and_says_so(capsys, stream):
    target = stream()
    emit(pl.DataFrame({"n": range(1234)}), "table", file=target)
    text = target.getvalue() if stream is Terminal else target.bytes().decode()
    numbers = [int(line) for line in text.split() if line.isdigit()]
    assert numbers == list(range(50))
    assert capsys.readouterr().err == "50 of 1,234 rows; use --rows 0 or --format csv for all\n"


def test_a_short_table_says_nothing_on_stderr(capsys):
    emitted(pl.DataFrame({"n": range(50)}), "table")
    assert capsys.readouterr() == ("", "")


def test_a_table_for_a_terminal_takes_brackets_as_text():
    terminal = Terminal()
    frame = pl.DataFrame({"[red]": ["[bold]x[/bold]"]})
    emit(frame, "table", file=terminal, look=Look(title="[i]t"))
    for text in ("[red]", "[bold]x[/bold]", "[i]t"):
        assert text in terminal.getvalue()


def commands_in(text):
    """What a terminal would obey."""
    return set(text) & set("\x1b\x9b\u202e\x07")


@pytest.mark.parametrize("name", ["table", "json", "csv"])
def test_data_cannot_command_a_terminal(name):
    terminal = Terminal()
    emit(pl.DataFrame({"t": ["a\x1b[2J\x9b31m\u202eb\x07\nc"]}), name, file=terminal)
    assert commands_in(terminal.getvalue()) == set()
    assert "ab c" in terminal.getvalue()


def test_data_in_a_plain_table_stays_on_its_line():
    lines = emitted(pl.DataFrame({"t": ["a\nb\x1b[31m"]}), "table").decode().splitlines()
    assert lines == ["t", "---", "a b"]


def test_a_table_survives_a_terminal_without_the_characters():
    pipe = Pipe("ascii")
    emit(pl.DataFrame({"t": ["环"]}), "table", file=pipe)
    assert pipe.bytes() == b"t\n--\n?\n"


def test_machine_formats_are_utf8_whatever_the_terminal_says():
    pipe = Pipe("ascii")
    emit(pl.DataFrame({"t": ["环"]}), "csv", file=pipe)
    assert pipe.bytes() == "t\n环\n".encode()


def test_stdout_is_the_default(capsysbinary):
    emit(pl.DataFrame({"a": [1]}), "csv")
    emit(pl.DataFrame({"a": [2]}), "csv", "-")
    assert capsysbinary.readouterr().out == b"a\n1\na\n2\n"


def test_a_stream_of_text_or_of_bytes_will_do():
    text, raw = io.StringIO(), io.BytesIO()
    emit(FRAME, "json", file=text)
    emit(FRAME, "json", file=raw)
    assert text.getvalue() == raw.getvalue().decode()
    emit(FRAME, "table", file=raw)
    assert raw.getvalue().decode().startswith(text.getvalue() + "road_segment")


@pytest.mark.parametrize("name", ["table", "json", "csv", "parquet"])
def test_a_file_holds_what_stdout_would(tmp_path, capsysbinary, name):
    path = tmp_path / "out"
    emit(FRAME, name, str(path))
    assert capsysbinary.readouterr().out == b""
    mark = b"\xef\xbb\xbf" if name == "csv" else b""
    assert path.read_bytes() == mark + emitted(FRAME, name)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(StorageError, match="Make the folder"):
        emit(FRAME, "csv", str(tmp_path / "no" / "a.csv"))


@pytest.mark.parametrize("call", [emit, emit_document])
def test_an_unknown_format_is_refused(call):
    with pytest.raises(UsageError, match="--format: no such output format: found 'xml'"):
        call(FRAME if call is emit else {}, "xml")


def test_a_document_has_no_csv():
    with pytest.raises(UsageError, match="expected table, json"):
        emit_document({}, "csv")


SUMMARY = {
    "run_id": "r1", "started_at": datetime(2026, 3, 1, tzinfo=UTC), "share": float("nan"),
    "files": [{"file": "a\x1b[2J.csv", "records": 3, "error": None},
              {"file": "环.csv", "records": 12, "error": "torn"}],
    "totals": {"records": 15, "by": {"done": 2}}, "raw": b"\xff",
    "rows": pl.DataFrame({"x": [1.5]}), "none": [],
}


def test_a_document_as_json():
    pipe = Pipe()
    emit_document(SUMMARY, "json", file=pipe)
    assert json.loads(pipe.bytes(), parse_constant=pytest.fail) == {
        **SUMMARY, "started_at": "2026-03-01T00:00:00Z", "share": None, "raw": "\\xff",
        "rows": [{"x": 1.5}],
    }
    assert "环".encode() in pipe.bytes()


def test_a_document_on_a_terminal_cannot_command_it():
    for name in ("json", "table"):
        terminal = Terminal()
        emit_document(SUMMARY | {"c1": "\x9b2J\u202e"}, name, file=terminal)
        assert commands_in(terminal.getvalue()) == set()
        assert "环" in terminal.getvalue()


def test_a_name_of_a_file_that_is_no_text_passes(tmp_path):
    emit_document({"file": "a\udcff"}, "json", str(tmp_path / "s.json"))
    assert json.loads((tmp_path / "s.json").read_bytes()) == {"file": "a\udcff"}


def test_a_document_as_tables():
    pipe = Pipe()
    emit_document(SUMMARY, "table", file=pipe)
    text = pipe.bytes().decode()
    assert "run_id      r1\nstarted_at  2026-03-01T00:00:00Z\n" in text
    assert "files\n\nfile    records  error\n------  -------  -----\na.csv         3\n" in text
    assert "环.csv       12  torn\n" in text
    assert "totals\n\nwhat     value\n-------  ------\nrecords  15\nby       done=2\n" in text


def run(program, **options):
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False,
                          capture_output=True, **options)


def test_nothing_heavy_is_loaded_before_it_is_needed():
    done = run("import sys, cli.output, cli.progress\n"
               "with cli.progress.progress('x', 3) as update: update(1)\n"
               "print({'rich', 'polars', 'xlsxwriter'} & set(sys.modules))")
    assert (done.stdout, done.stderr) == (b"set()\n", b"")


LONG = ("import polars as pl\nfrom cli.output import emit\n"
        "emit(pl.DataFrame({'n': range(200_000)}), 'csv')\n")


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", LONG], cwd=ROOT, stdout=writing,
                               stderr=subprocess.PIPE)
    os.close(writing)
    assert os.read(reading, 2) == b"n\n"
    os.close(reading)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


@pytest.mark.parametrize("rows", ["3", "200_000"])
def test_a_full_disk_behind_stdout_is_said_once(rows):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    program = LONG.replace("200_000", rows).replace("emit(pl", "try:\n    emit(pl") + (
        "except Exception as error:\n    raise SystemExit(f'{error.exit_code} {error}')\n")
    with full.open("wb") as stdout:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False,
                              stdout=stdout, stderr=subprocess.PIPE)
    assert done.stderr.startswith(b"6 standard output: cannot be written: found no space left")
    assert done.stderr.count(b"\n") == 1


def test_progress_is_silent_away_from_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress("a.csv", 10) as update:
        update(3)
        update(10, 10)
    assert stream.getvalue() == ""


def test_progress_shows_a_bar_on_a_terminal(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress("[red]a\u202e.csv", 10) as update:
        update(3)
        update(12, 12)
    assert "[red]a.csv" in terminal.getvalue()
    assert "12 of 12 steps" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert capsys.readouterr().out == ""
