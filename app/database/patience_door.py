"""The door to the database: so many threads may be inside, the others queue before it in order."""

import threading
import time
from collections import deque
from collections.abc import Callable

# How often somebody who queues asks whether that still makes sense.
STEP_SECONDS = 0.01


class Door:
    """A bound on threads; safe to use from any of them. A thread that is inside may enter again."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._urgent: deque[threading.Event] = deque()
        self._queue: deque[threading.Event] = deque()
        self._inside = 0
        self._own = threading.local()
        self.left_at = 0.0
        """When somebody left last, of `time.monotonic()`."""

    def enter(self, is_worth_waiting: Callable[[float], bool], *, is_urgent: bool = False) -> bool:
        """Take a place until `leave`; False when waiting for one was not worth it any more.

        `is_worth_waiting` is asked again and again, with the seconds waited so far. Who is urgent
        (in the middle of a transaction) goes before all who are not.
        """
        depth = getattr(self._own, "depth", 0)
        queue = self._urgent if is_urgent else self._queue
        if depth == 0 and not self._take_place(queue, is_worth_waiting):
            return False
        self._own.depth = depth + 1
        return True

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        self._own.depth -= 1
        if self._own.depth:
            return
        with self._lock:
            self.left_at = time.monotonic()
            if queue := self._urgent or self._queue:
                queue.popleft().set()
            else:
                self._inside -= 1

    def _take_place(
        self, queue: deque[threading.Event], is_worth_waiting: Callable[[float], bool]
    ) -> bool:
        with self._lock:
            if self._inside < self._places:
                self._inside += 1
                return True
            mine = threading.Event()
            queue.append(mine)
        since = time.monotonic()
        while not mine.wait(STEP_SECONDS):
            if not is_worth_waiting(time.monotonic() - since):
                return self._got_it_after_all(queue, mine)
        return True

    def _got_it_after_all(self, queue: deque[threading.Event], mine: threading.Event) -> bool:
        """Leave the queue, unless the place came at the last moment."""
        with self._lock:
            if mine.is_set():
                return True
            queue.remove(mine)
            return False
