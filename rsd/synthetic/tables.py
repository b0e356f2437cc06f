"""The numbers of the synthetic city, once each, with where they come from.

All of it is *assumed*: a plausible city, not a measured one. Tags: "assumed" is a value from memory
with low confidence, "medium" from memory with medium confidence, "choice" was chosen here to fill
a gap. Anchors that were read: Chinese heavy-truck medians of 40 to 47 g/kg NOx (Wang et al. 2012),
gamma-like on-road CO, HC and NO (Zhang, Bishop & Stedman 1994), a tenth of the vehicles with 45 to
65 % of the emissions (Knoll et al. 2024, abstract).

Arrays run class × …, stage × …; stages are 0 "I and before", 1 II, 2 III, 3 IV, 4 V, 5 VI;
pollutants are CO, HC, NO, smoke.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

CO, HC, NO, SMOKE = range(4)
POLLUTANTS = ("co", "hc", "no", "opacity")
STAGES = ("I-", "II", "III", "IV", "V", "VI")
FUELS = ("gasoline", "diesel", "cng", "electric", "hybrid")
GASOLINE, DIESEL, GAS, ELECTRIC, HYBRID = range(5)
FUEL_CODE = ("A", "B", "E", "C", "O")
"""GA 24.9 letters of FUELS."""


@dataclass(frozen=True)
class VehicleClass:
    """A class of the fleet: its share of passes, its make-up, how often one vehicle passes."""

    name: str
    pass_share: float
    fuels: dict[int, float]
    stages_pct: tuple[int, int, int, int, int, int]
    moves_type: int  # whose specific power the emissions follow; 0 is the remote-sensing form
    passes_per_year: float  # of one vehicle
    is_heavy: bool  # heavy emission table, stage dates and large plates
    is_truck: bool  # follows the truck factor of a site and the truck hours
    vehicle_type: str  # GA 24.4
    use: str  # GA letter


# Assumed. Passes a year: 5, 25 (taxi), 15 (tractor), 60 (bus) assumed, the other five a choice.
# City buses: the "diesel hybrid" share is registered as diesel (choice).
CLASSES: tuple[VehicleClass, ...] = (
    VehicleClass("small_car", 0.73, {GASOLINE: 0.86, HYBRID: 0.05, ELECTRIC: 0.09},
                 (1, 2, 6, 26, 33, 32), 0, 5, False, False, "K33", "A"),
    VehicleClass("taxi", 0.06, {ELECTRIC: 0.65, GASOLINE: 0.20, GAS: 0.15},
                 (0, 0, 1, 14, 40, 45), 0, 25, False, False, "K33", "D"),
    VehicleClass("van", 0.05, {GASOLINE: 0.80, DIESEL: 0.15, ELECTRIC: 0.05},
                 (1, 3, 14, 32, 28, 22), 31, 5, False, False, "K39", "A"),
    VehicleClass("light_truck", 0.07, {DIESEL: 0.70, GASOLINE: 0.20, ELECTRIC: 0.10},
                 (0, 1, 13, 27, 31, 28), 32, 8, False, True, "H31", "F"),
    VehicleClass("medium_truck", 0.02, {DIESEL: 1.0},
                 (0, 1, 18, 27, 30, 24), 52, 8, True, True, "H21", "F"),
    VehicleClass("heavy_rigid", 0.025, {DIESEL: 0.94, GAS: 0.06},
                 (0, 0, 16, 22, 34, 28), 52, 10, True, True, "H11", "F"),
    VehicleClass("tractor", 0.025, {DIESEL: 0.85, GAS: 0.12, ELECTRIC: 0.03},
                 (0, 0, 8, 17, 40, 35), 62, 15, True, True, "Q11", "F"),
    VehicleClass("city_bus", 0.012, {ELECTRIC: 0.70, GAS: 0.15, DIESEL: 0.15},
                 (0, 0, 2, 23, 55, 20), 42, 60, True, False, "K11", "C"),
    VehicleClass("coach", 0.008, {DIESEL: 0.9, GAS: 0.1},
                 (0, 0, 12, 30, 38, 20), 41, 20, True, False, "K11", "B"),
)
GAMMA_SHAPE_OF_PASSES = 0.7  # assumed: a vehicle's yearly passes are 1 + gamma(0.7)

# First registration windows a stage (Fujian, medium; I and II a choice). The last is open.
_LIGHT = (date(1998, 1, 1), date(2004, 7, 1), date(2008, 7, 1), date(2011, 7, 1), date(2016, 4, 1),
          date(2020, 7, 1))
_LIGHT_END = (date(2004, 7, 1), date(2008, 7, 1), date(2011, 7, 1), date(2016, 4, 1),
              date(2021, 1, 1), date.max)
_HEAVY = (date(1998, 1, 1), date(2004, 7, 1), date(2008, 7, 1), date(2013, 7, 1), date(2017, 7, 1),
          date(2021, 7, 1))
_HEAVY_END = (date(2004, 7, 1), date(2008, 7, 1), date(2014, 7, 1), date(2017, 7, 1),
              date(2021, 7, 1), date.max)
REGISTERED_FROM = {False: _LIGHT, True: _HEAVY}
REGISTERED_TO = {False: _LIGHT_END, True: _HEAVY_END}
FIRST_STAGE_I = date(2000, 7, 1)  # older than this is stage 0 (choice)

# Mean g/kg per stage, faults included, HC as carbon-doubled infrared propane, NO as NO: assumed.
# Smoke: mean opacity in %; the gasoline column is a choice (the source gives diesel only).
GASOLINE_MEAN = np.array([
    [110.0, 14.0, 15.0, 2.0], [55.0, 7.5, 9.5, 1.5], [26.0, 3.6, 5.2, 1.0],
    [12.0, 1.8, 2.4, 0.6], [6.5, 1.0, 1.1, 0.4], [3.5, 0.55, 0.45, 0.3]])
GASOLINE_FAULT = np.array([0.35, 0.22, 0.14, 0.07, 0.03, 0.012])
GAS_FACTOR = np.array([1.0, 1.0, 1.5, 1.0])  # CNG and LNG against gasoline: assumed

# Heavy diesel: NOx as NO2 in g/kg, molar NO2/NOx, CO, HC, opacity %. I and II are a choice.
DIESEL_NOX = np.array([44.0, 42.0, 40.0, 36.0, 28.0, 6.0])
NO2_SHARE_DIESEL = np.array([0.07, 0.07, 0.07, 0.08, 0.12, 0.35])
NO2_SHARE_OTHER = 0.04  # medium
DIESEL_CO_HC_SMOKE = np.array([
    [20.0, 3.5, 14.0], [15.0, 2.7, 11.0], [12.0, 2.0, 9.0],
    [8.0, 1.2, 6.0], [6.0, 0.9, 4.0], [2.0, 0.3, 1.0]])
DIESEL_FAULT = np.array([0.20, 0.15, 0.10, 0.18, 0.14, 0.05])  # I and II a choice
LIGHT_DIESEL = np.array([1.0, 1.0, 0.65, 1.1])  # light against heavy diesel: assumed

# Spread of natural logs: between healthy vehicles of a cell, and within a vehicle (assumed).
SIGMA_BETWEEN = np.array([0.9, 0.7, 0.8, 0.7])
SIGMA_WITHIN = np.array([0.9, 0.6, 0.75, 0.7])
SIGMA_WITHIN_DIESEL_NO = 0.4
COMMON_SHARE = 0.4  # of the between variance, shared by all pollutants
CO_HC_SHARE = 0.2  # further shared by CO and HC, so that they correlate by 0.6
AGEING_PER_YEAR = np.array([0.04, 0.04, 0.03, 0.0])
AGEING_PER_YEAR_DIESEL_NO = 0.01

# Faults: (name, multipliers of CO, HC, NO, smoke), assumed; the smoke fault of stage VI is ×25
# (filter broken or removed) and ×5 before, the NOx after-treatment off is ×8 and ×4.
FAULTS = ("none", "catalyst", "rich", "misfire", "scr_off", "smoke")
FAULT_FACTOR = np.array([
    [1.0, 1.0, 1.0, 1.0], [6.0, 6.0, 7.0, 1.0], [15.0, 4.0, 0.5, 1.0], [1.5, 15.0, 0.7, 1.0],
    [1.0, 1.0, 4.0, 1.0], [1.0, 1.0, 1.0, 5.0]])
NOX_UNTREATED_VI, SMOKE_UNFILTERED_VI = 8.0, 25.0
FAULT_LOG_SD = 0.4
GASOLINE_FAULT_MIX = (0.55, 0.25, 0.20)  # catalyst, rich, misfire
DIESEL_SCR_SHARE = np.array([0.0, 0.0, 0.0, 0.6, 0.6, 0.5])  # choice; the rest is smoke
REPAIR_HAZARD_PER_YEAR = 0.15

BURST_PROBABILITY, BURST_FACTOR = 0.015, 5.0  # healthy cars do this too
COLD_PROBABILITY = 0.02  # at depot sites
COLD_FACTOR = np.array([6.0, 5.0, 2.0, 1.0])
TEMPERATURE_PER_K = {"diesel": -0.012, "gasoline": -0.006}  # of log NO, from 25 C

# Hour weights: assumed; trucks keep to 9 to 16 h and the night (weights a choice).
HOURS = np.array([.5, .3, .2, .2, .4, 1, 3, 7, 9, 7, 6, 5.5, 5, 5.5, 6, 6.2, 7.5, 9, 8, 5.5, 4, 3,
                  2, 1])
HOURS_TRUCK = np.array([3, 3, 3, 3, 3, 3, 2.5, 1.5, 1.5, 6, 7, 7, 6, 7, 7, 6, 3, 1.5, 1.5, 2, 2.5,
                        3, 3, 3])
WEEKEND_CARS, WEEKEND_TRUCKS = 0.85, 0.6
RAIN_MONTHS, RAIN_PROBABILITY, RAIN_INVALID = (7, 8, 9), 0.12, 0.40  # the probability a choice

# Instrument. Noise is Student t with 4 degrees of freedom, scaled to the given sd, at plume
# strength 1: CO in %, HC and NO in ppm; the second row is a bad unit. Opacity in % absolute.
NOISE = np.array([[0.05, 45.0, 70.0], [0.12, 100.0, 125.0]])
OPACITY_NOISE = 1.2
PROPORTIONAL_ERROR = 0.08
GAIN_SD, DRIFT_PER_DAY_SD, AUDIT_EVERY_DAYS = 0.05, 0.005, 7  # the audit interval a choice
OFFSET_SD = np.array([0.01, 20.0, 15.0])  # a site and day: CO %, HC ppm, NO ppm
PLUME_LOG_SD, PLUME_MINIMUM, PLUME_HIGH_STACK = 0.5, 0.35, 0.6
CO2_PCT_PER_PLUME = 0.25 / 0.35  # so that the least usable plume is FEAT's 0.25 % CO2
SPEED_SD_M_S, ACCELERATION_SD = 0.45, 0.22
# Totals: CO 6, HC 12, NO 8, opacity 5, speed 7 %. The shared part (choice) hits all at once.
INVALID_SHARED = 0.05
INVALID = np.array([0.06, 0.12, 0.08, 0.05])
INVALID_SPEED = 0.07
BEV_OVERLAP = 0.003  # a battery vehicle measured in another's plume: choice, below 0.5 %

UNREADABLE, WRONG, WRONG_AT_NIGHT, WRONG_IS_REAL = 0.010, 0.004, 0.008, 0.5
DUPLICATED = 0.005
UNREGISTERED, UNREGISTERED_NONLOCAL, WRONG_FUEL = 0.06, 0.12, 0.008
NONLOCAL = 0.18  # share of vehicles: choice
FUEL_KNOWN_TO_DEVICE = 0.95  # share of vehicles whose fuel the platform filled in: choice
CLOCK_DAYS = (3, 4, 5)  # days of the run on which one site's clock is an hour ahead

# Limits stored with each record, observed on one platform in 2020 (diesel: HJ 845-2017).
LIMITS = {"co2xz": 0.0, "coxz": 2.5, "hcxz": 1200.0, "noxz": 1500.0, "btgdxz": 30.0, "hdxz": 1.0}


def stage_means(fuel: int, is_heavy: bool) -> np.ndarray:
    """Return stage × pollutant means: CO, HC, NO as NO (g/kg), opacity (%)."""
    if fuel == ELECTRIC:
        return np.zeros((6, 4))
    if fuel != DIESEL:
        return GASOLINE_MEAN * (GAS_FACTOR if fuel == GAS else 1.0)
    no = DIESEL_NOX * (1 - NO2_SHARE_DIESEL) * (30.006 / 46.0055)
    mean = np.column_stack([DIESEL_CO_HC_SMOKE[:, :2], no, DIESEL_CO_HC_SMOKE[:, 2]])
    return mean if is_heavy else mean * LIGHT_DIESEL


def fault_shares(fuel: int) -> np.ndarray:
    """Return stage × fault (FAULTS) shares; the first column is healthy.

    >>> [round(float(x), 4) for x in fault_shares(GASOLINE)[3]]
    [0.93, 0.0385, 0.0175, 0.014, 0.0, 0.0]
    """
    shares = np.zeros((6, 6))
    if fuel == DIESEL:
        shares[:, 4] = DIESEL_FAULT * DIESEL_SCR_SHARE
        shares[:, 5] = DIESEL_FAULT * (1 - DIESEL_SCR_SHARE)
    elif fuel != ELECTRIC:
        shares[:, 1:4] = np.outer(GASOLINE_FAULT, GASOLINE_FAULT_MIX)
    shares[:, 0] = 1 - shares.sum(axis=1)
    return shares


def fault_factors() -> np.ndarray:
    """Return stage × fault × pollutant multipliers of the mean."""
    factors = np.stack([FAULT_FACTOR] * 6)
    factors[5, 4, NO], factors[5, 5, SMOKE] = NOX_UNTREATED_VI, SMOKE_UNFILTERED_VI
    return factors
