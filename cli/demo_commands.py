"""Commands that make a city with known truth, and show the whole chain on one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cli.progress import Unit, Update
    from rsd.pipeline.demo import Demo


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--vehicles", type=click.IntRange(1), default=30_000, metavar="N",
              help="Vehicles that live in the city.")
@click.option("--days", type=click.IntRange(1), default=30, metavar="N",
              help="Days that are measured.")
@click.option("--seed", type=click.IntRange(0), default=1, metavar="N",
              help="The same seed gives the same bytes.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default=None,
              metavar="YYYY-MM-DD", show_default="2026-09-01", help="First day.")
@click.option("--passes-per-day", type=click.FloatRange(0), default=None,
              metavar="N", show_default="a third of the vehicles",
              help="Expected passes of a mean day.")
def simulate(folder: Path, vehicles: int, days: int, seed: int, start: datetime | None,
             passes_per_day: float | None) -> None:
    """Write the dumps of a synthetic city into FOLDER, with its truth apart. All is made up."""
    from cli.output import emit_document
    from cli.progress import progress
    from rsd import synthetic

    with progress("simulate a city", days, "days") as tick:
        made = synthetic.simulate(
            folder, vehicles=vehicles, days=days, seed=seed, progress=tick,
            passes_per_day=passes_per_day, start=start.date() if start else synthetic.START)
    emit_document(made.as_dict(), "table")


@click.command()
@click.argument("folder", required=False, default="rsd-demo",
                type=click.Path(file_okay=False, path_type=Path))
@click.option("--vehicles", type=click.IntRange(100), default=30_000, metavar="N",
              help="Vehicles that live in the city.")
@click.option("--days", type=click.IntRange(1), default=30, metavar="N",
              help="Days that are measured.")
@click.option("--seed", type=click.IntRange(0), default=2026, metavar="N",
              help="The same seed gives the same city.")
def demo(folder: Path, vehicles: int, days: int, seed: int) -> None:
    """Show the whole chain on a synthetic city, and say where the results lie.

    FOLDER (rsd-demo where none is named) is new, empty, or that of an earlier demo.
    """
    from rsd.pipeline.demo import demo as show

    made = show(folder, _bar, vehicles=vehicles, days=days, seed=seed)
    _show_overview(made)
    totals = made.run.totals()
    click.echo(
        f"\n{totals['records']:,} records of {totals['files']} dumps = {totals['accepted']:,} "
        f"accepted + {totals['quarantined']:,} quarantined + {totals['duplicates']:,} duplicates\n"
        f"{made.findings:,} findings (HJ 845-2017; its numbers are unverified, the city is made up)"
        f"\n\nResults in {made.folder}:\n"
        f"  {made.list_xlsx}   the high-emitter list, plates masked\n"
        f"  {made.list_csv}    the same for other programs\n"
        f"  {made.aggregate_csv}   vehicle class by road segment, with intervals\n"
        f"\nTry next:")
    for line in _next_commands(folder / "lake", folder / "list.csv"):
        click.echo(f"  {line}")


def _bar(name: str) -> AbstractContextManager[Update]:
    """Return the bar of a step: dumps are counted in bytes, a city in days."""
    from cli.progress import progress

    units: dict[str, Unit] = {"simulate a city": "days", "ingest and judge": "bytes"}
    return progress(name, None, units.get(name, "steps"))


def _show_overview(made: Demo) -> None:
    from cli.output import emit
    from cli.views import aggregate_view

    groups = ["vehicle_class", "fuel"]
    measures = ["mean_no_ppm", "ci_low_no_ppm", "ci_high_no_ppm", "mean_nox_g_kg",
                "rate_valid_opacity"]
    few = [n for n in ("n_records", "n_vehicles", *measures) if n in made.aggregate.columns]
    frame, look = aggregate_view(made.aggregate.select(groups + few), groups)
    emit(frame, "table", look=replace(
        look, title="Emissions by vehicle class and fuel (synthetic)", max_rows=0,
        more_columns="rsd aggregate shows them"))


def _next_commands(lake: Path, wanted: Path) -> list[str]:
    from cli.program import command

    return [
        command("aggregate", lake, "--by", "road_segment,month"),
        command("query", lake) + ' "SELECT fuel, count(*) FROM passes GROUP BY fuel"',
        command("explain", lake) + " VEHICLE_ID      (one of the list)",
        command("quarantine", lake) + "      (records that could not be used)",
        command("export", "findings", lake, "-o", wanted, "--plates"),
        command("regulations", "cn_hj845_2017"),
    ]
