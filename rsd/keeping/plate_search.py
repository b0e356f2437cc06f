"""Plates in bytes: in raw records that nobody could read, and in the files of a lake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from rsd.privacy import (
    chinese_plates_in,
    holds_chinese_plate,
    mask_chinese_plates,
    mask_plate,
    normalise_plate_expr,
)

ENCODINGS = ("utf-8", "gb18030", "utf-16-le", "utf-16-be")
"""Encodings in which a plate may stand in a file."""

SHORTEST = 6
"""Characters of a plate that is looked for where none is expected; choice of this project."""

_LONGEST = 4096
"""Characters of a raw record that are searched; a longer one counts as having a plate."""

_AT_ONCE = 250  # records whose parts are held together: some thousand parts each


def has_plate_of(raw: pl.Series, asked: pl.Series, plates: pl.Series) -> pl.Series:
    """Say which of the ``asked`` raw records hold one of some normalised plates.

    Every way to read a record is tried, and blanks, dots and widths are levelled as in a plate.
    ``plates`` may be millions: they are looked at once for every `_AT_ONCE` records.
    """
    found = pl.Series([False] * raw.len(), dtype=pl.Boolean)
    positions = asked.arg_true()
    if plates.is_empty() or positions.is_empty():
        return found
    sizes = sorted(plates.str.len_chars().unique().to_list())
    for begin in range(0, positions.len(), _AT_ONCE):
        some = positions.slice(begin, _AT_ONCE)
        texts = [text for value in raw.gather(some).to_list() for text in _readings(value)]
        held = _holds(pl.Series("text", texts, pl.String), plates, sizes).to_numpy()
        is_held = held.reshape(-1, len(ENCODINGS)).any(axis=1)
        found = found.scatter(some.filter(pl.Series(is_held)), values=True)
    return found


def telling(plates: pl.Series) -> pl.Series:
    """Return the plates that are not found by chance: six characters, digits and others."""
    return plates.filter((plates.str.len_chars() >= SHORTEST) & plates.str.contains(r"\d")
                         & plates.str.contains(r"\D"))


def masked_plates(texts: pl.Series, plates: pl.Series) -> pl.Series:
    """Return texts, such as names of photos, without some plates: each is masked where it stands.

    ``plates`` are normalised; those of China are found however they are spelt, others as they are.
    """
    unique = texts.drop_nulls().unique()
    sizes = sorted(plates.str.len_chars().unique().to_list())
    hits = unique.clear()
    if (is_chinese := holds_chinese_plate(unique)) is not None:
        shown = unique.filter(is_chinese).to_frame("text").with_columns(
            plate=chinese_plates_in(unique.filter(is_chinese))).explode("plate")
        hits = shown.filter(_holds(shown["plate"], plates, sizes))["text"].unique()
    others = plates.filter(plates.str.len_bytes() == plates.str.len_chars()).to_list()
    plain = unique.filter(unique.str.contains_any(others)) if others else unique.clear()
    named = pl.concat([hits, plain]).unique()
    if named.is_empty():
        return texts
    masked = pl.Series([_without(text, others) for text in named.to_list()], dtype=pl.String)
    # one that cannot be told from its neighbours takes all of them
    left = pl.select(pl.when(_holds(masked, plates, sizes)).then(
        masked.str.replace_all("(?s).", "*")).otherwise(masked)).to_series()
    return texts.replace(named, left)


def _without(text: str, plates: Sequence[str]) -> str:
    for plate in plates:
        if plate in text:
            text = text.replace(plate, mask_plate(plate) or "")
    return mask_chinese_plates(text)


def _readings(value: bytes) -> Iterator[str]:
    has_zeros = 0 in value  # as UTF-16 has them beside each letter and digit
    for encoding in ENCODINGS:
        yield value.decode(encoding, "replace") if (
            has_zeros or not encoding.startswith("utf-16")) else ""


def _holds(texts: pl.Series, plates: pl.Series, sizes: list[int]) -> pl.Series:
    """Say which texts hold a plate: each window of a plate's length is looked up."""
    normal = texts.to_frame("text").select(normalise_plate_expr("text").fill_null("")).to_series()
    lengths = normal.str.len_chars()
    windows = pl.concat(list(_windows(normal.filter(lengths <= _LONGEST), sizes))).unique()
    there = plates.filter(plates.is_in(windows.implode())).to_list()
    is_long = lengths > _LONGEST
    return is_long | normal.str.contains_any(there) if there else is_long


def _windows(texts: pl.Series, sizes: list[int]) -> Iterator[pl.Series]:
    """Yield all parts of texts that have one of some lengths, each at least once."""
    yield pl.Series([], dtype=pl.String)
    longest = int(texts.str.len_chars().max() or 0)  # type: ignore[arg-type]
    for size in sizes:
        for start in range(longest - size + 1):
            yield texts.str.slice(start, size).unique()


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
