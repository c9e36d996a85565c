"""Plain keys: values that may change, answered by Redis, or by memory where there is none."""

from collections.abc import Mapping, Sequence

from app.cache_breaker import Changes, change_of
from app.cache_codec import Codec, UnreadableValue
from app.cache_commands import forget, write, write_new
from app.cache_memory import MemoryTier
from app.cache_remote import RedisAway, Remote


class PlainKeys:
    """Redis's word counts while it is there; `memory` begins empty with each outage.

    Nothing from before an outage is answered during it, as another process may have changed it;
    and what was changed during it is deleted in Redis before Redis is asked again.
    """

    def __init__(self, *, memory: MemoryTier, codec: Codec, remote: Remote | None) -> None:
        self._memory = memory
        self._codec = codec
        self._remote = remote

    def read(self, names: Sequence[str]) -> list[bytes | None]:
        """The stored values of `names` with sound headers, None where there is none."""
        if self._remote is None:
            return [self._memory.get(name) for name in names]
        try:
            answers = self._remote.read(names)
        except RedisAway:
            return [self._memory.get(name) for name in names]
        except UnreadableValue as error:
            self._codec.unreadable(names[0], error)
            return [None]
        return [self._sound(name, blob) for name, blob in zip(names, answers, strict=True)]

    def has(self, name: str) -> bool:
        """Whether anything is kept under `name`."""
        return any(blob is not None for blob in self.read([name]))

    def set(self, blobs: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        """Keep `blobs` for `ttl_seconds` (0: no end)."""

        def keep() -> None:
            for name, blob in blobs.items():
                self._memory.put(name, blob, ttl_seconds=ttl_seconds)

        if self._remote is None:
            keep()
        else:
            change = change_of(blobs.keys())
            self._remote.change(lambda client: write(client, blobs, ttl_seconds), change, keep)

    def add(self, name: str, blob: bytes, *, ttl_seconds: int) -> bool:
        """Keep `blob` only where nothing is kept under `name`; True where it was."""
        kept: list[bool] = []

        def keep() -> None:
            kept.append(self._memory.add(name, blob, ttl_seconds=ttl_seconds))

        if self._remote is None:
            keep()
            return kept[0]
        added = self._remote.change(
            lambda client: write_new(client, name, blob, ttl_seconds), change_of([name]), keep
        )
        return kept[0] if added is None else added

    def forget(self, changes: Changes) -> int:
        """Forget the names and beginnings of names in `changes`; returns how many went."""
        dropped: list[int] = []

        def drop() -> None:
            dropped.append(self._memory.drop(changes.names))
            dropped.extend(self._memory.drop_prefix(prefix) for prefix in changes.prefixes)

        if self._remote is None:
            drop()
            return sum(dropped)
        removed = self._remote.change(lambda client: forget(client, changes), changes, drop)
        return sum(dropped) if removed is None else removed

    def _sound(self, name: str, blob: object) -> bytes | None:
        if self._codec.header(name, blob) is None:
            return None
        return blob if isinstance(blob, bytes) else None
