"""Write docs/tables.md and docs/quality.md from the declarations that the code itself uses.

    python tools/write_tables.py [--check]

``--check`` writes nothing and fails where a file is not up to date.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

from rsd import columns as declared
from rsd.columns import Column
from rsd.gate import VIEWS
from rsd.quality import QualityProfile, Rule, load_profile, profile_names
from rsd.reasons import REASONS
from rsd.storage.settings import SETTINGS
from rsd.views import PASSES_COLUMNS

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- Written by tools/write_tables.py. Change the declarations, then run it again. -->"

SUBJECTS = {
    "passes": "One row a pass: one vehicle passing one instrument once.",
    "sites": "The places of the instruments, from the site list of `rsd init`.",
    "segments": "The road segments of `rsd init`.",
    "findings": "One row a vehicle, regulation and pollutant: the verdict and the records that "
                "prove it.",
    "runs": "One row a file of each run: what became of it.",
    "vehicles": "What names a vehicle: plate, colour, registry.",
    "evidence": "Photographs, videos and texts of a pass that may show a plate.",
    "quarantine": "Records that could not be used, with their exact bytes.",
    "calendar": "Working days, from the calendar of `rsd init`.",
    "inspections": "Inspections and re-tests of vehicles, from `rsd inspections`; one that was "
                   "passed breaks a chain of exceedances.",
    "reviews": "One row an act of a review: who decided what about which proof, when and why.",
}
TYPES = {
    pl.String: "text", pl.Float64: "number", pl.Int64: "whole number", pl.Int8: "whole number",
    pl.Boolean: "true or false", pl.Date: "date", pl.Datetime: "instant", pl.Binary: "bytes",
}
EFFECTS = {"unset": "unsets", "note": "notes", "off": "off"}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield a Markdown table; a bar inside a cell is escaped."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def type_name(column: Column) -> str:
    """Return the kind of a column's values in plain words."""
    kind = TYPES[pl.Schema({"": column.dtype})[""].base_type()]
    is_local = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None
    return "local time" if is_local else kind


def span(low: float | None, high: float | None) -> str:
    """Return a range of plausible values, blank where there is none."""
    if low is None or high is None:
        return ""
    return f"{low:g} to {high:g}"


def column_rows(columns: Iterable[Column]) -> Iterator[tuple[str, ...]]:
    """Yield the cells that describe each column."""
    for c in columns:
        unit = "see `unit`" if c.unit == "unit" else c.unit
        meaning = re.sub(r"one of [A-Z_]+", "see *Values*", c.meaning)
        yield f"`{c.name}`", type_name(c), unit, span(c.low, c.high), meaning


def listed(values: Iterable[str]) -> str:
    """Return names in code marks."""
    return ", ".join(f"`{value}`" for value in values)


HEAD = ("column", "type", "unit", "plausible", "meaning")


def tables_page() -> str:
    """Return docs/tables.md."""
    lines = [
        "# Tables", "", GENERATED, "",
        "Every column of every table that a lake keeps. Instants are in UTC; dates, hours and "
        "months in the lake's time zone. *Plausible* says what a value can be; the gates that "
        "decide whether it is used stand in [quality.md](quality.md). No value is removed or cut: "
        "negative readings of a gas are noise of the instrument and stay.", "",
        "## Values", "",
        f"- `plate_color`: {listed(declared.PLATE_COLORS)}",
        f"- `fuel`: {listed(declared.FUELS)}",
        f"- `vehicle_class`: {listed(declared.VEHICLE_CLASSES)}; passenger cars are "
        "`mini_small_bus`",
        f"- `pollutant`: {listed(declared.POLLUTANTS)}",
        "- `emission_stage`: 0 to 6, or null; Euro stages likewise", "",
        "A limit of a pollutant is compared with this column of a pass:", "",
        *table(("pollutant", "column", "unit"), (
            (f"`{p}`", f"`{name}`", unit) for p, (name, unit) in declared.MEASURED_VALUE.items())),
        "## Views of `rsd query`", "",
        f"{listed(VIEWS)}. `sites`, `segments`, `findings` and `runs` are the tables below.", "",
        "`passes` has the current version of each pass: the stored columns below and",
        "",
        *view_lines(),
        "`replicates` has the passes that another instrument recorded too: same vehicle, another "
        "site or line, one place (`replicate_distance_m`), within `replicate_seconds`. Both stay "
        "in `passes`, and verdicts and rates count both. It is computed when asked for, from what "
        "the lake holds then:", "",
        *table(HEAD, column_rows(declared.REPLICATES)),
    ]
    for side, names in (("open", declared.OPEN_TABLES),
                        ("restricted", declared.RESTRICTED_TABLES)):
        for name in names:
            lines += [f"## `{side}/{name}`", "", SUBJECTS[name], "",
                      *table(HEAD, column_rows(declared.TABLES[name]))]
    lines += [
        "## What intake makes of a dump", "",
        "These columns exist between reading and scoring only. A format file names them as the "
        "targets of its own columns (see [formats.md](formats.md)).", "",
        *table(HEAD, column_rows(declared.REPORTED)),
        "## Settings of a lake", "",
        "In `LAKE/rsd.toml`, beside `timezone` and `regulations`.", "",
        *table(("setting", "default", "meaning"), (
            (f"`{key}`", f"`{s.default!r}`", s.meaning) for key, s in SETTINGS.items())),
    ]
    return "\n".join(lines).rstrip() + "\n"


