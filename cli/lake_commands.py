"""Commands that write a lake: init, run, ingest, find."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from cli import lakes, options

if TYPE_CHECKING:
    from rsd import RunSummary
    from rsd.pipeline.dry_run import Rehearsal
    from rsd.pipeline.summary import FileSummary

Result = TypeVar("Result")

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@options.lake_argument
@click.option("--sites", type=_file, metavar="FILE",
              help="CSV: site_id, name, road_segment, lon, lat, crs, slope_deg.")
@click.option("--segments", type=_file, metavar="FILE",
              help="GeoJSON LineStrings with segment_id and name.")
@click.option("--registry", type=_file, metavar="FILE",
              help="CSV: plate, plate_color, vehicle_type, fuel, …")
@click.option("--calendar", type=_file, metavar="FILE",
              help="CSV: date, is_working_day, name; for deadlines in working days.")
@click.option("--inspections", type=_file, metavar="FILE",
              help="CSV: plate, plate_color, inspected_at, result; see `rsd inspections`.")
@click.option("--timezone", default="Asia/Shanghai", metavar="ZONE",
              help="IANA zone of the dumps' clocks and of all calendar arithmetic.")
@click.option("--regulation", "regulation_ids", multiple=True, metavar="ID",
              show_default="cn_hj845_2017",
              help="Judge by this regulation (repeatable; see `rsd regulations`).")
def init(lake: Path, sites: Path | None, segments: Path | None, registry: Path | None,
         calendar: Path | None, inspections: Path | None, timezone: str,
         regulation_ids: tuple[str, ...]) -> None:
    """Make a LAKE: a folder that holds all passes, findings and what names a vehicle."""
    from cli.program import command
    from rsd import init_lake

    made, remarks = init_lake(lake, sites=sites, segments=segments, registry=registry,
                              calendar=calendar, inspections=inspections, timezone=timezone,
                              regulations=regulation_ids or ("cn_hj845_2017",))
    for remark in remarks:
        _say(remark)
    _say(f"made {made.path}. Next: {command('run', lake)} DUMP…")


@click.command()
@options.lake_argument
@options.dumps_argument
@options.input_format
@options.max_quarantine
@options.refuse_doubtful_units
@options.all_files
@options.log
@options.document_format
def run(lake: Path, dumps: tuple[str, ...], input_format: str | None,
        max_quarantine: float | None, refuse_doubtful_units: bool, all_files: bool,
        output_format: str) -> int:
    """The nightly job: ingest each DUMP, find high emitters over the whole history, summarise.

    A DUMP is a file, a folder, a pattern, or - for standard input; CSV in UTF-8, UTF-16 or
    GB18030, plain or in .gz, .zst or .zip, or a small .xlsx. Files that were ingested before are
    recognised by their content.
    """
    import rsd

    summary = _ingest(partial(rsd.run, max_quarantine=max_quarantine), lake, dumps, input_format,
                      "ingest and judge", refuse_doubtful_units)
    return _end(lake, summary, max_quarantine, output_format, all_files)


@click.command()
@options.lake_argument
@options.dumps_argument
@options.input_format
@options.max_quarantine
@options.refuse_doubtful_units
@click.option("--dry-run", is_flag=True,
              help="Do it with a copy that is thrown away, and say what would happen: the same "
                   "account and exit code, with the reasons of what would be quarantined. Nothing "
                   "in the lake changes, and no lock is taken.")
@options.all_files
@options.log
@options.document_format
def ingest(lake: Path, dumps: tuple[str, ...], input_format: str | None,
           max_quarantine: float | None, refuse_doubtful_units: bool, dry_run: bool,
           all_files: bool, output_format: str) -> int:
    """Validate, score and store each DUMP; every record is accounted for."""
    import rsd

    if dry_run:
        from rsd.pipeline.dry_run import dry_run as rehearse

        rehearsal = _ingest(rehearse, lake, dumps, input_format, "dry run", refuse_doubtful_units)
        return _end(lake, rehearsal.summary, max_quarantine, output_format, all_files, rehearsal)
    summary = _ingest(partial(rsd.ingest, max_quarantine=max_quarantine), lake, dumps,
                      input_format, "ingest", refuse_doubtful_units)
    return _end(lake, summary, max_quarantine, output_format, all_files)


def _ingest(work: Callable[..., Result], path: Path, dumps: tuple[str, ...],
            input_format: str | None, name: str, refuse_doubtful_units: bool) -> Result:
    from cli.memory import keep_memory
    from cli.progress import progress
    from rsd.intake.formats import get_format

    if input_format is not None:
        get_format(input_format)
    lake = lakes.opened(path)
    keep_memory()
    # Polars' own handler lets a waiting read go on, so that Ctrl-C would not end `rsd ingest -`.
    signal.siginterrupt(signal.SIGINT, True)
    with progress(name, None, "bytes") as tick:
        return work(lake, dumps, input_format=input_format, progress=tick,
                    refuse_doubtful_units=refuse_doubtful_units)


def _end(path: Path, summary: RunSummary, max_quarantine: float | None, output_format: str,
         all_files: bool, rehearsal: Rehearsal | None = None) -> int:
    """Print the summary; say which files are over the limit; return the exit code."""
    from cli.output import emit_document
    from cli.program import command

    if output_format == "json":
        emit_document((rehearsal or summary).as_dict(), "json")
    else:
        _show(summary, all_files)
        _show_rehearsal(rehearsal)
    limit = max_quarantine
    if limit is None:
        limit = float(str(lakes.opened(path).settings["max_quarantine"]))
    for file in summary.over_limit(limit):
        see = "" if rehearsal else f"; see {command('quarantine', path)}"
        _say(f"{file.file}: {file.quarantined} of {file.records} records were quarantined, "
             f"more than {limit:.0%}{see}")
    return summary.exit_code(limit)


def _show_rehearsal(rehearsal: Rehearsal | None) -> None:
    """Print why records would be quarantined, and that nothing happened."""
    from cli.output import emit
    from cli.tables import Look

    if rehearsal is None:
        return
    if rehearsal.quarantined.height:
        click.echo("")
        emit(rehearsal.quarantined, "table",
             look=Look(title="Would be quarantined, with the first lines", max_rows=0))
    click.echo("dry run: nothing was written")


def _say(text: str) -> None:
    click.echo(f"rsd: {text}", err=True)


def _show(summary: RunSummary, all_files: bool) -> None:
    """Print the files that want a look, or all; remarks to stderr; then the account."""
    _show_files(summary, all_files)
    for notice in summary.notices:
        lakes.say(notice)
    for file in summary.files:
        if file.error:
            _say(f"refused: {file.error}")
    for notice, named in _notices(summary).items():
        others = f" and {len(named) - 1} more" if len(named) > 1 else ""
        _say(f"{named[0]}{others}: {notice}")
    _show_ignored(summary)
    totals = summary.totals()
    click.echo(f"{totals['files']} files ({totals['done']} done, {totals['already']} already, "
               f"{totals['refused']} refused): {totals['records']:,} records = "
               f"{totals['accepted']:,} accepted + {totals['quarantined']:,} quarantined + "
               f"{totals['duplicates']:,} duplicates")
    if totals["duplicates"]:
        click.echo(f"Of the duplicates, {totals['duplicates_in_file']:,} twice in one file, "
                   f"{totals['duplicates_earlier']:,} known from another")
    if totals["replicates"]:
        click.echo(f"{totals['replicates']:,} passes are replicates: another instrument recorded "
                   "the event too")
    if summary.findings is not None:
        click.echo("{total:,} findings ({new:,} new, {withdrawn:,} withdrawn)".format(
            **summary.findings))


def _show_files(summary: RunSummary, all_files: bool) -> None:
    from cli.output import emit
    from cli.tables import Look

    files = [f for f in summary.files if all_files or _wants_a_look(f)]
    if not files:
        return
    import polars as pl

    shown = ("file", "state", "records", "accepted", "quarantined", "duplicates", "corrected",
             "blank", "format")
    title = "Files" if len(files) == len(summary.files) else (
        f"{len(files):,} of {len(summary.files):,} files want a look (--files lists all)")
    frame = pl.DataFrame([{name: getattr(f, name) for name in shown} for f in files],
                         infer_schema_length=None)
    emit(frame, "table", look=Look(title=title, max_rows=0,
                                   more_columns="use a wider terminal or --format json"))


def _wants_a_look(file: FileSummary) -> bool:
    return bool(file.state == "refused" or file.quarantined or file.corrected or file.notices)


def _notices(summary: RunSummary) -> dict[str, list[str]]:
    """Return what was remarked on files → the files: the same remark is said once."""
    found: dict[str, list[str]] = {}
    for file in summary.files:
        for notice in file.notices:
            found.setdefault(notice, []).append(file.file)
    return found


def _show_ignored(summary: RunSummary) -> None:
    ignored = sorted({name for file in summary.files for name in file.ignored_columns})
    if ignored:
        _say(f"columns that no format knows were ignored: {', '.join(ignored)}")


@click.command()
@options.lake_argument
@click.option("--regulation", "regulation_ids", multiple=True, metavar="ID",
              show_default="those of the lake's rsd.toml",
              help="Only this regulation (repeatable); the others keep their findings.")
@click.option("--everything", is_flag=True,
              help="Look at every vehicle anew, not only at those whose passes changed. The result "
                   "is the same: this is for who wants to see that.")
@options.log
@options.document_format
def find(lake: Path, regulation_ids: tuple[str, ...], everything: bool,
         output_format: str) -> None:
    """Bring the findings up to what the lake holds.

    Vehicles without new, late or corrected passes keep theirs; where law, time zone or rsd changed,
    the whole history is judged anew.
    """
    from cli.output import emit_document
    from rsd.pipeline import nightly

    counts = nightly.find(lakes.opened(lake), regulation_ids or None, everything=everything)
    emit_document(counts, output_format)
