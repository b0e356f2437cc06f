"""The rows against each other: accounts, versions, vehicles, proofs, reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from rsd.errors import PolicyRefusal, RsdError
from rsd.keeping.problem import ERROR, RESTORE, WARNING, Problem
from rsd.keeping.staging import count
from rsd.lake import Lake
from rsd.pipeline import review
from rsd.pipeline.vehicles import check_key
from rsd.pipeline.versions import KEY
from rsd.privacy import VehicleKey, hash_vehicles

_PART_ROWS = 2_000_000  # rows whose ids are compared at a time: it bounds the memory
_PART_VEHICLES = 500_000  # vehicles likewise; three sets of them are held
_SAMPLE = 1000  # vehicles whose names are computed anew

Check = Callable[[Lake], Iterator[Problem]]


def check(lake: Lake) -> Iterator[Problem]:
    """Yield what is wrong with the rows; what cannot be read is said once a check."""
    checks = OPEN_CHECKS + (RESTRICTED_CHECKS if lake.may_read_restricted else ())
    for one in checks:
        try:
            yield from list(one(lake))
        except (RsdError, pl.exceptions.PolarsError, OSError) as error:
            told = str(error).partition("\n")[0] if isinstance(error, RsdError) else "unreadable"
            yield Problem(ERROR, None, None, f"{_title(one)} cannot be checked: {told}",
                          remedy="See the other problems first.")


def _title(one: Check) -> str:
    return one.__name__.strip("_").replace("_", " ")


def _accounts(lake: Lake) -> Iterator[Problem]:
    """Compare what each commit said of its dumps with the rows that there are."""
    told: dict[str, Counter[str]] = {}
    names: dict[str, str] = {}
    for commit in lake.table("passes").history():
        for sha, counts in commit.info.get("sources", {}).items():
            account = told.setdefault(sha, Counter())
            account.update({"passes": counts["accepted"], "quarantine": counts["quarantined"]})
            names[sha] = str(counts.get("file", sha))
            if counts["records"] != sum(
                    counts[k] for k in ("accepted", "quarantined", "duplicates")):
                yield Problem(ERROR, "passes", names[sha], "an account that does not balance",
                              "records = accepted + quarantined + duplicates", RESTORE)
        for sha, gone in commit.info.get("sources_removed", {}).items():
            told.setdefault(sha, Counter()).subtract(gone)
    runs = lake.table("runs").scan().filter(pl.col("state") == "done").select("sha256", "file")
    for sha, file in runs.unique("sha256").collect().iter_rows():
        if sha not in told:
            yield Problem(ERROR, "passes", file, "a dump that a run took, and no entry brought it",
                          "its entry", RESTORE)
    for table in ("passes", *(["quarantine"] if lake.may_read_restricted else [])):
        rows = lake.table(table).scan().group_by("source_sha256").len().collect(engine="streaming")
        there: dict[str, int] = dict(rows.iter_rows())
        for sha in sorted({*there, *told}):
            expected, found = told.get(sha, Counter())[table], there.get(sha, 0)
            if found != expected:
                yield Problem(ERROR, table, names.get(sha, sha), f"{found} rows of this dump, "
                              f"{expected} by the account of its commit", f"{expected}", RESTORE)


def _parts(rows: pl.LazyFrame, column: str, most: int = _PART_ROWS) -> list[pl.Expr]:
    """Return conditions, each true of another part of the ids that rows have in a column."""
    parts = 1 + count(rows) // most
    return [pl.col(column).hash() % parts == part for part in range(parts)]


def _versions(lake: Lake) -> Iterator[Problem]:
    """Find records of which not exactly one version counts."""
    passes = lake.table("passes").scan().select("record_id", "is_current")
    wrong = sum(
        count(passes.filter(part).group_by("record_id").agg(n=pl.col("is_current").sum())
              .filter(pl.col("n") != 1)) for part in _parts(passes, "record_id"))
    if wrong:
        yield Problem(ERROR, "passes", None, f"{wrong} records without exactly one version that "
                      "counts", "one", RESTORE)


def _findings(lake: Lake) -> Iterator[Problem]:
    """Find findings whose proof is gone."""
    findings = lake.table("findings").scan().select(
        "vehicle_id", "first_record_id", "second_record_id").collect()
    ids = pl.concat([findings["first_record_id"], findings["second_record_id"]]).drop_nulls()
    asked = ids.unique().alias("record_id").to_frame()
    passes = lake.table("passes").scan().filter(pl.col("is_current")).select("record_id")
    there = passes.join(asked.lazy(), on="record_id", how="semi").collect(engine="streaming")
    missing = asked.height - there["record_id"].n_unique()
    if missing:
        yield Problem(WARNING, "findings", None, f"{missing} records that prove findings are not "
                      "among the passes that count", "all of them",
                      "Run: rsd find LAKE, which computes the findings anew.")


def _evidence(lake: Lake) -> Iterator[Problem]:
    """Find evidence of no pass, and rows of batches that never came to be."""
    passes, evidence = (lake.table(name).scan().select(KEY) for name in ("passes", "evidence"))
    orphans = 0
    for part in _parts(evidence, KEY[1]):  # the line: a dump may have all rows
        keys = evidence.filter(part).collect()
        known = passes.filter(part).join(keys.lazy(), on=KEY, how="semi").collect(
            engine="streaming")
        orphans += keys.join(known, on=KEY, how="anti").height
    if orphans:
        yield Problem(ERROR, "evidence", None, f"{orphans} rows of no pass", "none", RESTORE)
    for name in ("evidence", "quarantine"):
        seen = set(lake.visible_files(name))
        unfinished = [p for p in lake.table(name).files() if p not in seen]

        def drop(name: str = name, paths: list[Any] = unfinished) -> None:
            lake.table(name).commit([], remove=paths, info={"operation": "repair"})

        if unfinished:
            yield Problem(WARNING, name, str(unfinished[0]), f"{len(unfinished)} files of batches "
                          "that were never committed", "none",
                          "Ingest those dumps again, or run: rsd doctor --repair", drop)


def _vehicles(lake: Lake) -> Iterator[Problem]:
    """Find vehicles that stand twice, and passes of vehicles that the vault does not know."""
    stored = lake.table("vehicles").scan().select("vehicle_id")
    twice, unknown = 0, Counter[str]()
    for part in _parts(stored, "vehicle_id", _PART_VEHICLES):
        known = stored.filter(part).collect()
        twice += known.height - known["vehicle_id"].n_unique()
        for table in ("passes", "findings", "inspections"):
            seen = lake.table(table).scan().select("vehicle_id").drop_nulls().filter(part)
            unknown[table] += seen.unique().collect(engine="streaming").join(
                known, on="vehicle_id", how="anti").height
    if twice:
        yield Problem(ERROR, "vehicles", None, f"{twice} vehicles stand twice", "once", RESTORE)
    for table, number in unknown.items():
        if number:
            yield Problem(ERROR, table, None, f"{number} vehicles that nobody can name",
                          "all in the table vehicles", RESTORE)


def _key(lake: Lake) -> Iterator[Problem]:
    """Check that the key is the one that the vehicles were named with."""
    try:
        key = VehicleKey.load(lake.key_path)
        check_key(lake, key)
    except PolicyRefusal:  # others may read it: the check of rights says so
        return
    except RsdError as error:
        yield Problem(ERROR, "vehicles", str(lake.key_path), error.what, error.expected,
                      error.remedy)
        return
    sample = lake.table("vehicles").scan().head(_SAMPLE).collect()
    wrong = int((hash_vehicles(key, sample) != sample["vehicle_id"]).sum()) if sample.height else 0
    if wrong:
        yield Problem(ERROR, "vehicles", None, f"{wrong} of {sample.height} vehicles whose name "
                      "does not follow from their plate", "none", RESTORE)


def _reviews(lake: Lake) -> Iterator[Problem]:
    """Check the chain of the reviews, beside the audit."""
    for fault in review.problems(lake):
        remedy = f"{RESTORE} If an act was interrupted just then: rsd audit accept LAKE."
        yield Problem(ERROR, "reviews", None, fault, "an unbroken chain",
                      remedy if "was interrupted" in fault else RESTORE)


OPEN_CHECKS: tuple[Check, ...] = (_accounts, _versions, _findings)
RESTRICTED_CHECKS: tuple[Check, ...] = (_evidence, _vehicles, _key, _reviews)
