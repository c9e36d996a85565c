"""Threads that use the product's cache while somebody else makes the weather; what they feel."""

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from app.cache_backend import TieredCache
from app.cache_breaker import CacheMode
from app.cache_commands import read
from app.cache_remote import Remote, RemoteLimits

THREADS = 16
SLOW_SECONDS = 0.05
EVERY_SECONDS = 0.05
CALM_SECONDS, WATCH_SECONDS = 1.0, 10.0
COST_ROUNDS, COST_READS = 5, 2000
# The name of the weather in which nothing is wrong.
CALM = "PASS"
_pause = threading.Event()


@dataclass(frozen=True, slots=True)
class PhaseFelt:
    """What the callers felt of it; `back_seconds` is how long after it Redis is asked again."""

    name: str
    calls: int
    slow: int
    was_cold: bool
    opened: bool
    back_seconds: float


@dataclass(slots=True)
class Felt:
    """Everything that was felt."""

    phases: list[PhaseFelt] = field(default_factory=list)
    errors: int = 0
    cost_micros: float = 0.0


class Callers:
    """Threads that read and write all the time and note how long each call took."""

    def __init__(self, cache: TieredCache) -> None:
        self.errors = 0
        self._cache = cache
        self._stop = threading.Event()
        self._took: list[list[tuple[float, float]]] = [[] for _ in range(THREADS)]
        self._threads = [
            threading.Thread(target=self._call_on, args=(number,)) for number in range(THREADS)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, once every call has come back."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def calls(self, start: float, end: float) -> list[float]:
        """The seconds of every call that began in that time."""
        return [took for one in self._took for began, took in one if start <= began < end]

    def _call_on(self, number: int) -> None:
        cache, turn = self._cache, 0
        while not self._stop.wait(EVERY_SECONDS):
            turn += 1
            for call, arguments in (
                (cache.get, (f"k{turn % 20}",)),
                (cache.set, (f"k{number}", turn)),
                (cache.get_pinned, (f"q{number}:{turn}",)),
            ):
                began = time.monotonic()
                try:
                    call(*arguments)
                except Exception:
                    self.errors += 1
                self._took[number].append((began, time.monotonic() - began))


def feel_weather(
    weather_url: str, calm_url: str, sky: Connection, kinds: Sequence[str], seconds: float
) -> Felt:
    """Use the cache in each kind of weather; then the cost of its breaker, on a calm way to Redis.

    `sky` is told the name of the weather that is to be made, and answers when it is there.
    """
    felt = Felt()
    with closing(TieredCache(url=weather_url, prefix="callers:")) as cache:
        for number in range(20):
            cache.set(f"k{number}", number)
        callers = Callers(cache)
        callers.start()
        for kind in kinds:
            felt.phases.append(_feel(cache, callers, sky, kind, seconds))
        callers.stop()
        felt.errors = callers.errors
    felt.cost_micros = breaker_cost(calm_url)
    return felt


def _feel(
    cache: TieredCache, callers: Callers, sky: Connection, kind: str, seconds: float
) -> PhaseFelt:
    was_cold, opened = _await_calm(cache), cache.fallback_count
    start = time.monotonic()
    _make(sky, kind)
    _pause.wait(seconds)
    end = time.monotonic()
    # A process that was busy itself may have opened it before: only what happened since counts.
    has_opened = cache.fallback_count > opened
    _make(sky, CALM)
    while cache.state().mode is not CacheMode.REDIS and time.monotonic() < end + WATCH_SECONDS:
        _pause.wait(0.005)
    back = time.monotonic() - end
    took = callers.calls(start, end)
    slow = sum(one > SLOW_SECONDS for one in took)
    return PhaseFelt(kind, len(took), slow, was_cold, has_opened, back)


def _make(sky: Connection, kind: str) -> None:
    sky.send(kind)
    sky.recv()


def _await_calm(cache: TieredCache) -> bool:
    """Whether the breaker stayed closed for a while, which is waited for."""
    give_up_at = time.monotonic() + 30
    calm_since, seen = time.monotonic(), cache.fallback_count
    while time.monotonic() < give_up_at:
        is_open = cache.state().mode is not CacheMode.REDIS
        if is_open or cache.fallback_count != seen:
            calm_since, seen = time.monotonic(), cache.fallback_count
        if time.monotonic() > calm_since + CALM_SECONDS:
            return True
        _pause.wait(0.01)
    return False


def breaker_cost(url: str) -> float:
    """Microseconds that a read costs more through the closed breaker, by medians in turns."""
    remote = Remote(url, RemoteLimits(), prefix="cost:", on_recovery=lambda: None)
    names = ["cost:p:none"]
    more: list[float] = []
    for _ in range(COST_ROUNDS):
        bare: list[float] = []
        whole: list[float] = []
        for _ in range(COST_READS):
            began = time.perf_counter()
            read(remote._client, names)
            between = time.perf_counter()
            remote.read(names)
            whole.append(time.perf_counter() - between)
            bare.append(between - began)
        more.append(statistics.median(whole) - statistics.median(bare))
    remote.close()
    return 1e6 * statistics.median(more)
