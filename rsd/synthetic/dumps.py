"""A day's measurements as the platform's files: one a site, pinyin header, GB18030.

A platform's own habits differ by site: line ends, what stands in an empty gas cell, the code of
an invalid record, whether pdjg is filled at all, photo names with or without the plate.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import polars as pl

from rsd.physics import concentration, smoke
from rsd.synthetic import tables as t
from rsd.synthetic.fleet import day_number
from rsd.synthetic.instrument import REASONS, Measurement
from rsd.synthetic.passes import Draws
from rsd.synthetic.plates import PROVINCES
from rsd.synthetic.reading import Reading
from rsd.synthetic.sites import SITES, Site, given_position
from rsd.synthetic.weather import Weather

COLUMNS = (
    "jlbh", "dwbh", "ycxbh", "cdxh", "jcsj", "ddjd", "ddwd", "cdpd", "pdjg", "wxyy", "hphm", "cpys",
    "hpzl", "cllx", "rlzl", "co2scz", "coscz", "hcscz", "noscz", "coco2", "hcco2", "noco2",
    "co2jg", "cojg", "hcjg", "nojg", "btgdjg", "btgdpj", "btgdzd", "btgdzx", "btgxs", "lgmhd",
    "co2xz", "coxz", "hcxz", "noxz", "btgdxz", "hdxz", "clsd", "cljsd", "vsp", "fs", "fx", "hjwd",
    "sd", "dqy", "sbzxd", "tp1", "tp2", "sp1",
)
"""The national platform's names, in the order of its record (four public code bases)."""
_GAS_CELLS = ["coscz", "hcscz", "noscz", "coco2", "hcco2", "noco2", "cojg", "hcjg", "nojg"]
_WIDE = "".join(sorted(set(PROVINCES + "无牌未识别")))
_FIRST_LEAD_BYTE = 0xE0  # of three bytes in UTF-8
_CLOCK_ERROR_S = 3600
_SHIFTED_SEQUENCE = 50  # so that a wrong clock's record numbers meet no right one's
_RATIO_TO_PPM_PER_PCT = 1e4


def _real(values: np.ndarray, decimals: int) -> pl.Series:
    """Return values rounded to so many decimals, NaN as null."""
    return pl.Series(np.round(values, decimals) + 0.0, nan_to_null=True)


def _resolved(values: np.ndarray, step: float) -> np.ndarray:
    """Return values with what is below the instrument's resolution as 0, so that results that
    are derived from a rounded ratio agree with it to 0.5 %.
    """
    return np.where(np.abs(values) < step, 0.0, values)


def is_shifted(draws: Draws, day: int) -> np.ndarray:
    """Return whether a pass was stamped by a clock an hour ahead."""
    wrong = np.array([s.clock_error for s in SITES]) & (day in t.CLOCK_DAYS)
    return np.asarray(wrong[draws.site])


def _stamps(draws: Draws, day: int, on: date) -> pl.DataFrame:
    """Return jlbh, dwbh, ycxbh, cdxh and jcsj, by the site's own clock."""
    shifted = is_shifted(draws, day)
    second = draws.second + np.where(shifted, _CLOCK_ERROR_S, 0)
    today, tomorrow = (int(f"{d:%Y%m%d}") for d in (on, on + timedelta(days=1)))
    date_number = np.where(second >= 86400, tomorrow, today)
    clock = second % 86400
    time = clock // 3600 * 10_000 + clock // 60 % 60 * 100 + clock % 60
    sequence = draws.sequence + np.where(shifted, _SHIFTED_SEQUENCE, 0)
    number = (date_number * 10**6 + time) * 100 + sequence
    midnight = day_number(on) * 86400
    site_id = pl.Series([s.site_id for s in SITES], dtype=pl.String).gather(draws.site)
    frame = pl.DataFrame({
        "dwbh": site_id, "number": number, "cdxh": draws.lane,
        "jcsj": pl.Series((midnight + second) * 10**6).cast(pl.Datetime("us")),
    })
    line = pl.format("0{}", pl.col("cdxh"))
    return frame.with_columns(
        ycxbh=line, jlbh=pl.concat_str("dwbh", line, pl.col("number").cast(pl.String))
    ).drop("number")


