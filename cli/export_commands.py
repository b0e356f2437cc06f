"""Commands that write lists and notices for the office."""

from __future__ import annotations

from pathlib import Path

import click

from cli import lakes, options
from rsd.errors import readable


@click.group()
def export() -> None:
    """Write lists and notices for the office."""


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
@options.regulations
@click.option("--evidence/--no-evidence", default=True,
              help="Behind each finding what its proof records say: checks, weather, power, place, "
                   "photographs, source, and what is missing.")
@options.language
@options.reason
@options.as_of
def export_findings(lake: Path, output: Path, show_plates: bool, withdrawn_only: bool,
                    raw_csv: bool, regulations: tuple[str, ...], evidence: bool,
                    language: str | None, reason: str | None, as_of: str | None) -> None:
    """Export the high-emitter list with the passes that prove each finding.

    An XLSX has a sheet a regulation, one with the evidence, and one on where all of it is from,
    in the --language; the columns of the other formats keep their names. References of
    photographs, which often carry plates, are given with --plates only.
    """
    from cli.progress import progress
    from rsd.pipeline.reading import export_list

    view = lakes.opened_at(lake, as_of)
    with progress(f"write {readable(output.name)}") as tick:
        rows = export_list(view, output, show_plates=show_plates, withdrawn_only=withdrawn_only,
                           raw_csv=raw_csv, reason=reason, regulations=regulations,
                           evidence=evidence, language=language, progress=tick)
    lakes.tell(view)
    click.echo(f"rsd: {rows:,} findings in {readable(str(output))}", err=True)


@export.command("referral")
@options.lake_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
              metavar="FILE",
              help="Where the list goes: .csv, .xlsx, .parquet, .json or .geojson.")
@options.plates
@click.option("--again", is_flag=True,
              help="Also findings that were handed over before, and failed a re-test or none yet.")
@click.option("--raw", "raw_csv", is_flag=True,
              help="CSV without the apostrophe that keeps a spreadsheet from running a cell.")
@options.language
@options.reason
@options.as_of
def export_referral(lake: Path, output: Path, show_plates: bool, again: bool, raw_csv: bool,
                    language: str | None, reason: str | None, as_of: str | None) -> None:
    """Export what is to be handed over: findings that a person confirmed and nothing changed since.

    Each with its evidence, the reviewer, time and reason. A finding that late data changed or undid
    is not in it until it is reviewed anew (see `rsd review`). Needs the right to read restricted/.
    """
    from cli.progress import progress
    from rsd.pipeline.referral import export_referral as hand_over

    view = lakes.opened_at(lake, as_of)
    with progress(f"write {readable(output.name)}") as tick:
        rows = hand_over(view, output, show_plates=show_plates, again=again, raw_csv=raw_csv,
                         language=language, reason=reason, progress=tick)
    click.echo(f"rsd: {rows:,} confirmed findings in {readable(str(output))}", err=True)


@export.command("notices")
@options.lake_argument
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True,
              metavar="DIR", help="New or empty: a PDF a vehicle goes there, with an index.")
@options.regulations
@click.option("--vehicle", default=None, metavar="VEHICLE", show_default="all",
              help="Only this vehicle: a vehicle_id, or a plate (audited).")
@options.language
@click.option("--font", type=click.Path(dir_okay=False, path_type=Path), default=None,
              metavar="FILE", show_default="notice_font of the lake's rsd.toml, else one found",
              help="Set them in this font (.otf, .ttf, .ttc).")
@click.option("--unreviewed", is_flag=True,
              help="Drafts too, of findings that nobody has confirmed, marked so on every page.")
@options.plates
@options.reason
@options.as_of
def export_notices(lake: Path, output: Path, regulations: tuple[str, ...], vehicle: str | None,
                   language: str | None, font: Path | None, unreviewed: bool, show_plates: bool,
                   reason: str | None, as_of: str | None) -> None:
    """Write a notice to the owner of each vehicle with confirmed findings, as PDF.

    The letterhead comes from notice_authority and notice_address of the lake's rsd.toml. Where
    findings wait and none is confirmed, nothing is written and the exit code is 8: see rsd review.
    """
    from cli.progress import progress
    from rsd.pipeline.noticing import export_notices as write

    view = lakes.opened_at(lake, as_of)
    with progress("write notices") as tick:
        done = write(view, output, regulations=regulations, vehicle=vehicle, language=language,
                     font=font, show_plates=show_plates, unreviewed=unreviewed, reason=reason,
                     progress=tick)
    lakes.tell(view)
    drafts = f", {done.drafts:,} of them drafts" if done.drafts else ""
    click.echo(f"rsd: {done.notices:,} notices{drafts} in {readable(str(output))}", err=True)
    if done.unreviewed:
        click.echo(f"rsd: {done.unreviewed:,} findings are left out: nobody has confirmed them",
                   err=True)
    if done.exempt:
        click.echo(f"rsd: {done.exempt:,} vehicles are left out: their plates are military",
                   err=True)
