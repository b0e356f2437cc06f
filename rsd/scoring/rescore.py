"""Scored passes → what they would be with other small tables (sites, registry).

A pass keeps what the dump said beside what came of it, so that no dump has to be read again. What
follows from the dump alone (times, ratios, concentrations) stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from rsd import quality
from rsd.columns import PASSES, travelling
from rsd.reasons import mask
from rsd.scoring.attributes import look_up, merged, place, registry_facts, site_facts
from rsd.scoring.gases import masses, motion, nox
from rsd.scoring.reasons import own_reasons
from rsd.scoring.rules import ScoringRules

_OF_THE_DUMP = ("DEVICE_INVALID", "TIME_AMBIGUOUS", "RATIO_MISSING_CO2", "RATIO_INCONSISTENT",
                "plate_unreadable")
_OLD_SITE, _OLD_REGISTRY = "_old_site_", "_old_registry_"


@dataclass(frozen=True)
class SmallTables:
    """What passes take from the small tables: `site_facts` and `registry_facts`."""

    sites: pl.DataFrame
    vehicles: pl.DataFrame

    @classmethod
    def of(cls, sites: pl.LazyFrame, vehicles: pl.LazyFrame) -> SmallTables:
        """Return what passes take from rows of `SITES` and `VEHICLES`."""
        registered = vehicles.filter("is_registered")
        return cls(site_facts(sites.collect()), registry_facts(registered).collect())


def rescore(passes: pl.LazyFrame, before: SmallTables, after: SmallTables,
            rules: ScoringRules) -> pl.LazyFrame:
    """Return scored passes as `rsd.scoring.score` would have made them with other small tables.

    Args:
        passes: rows of `PASSES`, scored with ``before``.
        before: what they were scored with.
        after: what they shall be scored with.
        rules: how they were scored; those of their format and lake.

    Returns:
        The same rows in the same order, with exactly the columns of `PASSES`.

    Raises:
        IntegrityError: a site or vehicle stands twice in its table.
    """
    profile = quality.load_profile(rules.quality_profile)
    frame = passes.cast(travelling(PASSES))
    frame = look_up(frame, "site_id", before.sites, _OLD_SITE)
    frame = look_up(frame, "vehicle_id", before.vehicles, _OLD_REGISTRY)
    frame = look_up(frame, "site_id", after.sites, "_site_")
    frame = look_up(frame, "vehicle_id", after.vehicles, "_registry_")
    own = [(code, flag) for code, flag in own_reasons(rules.has_plates, profile)
           if code not in _OF_THE_DUMP]
    gates = quality.failures(profile)
    redone = mask(*{code for code, _ in [*own, *gates]})
    for columns in (
        _as_dumped(),
        place() + merged(),
        motion(),
        masses(rules.convention, rules.impute_nox),
        nox(rules.convention),
        [quality.add_bits(pl.col("reason_bits") & ~redone, [*own, *gates]).alias("reason_bits")],
        quality.validity(profile),
    ):  # fmt: skip
        frame = frame.with_columns(columns)
    return frame.select(column.name for column in PASSES)


def _as_dumped() -> list[pl.Expr]:
    """Return what the dump had said of place and vehicle."""
    slope, vehicle_class = pl.col("slope_deg"), pl.col("vehicle_class")
    # Passes from before two columns were kept: a slope that is exactly the site's is taken for it,
    # and where the registry was silent, the dump spoke.
    of_site = pl.coalesce("is_site_slope", slope == pl.col(f"{_OLD_SITE}slope_deg")).fill_null(
        value=False)
    of_dump = (vehicle_class != "unknown") & pl.col(f"{_OLD_REGISTRY}vehicle_class").is_null()
    return [
        pl.when(~of_site).then(slope).alias("slope_deg"),
        pl.coalesce("vehicle_class_reported", pl.when(of_dump).then(vehicle_class))
        .alias("vehicle_class_reported"),
    ]
