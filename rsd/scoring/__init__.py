"""Reported passes → scored passes: places, times, ratios, masses, specific power, reasons, flags.

One lazy chain of `with_columns`, no window and no sort: it streams, and gives one row a record in
the order of the records. The small tables (sites, registry) are looked up, never the big one.
Formulas are those of `rsd.physics`, gates those of `rsd.quality`.
"""

from __future__ import annotations

import polars as pl

from rsd import quality
from rsd.clock import constant_offset, to_utc
from rsd.columns import PASSES, REPORTED, travelling
from rsd.scoring.attributes import gather, identity, look_up, place, registry_facts, site_facts
from rsd.scoring.clock import clock
from rsd.scoring.gases import concentrations, masses, motion, nox, ratios
from rsd.scoring.reasons import own_reasons
from rsd.scoring.rules import ScoringRules

__all__ = ["ScoringRules", "constant_offset", "score", "to_utc"]


def score(
    reported: pl.LazyFrame, sites: pl.DataFrame, vehicles: pl.DataFrame, rules: ScoringRules
) -> pl.LazyFrame:
    """Return the scored passes, with exactly the columns of `PASSES`, a row a record, in order.

    Texts of few values are categories (`rsd.columns.travelling`).

    ``reported`` has the columns of `REPORTED` with a ``record_id`` that is not null, and
    ``vehicle_id`` (null without a plate) and ``source_sha256``; ``sites`` those of `SITES`;
    ``vehicles`` those of `VEHICLES`. Raises IntegrityError where ``site_id`` or ``vehicle_id``
    is no key of its table.

    Where ``reported`` has ``registry_row``, it is the number of the vehicle's row in ``vehicles``,
    which are then what `registry_facts` gave, without ``vehicle_id``.
    """
    given = reported.collect_schema()
    types = {**travelling(PASSES), **travelling(REPORTED)}
    reported = reported.cast({n: types[n] for n, t in given.items()
                              if n in types and t != types[n]})
    profile = quality.load_profile(rules.quality_profile)
    plates = rules.local_plates if rules.has_plates else ()
    frame = look_up(reported, "site_id", site_facts(sites), "_site_")
    if "registry_row" in given:
        frame = gather(frame, pl.col("registry_row"), vehicles, "_registry_")
    else:
        frame = look_up(frame, "vehicle_id", registry_facts(vehicles.lazy()).collect(),
                        "_registry_")
    for columns in (
        place() + clock(rules.timezone, rules.span, rules.has_hours) + identity(plates),
        motion() + ratios(),
        concentrations(rules.co2_denominator),
        masses(rules.convention, rules.impute_nox),
        nox(rules.convention),
        [quality.add_bits(pl.col("intake_bits").fill_null(0),
                          [*own_reasons(rules.has_plates, profile), *quality.failures(profile)])
         .alias("reason_bits")],
        quality.validity(profile),
    ):  # fmt: skip
        frame = frame.with_columns(columns)
    # Which versions of a record are current is the lake's knowledge; each is until corrected.
    return frame.with_columns(is_current=pl.lit(True)).select(column.name for column in PASSES)
