"""What is built in: formats and regulations, printed."""

from __future__ import annotations

import click
import polars as pl

from cli.output import emit
from rsd.intake.formats import formats, get_format
from rsd.law import rulebook
from rsd.law.explain import explain_rule


def show_formats(output_format: str) -> None:
    """Print the dump formats."""
    rows = [
        {"format": f.id, "title": f.title, "required": ", ".join("|".join(r) for r in f.required),
         "encodings": ", ".join(f.encodings), "quality_profile": f.quality_profile,
         "convention": f.convention, "citation": f.citation}
        for f in formats().values()
    ]
    frame = pl.DataFrame(rows)
    emit(frame if output_format != "table" else frame.drop("citation"), output_format)


def show_format(format_id: str, output_format: str) -> None:
    """Print a format's columns; in a table also its notes."""
    chosen = get_format(format_id)
    times = " or ".join(chosen.time_formats)
    rows: list[dict[str, str | None]] = [
        {"column": c, "becomes": "measured_local", "unit_or_codes": times}
        for c in chosen.time_columns
    ]
    rows += [{"column": c, "becomes": to, "unit_or_codes": "text"}
             for c, to in chosen.text.items()]
    rows += [{"column": c, "becomes": to, "unit_or_codes": "date"}
             for c, to in chosen.date.items()]
    rows += [{"column": c, "becomes": r.to, "unit_or_codes": f"{r.unit}{' (whole)' * r.whole}"}
             for c, r in chosen.real.items()]
    rows += [{"column": c, "becomes": to, "unit_or_codes": f"codes of {table.name}"}
             for c, (to, table) in chosen.code.items()]
    if chosen.vehicle_class is not None:
        column, table = chosen.vehicle_class
        rows.append({"column": column, "becomes": "vehicle_class",
                     "unit_or_codes": f"codes of {table.name}"})
    rows += [{"column": c, "becomes": None, "unit_or_codes": "known, not stored"}
             for c in sorted(chosen.known)]
    needed = {name for names in chosen.required for name in names}
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        is_required=pl.col("column").is_in(sorted(needed)))
    if output_format == "table":
        click.echo(f"{chosen.id}: {chosen.title}\n{chosen.citation}")
        for note in chosen.notes:
            click.echo(f"- {note}")
        sentinels = ", ".join(f"{s:g}" for s in chosen.sentinels) or "none"
        texts = ", ".join(chosen.null_text) or "none"
        click.echo(f"- null codes: {sentinels}; null texts: {texts}")
    emit(frame, output_format, max_rows=200)


def show_regulations(output_format: str) -> None:
    """Print the regulations."""
    rows = []
    for regulation_id in rulebook.available():
        regulation = rulebook.load(regulation_id)
        rows.append({
            "regulation": regulation.id, "title": regulation.title,
            "pollutants": ", ".join(regulation.pollutants), "sha256": regulation.sha256,
        })
    frame = pl.DataFrame(rows)
    emit(frame if output_format != "table" else frame.drop("sha256"), output_format)


def show_regulation(regulation_id: str) -> None:
    """Print what a regulation says, in words."""
    click.echo(explain_rule(rulebook.load(regulation_id)))
