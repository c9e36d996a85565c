"""Whether the scheduler of this process still looks for work, by the steady clock."""

import threading
import time

from app.metrics_counting import observe_job


class Pulse:
    """When each job of this process began or ended last; safe to use from any thread.

    Counts by `time.monotonic()`: a wall clock that is set back must not make a dead scheduler look
    alive, nor a living one dead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}
        self._at_work: set[str] = set()

    def begin(self, name: str) -> None:
        """The job starts."""
        with self._lock:
            self._seen[name] = time.monotonic()
            self._at_work.add(name)

    def end(self, name: str) -> None:
        """The job is over, whatever came of it."""
        with self._lock:
            self._seen[name] = time.monotonic()
            self._at_work.discard(name)
        observe_job(name)

    def expect(self, name: str) -> None:
        """The job is to be done from now on."""
        with self._lock:
            self._seen[name] = time.monotonic()

    def forget_all(self) -> None:
        """No job is expected any more."""
        with self._lock:
            self._seen.clear()
            self._at_work.clear()

    def is_at_work(self, name: str) -> bool:
        """True while the job is being done."""
        with self._lock:
            return name in self._at_work

    def quiet_seconds(self, name: str | None = None) -> float:
        """How long nothing was heard of the job, or of the quietest of all; 0 before the start."""
        with self._lock:
            seen = [self._seen[name]] if name in self._seen else list(self._seen.values())
        return time.monotonic() - min(seen) if seen else 0.0
