"""Dumps to measure with: `cn_platform` records of 30 columns, about 200 bytes each.

As a module: ``python -m benchmarks.dumps FOLDER ROWS FILES`` writes a whole set, clean and in every
variant that the benchmarks read. The same arguments give the same bytes.
"""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
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
ONE_BAD_IN = 600
SITES = 20
SMALL_FILES = 100
DAMAGES = ("not_a_number", "short", "long", "impossible_time", "not_text")

_FIRST_DAY = np.datetime64("2026-01-01")
_LETTERS = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ"))  # plates have no I and no O
_BLOCK = 8 << 20
_GZIP_LEVEL = 6

Reals = npt.NDArray[np.float64]


def _choose(rng: np.random.Generator, values: list[str], share_of_second: float,
            rows: int) -> pl.Series:
    second = pl.Series(rng.random(rows) < share_of_second)
    return pl.select(pl.when(second).then(pl.lit(values[1])).otherwise(pl.lit(values[0]))
                     ).to_series()


def _readings(rng: np.random.Generator, vehicle: npt.NDArray[np.int64]) -> dict[str, Reals]:
    """Return readings that vary about a mean; one vehicle in forty is a high emitter for good."""
    rows = vehicle.size
    is_diesel, is_dirty = vehicle % 8 == 0, vehicle % 320 < 8
    q_co, q_hc = (rng.normal(m, s, rows) for m, s in ((5e-3, 4e-3), (2e-4, 2e-4)))
    level = np.where(is_diesel, 3e-3, 8e-4) * np.where(is_dirty, 3.5, 1.0)
    q_no = level * rng.gamma(1.5, 1 / 1.5, rows) + rng.normal(0, 2e-4, rows)
    opacity = np.where(is_diesel & is_dirty, 22.0, 3.0) * rng.gamma(3, 1 / 3, rows)
    co2 = 42 / (2.79 + 2 * q_co + 0.42 * q_hc)
    speed, acceleration = rng.normal(50, 9, rows), rng.normal(0.25, 0.45, rows)
    v = speed * (1 / 3.6)
    vsp = 1.1 * v * acceleration + 9.81 * 0.0175 * v + 0.213 * v + 0.000305 * v**3
    return {
        "co2scz": rng.lognormal(0, 0.3, rows).round(3), "coco2": q_co.round(6),
        "hcco2": (q_hc * 1e4).round(4), "noco2": (q_no * 1e4).round(4), "co2jg": co2.round(3),
        "cojg": (q_co * co2).round(4), "hcjg": (q_hc * co2 * 1e4).round(2),
        "nojg": (q_no * co2 * 1e4).round(2), "btgdjg": opacity.round(2),
        "clsd": speed.round(2), "cljsd": acceleration.round(3), "vsp": vsp.round(3),
        "fs": rng.uniform(0, 4.5, rows).round(1), "hjwd": rng.normal(24, 4, rows).round(1),
        "sd": rng.uniform(40, 94, rows).round(1), "dqy": rng.normal(101, 0.5, rows).round(2),
        "sbzxd": rng.uniform(90, 100, rows).round(1),
    }  # fmt: skip


def _plate(vehicle: pl.Expr) -> pl.Expr:
    letter = (vehicle // 100_000 % _LETTERS.size).replace_strict(
        np.arange(_LETTERS.size), _LETTERS, return_dtype=pl.String)
    return pl.format("闽{}{}", letter, (vehicle % 100_000).cast(pl.String).str.zfill(5))


def day(rng: np.random.Generator, date: str, rows: int, vehicles: int) -> pl.DataFrame:
    """Return one day's records in order of time; every value is what its column needs."""
    second = np.sort(rng.integers(0, 86_400, rows))
    vehicle = (rng.random(rows) ** 1.5 * vehicles).astype(np.int64)  # some pass often
    readings = _readings(rng, vehicle)
    at = pl.Series(np.datetime64(f"{date}T00:00:00", "us") + second * np.timedelta64(1, "s"))
    site = pl.col("site").cast(pl.String).str.zfill(5)
    serial = (pl.col("n") % 10_000).cast(pl.String).str.zfill(4)
    is_diesel = pl.col("vehicle") % 8 == 0
    keys = pl.DataFrame({"site": rng.integers(0, SITES, rows), "n": np.arange(rows),
                         "at": at, "vehicle": vehicle, **readings})
    made = {
        "jlbh": pl.format("A3502{}01{}{}", site, pl.col("at").dt.strftime("%Y%m%d%H%M%S"), serial),
        "dwbh": pl.format("A3502{}", site), "ycxbh": pl.lit("01"),
        "cdxh": _choose(rng, ["1", "2"], 0.5, rows), "jcsj": pl.col("at").dt.strftime(TIME_FORMAT),
        "cdpd": pl.lit(1.0), "pdjg": _choose(rng, ["1", "2"], 0.05, rows),
        "hphm": _plate(pl.col("vehicle")),
        **{name: pl.when(is_diesel).then(pl.lit(a)).otherwise(pl.lit(b)) for name, a, b in (
            ("cpys", "1", "0"), ("hpzl", "01", "02"), ("cllx", "H17", "K33"), ("rlzl", "B", "A"))},
        "lgmhd": pl.when(pl.col("btgdjg") > 45).then(2).when(pl.col("btgdjg") > 25).then(1)
        .otherwise(0),
    }  # fmt: skip
    return keys.select(made.get(name, pl.col(name)).alias(name) for name in COLUMNS)


