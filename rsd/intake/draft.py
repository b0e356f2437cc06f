"""The text of a draft: a format file in TOML, a reason on every line, and no cell of the dump."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from rsd.intake.codes import fold
from rsd.intake.format_file import Format
from rsd.intake.forms import (
    CLOCKS,
    CODES_OF_NULL,
    DATES,
    NULL_TEXTS,
    Column,
    plates_in,
    shape_of,
    time_patterns,
)
from rsd.intake.guess import CANONICAL, Guess, by_words, says, words_of

KNOWN = "known, not stored"
"""Why a column that a format knows stands nowhere else."""


@dataclass
class Sample:
    """The beginning of a dump, cut into cells; ``own`` is the format that its header is like."""

    columns: list[Column]
    separator: str
    encoding: str
    rows: int
    own: Format | None = None


@dataclass(frozen=True)
class Line:
    """A line of the draft: the column in the source, what it becomes, why."""

    column: Column
    guess: Guess


def _text(value: object) -> str:
    """Return a string or list of strings as TOML (a JSON string is one, but for one character)."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def draft(sample: Sample, lines: list[Line],
           stored_not: list[tuple[Column, str]]) -> Iterator[str]:
    """Yield the lines of a draft.

    Args:
        sample: what was read.
        lines: what columns become.
        stored_not: the other columns, with what is to be said of each.
    """
    by_kind = {k: [x for x in lines if x.guess.kind == k]
               for k in ("text", "date", "real", "code", "class", "time")}
    yield from _head(sample, by_kind)
    yield from _time(sample, by_kind["time"])
    for kind in ("text", "date", "real", "code"):
        if by_kind[kind]:
            yield from ("", f"[{kind}]")
            yield from (_entry(x) for x in by_kind[kind])
    for line in by_kind["class"][:1]:
        yield from ("", "[class]", f"column = {_text(line.column.shown)}",
                    f"table = {_text(line.guess.table)}  # {_why(line.guess)}")
    flags = [*_own_flags(sample, stored_not), *_flags(by_kind["real"], stored_not)]
    if flags:
        yield from ("", "[valid]", *flags)
    yield from long_table(sample, stored_not)
    kept = [c.shown for c, why in stored_not if why == KNOWN]
    yield from ("", "[known]", f"names = {_text(kept)}")
    rest = [(c, why) for c, why in stored_not if why != KNOWN]
    if rest:
        yield from ("", "# TODO: these columns are ignored until they stand above; a name under "
                    "[known] ends the remark.")
        yield from (f"# {_text(c.shown)}: {'; '.join(filter(None, (_about(c), why)))}"
                    for c, why in rest)


def _head(sample: Sample, by_kind: dict[str, list[Line]]) -> Iterator[str]:
    chinese = any(x.guess.to == "plate" and plates_in(x.column.filled or ["x"]) >= 0.3
                  for x in by_kind["text"])
    has_plate = any(x.guess.to == "plate" for x in by_kind["text"])
    has_site = any(x.guess.to == "site_id" for x in by_kind["text"])
    plates = "cn" if chinese else "any" if has_plate else "none"
    if sample.own is not None:
        plates = sample.own.plates
    encodings = ["utf-8", "gb18030"] if chinese or sample.encoding == "gb18030" else ["utf-8"]
    yield f"# A draft, from {sample.rows} records. Check every line; a TODO must be settled."
    yield 'id = "new_format"  # TODO: a short name'
    yield 'title = "TODO"'
    yield 'citation = "TODO: where names, units and codes are documented"'
    yield f"required = {_text(_signature(by_kind))}  # a header with all of these is this format"
    yield f"encodings = {_text(encodings)}"
    yield 'final_newline = "required"  # a last line without its end counts as torn'
    texts, codes = _nulls(sample)
    yield f"null_text = {_text(texts)}  # seen in columns of numbers and codes"
    yield f"sentinels = {[*codes]}  # numbers that mean no value" + (
        " (seen)" if codes else "; TODO: none was seen")
    yield f'plates = "{plates}"'
    yield from _conventions(sample.own, chinese=chinese)
    if sample.separator != ",":
        yield f"separator = {_text(sample.separator)}"
    if not has_site:
        yield "site_from_file = true  # no column names the site: the file's name does"
    yield "notes = []"


