"""The memory tier of the cache: the least recently used entries go when room or time is up."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from threading import Lock

# What a dictionary slot, the entry and its small objects take beside the text itself.
_ENTRY_OVERHEAD_BYTES = 300


@dataclass(frozen=True, slots=True)
class _Entry:
    blob: bytes
    ends_at: float  # on the tier's clock; infinity for an entry without an end
    size: int


class MemoryTier:
    """A bounded map of names to stored values, safe to use from many threads.

    `max_entries` and `max_bytes` hold for names, values and their bookkeeping together; `clock`
    counts seconds and never goes back.
    """

    def __init__(
        self, *, max_entries: int, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._endings: list[tuple[float, str]] = []
        self._bytes = 0
        self._lock = Lock()

    def get(self, name: str) -> bytes | None:
        """The value of `name`, or None where there is none or its time is up."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return None
            if entry.ends_at <= self._clock():
                self._remove(name)
                return None
            self._entries.move_to_end(name)
            return entry.blob

    def put(self, name: str, blob: bytes, *, ttl_seconds: float) -> bool:
        """Keep `blob` for `ttl_seconds` (0: no end); False where it is too big to be kept."""
        with self._lock:
            return self._put(name, blob, ttl_seconds)

    def add(self, name: str, blob: bytes, *, ttl_seconds: float) -> bool:
        """Like `put`, but False and nothing changed where `name` has a value."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None and entry.ends_at > self._clock():
                return False
            return self._put(name, blob, ttl_seconds)

    def drop(self, names: Iterable[str]) -> int:
        """Forget `names`; returns how many there were."""
        with self._lock:
            return sum(self._remove(name) for name in names)

    def drop_prefix(self, prefix: str) -> int:
        """Forget every name that begins with `prefix`; returns how many there were."""
        with self._lock:
            names = [name for name in self._entries if name.startswith(prefix)]
            return sum(self._remove(name) for name in names)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._endings.clear()
            self._bytes = 0

    @property
    def entry_count(self) -> int:
        """How many entries are held, those whose time is up included."""
        return len(self._entries)

    @property
    def byte_count(self) -> int:
        """How many bytes the entries take, bookkeeping included."""
        return self._bytes

    def _put(self, name: str, blob: bytes, ttl_seconds: float) -> bool:
        ends_at = self._clock() + ttl_seconds if ttl_seconds else float("inf")
        entry = _Entry(blob, ends_at, len(name) + len(blob) + _ENTRY_OVERHEAD_BYTES)
        self._remove(name)
        if entry.size > self._max_bytes:
            return False
        self._entries[name] = entry
        self._bytes += entry.size
        if ttl_seconds:
            self._note_end(ends_at, name)
        self._make_room()
        return True

    def _note_end(self, ends_at: float, name: str) -> None:
        heappush(self._endings, (ends_at, name))
        # Those of entries that are gone stay until their time: not for ever.
        if len(self._endings) > 4 * self._max_entries:
            self._endings = [(one.ends_at, name) for name, one in self._entries.items()]
            heapify(self._endings)

    def _make_room(self) -> None:
        """Let go of what has ended, then of what was not asked for the longest, if need be."""
        now = self._clock()
        while self._endings and self._endings[0][0] <= now:
            _, name = heappop(self._endings)
            entry = self._entries.get(name)
            # It may have been put anew since.
            if entry is not None and entry.ends_at <= now:
                self._remove(name)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, name: str) -> bool:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= entry.size
        return entry is not None