def _site_columns(draws: Draws) -> dict[str, np.ndarray]:
    lon, lat = np.array([given_position(s) for s in SITES]).T.round(5)
    slope = np.array([s.slope_deg for s in SITES])
    return {"ddjd": lon[draws.site], "ddwd": lat[draws.site], "cdpd": slope[draws.site]}


def _gas_columns(m: Measurement) -> dict[str, pl.Series]:
    """Return beam values, ratios and results; results from the rounded ratios, to fit them."""
    beam = t.CO2_PCT_PER_PLUME * m.plume
    coco2 = np.round(_resolved(m.ratio[0], 1e-6), 8)
    hcco2, noco2 = np.round(_resolved(m.ratio[1:] * _RATIO_TO_PPM_PER_PCT, 1e-3), 6)
    co2jg = np.round(m.co2_pct, 4)
    co_pct = concentration.pct_from_ratio(coco2, co2jg)
    return {
        "co2scz": _real(beam, 4), "coscz": _real(m.ratio[0] * beam, 6),
        "hcscz": _real(hcco2 * beam, 4), "noscz": _real(noco2 * beam, 4),
        "coco2": _real(coco2, 8), "hcco2": _real(hcco2, 6), "noco2": _real(noco2, 6),
        "co2jg": _real(co2jg, 4), "cojg": _real(co_pct, 7),
        "hcjg": _real(hcco2 * co2jg, 5), "nojg": _real(noco2 * co2jg, 5),
    }


def _smoke_columns(m: Measurement, draws: Draws, is_diesel: pl.Series) -> dict[str, pl.Series]:
    spread = 0.1 + 0.08 * np.abs(draws.z["smoke_spread"])
    low, high = m.opacity_pct * (1 - spread) - 0.2, m.opacity_pct * (1 + spread) + 0.2
    k = np.asarray(smoke.absorption_1_m(m.opacity_pct))
    grade = np.clip(np.round(m.opacity_pct * 0.05 + 0.15 * draws.z["smoke_spread"]), 0, 5)
    grades = pl.Series(grade, nan_to_null=True).cast(pl.Int8)
    return {
        "btgdjg": _real(m.opacity_pct, 2), "btgdpj": _real(m.opacity_pct * (1 - 0.3 * spread), 2),
        "btgdzd": _real(np.minimum(high, 100.0), 2), "btgdzx": _real(low, 2),
        "btgxs": _real(k, 4), "lgmhd": grades.set(~is_diesel, None),
    }


def _weather_columns(w: Weather) -> dict[str, pl.Series]:
    return {
        "fs": _real(w.wind_m_s, 1), "fx": _real(w.wind_direction_deg, 0),
        "hjwd": _real(w.temperature_c, 1), "sd": _real(w.humidity_pct, 1),
        "dqy": _real(w.pressure_kpa, 2),
    }


def _fails() -> pl.Expr:
    """Return whether a record exceeds a stored limit: diesel by smoke and NO, gasoline by gases."""
    no = pl.col("nojg") > t.LIMITS["noxz"]
    diesel = [pl.col("btgdjg") > t.LIMITS["btgdxz"], pl.col("lgmhd") > t.LIMITS["hdxz"], no]
    gasoline = [pl.col("cojg") > t.LIMITS["coxz"], pl.col("hcjg") > t.LIMITS["hcxz"], no]
    fuel = pl.col("rlzl").fill_null("")
    return ((fuel == "B") & pl.any_horizontal(diesel).fill_null(False)) | (
        (fuel == "A") & pl.any_horizontal(gasoline).fill_null(False)
    )


