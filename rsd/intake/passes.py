"""Raw records of a format → reported passes: our names, our units, codes decoded."""

from __future__ import annotations

from typing import Any

import polars as pl

from rsd.columns import PASSES, REPORTED, travelling
from rsd.intake.codes import CodeTable
from rsd.intake.flags import all_true, without_flagged
from rsd.intake.layout import LABEL, Layout
from rsd.privacy import holds_chinese_plate, mask_chinese_plates
from rsd.reasons import mask
from rsd.units import to_canonical

_SCHEMA = travelling(REPORTED)
_OPEN = {column.name for column in PASSES} | {"use_reported"}


def to_reported(records: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the reported passes of a chunk's records, one a record, in the same order.

    Args:
        records: a frame of the layout, with ``measured_local`` and ``source_line``; no cell begins
            or ends with a blank, none is an empty text.
        layout: the format bound to the header.

    Returns:
        The columns of `rsd.columns.REPORTED` in their `travelling` types; ``record_id`` is null
        where the source has none, ``plate`` is as it came.
    """
    pieces: list[pl.Expr] = []
    columns: dict[str, pl.Expr] = {}
    if texts := [n for n in layout.labels if records.schema[n] == pl.String]:
        records = records.with_columns(pl.col(texts).cast(LABEL))
    for source, target in layout.format.text.items():
        if source in layout.names:
            columns[target] = _without_plates(records[source], target)
    for source, target in layout.format.date.items():
        if source in layout.names:
            columns[target] = pl.col(source).str.to_date("%Y-%m-%d")
    if layout.site:
        columns["site_id"] = pl.lit(mask_chinese_plates(layout.site))
    columns |= without_flagged(_numbers(records, layout, pieces), records, layout, pieces)
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


def _without_plates(cells: pl.Series, target: str) -> pl.Expr:
    """Return a text column; where it goes to the open passes, without plates in it.

    A plate in a wrong cell is masked. In the number of a record it makes the number blank: one is
    derived, for masked ones of two vehicles could be the same.
    """
    distinct = cells if cells.dtype == pl.String else cells.unique()
    texts = distinct.cast(pl.String)
    if target not in _OPEN or (is_plate := holds_chinese_plate(texts)) is None:
        return pl.col(cells.name)
    known = {text: None if target == "record_id" else mask_chinese_plates(text)
             for text in texts.filter(is_plate).unique()}
    if not known:
        return pl.col(cells.name)
    return pl.col(cells.name).cast(pl.String).replace(known)


def _numbers(records: pl.DataFrame, layout: Layout,
             pieces: list[pl.Expr]) -> dict[str, pl.Expr]:
    """Return the numbers in canonical units, with the format's null codes taken out."""
    found: dict[str, pl.Expr] = {}
    suspects = _with_sentinels(records, layout)
    for source in layout.reals:
        value, real = pl.col(source), layout.format.real[source]
        if source in suspects:
            is_code = value.is_in(list(layout.format.nulls_of(source)))
            pieces.append(pl.when(is_code).then(mask("SENTINEL")).otherwise(0))
            value = pl.when(~is_code).then(value)
        found[real.to] = to_canonical(value, real.unit, _canonical_unit(real.to))
    return found


def _canonical_unit(column: str) -> str:
    return next(c.unit for c in REPORTED if c.name == column)


def _with_sentinels(records: pl.DataFrame, layout: Layout) -> set[str]:
    codes = layout.format.sentinels
    own = {n for n in layout.reals if layout.format.real[n].null}
    if not codes or records.is_empty() or not layout.reals:
        return own
    low = max((c for c in codes if c < 0), default=float("-inf"))
    high = min((c for c in codes if c > 0), default=float("inf"))
    reals = pl.col(layout.reals)
    hit = records.select((reals.min() <= low) | (reals.max() >= high)).row(0, named=True)
    return own | {name for name, is_hit in hit.items() if is_hit}


def _codes(records: pl.DataFrame, layout: Layout, pieces: list[pl.Expr]) -> dict[str, pl.Expr]:
    """Return the code columns decoded; a code that no table knows says so."""
    wanted = [(to, source, table) for source, (to, table) in layout.format.code.items()]
    if layout.format.vehicle_class is not None:
        wanted.append(("vehicle_class_reported", *layout.format.vehicle_class))
    found: dict[str, pl.Expr] = {}
    for target, source, table in wanted:
        if source in layout.names:
            values, is_strange = _decode(records[source], table, _SCHEMA[target])
            found[target] = all_true(found[target], values) if target in found else values
            if is_strange is not None:
                pieces.append(pl.when(is_strange).then(mask("CODE_UNKNOWN")).otherwise(0))
    return found


def _decode(cells: pl.Series, table: CodeTable,
            dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr | None]:
    """Return the decoded column, and which cells hold a code that the table does not know.

    Distinct cells only are decoded, a handful whatever the number of records; the others are
    gathered by the number that stands for them.
    """
    distinct = cells.drop_nulls().unique()
    decoded = [table.decode(cell) for cell in distinct.to_list()]
    numbers = distinct.to_physical()
    size = int(numbers.max() or 0) + 1  # type: ignore[arg-type]
    number = pl.col(cells.name).to_physical()
    values = pl.lit(_scattered(size, numbers, [v for v, _ in decoded], dtype)).gather(number)
    blank, _ = table.decode(None)
    filled = values if blank is None else values.fill_null(pl.lit(blank, dtype))
    if all(is_known for _, is_known in decoded):
        return filled, None
    strange = _scattered(size, numbers, [not is_known for _, is_known in decoded], pl.Boolean())
    return filled, pl.lit(strange).gather(number)


def _scattered(size: int, numbers: pl.Series, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Return a series that holds each value at its number and nothing elsewhere."""
    at = numbers.cast(pl.UInt32)
    places = pl.DataFrame({"at": at, "value": pl.Series(values, dtype=dtype)})
    every = pl.DataFrame({"at": pl.int_range(size, dtype=pl.UInt32, eager=True)})
    return every.join(places, on="at", how="left", maintain_order="left")["value"]


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
