"""Every fuzz target over its seeds, the driver of `make fuzz`, and what fuzzing has found."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intake_reading import read

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fuzz import TARGETS  # noqa: E402
from fuzz import __main__ as driver  # noqa: E402
from rsd.errors import RsdError  # noqa: E402
from rsd.exports.safety import json_blocks  # noqa: E402
from rsd.intake.format_file import read_format  # noqa: E402
from rsd.intake.lines import find_lines, keep_lines  # noqa: E402
from rsd.privacy import normalise_plate_expr  # noqa: E402

HEAD = b"\xef\xbb\xbfsite_id,measured_at,plate\n"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_over_its_seeds(name: str) -> None:
    target = importlib.import_module(f"fuzz.{name}")
    seeds = dict.fromkeys(target.seeds())
    assert len(seeds) > 5
    for seed in (b"", *seeds):
        target.check(seed)


def test_each_module_with_a_check_is_a_target() -> None:
    files = (ROOT / "fuzz").glob("*.py")
    assert {p.stem for p in files if "\ndef check(data" in p.read_text("utf-8")} == set(TARGETS)


def test_the_gate_answers_the_good_seeds_and_refuses_the_attacks() -> None:
    importlib.import_module("fuzz.gate").check_seeds_are_told_apart()


@pytest.mark.parametrize(("target", "seed", "word"), [
    ("plates", b"\0\xe9\x97\xbdD12345", "mask_plate"),
    ("splitter", b'\0\2"a","b"\n', "split_fields"),
    ("times", b"\0002024-05-01 10:00:00", "local_time"),
    ("archives", b"\1\0\0\0\0abc\n", "unpacked"),
])
def test_a_target_can_fail(target: str, seed: bytes, word: str,
                           monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"fuzz.{target}")
    module.check(seed)
    monkeypatch.setattr(module, word, lambda *_: "another")
    with pytest.raises(AssertionError):
        module.check(seed)


# --- the driver -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("python", "machine", "system", "is_there"), [
    ("3.11", "x86_64", "linux", True), ("3.12", "x86_64", "linux", True),
    ("3.13", "x86_64", "linux", True), ("3.14", "x86_64", "linux", False),
    ("3.12", "aarch64", "linux", False), ("3.11", "arm64", "darwin", False),
])
def test_the_marker_says_where_there_is_a_wheel(python: str, machine: str, system: str,
                                                is_there: bool) -> None:
    here = {"python_version": python, "platform_machine": machine, "sys_platform": system}
    assert driver.is_for_this_machine(here) is is_there


def test_without_a_wheel_it_says_so_and_passes(monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(driver, "is_for_this_machine", lambda: False)
    monkeypatch.setattr(sys, "argv", ["fuzz"])
    assert driver.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("NOT FUZZED: atheris has no wheel for Python 3.")
    assert "Only the property tests ran." in said


@pytest.mark.parametrize("is_found", [False, True])
def test_a_finding_fails_and_says_how_to_see_it_again(
    is_found: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = (ROOT / ".fuzz" / "findings" / "plates-crash-1",) if is_found else ()
    outcome = driver.Outcome("plates", 12_345, 67, paths, "AssertionError")
    monkeypatch.setattr(driver, "is_for_this_machine", lambda: True)
    monkeypatch.setattr(driver.importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(driver, "fuzz", lambda _name, _seconds: outcome)
    monkeypatch.setattr(sys, "argv", ["fuzz", "plates", "--seconds", "10"])
    assert driver.main() == is_found
    said = capsys.readouterr().out
    assert "12,345" in said
    assert ("python -m fuzz plates .fuzz/findings/plates-crash-1" in said) is is_found


def test_a_dictionary_is_quoted() -> None:
    assert driver.dictionary([b'a"\\', b"\xff b"]) == '"a\\x22\\x5c"\n"\\xff\\x20b"\n'


def test_an_input_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"\0abc")
    run = subprocess.run([sys.executable, "-m", "fuzz", "plates", str(tmp_path / "input")],
                         cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert "nothing wrong" in run.stdout


# --- findings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["0000-01-01T10:00:00+08:00", "1800-01-01T10:00:00+08:00",
                                  "2300-01-01T10:00:00Z", "9999-12-31T23:59:59-08:00"])
def test_a_time_with_an_offset_is_bounded_as_one_without(time: str) -> None:
    account = read(HEAD + f"S1,{time},P\n".encode())
    assert account.bad == [(2, "impossible_time", "measured_at")]


@pytest.mark.parametrize("mark", ["\u061c", "\u180e", "\u206a", "\ufff9", "\U000e0041"])
def test_a_mark_that_nobody_sees_makes_no_other_plate(mark: str) -> None:
    frame = pl.DataFrame({"p": [f"闽D{mark}12345"]})
    assert frame.select(normalise_plate_expr("p")).item() == "闽D12345"


@pytest.mark.parametrize("line", ["columns = ", "names = []"])
def test_a_format_file_that_lacks_a_key_is_refused_with_its_name(line: str, tmp_path: Path) -> None:
    built_in = ROOT / "rsd" / "intake" / "formats" / "rsd.toml"
    kept = [x for x in built_in.read_text("utf-8").splitlines() if not x.startswith(line)]
    path = tmp_path / "vendor.toml"
    path.write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(RsdError, match=r"vendor\.toml"):
        read_format(path)


@pytest.mark.parametrize("value", ["'infinity'::DATE", "'-infinity'::TIMESTAMP"])
def test_an_infinite_date_in_an_answer_is_no_panic(value: str) -> None:
    session, _, _ = importlib.import_module("fuzz.gate").opened()
    try:
        b"".join(json_blocks(session.query(f"SELECT {value} AS t")))
    except RsdError:
        pass
    except pl.exceptions.PanicException as error:
        raise AssertionError(str(error)) from None


@pytest.mark.parametrize("text", ["FROM L SELECT x'\ufffd\ufffd'ORDER BY C LIMIT 2"])
def test_a_query_that_does_not_parse_is_refused_whatever_its_characters(text: str) -> None:
    session, _, _ = importlib.import_module("fuzz.gate").opened()
    with pytest.raises(RsdError):
        session.query(text)


def test_kept_lines_do_not_run_together() -> None:
    data = b"a\rb\n\n"
    assert keep_lines(data, find_lines(data), np.array([True, False, True])) == b"a\n\n"
