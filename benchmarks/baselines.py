"""What rsd is measured against, each as the whole work of one process.

``python -m benchmarks.baselines parse FILE…``          the floor: a bare typed parse
``python -m benchmarks.baselines pandas FOLDER FILE…``  intake, scoring and law in pandas
``python -m benchmarks.baselines find FOLDER LAWS``     rsd's findings over a folder of passes
``python -m benchmarks.baselines lag FOLDER LAWS``      the same by a plain window in DuckDB
``python -m benchmarks.baselines history LAKE FOLDER COPIES``  passes to find in, from a lake
``python -m benchmarks.baselines day FILE ROWS``        a dump of one later day

Each prints one line of JSON that says what came of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ZONE = "Asia/Shanghai"
LAWS = ("cn_hj845_2017", "platform_observed_gasoline")
_CHUNK_ROWS = 250_000
_LIMITS = {"btgdjg": 30, "lgmhd": 1, "nojg": 1500}  # HJ 845-2017, unverified as there


# --- the floor ------------------------------------------------------------------------------------


def parse(paths: list[Path]) -> dict[str, Any]:
    """Scan typed, parse the time, keep the maximum of every column: nothing can be left out."""
    import polars as pl

    from benchmarks.dumps import COLUMNS, TIME_FORMAT

    scan = pl.scan_csv(paths, schema=COLUMNS).with_columns(
        pl.col("jcsj").str.to_datetime(TIME_FORMAT, time_unit="us"))
    found = scan.select(pl.all().max(), pl.len().alias("rows")).collect(engine="streaming")
    return {"rows": found["rows"].item(), "latest": str(found["jcsj"].item())}


# --- pandas ---------------------------------------------------------------------------------------


def with_pandas(folder: Path, paths: list[Path]) -> dict[str, Any]:
    """Do what `rsd run` does, as one would write it in pandas with its usual means.

    Read as text, coerce, quarantine what did not coerce, drop repeats, pseudonyms, specific power,
    ratios, masses, gates and flags, Parquet, pairs of HJ 845. Left out, in favour of pandas: raw
    bytes and line numbers of bad records, repeats across files, commit and fsync.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    counts = {"accepted": 0, "quarantined": 0, "duplicates": 0}
    ids: dict[tuple[str, str], str] = {}
    tested: list[Any] = []
    for number, path in enumerate(paths):
        chunks = pd.read_csv(path, dtype=str, encoding_errors="replace", on_bad_lines="skip",
                             chunksize=_CHUNK_ROWS)
        for k, text in enumerate(chunks):
            good, bad = _coerced(text)
            once = good.drop_duplicates("jlbh")
            counts["accepted"] += len(once)
            counts["quarantined"] += len(bad)
            counts["duplicates"] += len(good) - len(once)
            scored = _scored(once, ids)
            place = folder / f"{number:03}-{k:03}"
            scored.to_parquet(f"{place}.parquet", compression="zstd", index=False)
            bad.to_parquet(f"{place}.bad.parquet", compression="zstd", index=False)
            judged = scored[(scored["fuel"] == "diesel") & scored["is_valid"]]
            tested.append(judged[["vehicle_id", "measured_at", "jlbh", *_LIMITS,
                                  *(f"is_valid_{name}" for name in _LIMITS)]])
    return {**counts, "findings": _pairs(pd.concat(tested))}


def _coerced(text: Any) -> tuple[Any, Any]:
    import pandas as pd

    from benchmarks.dumps import COLUMNS, TIME_FORMAT

    typed = text.copy()
    reals = [name for name, kind in COLUMNS.items() if str(kind) == "Float64"]
    for name in reals:
        typed[name] = pd.to_numeric(text[name], errors="coerce")
    typed["measured_local"] = pd.to_datetime(text["jcsj"], format=TIME_FORMAT, errors="coerce")
    is_bad = typed["measured_local"].isna() | text["dwbh"].isna()
    is_bad |= text["hphm"].str.contains("\ufffd", regex=False).fillna(False).astype(bool)
    for name in reals:
        is_bad |= typed[name].isna() & text[name].notna()
    return typed[~is_bad].copy(), text[is_bad]


