"""Names, lifetimes and generations of what is cached, and the one way to read through it."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy.engine import make_url

from app.cache_backend import TieredCache
from app.cache_breaker import CacheMode, CacheState
from app.cache_codec import MISS
from app.cache_flight import SingleFlight
from app.extensions import cache
from app.metrics_counting import observe_cache_read
from app.settings import Settings

__all__ = [
    "CacheKey",
    "CacheMode",
    "CacheState",
    "Entry",
    "cache_config",
    "key",
    "lifetime_seconds",
    "mode",
    "read_bytes_through",
    "read_through",
    "read_value_through",
    "store",
]

CacheKey = NewType("CacheKey", str)
Scalar: TypeAlias = str | int | bool | Decimal | datetime | UUID | None
Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
Value = TypeVar("Value")

_GENERATION = re.compile(r"[\w.-]{1,120}", re.ASCII)


class Entry(StrEnum):
    """What is kept; the first word of every key."""

    OVERVIEW = "overview"
    LATEST_SNAPSHOTS = "latest-snapshots"
    MARKETS = "markets"
    MARKET = "market"
    CANDLES = "candles"
    COMPARISONS = "comparisons"
    ROI_STATISTICS = "roi-statistics"
    RUNS = "runs"
    RUN = "run"
    QUALITY = "quality"


# What judges data by the clock ("late", "3 minutes ago") ages though no data changes.
_LONGEST_SECONDS: Mapping[Entry, int] = {Entry.OVERVIEW: 5, Entry.QUALITY: 30}


def key(entry: Entry, *, generation: str, **parts: Scalar | Sequence[Scalar]) -> CacheKey:
    """The pinned key of `entry` as it is at `generation`, at most 180 characters.

    `generation` names the state of the data that the value is made from: it must change, never to
    come back, with every commit that touches that data, and must have been read from the database
    before the value is built. Join several (`f"{snapshots}.{runs}"`) where a value is made from
    several kinds of data. `parts` are all that the value depends on besides: validated filters,
    cursor, face. Raises ValueError for a generation that is no plain word.
    """
    if not _GENERATION.fullmatch(generation):
        raise ValueError("a generation is 1 to 120 letters, digits, dots, dashes or underscores")
    canonical = msgspec.json.encode(sorted(parts.items()))
    digest = hashlib.blake2b(canonical, digest_size=16).hexdigest()
    return CacheKey(f"{entry}:{generation}:{digest}")


def lifetime_seconds(entry: Entry, *, ttl_seconds: int) -> int:
    """How long `entry` may be served: `ttl_seconds` (CACHE_TTL_SECONDS), less where it ages."""
    return min(ttl_seconds, _LONGEST_SECONDS.get(entry, ttl_seconds))


def read_through(key: CacheKey, *, ttl_seconds: int, build: Callable[[], Json]) -> Any:
    """The JSON value of `key`, else what `build` returns, then kept for `ttl_seconds`.

    Threads that miss at the same time build once and share the outcome, an exception included; it
    is not kept. The value is shared: do not change it.
    """
    return _read(key, Any, ttl_seconds, build)


def read_bytes_through(key: CacheKey, *, ttl_seconds: int, build: Callable[[], bytes]) -> bytes:
    """Like `read_through`, for a finished body."""
    return _read(key, bytes, ttl_seconds, build)


def read_value_through(
    key: CacheKey, *, kind: type[Value], ttl_seconds: int, build: Callable[[], Value]
) -> Value:
    """Like `read_through`, for a frozen dataclass `kind` of exact decimals, instants and such."""
    return _read(key, kind, ttl_seconds, build)


def store(values: Mapping[CacheKey, object], *, ttl_seconds: int) -> None:
    """Keep values made in advance, such as those of the generation a run has just committed."""
    named = {str(key): value for key, value in values.items()}
    _backend().set_pinned_many(named, ttl_seconds=ttl_seconds)


def mode() -> CacheState:
    """Who answers this process's cache, since when and why."""
    return _backend().state()


def cache_config(settings: Settings, *, database_url: str) -> dict[str, object]:
    """The Flask configuration of the cache.

    The keys of deployments that share one Redis are kept apart by their databases.
    """
    return {
        "CACHE_TYPE": "app.cache_backend.TieredCache",
        "CACHE_REDIS_URL": settings.redis_url,
        "CACHE_KEY_PREFIX": f"tapedeck:{_database_digest(database_url)}:",
        "CACHE_DEFAULT_TIMEOUT": settings.cache_ttl_seconds,
    }


_flights = SingleFlight()


def _read(key: CacheKey, kind: Any, ttl_seconds: int, build: Callable[[], Value]) -> Value:
    backend = _backend()
    found: Any = backend.peek_pinned(key, kind=kind)
    if found is not MISS:
        observe_cache_read("memory")
        return found  # type: ignore[no-any-return]
    subject = (backend, key)
    return _flights.share(subject, lambda: _fetch_or_build(backend, key, kind, ttl_seconds, build))


def _fetch_or_build(
    backend: TieredCache, key: CacheKey, kind: Any, ttl_seconds: int, build: Callable[[], Value]
) -> Value:
    found: Any = backend.get_pinned(key, kind=kind)
    if found is not MISS:
        observe_cache_read("redis")
        return found  # type: ignore[no-any-return]
    observe_cache_read("built")
    value = build()
    backend.set_pinned(key, value, ttl_seconds=ttl_seconds)
    return value


def _backend() -> TieredCache:
    backend: object = cache.cache
    if not isinstance(backend, TieredCache):
        raise TypeError("CACHE_TYPE must be app.cache_backend.TieredCache")
    return backend


def _database_digest(database_url: str) -> str:
    """Tells databases apart without giving away user or password."""
    url = make_url(database_url)
    place = f"{url.host}:{url.port}/{url.database}?{sorted(url.query.items())}"
    return hashlib.blake2b(place.encode(), digest_size=4).hexdigest()
