"""Commands of reviewers: look at findings, decide about them, and hand the confirmed ones over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli import lakes, options

_ACCOUNT_REFUSED = 4
_day = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def review() -> None:
    """Review findings: a machine's verdict is never final.

    A FINDING is named by the beginning of its finding_id, as `rsd review list` shows it. The id is
    made of the proof: when late data change the proof, the finding has another id and is reviewed
    anew. Every act is an event with reviewer, time and reason that nothing changes later. All
    commands need the right to read restricted/.
    """


def _date(_context: click.Context, _option: click.Parameter,
          value: dt.datetime | None) -> dt.date | None:
    return None if value is None else value.date()


_vehicle = click.option(
    "--vehicle", default=None, metavar="VEHICLE",
    help="A vehicle_id, or a plate (PLATE/COLOUR where two vehicles share its characters).")
_regulation = click.option("--regulation", default=None, metavar="ID",
                           help="Only findings by this regulation.")
_pollutant = click.option("--pollutant", default=None, metavar="NAME",
                          help="Only findings of this pollutant.")


@review.command("list")
@options.lake_argument
@click.option("--state", "states", multiple=True, metavar="STATE",
              help="Only this state (repeatable): auto_flagged, pending_review, confirmed, "
                   "rejected, notified, referred, retested_pass, retested_fail, closed.")
@click.option("--standing", "standings", multiple=True,
              type=click.Choice(["current", "changed", "withdrawn"]),
              help="Only findings that late data left alone, changed since their review, or undid.")
@_vehicle
@_regulation
@_pollutant
@click.option("--overdue", is_flag=True, help="Only those whose last day is over.")
@click.option("--on", type=_day, callback=_date, default=None, metavar="DATE",
              show_default="today", help="The local day that --overdue is asked for.")
@options.plates
@options.reason
@options.as_of
@options.answer
def list_(lake: Path, states: tuple[str, ...], standings: tuple[str, ...], vehicle: str | None,
          regulation: str | None, pollutant: str | None, overdue: bool, on: dt.date | None,
          show_plates: bool, reason: str | None, as_of: str | None,
          answer: options.Answer) -> None:
    """List findings with the state of their review, the most pressing first.

    Also what was reviewed and then undone by late data (standing: withdrawn), or stands on another
    proof now (changed since review): neither goes into a referral until it is reviewed anew.
    """
    from cli.views import case_view
    from rsd.errors import UsageError
    from rsd.pipeline import review as reading
    from rsd.pipeline.reading import resolve_vehicle
    from rsd.review import flow

    view = lakes.opened_at(lake, as_of)
    known = flow.load().states
    if unknown := [s for s in states if s not in known]:
        raise UsageError("no such state", where="--state", found=repr(unknown[0]),
                         expected=", ".join(known))
    full = [flow.CHANGED if s == "changed" else s for s in standings]
    reading.require_right(view)
    vehicles = None if vehicle is None else resolve_vehicle(view, vehicle, reason=reason)
    frame, remarks = reading.list_cases(
        view, states=states, standings=full, regulation=regulation, pollutant=pollutant,
        vehicles=vehicles, overdue=overdue, on=on, show_plates=show_plates, reason=reason)
    for remark in remarks:
        click.echo(f"rsd: {remark}", err=True)
    answer.emit(*(case_view(frame, view.timezone) if answer.is_view else (frame,)))


@review.command()
@options.lake_argument
@click.argument("finding")
@options.plates
@options.reason
@options.as_of
@options.answer
def show(lake: Path, finding: str, show_plates: bool, reason: str | None, as_of: str | None,
         answer: options.Answer) -> None:
    """Show one FINDING, and every event of its review, also those about earlier proofs.

    JSON, CSV and Parquet have a row an event with the finding beside it, one row where nothing
    happened yet. The passes and the clause behind the verdict: `rsd explain`.
    """
    from cli.views import review_view
    from rsd.pipeline.review import show_case

    view = lakes.opened_at(lake, as_of)
    case, history = show_case(view, finding, show_plates=show_plates, reason=reason)
    if answer.is_view:
        answer.emit(*review_view(case, history, view.timezone))
    else:
        events = history.rename({n: f"event_{n}" for n in history.columns if n in case.columns})
        answer.emit(case.join(events, how="cross") if history.height else case)


def _acting(name: str, text: str, *, is_reason_required: bool = False,
            more: tuple[Callable[..., Any], ...] = ()) -> None:
    """Add the command of one act."""
    @options.lake_argument
    @click.argument("findings", nargs=-1, metavar="[FINDING…]")
    @_vehicle
    @_regulation
    @_pollutant
    @click.option("--reason", "--text", "reason", default=None, required=is_reason_required,
                  metavar="TEXT", help="Why; it stands in the history and in the referral.")
    @click.option("--as", "reviewer", default=None, metavar="NAME", show_default="your login",
                  help="Who decided. Your login is kept beside it.")
    @click.option("--on", "acted_on", type=_day, callback=_date, default=None, metavar="DATE",
                  show_default="today", help="Local day of the act, as of the service of a notice.")
    @click.option("--due", type=_day, callback=_date, default=None, metavar="DATE",
                  show_default="by the deadlines in force",
                  help="Last local day of what must follow.")
    @options.answer
    def command(lake: Path, findings: tuple[str, ...], vehicle: str | None,
                regulation: str | None, pollutant: str | None, reason: str | None,
                reviewer: str | None, acted_on: dt.date | None, due: dt.date | None,
                answer: options.Answer, result: str | None = None) -> None:
        from rsd.errors import UsageError
        from rsd.pipeline import review as reading
        from rsd.pipeline.reading import resolve_vehicle
        from rsd.pipeline.review_acts import Act, act

        opened = lakes.opened(lake)
        reading.require_right(opened)
        if bool(findings) == (vehicle is not None):
            raise UsageError("no finding is named" if vehicle is None
                             else "a finding is named twice over",
                             expected="FINDING…, or --vehicle with --regulation and --pollutant")
        wanted = list(findings) if vehicle is None else [
            reading.pick(opened, resolve_vehicle(opened, vehicle, reason=reason), regulation,
                         pollutant)]
        action = name if result is None else f"{name}_{result}"
        done = act(opened, [Act(f, action, reason, reviewer, acted_on, due) for f in wanted])
        answer.emit(done.select("finding_id", "action", "from_state", "to_state", "reviewer",
                                "at", "acted_on", "due", "deadline_id", "event_id"))

    for option in more:
        command = option(command)
    command.__doc__ = text
    review.command(name)(command)


_acting("open", "Take findings up: they are pending_review from now on.")
_acting("confirm", "Confirm findings: the evidence was looked at and suffices.\n\n"
        "Takes them up first where nobody has. Only confirmed findings are referred.",
        is_reason_required=True)
_acting("reject", "Reject findings: the evidence does not suffice.\n\n"
        "Takes them up first where nobody has.", is_reason_required=True)
_acting("note", "Add a remark to findings; their state stays.", is_reason_required=True)
_acting("notify", "Say that the owners were told, --on the day of service. A deadline begins.")
_acting("refer", "Say that findings were handed over to the police.")
_acting("retest", "Enter the result of a re-test.", more=(
    click.option("--result", type=click.Choice(["pass", "fail"]), required=True,
                 help="What the re-test showed."),))
_acting("close", "Close cases: nothing more follows.", is_reason_required=True)
_acting("reopen", "Review anew, as after an owner's objection; the history stays.",
        is_reason_required=True)
_acting("withdraw", "Put away cases whose finding late data undid.", is_reason_required=True)


@review.command("import")
@options.lake_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--as", "reviewer", default=None, metavar="NAME", show_default="your login",
              help="Who decided, where a line does not say.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
@options.answer
def import_(lake: Path, file: Path, reviewer: str | None, dry_run: bool,
            answer: options.Answer) -> int:
    """Do the acts of a CSV FILE, in one go, and account for each line.

    Columns: finding_id, action, and any of reason, reviewer, acted_on, due. A line that is not
    possible is refused with the reason; the others are done. The exit code is 4 if any was refused.
    """
    from rsd.pipeline.review_file import import_acts

    account = import_acts(lakes.opened(lake), file, reviewer=reviewer, is_rehearsal=dry_run)
    refused = account.filter(account["outcome"] == "refused").height
    answer.emit(account)
    click.echo(f"rsd: {account.height - refused:,} acts {'possible' if dry_run else 'done'}, "
               f"{refused:,} refused", err=True)
    return _ACCOUNT_REFUSED if refused else 0


@review.command()
@options.lake_argument
@click.argument("file", required=False,
                type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.answer
def calendar(lake: Path, file: Path | None, answer: options.Answer) -> None:
    """Show the calendar of working days, or put the one of a CSV FILE in its place.

    Columns: date, is_working_day, and name; one row a day, without a gap.
    """
    from rsd.pipeline.review_acts import set_calendar

    opened = lakes.opened(lake)
    if file is None:
        answer.emit(opened.table("calendar").scan().collect().sort("date"))
        return
    days = set_calendar(opened, file)
    first, last = days["date"][0], days["date"][-1]
    click.echo(f"rsd: {days.height:,} days from {first} to {last}, "
               f"{days['is_working_day'].sum():,} of them worked", err=True)


@review.command()
@options.lake_argument
@options.answer
def deadlines(lake: Path, answer: options.Answer) -> None:
    """Show the deadlines that are known: which run in this LAKE, how long, by which source."""
    from rsd.pipeline.review import deadlines_of

    answer.emit(deadlines_of(lakes.opened(lake)))


@review.command()
@options.lake_argument
def verify(lake: Path) -> None:
    """Check the chain of events, and that the audit's last ones are there. Exit code 7 if not."""
    from rsd.errors import IntegrityError
    from rsd.pipeline.review import problems

    opened = lakes.opened(lake)
    if found := problems(opened):
        for problem in found:
            click.echo(f"rsd: {problem}", err=True)
        raise IntegrityError("the events of reviews are not as they were written",
                             where="reviews", found=f"{len(found)} problems",
                             remedy="Restore the table from a backup, or find out by whom.")
    click.echo(f"rsd: {opened.table('reviews').scan().collect().height:,} events, one chain",
               err=True)
