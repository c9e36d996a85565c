"""Pinned keys: values that never change under their key, in memory in front of Redis."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.cache_codec import MISS, Codec, UnreadableValue, now_ms
from app.cache_memory import MemoryTier
from app.cache_remote import RedisAway, Remote


class PinnedKeys:
    """A value may be answered from any tier and process, since its key names its generation."""

    def __init__(self, *, memory: MemoryTier, codec: Codec, remote: Remote | None) -> None:
        self._memory = memory
        self._codec = codec
        self._remote = remote

    def peek(self, name: str, kind: Any) -> Any:
        """What memory holds under `name`, decoded as `kind`, or MISS."""
        blob = self._memory.get(name)
        return MISS if blob is None else self._value(name, blob, kind)

    def get_many(self, names: Sequence[str], kind: Any) -> list[Any]:
        """The values of `names` decoded as `kind`, MISS where none is kept."""
        blobs = {name: self._memory.get(name) for name in names}
        missing = [name for name, blob in blobs.items() if blob is None]
        if missing and self._remote is not None:
            blobs |= self._fetch(missing, self._remote)
        return [self._value(name, blobs[name], kind) for name in names]

    def set_many(self, values: Mapping[str, object], *, ttl_seconds: int) -> None:
        """Keep `values` in memory and, as far as it is there, in Redis."""
        blobs = self._codec.encoded(values, ttl_seconds=ttl_seconds)
        for name, blob in blobs.items():
            self._memory.put(name, blob, ttl_seconds=ttl_seconds)
        if blobs and self._remote is not None:
            self._remote.write(blobs, ttl_seconds=ttl_seconds)

    def clear(self) -> None:
        """Forget what this process holds."""
        self._memory.clear()

    def _fetch(self, names: list[str], remote: Remote) -> dict[str, bytes | None]:
        """What Redis holds under `names`, kept in memory for the rest of its life."""
        try:
            answers = remote.read(names)
        except RedisAway:
            return {}
        except UnreadableValue as error:
            self._codec.unreadable(names[0], error)
            return {}
        return {name: self._adopt(name, blob) for name, blob in zip(names, answers, strict=True)}

    def _adopt(self, name: str, blob: object) -> bytes | None:
        header = self._codec.header(name, blob)
        if header is None or not isinstance(blob, bytes):
            return None
        self._memory.put(name, blob, ttl_seconds=header.seconds_left(now_ms()))
        return blob

    def _value(self, name: str, blob: bytes | None, kind: Any) -> Any:
        value = self._codec.decoded(name, blob, kind)
        if value is MISS and blob is not None:
            self._memory.drop([name])
        return value
