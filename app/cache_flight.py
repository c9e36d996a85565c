"""Single flight: of the threads that miss the same value, one builds it and the others wait."""

from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar

Value = TypeVar("Value")


class Flight:
    """One building of one value: a context that ends with the outcome known to all who wait."""

    def __init__(self, land: Callable[[], None]) -> None:
        self.outcome: Future[Any] = Future()
        self._land = land

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._land()
        if isinstance(error, Exception):
            self.outcome.set_exception(error)
        elif error is not None:
            # The thread is being ended, which is nothing that the others should share.
            self.outcome.cancel()


class SingleFlight:
    """The flights of one process; who waits longer than `patience_seconds` builds for itself.

    Whoever waits holds nothing that the builder might need, so they never wait in a circle.
    """

    def __init__(self, *, patience_seconds: float = 10.0) -> None:
        self._patience_seconds = patience_seconds
        self._lock = Lock()
        self._flying: dict[Hashable, Flight] = {}

    def share(self, subject: Hashable, build: Callable[[], Value]) -> Value:
        """What `build` returns or raises, called here or by the thread that came first."""
        flight, is_first = self.join(subject)
        if not is_first:
            return self._await(flight, build)
        with flight:
            value = build()
            flight.outcome.set_result(value)
        return value

    def join(self, subject: Hashable) -> tuple[Flight, bool]:
        """The flight of `subject`, and whether the caller is the one to carry it out."""
        with self._lock:
            flight = self._flying.get(subject)
            if flight is not None:
                return flight, False
            flight = self._flying[subject] = Flight(lambda: self._land(subject))
            return flight, True

    def _land(self, subject: Hashable) -> None:
        with self._lock:
            del self._flying[subject]

    def _await(self, flight: Flight, build: Callable[[], Value]) -> Value:
        try:
            value: Value = flight.outcome.result(timeout=self._patience_seconds)
        except CancelledError:
            return build()
        except TimeoutError:
            # The builder's own, or ours of waiting.
            return flight.outcome.result() if flight.outcome.done() else build()
        return value
