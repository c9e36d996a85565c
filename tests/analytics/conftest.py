"""What the analytics tests share: the recorded data, and how hypothesis looks for examples."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, and no failure because the machine was busy.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded data; skips the test where there is none."""
    folder = os.environ.get("TAPEDECK_RECORDINGS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TAPEDECK_RECORDINGS names no folder of recorded data")
    return Path(folder)
