"""Commands that keep a lake over the years: doctor, purge, key, backup, restore, update."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import lakes, options

if TYPE_CHECKING:
    import polars as pl

    from rsd.keeping.doctor import Diagnosis
    from rsd.lake import Lake

_day = click.DateTime(formats=["%Y-%m-%d"])
_input = click.Path(exists=True, dir_okay=False, path_type=Path)
_why = click.option("--reason", required=True, metavar="TEXT", help="Why, for the record.")


@click.command()
@options.lake_argument
@click.option("--repair", is_flag=True, help="Put right what can be put right.")
@click.option("--compact", is_flag=True,
              help="Merge small files to ones of about 200 MB. No row changes, readers go on, and "
                   "earlier versions stay readable.")
@click.option("--vacuum-before", "vacuum_before", type=_day, default=None, metavar="DATE",
              help="Remove files that only versions from before that day need: --as-of an earlier "
                   "time is then refused.")
@click.option("--content", is_flag=True,
              help="Print what each table holds, as rows:hash, which is the same for the same "
                   "rows in whatever files.")
@options.answer
def doctor(lake: Path, repair: bool, compact: bool, vacuum_before: datetime | None, content: bool,
           answer: options.Answer) -> int:
    """Verify everything in a LAKE; with --repair put right what can be.

    Every file against the log (size, SHA-256, rows, columns), of earlier versions too; the logs
    against themselves, their checkpoints and the last visit; accounts, corrections, evidence,
    vehicles, proofs and reviews against each other; key, rights, audit, deletions; what dead runs
    left. Exit code 7 while a problem remains, 0 when there is none (any more).
    """
    from rsd.keeping.compaction import compact as merge
    from rsd.keeping.compaction import vacuum
    from rsd.keeping.doctor import examine
    from rsd.lake import Lake

    opened = Lake.open(lake)  # what was put right stands among the problems
    if content:
        answer.emit(_contents(opened))
        return 0
    diagnosis = examine(opened, repair=repair)
    if diagnosis.remaining == 0:
        for merged in merge(opened) if compact else []:
            _say(f"{merged.table}: {merged.files_before} files, now {merged.files_after}")
        if vacuum_before is not None:
            _say(f"{vacuum(opened, vacuum_before.date()):,} old files removed")
    elif compact or vacuum_before is not None:
        _say("nothing was compacted or removed: first put right what is wrong")
    _show(diagnosis, answer)
    return diagnosis.exit_code


def _contents(lake: Lake) -> pl.DataFrame:
    import polars as pl

    from rsd.keeping.content import content_hash

    found = content_hash(lake)
    return pl.DataFrame({"table": list(found), "content": list(found.values())})


def _show(diagnosis: Diagnosis, answer: options.Answer) -> None:
    if diagnosis.problems.height or not answer.is_view:
        answer.emit(diagnosis.problems)
    if diagnosis.remaining:
        _say(f"{diagnosis.remaining} problems remain, {diagnosis.repaired} were repaired")
    else:
        _say(f"the lake is whole; {diagnosis.repaired} problems were repaired")


@click.command()
@options.lake_argument
@click.option("--before", type=_day, required=True, metavar="DATE",
              help="First local day that stays.")
@_why
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@options.answer
def purge(lake: Path, before: datetime, reason: str, dry_run: bool, answer: options.Answer) -> None:
    """Remove what is older than a day, from now and from all earlier versions, for good.

    Passes by their local date, their evidence, the quarantine of those dumps, plates of vehicles
    that have no pass left and stand in no registry, findings whose proof is gone. Proofs of
    findings under review stay, with evidence and plate. A signed record of it is kept in
    restricted/deletions. The lake can then not be shown as it stood before; findings are to be
    computed anew (rsd find).
    """
    import polars as pl

    from cli.program import command
    from rsd.keeping.purge import purge as remove

    done = remove(lakes.opened(lake), before.date(), reason, dry_run=dry_run)
    rows = [{"table": name, **counts} for name, counts in done.tables.items()]
    answer.emit(pl.DataFrame(rows, schema={"table": pl.String, "removed": pl.Int64,
                                           "left": pl.Int64}))
    if done.held:
        _say(f"{done.held:,} older passes stay: findings under review rest on them")
    if dry_run:
        _say("dry run: nothing was removed")
    elif done.record is None:
        _say(f"nothing is older than {done.before}: nothing was removed")
    else:
        _say(f"recorded in {done.record}. Next: {command('find', lake)}")


@click.group()
def key() -> None:
    """Change the key of the pseudonyms. Needs the right to read restricted/."""


@key.command("rotate")
@options.lake_argument
@_why
@click.option("--grace-days", type=click.IntRange(0), default=90, metavar="N",
              help="How long `rsd explain` answers to former names.")
def rotate(lake: Path, reason: str, grace_days: int) -> None:
    """Make a new key; every vehicle gets its new name in all tables at one moment."""
    from rsd.keeping.rotation import rotate as change

    done = change(lakes.opened(lake), reason, grace_days=grace_days)
    _say(f"key {done.old_key} is now key {done.new_key}; {done.vehicles:,} vehicles have new "
         f"names, the former ones are answered to until {done.answered_until}")
    _say(f"back up the new key; the old one is kept as {done.retired} until `rsd key forget`")


@key.command("forget")
@options.lake_argument
@_why
def forget(lake: Path, reason: str) -> None:
    """Forget former names: the old key, and all versions of before, which hold old names."""
    from rsd.keeping.rotation import forget as drop

    for path in drop(lakes.opened(lake), reason):
        _say(f"removed {path}")
    _say("former names are forgotten; the lake cannot be shown as it stood before")


@click.command()
@options.lake_argument
@click.argument("target", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def backup(lake: Path, target: Path) -> None:
    """Copy a LAKE as it stands at one moment to DIR, beside whatever runs.

    Again into the same DIR copies only what is new, and removes what was purged. The vehicle key
    is not copied: keep it elsewhere.
    """
    from rsd.keeping.backup import backup as copy

    opened = lakes.opened(lake)
    done = copy(opened, target)
    gone = f", removed {done.removed:,}" if done.removed else ""
    _say(f"copied {done.files:,} files ({done.bytes:,} bytes){gone}; passes stand at version "
         f"{done.versions['passes']}")
    _say(f"the vehicle key is not in it: back up {opened.key_path} elsewhere")


@click.command()
@click.argument("source", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@options.lake_argument
def restore(source: Path, lake: Path) -> None:
    """Make a LAKE, in a new folder, from the backup in DIR."""
    from cli.program import command
    from rsd.keeping.backup import restore as copy

    done = copy(source, lake)
    _say(f"restored {done.files:,} files; passes stand at version {done.versions['passes']}")
    _say(f"put the key to {lake / 'restricted' / 'vehicle.key'} (mode 0600), then: "
         f"{command('doctor', lake)}")


def _say(text: str) -> None:
    click.echo(f"rsd: {text}", err=True)


@click.command()
@options.lake_argument
@click.option("--registry", type=_input, metavar="FILE",
              help="CSV: plate, plate_color, vehicle_type, fuel, …")
@click.option("--sites", type=_input, metavar="FILE",
              help="CSV: site_id, name, road_segment, lon, lat, crs, slope_deg.")
@click.option("--segments", type=_input, metavar="FILE",
              help="GeoJSON LineStrings with segment_id and name.")
@click.option("--calendar", type=_input, metavar="FILE",
              help="CSV: date, is_working_day, name.")
@click.option("--replace", is_flag=True,
              help="Each FILE holds all rows there are: others that were given before go.")
@options.document_format
def update(lake: Path, registry: Path | None, sites: Path | None, segments: Path | None,
           calendar: Path | None, replace: bool, output_format: str) -> None:
    """Take over a new registry, new sites, road segments or working days.

    Files are as for `rsd init`. A row whose key is known (plate and colour, site_id, segment_id,
    date) replaces the known one as a whole, others are added. Passes of vehicles and sites that
    changed are scored anew in the same moment, from what their dumps had said; the next `rsd run`
    or `rsd find` judges their vehicles again.
    """
    from cli.output import emit_document
    from rsd.keeping.updating import update as take_over

    done = take_over(lakes.opened(lake), registry=registry, sites=sites, segments=segments,
                     calendar=calendar, replace=replace)
    for remark in done.remarks:
        _say(remark)
    emit_document({**{name: dict(counts) for name, counts in done.counts.items()},
                   "passes_scored_anew": done.passes}, output_format)
