"""The breaker of the cache: whether Redis is asked or memory answers, and what Redis missed."""

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import Lock

from app.metrics_counting import observe_cache_mode

logger = logging.getLogger(__name__)

_MAX_LOST_NAMES = 10_000


class CacheMode(StrEnum):
    """Who answers: Redis as configured, memory as configured, or memory in Redis's place."""

    REDIS = "redis"
    MEMORY = "memory"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class CacheState:
    """The mode of this process's cache, since when (aware UTC), and why in a few words."""

    mode: CacheMode
    since: datetime
    reason: str = ""


@dataclass(slots=True)
class Changes:
    """Names that were set or deleted, and beginnings of names that were swept."""

    names: set[str] = field(default_factory=set)
    prefixes: set[str] = field(default_factory=set)

    def add(self, other: "Changes") -> None:
        """Take in `other`."""
        self.names |= other.names
        self.prefixes |= other.prefixes

    def clear(self) -> None:
        """Forget them."""
        self.names.clear()
        self.prefixes.clear()

    def __bool__(self) -> bool:
        return bool(self.names or self.prefixes)


def change_of(names: Collection[str]) -> Changes:
    """The change that touches `names`."""
    return Changes(names=set(names))


@dataclass(frozen=True, slots=True)
class Patience:
    """When the breaker opens for slowness, and when it looks again; all in seconds.

    It opens after `slow_calls` answers in a row that each took longer than `slow_call_seconds`
    (after an error at once) and allows one probe every `probe_after_seconds`.
    """

    probe_after_seconds: float = 1.0
    slow_call_seconds: float = 0.05
    slow_calls: int = 3


class Breaker:
    """Closed, Redis is asked; open, memory answers, until a probe found Redis well again.

    While it is open it remembers what was changed in memory only, so that Redis can be told before
    it is believed again; where that is too much, `everything` (a beginning of names) stands for it.
    `clock` counts seconds and never goes back; `now` is the wall clock.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        everything: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._patience = patience
        self._everything = everything
        self._clock = clock
        self._now = now
        self._lock = Lock()
        self._lost = Changes()
        self._slow_streak = 0
        self._probe_at = 0.0
        self._is_probing = False
        self.is_open = False
        self.opening_count = 0
        self._state = CacheState(CacheMode.REDIS, now())

    @property
    def state(self) -> CacheState:
        """The mode, since when, and the reason of the last failure while it is open."""
        return self._state

    def answered(self, seconds: float) -> None:
        """Redis answered after `seconds`; opens when it keeps being slow."""
        if seconds < self._patience.slow_call_seconds:
            self._slow_streak = 0
            return
        self._slow_streak += 1
        if self._slow_streak >= self._patience.slow_calls:
            # A busy process looks like a slow Redis: let a probe, free of that, decide at once.
            self.open("slow answers", wait_seconds=0)

    def is_too_slow(self, seconds: float) -> bool:
        """True where a probe that took so long does not speak for Redis."""
        return seconds >= self._patience.slow_call_seconds

    def open(
        self,
        reason: str,
        *,
        lost: Changes | None = None,
        keep: Callable[[], None] | None = None,
        wait_seconds: float | None = None,
    ) -> None:
        """Stop asking Redis. `lost` did not reach it; `keep` stores it in memory instead."""
        wait = self._patience.probe_after_seconds if wait_seconds is None else wait_seconds
        with self._lock:
            was_open, self.is_open = self.is_open, True
            self._note(lost, keep)
            if was_open:
                return
            self._slow_streak = 0
            self._probe_at = self._clock() + wait
            self.opening_count += 1
            self._state = CacheState(CacheMode.FALLBACK, self._now(), reason)
        observe_cache_mode(CacheMode.FALLBACK, self._state.since)
        logger.warning("cache fell back to memory", extra={"reason": reason})

    def keep_while_open(self, change: Changes, keep: Callable[[], None]) -> bool:
        """While open: note `change`, call `keep` and say True. While closed: do nothing."""
        if not self.is_open:
            return False
        with self._lock:
            if self.is_open:
                self._note(change, keep)
            return self.is_open

    def claim_probe(self) -> bool:
        """True for the one caller who is to look now whether Redis is back."""
        if not self.is_open or self._clock() < self._probe_at:
            return False
        with self._lock:
            if not self.is_open or self._is_probing:
                return False
            self._is_probing = True
            return True

    def probe_failed(self, reason: str, *, lost: Changes | None = None) -> None:
        """Stay open and look again later; `lost` goes back among what Redis missed."""
        with self._lock:
            self._note(lost, None)
            self._is_probing = False
            self._probe_at = self._clock() + self._patience.probe_after_seconds
            self._state = CacheState(CacheMode.FALLBACK, self._state.since, reason)

    def take_lost(self) -> Changes:
        """What Redis missed so far; the caller now answers for it."""
        with self._lock:
            lost, self._lost = self._lost, Changes()
            return lost

    def close(self, on_close: Callable[[], None]) -> bool:
        """Ask Redis again, unless it missed something more meanwhile; `on_close` comes first."""
        with self._lock:
            if self._lost:
                return False
            on_close()
            away_since = self._state.since
            self._state = CacheState(CacheMode.REDIS, self._now())
            self._slow_streak = 0
            self._is_probing = False
            self.is_open = False
        observe_cache_mode(CacheMode.REDIS, self._state.since)
        away_seconds = (self._state.since - away_since).total_seconds()
        logger.info("cache is back on redis", extra={"away_seconds": round(away_seconds, 3)})
        return True

    def _note(self, lost: Changes | None, keep: Callable[[], None] | None) -> None:
        if lost is not None:
            self._lost.add(lost)
        if len(self._lost.names) > _MAX_LOST_NAMES:
            self._lost = Changes(prefixes={self._everything})
        if keep is not None:
            keep()