def day_frame(
    draws: Draws, m: Measurement, reading: Reading, w: Weather, day: int, on: date
) -> pl.DataFrame:
    """Return a day's records, all sites, before each site's habits; one row a pass."""
    is_diesel = (reading.columns["rlzl"] == "B").fill_null(False)
    reason = pl.Series(REASONS, dtype=pl.String).gather(m.reason)
    frame = _stamps(draws, day, on).hstack(reading.columns).with_columns(
        **_site_columns(draws), **_gas_columns(m), **_smoke_columns(m, draws, is_diesel),
        **_weather_columns(w), wxyy=reason,
        clsd=_real(m.speed_km_h, 2), cljsd=_real(m.acceleration, 3), vsp=_real(m.vsp_kw_t, 3),
        **{name: pl.lit(str(limit)) for name, limit in t.LIMITS.items()},
    )
    failed = pl.when(_fails()).then(pl.lit("0")).otherwise(pl.lit("1"))
    return frame.with_columns(pdjg=pl.when(pl.Series(m.is_valid)).then(failed))


def _with_habits(records: pl.DataFrame, site: Site) -> pl.DataFrame:
    """Return a site's records as it writes them; photos only of failing records."""
    has_failed = pl.col("pdjg") == "0"
    stem = pl.col("jlbh")
    if site.photo_has_plate:
        stem = pl.concat_str(pl.col("hphm"), pl.lit("_"), stem)
    records = records.with_columns(
        tp1=pl.when(has_failed).then(pl.concat_str(stem, pl.lit("_1.jpg"))),
        tp2=pl.when(has_failed).then(pl.concat_str(stem, pl.lit("_2.jpg"))),
        sp1=pl.when(has_failed & (pl.col("rlzl") == "B"))
        .then(pl.concat_str(pl.col("jlbh"), pl.lit(".mp4"))),
        pdjg=pl.lit(None, pl.String) if site.invalid_code is None
        else pl.col("pdjg").fill_null(site.invalid_code),
    )
    if site.null_code is not None:
        records = records.with_columns(pl.col(_GAS_CELLS).fill_null(float(site.null_code)))
    return records.select(COLUMNS)


def _with_copies(records: pl.DataFrame, draws: Draws, rows: slice) -> pl.DataFrame:
    """Return the records with copies of the doubled ones, next to them or later in the file."""
    n = len(records)
    doubled = np.flatnonzero(is_doubled(draws)[rows])
    u = draws.u["duplicate_at"][rows][doubled]
    later = np.where(u < 0.5, 0, np.floor((2 * u - 1) * (n - doubled)))
    place = np.concatenate([np.arange(n), doubled + later + 0.5])
    return records[np.concatenate([np.arange(n), doubled])[np.argsort(place, kind="stable")]]


def is_doubled(draws: Draws) -> np.ndarray:
    """Return whether a pass stands twice in its file."""
    return np.asarray(draws.u["duplicate"] < t.DUPLICATED)


def _encode(text: bytes) -> bytes:
    """Return UTF-8 bytes as GB18030, several times faster than by way of str.

    All characters beyond ASCII must be of _WIDE: three bytes in UTF-8, two in GB18030.

    >>> _encode("闽D12345,无牌".encode()).decode("gb18030")
    '闽D12345,无牌'
    """
    octets = np.frombuffer(text, np.uint8).copy()
    lead = np.flatnonzero(octets >= _FIRST_LEAD_BYTE)
    code = octets[lead + 1].astype(np.int64) * 256 + octets[lead + 2]
    for wide in _WIDE:
        _, second, third = wide.encode("utf-8")
        at = lead[code == second * 256 + third]
        octets[at], octets[at + 1] = wide.encode("gb18030")
    keep = np.ones(len(octets), dtype=bool)
    keep[lead + 2] = False
    return octets[keep].tobytes()


def site_files(day: pl.DataFrame, draws: Draws) -> Iterator[tuple[Site, int, bytes]]:
    """Yield for each site its records' number, copies included, and the file's bytes."""
    edges = np.searchsorted(draws.site, np.arange(len(SITES) + 1))
    for k, site in enumerate(SITES):
        rows = slice(int(edges[k]), int(edges[k + 1]))
        records = _with_copies(_with_habits(day[rows], site), draws, rows)
        text = io.BytesIO()
        records.write_csv(
            text, line_terminator=site.line_end, null_value="", quote_style="never",
            float_scientific=False, datetime_format="%Y-%m-%d %H:%M:%S",
        )
        yield site, len(records), _encode(text.getvalue())
