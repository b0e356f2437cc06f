"""Commands that write a lake: init, run, ingest, find."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import options

if TYPE_CHECKING:
    from rsd import RunSummary

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@options.lake_argument
@click.option("--sites", type=_file,
              help="CSV: site_id, name, road_segment, lon, lat, crs, slope_deg.")
@click.option("--segments", type=_file, help="GeoJSON LineStrings with segment_id and name.")
@click.option("--registry", type=_file, help="CSV: plate, plate_color, vehicle_type, fuel, …")
@click.option("--timezone", default="Asia/Shanghai", show_default=True,
              help="Zone of the dumps' clocks and of all calendar arithmetic.")
@click.option("--regulation", "regulation_ids", multiple=True, metavar="ID",
              help="Judge by this regulation (repeatable; default cn_hj845_2017).")
def init(lake: Path, sites: Path | None, segments: Path | None, registry: Path | None,
         timezone: str, regulation_ids: tuple[str, ...]) -> None:
    """Make a LAKE: a folder that holds all passes, findings and what names a vehicle."""
    from rsd import init_lake

    made, remarks = init_lake(lake, sites=sites, segments=segments, registry=registry,
                              timezone=timezone,
                              regulations=regulation_ids or ("cn_hj845_2017",))
    for remark in remarks:
        click.echo(f"rsd: {remark}", err=True)
    click.echo(f"rsd: made {made.path}. Next: rsd run {lake} DUMP…", err=True)


@click.command()
@options.lake_argument
@options.dumps_argument
@options.input_format
@options.max_quarantine
@options.document_format
@click.pass_context
def run(context: click.Context, lake: Path, dumps: tuple[str, ...], input_format: str | None,
        max_quarantine: float | None, output_format: str) -> int:
    """The nightly job: ingest each DUMP, find high emitters over the whole history, summarise.

    A DUMP is a file, a folder or a pattern; CSV, plain or gzip. Files that were ingested before
    are recognised by their content.
    """
    return _ingest(lake, dumps, input_format, max_quarantine, output_format, judge=True)


@click.command()
@options.lake_argument
@options.dumps_argument
@options.input_format
@options.max_quarantine
@options.document_format
def ingest(lake: Path, dumps: tuple[str, ...], input_format: str | None,
           max_quarantine: float | None, output_format: str) -> int:
    """Validate, score and store each DUMP; every record is accounted for."""
    return _ingest(lake, dumps, input_format, max_quarantine, output_format, judge=False)


def _ingest(path: Path, dumps: tuple[str, ...], input_format: str | None,
            max_quarantine: float | None, output_format: str, *, judge: bool) -> int:
    import rsd
    from cli.progress import progress
    from rsd.intake.formats import get_format
    from rsd.lake import Lake

    if input_format is not None:
        get_format(input_format)
    lake = Lake.open(path)
    limit = float(str(lake.settings["max_quarantine"])) if max_quarantine is None else (
        max_quarantine)
    work = rsd.run if judge else rsd.ingest
    with progress("ingest", None) as tick:
        summary = work(lake, dumps, input_format=input_format, progress=tick)
    _show(summary, output_format)
    for file in summary.over_limit(limit):
        click.echo(f"rsd: {file.file}: {file.quarantined} of {file.records} records were "
                   f"quarantined, more than {limit:.0%}; see rsd quarantine {path}", err=True)
    return summary.exit_code(limit)


def _show(summary: RunSummary, output_format: str) -> None:
    from cli.output import emit, emit_document

    document = summary.as_dict()
    if output_format == "json":
        emit_document(document, "json")
        return
    import polars as pl

    shown = ("file", "format", "state", "records", "accepted", "quarantined", "duplicates",
             "corrected", "blank")
    rows = [{name: file[name] for name in shown} for file in document["files"]]
    if rows:
        emit(pl.DataFrame(rows, infer_schema_length=None), "table", title="Files")
    for file in summary.files:
        if file.error:
            click.echo(f"rsd: refused: {file.error}", err=True)
        for notice in file.notices:
            click.echo(f"rsd: {file.file}: {notice}", err=True)
    _show_ignored(summary)
    totals = summary.totals()
    click.echo(f"{totals['files']} files ({totals['done']} done, {totals['already']} already, "
               f"{totals['refused']} refused): {totals['records']:,} records = "
               f"{totals['accepted']:,} accepted + {totals['quarantined']:,} quarantined + "
               f"{totals['duplicates']:,} duplicates")
    if summary.findings is not None:
        click.echo("{total:,} findings ({new:,} new, {withdrawn:,} withdrawn)".format(
            **summary.findings))


def _show_ignored(summary: RunSummary) -> None:
    ignored = sorted({name for file in summary.files for name in file.ignored_columns})
    if ignored:
        click.echo(f"rsd: columns that no format knows were ignored: {', '.join(ignored)}",
                   err=True)


@click.command()
@options.lake_argument
@click.option("--regulation", "regulation_ids", multiple=True, metavar="ID",
              help="Only this regulation (repeatable); the others keep their findings.")
@options.document_format
def find(lake: Path, regulation_ids: tuple[str, ...], output_format: str) -> None:
    """Recompute the findings over the whole history."""
    from cli.output import emit_document
    from rsd import find_all
    from rsd.lake import Lake

    _, counts = find_all(Lake.open(lake), regulation_ids or None)
    emit_document(counts, output_format)
