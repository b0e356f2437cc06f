"""Commands that read a lake, and those that show what is built in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import lakes, options

if TYPE_CHECKING:
    import polars as pl

    from cli.tables import Look
    from rsd.lake import PinnedLake


def _emit(answer: options.Answer, view: PinnedLake, frame: pl.DataFrame, look: Look | None = None,
          **made: object) -> None:
    """Print an answer; beside a file, write down what it was made from."""
    from rsd.pipeline import as_of

    lakes.tell(view)
    if answer.output in (None, "-"):
        answer.emit(frame, look)
        return
    as_of.keep_law(view)
    told = as_of.provenance(view, **made)
    answer.emit(frame, look)
    as_of.write_companion(Path(str(answer.output)), told, frame.height)


@click.command()
@options.lake_argument
@click.option("--by", required=True, metavar="COLUMN,…",
              help="Group columns: vehicle_class, road_segment, site_id, line_id, lane, date, "
                   "hour, fuel, emission_stage, emission_standard, plate_color, use, is_local, "
                   "convention, nox_source, derived_from, is_valid, month, year, weekday, vsp_bin.")
@click.option("--min-vehicles", type=click.IntRange(0), default=None, metavar="N",
              show_default="min_vehicles of the lake's rsd.toml",
              help="Suppress groups of fewer vehicles: the row stays, its measures are null.")
@click.option("--quantities", default=None, metavar="COLUMN,…",
              show_default="those of co_pct, hc_ppm, no_ppm, opacity_pct, co_g_kg, hc_g_kg, "
                           "nox_g_kg that have values",
              help="Average these columns of passes.")
@click.option("--where", default=None, metavar="SQL",
              help="Only passes that fulfil a condition, such as \"fuel = 'diesel'\".")
@click.option("--all-records", is_flag=True, help="Average invalid records too.")
@options.as_of
@options.answer
def aggregate(lake: Path, by: str, min_vehicles: int | None, quantities: str | None,
              where: str | None, all_records: bool, as_of: str | None,
              answer: options.Answer) -> None:
    """Aggregate passes: counts, means with intervals, quantiles, exceedance rates.

    As a table the groups come first, then counts, means with their 95 % intervals, rates in
    percent, then the rest; the other formats keep mean and interval in columns of their own,
    which --columns can choose.
    """
    from cli.views import aggregate_view
    from rsd.pipeline import reading

    opened = lakes.opened_at(lake, as_of)
    groups = options.names(by)
    least = int(str(opened.settings["min_vehicles"])) if min_vehicles is None else min_vehicles
    frame = reading.aggregate(
        opened, groups, min_vehicles=least, where=where, all_records=all_records,
        quantities=options.names(quantities) if quantities else None,
        is_reproducible=as_of is not None or answer.output is not None)
    _emit(answer, opened, *(aggregate_view(frame, groups) if answer.is_view else (frame,)),
          command="aggregate", by=groups)


@click.command()
@options.lake_argument
@click.argument("select")
@options.as_of
@options.answer
def query(lake: Path, select: str, as_of: str | None, answer: options.Answer) -> None:
    """Answer one read-only SELECT over passes, sites, segments, findings and runs. No plates."""
    from rsd.pipeline import reading, trail

    view = lakes.opened_at(lake, as_of)
    _emit(answer, view, reading.query(view, select), command="query", query=trail.masked(select))


@click.command()
@options.lake_argument
@options.plates
@options.reason
@options.as_of
@options.answer
def quarantine(lake: Path, show_plates: bool, reason: str | None, as_of: str | None,
               answer: options.Answer) -> None:
    """Show the records that could not be used: where, why, and their raw bytes."""
    from rsd.pipeline import reading

    view = lakes.opened_at(lake, as_of)
    frame = reading.quarantine(view, show_plates=show_plates, reason=reason)
    # the offset serves programs; what a person looks for stands before it
    _emit(answer, view, frame.select(*[n for n in frame.columns if n != "byte_offset"],
                                     "byte_offset") if answer.is_view else frame,
          command="quarantine", plates=show_plates)


@click.command()
@options.lake_argument
@click.argument("vehicle")
@click.option("--language", type=click.Choice(["en", "zh"]), default="en",
              help="Language of what is said: English or Chinese.")
@options.reason
@options.as_of
@options.answer
def explain(lake: Path, vehicle: str, language: str, reason: str | None, as_of: str | None,
            answer: options.Answer) -> None:
    """Tell the story of a VEHICLE: every pass, each verdict, what it means, and the clause.

    Of each pass and pollutant it says where a chain of exceedances begins, what breaks it, when its
    window ends and what is found, or why the record was not judged. VEHICLE is a vehicle_id, or a
    plate (PLATE/COLOUR where two vehicles share its characters); a plate needs the right to read
    restricted/ and is written to the audit. The table has the lake's local time and what matters
    most; the other formats, and --columns, have every column,
    with times in UTC.
    """
    from cli.story import story_view
    from rsd.pipeline.explain import explain as tell

    view = lakes.opened_at(lake, as_of)
    story = tell(view, vehicle, reason=reason, language=language)
    _emit(answer, view, *(story_view(story) if answer.is_view else (story.verdicts,)),
          command="explain", vehicles=story.vehicles, language=language)


@click.command()
@click.argument("action", required=False, metavar="[[show] ID | propose FILE]")
@click.argument("shown", required=False, metavar="")
@options.answer
def formats(action: str | None, shown: str | None, answer: options.Answer) -> None:
    """List the dump formats, or document one: its columns, units, codes and traps.

    `rsd formats propose FILE` drafts a format for a dump whose header no format knows.
    """
    from cli.catalogue import propose_format, show_format, show_formats

    if action == "propose":
        propose_format(shown, answer)
        return
    wanted = shown if action == "show" else action
    if wanted is None:
        show_formats(answer)
    else:
        show_format(wanted, answer)
