"""Whether findings still follow from the passes, which may have come or changed since.

Between an ingest, or an update of the registry, and the next `rsd find` the stored findings are
those of before. A list says so; what is handed over or served leaves such vehicles out.
"""

from __future__ import annotations

import polars as pl

from rsd.errors import PolicyRefusal
from rsd.lake import Lake
from rsd.law.rulebook import Regulation
from rsd.pipeline import finding
from rsd.pipeline.nightly import regulations_of

_REMEDY = "Run: rsd find LAKE"


def stale_vehicles(lake: Lake) -> pl.Series | None:
    """Return the vehicles whose passes or inspections changed since the findings were made.

    None where it cannot be told: too much changed, or a purge or a change of the key came since.
    """
    table, made = lake.table("findings"), finding.made_from(lake)
    nobody = pl.Series("vehicle_id", [], pl.String)
    if table.version() < 0:
        return nobody
    if not made:
        return None
    law: dict[str, Regulation] = {r.id: r for r in regulations_of(lake, list(made))}
    found = [nobody]
    for basis in {(m.passes, m.inspections) for m in made.values()}:
        judged = [law[name] for name, m in made.items() if (m.passes, m.inspections) == basis]
        changed = finding.changed_vehicles(lake, *basis, judged)
        if changed is None:
            return None
        found.append(changed)
    return pl.concat(found).unique()


def remark(lake: Lake) -> None:
    """Add to the lake's notices that its findings are not those of its passes, where it is so."""
    stale = stale_vehicles(lake)
    if stale is None and finding.made_from(lake):
        lake.notices.append(f"many passes came since the findings were made. {_REMEDY}")
    elif stale is not None and stale.len():
        lake.notices.append(f"passes of {stale.len():,} vehicles changed since the findings were "
                            f"made. {_REMEDY}")


def without_stale(lake: Lake, findings: pl.DataFrame) -> pl.DataFrame:
    """Return the findings of vehicles of which nothing changed since; a notice says how many not.

    Raises:
        PolicyRefusal: so much changed that it cannot be told.
    """
    stale = stale_vehicles(lake)
    if stale is None:
        if finding.made_from(lake):
            raise PolicyRefusal("the findings are not those of the passes",
                                found="many passes that came since they were made",
                                remedy=f"{_REMEDY}, then ask again.")
        return findings  # a purge or a change of the key carried them over as they were
    is_stale = pl.col("vehicle_id").is_in(stale.implode())
    kept = findings.filter(~is_stale)
    if left := findings.height - kept.height:
        lake.notices.append(f"{left:,} findings are left out: passes of their vehicles changed "
                            f"since they were made. {_REMEDY}, then ask again")
    return kept
