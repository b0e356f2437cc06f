"""What is built in: formats and regulations, printed."""

from __future__ import annotations

from dataclasses import asdict

import polars as pl

from cli.options import Answer
from cli.output import emit_document, emit_text
from cli.tables import Look
from cli.text import wrap_paragraphs
from rsd.errors import UsageError
from rsd.intake.formats import Format, formats, get_format
from rsd.law import rulebook
from rsd.law.explain import explain_rule


def show_formats(answer: Answer) -> None:
    """Print the dump formats."""
    rows = [
        {"format": f.id, "title": f.title, "required": ", ".join("|".join(r) for r in f.required),
         "encodings": ", ".join(f.encodings), "quality_profile": f.quality_profile,
         "convention": f.convention, "citation": f.citation}
        for f in formats().values()
    ]
    frame = pl.DataFrame(rows)
    answer.emit(frame.drop("citation") if answer.is_view else frame)


def show_format(format_id: str, answer: Answer) -> None:
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
    answer.emit(frame, Look(before=wrap_paragraphs(_notes(chosen)), max_rows=0))


def _notes(chosen: Format) -> list[str]:
    """Return what is to be known about a format beside its columns."""
    sentinels = ", ".join(f"{s:g}" for s in chosen.sentinels) or "none"
    texts = ", ".join(chosen.null_text) or "none"
    return [f"{chosen.id}: {chosen.title}", chosen.citation, *(f"- {n}" for n in chosen.notes),
            f"- null codes: {sentinels}; null texts: {texts}", ""]


def show_regulations(answer: Answer) -> None:
    """Print the regulations."""
    rows = []
    for regulation_id in rulebook.available():
        regulation = rulebook.load(regulation_id)
        rows.append({
            "regulation": regulation.id, "title": regulation.title,
            "pollutants": ", ".join(regulation.pollutants), "sha256": regulation.sha256,
        })
    frame = pl.DataFrame(rows)
    answer.emit(_readable(frame) if answer.is_view else frame)


def _readable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the list of regulations without hashes; one that judges nothing says so."""
    judged = pl.col("pollutants")
    none = pl.lit("no limits given: refuses to run")
    return frame.drop("sha256").with_columns(pl.when(judged == "").then(none).otherwise(judged)
                                             .alias("pollutants"))


def show_regulation(regulation_id: str, answer: Answer) -> None:
    """Print what a regulation says: in words, or as JSON with every number and its source.

    Raises ``UsageError`` for a format or an option that needs rows.
    """
    if answer.format not in ("table", "json") or answer.columns is not None:
        raise UsageError("a regulation is no table", where=f"regulations {regulation_id}",
                         expected="--format table or json, and no --columns",
                         remedy="List all regulations with `rsd regulations --format csv`.")
    regulation = rulebook.load(regulation_id)
    if answer.format == "table":
        emit_text(wrap_paragraphs(explain_rule(regulation).split("\n")), answer.output)
        return
    document = asdict(regulation)
    del document["path"]  # of this machine, not of the law
    emit_document(document, "json", answer.output)
