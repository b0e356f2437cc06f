"""Ingest of archives, workbooks and standard input: one account, each dump exactly once."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from chain import HEADER, dump, record
from packing import PACKINGS, raw_zip, sheet_of, zipped, zst

from rsd.errors import InputRefused, StorageError
from rsd.lake import Lake
from rsd.pipeline import spool
from rsd.pipeline.ingest import ingest
from rsd.pipeline.nightly import run
from rsd.pipeline.reading import quarantine
from rsd.pipeline.setup import init_lake
from rsd.storage import disk


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return init_lake(tmp_path / "lake")[0]


def text(*records: str) -> bytes:
    return "".join(f"{one}\n" for one in (",".join(HEADER), *records)).encode("gb18030")


def written(folder: Path, data: bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def states(lake: Lake, *paths: str | Path) -> list[tuple[str, str, int]]:
    return [(f.file, f.state, f.accepted) for f in ingest(lake, paths).files]


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def spools(lake: Lake) -> list[Path]:
    return [p for p in lake.path.rglob("*") if "stdin" in p.name]


A, B = text(record(jlbh="1"), record(jlbh="2")), text(record(jlbh="3"), "broken")


def test_each_member_is_a_file_of_the_account(lake: Lake, tmp_path: Path):
    data = raw_zip([(b"a.csv", A), (b"../b.csv", B), (b"sub/b.csv", B), (b"c.csv", A[:-9] + b"!")],
                   flags=0x800)
    summary = ingest(lake, [written(tmp_path, data, "z.zip")])
    assert [(f.file, f.state, f.records, f.accepted, f.quarantined) for f in summary.files] == [
        ("z.zip/a.csv", "done", 2, 2, 0), ("z.zip/../b.csv", "refused", 0, 0, 0),
        ("z.zip/sub/b.csv", "done", 2, 1, 1), ("z.zip/c.csv", "done", 2, 0, 1)]
    assert summary.exit_code(1.0) == 3
    assert "leaves its folder" in str(summary.files[1].error)
    kept = lake.table("quarantine").scan().collect()
    assert sorted(kept["file"]) == ["z.zip/c.csv", "z.zip/sub/b.csv"]
    assert set(kept["source_sha256"]) == {summary.files[2].sha256, summary.files[3].sha256}


def test_a_member_is_known_wherever_it_comes_from(lake: Lake, tmp_path: Path):
    both = written(tmp_path, zipped(("a.csv", A), ("b.csv", B)), "z.zip")
    assert states(lake, both) == [("z.zip/a.csv", "done", 2), ("z.zip/b.csv", "done", 1)]
    assert states(lake, both) == [("z.zip/a.csv", "already", 0), ("z.zip/b.csv", "already", 0)]
    other = written(tmp_path, zipped(("x.csv", A), ("y.csv", text(record(jlbh="9")))), "y.zip")
    assert states(lake, other) == [("y.zip/x.csv", "already", 0), ("y.zip/y.csv", "done", 1)]
    assert states(lake, written(tmp_path, B, "plain.csv")) == [("plain.csv", "already", 0)]
    twice = written(tmp_path, zipped(("p.csv", text(record(jlbh="8"))),
                                     ("q.csv", text(record(jlbh="8")))), "t.zip")
    assert states(lake, twice) == [("t.zip/p.csv", "done", 1), ("t.zip/q.csv", "already", 0)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_same_records_in_other_packings_are_duplicates(
        lake: Lake, tmp_path: Path, packing: str):
    ingest(lake, [written(tmp_path, A, "a.csv")])
    (file,) = ingest(lake, [written(tmp_path, PACKINGS[packing](A), "b")]).files
    if packing in ("plain", "zip", "zip stored"):
        assert (file.state, file.duplicates) == ("already", 0)
    else:
        assert (file.state, file.records, file.duplicates) == ("done", 2, 2)


def test_a_workbook_and_what_is_to_be_said(lake: Lake, tmp_path: Path):
    path = written(tmp_path, sheet_of("title\n\n" + A.decode("gb18030")), "a.xlsx")
    (file,) = ingest(lake, [path]).files
    assert (file.state, file.accepted, file.format) == ("done", 2, "cn_platform")
    assert any("the header is row 3" in notice for notice in file.notices)
    (file,) = ingest(lake, [written(tmp_path, zipped(("__MACOSX/._a", b"x"), ("a.csv", A)), "z")]
                     ).files
    assert any("__MACOSX/._a" in notice for notice in file.notices)
    assert ingest(lake, [path]).files[0].state == "already"


def test_progress_ends_at_all_bytes_of_archives_too(lake: Lake, tmp_path: Path):
    paths = [written(tmp_path, zipped(("a.csv", A), ("b.csv", B), ("c.txt", b"none")), "z.zip"),
             written(tmp_path, gzip.compress(A), "a.gz")]
    ticks: list[tuple[int, int]] = []
    ingest(lake, [*paths, paths[0]], progress=lambda done, total: ticks.append((done, total)))
    total = sum(p.stat().st_size for p in paths)
    assert ticks[-1] == (total, total)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)


def test_a_plate_in_utf16_is_masked(lake: Lake, tmp_path: Path):
    for k, encoding in enumerate(("utf-16", "utf-16-le", "utf-16-be")):
        data = text(record(jlbh=str(k)), record(jlbh=f"x{k}", btgdjg="abc", hphm="闽D98765")
                    ).decode("gb18030").encode(encoding)
        lost = data.index("闽D98765".encode("utf-16-be" if "be" in encoding else "utf-16-le")) - 31
        for name, dump_ in (("whole", data), ("lost", data[:lost] + data[lost + 1:])):
            ingest(lake, [written(tmp_path, dump_, f"{name}{k}.csv")])
    shown = quarantine(lake)
    assert shown.height == 6
    assert not shown["raw"].str.contains("98765").any()
    assert not shown["raw"].str.contains("9.8.7.6.5").any()
    assert quarantine(lake, show_plates=True)["raw"].str.contains("闽D98765").sum() == 3


# Standard input


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zst, lambda d: d.decode("gb18030").encode(
    "utf-16")])
def test_standard_input_is_a_dump(lake: Lake, monkeypatch: pytest.MonkeyPatch, pack):
    data, seen = pack(B), []
    honest = spool.disk.write_all

    def watched(descriptor: int, piece: bytes) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        honest(descriptor, piece)

    monkeypatch.setattr(spool.disk, "write_all", watched)
    give(monkeypatch, data)
    (file,) = run(lake, ["-"]).files
    assert (file.file, file.state, file.records, file.accepted) == ("-", "done", 2, 1)
    assert seen[0] == 0o600
    assert spools(lake) == []
    assert lake.table("quarantine").scan().collect()["file"].to_list() == ["-"]
    give(monkeypatch, data)
    assert states(Lake.open(lake.path), "-") == [("-", "already", 0)]


def test_standard_input_among_files_and_twice(
        lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    give(monkeypatch, zipped(("a.csv", A), ("b.csv", b"")))
    path = written(tmp_path, B, "b.csv")
    summary = ingest(lake, ["-", path, "-"])
    assert [(f.file, f.state) for f in summary.files] == [
        ("-/a.csv", "done"), ("-/b.csv", "refused"), ("b.csv", "done"), ("-/a.csv", "already"),
        ("-/b.csv", "refused")]
    assert str(summary.files[1].error).startswith("standard input/b.csv: ")


@pytest.mark.parametrize("data", [b"", b"no dump\n", gzip.compress(A)[:-3]])
def test_a_refused_standard_input_is_named_so(
        lake: Lake, monkeypatch: pytest.MonkeyPatch, data: bytes):
    give(monkeypatch, data)
    (file,) = ingest(lake, ["-"]).files
    assert (file.file, file.state) == ("-", "refused")
    assert str(file.error).startswith("standard input")
    assert str(lake.path) not in str(file.error)
    assert spools(lake) == []


def test_nothing_stays_of_standard_input_on_an_error(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    write_all = disk.write_all

    def full(descriptor: int, data: bytes) -> None:
        if not data.startswith(b"{"):  # the audit and the status, which come first, have room
            raise OSError(28, "No space left on device")
        write_all(descriptor, data)

    give(monkeypatch, A)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_all", full)
        with pytest.raises(StorageError, match=r"standard input cannot be kept.*No space"):
            ingest(lake, ["-"])
    assert spools(lake) == []
    monkeypatch.setattr(spool, "MAX_UNPACKED_BYTES", 10)
    give(monkeypatch, A)
    with pytest.raises(InputRefused, match="standard input has no end"):
        ingest(lake, ["-"])
    assert spools(lake) == []
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputRefused, match="no standard input"):
        ingest(lake, ["-"])


def test_what_a_killed_run_left_is_removed_by_the_next(lake: Lake, tmp_path: Path):
    ingest(lake, [written(tmp_path, B, "b.csv")])
    left = lake.table("quarantine").folder / ".stdin.0123abcd.tmp"
    left.write_bytes(A)
    ingest(lake, [written(tmp_path, A, "a.csv")])
    assert not left.exists()


def test_a_pipe_by_name_is_refused_with_a_way_out(lake: Lake, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (file,) = ingest(lake, [tmp_path / "pipe"]).files
    assert file.state == "refused"
    assert "rsd ingest LAKE -" in str(file.error)


def test_the_command_takes_a_pipe(lake: Lake, tmp_path: Path):
    path = dump(tmp_path / "a.csv", [record()])
    call = [sys.executable, "-c", "from cli.main import main; main()", "ingest", str(lake.path),
            "-", "--format", "json"]
    done = subprocess.run(call, input=gzip.compress(path.read_bytes()), capture_output=True,
                          check=False, cwd=Path(__file__).resolve().parents[1])
    assert done.returncode == 0, done.stderr
    assert b'"file": "-"' in done.stdout
    assert lake.table("passes").scan().select(pl.len()).collect().item() == 1
