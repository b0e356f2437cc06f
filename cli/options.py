"""Options and arguments that several commands share, spelt once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

lake_argument = click.argument("lake", type=click.Path(path_type=Path))

dumps_argument = click.argument("dumps", nargs=-1, required=True, metavar="DUMP…")

output_format = click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table", show_default=True, help="How the answer is printed.")

document_format = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table",
    show_default=True, help="How the summary is printed.")

output_file = click.option(
    "-o", "--output", type=click.Path(dir_okay=False), default=None,
    help="Write the answer to a file instead of the standard output.")

input_format = click.option(
    "--input-format", default=None, metavar="ID",
    help="Read every dump as this format, whatever its header looks like (see `rsd formats`).")

max_quarantine = click.option(
    "--max-quarantine", type=click.FloatRange(0, 1), default=None, metavar="SHARE",
    help="Quarantined share of a file above which the exit code is 4 (default 0.05).")

plates = click.option(
    "--plates", "show_plates", is_flag=True,
    help="Show plates in clear. Needs the right to read restricted/, and is written to the audit.")
