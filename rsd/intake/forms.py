"""What stands in the cells of a sample: numbers, times, plates; what is said of it is its form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from rsd import clock
from rsd.intake.codes import fold
from rsd.privacy import normalise_plate_expr, plate_status_expr

TIME_PATTERNS: Final = (
    "%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f", "%Y%m%d%H%M%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d", "%Y%m%d",
)
DATES: Final = ("%Y-%m-%d", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%Y", "%d.%m.%Y", "%Y%m%d")
CLOCKS: Final = ("%H:%M:%S", "%I:%M:%S %p", "%H%M%S")
NULL_TEXTS: Final = ("NA", "N/A", "NULL", "null", "NaN", "nan", "None", "\\N", "-", ".", "--")
_DIGITS = re.compile(r"[-\d/:. TZAPMapm+]{6,}")
_SOME = 500  # cells that a form is told by
CODES_OF_NULL: Final = (-99.0, -999.0, -9999.0, 9999.0, 65535.0)
"""Numbers that instruments write where they have no value."""


@dataclass(eq=False)
class Column:
    """A column of the sample: its name as it stands and folded, and its cells."""

    shown: str
    cells: list[str]
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = fold(self.shown)

    @property
    def filled(self) -> list[str]:
        """Cells that are neither blank nor a text for null."""
        return [c for c in self.cells if c and c not in NULL_TEXTS]

    @property
    def numbers(self) -> list[float | None]:
        """Cells as numbers, None for others."""
        return [number(c) for c in self.cells]

    @property
    def is_numeric(self) -> bool:
        """Whether most of the cells that say something are numbers; some may be damaged."""
        filled = self.filled
        return bool(filled) and sum(number(c) is not None for c in filled) >= 0.75 * len(filled)


def number(text: str) -> float | None:
    """Return a cell as a number, None where it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e300 and "_" not in text else None


def plates_in(cells: Sequence[str]) -> float:
    """Return the share of cells that have the form of a Chinese plate."""
    frame = pl.DataFrame({"plate": cells}).select(normalise_plate_expr("plate"))
    status = frame.select(plate_status_expr("plate")).to_series()
    return float((status == "recognised").sum()) / max(len(cells), 1)


def time_patterns(cells: Sequence[str], patterns: Sequence[str] = TIME_PATTERNS, *,
                  share: float = 0.7) -> list[str]:
    """Return patterns that together read a share of some cells, the best first; [] if none do."""
    few = cells[:_SOME]
    if sum(_DIGITS.fullmatch(c) is not None for c in few) < share * len(few):
        return []  # which most columns are: no pattern need be tried
    text = pl.DataFrame({"t": few}, schema={"t": pl.String})
    reads = {p: text.select(_is_read(p)).to_series() for p in patterns}
    chosen: list[str] = []
    left = pl.repeat(True, text.height, eager=True)
    while len(chosen) < len(patterns):
        usable = [p for p in patterns if _order(p) in ("", *map(_order, chosen)) or not chosen]
        best = max(usable, key=lambda p: int((reads[p] & left).sum()))
        if not (reads[best] & left).any():
            break
        chosen.append(best)
        left = left & ~reads[best]
    is_most = bool(few) and left.sum() <= (1 - share) * text.height
    return chosen if is_most else []


def _order(pattern: str) -> str:
    """Return whether day or month comes first, where the year does not: one file has one order."""
    return pattern[:5] if pattern[:2] in ("%d", "%m") else ""


def _is_read(pattern: str) -> pl.Expr:
    if "%Y" in pattern:
        return _parsed(pattern).is_not_null()
    shape = pattern
    for code, digits in (("%H", r"\d{1,2}"), ("%I", r"\d{1,2}"), ("%M", r"\d\d"), ("%S", r"\d\d"),
                         ("%p", "[AaPp][Mm]")):
        shape = shape.replace(code, digits)
    return pl.col("t").str.contains(f"^{shape}$")


def _parsed(pattern: str) -> pl.Expr:
    if "%S" in pattern:
        return clock.parse_local(pl.col("t"), pattern)
    shape = pattern.replace("%Y", r"\d{4}").replace("%m", r"\d{1,2}").replace("%d", r"\d{1,2}")
    return pl.when(pl.col("t").str.contains(f"^{shape.replace('.', '[.]')}$")).then(
        pl.col("t").str.to_date(pattern, strict=False))


def shape_of(cells: Sequence[str]) -> str:
    """Return the commonest form of some cells: a letter is A, a digit 9, a Chinese character 汉.

    >>> shape_of(["闽D12345", "闽D99999", "x"])
    '汉A99999'
    """
    shapes = [re.sub(r"[^\W\d_]", lambda m: "A" if m.group().isascii() else "汉",
                     re.sub(r"\d", "9", c[:24])) for c in cells]
    return max(sorted(set(shapes)), key=shapes.count) if shapes else ""
