"""Look for plates and names of photographs in anything a command leaves behind.

It knows nothing of how rsd writes: bytes are searched as they are, and again unpacked, in each
encoding that a plate may have.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

ENCODINGS = ("utf-8", "gb18030", "utf-16-le", "utf-16-be")


class Scanner:
    """Finds any of some texts in bytes, in every encoding.

    A text is looked up by its first characters, so that thousands cost no more than a few.
    """

    def __init__(self, texts: Iterable[str], patterns: Iterable[str] = ()) -> None:
        self._known: dict[bytes, str] = {}
        heads: set[bytes] = set()
        for text in texts:
            for encoding in ENCODINGS:
                raw = text.encode(encoding)
                self._known[raw] = text
                heads.add(raw[:len(text[:2].encode(encoding))])
        self._lengths = sorted({len(raw) for raw in self._known})
        self._heads = re.compile(b"(?=" + b"|".join(sorted(map(re.escape, heads))) + b")")
        self._patterns = [(p, re.compile(re.escape(p.encode(e)), re.IGNORECASE))
                          for p in patterns for e in ENCODINGS]

    def find(self, data: bytes) -> set[str]:
        """Return the texts that stand in some bytes, as they are."""
        found = {pattern for pattern, expression in self._patterns if expression.search(data)}
        for match in self._heads.finditer(data):
            at = match.start()
            found |= {self._known[data[at:at + n]] for n in self._lengths
                      if data[at:at + n] in self._known}
        return found

    def hits(self, name: str, data: bytes) -> dict[str, set[str]]:
        """Return what stands in a file, packed or unpacked: part of it → texts."""
        parts = {f"{name}:{part}": self.find(raw) for part, raw in unpacked(name, data)}
        return {part: found for part, found in parts.items() if found}

    def tree(self, *folders: Path) -> dict[str, set[str]]:
        """Return what stands in all files below some folders, and in their names."""
        found: dict[str, set[str]] = {}
        for folder in folders:
            for path in sorted([folder] if folder.is_file() else folder.rglob("*")):
                name = str(path.relative_to(folder.parent))
                if here := self.find(name.encode()):
                    found[f"{name} (its name)"] = here
                if path.is_file() and not path.is_symlink():
                    found |= self.hits(name, path.read_bytes())
        return found


def unpacked(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file's bytes, and all that is packed in them."""
    yield "bytes", data
    suffix = Path(name).suffix
    if data[:4] == b"PAR1":
        yield from _of_parquet(data)
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member, archive.read(member)
    elif data[:4] == b"%PDF" or suffix == ".pdf":
        yield from _of_pdf(data)


def _of_parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pyarrow.parquet as pq

    frame = pl.read_parquet(io.BytesIO(data))
    for column in frame.iter_columns():
        values = column.explode() if isinstance(column.dtype, pl.List) else column
        if isinstance(values.dtype, pl.Binary):
            yield column.name, b"\n".join(v for v in values if v is not None)
        else:
            texts = values.cast(pl.String, strict=False).unique().drop_nulls()
            yield column.name, "\n".join(texts).encode()
    footer = pq.ParquetFile(io.BytesIO(data)).metadata
    told = [repr(footer.metadata)]
    for group in range(footer.num_row_groups):
        for column in range(footer.num_columns):
            statistics = footer.row_group(group).column(column).statistics
            if statistics is not None and statistics.has_min_max:
                told.append(f"{statistics.min}\n{statistics.max}")
    yield "footer", "\n".join(told).encode()


def _of_pdf(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pypdf

    reader = pypdf.PdfReader(io.BytesIO(data))
    yield "metadata", repr(dict(reader.metadata or {})).encode()
    text = "".join(page.extract_text() for page in reader.pages)
    yield "text", "".join(text.split()).encode()  # a PDF breaks lines where it likes
    for number, match in enumerate(re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)):
        try:
            yield f"stream {number}", zlib.decompress(match[1].strip())
        except zlib.error:
            continue
