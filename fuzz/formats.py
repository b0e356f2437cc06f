"""Arbitrary format files and arbitrary headers: a format, or an error that a user understands."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import rsd.intake
from fuzz.draw import Draw
from rsd.errors import RsdError
from rsd.intake.formats import Format, formats, read_format, recognise, split_header
from rsd.intake.layout import Layout

FOLDER = Path(rsd.intake.__file__).parent / "formats"
WORDS = (b"[time]", b"[real]", b"columns = ", b'formats = ["%Y"]', b"[class]", b"[code]",
         b"= { to = ",
         b'"', b"'", b"[", b"]", b"{", b"}", b"=", b"true", b"1", b"-1e999", b"nan", b"required = ",
         b"encodings = ", b'separator = ";"', b"site_id", b"measured_at", b"dwbh", b"jcsj", b",",
         b"\xef\xbb\xbf", b"#", b"\0", "：".encode(), b'""')


def seeds() -> Iterator[bytes]:
    """The built-in formats, each also with one line left out; their headers."""
    for path in sorted(FOLDER.glob("*.toml")):
        text = path.read_bytes()
        yield b"\0" + text
        lines = text.splitlines(keepends=True)
        for k in range(0, len(lines), 7):
            yield b"\0" + b"".join(lines[:k] + lines[k + 1:])
            yield b"\0" + b"".join([*lines[:k], lines[k].replace(b'"', b""), *lines[k + 1:]])
    for fmt in formats().values():
        yield b"\1" + fmt.separator.join(sorted(fmt.names())).encode()
        yield b"\1" + ",".join(sorted(fmt.names())).upper().encode()
        yield b"\1" + fmt.separator.join(names[0] for names in fmt.required).encode()


def check(data: bytes) -> None:
    """Read the bytes as a format file, or as a header."""
    draw = Draw(data)
    if draw.below(2):
        check_header(draw.text())
    else:
        check_file(draw.rest())


def check_file(data: bytes) -> None:
    """A file is a format whose parts have their types, or it is refused with its place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vendor.toml"
        path.write_bytes(data)
        try:
            found = read_format(path)
        except RsdError as error:
            assert error.where
            assert "vendor.toml" in error.where
            return
    check_format(found)


def check_format(found: Format) -> None:
    """What was read can be used: it names columns, and a header of its own names binds to it."""
    assert isinstance(found.id, str)
    assert isinstance(found.title, str)
    names = [n for n in sorted(found.names()) if n]
    assert all(isinstance(n, str) for n in names)
    assert len(found.separator) == 1
    if not found.missing(names):
        layout = Layout.of(found, names, "Asia/Shanghai")
        assert set(layout.used) <= set(layout.names)
        assert layout.time in found.names()


def check_header(line: str) -> None:
    """A header is of one known format, or the refusal says where; the format then binds to it."""
    try:
        names = split_header(line)
        found = recognise(names, "a.csv")
        layout = Layout.of(found, names, "Asia/Shanghai")
    except RsdError as error:
        assert error.where
        return
    assert found.id in formats()
    assert layout.time in found.names()
    assert len(set(layout.names)) == len(names)
