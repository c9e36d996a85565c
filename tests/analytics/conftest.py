"""What the analytics tests share: the recorded data, where they are on this machine."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recorded data; skips the test where there is none."""
    folder = os.environ.get("TAPEDECK_RECORDINGS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TAPEDECK_RECORDINGS names no folder of recorded data")
    return Path(folder)
