"""Commands that make a city with known truth, and show the whole chain on one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--vehicles", type=click.IntRange(1), default=30_000, show_default=True)
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True,
              help="The same seed gives the same bytes.")
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), default=None, help="First day.")
@click.option("--passes-per-day", type=click.FloatRange(0), default=None,
              help="Expected passes of a mean day (default: a third of the vehicles).")
def simulate(folder: Path, vehicles: int, days: int, seed: int, start: datetime | None,
             passes_per_day: float | None) -> None:
    """Write the dumps of a synthetic city into FOLDER, with its truth apart. All is made up."""
    from cli.output import emit_document
    from cli.progress import progress
    from rsd import synthetic

    with progress("simulate a city", days) as tick:
        made = synthetic.simulate(
            folder, vehicles=vehicles, days=days, seed=seed, progress=tick,
            passes_per_day=passes_per_day, start=start.date() if start else synthetic.START)
    emit_document(made.as_dict(), "table")


@click.command()
@click.argument("folder", required=False, default="rsd-demo",
                type=click.Path(file_okay=False, path_type=Path))
@click.option("--vehicles", type=click.IntRange(100), default=30_000, show_default=True)
@click.option("--days", type=click.IntRange(1), default=30, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=2026, show_default=True)
def demo(folder: Path, vehicles: int, days: int, seed: int) -> None:
    """Show the whole chain on a synthetic city, and say where the results lie."""
    from cli.output import emit
    from cli.progress import progress
    from rsd.pipeline.demo import demo as show

    made = show(folder, lambda name: progress(name, None), vehicles=vehicles, days=days, seed=seed)
    totals = made.run.totals()
    columns = [c for c in ("vehicle_class", "fuel", "n_records", "n_valid", "n_vehicles",
                           "mean_no_ppm", "ci_low_no_ppm", "ci_high_no_ppm", "mean_nox_g_kg",
                           "rate_valid_opacity", "rate_all_opacity") if c in made.aggregate.columns]
    emit(made.aggregate.select(columns), "table",
         title="Emissions by vehicle class and fuel (synthetic)")
    click.echo(
        f"\n{totals['records']:,} records of {totals['files']} dumps = {totals['accepted']:,} "
        f"accepted + {totals['quarantined']:,} quarantined + {totals['duplicates']:,} duplicates\n"
        f"{made.findings:,} findings (HJ 845-2017; its numbers are unverified, the city is made up)"
        f"\n\nResults in {made.folder}:\n"
        f"  {made.list_xlsx}   the high-emitter list, plates masked\n"
        f"  {made.list_csv}    the same for other programs\n"
        f"  {made.aggregate_csv}   vehicle class by road segment, with intervals\n"
        f"\nTry next:\n"
        f"  rsd aggregate {made.lake} --by road_segment,month\n"
        f"  rsd query {made.lake} \"SELECT fuel, count(*) FROM passes GROUP BY fuel\"\n"
        f"  rsd explain {made.lake} VEHICLE_ID      (one of the list)\n"
        f"  rsd export findings {made.lake} -o list.csv --plates\n"
        f"  rsd regulations cn_hj845_2017")
