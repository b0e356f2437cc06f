"""Packed dumps, damaged at will: what comes out is what went in, or the file is refused.

Every packing carries a checksum: no damage may give other bytes without a word.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_STORED

from packing import zipped, zst

from fuzz.draw import Draw
from rsd.errors import InputRefused
from rsd.intake import utf16
from rsd.intake.packings import PLAIN, packing_of
from rsd.intake.source import beginning, fingerprint, stream_chunks

SIZES = (1 << 24, 1, 7, 64, 1000)
MEMBER_BYTES = 50
PACKINGS = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip members": lambda data: b"".join(gzip.compress(data[k:k + MEMBER_BYTES], mtime=0)
                                          for k in range(0, len(data) or 1, MEMBER_BYTES)),
    "zstd": zst,
    "zip": lambda data: zipped(("a.csv", data)),
    "zip stored": lambda data: zipped(("a.csv", data), method=ZIP_STORED),
}
KINDS = (None, *PACKINGS)
DAMAGES = ("none", "flip", "cut", "insert", "join", "garbage", "zeros")
MAGICS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "zip": b"PK\x03\x04"}
LINES = b"site_id,measured_at\nS1,2024-05-01 10:00:00\r\nS2,\rS3,\n\n"
WORDS = (b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"\n", b"\r", b"\r\n", b"PK\x03\x04", b"PK\x05\x06",
         b"PK\x01\x02", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x00\x00\xff\xff",
         b"\x03\x00", b"../x.csv", b"C:\\x.csv", b"\xff\xfe", b"\xfe\xff", b"\x00\n", b"\n\x00")


def seeds() -> Iterator[bytes]:
    """Texts with every line end through every packing and damage; raw archives of each kind."""
    texts = (LINES, LINES * 9, b"a\rb\rc", b"x" * 300, b"\n", LINES[:-2], b"\r\n",
             LINES.decode().encode("utf-16"))
    for kind, (name, pack) in enumerate(PACKINGS.items(), 1):
        for damage in range(len(DAMAGES)):
            for k in range(2):
                text = texts[(damage + kind + 3 * k) % len(texts)]
                yield bytes([kind, damage % len(SIZES), damage, 37 * (damage + k) % 256, 1]) + text
        if not name.startswith("zip"):  # a zip holds the time at which it was made
            yield bytes(5) + pack(LINES)
    for k, text in enumerate(texts):
        yield bytes([0, k % len(SIZES), 0, 0, 0]) + text


def check(data: bytes) -> None:
    """Read arbitrary bytes as a file, or a packed text with one damage."""
    draw = Draw(data)
    kind, size = draw.pick(KINDS), draw.pick(SIZES)
    damage, at, value = draw.pick(DAMAGES), draw.below(256), draw.below(256)
    body = draw.rest()
    if kind is None:
        check_any(body, size)
        return
    packed = PACKINGS[kind](body)
    given = damaged(packed, damage, at, value)
    found = unpacked(given, size)
    if not given.startswith(MAGICS[kind.split(" ")[0]]):
        return  # another kind of file now
    if damage == "none" or given == packed:
        assert found == (body if is_taken(body, kind) else None)
    elif damage == "join" and not kind.startswith("zip"):
        assert found == body * 2
    elif damage == "cut":
        # between two members nobody can tell that others followed
        assert found is None or (kind == "gzip members" and body.startswith(found)
                                 and len(found) % MEMBER_BYTES == 0)
    else:  # a name or a time may change without a word: no reader asks for them
        assert found in (body, None)


def is_taken(body: bytes, kind: str) -> bool:
    """Say whether a text may stand in this packing: a zip holds no archive and nothing empty."""
    try:
        return not kind.startswith("zip") or (body != b"" and packing_of(body[:16], "") == PLAIN)
    except InputRefused:
        return False


def damaged(packed: bytes, damage: str, at: int, value: int) -> bytes:
    """Return an archive with one damage."""
    place = at % len(packed)
    if damage == "flip":
        return packed[:place] + bytes([packed[place] ^ (value or 1)]) + packed[place + 1:]
    if damage == "cut":
        return packed[:max(place, 4)]
    if damage == "insert":
        return packed[:place] + bytes([value]) + packed[place:]
    tail = {"join": packed, "garbage": bytes([value or 1] * (1 + at)), "zeros": bytes(at)}
    return packed + tail.get(damage, b"")


def check_any(data: bytes, size: int) -> None:
    """Bytes that are no archive come out as they are; any others come out whole or not at all."""
    found = unpacked(data, size)
    try:
        packing = packing_of(data[:16], "")
    except InputRefused:
        assert found is None
        return
    if packing == PLAIN:
        assert found == (data or None)
    elif packing == "gzip":
        assert found in (plainly(data), None)


def plainly(data: bytes) -> bytes | None:
    """Return what the standard library unpacks, None where it refuses."""
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, ValueError, zlib.error):
        return None


def unpacked(data: bytes, size: int) -> bytes | None:
    """Return a file's unpacked bytes, None where it is refused; its chunks must fit together.

    UTF-16 comes as its image in UTF-8, of which the image's original is the file again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dump.csv"
        path.write_bytes(data)
        try:
            source = fingerprint(path)
            first = beginning(source, 100)
            chunks = list(stream_chunks(source, size))
        except InputRefused as error:
            assert error.where
            return None
    offset = 0
    for k, chunk in enumerate(chunks):
        assert chunk.data
        assert chunk.offset == offset
        assert chunk.torn == (chunk.data[-1:] not in b"\r\n")
        assert k == len(chunks) - 1 or not chunk.torn
        assert not (chunk.data.endswith(b"\r") and chunks[k + 1:]
                    and chunks[k + 1].data.startswith(b"\n"))  # a CRLF is never cut in two
        offset += len(chunk.data)
    whole = b"".join(chunk.data for chunk in chunks)
    assert whole.startswith(first)
    return whole if source.codec is None else utf16.original(whole, source.codec)
