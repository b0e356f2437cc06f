"""A stream of bytes in chunks of whole lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader

from rsd.errors import InputRefused
from rsd.intake.packings import Readable

_MAX_LINE_BYTES = 64 << 20
_LOOK_BYTES = 1 << 16  # where the end of a chunk is looked for


@dataclass(frozen=True)
class Chunk:
    """Whole lines of a dump. ``torn`` tells that the last one has no line end.

    ``line`` is the physical number of the first chunk's first line. Of UTF-16 the data is the image
    in UTF-8 (`rsd.intake.utf16`), ``codec`` says so and ``end`` is where in the original it ends.
    """

    data: bytes
    offset: int
    torn: bool = False
    line: int = 1
    codec: str | None = None
    end: int = 0


def cut_file(raw: BufferedReader, size: int, where: str) -> Iterator[Chunk]:
    """Cut a plain file: the end of a chunk is looked for first, so that no byte is copied."""
    at, look = 0, min(_LOOK_BYTES, size)
    while True:
        tail = os.pread(raw.fileno(), look, at + size - look)
        end = tail.rfind(b"\n")
        if len(tail) < look or end < 0:
            break
        whole = size - look + end + 1
        data = os.pread(raw.fileno(), whole, at)
        if len(data) < whole:
            break
        yield Chunk(data, at)
        at += whole
    raw.seek(at)
    for chunk in cut(raw, size, where):
        yield replace(chunk, offset=at + chunk.offset)


def cut(stream: Readable, size: int, where: str) -> Iterator[Chunk]:
    """Yield chunks that end at a line end, the last one excepted; no line may be endless."""
    offset, rest = 0, b""
    while block := stream.read(size):
        end = block.rfind(b"\n") + 1
        if end:
            yield Chunk(b"".join((rest, memoryview(block)[:end])), offset)
            offset += len(rest) + end
            rest = block[end:]
            continue
        data = b"".join((rest, block)) if rest else block
        # lone CR line ends: the last CR may still get its LF
        end = data.rfind(b"\r", 0, len(data) - 1) + 1
        if end == 0:
            if len(data) > _MAX_LINE_BYTES:
                raise InputRefused("a line is too long", where=where,
                                   found=f"more than {len(data)} bytes without a line end",
                                   expected=f"at most {_MAX_LINE_BYTES}",
                                   remedy="This is no dump; check the file.")
            rest = data
            continue
        rest = data[end:]
        yield Chunk(data[:end], offset)
        offset += end
    if rest:
        yield Chunk(rest, offset, torn=rest[-1:] not in b"\r\n")
