"""How often one client may guess a secret: a sliding window of its failures, kept in memory.

Each web process counts for itself, so a client gets at most the limit times their number.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

MAX_CLIENTS = 10_000


class Throttle:
    """Counts failures per client; thread-safe. `clock` gives seconds that never go back."""

    def __init__(
        self, *, limit: int, window_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window = window_seconds
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = Lock()

    def wait_seconds(self, client: str) -> int:
        """How many whole seconds `client` has to wait before its next try; 0 means none."""
        with self._lock:
            times = self._recent(client)
            if len(times) < self._limit:
                return 0
            return max(1, math.ceil(times[0] + self._window - self._clock()))

    def record_failure(self, client: str) -> None:
        """Count a wrong guess of `client`."""
        with self._lock:
            times = self._recent(client)
            times.append(self._clock())
            while len(times) > self._limit:
                times.popleft()
            self._failures[client] = times
            while len(self._failures) > MAX_CLIENTS:
                del self._failures[next(iter(self._failures))]

    def forget(self, client: str) -> None:
        """Drop what was counted against `client`."""
        with self._lock:
            self._failures.pop(client, None)

    def _recent(self, client: str) -> deque[float]:
        # Taken out and put back by a new failure, so the dictionary stays ordered by the latest.
        times = self._failures.pop(client, deque())
        horizon = self._clock() - self._window
        while times and times[0] <= horizon:
            times.popleft()
        if times:
            self._failures[client] = times
        return times
