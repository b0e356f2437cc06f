"""Options and arguments that several commands share, spelt once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import FORMAT_OF_SUFFIX, chosen, emit
from cli.tables import MAX_ROWS, Look
from rsd.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

lake_argument = click.argument("lake", type=click.Path(path_type=Path))

dumps_argument = click.argument("dumps", nargs=-1, required=True, metavar="DUMP…")

document_format = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table",
    help="How the summary is printed.")

input_format = click.option(
    "--input-format", default=None, metavar="ID",
    help="Read every dump as this format, whatever its header looks like (see `rsd formats`).",
    show_default="recognised by the header")

max_quarantine = click.option(
    "--max-quarantine", type=click.FloatRange(0, 1), default=None, metavar="SHARE",
    help="Quarantined share of a file, 0 to 1, above which the exit code is 4.",
    show_default="max_quarantine of the lake's rsd.toml, 0.05 in a new lake")

refuse_doubtful_units = click.option(
    "--refuse-doubtful-units", is_flag=True,
    help="Refuse a file whose columns look like another unit than its format declares; else that "
         "is remarked. The lake's setting of that name does it always.")

all_files = click.option(
    "--files", "all_files", is_flag=True,
    help="List every file, not only those refused, quarantined from, corrected or remarked on.")

plates = click.option(
    "--plates", "show_plates", is_flag=True,
    help="Show plates in clear. Needs the right to read restricted/, and is written to the audit.")

regulations = click.option(
    "--regulation", "regulations", multiple=True, metavar="ID", show_default="all",
    callback=lambda _context, _option, given: tuple(i for text in given for i in names(text)),
    help="Only findings by this regulation (repeatable, or several with commas).")

language = click.option(
    "--language", type=click.Choice(["en", "zh"]), default=None,
    show_default="language of the lake's rsd.toml", help="Language of headings and words.")

reason = click.option(
    "--reason", default=None, metavar="TEXT",
    help="Why plates are shown, for the audit. Some lakes want one (require_reason of rsd.toml).")

as_of = click.option(
    "--as-of", "as_of", default=None, metavar="TIME", show_default="now",
    help="The lake as it stood: an instant (2026-11-23, or with T08:00, in the lake's zone), a "
         "file that was exported, its FILE.provenance.json, or versions (findings=3,…).")


def log(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--log``: what happens goes there until the program ends (`cli.main`)."""
    @wraps(command)
    def call(*arguments: Any, log_file: str | None, **named: Any) -> Any:
        if log_file:
            from rsd.pipeline import logs

            logs.listen(log_file)
        return command(*arguments, **named)

    return click.option(
        "--log", "log_file", metavar="FILE", envvar="RSD_LOG", show_default="RSD_LOG, else none",
        help="Add what happens to a file, one JSON object a line without plates; - is the "
             "standard error.")(call)


_ANSWER = (
    click.option("--format", "output_format",
                 type=click.Choice(["table", "json", "csv", "parquet"]), default=None,
                 show_default="by the suffix of -o, else table",
                 help="How the answer is printed. A table is for people; the others are complete."),
    click.option("-o", "--output", type=click.Path(dir_okay=False), default=None, metavar="FILE",
                 help="Write the answer to a file: .csv, .json or .parquet, any other a table."),
    click.option("--columns", default=None, metavar="NAME,…",
                 help="Print only these columns, in this order."),
    click.option("--rows", type=click.IntRange(0), default=None, metavar="N",
                 help=f"Rows that a table shows, {MAX_ROWS} unless said; 0 for all."),
)


@dataclass(frozen=True)
class Answer:
    """How an answer is to be printed: ``--format``, ``-o``, ``--columns`` and ``--rows``."""

    format: str
    output: str | None
    columns: tuple[str, ...] | None
    rows: int | None

    @property
    def is_view(self) -> bool:
        """Whether a person reads it and leaves the choice of columns to us."""
        return self.format == "table" and self.columns is None

    def emit(self, frame: pl.DataFrame, look: Look | None = None) -> None:
        """Print a frame. Raises ``UsageError`` for an unknown column."""
        look = look or Look()
        if self.rows is not None:
            look = replace(look, max_rows=self.rows)
        shown = frame if self.columns is None else chosen(frame, self.columns)
        emit(shown, self.format, self.output, look=look)


def answer(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `Answer`, and their values as its argument ``answer``."""
    @wraps(command)
    def call(*arguments: Any, output_format: str | None, output: str | None, columns: str | None,
             rows: int | None, **named: Any) -> Any:
        by_suffix = FORMAT_OF_SUFFIX.get(Path(output or "").suffix.lower(), "table")
        wanted = None if columns is None else names(columns)
        if wanted == ():
            raise UsageError("no column is named", where="--columns", found=repr(columns),
                             expected="names with commas between them")
        return command(*arguments, **named,
                       answer=Answer(output_format or by_suffix, output, wanted, rows))

    for option in reversed(_ANSWER):
        call = option(call)
    return call


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
