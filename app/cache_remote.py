"""Redis as the cache sees it: few short calls at a time, every failure named, probes beside."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from redis import ConnectionPool, Redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from app.cache_breaker import Breaker, Changes, Patience
from app.cache_commands import forget, read, write, write_and_read_back
from app.errors import SettingsError

Answer = TypeVar("Answer")
_RECOVERY_ROUNDS = 5

# Not only redis-py's own errors: its parser raises plain ones where the answer is no Redis reply.
_FAULTS = (
    redis_errors.RedisError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
)
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.AuthenticationError, "access refused"),
    (redis_errors.NoPermissionError, "access refused"),
    (redis_errors.BusyLoadingError, "still loading"),
    (redis_errors.TimeoutError, "no answer in time"),
    (TimeoutError, "no answer in time"),
    (redis_errors.ReadOnlyError, "read-only"),
    (redis_errors.OutOfMemoryError, "out of memory"),
    (redis_errors.ResponseError, "command refused"),
    (redis_errors.ConnectionError, "connection lost"),
    (OSError, "connection lost"),
)


class RedisAway(Exception):
    """Redis was not asked or did not answer; memory has to. Never leaves the cache."""


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """How long and how often Redis is asked; all durations in seconds.

    `connections` bounds the calls in flight, and with them those that a Redis falling silent can
    hold up. A reader that finds all taken for `read_wait_seconds` makes do with memory; a writer
    of plain keys waits up to `write_wait_seconds`, as Redis must not be left with an old value.
    """

    timeout_seconds: float = 0.2
    connections: int = 3
    read_wait_seconds: float = 0.02
    write_wait_seconds: float = 0.04
    patience: Patience = field(default_factory=Patience)


def reason_of(error: Exception) -> str:
    """A few words for people; nothing of the error's own text, which may hold an address."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return f"unintelligible answer ({type(error).__name__})"


def connect(url: str, limits: RemoteLimits) -> "Redis":
    """A client that fails fast and never tries twice. Raises SettingsError; connects later."""
    fixed = {
        "socket_timeout": limits.timeout_seconds,
        "socket_connect_timeout": limits.timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": limits.connections + 1,
        # No greeting but AUTH and SELECT: every round trip of it could cost one timeout more.
        "protocol": 2,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "decode_responses": False,
    }
    _refuse_what_redis_py_guesses(url)
    try:
        given = parse_url(url)  # type: ignore[no-untyped-call]
        return Redis(connection_pool=ConnectionPool(**{**given, **fixed}))
    except (ValueError, TypeError, redis_errors.RedisError):
        raise SettingsError(["REDIS_URL is not a usable Redis address."]) from None


def _refuse_what_redis_py_guesses(url: str) -> None:
    """It would take database 0 for one that is no number, and find a socket without a path late."""
    scheme, _, rest = url.partition("://")
    path = rest.partition("?")[0].rpartition("@")[2].partition("/")[2].strip("/")
    if scheme == "unix" and not path:
        raise SettingsError(["REDIS_URL must hold the path of the socket: unix:///path."])
    if scheme != "unix" and path and not (path.isascii() and path.isdigit()):
        raise SettingsError(["REDIS_URL must end with the number of a database, such as /0."])


class Remote:
    """The Redis or Valkey server behind its breaker.

    All names begin with `prefix`; `on_recovery` runs just before Redis is asked again.
    """

    def __init__(
        self, url: str, limits: RemoteLimits, *, prefix: str, on_recovery: Callable[[], None]
    ) -> None:
        self.breaker = Breaker(limits.patience, everything=prefix)
        self._limits = limits
        self._client = connect(url, limits)
        self._on_recovery = on_recovery
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(limits.connections):
            self._slots.put(None)

    def read(self, names: Sequence[str]) -> list[object]:
        """What Redis holds under `names`, in one round trip; None for nothing.

        Raises RedisAway, and UnreadableValue where a single name holds a list or the like.
        """
        if not self._enter():
            raise RedisAway
        return self._call(lambda: read(self._client, names))

    def write(self, blobs: Mapping[str, bytes], *, ttl_seconds: int) -> None:
        """Set `blobs` to live for `ttl_seconds` (0: no end), as far as Redis is there."""
        if not self._enter():
            return
        try:
            self._call(lambda: write(self._client, blobs, ttl_seconds))
        except RedisAway:
            return

    def change(
        self, work: Callable[["Redis"], Answer], change: Changes, keep: Callable[[], None]
    ) -> Answer | None:
        """Do `work`, or `keep` in memory what it changes and tell Redis when it is back.

        Returns what `work` returned, None where it was not done.
        """
        if self.breaker.keep_while_open(change, keep):
            self.probe_when_due()
            return None
        if not self._take_slot(self._limits.write_wait_seconds):
            self.breaker.open("too busy", lost=change, keep=keep, wait_seconds=0)
            return None
        if self.breaker.keep_while_open(change, keep):
            self._slots.put(None)
            return None
        try:
            return self._call(lambda: work(self._client), lost=change, keep=keep)
        except RedisAway:
            return None

    def probe_when_due(self) -> None:
        """Look whether Redis is back, in a thread of its own: no caller waits for it."""
        if not self.breaker.claim_probe():
            return
        try:
            Thread(target=self._probe, name="cache-probe", daemon=True).start()
        except RuntimeError:
            self.breaker.probe_failed("no thread to probe with")

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _enter(self) -> bool:
        """Take a slot for a call that memory can stand in for; False where it has to."""
        if self.breaker.is_open:
            self.probe_when_due()
            return False
        if not self._take_slot(self._limits.read_wait_seconds):
            return False
        if self.breaker.is_open:  # it opened while this call waited
            self._slots.put(None)
            return False
        return True

    def _take_slot(self, patience_seconds: float) -> bool:
        try:
            self._slots.get(timeout=patience_seconds)
        except Empty:
            return False
        return True

    def _call(
        self,
        work: Callable[[], Answer],
        *,
        lost: Changes | None = None,
        keep: Callable[[], None] | None = None,
    ) -> Answer:
        """Do `work` in the slot that the caller took, and give the slot back."""
        started = time.perf_counter()
        try:
            answer = work()
        except _FAULTS as error:
            self.breaker.open(reason_of(error), lost=lost, keep=keep)
            raise RedisAway from None
        finally:
            self._slots.put(None)
        self.breaker.answered(time.perf_counter() - started)
        return answer

    def _probe(self) -> None:
        lost = Changes()
        trouble = "probe broken off"
        try:
            trouble = self._trouble() or self._catch_up(lost)
        except _FAULTS as error:
            trouble = reason_of(error)
        finally:
            # However it ended: the next probe must be able to start.
            if trouble:
                self.breaker.probe_failed(trouble, lost=lost)

    def _trouble(self) -> str:
        """What still speaks against Redis; empty when it is fast and keeps what it is given."""
        # Connecting anew takes its time, and says nothing about how long a call will take.
        self._client.ping()
        started = time.perf_counter()
        write_and_read_back(self._client)
        is_too_slow = self.breaker.is_too_slow(time.perf_counter() - started)
        return "slow answers" if is_too_slow else ""

    def _catch_up(self, lost: Changes) -> str:
        """Delete in Redis what it missed and close the breaker; what is left stays in `lost`."""
        for _ in range(_RECOVERY_ROUNDS):
            lost.add(self.breaker.take_lost())
            forget(self._client, lost)
            lost.clear()
            if self.breaker.close(self._on_recovery):
                return ""
        return "too many changes to catch up with"