def write(folder: Path, rows: int, files: int, *, seed: int = 1,
          vehicles: int = 500_000) -> list[Path]:
    """Write clean daily dumps, `rows` in all, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(files):
        date = str(_FIRST_DAY + k)
        path = folder / f"{date}.csv"
        share = rows * (k + 1) // files - rows * k // files
        day(np.random.default_rng([seed, k]), date, share, vehicles).write_csv(path)
        paths.append(path)
    return paths


# --- the same records in other clothes ------------------------------------------------------------


def gzipped(paths: list[Path], folder: Path) -> None:
    """Write each dump packed by gzip."""
    def pack(path: Path) -> None:
        with path.open("rb") as source, gzip.open(
                folder / f"{path.name}.gz", "wb", compresslevel=_GZIP_LEVEL) as target:
            shutil.copyfileobj(source, target, _BLOCK)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(pack, paths))


def in_gb18030(paths: list[Path], folder: Path) -> None:
    """Write each dump in GB18030."""
    for path in paths:
        with (path.open(encoding="utf-8", newline="") as source,
              (folder / path.name).open("w", encoding="gb18030", newline="") as target):
            shutil.copyfileobj(source, target, _BLOCK)


def damaged(paths: list[Path], folder: Path) -> None:
    """Write each dump with one record in `ONE_BAD_IN` spoilt, evenly spread, each kind in turn."""
    for path in paths:
        data = path.read_bytes()
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 0x0A)
        wanted = np.arange(ONE_BAD_IN // 2, ends.size, ONE_BAD_IN)
        at = 0
        with (folder / path.name).open("wb") as target:
            for k, line in enumerate(wanted):
                start, end = int(ends[line - 1]) + 1, int(ends[line])
                target.write(data[at:start])
                target.write(_spoilt(data[start:end].split(b","), DAMAGES[k % len(DAMAGES)]))
                at = end
            target.write(data[at:])


def count_damaged(rows: int) -> int:
    """Return how many records `damaged` spoils in one dump of so many."""
    return len(range(ONE_BAD_IN // 2, rows + 1, ONE_BAD_IN))


def _spoilt(cells: list[bytes], kind: str) -> bytes:
    names = list(COLUMNS)
    if kind == "not_a_number":
        cells[names.index("clsd")] = b"abc"
    elif kind == "short":
        del cells[-4:]
    elif kind == "long":
        cells.append(b"1")
    elif kind == "impossible_time":
        cells[names.index("jcsj")] = b"2026-02-30 08:00:00"
    else:
        cells[names.index("hphm")] = b"\xff\xfe12345"
    return b",".join(cells)


def joined(paths: list[Path], target: Path) -> None:
    """Write all dumps as one."""
    with target.open("wb") as out:
        for k, path in enumerate(paths):
            with path.open("rb") as source:
                if k:
                    source.readline()
                shutil.copyfileobj(source, out, _BLOCK)


def split(paths: list[Path], folder: Path, pieces: int) -> None:
    """Write all records, in order, as so many dumps of one size."""
    lines = sum(_lines(path) for path in paths)
    header, records = b"", _records(paths)
    for k in range(pieces):
        share = lines * (k + 1) // pieces - lines * k // pieces
        with (folder / f"part{k:03}.csv").open("wb") as out:
            header = header or next(records)
            out.write(header)
            out.writelines(next(records) for _ in range(share))


def _lines(path: Path) -> int:
    with path.open("rb") as source:
        return sum(block.count(b"\n") for block in iter(lambda: source.read(_BLOCK), b"")) - 1


def _records(paths: list[Path]) -> Iterator[bytes]:
    """Yield the header once, then every record."""
    for k, path in enumerate(paths):
        with path.open("rb") as source:
            header = source.readline()
            if not k:
                yield header
            yield from source


# --- what stands beside the dumps -----------------------------------------------------------------


def site_list(path: Path) -> None:
    """Write the site list: every site on a road segment, some with a slope."""
    rows = [f"A3502{k:05},site {k},segment {k // 2},,,,{0.5 * (k % 3)}" for k in range(SITES)]
    path.write_text("\n".join(["site_id,name,road_segment,lon,lat,crs,slope_deg", *rows, ""]))


def registry(path: Path, vehicles: int) -> None:
    """Write a registry that knows every second vehicle."""
    is_diesel = pl.col("vehicle") % 8 == 0
    pl.select(vehicle=pl.int_range(0, vehicles, 2)).select(
        plate=_plate(pl.col("vehicle")),
        plate_color=pl.when(is_diesel).then(pl.lit("yellow")).otherwise(pl.lit("blue")),
        vehicle_type=pl.when(is_diesel).then(pl.lit("H17")).otherwise(pl.lit("K33")),
        fuel=pl.when(is_diesel).then(pl.lit("diesel")).otherwise(pl.lit("gasoline")),
        emission_stage=pl.col("vehicle") % 4 + 3,
    ).write_csv(path)


def vehicles_for(rows: int) -> int:
    """Return how many vehicles make so many passes: five passes each on average."""
    return max(100_000, rows // 5)


def write_set(folder: Path, rows: int, files: int) -> None:
    """Write the clean dumps, every variant and the small tables into a new folder."""
    for name in ("gzip", "gb18030", "damaged", "one", "hundred"):
        (folder / name).mkdir(parents=True)
    paths = write(folder / "clean", rows, files, vehicles=vehicles_for(rows))
    gzipped(paths, folder / "gzip")
    in_gb18030(paths, folder / "gb18030")
    damaged(paths, folder / "damaged")
    joined(paths, folder / "one" / "all.csv")
    split(paths, folder / "hundred", SMALL_FILES)
    site_list(folder / "sites.csv")
    registry(folder / "registry.csv", vehicles_for(rows))


if __name__ == "__main__":
    write_set(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
