"""A dry run tells exactly what the ingest then does, and leaves every byte of the lake alone."""

from __future__ import annotations

import hashlib
import random
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from chain import HIGH_NO, REGISTRY, SEGMENTS, SITES, dump, record, rsd

from rsd.lake import Lake
from rsd.pipeline.dry_run import dry_run
from rsd.pipeline.ingest import ingest
from rsd.pipeline.setup import init_lake
from rsd.synthetic import simulate

SAMPLES = Path(__file__).resolve().parents[1] / "sample_data"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "city"
    simulate(out, vehicles=4000, days=2, seed=5)
    return out


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    for name, text in (("sites.csv", SITES), ("segments.json", SEGMENTS),
                       ("registry.csv", REGISTRY)):
        (tmp_path / name).write_text(text)
    return init_lake(tmp_path / "lake", sites=tmp_path / "sites.csv",
                     segments=tmp_path / "segments.json", registry=tmp_path / "registry.csv")[0]


@pytest.fixture(autouse=True)
def private_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def contents(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every path under a folder: mode, time of change, and the hash of its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_ctime_ns, hashlib.sha256(data).hexdigest())
    return found


def same(lake: Lake, paths: list[Path], **options: Any) -> None:
    """The dry run says what the ingest then does, and changes nothing in the lake."""
    before = contents(lake.path)
    foretold = dry_run(lake, paths, **options)
    assert contents(lake.path) == before
    done = ingest(lake, paths, **options)
    assert [asdict(f) for f in foretold.summary.files] == [asdict(f) for f in done.files]
    assert foretold.summary.totals() == done.totals()
    assert foretold.summary.exit_code(0.05) == done.exit_code(0.05)
    told = foretold.quarantined.group_by("file").agg(pl.col("records").sum())
    assert dict(told.iter_rows()) == {
        f.file: f.quarantined for f in done.files if f.quarantined}


def test_a_synthetic_city_comes_out_as_foretold(lake: Lake, city: Path) -> None:
    first = sorted((city / "dumps").glob("2026-09-01*"))
    same(lake, first)
    same(lake, [city / "dumps"])  # half of it is known


def test_samples_come_out_as_foretold(lake: Lake) -> None:
    same(lake, sorted(SAMPLES.glob("*.csv")))
    same(lake, sorted(SAMPLES.glob("*.csv")))


def test_damaged_files_come_out_as_foretold(lake: Lake, city: Path, tmp_path: Path) -> None:
    draw, paths = random.Random(8), []
    junk = [b",", b"\n", b'"', b"\0", b"\xff\xfe", b"x", b"\r", b"9" * 30, b""]
    for number, source in enumerate(sorted((city / "dumps").glob("*.csv"))[:8]):
        data = source.read_bytes()[:20_000]
        for _ in range(draw.randrange(40)):
            at = draw.randrange(600, len(data))
            data = data[:at] + draw.choice(junk) + data[at + draw.randrange(3):]
        paths.append(tmp_path / f"damaged-{number}.csv")
        paths[-1].write_bytes(data)
    (tmp_path / "no-dump.csv").write_bytes(b"a,b\n1,2\n")
    same(lake, [*paths, tmp_path / "no-dump.csv", tmp_path / "missing.csv"])


def test_every_kind_of_the_same_comes_out_as_foretold(lake: Lake, tmp_path: Path) -> None:
    one, two = record(jlbh="R1"), record(jlbh="R2", jcsj="2026-09-01 09:00:00")
    same(lake, [dump(tmp_path / "a.csv", [one, two, one])])
    changed = record(jlbh="R2", jcsj="2026-09-01 09:00:00", **HIGH_NO)
    paths = [dump(tmp_path / "again.csv", [one]), tmp_path / "a.csv",
             dump(tmp_path / "correction.csv", [changed])]
    foretold = dry_run(lake, paths).summary
    assert [f.state for f in foretold.files] == ["done", "already", "done"]
    assert (foretold.files[0].duplicates, foretold.files[2].corrected) == (1, 1)
    same(lake, paths)


