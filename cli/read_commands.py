"""Commands that read a lake, and those that show what is built in."""

from __future__ import annotations

from pathlib import Path

import click

from cli import options


@click.group()
def export() -> None:
    """Write lists for the office."""


@export.command("findings")
@options.lake_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
              metavar="FILE",
              help="Where the list goes: .csv, .xlsx, .parquet, .json or .geojson.")
@options.plates
@click.option("--withdrawn", "withdrawn_only", is_flag=True,
              help="Only findings that were exported once and stand no more.")
@click.option("--raw", "raw_csv", is_flag=True,
              help="CSV without the apostrophe that keeps a spreadsheet from running a cell.")
def export_findings(lake: Path, output: Path, show_plates: bool, withdrawn_only: bool,
                    raw_csv: bool) -> None:
    """Export the high-emitter list with the passes that prove each finding."""
    from rsd.lake import Lake
    from rsd.pipeline.reading import export_list

    rows = export_list(Lake.open(lake), output, show_plates=show_plates,
                       withdrawn_only=withdrawn_only, raw_csv=raw_csv)
    click.echo(f"rsd: {rows:,} findings in {output}", err=True)


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
@options.answer
def aggregate(lake: Path, by: str, min_vehicles: int | None, quantities: str | None,
              where: str | None, all_records: bool, answer: options.Answer) -> None:
    """Aggregate passes: counts, means with intervals, quantiles, exceedance rates.

    As a table the groups come first, then counts, means with their 95 % intervals, rates in
    percent, then the rest; the other formats keep mean and interval in columns of their own,
    which --columns can choose.
    """
    from cli.views import aggregate_view
    from rsd.lake import Lake
    from rsd.pipeline import reading

    opened = Lake.open(lake)
    groups = options.names(by)
    least = int(str(opened.settings["min_vehicles"])) if min_vehicles is None else min_vehicles
    frame = reading.aggregate(
        opened, groups, min_vehicles=least, where=where, all_records=all_records,
        quantities=options.names(quantities) if quantities else None)
    answer.emit(*(aggregate_view(frame, groups) if answer.is_view else (frame,)))


@click.command()
@options.lake_argument
@click.argument("select")
@options.answer
def query(lake: Path, select: str, answer: options.Answer) -> None:
    """Answer one read-only SELECT over passes, sites, segments, findings and runs. No plates."""
    from rsd.lake import Lake
    from rsd.pipeline import reading

    answer.emit(reading.query(Lake.open(lake), select))


@click.command()
@options.lake_argument
@options.plates
@options.answer
def quarantine(lake: Path, show_plates: bool, answer: options.Answer) -> None:
    """Show the records that could not be used: where, why, and their raw bytes."""
    from rsd.lake import Lake
    from rsd.pipeline import reading

    frame = reading.quarantine(Lake.open(lake), show_plates=show_plates)
    # the offset serves programs; what a person looks for stands before it
    answer.emit(frame.select(*[n for n in frame.columns if n != "byte_offset"], "byte_offset")
                if answer.is_view else frame)


@click.command()
@options.lake_argument
@click.argument("vehicle")
@options.answer
def explain(lake: Path, vehicle: str, answer: options.Answer) -> None:
    """Show every pass of a VEHICLE, each verdict, and the clause behind it.

    VEHICLE is a vehicle_id, or a plate (PLATE/COLOUR where two vehicles share its characters);
    a plate needs the right to read restricted/ and is written to the audit. The table has the
    lake's local time and what matters most; the other formats, and --columns, have every column,
    with times in UTC.
    """
    from cli.views import story_view
    from rsd.lake import Lake
    from rsd.pipeline.explain import explain as tell

    story = tell(Lake.open(lake), vehicle)
    answer.emit(*(story_view(story) if answer.is_view else (story.verdicts,)))


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


@click.command()
@click.argument("regulation_id", required=False, metavar="[ID]")
@options.answer
def regulations(regulation_id: str | None, answer: options.Answer) -> None:
    """List the regulations, or explain one with its citations and unverified numbers."""
    from cli.catalogue import show_regulation, show_regulations

    if regulation_id is None:
        show_regulations(answer)
    else:
        show_regulation(regulation_id, answer)
