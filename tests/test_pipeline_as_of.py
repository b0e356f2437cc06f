"""The list as it stood: every export can be made again, byte for byte, whatever came after it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SITES, dump, record, rsd

from rsd.errors import IntegrityError, UsageError
from rsd.keeping.compaction import compact
from rsd.keeping.purge import purge
from rsd.lake import Lake
from rsd.law import rulebook
from rsd.pipeline import as_of, reading
from rsd.pipeline.nightly import find_all, run
from rsd.pipeline.setup import init_lake

OVER = {"btgdjg": "55"}
SUFFIXES = ("csv", "xlsx", "parquet", "json", "geojson")


def first_lines() -> list[str]:
    return [record(jlbh="s1", **OVER, tp1="闽D12345_1.jpg"),
            record(jlbh="s2", jcsj="2026-09-02 08:00:00", **OVER),
            record(jlbh="n1", hphm="闽D88888", **HIGH_NO),
            record(jlbh="n2", hphm="闽D88888", jcsj="2026-09-03 08:00:00", **HIGH_NO),
            record(jlbh="c1", hphm="闽D77777", nojg="1200", noco2="80"),
            record(jlbh="q1") + ",too,many"]


def made_lake(folder: Path) -> Lake:
    for name, text in (("sites.csv", SITES), ("registry.csv", REGISTRY)):
        (folder / name).write_text(text, encoding="utf-8")
    lake, _ = init_lake(folder / "lake", sites=folder / "sites.csv",
                        registry=folder / "registry.csv")
    run(lake, [dump(folder / "a.csv", first_lines(), encoding="utf-8")])
    return lake


def change_everything(lake: Lake, folder: Path) -> None:
    """A correction that undoes a finding, late data, new settings, a stricter law, compaction."""
    run(lake, [dump(folder / "b.csv", [
        record(jlbh="s2", jcsj="2026-09-02 08:00:00"),  # s2 was no exceedance after all
        record(jlbh="late", hphm="闽D66666", jcsj="2026-08-20 08:00:00", **HIGH_NO),
        record(jlbh="q2", hphm="闽D66666") + ",x"], encoding="utf-8")])
    lake.configure(settings={"min_vehicles": 3, "replicate_seconds": 20.0})
    own = lake.path / "regulations"
    own.mkdir()
    text = (rulebook.BUILT_IN / "cn_hj845_2017.toml").read_text(encoding="utf-8")
    stricter = text.replace("value = 1500", "value = 900")
    assert stricter != text
    (own / "cn_hj845_2017.toml").write_text(stricter, encoding="utf-8")
    find_all(Lake.open(lake.path))
    assert compact(lake)
    (lake.path / "device_checks.csv").write_text(
        "site_id,line_id,checked_at,result\nA350203001,,2026-09-01,passed\n", encoding="utf-8")


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake, what was exported in its early days, and all that came after."""
    folder = tmp_path_factory.mktemp("time")
    lake = made_lake(folder)
    out = folder / "then"
    out.mkdir()
    for suffix in SUFFIXES:
        reading.export_list(Lake.open(lake.path), out / f"list.{suffix}")
    reading.export_list(Lake.open(lake.path), out / "plates.csv", show_plates=True)
    for name, words in COMMANDS.items():
        assert rsd(*(lake.path if w == "LAKE" else w for w in words), "-o", out / name).code == 0
    (folder / "instant").write_text(datetime.now(UTC).isoformat(), encoding="utf-8")
    change_everything(lake, folder)
    return folder


