"""Plates of the synthetic fleet: unique in characters and colour, and valid in form.

Forms of GA 36 as public platform code checks them: ordinary plates have five serial characters
without I and O; new-energy plates have six, with the letter of the drive first (small vehicles)
or last (large ones). A few yellow plates have the characters of a blue one: another vehicle.
"""

from __future__ import annotations

import numpy as np
import polars as pl

HOME = "闽D"
ELSEWHERE = ("闽C", "闽E", "闽A", "闽B", "赣B", "粤B", "浙C", "沪A")
PREFIXES = (HOME, *ELSEWHERE)
PROVINCES = "闽赣粤浙沪"
BLUE, YELLOW, SMALL_GREEN, LARGE_GREEN = range(4)
COLOR_CODE = (0, 1, 4, 4)
"""cpys, numbered from 0: blue, yellow, white, black, green, other."""
COLOR_NAME = ("blue", "yellow", "green", "green")
PLATE_TYPE = ("02", "01", "52", "51")
"""GA 24.7; 51 and 52 as public platform code has them."""

_SERIAL = np.frombuffer(b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ", "S1")
_DRIVE = np.frombuffer(b"DABCE", "S1")  # battery
_STEP = 15_485_863  # prime: spreads consecutive numbers over all serials
_SHARED_EVERY = 50  # one yellow plate in so many has the characters of a blue one


def _digits(number: np.ndarray, base: int, width: int) -> np.ndarray:
    return (number[:, None] // base ** np.arange(width - 1, -1, -1)) % base


def _text(chars: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(chars).view(f"S{chars.shape[1]}").ravel().astype(str)


def _ordinary(rank: np.ndarray, kind: int, shift: int) -> np.ndarray:
    """Return serials of five characters out of 34; yellow ones from the other half."""
    space = 34**5
    other = (kind == YELLOW) & (rank % _SHARED_EVERY != 0)
    number = ((rank + np.where(other, space // 2, 0)) * _STEP + shift) % space
    return _text(_SERIAL[_digits(number, 34, 5)])


def _new_energy(rank: np.ndarray, kind: int, shift: int) -> np.ndarray:
    """Return serials with a drive letter: first and 34 × 10⁴, or last and 10⁵ of each."""
    space = 34 * 10**4 if kind == SMALL_GREEN else 10**5
    number = (rank % space * _STEP + shift) % space
    drive = _DRIVE[rank // space % len(_DRIVE)][:, None]
    if kind == LARGE_GREEN:
        return _text(np.hstack([_SERIAL[_digits(number, 10, 5)], drive]))
    second = _SERIAL[number // 10**4][:, None]
    return _text(np.hstack([drive, second, _SERIAL[_digits(number % 10**4, 10, 4)]]))


def make_plates(kind: np.ndarray, prefix: np.ndarray, shift: int) -> pl.Series:
    """Return a plate a vehicle; `kind` BLUE … LARGE_GREEN, `prefix` an index of PREFIXES.

    Unique by characters and colour up to 22 million ordinary, 1.7 million small and 0.5 million
    large new-energy plates a prefix.

    >>> make_plates(np.array([0, 1, 2, 3]), np.zeros(4, int), 7).to_list()
    ['闽D00007', '闽D00007', '闽DD00007', '闽D00007D']
    """
    plates = np.empty(len(kind), dtype="U8")
    group = prefix.astype(np.int64) * 4 + kind
    for g in np.unique(group):
        members = np.flatnonzero(group == g)
        rank = np.arange(len(members), dtype=np.int64)
        one_kind = int(g) % 4
        make = _ordinary if one_kind in (BLUE, YELLOW) else _new_energy
        serial = make(rank, one_kind, shift)
        plates[members] = np.char.add(PREFIXES[int(g) // 4], serial)
    return pl.Series("plate", plates.tolist(), dtype=pl.String)


def misread(plate: pl.Expr) -> pl.Expr:
    """Return the plate with its last character wrong: 8 for most, 3 for an 8."""
    wrong = pl.when(plate.str.ends_with("8")).then(pl.lit("3")).otherwise(pl.lit("8"))
    return plate.str.head(-1) + wrong
