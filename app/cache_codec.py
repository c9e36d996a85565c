"""How a cached value looks outside Python: one header line, then JSON, text or bytes; no pickle."""

import logging
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

logger = logging.getLogger(__name__)

# What stands for "nothing is kept": None is a value like any other.
MISS: Final = object()

# `1`, the kind of the body, the end of its life in ms since 1970 (12 hex digits, 0 is none), the
# CRC-32 of its name (8 hex digits) and a newline: readable in redis-cli, and of fixed length.
_VERSION = b"1"
_JSON, _TEXT, _BYTES = b"j", b"t", b"b"
_HEADER_LENGTH = 23
_MAX_REPORTED_NAMES = 256


class UnreadableValue(Exception):
    """A stored value is not one of ours; the message says why, without the value."""


class UnstorableValue(Exception):
    """A value that JSON can't carry was handed to the cache."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line of a stored value says; `expires_at_ms` 0 means that it never ends."""

    kind: bytes
    expires_at_ms: int

    def seconds_left(self, now_ms: int) -> float:
        """How long the value may still be served; 0 for one without an end."""
        return max(0.001, (self.expires_at_ms - now_ms) / 1000) if self.expires_at_ms else 0


def encode(name: str, value: object, *, expires_at_ms: int) -> bytes:
    """The stored form of `value` under `name`. Raises UnstorableValue.

    Bytes and text are kept as they are. Everything else becomes JSON as msgspec writes it, so
    dataclasses, decimals and instants are allowed; `decode` with their type brings them back.
    """
    kind, body = _body(value)
    return b"%b%b%012x%08x\n%b" % (_VERSION, kind, expires_at_ms, _checksum(name), body)


def read_header(name: str, blob: object) -> Header:
    """Check that `blob` was written under `name` by `encode`. Raises UnreadableValue."""
    if not isinstance(blob, bytes):
        raise UnreadableValue(f"a {type(blob).__name__} instead of bytes")
    if blob[:1] != _VERSION or blob[_HEADER_LENGTH - 1 : _HEADER_LENGTH] != b"\n":
        raise UnreadableValue("not in the form this version writes")
    try:
        expires_at_ms, checksum = int(blob[2:14], 16), int(blob[14:22], 16)
    except ValueError:
        raise UnreadableValue("a damaged header") from None
    # A client library that loses count of its replies hands out another key's value.
    if checksum != _checksum(name):
        raise UnreadableValue("the value of another key")
    return Header(kind=blob[1:2], expires_at_ms=expires_at_ms)


def decode(blob: bytes, kind: Any = Any) -> Any:
    """The value in `blob`, whose header was checked; `kind` is the type expected of it.

    Raises UnreadableValue where the body is damaged or of another type.
    """
    body = blob[_HEADER_LENGTH:]
    try:
        if blob[1:2] == _JSON:
            return _decoder(kind)(body)
        value = body.decode() if blob[1:2] == _TEXT else body
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise UnreadableValue("a damaged body") from None
    if blob[1:2] not in (_TEXT, _BYTES) or kind not in (Any, type(value)):
        raise UnreadableValue("a value of another type")
    return value


class Codec:
    """`encode` and `decode` for callers who must not fail: each trouble is logged once per name.

    Values that take more than `max_value_bytes` are not stored.
    """

    def __init__(self, *, max_value_bytes: int) -> None:
        self._max_value_bytes = max_value_bytes
        self._reported: set[str] = set()

    def encoded(self, values: Mapping[str, object], *, ttl_seconds: int) -> dict[str, bytes]:
        """The stored forms of `values` by name, without those that can't be stored."""
        expires_at_ms = now_ms() + ttl_seconds * 1000 if ttl_seconds else 0
        blobs: dict[str, bytes] = {}
        for name, value in values.items():
            try:
                blob = encode(name, value, expires_at_ms=expires_at_ms)
            except UnstorableValue as error:
                self._report("cache value not storable", name, error)
                continue
            if len(blob) <= self._max_value_bytes:
                blobs[name] = blob
            else:
                self._report("cache value too big", name, f"{len(blob)} bytes")
        return blobs

    def header(self, name: str, blob: object) -> Header | None:
        """The header of what Redis gave for `name`; None where that is not one of our values."""
        try:
            return read_header(name, blob) if blob is not None else None
        except UnreadableValue as error:
            self.unreadable(name, error)
            return None

    def decoded(self, name: str, blob: bytes | None, kind: Any = Any) -> Any:
        """The value in `blob`, whose header was checked, or MISS."""
        if blob is None:
            return MISS
        try:
            return decode(blob, kind)
        except UnreadableValue as error:
            self.unreadable(name, error)
            return MISS

    def unreadable(self, name: str, error: UnreadableValue) -> None:
        """Say once that the value of `name` can't be read."""
        self._report("cache value unreadable", name, error)

    def _report(self, event: str, name: str, problem: object) -> None:
        if name in self._reported or len(self._reported) >= _MAX_REPORTED_NAMES:
            return
        self._reported.add(name)
        logger.warning(event, extra={"cache_key": name, "problem": str(problem)})


def now_ms() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _body(value: object) -> tuple[bytes, bytes]:
    if isinstance(value, bytes):
        return _BYTES, value
    try:
        if isinstance(value, str):
            return _TEXT, value.encode()
        return _JSON, msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UnstorableValue(f"{type(value).__name__}: {error}") from None


def _checksum(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=128)
def _decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode
