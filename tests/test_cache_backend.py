"""The cache backend as its callers see it, in memory and on a real Valkey."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask
from flask_caching import Cache
from pydantic import SecretStr
from redis import Redis

from app.cache_backend import CacheLimits, TieredCache
from app.cache_breaker import CacheMode, Patience
from app.cache_codec import MISS
from app.cache_remote import RemoteLimits
from app.errors import SettingsError
from tests.faults.tcp_proxy import TcpProxy

# A busy test machine must not look like a slow Redis.
CALM = CacheLimits(
    remote=RemoteLimits(timeout_seconds=5, read_wait_seconds=5, patience=Patience(slow_calls=10**9))
)


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex}:"


@pytest.fixture
def client(valkey_url: str) -> Iterator["Redis"]:
    with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest, prefix: str) -> Iterator[TieredCache]:
    url = request.getfixturevalue("valkey_url") if request.param == "redis" else None
    cache = TieredCache(url=url, prefix=prefix, limits=CALM)
    yield cache
    cache.close()
    assert cache.fallback_count == 0


@pytest.fixture
def two_processes(valkey_url: str, prefix: str) -> Iterator[tuple[TieredCache, TieredCache]]:
    """Two caches on one Valkey, as two worker processes have them."""
    both = [TieredCache(url=valkey_url, prefix=prefix, limits=CALM) for _ in range(2)]
    yield both[0], both[1]
    for cache in both:
        cache.close()


def test_json_text_and_bytes_come_back_as_they_were(cache: TieredCache) -> None:
    values = {"json": {"a": [1, None, "é"]}, "text": "<p>\n", "bytes": b"\x1f\x8b\x00", "zero": 0}
    assert cache.set_many(values) == list(values)
    assert cache.get_dict(*values) == values
    assert cache.get("absent") is None
    assert cache.has("zero")
    assert not cache.has("absent")


def test_add_leaves_an_existing_value_alone(cache: TieredCache) -> None:
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False
    assert cache.get("a") == 1


def test_deleted_keys_are_gone(cache: TieredCache) -> None:
    cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.delete_many("b", "c", "never there") == ["b", "c", "never there"]
    assert cache.get_many("a", "b", "c", "d") == [None, None, None, 4]


def test_delete_prefix_takes_signs_of_patterns_literally(cache: TieredCache) -> None:
    cache.set_many({"runs*:1": 1, "runs*:2": 2, "runs:1": 3, "markets[1]": 4})
    assert cache.delete_prefix("runs*:") == 2
    assert cache.delete_prefix("markets[1") == 1
    assert cache.get("runs:1") == 3


def test_a_value_that_cannot_be_stored_ends_the_old_one_and_is_logged(
    cache: TieredCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.set("a", "old")
    assert cache.set("a", object()) is False
    assert cache.set("a", object()) is False
    assert cache.get("a") is None
    assert [record.message for record in caplog.records] == ["cache value not storable"]


def test_a_value_beyond_the_limit_is_not_stored(cache: TieredCache) -> None:
    assert cache.set("a", b"x" * (3 * 1024 * 1024)) is False
    assert cache.get("a") is None


def test_keys_no_encoding_likes_do_no_harm(cache: TieredCache) -> None:
    for key in ("\ud800", "", "a b\r\nFLUSHALL", "é" * 500):
        assert cache.set(key, key.encode("utf-8", "replace")) is True
        assert cache.get(key) == key.encode("utf-8", "replace")


def test_pinned_and_plain_keys_do_not_meet(cache: TieredCache) -> None:
    cache.set("a", "plain")
    cache.set_pinned("a", "pinned", ttl_seconds=60)
    cache.delete("a")
    assert cache.get_pinned("a") == "pinned"


def test_a_kept_none_is_not_a_miss(cache: TieredCache) -> None:
    cache.set_pinned("a", None, ttl_seconds=60)
    assert cache.get_pinned_many(["a", "b"]) == [None, MISS]


def test_clear_takes_everything_of_ours(cache: TieredCache) -> None:
    cache.set("a", 1)
    cache.set_pinned("a", 2, ttl_seconds=60)
    assert cache.clear() is True
    assert cache.get("a") is None
    assert cache.get_pinned("a") is MISS


def test_clear_leaves_other_deployments_on_the_same_server_alone(
    client: "Redis", valkey_url: str, prefix: str
) -> None:
    mine, other = (TieredCache(url=valkey_url, prefix=name) for name in (prefix, f"x{prefix}"))
    other.set("a", 1)
    client.set(f"y{prefix}", b"foreign", ex=60)
    mine.clear()
    assert other.get("a") == 1
    assert client.get(f"y{prefix}") == b"foreign"
    mine.close()
    other.close()


def test_processes_agree_on_plain_keys(two_processes: tuple[TieredCache, TieredCache]) -> None:
    one, other = two_processes
    one.set("a", 1)
    assert other.get("a") == 1
    other.set("a", 2)
    assert one.get("a") == 2
    one.delete("a")
    assert other.get("a") is None


def test_a_pinned_value_is_fetched_once_and_then_answered_from_memory(
    two_processes: tuple[TieredCache, TieredCache], client: "Redis", prefix: str
) -> None:
    one, other = two_processes
    one.set_pinned("a", b"body", ttl_seconds=60)
    assert other.peek_pinned("a") is MISS
    assert other.get_pinned("a", kind=bytes) == b"body"
    client.delete(f"{prefix}g:a")
    assert other.get_pinned("a", kind=bytes) == b"body"


def test_every_key_but_an_endless_one_expires(
    two_processes: tuple[TieredCache, TieredCache], client: "Redis", prefix: str
) -> None:
    cache = two_processes[0]
    cache.set("default", 1)
    cache.set("short", 1, timeout=7)
    cache.set("endless", 1, timeout=0)
    cache.set_pinned("pinned", 1, ttl_seconds=0)
    assert 290 <= client.ttl(f"{prefix}p:default") <= 300
    assert 5 <= client.ttl(f"{prefix}p:short") <= 7
    assert client.ttl(f"{prefix}p:endless") == -1
    assert client.pttl(f"{prefix}g:pinned") <= 1000
    assert cache.set("short", 2, timeout=-1) is False
    assert cache.get("short") is None


def test_many_keys_cost_one_round_trip(valkey_url: str, prefix: str) -> None:
    with TcpProxy.before(valkey_url) as proxy:
        cache = TieredCache(url=proxy.redis_url, prefix=prefix, limits=CALM)
        values = {f"key{number}": number for number in range(50)}
        for work in (
            lambda: cache.set_many(values),
            lambda: cache.get_many(*values),
            lambda: cache.set_pinned_many(values, ttl_seconds=60),
            lambda: cache.delete_many(*values),
        ):
            before = proxy.request_count
            work()
            assert proxy.request_count == before + 1
        cache.close()


def test_neither_keys_nor_flush_is_ever_sent(
    two_processes: tuple[TieredCache, TieredCache], client: "Redis"
) -> None:
    cache = two_processes[0]
    client.config_resetstat()
    cache.set_many({"a": 1, "b": 2})
    cache.delete_prefix("a")
    cache.clear()
    sent = set(client.info("commandstats"))
    assert "cmdstat_scan" in sent
    assert not {name for name in sent if "keys" in name or "flush" in name}


def test_flask_caching_builds_it_from_its_configuration(valkey_url: str, prefix: str) -> None:
    app, cache = Flask(__name__), Cache()
    cache.init_app(
        app,
        config={
            "CACHE_TYPE": "app.cache_backend.TieredCache",
            "CACHE_REDIS_URL": SecretStr(valkey_url),
            "CACHE_KEY_PREFIX": prefix,
            "CACHE_OPTIONS": {"limits": CALM},
        },
    )
    with app.app_context():
        assert cache.set("a", [1]) is True
        assert cache.get("a") == [1]
        assert isinstance(cache.cache, TieredCache)
        assert cache.cache.state().mode is CacheMode.REDIS
        cache.cache.close()


def test_without_an_address_memory_is_the_mode() -> None:
    state = TieredCache().state()
    assert (state.mode, state.reason) == (CacheMode.MEMORY, "")
    assert state.since.tzinfo is not None


@pytest.mark.parametrize("url", ["redis://u:hunter2secret@host:notaport/0", "http://hunter2secret"])
def test_an_unusable_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        TieredCache(url=url)
    assert "hunter2secret" not in str(refusal.value)
    assert "REDIS_URL" in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:hunter2/secret@host:6379/prod", "number of a database"),
        ("rediss://host/-1", "number of a database"),
        ("unix://", "path of the socket"),
        ("unix://:hunter2@?db=1", "path of the socket"),
    ],
)
def test_what_redis_py_would_guess_is_refused(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refusal:
        TieredCache(url=url)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host:6379/", "redis://host/3/", "redis://:ab@host/0?db=2"]
)
def test_an_address_with_a_database_or_none_is_taken(url: str) -> None:
    TieredCache(url=url).close()


def test_an_empty_prefix_is_refused() -> None:
    with pytest.raises(SettingsError):
        TieredCache(prefix="")
