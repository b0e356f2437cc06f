"""HJ 845-2017 read once more, in plain Python over dictionaries: the judge of the judge.

Written from the rule's text (clauses as quoted by news and notices, and the numbered reading of
them that the project adopted), record by record, with nothing but the standard library. Slow on
purpose, and it shares no line with the engine.

A reading: record_id, vehicle_id, measured_at (instant), fuel, is_valid, is_valid_<pollutant>,
opacity_pct, ringelmann, no_ppm, vsp_device_kw_t, vsp_kw_t, wind_speed_m_s; None is unknown.
"""

from __future__ import annotations

import calendar
import math
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

LIMITS = {  # pollutant: (column, limit, kind)
    "opacity": ("opacity_pct", 30.0, "violation"),
    "ringelmann": ("ringelmann", 1.0, "violation"),
    "no": ("no_ppm", 1500.0, "screening"),
}
IN_FORCE = date(2017, 7, 27)
RULE = {
    "min_hits": 2,
    "consecutive": True,
    "window_months": 6,
    "window": "anchored",
    "inclusive": True,
    "min_gap_s": 0,
    "reset_on_inspection": True,
}


def add_months(moment: datetime, months: int) -> datetime:
    """The same day and time some months later; the month's last day where there is none."""
    index = moment.year * 12 + moment.month - 1 + months
    year, month = index // 12, index % 12 + 1
    last = calendar.monthrange(year, month)[1]
    return moment.replace(year=year, month=month, day=min(moment.day, last))


def exceeds(reading: dict, pollutant: str, zone: ZoneInfo) -> bool | None:
    """True, False, or None where the reading was not tested."""
    column, limit, _ = LIMITS[pollutant]
    if reading["fuel"] != "diesel":
        return None
    if reading["measured_at"].astimezone(zone).date() < IN_FORCE:
        return None
    if not reading["is_valid"] or not reading[f"is_valid_{pollutant}"]:
        return None
    vsp = reading["vsp_device_kw_t"]
    if vsp is None:
        vsp = reading["vsp_kw_t"]
    if vsp is not None and vsp <= 0:
        return None
    wind = reading["wind_speed_m_s"]
    if wind is not None and wind > 5:
        return None
    value = reading[column]
    if value is None or not math.isfinite(value):
        return None
    return value > limit


def in_window(first: dict, last: dict, rule: dict, zone: ZoneInfo) -> bool:
    start = first["measured_at"].astimezone(zone).replace(tzinfo=None)
    end = last["measured_at"].astimezone(zone).replace(tzinfo=None)
    if rule["window"] == "calendar_bucket":
        months = (end.year - start.year) * 12 + end.month - start.month
        return months <= rule["window_months"] - 1
    latest = add_months(start, rule["window_months"])
    return end <= latest if rule["inclusive"] else end < latest


def chain_back(history: list[tuple[dict, bool]], position: int, rule: dict) -> dict | None:
    """Walk back from an exceedance to the first of its chain; None where there is no chain."""
    current = history[position][0]
    hits = 1
    while hits < rule["min_hits"]:
        position -= 1
        if position < 0:
            return None
        earlier, over = history[position]
        if not over:
            if rule["consecutive"]:
                return None
            continue
        gap = timedelta(seconds=rule["min_gap_s"])
        if current["measured_at"] - earlier["measured_at"] >= gap:
            current = earlier
            hits += 1
    return current


def judge_vehicle(readings: list[dict], pollutant: str, rule: dict, zone: ZoneInfo,
                  inspections: list[datetime] | None) -> dict | None:
    """The first finding of one vehicle for one pollutant, or None."""
    ordered = sorted(readings, key=lambda r: (r["measured_at"], r["record_id"]))
    history = []
    for reading in ordered:
        verdict = exceeds(reading, pollutant, zone)
        if verdict is not None:
            history.append((reading, verdict))
    for position, (last, over) in enumerate(history):
        if not over:
            continue
        first = chain_back(history, position, rule)
        if first is None or not in_window(first, last, rule, zone):
            continue
        if rule["reset_on_inspection"] and any(
            first["measured_at"] < at < last["measured_at"] for at in inspections or ()
        ):
            continue
        upto = [(r, o) for r, o in history if r["measured_at"] <= last["measured_at"]]
        column, _, kind = LIMITS[pollutant]
        single = rule["min_hits"] == 1
        return {
            "kind": kind,
            "pollutant": pollutant,
            "vehicle_id": last["vehicle_id"],
            "found_at": last["measured_at"],
            "first_record_id": first["record_id"],
            "first_value": first[column],
            "second_record_id": None if single else last["record_id"],
            "second_value": None if single else last[column],
            "road_segment": last["road_segment"],
            "exceedances": sum(o for _, o in upto),
            "passes": len(upto),
        }
    return None


def judge(readings: list[dict], *, timezone: str = "Asia/Shanghai", rule: dict | None = None,
          inspections: dict[str, list[datetime]] | None = None) -> list[dict]:
    """All findings, ordered by found_at, vehicle_id, pollutant."""
    zone, rule = ZoneInfo(timezone), RULE | (rule or {})
    vehicles = sorted({r["vehicle_id"] for r in readings if r["vehicle_id"] is not None})
    found = []
    for vehicle in vehicles:
        mine = [r for r in readings if r["vehicle_id"] == vehicle]
        for pollutant in LIMITS:
            finding = judge_vehicle(mine, pollutant, rule, zone,
                                    (inspections or {}).get(vehicle))
            if finding is not None:
                found.append(finding)
    return sorted(found, key=lambda f: (f["found_at"], f["vehicle_id"], f["pollutant"]))
