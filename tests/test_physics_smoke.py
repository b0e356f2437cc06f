"""Smoke: opacity, absorption and particle mass."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsd.physics import smoke


@pytest.mark.parametrize(("opacity", "k"), [(20, 0.519), (30, 0.829), (40, 1.188), (0, 0)])
def test_opacity_and_absorption(opacity, k):
    assert smoke.absorption_1_m(opacity) == pytest.approx(k, abs=5e-4)


@given(st.floats(-2, 99.9), st.floats(0.1, 5))
def test_opacity_goes_there_and_back(opacity, path):
    k = smoke.absorption_1_m(opacity, path)
    assert smoke.opacity_pct(k, path) == pytest.approx(opacity, rel=1e-9, abs=1e-12)
    assert (k > 0) == (opacity > 0) or abs(opacity) < 1e-13


@pytest.mark.parametrize("kind", [float, lambda x: np.array([x])])
def test_black_is_infinite_and_beyond_is_no_number(kind):
    assert float(np.ravel(smoke.absorption_1_m(kind(100.0)))[0]) == math.inf
    assert math.isnan(np.ravel(smoke.absorption_1_m(kind(101.0)))[0])


def test_optical_particle_mass():
    column = smoke.co2_column_mol_m2(2400.0, 25.0, 101.325)
    mass = smoke.pm_g_kg_optical(2.0, column, 0.004, 0.0003, 72.01731746)
    assert mass == pytest.approx(1.84, abs=5e-3)
    darker = smoke.pm_g_kg_optical(2.0, column, 0.004, 0.0003, 72.01731746, 6.0, 6.0)
    assert darker == pytest.approx(mass * 8 / 6)


def test_column_follows_the_gas_law():
    here = smoke.co2_column_mol_m2(1000.0, 0.0, 100.0)
    assert here == pytest.approx(1000e-6 * 1e5 / (8.314462618 * 273.15))
    assert smoke.co2_column_mol_m2(1000.0, 0.0, 50.0) == pytest.approx(here / 2)
    assert smoke.co2_column_mol_m2(1000.0, 273.15, 100.0) == pytest.approx(here / 2)


def test_smoke_factor():
    assert smoke.pm_g_kg_from_smoke_factor(0.12) == pytest.approx(1.2)
