"""How long a caller waits for a run."""

import pytest

from app.web.api.outcomes import wait_seconds


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", 25),
        ("respond-async", 0),
        ("Respond-Async", 0),
        ("respond-async, wait=10", 10),
        ("wait=5", 5),
        ('wait="5"; foo', 5),
        ("wait=100000", 25),
        ("wait=-1", 25),
        ("wait=abc", 25),
        ("wait=\u0665", 25),
        ("return=minimal", 25),
    ],
)
def test_the_prefer_header_says_how_long_to_wait(prefer: str, seconds: float) -> None:
    assert wait_seconds(prefer) == seconds
