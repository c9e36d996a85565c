"""What all runs of the process share about one provider: its rate budget and its breaker."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MINUTE_SECONDS = 60.0
BREAKER_FAILURES = 5
BREAKER_SECONDS = 60.0
# A provider that asks for more than this is not waited for, only left alone for as long.
LONGEST_HOLD_SECONDS = 300.0

Monotonic = Callable[[], float]


class RateBudget:
    """At most so many requests in any 60 seconds, first come first served; thread-safe.

    A window that slides over the instants of the last requests: unlike a bucket of tokens it never
    lets twice the budget through around the turn of a minute.
    """

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._turns: deque[float] = deque()
        self._held_until = 0.0

    def reserve(self, per_minute: int) -> float:
        """Take the next turn and return its instant on the monotonic clock, now or later."""
        with self._lock:
            now = self._monotonic()
            while self._turns and self._turns[0] <= now - MINUTE_SECONDS:
                self._turns.popleft()
            turn = now
            if len(self._turns) >= per_minute:
                turn = max(now, self._turns[-per_minute] + MINUTE_SECONDS)
            self._turns.append(turn)
            return turn

    def give_back(self, turn: float) -> None:
        """Return a turn that was not used."""
        with self._lock:
            if turn in self._turns:
                self._turns.remove(turn)

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds (at most 300): the provider asked for it."""
        with self._lock:
            until = self._monotonic() + min(seconds, LONGEST_HOLD_SECONDS)
            self._held_until = max(self._held_until, until)

    def hold_seconds(self) -> float:
        """How long the provider still wants to be left alone; 0 when it does not."""
        return max(0.0, self._held_until - self._monotonic())

    def seconds_until(self, turn: float) -> float:
        """How long it is until a reserved turn; 0 once it has come."""
        return max(0.0, turn - self._monotonic())


class Breaker:
    """Opens for 60 s after 5 failed calls in a row, then lets one call try; thread-safe."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._reason = ""
        self._open_until: float | None = None
        self._is_trying = False

    def admit(self) -> float | None:
        """None when a call may go; else the seconds until one may be tried."""
        with self._lock:
            if self._open_until is None:
                return None
            wait = self._open_until - self._monotonic()
            if wait > 0:
                return wait
            if self._is_trying:
                return 1.0
            self._is_trying = True
            return None

    def succeed(self) -> None:
        """A call was answered: close."""
        with self._lock:
            self._failures, self._open_until, self._is_trying = 0, None, False
            self._reason = ""

    def fail(self, reason: str = "") -> None:
        """A call failed in a way that may be the provider's trouble; `reason` says how."""
        with self._lock:
            self._failures += 1
            self._reason = reason
            self._is_trying = False
            if self._failures >= BREAKER_FAILURES:
                self._open_until = self._monotonic() + BREAKER_SECONDS

    def forget_trial(self) -> None:
        """A call ended without showing anything about the provider."""
        with self._lock:
            self._is_trying = False

    @property
    def reason(self) -> str:
        """How the last call failed, without secrets; empty after one that was answered."""
        return self._reason

    def describe(self) -> tuple[str, int, float, str]:
        """(`closed`, `open` or `half_open`; failures in a row; seconds until a try; reason)."""
        with self._lock:
            if self._open_until is None:
                return "closed", self._failures, 0.0, self._reason
            wait = max(0.0, self._open_until - self._monotonic())
            return ("open" if wait else "half_open"), self._failures, wait, self._reason


@dataclass(frozen=True, slots=True)
class BreakerState:
    """Where the breaker of one provider stands: `closed`, `open` or `half_open`.

    `reason` is how the last call failed, in the words of its error.
    """

    provider: str
    base_url: str
    state: str
    failures: int
    retry_in_seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """The budget and the breaker of one provider at one base address."""

    budget: RateBudget
    breaker: Breaker


_channels: dict[tuple[str, str], Channel] = {}
_channels_lock = threading.Lock()


def channel_to(provider: str, base_url: str) -> Channel:
    """The one channel of this process to that provider and address."""
    with _channels_lock:
        return _channels.setdefault((provider, base_url), Channel(RateBudget(), Breaker()))


def breaker_states() -> tuple[BreakerState, ...]:
    """The breakers of every provider this process has called so far, for pages and metrics."""
    with _channels_lock:
        channels = sorted(_channels.items())
    return tuple(
        BreakerState(provider, base_url, *channel.breaker.describe())
        for (provider, base_url), channel in channels
    )
