"""Every verb read once more, in plain Python over lists, and the other regulations with it.

As `oracle`, written from the rules' text and with the standard library alone; it shares no line
with the engine. A verb takes one vehicle's tested readings in order, each a dictionary with
``exceeds``, ``measured_at``, ``value``, ``site_id``, ``line_id``, and answers with the reading or
the two readings that prove the finding, or None.
"""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import oracle

Proof = tuple[dict, dict | None] | None


def local_date(reading: dict, zone: ZoneInfo) -> date:
    return reading["measured_at"].astimezone(zone).date()


def single(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    for reading in history:
        if reading["exceeds"]:
            return reading, None
    return None


def may_be_between(first: datetime, at: datetime, until: datetime, last: datetime) -> bool:
    """Whether some instant from ``at`` to ``until`` lies strictly between the two."""
    begin, end = max(at, first), min(until, last)
    return begin < end or first < begin == end < last


def repeated(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    pairs = [(r, r["exceeds"]) for r in history]
    for position, last in enumerate(history):
        first = oracle.chain_back(pairs, position, rule) if last["exceeds"] else None
        if first is None or not oracle.in_window(first, last, rule, zone):
            continue
        if rule["reset_on_inspection"] and any(
            may_be_between(first["measured_at"], at, until, last["measured_at"])
            for at, until in rule.get("inspections", ())
        ):
            continue
        return first, None if rule["min_hits"] == 1 else last
    return None


def two_instruments(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    for position, last in enumerate(history):
        if not last["exceeds"] or last["line_id"] is None:
            continue
        for first in reversed(history[:position]):
            same_event = last["measured_at"] - first["measured_at"] <= timedelta(
                seconds=rule["within_s"])
            other = first["line_id"] is not None and first["line_id"] != last["line_id"]
            if first["exceeds"] and other and same_event and first["site_id"] == last["site_id"]:
                return first, last
    return None


def two_highest(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    for count in range(2, len(history) + 1):
        numbered = list(enumerate(history[:count]))
        ranked = sorted(numbered, key=lambda item: (-item[1]["value"], item[0]))
        (_, earlier), (_, later) = sorted(ranked[:2], key=lambda item: item[0])
        apart = abs((local_date(later, zone) - local_date(earlier, zone)).days)
        if earlier["exceeds"] and later["exceeds"] and apart <= rule["within_days"]:
            return earlier, later
    return None


def share(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    days: list[date] = []
    for position, last in enumerate(history):
        days.append(max([*days[-1:], local_date(last, zone)]))
        opened = days[-1] - timedelta(days=rule["window_days"] - 1)
        inside = [r for r, day in zip(history[:position + 1], days, strict=True) if day >= opened]
        over = [r for r in inside if r["exceeds"]]
        enough = len(inside) >= rule["least_passes"]
        if last["exceeds"] and enough and Fraction(len(over), len(inside)) >= Fraction(
                rule["share_pct"], 100):
            return over[0], None if over[0] is last else last
    return None


def clean_screen(history: list[dict], rule: dict, zone: ZoneInfo) -> Proof:
    latest = history[-rule["readings"]:]
    if len(latest) < rule["readings"] or any(r["exceeds"] for r in latest):
        return None
    dates = [local_date(r, zone) for r in latest]
    days = 1 + sum(after > before for before, after in pairwise(dates))
    began, ended = (r["measured_at"].astimezone(zone).replace(tzinfo=None)
                    for r in (latest[0], latest[-1]))
    if days < rule["least_days"] or ended > oracle.add_months(began, rule["window_months"]):
        return None
    return latest[0], None if rule["readings"] == 1 else latest[-1]


VERBS = {"single": single, "repeated": repeated, "two_instruments": two_instruments,
         "two_highest": two_highest, "share": share, "clean_screen": clean_screen,
         "registration": single}


# Whole regulations


LIMITS = {
    "us_clean_screen": {"co": ("co_pct", 0.5), "hc": ("hc_ppm", 200.0), "no": ("no_ppm", 1000.0)},
    # invented: the cut-points are not known
    "hk_dual_rse": {"co": ("co_pct", 3.0), "no": ("no_ppm", 2000.0)},
    "us_two_highest_120d": {"co": ("co_pct", 3.0), "no": ("no_ppm", 2000.0)},
}
SINCE = {"us_clean_screen": date(1970, 1, 1), "hk_dual_rse": date(2014, 9, 1),
         "us_two_highest_120d": date(2012, 7, 1), "xm_375_2019_registration": date(2020, 1, 1)}
VERB_OF = {
    "us_clean_screen": ("clean_screen", {"readings": 2, "least_days": 2, "window_months": 12}),
    "hk_dual_rse": ("two_instruments", {"within_s": 10}),
    "us_two_highest_120d": ("two_highest", {"within_days": 120}),
    "xm_375_2019_registration": ("registration", {}),
}
TRUCKS = ("small_truck", "medium_truck", "heavy_truck")


def in_scope(law: str, reading: dict, zone: ZoneInfo) -> bool:
    if local_date(reading, zone) < SINCE[law]:
        return False
    if law == "hk_dual_rse":
        return reading["fuel"] in ("gasoline", "lpg") and reading["vehicle_class"] in (
            "mini_small_bus", "medium_bus", "small_truck")
    return law == "xm_375_2019_registration" or reading["fuel"] == "gasoline"


def loaded(law: str, reading: dict) -> bool:
    """Whether the specific power lets the reading be judged."""
    vsp = reading["vsp_device_kw_t"]
    vsp = reading["vsp_kw_t"] if vsp is None else vsp
    if law == "us_two_highest_120d":
        return True
    return law == "hk_dual_rse" if vsp is None else 3 <= vsp <= 22


def over(law: str, reading: dict, pollutant: str, zone: ZoneInfo) -> bool | None:
    """True, False, or None where the reading was not tested."""
    column, limit = LIMITS[law][pollutant]
    usable = reading["is_valid"] and reading[f"is_valid_{pollutant}"]
    value = reading[column]
    if not (usable and in_scope(law, reading, zone) and loaded(law, reading)):
        return None
    return None if value is None or not math.isfinite(value) else value > limit


def over_any(law: str, reading: dict, zone: ZoneInfo) -> bool | None:
    verdicts = [over(law, reading, pollutant, zone) for pollutant in LIMITS[law]]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def high_emission(reading: dict, zone: ZoneInfo) -> bool | None:
    """Xiamen's rule by registration; None where it cannot be said.

    Every way to fill in what is unknown is tried: where all agree, that is the answer.
    """
    if not in_scope("xm_375_2019_registration", reading, zone):
        return None
    fuels = ("gasoline", "diesel", "electric")
    fuel, stage, kind = reading["fuel"], reading["emission_stage"], reading["vehicle_class"]
    answers = {
        (a == "gasoline" and b <= 1) or (a == "diesel" and (b < 3 or (b == 3 and c in TRUCKS)))
        for a in (fuels if fuel in (None, "unknown") else (fuel,))
        for b in (range(7) if stage is None else (stage,))
        for c in (("large_bus", "heavy_truck") if kind in (None, "unknown") else (kind,))
    }
    return answers.pop() if len(answers) == 1 else None


def judge(readings: list[dict], law: str, zone: ZoneInfo) -> list[dict]:
    """All findings of one of `VERB_OF`, ordered by found_at, vehicle_id, pollutant."""
    name, rule = VERB_OF[law]
    found = []
    for vehicle in sorted({r["vehicle_id"] for r in readings} - {None}):
        mine = sorted((r for r in readings if r["vehicle_id"] == vehicle),
                      key=lambda r: (r["measured_at"], r["record_id"]))
        for pollutant in LIMITS.get(law, {"none": (None, None)}):
            column = None if pollutant == "none" else LIMITS[law][pollutant][0]
            history = []
            for reading in mine:
                if pollutant == "none":
                    verdict = high_emission(reading, zone)
                elif name == "clean_screen":
                    verdict = over_any(law, reading, zone)
                else:
                    verdict = over(law, reading, pollutant, zone)
                if verdict is not None:
                    history.append(reading | {"exceeds": verdict, "value": reading.get(column)})
            proof = VERBS[name](history, rule, zone) if history else None
            if proof is not None:
                found.append(_finding(law, pollutant, history, *proof))
    return sorted(found, key=lambda f: (f["found_at"], f["vehicle_id"], f["pollutant"]))


KINDS = {"us_clean_screen": "clean", "xm_375_2019_registration": "registration"}


def _finding(law: str, pollutant: str, history: list[dict], first: dict,
             second: dict | None) -> dict:
    found_at: datetime = (second or first)["measured_at"]
    upto = [r for r in history if r["measured_at"] <= found_at]
    return {
        "kind": KINDS.get(law, "violation"),
        "pollutant": pollutant,
        "vehicle_id": first["vehicle_id"],
        "found_at": found_at,
        "first_record_id": first["record_id"],
        "first_value": first["value"],
        "second_record_id": second and second["record_id"],
        "second_value": second and second["value"],
        "limit": LIMITS[law][pollutant][1] if law in LIMITS else None,
        "exceedances": sum(r["exceeds"] for r in upto),
        "passes": len(upto),
    }
