"""The Flask-Caching backend of ours: Redis or Valkey with memory beside it, or memory alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from flask import Flask
from flask_caching.backends.base import BaseCache
from pydantic import SecretStr

from app.cache_breaker import CacheMode, CacheState, Changes, change_of
from app.cache_codec import MISS, Codec
from app.cache_memory import MemoryTier
from app.cache_pinned import PinnedKeys
from app.cache_plain import PlainKeys
from app.cache_remote import Remote, RemoteLimits
from app.errors import SettingsError


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """The room that each of the two memory tiers may take, and how patient we are with Redis."""

    max_entries: int = 5_000
    max_bytes: int = 32 * 1024 * 1024
    max_value_bytes: int = 2 * 1024 * 1024
    remote: RemoteLimits = field(default_factory=RemoteLimits)

    def memory_tier(self) -> MemoryTier:
        """An empty tier within these limits."""
        return MemoryTier(max_entries=self.max_entries, max_bytes=self.max_bytes)


class TieredCache(BaseCache):
    """A cache of JSON values, text and bytes; whatever happens to Redis, no call raises.

    There are two kinds of keys:

    *Pinned* keys carry the generation of the data they were made from, so a value under one never
    changes. They are answered from memory first, then from Redis, and need no invalidation: after
    a change the new generation is simply another key. No outage can make them serve old data.

    *Plain* keys (the Flask-Caching interface: `get`, `set`, `delete` …) are answered by Redis, so
    that all processes agree. While Redis is away this process answers from what it set since then;
    when Redis is back it is first told what it missed. Without `url` both live in memory only.

    `prefix` begins every name in Redis and separates deployments that share one server. Raises
    SettingsError for an unusable `url` or an empty `prefix`; it connects at the first call.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        prefix: str = "tapedeck:",
        default_timeout: int = 300,
        limits: CacheLimits | None = None,
    ) -> None:
        super().__init__(default_timeout=default_timeout, ignore_delete_many_errors=True)
        if not prefix:
            raise SettingsError(["The prefix of the cache keys must not be empty."])
        limits = limits or CacheLimits()
        self._prefix = prefix
        self._since = datetime.now(UTC)
        self._codec = Codec(max_value_bytes=limits.max_value_bytes)
        self._remote: Remote | None = None
        memory = limits.memory_tier()
        if url:
            self._remote = Remote(url, limits.remote, prefix=prefix, on_recovery=memory.clear)
        self._pinned = PinnedKeys(
            memory=limits.memory_tier(), codec=self._codec, remote=self._remote
        )
        self._plain = PlainKeys(memory=memory, codec=self._codec, remote=self._remote)

    @classmethod
    def factory(
        cls, app: Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> Self:
        """Build from `CACHE_REDIS_URL`, `CACHE_KEY_PREFIX` and `CACHE_DEFAULT_TIMEOUT`.

        `CACHE_OPTIONS` may hold `limits`.
        """
        url = config.get("CACHE_REDIS_URL")
        return cls(
            url=url.get_secret_value() if isinstance(url, SecretStr) else url,
            prefix=config["CACHE_KEY_PREFIX"],
            default_timeout=config["CACHE_DEFAULT_TIMEOUT"],
            limits=kwargs.get("limits"),
        )

    # Pinned keys

    def get_pinned(self, key: str, *, kind: Any = Any) -> Any:
        """The value of a pinned key, decoded as `kind`, or MISS."""
        return self.get_pinned_many([key], kind=kind)[0]

    def get_pinned_many(self, keys: Sequence[str], *, kind: Any = Any) -> list[Any]:
        """The values of `keys` in their order, MISS where none is kept; one call to Redis."""
        return self._pinned.get_many([f"{self._prefix}g:{key}" for key in keys], kind)

    def peek_pinned(self, key: str, *, kind: Any = Any) -> Any:
        """What this process's memory holds under a pinned key, decoded as `kind`, or MISS."""
        return self._pinned.peek(f"{self._prefix}g:{key}", kind)

    def set_pinned(self, key: str, value: object, *, ttl_seconds: int) -> None:
        """Keep `value` under a pinned key for `ttl_seconds` (at least 1)."""
        self.set_pinned_many({key: value}, ttl_seconds=ttl_seconds)

    def set_pinned_many(self, values: Mapping[str, object], *, ttl_seconds: int) -> None:
        """Keep all of `values`, in Redis by one pipeline; what can't be stored is logged."""
        named = {f"{self._prefix}g:{key}": value for key, value in values.items()}
        self._pinned.set_many(named, ttl_seconds=max(1, ttl_seconds))

    # Plain keys: the interface of Flask-Caching

    def get(self, key: str) -> Any:
        """The value of `key`, or None."""
        return self.get_many(key)[0]

    def get_many(self, *keys: str) -> list[Any]:
        """The values of `keys` in their order, None where there is none; one call to Redis."""
        names = [self._plain_name(key) for key in keys]
        found = zip(names, self._plain.read(names), strict=True)
        values = [self._codec.decoded(name, blob) for name, blob in found]
        return [None if value is MISS else value for value in values]

    def has(self, key: str) -> bool:
        """Whether `key` has a value."""
        return self._plain.has(self._plain_name(key))

    def set(self, key: str, value: object, timeout: int | timedelta | None = None) -> bool:
        """Keep `value` for `timeout` seconds (0: no end); False where it can't be stored."""
        return bool(self.set_many({key: value}, timeout))

    def set_many(
        self, mapping: Mapping[str, object], timeout: int | timedelta | None = None
    ) -> list[str]:
        """Keep all of `mapping`, in Redis by pipeline; returns the keys that were kept.

        A key whose value can't be stored is forgotten: its old value is no longer true.
        """
        ttl_seconds = self._normalize_timeout(timeout)
        values = {self._plain_name(key): value for key, value in mapping.items()}
        blobs = self._codec.encoded(values, ttl_seconds=ttl_seconds) if ttl_seconds >= 0 else {}
        if len(blobs) < len(values):
            self._plain.forget(change_of(values.keys() - blobs.keys()))
        if blobs:
            self._plain.set(blobs, ttl_seconds=ttl_seconds)
        return [key for key in mapping if self._plain_name(key) in blobs]

    def add(self, key: str, value: object, timeout: int | timedelta | None = None) -> bool:
        """Like `set`, but an existing value stays and makes it False."""
        ttl_seconds = self._normalize_timeout(timeout)
        name = self._plain_name(key)
        blobs = self._codec.encoded({name: value}, ttl_seconds=ttl_seconds)
        if ttl_seconds < 0 or not blobs:
            return False
        return self._plain.add(name, blobs[name], ttl_seconds=ttl_seconds)

    def delete(self, key: str) -> bool:
        """Forget `key`; True where Redis, or memory in its place, held it."""
        return bool(self._plain.forget(change_of([self._plain_name(key)])))

    def delete_many(self, *keys: str) -> list[str]:
        """Forget `keys` in one call to Redis; returns them all, as none is left."""
        if keys:
            self._plain.forget(change_of([self._plain_name(key) for key in keys]))
        return list(keys)

    def delete_prefix(self, beginning: str) -> int:
        """Forget the plain keys that begin so; returns how many went. SCAN and UNLINK: rare use."""
        return self._plain.forget(Changes(prefixes={self._plain_name(beginning)}))

    def clear(self) -> bool:
        """Forget every key of this deployment in Redis and in this process's memory."""
        self._pinned.clear()
        self._plain.forget(Changes(prefixes={self._prefix}))
        return True

    # What watches and ends it

    def state(self) -> CacheState:
        """Who answers, since when and why; also looks whether Redis is back, where that is due."""
        if self._remote is None:
            return CacheState(CacheMode.MEMORY, self._since)
        self._remote.probe_when_due()
        return self._remote.breaker.state

    @property
    def fallback_count(self) -> int:
        """How often this process fell back to memory since it started."""
        return self._remote.breaker.opening_count if self._remote else 0

    def close(self) -> None:
        """Give the connections to Redis back."""
        if self._remote is not None:
            self._remote.close()

    def _plain_name(self, key: str) -> str:
        return f"{self._prefix}p:{key}"
