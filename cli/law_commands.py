"""The command `rsd regulations`: what the law says, and whether a file of law is sound."""

from __future__ import annotations

from pathlib import Path

import click

from cli import lakes, options


class _ShowByDefault(click.Group):
    """A group that takes a word that is no command of it as an argument of its default command."""

    default = "show"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowByDefault)
def regulations() -> None:
    """List the regulations, explain one, or check a file of your own.

    `rsd regulations` lists them; `rsd regulations ID` explains one with its citations and
    unverified numbers. `--lake LAKE` counts in the lake's own folder regulations/.
    """


@regulations.command()
@click.argument("regulation_id", required=False, metavar="[ID]")
@click.option("--lake", "lake", type=click.Path(path_type=Path), default=None, metavar="LAKE",
              help="Count in the regulations of this lake's own folder.")
@options.answer
def show(regulation_id: str | None, lake: Path | None, answer: options.Answer) -> None:
    """List the regulations, or explain one with its citations and unverified numbers."""
    from cli.catalogue import show_regulation, show_regulations

    folders = () if lake is None else _folders(lake)
    if regulation_id is None:
        show_regulations(folders, answer)
    else:
        show_regulation(regulation_id, folders, answer)


def _folders(lake: Path) -> tuple[Path, ...]:

    return lakes.opened(lake).regulation_folders


@regulations.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--cases", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="The case file to run.", show_default="<id>.cases.toml beside FILE, if there")
@options.answer
def check(file: Path, cases: Path | None, answer: options.Answer) -> None:
    """Check a regulation's FILE, and run its case file if there is one.

    Nothing is stored. Exit code 0 if the file is sound and every case ends as it says, else 2. The
    table has one row a case; what is wrong, and what nobody has verified, is said beside it.
    """
    from cli.catalogue import show_check

    show_check(file, cases, answer)
