"""Keys, lifetimes, and reading through the cache."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from flask import Flask

from app.cache import (
    CacheKey,
    CacheMode,
    Entry,
    cache_config,
    key,
    lifetime_seconds,
    mode,
    read_bytes_through,
    read_through,
    read_value_through,
    store,
)
from app.cache_backend import TieredCache
from app.extensions import cache
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Quote:
    price: Decimal
    observed_at: datetime


def make_app(redis_url: str | None) -> Flask:
    """A bare application with the cache that the settings ask for."""
    app = Flask(__name__)
    settings = Settings(_env_file=None, redis_url=redis_url)
    app.config.update(cache_config(settings, database_url=f"postgresql://db/{uuid4().hex}"))
    cache.init_app(app)
    return app


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Flask]:
    url = request.getfixturevalue("valkey_url") if request.param == "redis" else None
    app = make_app(url)
    with app.app_context():
        yield app
        backend: object = cache.cache
        assert isinstance(backend, TieredCache)
        backend.close()


@pytest.fixture
def name() -> CacheKey:
    return key(Entry.LATEST_SNAPSHOTS, generation=uuid4().hex)


def fail() -> bytes:
    """Stand where nothing may be built."""
    raise AssertionError("built although it was kept")


def test_every_part_of_a_key_tells_values_apart() -> None:
    made = [
        key(Entry.MARKETS, generation="1"),
        key(Entry.MARKET, generation="1"),
        key(Entry.MARKETS, generation="2"),
        key(Entry.MARKETS, generation="1", cursor="a"),
        key(Entry.MARKETS, generation="1", cursor=None),
        key(Entry.MARKETS, generation="1", sort="a"),
        key(Entry.MARKETS, generation="1", symbols=["a", "b"]),
        key(Entry.MARKETS, generation="1", symbols=["a,b"]),
        key(Entry.MARKETS, generation="1", limit=1),
        key(Entry.MARKETS, generation="1", limit="1"),
    ]
    assert len(set(made)) == len(made)


def test_a_key_does_not_depend_on_the_order_of_its_parts() -> None:
    first = key(Entry.RUNS, generation="1", status="failed", limit=10)
    assert first == key(Entry.RUNS, generation="1", limit=10, status="failed")


def test_a_key_is_short_whatever_its_parts() -> None:
    made = key(Entry.LATEST_SNAPSHOTS, generation="g" * 120, symbols=["X" * 300] * 1_000)
    assert len(made) <= 180
    assert made.isascii()


@pytest.mark.parametrize("generation", ["", "a b", "a:b", "a\n", "é", "g" * 121])
def test_a_generation_that_is_no_plain_word_is_refused(generation: str) -> None:
    with pytest.raises(ValueError, match="generation"):
        key(Entry.RUNS, generation=generation)


def test_what_ages_by_the_clock_lives_shorter() -> None:
    assert lifetime_seconds(Entry.CANDLES, ttl_seconds=300) == 300
    assert lifetime_seconds(Entry.OVERVIEW, ttl_seconds=300) == 5
    assert lifetime_seconds(Entry.OVERVIEW, ttl_seconds=2) == 2


@pytest.mark.usefixtures("app")
def test_a_body_is_built_once_and_then_kept(name: CacheKey) -> None:
    assert read_bytes_through(name, ttl_seconds=60, build=lambda: b"\x1f\x8b") == b"\x1f\x8b"
    assert read_bytes_through(name, ttl_seconds=60, build=fail) == b"\x1f\x8b"


@pytest.mark.usefixtures("app")
def test_a_json_value_is_built_once_even_where_it_is_null(name: CacheKey) -> None:
    assert read_through(name, ttl_seconds=60, build=lambda: None) is None
    assert read_through(name, ttl_seconds=60, build=lambda: "built again") is None


@pytest.mark.usefixtures("app")
def test_a_frozen_value_keeps_decimals_and_instants(name: CacheKey) -> None:
    quote = Quote(Decimal("2.80E-9"), datetime(2026, 3, 1, 12, tzinfo=UTC))
    for _ in range(2):
        again = read_value_through(name, kind=Quote, ttl_seconds=60, build=lambda: quote)
        assert again == quote
        assert again.price.as_tuple() == quote.price.as_tuple()


@pytest.mark.usefixtures("app")
def test_a_kept_value_of_another_shape_is_built_anew(name: CacheKey) -> None:
    store({name: {"price": "not a number"}}, ttl_seconds=60)
    quote = Quote(Decimal(1), datetime(2026, 3, 1, tzinfo=UTC))
    assert read_value_through(name, kind=Quote, ttl_seconds=60, build=lambda: quote) == quote
    assert read_value_through(name, kind=Quote, ttl_seconds=60, build=lambda: quote) == quote


@pytest.mark.usefixtures("app")
def test_values_stored_ahead_are_not_built(name: CacheKey) -> None:
    store({name: b"ahead"}, ttl_seconds=60)
    assert read_bytes_through(name, ttl_seconds=60, build=fail) == b"ahead"


def test_threads_that_miss_together_build_once(app: Flask, name: CacheKey) -> None:
    built: list[int] = []
    entered, release = threading.Event(), threading.Event()

    def build() -> str:
        built.append(1)
        entered.set()
        release.wait(5)
        return "built"

    def read() -> object:
        with app.app_context():
            return read_through(name, ttl_seconds=60, build=build)

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read)]
        assert entered.wait(5)
        readers += [pool.submit(read) for _ in range(7)]
        release.set()
        assert {reader.result() for reader in readers} == {"built"}
    assert built == [1]


@pytest.mark.usefixtures("app")
def test_a_failure_is_raised_and_not_kept(name: CacheKey) -> None:
    def refuse() -> str:
        raise LookupError("no such market")

    for _ in range(2):
        with pytest.raises(LookupError, match="no such market"):
            read_through(name, ttl_seconds=60, build=refuse)
    assert read_through(name, ttl_seconds=60, build=lambda: "well") == "well"


def test_the_mode_is_the_one_configured(app: Flask) -> None:
    expected = CacheMode.REDIS if app.config["CACHE_REDIS_URL"] else CacheMode.MEMORY
    assert mode().mode is expected


def test_another_cache_type_is_refused_in_words() -> None:
    app = Flask(__name__)
    cache.init_app(app, config={"CACHE_TYPE": "SimpleCache"})
    with app.app_context(), pytest.raises(TypeError, match="TieredCache"):
        mode()


def test_databases_have_their_own_keys_and_passwords_leave_no_trace() -> None:
    settings = Settings(_env_file=None)
    urls = ["postgresql://u:hunter2@a/x", "postgresql://v:other@a/x", "postgresql://u:hunter2@a/y"]
    prefixes = [cache_config(settings, database_url=url)["CACHE_KEY_PREFIX"] for url in urls]
    assert prefixes[0] == prefixes[1] != prefixes[2]
    assert "hunter2" not in str(prefixes)
