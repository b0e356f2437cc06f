"""What is built in: formats and regulations, printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
import polars as pl

from cli.options import Answer
from cli.output import emit_document, emit_text
from cli.tables import Look
from cli.text import wrap_paragraphs
from rsd.columns import REPORTED
from rsd.errors import UsageError
from rsd.intake.formats import Format, Real, formats, get_format
from rsd.law import rulebook
from rsd.law.explain import explain_rule, unverified_numbers
from rsd.law.rulebook import Regulation
from rsd.units import conversion

_UNIT = {c.name: c.unit for c in REPORTED}


def show_formats(answer: Answer) -> None:
    """Print the dump formats."""
    rows = [
        {"format": f.id, "title": f.title, "required": ", ".join("|".join(r) for r in f.required),
         "encodings": ", ".join(f.encodings), "quality_profile": f.quality_profile,
         "convention": f.convention, "hc_basis": f.hc_basis, "names": _trust(f),
         "citation": f.citation}
        for f in formats().values()
    ]
    frame = pl.DataFrame(rows)
    answer.emit(frame.drop("citation", "hc_basis", "encodings") if answer.is_view else frame)


def _trust(chosen: Format) -> str:
    """Say in a word how far a format's names and units are from a source."""
    if "*" in chosen.unverified_columns:
        return "unverified"
    return "in part unverified" if chosen.unverified_columns else "from a source"