def _conventions(own: Format | None, *, chinese: bool) -> Iterator[str]:
    """Yield what no cell tells: as the format has it that the header is like, else a TODO."""
    said = f"as format {own.id}" if own else "TODO"
    yield f'convention = "{own.convention if own else "feat"}"  # {said}: for g/kg'
    co2 = own.co2_denominator if own else "cn042" if chinese else "feat121"
    yield f'co2_denominator = "{co2}"  # {said}'
    yield f"impute_nox = {str(own.impute_nox if own else True).lower()}  # {said}"
    yield f'hc_basis = "{own.hc_basis if own else "propane"}"  # {said}: propane or hexane'
    profile = own.quality_profile if own else "hj845" if chinese else "campaign"
    yield f'quality_profile = "{profile}"  # {said}'


def _signature(by_kind: dict[str, list[Line]]) -> list[str]:
    """Return the names that tell the format: site, time, plate and the first gases."""
    named = [x.column.shown for x in by_kind["text"] if x.guess.to in ("site_id", "plate")]
    named += [x.column.shown for x in by_kind["time"][:1]]
    named += [x.column.shown for x in by_kind["real"]
              if x.guess.to in ("co_pct", "co_co2", "co_g_kg_reported")][:1]
    return [n.replace("|", "") for n in dict.fromkeys(named)]


def _nulls(sample: Sample) -> tuple[list[str], list[float]]:
    seen = {c for column in sample.columns for c in column.cells if c in NULL_TEXTS}
    numbers = {x for column in sample.columns if column.is_numeric for x in column.numbers
               if x is not None and x in CODES_OF_NULL}
    return sorted(seen), sorted(numbers)


def _time(sample: Sample, lines: list[Line]) -> Iterator[str]:
    yield from ("", "[time]")
    filled = {x.column: x.column.filled for x in lines}
    if columns := _as_own(sample):
        own = sample.own
        assert own is not None
        yield f"columns = {_text(columns)}  # as format {own.id}"
        yield f"formats = {_text(list(own.time_formats))}  # as format {own.id}"
        yield from [f'zone = "{own.time_zone}"'] if own.time_zone else []
        yield from [f"afternoon_hours = {list(own.afternoon_hours)}  # a 12-hour dial"
                    ] if own.afternoon_hours else []
        return
    whole = {c.shown: p for c, cells in filled.items() if (p := time_patterns(cells))}
    pair = _date_and_clock(sample)
    if whole and (pair is None or any("%S" in p for ps in whole.values() for p in ps)):
        patterns = list(dict.fromkeys(p for ps in whole.values() for p in ps))
        yield f"columns = {_text(list(whole))}  # {lines[0].guess.reason}"
    elif pair is not None:
        patterns = pair[1]
        yield f"columns = {_text([pair[0]])}  # a date and a clock"
    else:
        patterns = ["%Y-%m-%d %H:%M:%S"]
        yield f"columns = {_text([c.shown for c in filled] or ['TODO'])}  # TODO: no known form"
    ambiguous = any("%m/%d" in p or "%d/%m" in p for p in patterns)
    yield f"formats = {_text(patterns)}" + ("  # TODO: month or day first?" if ambiguous else "")
    if any(p.endswith("Z") for p in patterns):
        yield 'zone = "UTC"'
    else:
        yield '# zone = "UTC"  # TODO: if it is not the clock of the lake'


def _as_own(sample: Sample) -> list[str]:
    """Return the columns of the time if the format that the header is like reads their cells."""
    if sample.own is None:
        return []
    there = {c.name: c for c in sample.columns}
    for names in (*((n,) for n in sample.own.time_columns), *sample.own.time_pairs):
        parts = [there[n] for n in names if n in there]
        if len(parts) == len(names):
            cells = [" ".join(row) for row in zip(*(c.cells for c in parts), strict=True)
                     if all(row)]
            if time_patterns(cells, sample.own.time_formats, share=0.5):
                return [" + ".join(c.shown for c in parts)]
    return []


def _date_and_clock(sample: Sample) -> tuple[str, list[str]] | None:
    """Return two columns that are a time together, and the patterns of both."""
    dates = {c: p for c in sample.columns if not c.is_numeric and (p := time_patterns(
        c.filled, DATES))}
    clocks = {c: p for c in sample.columns if not c.is_numeric and (p := time_patterns(
        c.filled, CLOCKS))}
    if not dates or not clocks:
        return None
    (date, by_day), (clock, by_hour) = next(iter(dates.items())), next(iter(clocks.items()))
    return f"{date.shown} + {clock.shown}", [f"{d} {c}" for d in by_day for c in by_hour]


