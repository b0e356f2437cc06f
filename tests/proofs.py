"""What the tests of evidence and notices share: findings, their proof records, all beside them."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from rsd.columns import EVIDENCE, FINDINGS, PASSES, SITES, schema
from rsd.exports.evidence import LIMITS, Sources

T1 = datetime(2026, 8, 31, 23, 30, tzinfo=UTC)
T2 = T1 + timedelta(days=2, hours=12)
MEASURED = {"speed_km_h": 40.0, "acceleration_m_s2": 0.3, "vsp_device_kw_t": 5.0, "vsp_kw_t": 5.1,
            "air_temperature_c": 25.0, "relative_humidity_pct": 60.0, "pressure_kpa": 101.3,
            "wind_speed_m_s": 1.5, "plate_confidence_pct": 97.0, "source_line": 7,
            "source_sha256": "ab" * 32}


LAW = "1a" * 32


def a_pass(record_id, at, **changes):
    return MEASURED | {"record_id": record_id, "measured_at": at, "site_id": "S", "line_id": "01",
                       "opacity_pct": 45.0, "is_valid": True, "is_valid_opacity": True,
                       "reason_bits": 0, "is_current": True} | changes


def passes(*rows):
    return pl.DataFrame(list(rows), schema=schema(PASSES)).lazy()


def a_finding(**changes):
    return {"regulation_id": "r", "kind": "violation", "pollutant": "opacity", "vehicle_id": "v1.a",
            "found_at": T2, "first_record_id": "p1", "first_measured_at": T1, "first_value": 45.0,
            "second_record_id": "p2", "second_measured_at": T2, "second_value": 36.0,
            "limit": 30.0, "unit": "%", "clause": "c2", "regulation_sha256": LAW,
            "is_verified": False} | changes


def findings(*rows):
    return pl.DataFrame(list(rows), schema=schema(FINDINGS))


SITE_ROW = {"site_id": "S", "name": "桥", "lon_wgs84": 118.1, "lat_wgs84": 24.5}
CHECK = {"site_id": "S", "line_id": None, "checked_at": T1 - timedelta(days=9), "result": "ok"}
PHOTO = {"source_sha256": "ab" * 32, "source_line": 7}


def checks(*rows):
    return pl.DataFrame(list(rows), schema={
        "site_id": pl.String, "line_id": pl.String, "checked_at": pl.Datetime("us", "UTC"),
        "result": pl.String})


def limits(*rows):
    """Limits of opacity of the law `LAW`: since, until, limit, clause."""
    return pl.DataFrame([(LAW, "opacity", *row) for row in rows], LIMITS, orient="row")


def photos(*rows):
    return pl.DataFrame(list(rows), schema=schema(EVIDENCE)).lazy()


def sources(**changes):
    whole = {
        "passes": passes(a_pass("p1", T1), a_pass("p2", T2, opacity_pct=36.0)),
        "sites": pl.DataFrame([SITE_ROW], schema=schema(SITES)),
        "timezone": "Asia/Shanghai",
        "files": pl.DataFrame({"source_sha256": ["ab" * 32], "source_file": ["a.csv"]}),
        "restricted": photos({"record_id": "p1", **PHOTO, "photo_1": "x.jpg", "photo_3": "y.jpg"},
                             {"record_id": "p2", **PHOTO, "photo_1": "z.jpg", "video_1": "z.mp4"}),
        "checks": checks(CHECK), "show_photos": True,
        "limits": limits((date(2017, 1, 1), None, 30.0, "c2")),
    }
    return Sources(**(whole | changes))
