"""A text → the files that a sender could make of it: support of the intake tests."""

from __future__ import annotations

import csv
import gzip
import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import openpyxl

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHECKED: dict[Any, Any] = {zstd.CompressionParameter.checksum_flag: 1}


def zst(*frames: bytes) -> bytes:
    """Frames with checksums."""
    return b"".join(zstd.compress(f, options=CHECKED) for f in frames)


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes],
           method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, method)
    return out.getvalue()


def raw_zip(members: Iterable[tuple[bytes, bytes]], *, flags: int = 0, declared: int | None = None,
            crc: int | None = None, attributes: int = 0, local_name: bytes | None = None) -> bytes:
    """A zip written byte by byte, with what no honest writer puts into it."""
    body, directory, count = b"", b"", 0
    for name, data in members:
        packer = zlib.compressobj(wbits=-15)
        packed = packer.compress(data) + packer.flush()
        size = len(data) if declared is None else declared
        check = zlib.crc32(data) if crc is None else crc
        shared = struct.pack("<HHHHHIII", 20, flags, 8, 0, 0x21, check, len(packed), size)
        own = name if local_name is None else local_name
        directory += (b"PK\x01\x02" + struct.pack("<H", 0x314) + shared + struct.pack(
            "<HHHHHII", len(name), 0, 0, 0, 0, attributes, len(body)) + name)
        body += b"PK\x03\x04" + shared + struct.pack("<HH", len(own), 0) + own + packed
        count += 1
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return body + directory + end


def workbook(*sheets: list[list[object]], **formats: str) -> bytes:
    """Sheets of cells; ``A2="0%"`` sets the number format of a cell of the first one."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    for place, number_format in formats.items():
        book.worksheets[0][place].number_format = number_format
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def sheet_of(text: str) -> bytes:
    """The records of a CSV as text cells, one row each; a blank line is an empty row."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for line in text.splitlines():
        sheet.append(next(csv.reader([line]), []))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


PACKINGS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip members": lambda d: gzip.compress(d[:len(d) // 2]) + gzip.compress(d[len(d) // 2:]),
    "gzip padded": lambda d: gzip.compress(d) + bytes(1000),
    "zstd": zst,
    "zstd frames": lambda d: zst(d[:len(d) // 3], b"", d[len(d) // 3:]),
    "zip": lambda d: zipped(("a.csv", d)),
    "zip stored": lambda d: zipped(("a.csv", d), method=zipfile.ZIP_STORED),
}
