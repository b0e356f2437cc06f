"""Dumps to measure with: clean `cn_platform` records of 30 columns, about 200 bytes each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

COLUMNS = {
    "jlbh": pl.String, "dwbh": pl.String, "ycxbh": pl.String, "cdxh": pl.String,
    "jcsj": pl.String, "cdpd": pl.Float64, "pdjg": pl.String, "hphm": pl.String,
    "cpys": pl.String, "hpzl": pl.String, "cllx": pl.String, "rlzl": pl.String,
    "co2scz": pl.Float64, "coco2": pl.Float64, "hcco2": pl.Float64, "noco2": pl.Float64,
    "co2jg": pl.Float64, "cojg": pl.Float64, "hcjg": pl.Float64, "nojg": pl.Float64,
    "btgdjg": pl.Float64, "lgmhd": pl.Float64, "clsd": pl.Float64, "cljsd": pl.Float64,
    "vsp": pl.Float64, "fs": pl.Float64, "hjwd": pl.Float64, "sd": pl.Float64,
    "dqy": pl.Float64, "sbzxd": pl.Float64,
}  # fmt: skip
"""Column → type of the bare parse."""

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_PLATE_LETTERS = np.array(list("ABCDEFGH"))


def _choose(rng: np.random.Generator, values: list[str], shares: list[float],
            rows: int) -> np.ndarray:
    return np.array(values)[rng.choice(len(values), rows, p=shares)]


def day(rng: np.random.Generator, date: str, rows: int, vehicles: int) -> pl.DataFrame:
    """Return one day's records in order of time; every value is what its column needs."""
    second = np.sort(rng.integers(0, 86_400, rows))
    vehicle = (rng.random(rows) ** 2 * vehicles).astype(np.int64)  # a few pass often
    at = np.datetime64(f"{date}T00:00:00") + second.astype("timedelta64[s]")
    text = pl.Series("t", at.astype("datetime64[us]")).dt.strftime(TIME_FORMAT)
    q, q_hc, q_no = (rng.normal(m, s, rows) for m, s in ((5e-3, 4e-3), (2e-4, 2e-4), (1e-3, 9e-4)))
    co2 = 42 / (2.79 + 2 * q + 0.42 * q_hc)
    speed, acceleration = rng.normal(50, 9, rows), rng.normal(0.25, 0.45, rows)
    v = speed / 3.6
    vsp = 1.1 * v * acceleration + 9.81 * 0.0175 * v + 0.213 * v + 0.000305 * v**3
    is_diesel = vehicle % 8 == 0
    opacity = np.where(rng.random(rows) < 0.01, rng.uniform(20, 60, rows), rng.normal(4, 3, rows))
    site = rng.integers(0, 20, rows)
    letter = pl.Series(_PLATE_LETTERS[vehicle // 100_000 % 8])
    frame = pl.DataFrame({"site": site, "second": second, "n": np.arange(rows)}).with_columns(
        t=text, letter=letter, vehicle=pl.Series(vehicle % 100_000))
    compact = pl.col("t").str.replace_all(r"[- :]", "")
    keys = frame.select(
        jlbh=pl.format("A3502{}01{}{}", pl.col("site").cast(pl.String).str.zfill(5), compact,
                       (pl.col("n") % 10_000).cast(pl.String).str.zfill(4)),
        dwbh=pl.format("A3502{}", pl.col("site").cast(pl.String).str.zfill(5)),
        hphm=pl.format("闽{}{}", "letter", pl.col("vehicle").cast(pl.String).str.zfill(5)),
    )
    rounded = {
        "co2scz": (rng.lognormal(0, 0.3, rows), 3), "coco2": (q, 6), "hcco2": (q_hc * 1e4, 4),
        "noco2": (q_no * 1e4, 4), "co2jg": (co2, 3), "cojg": (q * co2, 4),
        "hcjg": (q_hc * co2 * 1e4, 2), "nojg": (q_no * co2 * 1e4, 2), "btgdjg": (opacity, 2),
        "clsd": (speed, 2), "cljsd": (acceleration, 3), "vsp": (vsp, 3),
        "fs": (rng.uniform(0, 4.5, rows), 1), "hjwd": (rng.normal(24, 4, rows), 1),
        "sd": (rng.uniform(40, 94, rows), 1), "dqy": (rng.normal(101, 0.5, rows), 2),
        "sbzxd": (rng.uniform(90, 100, rows), 1),
    }  # fmt: skip
    values = {name: np.round(x, digits) for name, (x, digits) in rounded.items()}
    codes = {
        "ycxbh": np.full(rows, "01"), "cdxh": _choose(rng, ["1", "2"], [0.5, 0.5], rows),
        "jcsj": text, "cdpd": np.full(rows, 1.0),
        "pdjg": _choose(rng, ["1", "2"], [0.95, 0.05], rows),
        "cpys": np.where(is_diesel, "1", "0"), "hpzl": np.where(is_diesel, "01", "02"),
        "cllx": np.where(is_diesel, "H17", "K33"), "rlzl": np.where(is_diesel, "B", "A"),
        "lgmhd": (opacity > 25).astype(np.float64),
    }  # fmt: skip
    return keys.with_columns(pl.Series(k, v) for k, v in {**values, **codes}.items()).select(
        list(COLUMNS)).with_columns(pl.col("lgmhd").cast(pl.Int64))


def write(folder: Path, rows: int, files: int, *, seed: int = 1,
          vehicles: int = 500_000) -> list[Path]:
    """Write clean daily dumps, `rows` in all, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for k in range(files):
        date = str(np.datetime64("2026-01-01") + k)
        path = folder / f"{date}.csv"
        day(rng, date, rows // files, vehicles).write_csv(path)
        paths.append(path)
    return paths
