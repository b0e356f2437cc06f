"""Arbitrary bytes as text in every encoding: a cell is what the standard codec says, or condemned.

Each line of the bytes becomes the plate of a record, between records that are sound, so that the
dump's encoding is evident. A line that the codec refuses condemns its own record and no other.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

import counter
from intake_reading import assert_exact, read

from fuzz.draw import Draw

HEAD = "site_id,measured_at,plate\n"
BEFORE, SOUND = "桥,2024-05-01 10:00:00,", "桥,2024-05-01 10:00:00,赣\n"
ENCODINGS = (("utf-8", codecs.BOM_UTF8), ("utf-8", b""), ("gb18030", b""))
SIZES = (None, 64, 101, 400)
WORDS = (*(bytes([b]) for b in (0x80, 0x81, 0xFF, 0xFE, 0xA0, 0x30, 0x39, 0x7F, 0xC0, 0xED,
                                0xF4)),
         "闽赣琼".encode("gb18030"), "闽赣琼".encode(), b"\x81\x30\x81\x30", b"\x84\x31\xa4\x37",
         b"\x90\x30\x81\x30", b"\xe3\x32\x9a\x35", b"\xe3\x32\x9a\x36", b"\xa2\xe3",
         b"\xed\xa0\x80",
         b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xef\xbf\xbe", b"\xef\xbf\xbd", b"\xef\xbb\xbf",
         "\u3000".encode("gb18030"), "\u00a0".encode("gb18030"), b"\xa8\xbc", b"\xa6\xd9")


def seeds() -> Iterator[bytes]:
    """Each word alone, all words as lines, and cut characters, in every encoding."""
    for kind in range(len(ENCODINGS)):
        yield bytes([kind, 0]) + b"\n".join(WORDS)
        yield bytes([kind, 1]) + b"\n".join(w[:-1] for w in WORDS)
        yield bytes([kind, 2]) + b"\n".join(b" " + w + b"9 " for w in WORDS)


def check(data: bytes) -> None:
    """Compare every record with what the codec makes of its bytes."""
    draw = Draw(data)
    encoding, mark = draw.pick(ENCODINGS)
    size = draw.pick(SIZES)
    pieces = [p for p in draw.rest().split(b"\n") if not set(p) & set(b'\r\0",')]
    dump, wanted, bad = mark + HEAD.encode(encoding), [], []
    for piece in pieces:
        line = BEFORE.encode(encoding) + piece
        try:
            wanted.append(counter._trimmed(line.decode(encoding)[len(BEFORE):]) or None)
        except UnicodeDecodeError:
            bad.append((len(dump), line))
        dump += line + b"\n"
    sound = SOUND.encode(encoding) * (2 + len(pieces))  # they decide which encoding it is
    account = read(dump + sound, size=size)
    assert_exact(account, dump + sound)
    assert account.quarantine.select("byte_offset", "raw").rows() == bad
    assert account.column("plate") == [*wanted, *["赣"] * (2 + len(pieces))]
    assert set(account.column("site_id")) == {"桥"}
    assert all(reason == "not_text" for _, reason, _ in account.bad)
