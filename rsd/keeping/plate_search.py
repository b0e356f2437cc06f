"""Plates in bytes: in raw records that nobody could read, and in the files of a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from rsd.privacy import normalise_plate_expr

ENCODINGS = ("utf-8", "gb18030", "utf-16-le", "utf-16-be")
"""Encodings in which a plate may stand in a file."""

_LONGEST = 4096
"""Characters of a raw record that are searched; a longer one counts as having a plate."""


def has_plate_of(raw: pl.Series, asked: pl.Series, plates: list[str]) -> pl.Series:
    """Say which of the ``asked`` raw records hold one of some normalised plates.

    Every way to read a record is tried, and blanks, dots and widths are levelled as in a plate.
    """
    found = pl.Series([False] * raw.len(), dtype=pl.Boolean)
    positions = asked.arg_true()
    if not plates or positions.is_empty():
        return found
    texts = [text for value in raw.gather(positions).to_list() for text in _readings(value)]
    held = _holds(pl.Series("text", texts, pl.String), plates).to_numpy()
    is_held = held.reshape(-1, len(ENCODINGS)).any(axis=1)
    return found.scatter(positions.filter(pl.Series(is_held)), values=True)


def _readings(value: bytes) -> Iterator[str]:
    has_zeros = 0 in value  # as UTF-16 has them beside each letter and digit
    for encoding in ENCODINGS:
        yield value.decode(encoding, "replace") if (
            has_zeros or not encoding.startswith("utf-16")) else ""


def _holds(texts: pl.Series, plates: list[str]) -> pl.Series:
    """Say which texts hold a plate: each window of a plate's length is looked up."""
    normal = texts.to_frame("text").select(normalise_plate_expr("text").fill_null("")).to_series()
    lengths = normal.str.len_chars()
    held = lengths > _LONGEST
    known = pl.Series("plate", plates).implode()
    frame = normal.to_frame("text")
    longest = min(max(lengths.to_list(), default=0), _LONGEST)
    for size in sorted({len(plate) for plate in plates}):
        for start in range(longest - size + 1):
            window = pl.col("text").str.slice(start, size)
            held |= frame.select(window.is_in(known)).to_series()
    return held


def files_with_plates(folder: Path, plates: Iterable[str]) -> list[tuple[Path, str]]:
    """Return the files under a folder in which a plate stands: raw, or in a Parquet file's cells.

    Each plate is looked for in all `ENCODINGS`. Returns (file, plate); [] proves that none is
    there. Meant for a handful of plates.
    """
    forms = [(plate, {plate.encode(e) for e in ENCODINGS}) for plate in plates]
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = [path.read_bytes()]
        if path.suffix == ".parquet":
            content += _cells(path)
        found += [(path, plate) for plate, spelt in forms
                  if any(form in data for data in content for form in spelt)]
    return found


def _cells(path: Path) -> list[bytes]:
    """Return all texts and bytes of a Parquet file, uncompressed."""
    try:
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError:
        return []
    columns = frame.select(pl.col(pl.String, pl.Binary)).get_columns()
    return [b"\n".join(column.drop_nulls().cast(pl.Binary).to_list()) for column in columns]
