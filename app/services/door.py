"""The door through which runs are claimed: shut once, when the process stops."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import RunStopped

STEP_SECONDS = 1.0


class Door:
    """Counts who is on the way through; safe to use from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._passing = 0
        self._is_shut = False

    @property
    def is_shut(self) -> bool:
        """True once the shutdown has begun."""
        with self._changed:
            return self._is_shut

    def shut(self) -> None:
        """Let nobody in any more; who is inside goes on."""
        with self._changed:
            self._is_shut = True

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be on the way through; raises `RunStopped` when the door is shut."""
        with self._changed:
            if self._is_shut:
                raise RunStopped("shutdown", "This process is stopping and begins no run any more.")
            self._passing += 1
        try:
            yield
        finally:
            with self._changed:
                self._passing -= 1
                self._changed.notify_all()

    def await_empty(self, seconds: float, still_here: Callable[[], None]) -> bool:
        """True once all are through; `still_here` is called every second meanwhile."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._passing and (left := deadline - time.monotonic()) > 0:
                still_here()
                self._changed.wait(min(STEP_SECONDS, left))
            return not self._passing
