"""A synthetic city with known truth: dumps as a platform writes them, and what really passed."""

from __future__ import annotations

from rsd.synthetic.city import PASSES_PER_VEHICLE_DAY, START, SimulationSummary, simulate

__all__ = ["PASSES_PER_VEHICLE_DAY", "START", "SimulationSummary", "simulate"]
