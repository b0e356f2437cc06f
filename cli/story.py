"""A vehicle's story for people: who it is, by which rules, pass by pass, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from cli.tables import Look

if TYPE_CHECKING:
    from rsd.law.phrases import Phrases
    from rsd.law.rules import Period, Regulation
    from rsd.pipeline.explain import Story

_CLOCK = "%Y-%m-%d %H:%M:%S"
_VSP = ("vsp_device_kw_t", "vsp_kw_t")


def story_view(story: Story) -> tuple[pl.DataFrame, Look]:
    """Return a vehicle's passes for people, with who it is before and its findings after."""
    said, rows = story.phrases, story.verdicts
    local = pl.col("measured_at").dt.convert_time_zone(story.timezone).dt.strftime(_CLOCK)
    number = pl.col("vehicle_id").replace_strict(
        story.vehicles, range(1, len(story.vehicles) + 1), return_dtype=pl.Int64)
    several = len({r.id for r in story.regulations}) > 1
    frame = rows.select(
        local.alias("local_time"),
        *([number.alias("vehicle")] if len(story.vehicles) > 1 else []),
        "site_id",
        *(["regulation_id"] if several else []),
        *(_in_words(story, name) if name in ("pollutant", "unit") else pl.col(name)
          for name in ("pollutant", "value", "limit", "unit")),
        pl.col("verdict").replace(dict(said.sections["verdicts"])),
        "story", "reasons", "road_segment",
    )
    headings = said.sections["headings"]
    return frame.rename({name: headings[name] for name in frame.columns}), Look(
        before=[*_who(story), *_law(story), ""],
        after=["", *_findings(story)],
        more_rows="use --rows 0 for all",
        more_columns="use a wider terminal, choose with --columns A,B,…, or --format csv for all")


def _in_words(story: Story, column: str) -> pl.Expr:
    """Return a column with its values in the language of the story."""
    known = dict(story.phrases.values.get(column, {}))
    return pl.col(column).replace(known) if known else pl.col(column)


def _who(story: Story) -> list[str]:
    """Return two lines a vehicle: its id, how often it passed, what it is."""
    said, lines = story.phrases, []
    for number, vehicle in enumerate(story.vehicles, 1):
        passes = story.verdicts.filter(pl.col("vehicle_id") == vehicle).unique(
            "record_id", maintain_order=True)
        mark = f" {number}" if len(story.vehicles) > 1 else ""
        lines.append(said.text("lines", "vehicle", number=mark, id=vehicle, passes=passes.height))
        lines.append(said.text("lines", "registered", stage=_known(story, passes, "emission_stage"),
                               **{n: _known(story, passes, n) for n in ("vehicle_class", "fuel")}))
    return lines


def _known(story: Story, passes: pl.DataFrame, column: str) -> str:
    """Return the values that occur, the first one first."""
    said = story.phrases
    values = [said.value(column, v)
              for v in passes[column].drop_nulls().unique(maintain_order=True)]
    return said.sections["lines"]["or"].join(values) or said.value(column, None)


def _law(story: Story) -> list[str]:
    """Return by what the vehicle is judged: each rule, and each limit with its clause."""
    said = story.phrases
    lines = [said.text("lines", "judged", timezone=story.timezone,
                       regulations=", ".join(sorted(r.id for r in story.regulations)))]
    for regulation in story.regulations:
        lines.append(said.text("lines", "rule", regulation=regulation.id,
                               sentence=said.rule(regulation),
                               clause=said.clause(regulation.verb.clause)))
        lines += _limits(story, regulation)
    instants = story.inspections["inspected_at"].to_list()
    return lines + [said.text("lines", "inspection", at=at) for at in instants]


def _limits(story: Story, regulation: Regulation) -> list[str]:
    said = story.phrases
    marks = {True: "verified", False: "number_unverified"}
    return [
        said.text("lines", "limit", pollutant=said.value("pollutant", limit.pollutant),
                  op=limit.op, value=limit.value, unit=said.value("unit", limit.unit),
                  kind=said.value("kind", limit.kind), clause=said.clause(limit.clause),
                  mark=said.sections["lines"][marks[limit.verified]],
                  when=_when(said, period) if len(regulation.periods) > 1 else "")
        for period in regulation.periods for limit in period.limits
    ]


def _when(said: Phrases, period: Period) -> str:
    """Return from which day until which one a period's limits hold."""
    key = "limit_since" if period.until is None else "limit_until"
    return said.text("lines", key, since=period.start, until=period.until)


def _findings(story: Story) -> list[str]:
    """Return a sentence a finding, times on the lake's clock."""
    blind = set(story.verdicts.filter(pl.all_horizontal(pl.col(_VSP).is_null()))["record_id"])
    told = [_finding(story, f, blind) for f in story.findings.iter_rows(named=True)]
    return told or [story.phrases.sections["lines"]["no_finding"]]


def _finding(story: Story, finding: dict[str, Any], blind: set[str]) -> str:
    said, lines = story.phrases, story.phrases.sections["lines"]
    proofs = [(finding[f"{n}_record_id"], finding[f"{n}_measured_at"], finding[f"{n}_value"])
              for n in ("first", "second") if finding[f"{n}_record_id"]]
    readings = [
        said.text("lines", "reading", at=at, value="" if value is None else value,
                  unit=said.value("unit", finding["unit"]) if finding["unit"] else "",
                  blind=lines["blind"] if record in blind else "")
        for record, at, value in proofs]
    return said.text(
        "lines", "finding", kind=said.value("kind", finding["kind"]),
        regulation=finding["regulation_id"], found_at=finding["found_at"],
        pollutant=said.value("pollutant", finding["pollutant"]),
        records=lines["records_join"].join(record for record, _, _ in proofs),
        readings=lines["readings_join"].join(readings),
        clause=said.clause(finding["clause"]),
        mark="" if finding["is_verified"] else lines["finding_mark"])
