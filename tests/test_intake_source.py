"""A dump as bytes: hashed, unpacked, cut at line ends; what is no whole file is refused."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intake_reading import read_path

from rsd.errors import InputRefused
from rsd.intake import chunks as chunks_module
from rsd.intake import packings, source
from rsd.intake.source import fingerprint, stream_chunks

ROWS = b"a,b\n1,2\r\n3,4\r5,6\n"
DUMP = b"site_id,measured_at,speed_km_h\n" + b"S1,2024-05-01 10:00:00,50\n" * 40


def written(folder: Path, data: bytes, name: str = "dump.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def chunks(path: Path, size: int = 1 << 20) -> list[source.Chunk]:
    return list(stream_chunks(fingerprint(path), size))


def test_a_file_is_known_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    found = fingerprint(written(tmp_path, ROWS))
    assert (found.sha256, found.size, found.name, found.is_packed) == (
        hashlib.sha256(ROWS).hexdigest(), len(ROWS), "dump.csv", False)
    packed = gzip.compress(ROWS)
    found = fingerprint(written(tmp_path, packed))  # by its first bytes, whatever its name
    assert (found.sha256, found.is_packed) == (hashlib.sha256(packed).hexdigest(), True)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_chunks_are_whole_lines_and_together_the_file(tmp_path: Path, size: int) -> None:
    parts = chunks(written(tmp_path, ROWS), size)
    assert b"".join(p.data for p in parts) == ROWS
    at = 0
    for part in parts:
        assert part.offset == at
        at += len(part.data)
        assert part.data.endswith((b"\n", b"\r"))
        assert not part.torn
    assert [line for p in parts for line in p.data.splitlines()] == ROWS.splitlines()


@given(st.binary(max_size=80).map(lambda b: bytes(b"\r\n,a"[x % 4] for x in b)),
       st.integers(1, 20))
def test_no_chunk_ends_inside_a_line_or_a_line_end(
        tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int) -> None:
    path = written(tmp_path_factory.mktemp("cut"), b"h\n" + data)
    parts = chunks(path, size)
    whole = b"h\n" + data
    assert b"".join(p.data for p in parts) == whole
    assert [line for p in parts for line in p.data.splitlines()] == whole.splitlines()
    assert [p.torn for p in parts] == [False] * (len(parts) - 1) + [whole[-1:] not in b"\r\n"]


def test_lone_cr_file_is_cut_too(tmp_path: Path) -> None:
    data = b"a,b\r" + b"1,2\r" * 50
    parts = chunks(written(tmp_path, data), 16)
    assert len(parts) > 5
    assert b"".join(p.data for p in parts) == data


@pytest.mark.parametrize("size", [16, 1 << 20])
def test_the_last_line_without_an_end_is_torn(tmp_path: Path, size: int) -> None:
    parts = chunks(written(tmp_path, ROWS + b"7,0."), size)
    assert [p.torn for p in parts] == [False] * (len(parts) - 1) + [True]


def test_gzip_is_unpacked_several_members_too(tmp_path: Path) -> None:
    packed = gzip.compress(DUMP[:100]) + gzip.compress(DUMP[100:])
    account = read_path(written(tmp_path, packed, "dump.csv.gz"), size=64)
    assert account.frame.height == 40
    assert b"".join(c.data for c in chunks(tmp_path / "dump.csv.gz", 64)) == DUMP


def broken_archives() -> dict[str, bytes]:
    packed = gzip.compress(DUMP)
    checksum = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]
    length = packed[:-4] + bytes([packed[-4] ^ 1]) + packed[-3:]
    middle = packed[:len(packed) // 2] + b"\xff\xff\xff" + packed[len(packed) // 2 + 3:]
    return {
        "half": packed[:len(packed) // 2], "no trailer": packed[:-8], "trailer cut": packed[:-1],
        "checksum": checksum, "length": length, "only magic": packed[:2], "damaged inside": middle,
        "second member cut": packed + packed[:-9], "rubbish behind": packed + b"rubbish",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "data"), broken_archives().items(), ids=lambda x: str(x)[:20])
def test_a_broken_archive_is_refused_whole(tmp_path: Path, kind: str, data: bytes) -> None:
    path = written(tmp_path, data, "dump.csv.gz")
    with pytest.raises(InputRefused, match="gzip archive is broken") as caught:
        read_path(path, size=64)
    assert str(path) in str(caught.value)
    assert "Ask the sender" in str(caught.value)
    assert path.read_bytes() == data  # refused, and kept


def test_an_archive_of_nothing_is_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="empty"):
        read_path(written(tmp_path, gzip.compress(b""), "dump.csv.gz"))


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packings, "RATIO_FREE_BYTES", 1 << 20)
    packed = gzip.compress(b"site_id,measured_at\n" + b"\n" * (16 << 20))
    path = written(tmp_path, packed, "dump.csv.gz")
    seen: list[int] = []
    parts = (seen.append(len(p.data)) for p in stream_chunks(fingerprint(path), 1 << 16))
    with pytest.raises(InputRefused, match=r"beyond the limit.*at most 200 to 1.*unpack it"):
        list(parts)
    assert 0 < sum(seen) <= max(200 * len(packed), 1 << 20)


def test_a_bomb_without_line_ends_is_stopped(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "_MAX_LINE_BYTES", 1 << 20)
    path = written(tmp_path, gzip.compress(b"a" * (3 << 20)), "dump.csv.gz")
    with pytest.raises(InputRefused, match="a line is too long"):
        chunks(path, 1 << 18)


def test_a_small_archive_may_unpack_as_far_as_it_likes(tmp_path: Path) -> None:
    data = b"site_id,measured_at,speed_km_h\n" + b"\n" * (4 << 20)
    path = written(tmp_path, gzip.compress(data), "dump.csv.gz")
    assert path.stat().st_size * 800 < len(data)
    assert read_path(path).blank == 4 << 20


@pytest.mark.parametrize("change", ["grown", "cut", "same size, written later", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    path = written(tmp_path, DUMP)
    found = fingerprint(path)
    parts = stream_chunks(found, 64)
    next(parts)
    if change == "grown":
        with path.open("ab") as stream:
            stream.write(b"S1,2024-05-01 10:00:00,50\n")
    elif change == "cut":
        os.truncate(path, len(DUMP) - 30)
    elif change == "same size, written later":
        path.write_bytes(DUMP.replace(b"50\n", b"51\n"))
        os.utime(path, ns=(found.modified_ns + 10**9,) * 2)
    else:  # the open file is still the old one, whole: nothing is wrong with it
        other = written(tmp_path, DUMP * 2, "other.csv")
        os.replace(other, path)
        assert sum(len(p.data) for p in parts) < len(DUMP)
        return
    with pytest.raises(InputRefused, match="changed while it was read"):
        list(parts)


def test_a_file_replaced_between_hash_and_reading_is_refused(tmp_path: Path) -> None:
    """A copy that keeps size and date is another file all the same: its hash is another."""
    path = written(tmp_path, DUMP)
    found = fingerprint(path)
    other = written(tmp_path, DUMP.replace(b"50\n", b"99\n"), "other.csv")
    os.utime(other, ns=(found.modified_ns,) * 2)
    os.replace(other, path)
    with pytest.raises(InputRefused, match="changed"):
        list(stream_chunks(found))


def test_what_is_no_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, what in [(tmp_path, "a folder, not a file"), (pipe, "not a regular file"),
                       (tmp_path / "none.csv", "no such file"),
                       (written(tmp_path, b""), "the file is empty")]:
        with pytest.raises(InputRefused, match=what) as caught:
            fingerprint(path)
        assert str(path) in str(caught.value)


def test_a_refused_folder_leaves_no_file_open(tmp_path: Path) -> None:
    here = Path("/proc/self/fd")
    if not here.exists():
        pytest.skip("this system does not list open files")
    before = len(list(here.iterdir()))
    for _ in range(20):
        with pytest.raises(InputRefused):
            fingerprint(tmp_path)
    assert len(list(here.iterdir())) < before + 10


def test_a_file_without_the_right_to_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, DUMP)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputRefused, match="cannot be read"):
        fingerprint(path)


def test_an_input_output_error_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, DUMP)
    found = fingerprint(path)

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(source, "cut_file", broken)
    with pytest.raises(InputRefused, match="Input/output error") as caught:
        list(stream_chunks(found))
    assert str(path) in str(caught.value)