def _entry(line: Line) -> str:
    key, g = _text(line.column.shown), line.guess
    if g.kind == "real":
        whole = ", whole = true" if g.to == "ringelmann" else ""
        return f"{key} = {{ to = {_text(g.to)}, unit = {_text(g.unit)}{whole} }}  # {_why(g)}"
    if g.kind == "code":
        return f"{key} = {{ to = {_text(g.to)}, table = {_text(g.table)} }}  # {_why(g)}"
    return f"{key} = {_text(g.to)}  # {_why(g)}"


def _why(found: Guess) -> str:
    return f"{found.confidence}: {found.reason}"


def long_table(sample: Sample, stored_not: list[tuple[Column, str]]) -> Iterator[str]:
    """Yield what a dump with one row a value needs, if the columns look like one.

    A parameter's name is shown only where it is one of a quantity.
    """
    named = {topic: next((c for c in sample.columns if says(words_of(c.shown), topic)
                          and len(words_of(c.shown)) == 1), None)
             for topic in ("parameter", "value", "unit")}
    parameter, value, unit = named.values()
    if parameter is None or value is None or not value.is_numeric or parameter.is_numeric:
        return
    key = next((c for c in sample.columns if c not in named.values()
                and 1 < len(set(c.cells)) < 0.8 * len(c.cells)), sample.columns[0])
    taken = [c for c in (key, parameter, value, unit) if c is not None]
    stored_not[:] = [x for x in stored_not if x[0] not in taken]
    yield from ("", "[long]  # one row a value: TODO check the key, which rows are one pass",
                f"key = {_text(key.shown)}", f"parameter = {_text(parameter.shown)}",
                f"value = {_text(value.shown)}")
    if unit is not None:
        yield f"unit = {_text(unit.shown)}"
    yield from ("", "[long.parameters]")
    units = dict(zip(parameter.cells, unit.cells, strict=True)) if unit is not None else {}
    for name in dict.fromkeys(parameter.filled):
        for found in by_words(Column(f"{name} ({units.get(name, '')})", []))[:1]:
            if found.kind == "real" and found.to in CANONICAL:
                yield _entry(Line(Column(name, []), found))
    yield "# TODO: parameters that stand above in no line"


def _about(column: Column) -> str:
    """Return what stands in a column without showing a cell."""
    filled = column.filled
    if not filled:
        return "blank in the sample"
    if column.is_numeric:
        return f"numbers, {len(set(filled))} different in {len(filled)}"
    return f"text, {len(set(filled))} different in {len(filled)}, mostly {shape_of(filled)}"


def _own_flags(sample: Sample, stored_not: list[tuple[Column, str]]) -> Iterator[str]:
    """Yield the validity flags that the format has which the header is like."""
    shown = {c.name: c.shown for c in sample.columns}
    for column, why in list(stored_not):
        validity = sample.own.valid.get(column.name) if sample.own else None
        if sample.own is None or validity is None:
            continue
        if of := [shown[n] for n in validity.of if n in shown]:
            stored_not.remove((column, why))
            yield (f"{_text(column.shown)} = {{ of = {_text(of)}, good = "
                   f"{_text(sorted(validity.good))}, bad = {_text(sorted(validity.bad))} }}"
                   f"  # as format {sample.own.id}")


def _flags(reals: list[Line], stored_not: list[tuple[Column, str]]) -> Iterator[str]:
    """Yield entries for columns of letters that allow the values of another column."""
    good, bad = {"v", "y", "1", "true", "ok"}, {"x", "n", "0", "false", "i", "s"}
    for column, why in list(stored_not):
        letters = {fold(c) for c in column.filled}
        words = words_of(column.shown)
        if why or not letters or not letters <= good | bad or not says(words, "flag"):
            continue
        of = [x.column.shown for x in reals if set(words) & set(words_of(x.column.shown))]
        if of:
            stored_not.remove((column, why))
            yes, no = sorted(letters & good) or ["v"], sorted(letters & bad) or ["x"]
            yield (f"{_text(column.shown)} = {{ of = {_text(of)}, good = {_text(yes)}, "
                   f"bad = {_text(no)} }}  # likely: by name and letters")
