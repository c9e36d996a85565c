"""What is the same for everybody at this very moment: built once, given to all who ask then."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.cache_flight import SingleFlight

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Value]):
    value: Value
    ends_at: float


class Moments(Generic[Value]):
    """A few values kept for less than the eye can tell; thread-safe.

    Threads that miss the same value build it once. Names must hold the versions of all data that
    the value is made from.
    """

    def __init__(
        self,
        *,
        seconds: float,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most `most` values, each for `seconds`."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._flights = SingleFlight()
        self._kept: dict[Hashable, _Kept[Value]] = {}

    def read(self, name: Hashable, build: Callable[[], Value]) -> Value:
        """The value kept under `name`, else what `build` returns; raises what that raises."""
        kept = self._kept.get(name)
        if kept is not None and kept.ends_at > self._clock():
            return kept.value
        return self._flights.share(name, lambda: self._build(name, build))

    def _build(self, name: Hashable, build: Callable[[], Value]) -> Value:
        ends_at = self._clock() + self._seconds
        value = build()
        if len(self._kept) >= self._most:
            self._kept = {}
        self._kept[name] = _Kept(value, ends_at)
        return value