COMMANDS = {
    "aggregate.csv": ("aggregate", "LAKE", "--by", "road_segment,month"),
    "aggregate.parquet": ("aggregate", "LAKE", "--by", "fuel"),
    "query.json": ("query", "LAKE", "SELECT record_id, exceeds_no FROM passes ORDER BY ALL"),
    "runs.csv": ("query", "LAKE", "SELECT * FROM runs ORDER BY ALL"),
    "explain.csv": ("explain", "LAKE", "闽D12345"),
    "quarantine.csv": ("quarantine", "LAKE"),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_of_the_list_is_made_again(changed: Path, tmp_path: Path, suffix: str):
    old, new = changed / "then" / f"list.{suffix}", tmp_path / f"list.{suffix}"
    now = tmp_path / f"now.{suffix}"
    for to, options in ((new, ("--as-of", old)), (now, ())):
        assert rsd("export", "findings", changed / "lake", "-o", to, *options).code == 0
    assert new.read_bytes() == old.read_bytes()
    assert now.read_bytes() != old.read_bytes()
    companion = old.with_name(old.name + as_of.COMPANION)
    assert new.with_name(new.name + as_of.COMPANION).read_bytes() == companion.read_bytes()


def test_plates_in_clear_are_those_of_then(changed: Path, tmp_path: Path):
    old, new = changed / "then" / "plates.csv", tmp_path / "plates.csv"
    assert rsd("export", "findings", changed / "lake", "-o", new, "--plates", "--as-of", old,
               "--reason", "case 7").code == 0
    assert new.read_bytes() == old.read_bytes()
    assert "闽D12345".encode() in new.read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_answer_in_a_file_is_made_again(changed: Path, tmp_path: Path, name: str):
    words = [changed / "lake" if w == "LAKE" else w for w in COMMANDS[name]]
    old, new, now = changed / "then" / name, tmp_path / name, tmp_path / f"now.{name}"
    assert rsd(*words, "-o", new, "--as-of", f"{old}{as_of.COMPANION}").code == 0
    assert new.read_bytes() == old.read_bytes()
    assert rsd(*words, "-o", now).code == 0
    assert now.read_bytes() != old.read_bytes()


def test_an_instant_and_versions_do_as_well(changed: Path, tmp_path: Path):
    old = changed / "then" / "list.json"
    instant = (changed / "instant").read_text(encoding="utf-8")
    told = json.loads(old.with_name(f"list.json{as_of.COMPANION}").read_text(encoding="utf-8"))
    for number, when in enumerate((instant, f"findings={told['tables']['findings']}")):
        new = tmp_path / f"{number}.json"
        assert rsd("export", "findings", changed / "lake", "-o", new, "--as-of", when).code == 0
        assert new.read_bytes() == old.read_bytes(), when


def test_the_verdicts_are_those_of_the_law_of_then(changed: Path):
    ask = ("query", changed / "lake", "SELECT count(*) AS n FROM passes WHERE exceeds_no",
           "--format", "json")
    instant = (changed / "instant").read_text(encoding="utf-8")
    assert rsd(*ask, "--as-of", instant).json == [{"n": 2}]
    assert rsd(*ask).json == [{"n": 4}]


def test_the_settings_and_lists_of_then_count(changed: Path):
    then = as_of.at(Lake.open(changed / "lake"), str(changed / "then" / "list.csv"))
    now = as_of.open_at(changed / "lake", None)
    assert (then.settings["min_vehicles"], now.settings["min_vehicles"]) == (0, 3)
    from rsd.pipeline import kept

    assert not kept.list_file(then, "device_checks.csv").exists()
    assert kept.list_file(now, "device_checks.csv").is_file()


def test_a_provenance_says_what_it_was_made_from(changed: Path):
    path = changed / "then" / f"list.xlsx{as_of.COMPANION}"
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["format"] == as_of.FORMAT
    assert told["rsd"]
    assert told["tables"].keys() >= {"passes", "findings", "vehicles", "sites"}
    assert told["regulations"] == told["findings_by"] == {
        "cn_hj845_2017": rulebook.load("cn_hj845_2017").sha256}
    assert len(told["settings"]) == len(told["sha256"]) == 64
    assert told["rows"] == 2
    assert "D12345" not in path.read_text(encoding="utf-8")


def test_formats_with_room_carry_it_themselves(changed: Path):
    then = changed / "then"
    sha256 = rulebook.load("cn_hj845_2017").sha256
    assert pl.read_parquet_metadata(then / "list.parquet")[
        "rsd.regulation cn_hj845_2017"] == sha256
    geo = json.loads((then / "list.geojson").read_text(encoding="utf-8"))
    assert geo["provenance"]["version of findings"] == "0"
    from openpyxl import load_workbook

    book = load_workbook(then / "list.xlsx")
    texts = {str(cell.value) for row in book["provenance"].iter_rows() for cell in row}
    assert sha256 in texts


def test_what_was_exported_later_was_not_withdrawn_then(changed: Path, tmp_path: Path):
    ask = ("export", "findings", changed / "lake", "--withdrawn", "-o")
    assert rsd(*ask, tmp_path / "now.json").code == 0
    assert len(json.loads((tmp_path / "now.json").read_bytes())) == 1  # the correction undid one
    then = as_of.at(Lake.open(changed / "lake"), str(changed / "then" / "list.csv"))
    assert as_of.exported_versions(then) == []
    assert as_of.exported_versions(Lake.open(changed / "lake")) != []
    assert rsd(*ask, tmp_path / "then.json", "--as-of", changed / "then" / "list.csv").code == 0
    assert json.loads((tmp_path / "then.json").read_bytes()) == []


@pytest.mark.parametrize(("when", "said"), [
    ("2000-01-01", "not there yet"), ("2999-01-01", "yet to come"), ("yesterday", "no time"),
    ("nothing.csv", "no time"), ("", "no time"), ("x" * 5000, "no time"),
    ("passes=99", "no such version"), ("plates=1", "no such table"),
])
def test_a_time_that_cannot_be_shown_is_a_usage_error(changed: Path, when: str, said: str):
    answer = rsd("query", changed / "lake", "SELECT 1", "--as-of", when)
    assert answer.code == 2
    assert said in answer.message


def test_a_file_that_is_no_provenance(changed: Path, tmp_path: Path):
    for number, text in enumerate(("{", "[]", '{"format": "other"}')):
        path = tmp_path / f"{number}{as_of.COMPANION}"
        path.write_text(text, encoding="utf-8")
        answer = rsd("query", changed / "lake", "SELECT 1", "--as-of", path)
        assert (answer.code, "no provenance" in answer.message) == (2, True)


def test_a_date_is_the_end_of_its_day_in_the_lakes_zone(changed: Path):
    lake = Lake.open(changed / "lake")
    today = datetime.now(UTC) + timedelta(hours=8)  # Asia/Shanghai
    view = as_of.at(lake, today.date().isoformat())
    assert view.table("findings").version() == lake.table("findings").version()


# What is kept may be lost or changed: then nothing is shown


@pytest.fixture
def copy(changed: Path, tmp_path: Path) -> Path:
    shutil.copytree(changed / "lake", tmp_path / "lake")
    return tmp_path / "lake"


def ask(copy: Path, changed: Path) -> tuple[int, str]:
    answer = rsd("query", copy, "SELECT count(*) FROM passes WHERE exceeds_no", "--as-of",
                 changed / "then" / "list.csv")
    return answer.code, answer.err


def test_a_law_that_is_not_kept_any_more(changed: Path, copy: Path):
    assert ask(copy, changed)[0] == 0
    shutil.rmtree(copy / "open" / "law")
    code, said = ask(copy, changed)
    assert (code, "is not kept" in said) == (2, True)


def test_a_kept_law_that_was_changed(changed: Path, copy: Path):
    sha256 = rulebook.load("cn_hj845_2017").sha256
    path = copy / "open" / "law" / sha256 / "cn_hj845_2017.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("1500", "9999"), encoding="utf-8")
    code, said = ask(copy, changed)
    assert (code, "is not kept" in said) == (2, True)


def test_kept_settings_that_were_lost_or_changed(changed: Path, copy: Path):
    told = json.loads((changed / "then" / f"list.csv{as_of.COMPANION}").read_bytes())
    path = copy / "open" / "settings" / f"{told['settings']}.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("0.05", "0.5"), encoding="utf-8")
    assert ask(copy, changed)[0] == IntegrityError.exit_code
    path.unlink()
    assert ask(copy, changed)[0] == UsageError.exit_code


def test_rows_that_were_lost(changed: Path, copy: Path):
    Lake.open(copy).table("findings").files(0)[0].unlink()
    code, said = ask(copy, changed)
    assert (code, "missing" in said) == (6, True)


def test_rows_that_were_purged(changed: Path, copy: Path):
    lake = Lake.open(copy)
    purge(lake, date(2026, 8, 25), "the time to keep them is over")
    code, said = ask(copy, changed)
    assert (code, "removed by purge" in said) == (2, True)
    assert rsd("export", "findings", copy, "-o", copy / "now.csv").code == 0
    again = copy / "again.csv"  # what is exported after a purge can be made again
    assert rsd("export", "findings", copy, "-o", again, "--as-of", copy / "now.csv").code == 0
    assert again.read_bytes() == (copy / "now.csv").read_bytes()


def test_a_lake_of_an_earlier_rsd_says_that_it_kept_no_law(changed: Path, copy: Path):
    for folder in ("law", "settings"):
        shutil.rmtree(copy / "open" / folder)
    instant = (changed / "instant").read_text(encoding="utf-8")
    answer = rsd("query", copy, "SELECT 1", "--as-of", instant)
    assert answer.code == 0
    assert "today's are used" in answer.err


def test_another_rsd_says_so(changed: Path, tmp_path: Path):
    told = json.loads((changed / "then" / f"list.csv{as_of.COMPANION}").read_bytes())
    path = tmp_path / f"x{as_of.COMPANION}"
    path.write_text(json.dumps(told | {"rsd": "0.0.1"}), encoding="utf-8")
    answer = rsd("query", changed / "lake", "SELECT 1", "--as-of", path)
    assert "made by rsd 0.0.1" in answer.err


def test_exports_that_were_written_by_an_earlier_rsd_are_known(changed: Path, copy: Path):
    (copy / "restricted" / "exported_versions").write_text("0\n", encoding="utf-8")
    assert as_of.exported_versions(Lake.open(copy)) == [(0, None)]
    (copy / "restricted" / "exported_versions").write_text("x\n", encoding="utf-8")
    with pytest.raises(IntegrityError, match="list of exports"):
        as_of.exported_versions(Lake.open(copy))