def test_it_works_while_another_run_holds_the_lake(lake: Lake, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.csv", [record()])
    with Lake.open(lake.path).writer():
        assert dry_run(lake, [path]).summary.files[0].accepted == 1


def test_nothing_is_left_behind(lake: Lake, tmp_path: Path, private_temporary_folder: Path) -> None:
    path = dump(tmp_path / "a.csv", [record()])
    ingest(lake, [path])
    before = contents(lake.path)
    dry_run(lake, [dump(tmp_path / "b.csv", [record(jlbh="R9")])])
    assert not list(private_temporary_folder.iterdir())

    def interrupt(_done: int, _total: int) -> None:
        (staged,) = private_temporary_folder.iterdir()
        assert staged.stat().st_mode & 0o77 == 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dry_run(lake, [dump(tmp_path / "c.csv", [record(jlbh="R8")])], progress=interrupt)
    assert not list(private_temporary_folder.iterdir())
    assert contents(lake.path) == before


# -- the command line ---------------------------------------------------------------------------


def test_the_document_is_that_of_ingest_and_says_that_it_is_a_dry_run(
        lake: Lake, tmp_path: Path) -> None:
    path = dump(tmp_path / "a.csv", [record(), "torn,line", record(jlbh="R2", jcsj="no time")])
    foretold = rsd("ingest", lake.path, path, "--dry-run", "--format", "json")
    done = rsd("ingest", lake.path, path, "--format", "json")
    more = set(foretold.json) - set(done.json)
    assert more == {"dry_run", "quarantined_by_reason"}
    assert foretold.json["dry_run"] is True
    assert foretold.json["quarantined_by_reason"] == [
        {"file": "a.csv", "reason": "impossible_time", "column": "jcsj", "records": 1,
         "lines": [4]},
        {"file": "a.csv", "reason": "wrong_field_count", "column": None, "records": 1,
         "lines": [3]}]
    for part in ("files", "totals", "notices"):
        assert foretold.json[part] == done.json[part]
    assert foretold.code == done.code == 4


def test_a_dry_run_for_people_ends_with_that_nothing_was_written(
        lake: Lake, tmp_path: Path) -> None:
    answer = rsd("ingest", lake.path, dump(tmp_path / "a.csv", [record(), "torn"]), "--dry-run")
    assert "wrong_field_count" in answer.out
    assert answer.out.rstrip().endswith("dry run: nothing was written")
    assert "rsd quarantine" not in answer.err  # there is nothing in it
    assert Lake.open(lake.path).table("passes").version() == -1


# -- units in doubt -------------------------------------------------------------------------------


def in_m_s(city: Path, path: Path) -> Path:
    """A dump of the city whose speeds are in m/s."""
    header, *lines = sorted((city / "dumps").glob("*.csv"))[0].read_bytes().splitlines()
    for source in sorted((city / "dumps").glob("*.csv"))[1:12]:
        lines += source.read_bytes().splitlines()[1:]
    at = header.split(b",").index(b"clsd")
    rows = [line.split(b",") for line in lines]
    for row in rows:
        row[at] = b"%.3f" % (float(row[at]) / 3.6) if row[at] else b""
    path.write_bytes(b"\n".join([header, *map(b",".join, rows)]) + b"\n")
    return path


def test_a_wrong_unit_is_remarked_before_anything_is_committed(
        lake: Lake, city: Path, tmp_path: Path) -> None:
    path = in_m_s(city, tmp_path / "slow.csv")
    (file,) = dry_run(lake, [path]).summary.files
    (notice,) = file.notices
    assert notice.startswith("unit in doubt: column clsd (speed_km_h): declared km/h, likely m/s")
    same(lake, [path])


@pytest.mark.parametrize("by", ["option", "setting"])
@pytest.mark.parametrize("command", ["ingest", "run"])
def test_a_wrong_unit_refuses_the_file_where_that_is_wanted(
        lake: Lake, city: Path, tmp_path: Path, by: str, command: str) -> None:
    wrong = in_m_s(city, tmp_path / "slow.csv")
    right = dump(tmp_path / "right.csv", [record()])
    if by == "setting":
        lake.configure(settings={"refuse_doubtful_units": True})
    options = ["--refuse-doubtful-units"] if by == "option" else []
    answer = rsd(command, lake.path, wrong, right, "--format", "json", *options)
    assert answer.code == 3
    first, second = answer.json["files"]
    assert (first["state"], first["accepted"], first["records"]) == ("refused", 0, 0)
    assert "likely m/s" in first["error"]
    assert (second["state"], second["accepted"]) == ("done", 1)
    assert Lake.open(lake.path).table("passes").scan().collect().height == 1
    vehicles = Lake.open(lake.path).table("vehicles").scan().collect()
    assert vehicles.height == 2  # of the registry alone


def test_a_large_file_that_is_refused_leaves_no_trace(
        lake: Lake, city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsd.pipeline.ingest.SMALL_BYTES", 1000)  # so that it is read as a stream
    wrong = in_m_s(city, tmp_path / "slow.csv")
    summary = ingest(lake, [wrong], refuse_doubtful_units=True)
    assert summary.files[0].state == "refused"
    assert Lake.open(lake.path).table("passes").version() == -1
    assert not list((lake.path / "open" / "passes").glob("part-*"))