def show_format(format_id: str, answer: Answer) -> None:
    """Print a format's columns; in a table also its notes and code tables."""
    chosen = get_format(format_id)
    aliases: dict[str, list[str]] = {}
    for alias, name in chosen.alias.items():
        aliases.setdefault(name, []).append(alias)
    needed = {name for names in chosen.required for name in names}
    rows = [
        {"column": c, "becomes": to, "unit_or_codes": what, "conversion": how,
         "also_named": ", ".join(aliases.get(c, [])) or None, "is_required": c in needed,
         "is_unverified": chosen.is_unverified(c)}
        for c, to, what, how in _columns(chosen)
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    shown = frame.drop("is_unverified") if answer.is_view and not any(
        r["is_unverified"] for r in rows) else frame
    answer.emit(shown, Look(before=wrap_paragraphs(_notes(chosen)), max_rows=0))


_Row = tuple[str, str | None, str, str | None]


def _columns(chosen: Format) -> Iterator[_Row]:
    """Yield each source column, what it becomes, its unit or codes, and the conversion."""
    times = " or ".join(chosen.time_formats)
    clocks = [*chosen.time_columns, *(n for pair in chosen.time_pairs for n in pair)]
    zone = f"{chosen.time_zone} to the lake's zone" if chosen.time_zone else None
    yield from ((c, "measured_local", times, zone) for c in clocks)
    yield from ((c, to, "text", None) for c, to in chosen.text.items())
    yield from ((c, to, "date", None) for c, to in chosen.date.items())
    yield from (_number(c, real) for c, real in chosen.real.items())
    yield from ((c, to, f"codes of {table.name}", None) for c, (to, table) in chosen.code.items())
    if chosen.vehicle_class is not None:
        column, table = chosen.vehicle_class
        yield column, "vehicle_class", f"codes of {table.name}", None
    for flag, validity in chosen.valid.items():
        good, bad = (", ".join(sorted(letters)).upper() for letters in (
            validity.good, validity.bad))
        yield (flag, None, f"{good} valid, {bad} not: {', '.join(validity.of)}",
               "not valid: null")
    if chosen.long is not None:
        long = chosen.long
        yield long.key, None, "rows of one value are one pass", None
        yield long.value, None, f"the value of {long.parameter}", None
        if long.unit:
            yield long.unit, None, "the value's unit, as below", None
        yield from (_number(f"{long.parameter}={n}", r) for n, r in long.parameters.items())
    yield from ((c, None, "known, not stored", None) for c in sorted(chosen.known))


def _number(column: str, real: Real) -> _Row:
    unit = f"{real.unit}{' (whole)' * real.whole}"
    nulls = ", ".join(f"{n:g}" for n in real.null)
    return column, real.to, unit + (f", {nulls} is null" if nulls else ""), conversion(
        real.unit, _UNIT[real.to])


def propose_format(dump: str | None, answer: Answer) -> None:
    """Print the draft of a format file for a dump that no format knows.

    Raises ``UsageError`` without a file, or for a format or an option that needs rows.
    """
    from rsd.intake.propose import propose

    if dump is None or answer.format != "table" or answer.columns is not None:
        raise UsageError("a draft is no table", where="formats propose",
                         expected="formats propose FILE, without --format and --columns",
                         remedy="Write it to a file with --output.")
    emit_text(propose(Path(dump)).splitlines(), answer.output)


def _notes(chosen: Format) -> list[str]:
    """Return what is to be known about a format beside its columns."""
    sentinels = ", ".join(f"{s:g}" for s in chosen.sentinels) or "none"
    texts = ", ".join(chosen.null_text) or "none"
    separator = repr(chosen.separators[0]) if len(chosen.separators) == 1 else "as in the header"
    zone = chosen.time_zone or "the lake's"
    signature = ", ".join(" or ".join(r) for r in chosen.required)
    return [
        f"{chosen.id}: {chosen.title}", f"Source: {chosen.citation}",
        f"Recognised by the columns: {signature}", *(f"- {n}" for n in chosen.notes),
        f"- null codes: {sentinels}; null texts: {texts}; separator: {separator}; "
        f"HC counts as {chosen.hc_basis}; time zone: {zone}",
        *(f"- UNVERIFIED: {text}" for text in chosen.unverified),
        *(f"- {line}" for line in _tables(chosen)), "",
    ]


def _tables(chosen: Format) -> list[str]:
    """Return each code table of a format in words, prefixes with a star."""
    tables = {table.name: table for _, table in chosen.code.values()}
    if chosen.vehicle_class is not None:
        tables[chosen.vehicle_class[1].name] = chosen.vehicle_class[1]
    lines = []
    for name, table in tables.items():
        codes = ", ".join(f"{code} = {str(value).lower()}" for code, value in table.values.items())
        other = f"; else {table.default}" if table.default else ""
        lines.append(f"codes of {name}: {codes}{other} ({table.source})")
    return lines


def show_regulations(folders: Sequence[Path], answer: Answer) -> None:
    """Print the regulations; ``folders`` are searched before the built-in ones."""
    rows = []
    for regulation_id in rulebook.available(folders):
        regulation = rulebook.load(regulation_id, folders)
        unverified = unverified_numbers(regulation)
        rows.append({
            "regulation": regulation.id, "title": regulation.title, "verb": regulation.verb.name,
            "pollutants": ", ".join(regulation.pollutants), "kinds": ", ".join(_kinds(regulation)),
            "is_runnable": bool(regulation.subjects), "is_verified": not unverified,
            "unverified": ", ".join(unverified),
            "is_built_in": Path(regulation.path).parent == rulebook.BUILT_IN,
            "sha256": regulation.sha256,
        })
    frame = pl.DataFrame(rows)
    answer.emit(_readable(frame) if answer.is_view else frame)


def _kinds(regulation: Regulation) -> list[str]:
    """Return the kinds of findings that a regulation makes."""
    kinds = [x.kind for p in regulation.periods for x in p.limits]
    kinds += [x.kind for p in regulation.periods for x in p.groups]
    return list(dict.fromkeys(kinds))


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the list of regulations for people; one that judges nothing says so."""
    runs = pl.when("is_runnable")
    none = pl.lit("no limits given: refuses to run")
    numbers = pl.when("is_verified").then(pl.lit("verified")).otherwise(pl.lit("UNVERIFIED"))
    is_none = pl.col("pollutants") == ""
    judges = pl.when(is_none).then(pl.lit("registration")).otherwise("pollutants")
    return frame.select("regulation", "title", "verb", numbers.alias("numbers"),
                        runs.then(judges).otherwise(none).alias("judges"))


def show_regulation(regulation_id: str, folders: Sequence[Path], answer: Answer) -> None:
    """Print what a regulation says: in words, or as JSON with every number and its source.

    ``folders`` are searched before the built-in regulations.

    Raises ``UsageError`` for a format or an option that needs rows.
    """
    if answer.format not in ("table", "json") or answer.columns is not None:
        raise UsageError("a regulation is no table", where=f"regulations {regulation_id}",
                         expected="--format table or json, and no --columns",
                         remedy="List all regulations with `rsd regulations --format csv`.")
    regulation = rulebook.load(regulation_id, folders)
    if answer.format == "table":
        emit_text(wrap_paragraphs(explain_rule(regulation).split("\n")), answer.output)
        return
    document = asdict(regulation)
    del document["path"]  # of this machine, not of the law
    emit_document(document, "json", answer.output)


def show_check(file: Path, cases: Path | None, answer: Answer) -> None:
    """Check a regulation's file and run its cases; print a row a case, and the rest beside it.

    Raises ``UsageError`` for a faulty file, or cases that end otherwise than they say.
    """
    from rsd.pipeline.casebook import check

    checked = check(file, cases)
    for line in checked.remarks:
        click.echo(f"rsd: {line}", err=True)
    if checked.cases.height or not answer.is_view:
        answer.emit(_cases_view(checked.cases) if answer.is_view else checked.cases,
                    Look(max_rows=0))
    checked.require_sound()


def _cases_view(cases: pl.DataFrame) -> pl.DataFrame:
    """Return the cases for people: no column of complaints where there is none."""
    return cases.drop("complaint") if cases["complaint"].is_null().all() else cases
