"""Commands for whoever watches: what a run is doing, and who did what."""

from __future__ import annotations

from pathlib import Path

import click

from cli import lakes, options


@click.command()
@options.lake_argument
@options.document_format
def status(lake: Path, output_format: str) -> None:
    """Say what the run of a LAKE is doing, or how the last one ended.

    `state` is idle (nothing ever ran), running, done, failed, interrupted, or died: killed, or the
    machine stopped. It is read from LAKE/status.json, which every run keeps.
    """
    from cli.output import emit_document
    from rsd.pipeline.status import read_status

    emit_document(read_status(lakes.opened(lake).path), output_format)


@click.group()
def audit() -> None:
    """Read and check the record of who did what. Needs the right to read restricted/."""


@audit.command()
@options.lake_argument
@click.option("--head", "head_file", type=click.Path(dir_okay=False, path_type=Path), default=None,
              metavar="FILE",
              help="Heads that were kept elsewhere (`rsd audit head`): without them a tail that "
                   "was cut off, or a log that was rolled back, cannot be told.")
def verify(lake: Path, head_file: Path | None) -> None:
    """Check the log's chain: edits, deletions, insertions, swaps, cuts, rollbacks. Exit code 7."""
    from rsd.pipeline.watching import check

    facts = check(lakes.opened(lake), head_file)
    click.echo(f"{facts.records:,} records, one chain; {facts.heads:,} kept heads agree")
    for answer in facts.answers:
        click.echo(f"rsd: the log was begun anew: {answer}", err=True)
    if not facts.heads:
        click.echo("rsd: no kept head was compared: that the end was not cut off is not shown "
                   "(--head FILE)", err=True)


@audit.command()
@options.lake_argument
@click.option("--action", default=None, metavar="TEXT",
              help="Only actions whose name has this text, such as export or query.")
@click.option("--actor", default=None, metavar="USER", help="Only what this user did.")
@click.option("--since", default=None, metavar="DATE", help="Only from this date or instant on.")
@click.option("--shown-plates", is_flag=True, help="Only where plates were shown in clear.")
@options.answer
def show(lake: Path, action: str | None, actor: str | None, since: str | None, shown_plates: bool,
         answer: options.Answer) -> None:
    """Show who did what, when, and why. No plate stands in it."""
    from rsd.pipeline.watching import told

    answer.emit(told(lakes.opened(lake), action=action, actor=actor, since=since,
                     shown_plates=shown_plates))


@audit.command()
@options.lake_argument
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=None,
              metavar="FILE",
              help="Add the head to this file, which somebody else should own.")
def head(lake: Path, output: Path | None) -> None:
    """Print the number and hash of the last record, to be kept by somebody else."""
    import json
    from dataclasses import asdict

    from rsd.pipeline.trail import add_head
    from rsd.pipeline.watching import head_of

    found = head_of(lakes.opened(lake))
    if output is None:
        click.echo(json.dumps(asdict(found)))
    else:
        add_head(output, found)
        click.echo(f"rsd: record {found.seq:,} is the head; added to {output}", err=True)


@audit.command()
@options.lake_argument
@click.option("--reason", required=True, metavar="TEXT",
              help="Why the log begins late: the lake is older than the audit, or a damaged log "
                   "was moved away, and where that is kept.")
def accept(lake: Path, reason: str) -> None:
    """Answer for a log that was begun anew, so that `verify` and the doctor no longer report it.

    And for acts of review that a crash left in the audit alone. The answer, with your name and the
    reason, is a record of the log, and `verify` shows it. Any other fault of the log stays a fault.
    A head that was kept before still tells.
    """
    from rsd.keeping.acceptance import accept_beginning

    records = accept_beginning(lakes.opened(lake), reason)
    click.echo(f"{records:,} records; what it tells of is answered for", err=True)
