"""Whatever a dump is packed in and whatever its encoding: the same records, and no bomb."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intake_reading import Account, assert_exact, read, read_path
from packing import CHECKED, PACKINGS, raw_zip, sheet_of, workbook, zipped, zst, zstd
from polars.testing import assert_frame_equal

from rsd.errors import InputRefused
from rsd.intake import archive, packings, source
from rsd.intake.source import fingerprint, sources_of, stream_chunks

HEAD = "site_id,measured_at,plate,speed_km_h,note"
ROW = "S1,2024-05-01 10:00:00,闽D12345,50,x\n"
DUMP = (HEAD + "\n" + ROW * 40).encode()
ENCODINGS = ("utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be")


def written(folder: Path, data: bytes, name: str = "dump.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def unpacked(path: Path, size: int = 1 << 20) -> bytes:
    return b"".join(c.data for c in stream_chunks(fingerprint(path), size))


def errors(path: Path) -> list[str]:
    return [s.refusal for s in sources_of(path)]


# The same text, whatever carries it


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A dump, some of whose records are bad, and its line end."""
    time = st.sampled_from(["2024-05-01 10:00:00", "2024-02-30 10:00:00", "2024-05-01 10:00"])
    speed = st.sampled_from(["50", "-3.25", "", "1e2", "abc", "NaN", " 7"])
    note = st.sampled_from(["x", "", '"a, b"', "雨天", "😀", "a,b"])
    rows = st.builds("S1,{},闽D1234{},{},{}".format, time, st.integers(0, 9), speed, note)
    lines = draw(st.lists(st.one_of(rows, st.sampled_from(["", "  ", HEAD])), max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    tail = draw(st.sampled_from([end, end, ""]))
    return end.join([HEAD, "S1,2024-05-01 10:00:00,闽D00000,1,", *lines]) + tail, end


def same(found: Account, wanted: Account) -> None:
    assert_frame_equal(found.frame, wanted.frame, check_exact=True)
    assert found.bad == wanted.bad
    assert found.blank == wanted.blank


@settings(max_examples=settings().max_examples // 2)
@given(texts(), st.sampled_from(list(PACKINGS)), st.sampled_from(ENCODINGS),
       st.sampled_from([None, 64, 333]))
def test_packing_and_encoding_change_nothing(
        text: tuple[str, str], packing: str, encoding: str, size: int | None) -> None:
    plain = text[0].encode(encoding)
    found = read(PACKINGS[packing](plain), size=size)
    same(found, read(text[0].encode()))
    assert_exact_in(found, plain, encoding)


def assert_exact_in(account: Account, data: bytes, encoding: str) -> None:
    """Raw bytes stand at their offset, and the line there is the one that is said."""
    if not encoding.startswith("utf-16"):
        assert_exact(account, data)
        return
    codec = ("utf-16-le" if data.startswith(b"\xff\xfe") else encoding)
    for line, offset, raw in account.quarantine.select("line", "byte_offset", "raw").iter_rows():
        assert data[offset:offset + len(raw)] == raw
        before = data[:offset].decode(codec).replace("\r\n", "\n").replace("\r", "\n")
        assert line == before.count("\n") + 1


@settings(max_examples=settings().max_examples // 5)
@given(texts())
def test_a_workbook_of_texts_is_the_csv(text: tuple[str, str]) -> None:
    """But that it has no torn record, and that blanks alone make no row."""
    lines = [line if line.strip() else "" for line in text[0].split(text[1])]
    while not lines[-1]:
        lines.pop()
    whole = "\n".join(lines) + "\n"
    same(read(sheet_of(whole)), read(whole.encode()))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip", "a.xlsx", "a.zst", "a"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_the_name_says_nothing(tmp_path: Path, name: str, packing: str) -> None:
    path = written(tmp_path, PACKINGS[packing](DUMP), name)
    assert read_path(path).frame.height == 40
    assert unpacked(path, 100) == DUMP


def test_a_file_is_known_by_its_bytes_and_a_member_by_its_own(tmp_path: Path) -> None:
    for packing, pack in PACKINGS.items():
        data = pack(DUMP)
        own = DUMP if "zip" in packing.split() and packing != "gzip" else data
        assert fingerprint(written(tmp_path, data)).sha256 == hashlib.sha256(own).hexdigest()
    data = workbook([["site_id", "measured_at"]])
    assert fingerprint(written(tmp_path, data)).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(("data", "kind"), [
    (b"7z\xbc\xaf\x27\x1c rest", "7z"), (b"Rar!\x1a\x07\x01\x00", "RAR"),
    (bz2.compress(DUMP), "bzip2"), (b"\xfd7zXZ\x00\x00", "xz"), (b"%PDF-1.7\n", "PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old .xls"), (b"PAR1", "Parquet"),
])  # fmt: skip
def test_what_is_packed_otherwise_is_named(tmp_path: Path, data: bytes, kind: str) -> None:
    with pytest.raises(InputRefused, match=f"found .*{kind}.*Unpack it"):
        sources_of(written(tmp_path, data))


def test_text_that_begins_like_a_packing_is_text(tmp_path: Path) -> None:
    data = b"BZh,site_id,measured_at\n1,S1,2024-05-01 10:00:00\n"
    assert read_path(written(tmp_path, data)).frame.height == 1


# gzip and zstd


def test_zeros_behind_a_gzip_member_are_the_rest_of_a_block(tmp_path: Path) -> None:
    data = gzip.compress(DUMP[:99]) + bytes(300_000) + gzip.compress(DUMP[99:]) + bytes(7)
    assert unpacked(written(tmp_path, data), 64) == DUMP
    with pytest.raises(InputRefused, match=r"gzip archive is broken.*behind its end"):
        unpacked(written(tmp_path, data + b"\0rest"))


def test_a_member_border_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2, 3, 5):
        monkeypatch.setattr(packings, "_PIECE_BYTES", step)
        for pack in (gzip.compress, zst):
            data = pack(DUMP[:50]) + pack(b"") + pack(DUMP[50:])
            assert unpacked(written(tmp_path, data), 70) == DUMP


def broken_frames() -> dict[str, bytes]:
    data = zst(DUMP)
    return {"half": data[:len(data) // 2], "checksum cut": data[:-1], "only magic": data[:4],
            "checksum": data[:-1] + bytes([data[-1] ^ 1]), "rubbish behind": data + b"rubbish",
            "zeros behind": data + bytes(8), "second frame cut": data + data[:-3],
            "damaged inside": data[:-12] + b"\xff\xff" + data[-10:]}


@pytest.mark.parametrize(("kind", "data"), broken_frames().items(), ids=lambda x: str(x)[:20])
def test_a_broken_zstd_file_is_refused_whole(tmp_path: Path, kind: str, data: bytes) -> None:
    with pytest.raises(InputRefused, match=r"zstd archive is broken.*Ask the sender"):
        read_path(written(tmp_path, data), size=64)


def test_a_skippable_frame_is_skipped(tmp_path: Path) -> None:
    note = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"notes"
    assert unpacked(written(tmp_path, note + zst(DUMP) + note)) == DUMP


def test_a_window_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    options = CHECKED | {zstd.CompressionParameter.window_log: 28}
    packer = zstd.ZstdCompressor(options=options)  # as a stream: the size is not declared
    data = packer.compress(DUMP) + packer.flush()
    with pytest.raises(InputRefused, match=r"too much memory.*at most 128 MiB"):
        read_path(written(tmp_path, data))


def test_a_zstd_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packings, "RATIO_FREE_BYTES", 1 << 20)
    path = written(tmp_path, zst(b"site_id,measured_at\n" + b"\n" * (64 << 20)))
    assert path.stat().st_size < 10_000
    seen: list[int] = []
    with pytest.raises(InputRefused, match=r"beyond the limit.*200 to 1 beyond 1 MiB"):
        seen.extend(len(c.data) for c in stream_chunks(fingerprint(path), 1 << 18))
    assert sum(seen) <= 2 << 20


def test_nothing_unpacks_beyond_the_absolute_limit(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packings, "MAX_UNPACKED_BYTES", 1 << 20)
    lines = os.urandom(1 << 20).hex().encode()
    path = written(tmp_path, gzip.compress(b"\n".join(lines[k:k + 99] for k in range(
        0, len(lines), 99)), 1))
    with pytest.raises(InputRefused, match="beyond the limit"):
        unpacked(path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packings, "MAX_STREAM_MEMBERS", 10)
    for pack in (gzip.compress, zst):
        assert unpacked(written(tmp_path, pack(DUMP) + pack(b"") * 9)) == DUMP
        with pytest.raises(InputRefused, match=r"too many members.*at most 10"):
            unpacked(written(tmp_path, pack(DUMP) + pack(b"") * 10))


# zip


def test_each_member_is_a_dump(tmp_path: Path) -> None:
    members = ("a.csv", DUMP), ("./sub//b.csv", DUMP + ROW.encode())
    path = written(tmp_path, zipped(*members), "z.zip")
    first, second = sources_of(path)
    assert (first.name, second.name) == ("z.zip/a.csv", "z.zip/sub/b.csv")
    assert first.sha256 == hashlib.sha256(DUMP).hexdigest()
    assert b"".join(c.data for c in stream_chunks(second, 64)) == DUMP + ROW.encode()
    with pytest.raises(InputRefused, match="several dumps"):
        fingerprint(path)


def test_folders_and_hidden_members_are_passed_over_and_named(tmp_path: Path) -> None:
    data = zipped(("sub/", b""), ("__MACOSX/._a.csv", b"x"), ("sub/.DS_Store", b"x"),
                  ("sub/a.csv", DUMP))
    (found,) = sources_of(written(tmp_path, data, "z.zip"))
    assert found.name == "z.zip/sub/a.csv"
    assert found.notices == ("3 folders or hidden members of the archive were not read: sub/, "
                             "__MACOSX/._a.csv, sub/.DS_Store",)
    with pytest.raises(InputRefused, match="holds no dump"):
        sources_of(written(tmp_path, zipped(("sub/", b""))))
    with pytest.raises(InputRefused, match="holds no dump"):
        sources_of(written(tmp_path, zipped()))


@pytest.mark.parametrize(("name", "why"), [
    ("/etc/a.csv", "absolute"), ("../a.csv", "leaves its folder"), ("b/../../a.csv", "leaves"),
    ("C:a.csv", "drive letter"), ("b\\a.csv", "backslash"), ("a\n.csv", "control characters"),
    ("a\u202egpj.csv", "control characters"), ("a\0.csv", "control characters"),
    ("__MACOSX/../../a.csv", "leaves"), (".", "no name"),
])  # fmt: skip
def test_an_unsafe_name_is_refused_and_the_others_are_read(
        tmp_path: Path, name: str, why: str) -> None:
    data = raw_zip([(name.encode(), DUMP), (b"good.csv", DUMP)], flags=0x800)
    bad, good = sources_of(written(tmp_path, data, "z.zip"))
    assert why in bad.refusal
    assert "z.zip/" in bad.refusal
    assert "\n" not in bad.refusal
    assert bad.sha256 == ""
    assert (good.refusal, good.name) == ("", "z.zip/good.csv")


@pytest.mark.parametrize(("mode", "why"), [(stat.S_IFLNK, "symbolic link"),
                                           (stat.S_IFBLK, "device"), (stat.S_IFIFO, "pipe")])
def test_links_and_devices_are_refused(tmp_path: Path, mode: int, why: str) -> None:
    data = raw_zip([(b"a.csv", DUMP)], attributes=(mode | 0o644) << 16)
    assert why in errors(written(tmp_path, data))[0]


def test_members_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    for data, why in [
        (raw_zip([(b"a.csv", DUMP)], flags=1), "encrypted"),
        (raw_zip([(b"a.csv", DUMP)], declared=len(DUMP) - 1), "where the archive declares"),
        (raw_zip([(b"a.csv", DUMP)], declared=len(DUMP) + 1), "where the archive declares"),
        (raw_zip([(b"a.csv", DUMP)], crc=7), "checksum"),
        (raw_zip([(b"a.csv", DUMP)], local_name=b"b.csv"), "its own header"),
        (zipped(("a.csv", DUMP), method=zipfile.ZIP_BZIP2), "bzip2"),
        (zipped(("a.csv", DUMP), method=zipfile.ZIP_LZMA), "lzma"),
        (zipped(("a.csv", b"")), "empty"),
        (zipped(("a.csv", zipped(("b.csv", DUMP)))), "an archive inside an archive"),
        (zipped(("a.csv", gzip.compress(DUMP))), "an archive inside an archive"),
        (zipped(("a.csv", workbook([["site_id"]]))), "an archive inside an archive"),
    ]:  # fmt: skip
        (refusal,) = errors(written(tmp_path, data, "z.zip"))
        assert why in refusal
        assert "z.zip/a.csv" in refusal


def test_two_members_of_one_name_are_both_refused(tmp_path: Path) -> None:
    data = raw_zip([(b"a.csv", DUMP), (b"./a.csv", DUMP * 2), (b"b.csv", DUMP)])
    refusals = errors(written(tmp_path, data))
    assert ["two members have this name" in r for r in refusals] == [True, True, False]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_names_are_read_as_their_writer_meant_them(tmp_path: Path, encoding: str) -> None:
    data = raw_zip([("数据/一月.csv".encode(encoding), DUMP)])
    assert sources_of(written(tmp_path, data, "z.zip"))[0].name == "z.zip/数据/一月.csv"


@pytest.mark.parametrize("where", ["directory cut", "end cut", "member damaged", "no end"])
def test_a_damaged_zip_is_refused(tmp_path: Path, where: str) -> None:
    whole = zipped(("a.csv", DUMP), ("b.csv", DUMP))
    if where == "member damaged":
        data = whole[:60] + b"\xff\xff\xff" + whole[63:]
        bad, good = errors(written(tmp_path, data))
        assert "zip archive is broken" in bad
        assert good == ""
        return
    data = {"directory cut": whole[:-60], "end cut": whole[:-1],
            "no end": whole[:whole.index(b"PK\x01\x02")]}[where]
    with pytest.raises(InputRefused, match=r"zip archive is broken.*Ask the sender"):
        sources_of(written(tmp_path, data))


def test_zip_bombs_are_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packings, "RATIO_FREE_BYTES", 1 << 20)
    bad, good = errors(written(tmp_path, zipped(("bomb.csv", b"\n" * (4 << 20)), ("a.csv", DUMP))))
    assert "unpacks beyond the limit" in bad
    assert good == ""
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2 * len(DUMP) - 1)
    with pytest.raises(InputRefused, match=r"beyond the limit.*declared"):
        sources_of(written(tmp_path, zipped(("a.csv", DUMP), ("b.csv", DUMP))))


def test_members_that_share_their_bytes_are_a_bomb(tmp_path: Path) -> None:
    one = raw_zip([(b"a.csv", os.urandom(1000))])
    start = one.index(b"PK\x01\x02")
    entry, end = one[start:-22], one[-22:]
    count, size = struct.pack("<HH", 50, 50), struct.pack("<I", 50 * len(entry))
    data = one[:start] + 50 * entry + end[:8] + count + size + end[16:]
    with pytest.raises(InputRefused, match="overlap"):
        sources_of(written(tmp_path, data))


def test_a_zip_of_too_many_members_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    assert errors(written(tmp_path, zipped(*((f"{k}.csv", DUMP) for k in range(3))))) == [""] * 3
    many = zipped(*((f"{k}.csv", DUMP) for k in range(4)))
    with pytest.raises(InputRefused, match="too many members: found 4, expected at most 3"):
        sources_of(written(tmp_path, many))
    monkeypatch.setattr(archive, "_MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(InputRefused, match="too many members: found a directory of"):
        sources_of(written(tmp_path, many))


# What changes while it is read


@pytest.mark.parametrize("packing", [*PACKINGS, "workbook"])
def test_a_file_that_changes_is_refused_in_every_packing(tmp_path: Path, packing: str) -> None:
    rows: list[list[object]] = [["site_id", "measured_at"], ["S1", "2024-05-01 10:00:00"]]
    data = workbook(rows) if packing == "workbook" else PACKINGS[packing](DUMP)
    path = written(tmp_path, data)
    found = fingerprint(path)
    parts = stream_chunks(found, 64)
    next(parts)
    os.utime(path, ns=(found.modified_ns + 10**9,) * 2)
    with pytest.raises(InputRefused, match="changed while it was read"):
        list(parts)
    found = fingerprint(path)
    os.utime(written(tmp_path, data, "other"), ns=(found.modified_ns,) * 2)
    os.replace(tmp_path / "other", path)
    with pytest.raises(InputRefused, match="changed while it was read"):
        list(stream_chunks(found))


def test_reading_is_flat_in_memory(tmp_path: Path) -> None:
    """No packing is unpacked in one piece: the first chunk is there before the rest is read."""
    data = (HEAD + "\n").encode() + ROW.encode() * 200_000
    for packing, pack in PACKINGS.items():
        if packing in ("plain", "zip stored"):
            continue
        path = written(tmp_path, pack(data))
        found, pieces = fingerprint(path), []
        with source._open_regular(path) as raw:
            stream = source._unpacked(found, raw)
            before = raw.tell()
            pieces.append(stream.read(1 << 16))
            assert raw.tell() - before <= 4 * packings._PIECE_BYTES, packing
        assert len(pieces[0]) == 1 << 16
