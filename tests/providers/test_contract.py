"""What every registered provider promises, tried on each of them through its harness."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain import Candle, Granularity, Listing
from app.errors import PermanentProviderError, ProviderError, RunStopped
from app.providers import provider_classes
from app.providers.base import Provider, ProviderContext
from app.settings import ProviderSettings
from tests.providers.harness import Harness, open_harness

NAMES = sorted(provider_classes())


@pytest.fixture(params=NAMES)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with open_harness(request.param) as harness:
        yield harness


@pytest.fixture
def build(harness: Harness) -> Iterator[Callable[..., Provider]]:
    """Makes providers of the harness, and closes them."""
    built: list[Provider] = []

    def make(**options: Any) -> Provider:
        built.append(harness.build(ProviderContext(lambda: harness.now, **options)))
        return built[-1]

    yield make
    for provider in built:
        provider.close()


@pytest.fixture
def provider(build: Callable[..., Provider]) -> Provider:
    return build()


@pytest.fixture
def listings(harness: Harness, provider: Provider) -> list[Listing]:
    return list(provider.resolve_listings(harness.requests).listings)


def granularities(provider: Provider) -> list[Granularity]:
    return sorted(provider.capabilities.granularities)


def fetch_candles(
    provider: Provider, listings: list[Listing], granularity: Granularity, days: int = 9
) -> list[Candle]:
    now = provider.context.clock()
    return list(provider.fetch_candles(listings, granularity, now - timedelta(days=days), now).rows)


def assert_exact(value: object) -> None:
    """A real number above zero that never was a float."""
    assert isinstance(value, Decimal)
    assert value.is_finite()
    assert value > 0


def assert_utc(instant: datetime | None) -> None:
    assert instant is not None
    assert instant.tzinfo is UTC or instant.utcoffset() == timedelta(0)


@pytest.mark.parametrize("name", NAMES)
def test_registered_name_attribute_and_settings_agree(name: str) -> None:
    provider = provider_classes()[name]
    assert provider.name == name
    assert issubclass(provider.Settings, ProviderSettings)
    assert provider.Settings.model_config.get("env_prefix") == f"{name.upper()}_"
    assert provider.Settings(), "a provider's settings must be complete by default"


def test_capabilities_are_coherent(provider: Provider) -> None:
    said = provider.capabilities
    assert said.batch_size >= 1
    assert (said.history_days > 0) == bool(said.granularities)
    assert said.requests_per_minute is None or said.requests_per_minute > 0
    assert said.candle_calls_per_run is None or said.candle_calls_per_run >= 0
    assert said == provider.capabilities


def test_each_request_gets_its_own_listing(harness: Harness, provider: Provider) -> None:
    resolution = provider.resolve_listings(harness.requests)
    assert not resolution.problems
    by_symbol = {listing.symbol: listing for listing in resolution.listings}
    assert len(by_symbol) == len(resolution.listings) == len(harness.requests)
    for request in harness.requests:
        listing = by_symbol[request.symbol]
        assert listing.provider == provider.name
        assert listing.quote == request.quote
        assert listing.market_id is None
        assert request.pinned_id in (None, listing.provider_id)
        assert (listing.chosen_by == "pinned") == (request.pinned_id is not None)


def test_snapshots_belong_to_what_was_asked_and_are_exact(
    provider: Provider, listings: list[Listing]
) -> None:
    batch = provider.fetch_snapshots(listings)
    assert not batch.problems
    assert not batch.rejected
    assert sorted(row.listing.key for row in batch.rows) == sorted(each.key for each in listings)
    for row in batch.rows:
        assert_utc(row.observed_at)
        assert_exact(row.price)
        for amount in (row.volume, row.market_cap, row.volatility):
            if amount is not None:
                assert_exact(amount)
        assert row.raw


def test_snapshot_is_not_from_the_future(provider: Provider, listings: list[Listing]) -> None:
    for row in provider.fetch_snapshots(listings).rows:
        assert row.observed_at is not None
        assert row.observed_at <= provider.context.clock()


def test_unknown_market_is_a_problem_and_the_others_are_served(
    harness: Harness, provider: Provider, listings: list[Listing]
) -> None:
    batch = provider.fetch_snapshots([listings[0], harness.unknown, listings[1]])
    assert [problem.symbol for problem in batch.problems] == [harness.unknown.symbol]
    assert batch.problems[0].error_class
    assert batch.problems[0].message.endswith(".")
    assert {row.listing for row in batch.rows} == set(listings[:2])


def test_history_of_an_unknown_market_is_a_problem_and_the_others_are_served(
    harness: Harness, provider: Provider, listings: list[Listing]
) -> None:
    start, end = harness.now - timedelta(days=3), harness.now
    for granularity in granularities(provider):
        batch = provider.fetch_candles([harness.unknown, listings[0]], granularity, start, end)
        assert [problem.symbol for problem in batch.problems] == [harness.unknown.symbol]
        assert {row.listing for row in batch.rows} == {listings[0]}


def test_candles_are_in_order_within_the_span_and_once_each(
    provider: Provider, listings: list[Listing]
) -> None:
    now = provider.context.clock()
    for granularity in granularities(provider):
        start, end = now - timedelta(days=9), now - timedelta(days=2)
        rows = list(provider.fetch_candles(listings, granularity, start, end).rows)
        assert {row.listing for row in rows} == set(listings)
        assert len({(row.listing, row.opened_at) for row in rows}) == len(rows)
        for listing in listings:
            opened = [row.opened_at for row in rows if row.listing == listing]
            assert opened == sorted(opened)
            assert start <= opened[0] < start + 2 * granularity.step
            assert end - 2 * granularity.step <= opened[-1] < end


def test_candles_are_exact_and_hold_together(provider: Provider, listings: list[Listing]) -> None:
    for granularity in granularities(provider):
        for row in fetch_candles(provider, listings, granularity):
            assert row.granularity is granularity
            assert_utc(row.opened_at)
            assert granularity.floor(row.opened_at) == row.opened_at
            for price in (row.open, row.high, row.low, row.close):
                assert_exact(price)
            assert row.low <= min(row.open, row.close)
            assert max(row.open, row.close) <= row.high
            assert row.sample_count >= 1


def test_only_the_candle_of_the_present_is_open(
    provider: Provider, listings: list[Listing]
) -> None:
    now = provider.context.clock()
    for granularity in granularities(provider):
        rows = fetch_candles(provider, listings, granularity)
        assert {row.opened_at for row in rows if not row.is_final} == {granularity.floor(now)}


def test_granularity_that_is_not_offered_is_refused(
    provider: Provider, listings: list[Listing]
) -> None:
    for granularity in set(Granularity) - provider.capabilities.granularities:
        with pytest.raises(PermanentProviderError):
            fetch_candles(provider, listings, granularity)


def test_asking_for_nothing_gives_nothing(build: Callable[..., Provider]) -> None:
    calls: list[str] = []
    provider = build(on_call=lambda outcome, seconds: calls.append(outcome))
    assert not provider.resolve_listings([]).listings
    assert not provider.fetch_snapshots([]).rows
    for granularity in granularities(provider):
        assert not fetch_candles(provider, [], granularity)
    assert calls == []


def test_every_call_is_reported(build: Callable[..., Provider], listings: list[Listing]) -> None:
    calls: list[tuple[str, float]] = []
    build(on_call=lambda *call: calls.append(call)).fetch_snapshots(listings)
    assert {outcome for outcome, _ in calls} == {"ok"}
    assert all(seconds >= 0 for _, seconds in calls)


def test_ranking_is_in_order_with_its_snapshots_or_is_refused(provider: Provider) -> None:
    if not provider.capabilities.can_rank:
        with pytest.raises(PermanentProviderError):
            provider.fetch_ranked(2, "USD")
        return
    ranked = provider.fetch_ranked(2, "USD")
    assert [listing.rank for listing in ranked.listings] == [1, 2]
    assert {row.listing for row in ranked.snapshots.rows} == set(ranked.listings)
    for listing in ranked.listings:
        assert listing.symbol.endswith("-USD")
        assert (listing.quote, listing.chosen_by) == ("USD", "discovered")


def test_search_finds_listings_where_it_is_offered(harness: Harness, provider: Provider) -> None:
    found = list(provider.search(harness.search_text))
    assert bool(found) == provider.capabilities.can_search
    assert all(listing.provider == provider.name for listing in found)
    assert not provider.search("nothing is called like this")


def test_set_stop_event_ends_every_call(
    build: Callable[..., Provider], listings: list[Listing]
) -> None:
    stop = threading.Event()
    provider = build(stop=stop)
    stop.set()
    with pytest.raises(RunStopped) as caught:
        provider.fetch_snapshots(listings)
    assert caught.value.reason == "cancelled"
    for granularity in granularities(provider):
        with pytest.raises(RunStopped):
            fetch_candles(provider, listings, granularity)


def test_no_call_is_made_after_the_deadline(
    harness: Harness, build: Callable[..., Provider], listings: list[Listing]
) -> None:
    provider = build(deadline_at=harness.now - timedelta(seconds=1))
    with pytest.raises((ProviderError, RunStopped)):
        provider.fetch_snapshots(listings)


def test_closing_twice_is_harmless(provider: Provider) -> None:
    provider.close()
    provider.close()
