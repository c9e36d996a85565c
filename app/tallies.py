"""What this process has counted and not yet put down: requests, provider calls, cache reads.

The counters of `app.metrics_counting` are for Prometheus and end with the process. These are the
same events in small sums, which the scheduler adds to the database every minute, so that they have
a history.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

# Upper bounds of the classes of durations, in seconds; one more class holds what is longer.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Kind(StrEnum):
    """What is counted: requests (without a name), calls (by provider), reads (by answerer)."""

    REQUEST = "request"
    CALL = "call"
    READ = "read"


@dataclass(slots=True)
class Tally:
    """How often something happened, failed and was billed; `spread` counts durations by class."""

    count: int = 0
    errors: int = 0
    credits: int = 0
    seconds: float = 0.0
    spread: list[int] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add the other's sums to this one's."""
        self.count += other.count
        self.errors += other.errors
        self.credits += other.credits
        self.seconds += other.seconds
        longer, shorter = sorted((self.spread, other.spread), key=len, reverse=True)
        padded = [*shorter, *[0] * (len(longer) - len(shorter))]
        self.spread = [a + b for a, b in zip(longer, padded, strict=True)]


Tallies = Mapping[tuple[Kind, str], Tally]
_lock = threading.Lock()
_tallies: dict[tuple[Kind, str], Tally] = {}
_taken_at = time.monotonic()


def count(
    kind: Kind, name: str = "", *, seconds: float | None = None, errors: int = 0, billed: int = 0
) -> None:
    """Count one event; what has a duration says it in `seconds`."""
    with _lock:
        tally = _tallies.get((kind, name))
        if tally is None:
            tally = _tallies[kind, name] = Tally()
        tally.count += 1
        tally.errors += errors
        tally.credits += billed
        if seconds is None:
            return
        if not tally.spread:
            tally.spread = [0] * (len(BOUNDS) + 1)
        tally.seconds += seconds
        tally.spread[bisect_left(BOUNDS, seconds)] += 1


def take(*, every_seconds: float = 0.0) -> Tallies:
    """What was counted since it was last taken, which is no longer here then.

    Empty as long as the last time is less than `every_seconds` ago.
    """
    global _tallies, _taken_at
    with _lock:
        if time.monotonic() - _taken_at < every_seconds:
            return {}
        taken, _tallies = _tallies, {}
        _taken_at = time.monotonic()
    return taken


def give_back(taken: Tallies) -> None:
    """Put back what was taken and could not be put down."""
    with _lock:
        for key, tally in taken.items():
            _tallies.setdefault(key, Tally()).add(tally)
