"""How hard the property tests try: `ci` by default, HYPOTHESIS_PROFILE=fuzz for `make fuzz`."""

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples each time, and no deadline: a busy machine turns no test red.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
# New examples each time, twenty times as many. A test that sets its own max_examples keeps it.
settings.register_profile(
    "fuzz",
    deadline=None,
    derandomize=False,
    max_examples=2000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fuzz: `make fuzz` runs it too; tests that use hypothesis are chosen without the mark",
    )
