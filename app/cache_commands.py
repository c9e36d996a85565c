"""What is asked of Redis: each command once, in batches, with names in bytes."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from redis import Redis
from redis import exceptions as redis_errors

from app.cache_breaker import Changes
from app.cache_codec import UnreadableValue

Item = TypeVar("Item")
_BATCH = 100
_PROBE_LIFE_MS = 10_000


def forget(client: Redis, changes: Changes) -> int:
    """Remove what `changes` touches, without KEYS or FLUSHDB; returns how many keys went."""
    removed = sum(client.unlink(*map(_wire, batch)) for batch in _batches(changes.names))
    for prefix in changes.prefixes:
        removed += _sweep(client, prefix)
    return removed


def write_new(client: Redis, name: str, blob: bytes, ttl_seconds: int) -> bool:
    """Set `name` only where nothing is there yet; True where it was set."""
    return bool(client.set(_wire(name), blob, ex=ttl_seconds or None, nx=True))


def write(client: Redis, blobs: Mapping[str, bytes], ttl_seconds: int) -> bool:
    """Set all of `blobs` in pipelines of a hundred; True."""
    for batch in _batches(blobs):
        pipeline = client.pipeline(transaction=False)
        for name in batch:
            pipeline.set(_wire(name), blobs[name], ex=ttl_seconds or None)
        pipeline.execute()
    return True


def read(client: Redis, names: Sequence[str]) -> list[object]:
    """What Redis holds under `names`, None for nothing.

    Raises UnreadableValue where a single name holds a list or the like.
    """
    if len(names) != 1:
        return [blob for batch in _batches(names) for blob in client.mget(map(_wire, batch))]
    try:
        return [client.get(_wire(names[0]))]
    except redis_errors.ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            raise UnreadableValue("not a plain string in Redis") from None
        raise


def _sweep(client: Redis, prefix: str) -> int:
    escaped = "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in prefix)
    found = client.scan_iter(match=_wire(f"{escaped}*"), count=500)
    return sum(client.unlink(*batch) for batch in _batches(found))


def write_and_read_back(client: Redis) -> None:
    """Raise where Redis can't be written to or does not know what was just written."""
    token = str(time.perf_counter_ns()).encode()
    name = b"tapedeck:probe:" + token
    pipeline = client.pipeline(transaction=False)
    pipeline.set(name, token, px=_PROBE_LIFE_MS)
    pipeline.get(name)
    if pipeline.execute()[1] != token:
        raise ValueError("the probe read back something else")


def _wire(name: str) -> bytes:
    # A lone surrogate from a request must fail nothing here: it is only part of a name.
    return name.encode("utf-8", "surrogatepass")


def _batches(items: Collection[Item] | Iterator[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
