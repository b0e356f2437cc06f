"""Commands about findings: `rsd inspections`, and `rsd regulations diff`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import lakes, options

if TYPE_CHECKING:
    from rsd.law.rulebook import Regulation
    from rsd.pipeline.difference import Difference


@click.command()
@options.lake_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True,
              help="FILE holds all inspections there are: others that were given before go.")
@options.document_format
def inspections(lake: Path, file: Path, replace: bool, output_format: str) -> None:
    """Add inspections and re-tests: one that was passed breaks a chain of exceedances.

    FILE is CSV with the columns plate, plate_color, inspected_at and result (passed or failed, 合格
    or 不合格). A time without a zone is on the lake's clock; a bare date counts, in doubt, for the
    vehicle. The same inspection given twice is one. The next `rsd run` or `rsd find` looks at the
    vehicles again.
    """
    from cli.output import emit_document
    from rsd.pipeline.inspections import add_inspections

    emit_document(add_inspections(lakes.opened(lake), file, replace=replace), output_format)


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--lake", "lake", type=click.Path(path_type=Path), required=True, metavar="LAKE",
              help="The lake whose passes both judge.")
@click.option("--counts", "only_counts", is_flag=True,
              help="Print the counts by pollutant and vehicle class instead of the vehicles.")
@options.as_of
@options.answer
def diff(a: str, b: str, lake: Path, only_counts: bool, as_of: str | None,
         answer: options.Answer) -> None:
    """Tell whom regulation B would convict that A does not, and whom acquit.

    A and B are ids, or files of your own such as a copy with another limit. Both judge the passes
    that LAKE holds; nothing is stored, and vehicles are named by their vehicle_id. The table has
    counts and vehicles; the other formats have the vehicles, or with --counts the counts.
    """
    from cli.tables import Look
    from rsd.pipeline.difference import difference

    found = difference(lakes.opened_at(lake, as_of), a, b)
    if only_counts:
        answer.emit(found.counts)
    elif answer.is_view:
        answer.emit(found.vehicles.select(
            "change", "pollutant", "vehicle_class", "vehicle_id", "limit_a", "limit_b", "unit",
            "first_value_a", "second_value_a", "first_value_b", "second_value_b",
            "found_at_a", "found_at_b"), Look(before=_summary(found)))
    else:
        answer.emit(found.vehicles)


def _summary(found: Difference) -> list[str]:
    """Return which two were compared and the counts, as lines."""
    from cli.tables import Look, write_table

    lines = [f"{name}: {_named(law)}" for name, law in (("A", found.a), ("B", found.b))]
    totals = {n: found.counts[n].sum() for n in ("both", "convicted", "acquitted")}
    lines += ["B would convict {convicted:,} that A does not, and acquit {acquitted:,} that A "
              "finds; both find {both:,} (vehicles and pollutants)".format(**totals), ""]
    if found.counts.height:
        text = io.StringIO()
        write_table(found.counts, text, Look(max_rows=0))
        lines += [*text.getvalue().splitlines(), ""]
    return lines


def _named(law: Regulation) -> str:
    from rsd.law.explain import unverified_numbers

    mark = ", numbers UNVERIFIED" if unverified_numbers(law) else ""
    return f"{law.id} ({law.sha256[:12]}{mark})"
