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
              help="FILE.csv, .xlsx, .parquet, .json or .geojson.")
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
              help="Group columns: vehicle_class, road_segment, month, date, hour, fuel, …")
@click.option("--min-vehicles", type=click.IntRange(0), default=None,
              help="Suppress groups of fewer vehicles: the row stays, its measures are null.")
@click.option("--quantities", default=None, metavar="COLUMN,…",
              help="Average these columns of passes instead of the default ones.")
@click.option("--where", default=None, metavar="SQL", help="Only passes that fulfil a condition.")
@click.option("--all-records", is_flag=True, help="Average invalid records too.")
@options.output_format
@options.output_file
def aggregate(lake: Path, by: str, min_vehicles: int | None, quantities: str | None,
              where: str | None, all_records: bool, output_format: str,
              output: str | None) -> None:
    """Aggregate passes: counts, means with intervals, quantiles, exceedance rates."""
    from cli.output import emit
    from rsd.lake import Lake
    from rsd.pipeline import reading

    opened = Lake.open(lake)
    least = int(str(opened.settings["min_vehicles"])) if min_vehicles is None else min_vehicles
    frame = reading.aggregate(
        opened, _names(by), min_vehicles=least, where=where, all_records=all_records,
        quantities=_names(quantities) if quantities else None)
    emit(frame, output_format, output)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@click.command()
@options.lake_argument
@click.argument("select")
@options.output_format
@options.output_file
def query(lake: Path, select: str, output_format: str, output: str | None) -> None:
    """Answer one read-only SELECT over passes, sites, segments, findings and runs. No plates."""
    from cli.output import emit
    from rsd.lake import Lake
    from rsd.pipeline import reading

    emit(reading.query(Lake.open(lake), select), output_format, output)


@click.command()
@options.lake_argument
@options.plates
@options.output_format
@options.output_file
def quarantine(lake: Path, show_plates: bool, output_format: str, output: str | None) -> None:
    """Show the records that could not be used: where, why, and their raw bytes."""
    from cli.output import emit
    from rsd.lake import Lake
    from rsd.pipeline import reading

    emit(reading.quarantine(Lake.open(lake), show_plates=show_plates), output_format, output)


@click.command()
@options.lake_argument
@click.argument("vehicle")
@options.output_format
@options.output_file
def explain(lake: Path, vehicle: str, output_format: str, output: str | None) -> None:
    """Show every pass of a VEHICLE, each verdict, and the clause behind it.

    VEHICLE is a vehicle_id, or a plate (PLATE/COLOUR where two vehicles share its characters);
    a plate needs the right to read restricted/ and is written to the audit.
    """
    from cli.output import emit
    from rsd.lake import Lake
    from rsd.pipeline.explain import explain as tell

    story = tell(Lake.open(lake), vehicle)
    emit(story.verdicts, output_format, output)
    if output_format == "table":
        for finding in story.findings.iter_rows(named=True):
            second = f" and {finding['second_record_id']}" if finding["second_record_id"] else ""
            mark = "" if finding["is_verified"] else " (numbers unverified)"
            click.echo(f"{finding['kind']} of {finding['regulation_id']}: {finding['pollutant']}, "
                       f"found at {finding['found_at']:%Y-%m-%dT%H:%M:%SZ}, proven by "
                       f"{finding['first_record_id']}{second}; {finding['clause']}{mark}")
        if story.findings.is_empty():
            click.echo("no finding")


@click.command()
@click.argument("action", required=False, metavar="[ID]")
@click.argument("shown", required=False, metavar="")
@options.output_format
def formats(action: str | None, shown: str | None, output_format: str) -> None:
    """List the dump formats, or document one: its columns, units, codes and traps."""
    from cli.catalogue import show_format, show_formats

    wanted = shown if action == "show" else action
    if wanted is None:
        show_formats(output_format)
    else:
        show_format(wanted, output_format)


@click.command()
@click.argument("regulation_id", required=False, metavar="[ID]")
@options.output_format
def regulations(regulation_id: str | None, output_format: str) -> None:
    """List the regulations, or explain one with its citations and unverified numbers."""
    from cli.catalogue import show_regulation, show_regulations

    if regulation_id is None:
        show_regulations(output_format)
    else:
        show_regulation(regulation_id)