def view_lines() -> list[str]:
    """Return what the view of the passes has beyond the stored columns."""
    stored = {c.name for c in declared.PASSES}
    more = [name for name in PASSES_COLUMNS if name not in stored]
    exceeds = [name for name in more if name.startswith("exceeds_")]
    others = [name for name in more if name not in exceeds]
    return [
        f"- {listed(others)}: the reason codes as a list;",
        f"- {listed(exceeds)}: the verdict of the lake's regulations; null where the pollutant "
        "was not judged or not tested, because not measured is not clean.", "",
        "`judged_passes` has moreover `applies_…` and `tested_…` of each pollutant. No view has "
        "a plate, a photograph's name or raw bytes.", "",
    ]


def quality_page() -> str:
    """Return docs/quality.md."""
    profiles = [load_profile(name) for name in profile_names()]
    lines = [
        "# Quality: reason codes and profiles", "", GENERATED, "",
        "A pass is never removed because a value is odd. It gets reason codes; some of them unset "
        "`is_valid` (the record as a whole) or `is_valid_<pollutant>`. Means and verdicts take "
        "valid values only; the counts of all records stand beside them. A missing value fails no "
        "gate: unknown is not invalid, but a pollutant without a value is not valid.", "",
        "## Reason codes", "",
        "`rsd query` shows them in the column `reasons`. Pollutants: every `is_valid_<pollutant>`; "
        "blank: the code says something and unsets nothing.", "",
        *table(("code", "meaning", "unsets", "source"), (
            (f"`{r.code}`", r.meaning, f"`{r.unsets}`" if r.unsets.startswith("is_") else r.unsets,
             r.source) for r in REASONS)),
        "## Profiles", "",
        "A profile is a set of gates. The dump's format names one (`rsd formats`); "
        "`quality_profile` in `LAKE/rsd.toml` wins over it. *unsets*: a failed gate sets its code "
        "and unsets the flag of the table above; *notes*: it sets the code only.", "",
        "**Unverified** means that nobody has compared the number with the text of the regulation "
        "or method that it is said to come from. Numbers that this project chose itself are marked "
        "as its choice.", "",
    ]
    for profile in profiles:
        lines += profile_lines(profile, profiles[0])
    return "\n".join(lines).rstrip() + "\n"


def profile_lines(profile: QualityProfile, default: QualityProfile) -> list[str]:
    """Return a profile's section: the default's whole, of another what differs."""
    known = {rule.code: rule for rule in default.rules}
    is_default = profile.name == default.name
    rules = [r for r in profile.rules if is_default or r != known.get(r.code)]
    gone = [code for code in known if code not in {r.code for r in profile.rules}]
    lines = [f"### `{profile.name}`{' (default)' * is_default}", "", f"{profile.title}.", ""]
    if not is_default:
        lines += [f"As `{default.name}`, but:", ""]
    lines += table(("gate", "allowed", "effect", "source", "verified"), map(rule_row, rules))
    if gone:
        lines += [f"Not applied: {listed(gone)}.", ""]
    if profile.noted:
        lines += [f"Noted only: {listed(profile.noted)}.", ""]
    return lines


def rule_row(rule: Rule) -> tuple[str, ...]:
    """Return a gate's cells."""
    return (f"`{rule.code}`", allowed(rule), EFFECTS[rule.effect], rule.source,
            "yes" if rule.verified else "**unverified**")


def allowed(rule: Rule) -> str:
    """Return which values pass a gate."""
    low = "" if rule.low is None else f"{'>' if rule.low_open else '≥'} {rule.low:g}"
    high = "" if rule.high is None else f"{'<' if rule.high_open else '≤'} {rule.high:g}"
    bounds = " and ".join(part for part in (low, high) if part)
    return f"`{rule.quantity}` {bounds} {rule.unit}"


PAGES: dict[str, Callable[[], str]] = {"tables.md": tables_page, "quality.md": quality_page}


def main(arguments: list[str]) -> int:
    """Write or check the pages; return the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"not up to date: {', '.join(stale)}; run python tools/write_tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