def _scored(frame: Any, ids: dict[tuple[str, str], str]) -> Any:
    from rsd.physics import exhaust, vsp
    from rsd.units import KM_H_TO_M_S, PPM_PER_PCT_TO_RATIO, grade_from_slope_deg

    frame["plate_color"] = frame["cpys"].map({"0": "blue", "1": "yellow"})
    frame["fuel"] = frame["rlzl"].map({"A": "gasoline", "B": "diesel"})
    frame["vehicle_class"] = frame["cllx"].map({"K33": "mini_small_bus", "H17": "heavy_truck"})
    frame["vehicle_id"] = _pseudonyms(frame, ids)
    frame["measured_at"] = frame["measured_local"].dt.tz_localize(ZONE).dt.tz_convert("UTC")
    frame["date"] = frame["measured_local"].dt.date
    frame["hour"] = frame["measured_local"].dt.hour
    grade = grade_from_slope_deg(frame["cdpd"])
    frame["vsp_kw_t"] = vsp.vsp_rs_si(frame["clsd"] * KM_H_TO_M_S, frame["cljsd"], grade)
    co = frame["coco2"]
    hc, no = (frame[n] * PPM_PER_PCT_TO_RATIO for n in ("hcco2", "noco2"))
    feat = exhaust.CONVENTIONS["feat"]
    frame["co_g_kg"] = exhaust.co_g_kg(co, hc, feat)
    frame["hc_g_kg"] = exhaust.hc_g_kg(co, hc, feat)
    frame["no_g_kg"] = exhaust.no_g_kg(co, hc, no, feat)
    share = frame["fuel"].map({"gasoline": 0.0, "diesel": 0.1})
    frame["nox_g_kg"] = exhaust.nox_as_no2_imputed(frame["no_g_kg"], share, feat)
    frame["ratios_differ"] = (co * frame["co2jg"] - frame["cojg"]).abs() > 0.01
    frame["is_valid"] = (
        (frame["pdjg"] == "1") & (frame["vsp"] > 0) & frame["clsd"].between(8, 160)
        & frame["cljsd"].between(-5, 5) & (frame["fs"] <= 5) & (frame["co2scz"] >= 0.25)
    )
    for gas, low, high in (("cojg", -1, 21), ("hcjg", -1000, 40000), ("nojg", -700, 7000),
                           ("btgdjg", -2, 100), ("lgmhd", 0, 5)):
        frame[f"is_valid_{gas}"] = frame["is_valid"] & frame[gas].between(low, high)
    return frame


def _pseudonyms(frame: Any, ids: dict[tuple[str, str], str]) -> Any:
    import hmac

    import pandas as pd

    keys = pd.MultiIndex.from_frame(frame[["hphm", "plate_color"]])
    for plate, color in keys.unique():
        if (plate, color) not in ids:
            message = f"{plate}\x1f{color}".encode()
            ids[plate, color] = hmac.digest(b"key" * 10, message, "sha256").hex()[:32]
    return pd.Series([ids[key] for key in keys], index=frame.index)


def _pairs(tested: Any) -> int:
    """Return how many vehicles and pollutants have two consecutive exceedances in six months."""
    import pandas as pd

    ordered = tested.sort_values(["vehicle_id", "measured_at", "jlbh"])
    found = 0
    for name, limit in _LIMITS.items():
        rows = ordered[ordered[f"is_valid_{name}"]]
        before = rows.shift(1)
        pair = (rows[name] > limit) & (before[name] > limit)
        pair &= rows["vehicle_id"] == before["vehicle_id"]
        pair &= rows["measured_at"] <= before["measured_at"] + pd.DateOffset(months=6)
        found += rows.loc[pair, "vehicle_id"].nunique()
    return found


# --- findings over a long history -----------------------------------------------------------------


