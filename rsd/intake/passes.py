"""Raw records of a format → reported passes: our names, our units, codes decoded."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from rsd.columns import REPORTED, schema
from rsd.intake.formats import CodeTable, CodeValue
from rsd.intake.layout import Layout
from rsd.reasons import mask
from rsd.units import to_canonical

_SCHEMA = schema(REPORTED)
_FEW = 4


def to_reported(records: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the reported passes of a chunk's records, one a record, in the same order.

    Args:
        records: a frame of the layout, with ``measured_local`` and ``source_line``; no cell begins
            or ends with a blank, none is an empty text.
        layout: the format bound to the header.

    Returns:
        The columns of `rsd.columns.REPORTED`; ``record_id`` is null where the source has none,
        ``plate`` is as it came.
    """
    pieces: list[pl.Expr] = []
    columns: dict[str, pl.Expr] = {}
    for source, target in layout.format.text.items():
        if source in layout.names:
            columns[target] = pl.col(source)
    for source, target in layout.format.date.items():
        if source in layout.names:
            columns[target] = pl.col(source).str.to_date("%Y-%m-%d")
    columns |= _numbers(records, layout, pieces)
    columns |= _codes(records, layout, pieces)
    columns |= _times(layout, pieces, records.columns)
    bits = pl.lit(0, pl.Int64)
    for piece in pieces:
        bits = bits | piece
    columns["intake_bits"] = bits
    columns["source_line"] = pl.col("source_line")
    chosen = [
        columns.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in _SCHEMA.items()
    ]
    return records.select(chosen)


def _numbers(records: pl.DataFrame, layout: Layout,
             pieces: list[pl.Expr]) -> dict[str, pl.Expr]:
    """Return the numbers in canonical units, with the format's null codes taken out."""
    found: dict[str, pl.Expr] = {}
    suspects = _with_sentinels(records, layout)
    for source in layout.reals:
        value, real = pl.col(source), layout.format.real[source]
        if source in suspects:
            is_code = value.is_in(list(layout.format.sentinels))
            pieces.append(pl.when(is_code).then(mask("SENTINEL")).otherwise(0))
            value = pl.when(~is_code).then(value)
        found[real.to] = to_canonical(value, real.unit, _canonical_unit(real.to))
    return found


def _canonical_unit(column: str) -> str:
    return next(c.unit for c in REPORTED if c.name == column)


def _with_sentinels(records: pl.DataFrame, layout: Layout) -> set[str]:
    codes = layout.format.sentinels
    if not codes or records.is_empty() or not layout.reals:
        return set()
    low = max((c for c in codes if c < 0), default=float("-inf"))
    high = min((c for c in codes if c > 0), default=float("inf"))
    reals = pl.col(layout.reals)
    hit = records.select((reals.min() <= low) | (reals.max() >= high)).row(0, named=True)
    return {name for name, is_hit in hit.items() if is_hit}


def _codes(records: pl.DataFrame, layout: Layout, pieces: list[pl.Expr]) -> dict[str, pl.Expr]:
    """Return the code columns decoded; a code that no table knows says so."""
    wanted = {to: (source, table) for source, (to, table) in layout.format.code.items()}
    if layout.format.vehicle_class is not None:
        wanted["vehicle_class_reported"] = layout.format.vehicle_class
    found: dict[str, pl.Expr] = {}
    for target, (source, table) in wanted.items():
        if source in layout.names:
            found[target], strange = _decode(records[source], table)
            if strange:
                is_strange = pl.col(source).is_in(strange)
                pieces.append(pl.when(is_strange).then(mask("CODE_UNKNOWN")).otherwise(0))
    return found


def _decode(cells: pl.Series, table: CodeTable) -> tuple[pl.Expr, list[str]]:
    # distinct cells only: a handful of codes, whatever the number of records
    distinct: list[str] = cells.drop_nulls().unique().to_list()
    decoded = {cell: table.decode(cell) for cell in distinct}
    blank, _ = table.decode(None)
    kind = _kind(table.values.values())
    values = _mapped(pl.col(cells.name), distinct, [decoded[c][0] for c in distinct], kind)
    strange = [cell for cell, (_, is_known) in decoded.items() if not is_known]
    filled = values if blank is None else pl.when(pl.col(cells.name).is_null()).then(
        pl.lit(blank)).otherwise(values)
    return filled, strange


def _mapped(cells: pl.Expr, old: list[str], new: list[CodeValue],
            kind: type[pl.DataType]) -> pl.Expr:
    if len(old) > _FEW:
        return cells.replace_strict(pl.Series(old, dtype=pl.String), pl.Series(new, dtype=kind),
                                    default=None, return_dtype=kind)
    values = pl.lit(None, kind)  # for a few, comparing costs half of a look-up
    for code, value in zip(old, new, strict=True):
        values = pl.when(cells == code).then(pl.lit(value, kind)).otherwise(values)
    return values


def _kind(values: Iterable[object]) -> type[pl.DataType]:
    first = next(iter(values))
    return pl.Boolean if isinstance(first, bool) else pl.Int8 if isinstance(
        first, int) else pl.String


def _times(layout: Layout, pieces: list[pl.Expr], columns: list[str]) -> dict[str, pl.Expr]:
    found = {"measured_local": pl.col("measured_local")}
    if "is_second_hour" in columns:
        found["is_second_hour"] = pl.col("is_second_hour")
    if layout.format.afternoon_hours:
        shown = pl.col(layout.time).str.slice(11, 2).cast(pl.Int8, strict=False)
        is_late = shown.is_in(list(layout.format.afternoon_hours))
        pieces.append(pl.when(is_late).then(mask("CLOCK_REPAIRED")).otherwise(0))
        found["raw_time"] = pl.when(is_late).then(pl.col(layout.time))
    return found
