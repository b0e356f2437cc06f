"""A draft of a format file for a dump whose header no format knows.

Every line says why and how sure; what is not known is a TODO. No cell is ever shown: of what stands
in a column only its form, and figures over many records.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from rsd.errors import InputRefused
from rsd.intake import guess
from rsd.intake.codes import fold
from rsd.intake.draft import KNOWN, Line, Sample, draft
from rsd.intake.figures import MIN_VALUES, median
from rsd.intake.format_file import Format
from rsd.intake.formats import formats, header_separator
from rsd.intake.forms import CODES_OF_NULL, Column, number, plates_in, shape_of, time_patterns
from rsd.intake.guess import CANONICAL, MAYBE, SURE, Guess
from rsd.intake.ranges import RangeProfile
from rsd.intake.source import beginning, sources_of
from rsd.units import is_convertible, to_canonical

_SAMPLE_BYTES = 1 << 20
_MOST_ROWS = 2000
_RATIOS = {"co_co2": ("co_pct", 1.0), "hc_co2": ("hc_ppm", 1e4), "no_co2": ("no_ppm", 1e4),
           "no2_co2": ("no2_ppm", 1e4)}


def propose(path: Path, *, without: Sequence[str] = ()) -> str:
    """Return the draft of a format file (TOML) for a dump.

    Args:
        path: the dump, packed or not.
        without: ids of formats whose knowledge is not used.

    Raises:
        InputRefused: no text, or its first line is no header but data.
    """
    sample = _read(path)
    known = _ranked([f for f in formats().values() if f.id not in without], sample)
    if known and _overlap(known[0], sample) >= 0.5 * len(sample.columns):
        sample.own = known[0]
    lines, stored_not = _mapped(sample, known)
    lines = _with_units(lines, sample)
    return "\n".join(draft(sample, lines, stored_not)) + "\n"


def _read(path: Path) -> Sample:
    """Return the first rows of a dump that have all their cells."""
    source = sources_of(path)[0]
    data = beginning(source, _SAMPLE_BYTES)
    whole = data[:data.rfind(b"\n") + 1] or data
    text, encoding = _decoded(whole, source.where)
    first, _, rest = text.removeprefix("\ufeff").partition("\n")
    separator = header_separator(first.rstrip("\r"))
    header = next(csv.reader([first.rstrip("\r")], delimiter=separator), [])
    where = f"{source.where}, line 1"
    if len(header) < 2 or "\0" in first:
        raise InputRefused("the first line is no header", where=where,
                           found=f"{len(header)} columns", expected="column names",
                           remedy="Name the separator , ; tab or |, or check the file.")
    _refuse_data(header, where)
    rows = []
    for row in csv.reader(rest.splitlines(), delimiter=separator):
        if len(row) == len(header) and [fold(c) for c in row] != [fold(c) for c in header]:
            rows.append([c.strip() for c in row])
        if len(rows) == _MOST_ROWS:
            break
    columns = [Column(n.strip(), [row[k] for row in rows]) for k, n in enumerate(header)]
    _refuse_looking_alike(columns, where)
    return Sample([c for c in columns if c.name], separator, encoding, len(rows))


def _decoded(data: bytes, where: str) -> tuple[str, str]:
    """Return text and encoding; a damaged line does not decide, so errors are replaced."""
    texts = {e: data.decode(e, "replace") for e in ("utf-8", "gb18030")}
    encoding = min(texts, key=lambda e: texts[e].count("\ufffd"))
    if texts[encoding].count("\ufffd") > len(data) // 20 or data.count(b"\0") > len(data) // 20:
        raise InputRefused("this is no text", where=where, expected="UTF-8, UTF-16 or GB18030",
                           remedy="This is no dump; check the file.")
    return texts[encoding].replace("\r\n", "\n").replace("\r", "\n"), encoding


def _refuse_data(header: Sequence[str], where: str) -> None:
    """Refuse a file without a header: its first line would be printed, a plate with it."""
    filled = [c.strip() for c in header if c.strip()]
    numbers = sum(number(c) is not None for c in filled)
    has_plate = any(plates_in([c]) for c in filled)
    has_time = any(time_patterns([c]) for c in filled if len(c) > 7)
    if has_plate or has_time or numbers > 0.3 * len(filled):
        raise InputRefused("the first line is no header but data", where=where,
                           found=f"{numbers} numbers among {len(filled)} cells",
                           expected="column names", remedy="Put a line with names before it.")


def _refuse_looking_alike(columns: Sequence[Column], where: str) -> None:
    """Refuse a first line with a cell of letters and digits that has the form of those below."""
    for column in columns:
        form = shape_of([column.shown])
        if "9" in form and "A" in form and len(form) > 4 and column.filled and form == shape_of(
                column.filled):
            raise InputRefused("the first line is no header but data", where=where,
                               found="a cell of the same form as those below it",
                               expected="column names", remedy="Put a line with names before it.")


def _ranked(known: Sequence[Format], sample: Sample) -> list[Format]:
    """Return formats, the one that knows most of the names first."""
    return sorted(known, key=lambda f: (-_overlap(f, sample), f.id))


def _overlap(fmt: Format, sample: Sample) -> int:
    return len({c.name for c in sample.columns} & ({*fmt.alias} | fmt.names()))


def _mapped(sample: Sample, known: Sequence[Format]) -> tuple[list[Line], list[tuple[Column, str]]]:
    """Return what columns become, each target once, and the columns that are not stored."""
    lines: list[Line] = []
    stored_not: list[tuple[Column, str]] = []
    for column in sample.columns:
        found, is_known = guess.by_formats(column, known, sample.own)
        from_cells = guess.by_cells(column)
        if not found and not is_known:
            found = guess.by_words(column)
            if from_cells and from_cells[0].to not in {g.to for g in found}:
                found = from_cells  # what stands there outdoes its name
        if not found:
            stored_not.append((column, KNOWN if is_known else ""))
        lines += [Line(column, g) for g in found]
    return _each_once(lines, stored_not), stored_not


def _each_once(lines: list[Line], stored_not: list[tuple[Column, str]]) -> list[Line]:
    """Return the lines without a weaker second column for one target."""
    order = (SURE, guess.LIKELY, MAYBE)
    best: dict[tuple[str, str], Line] = {}
    for line in sorted(lines, key=lambda x: order.index(x.guess.confidence)):
        best.setdefault((line.guess.kind, line.guess.to), line)
    may_share = ("measured_local", "is_device_valid", "site_id")
    kept = [x for x in lines if best[x.guess.kind, x.guess.to] is x
            or (x.guess.to in may_share and x.guess.confidence == SURE)]
    for line in lines:
        if line not in kept and not any(x.column is line.column for x in kept):
            rival = best[line.guess.kind, line.guess.to].column.shown
            stored_not.append((line.column, f"TODO: {line.guess.to} too? {rival} was taken"))
    return kept


# -- units by what the columns say together -----------------------------------------------------


def _floats(column: Column) -> pl.Series:
    values = pl.Series(column.numbers, dtype=pl.Float64, strict=False)
    return pl.select(pl.when(~values.is_in(list(CODES_OF_NULL))).then(values)).to_series()


def _canonical(line: Line) -> pl.Series:
    unit = CANONICAL[line.guess.to]
    frame = pl.DataFrame({"x": _floats(line.column)})
    return frame.select(to_canonical(pl.col("x"), line.guess.unit, unit)).to_series()


def _with_units(lines: list[Line], sample: Sample) -> list[Line]:
    """Return the lines with units that columns of one record confirm or correct."""
    reals = {x.guess.to: x for x in lines if x.guess.kind == "real"}
    changed: dict[str, Guess] = {}
    for ratio, (value, factor) in _RATIOS.items():
        if all(name in reals for name in (ratio, value, "co2_pct")):
            changed |= _agreeing(reals, ratio, value, factor)
    lines = [replace(x, guess=changed.get(x.guess.to, x.guess))
             if x.guess.kind == "real" else x for x in lines]
    if sample.rows < MIN_VALUES:
        return lines
    declared = {x.guess.to: (x.column.name, x.guess.unit) for x in lines if x.guess.kind == "real"}
    profile = RangeProfile(declared)
    frame = pl.DataFrame({x.guess.to: _canonical(x) for x in lines if x.guess.kind == "real"})
    profile.add(frame.with_columns(site_id=pl.lit("")))
    doubts = {d.column: d for d in profile.findings()}
    return [_corrected(x, doubts[x.guess.to].likely, doubts[x.guess.to].evidence)
            if x.guess.kind == "real" and x.guess.to in doubts else x for x in lines]


def _agreeing(reals: dict[str, Line], ratio: str, value: str, factor: float) -> dict[str, Guess]:
    """Return ratio and concentration with the unit of the ratio that makes them agree."""
    concentration, co2 = (_canonical(reals[n]) for n in (value, "co2_pct"))
    line = reals[ratio]
    for unit in dict.fromkeys((line.guess.unit, "mol/mol", "ppm/%")):
        own = _canonical(replace(line, guess=replace(line.guess, unit=unit)))
        apart = pl.DataFrame({"a": own * co2 * factor, "b": concentration}).drop_nulls().filter(
            (pl.col("a") != 0) & (pl.col("b") != 0))
        if apart.height < 2:
            return {}
        gap = ((apart["a"] / apart["b"]) - 1.0).abs()
        if median(gap.to_numpy()) < 0.05:
            number = int((gap < 0.05).sum())
            why = f"ratio x CO2 gives {value} in {number} of {apart.height} records"
            return {ratio: replace(line.guess, unit=unit, confidence=SURE, reason=why),
                    value: replace(reals[value].guess, confidence=SURE, reason=why)}
    return {}


def _corrected(line: Line, likely: Sequence[str], evidence: Sequence[str]) -> Line:
    usable = [u for u in likely if is_convertible(u, CANONICAL[line.guess.to])]
    if not usable:
        return replace(line, guess=replace(line.guess, reason=f"TODO: {'; '.join(evidence)}"))
    return replace(line, guess=replace(line.guess, unit=usable[0], reason="; ".join(evidence)))
