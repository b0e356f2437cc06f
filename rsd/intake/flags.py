"""Validity letters: a value that its instrument calls invalid is null, and the record says so."""

from __future__ import annotations

import polars as pl

from rsd.intake.codes import fold
from rsd.intake.layout import Layout
from rsd.reasons import mask

FLAGGED = "VALUE_INVALID"
"""Reason code of a record that lost a value to a validity letter."""


def without_flagged(numbers: dict[str, pl.Expr], records: pl.DataFrame, layout: Layout,
                    pieces: list[pl.Expr]) -> dict[str, pl.Expr]:
    """Return numbers by target column without those that a flag column takes away.

    A blank flag says nothing and leaves its values alone. A letter that the format does not know
    takes them away too, and the record carries CODE_UNKNOWN. Records that had no value there lose
    nothing and carry nothing.
    """
    kept = dict(numbers)
    for flag, validity in layout.format.valid.items():
        letters = records[flag].drop_nulls().unique().to_list() if flag in layout.names else []
        off = [x for x in letters if fold(x) not in validity.good]
        if not off:
            continue
        is_off = pl.col(flag).is_not_null() & pl.col(flag).is_in(off)
        targets = [layout.format.real[n].to for n in validity.of if n in layout.names]
        had = pl.any_horizontal(pl.lit(False), *(kept[t].is_not_null() for t in targets))
        pieces.append(pl.when(is_off & had).then(mask(FLAGGED)).otherwise(0))
        strange = [x for x in off if fold(x) not in validity.bad]
        pieces.append(pl.when(pl.col(flag).is_in(strange)).then(mask("CODE_UNKNOWN")).otherwise(0))
        kept |= {t: pl.when(~is_off).then(kept[t]) for t in targets}
    return kept


def all_true(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """Return whether all of two verdicts that say something are true; null where none does."""
    return pl.coalesce(first & second, first, second)