def history(lake_path: Path, folder: Path, copies: int) -> dict[str, Any]:
    """Write the columns of a lake's passes that law reads, again and again, a month apart."""
    import polars as pl

    from rsd.columns import MEASURED_VALUE
    from rsd.lake import Lake
    from rsd.law import judge, rulebook

    folder.mkdir(parents=True)
    names = ["vehicle_id", "record_id", "measured_at", "plate_color", "emission_stage",
             "road_segment"]
    for regulation in map(rulebook.load, LAWS):
        for pollutant in regulation.pollutants:
            names += [*judge.columns_read(regulation, pollutant), MEASURED_VALUE[pollutant][0]]
    passes, rows = Lake.open(lake_path).table("passes").scan(), 0
    for k in range(copies):
        later = passes.select(list(dict.fromkeys(names))).with_columns(
            pl.col("measured_at").dt.offset_by(f"{30 * k}d"),
            pl.col("date").dt.offset_by(f"{30 * k}d"),
            pl.concat_str(pl.col("record_id"), pl.lit(f"-{k}")))
        later.sink_parquet(folder / f"{k:03}.parquet", compression="zstd", compression_level=1,
                           row_group_size=131_072)
        rows += pl.scan_parquet(folder / f"{k:03}.parquet").select(pl.len()).collect().item()
    return {"rows": rows}


def day(file: Path, rows: int) -> dict[str, Any]:
    """Write the dump of one day that comes after all others."""
    import numpy as np

    from benchmarks import dumps

    dumps.day(np.random.default_rng(845), "2026-12-01", rows, 500_000).write_csv(file)
    return {"rows": rows}


def find(folder: Path, laws: str) -> dict[str, Any]:
    """Find with rsd."""
    import polars as pl

    from rsd import findings
    from rsd.law import rulebook

    passes = pl.scan_parquet(sorted(folder.glob("*.parquet")), glob=False)
    found = findings.find(passes, list(map(rulebook.load, laws.split(","))), timezone=ZONE)
    instants = found["found_at"].dt.epoch("us").to_list()
    return _answer(zip(found["vehicle_id"], found["pollutant"], instants, strict=True))


def find_by_window(folder: Path, laws: str) -> dict[str, Any]:
    """Find with one window of DuckDB a regulation and pollutant, over all tested passes."""
    import duckdb

    from rsd.law import judge, rulebook

    found = []
    with duckdb.connect() as connection:
        for regulation in map(rulebook.load, laws.split(",")):
            for pollutant in regulation.pollutants:
                query = f"""
                    WITH tested AS (
                        SELECT vehicle_id, measured_at, record_id,
                            {judge.exceeds_sql(regulation, pollutant)} AS is_over
                        FROM read_parquet('{folder}/*.parquet')
                        WHERE vehicle_id IS NOT NULL
                            AND {judge.tested_sql(regulation, pollutant)}
                    ), paired AS (
                        SELECT vehicle_id, measured_at, is_over,
                            lag(is_over) OVER passed AS was_over,
                            lag(measured_at) OVER passed AS was_at
                        FROM tested
                        WINDOW passed AS (PARTITION BY vehicle_id ORDER BY measured_at, record_id)
                    )
                    SELECT vehicle_id, '{pollutant}', epoch_us(min(measured_at)) FROM paired
                    WHERE is_over AND was_over AND measured_at AT TIME ZONE '{ZONE}'
                        <= was_at AT TIME ZONE '{ZONE}' + INTERVAL 6 MONTH
                    GROUP BY vehicle_id"""
                found += connection.execute(query).fetchall()
    return _answer(found)


def _answer(found: Any) -> dict[str, Any]:
    rows = sorted(found)
    return {"findings": len(rows), "digest": hashlib.sha256(repr(rows).encode()).hexdigest()}


def main(what: str, *arguments: str) -> None:
    """Do one of the works."""
    paths = [Path(a) for a in arguments]
    work = {
        "parse": lambda: parse(paths),
        "pandas": lambda: with_pandas(paths[0], paths[1:]),
        "find": lambda: find(paths[0], arguments[1]),
        "lag": lambda: find_by_window(paths[0], arguments[1]),
        "day": lambda: day(paths[0], int(arguments[1])),
        "history": lambda: history(paths[0], paths[1], int(arguments[2])),
    }
    print(json.dumps(work[what]()))


if __name__ == "__main__":
    main(*sys.argv[1:])
