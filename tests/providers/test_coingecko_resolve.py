"""Which coin a symbol means: pinned first, the only one, or the one ten times larger."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.domain import Listing, MarketProblem, MarketRequest
from app.errors import TransientProviderError
from app.providers.coingecko import CoinGecko, coin_lists
from app.providers.coingecko_coins import CoinList, CoinListCache
from app.providers.coingecko_payloads import CoinEntry
from app.providers.coingecko_resolve import suggest_base
from tests.providers.coingecko_setup import (
    build_provider,
    payload,
    recorded,
    recordings,
)
from tests.servers import Answer, ReceivedRequest, ScriptedServer

CAPS: dict[str, Any] = {
    "bitcoin": 1_650_000_000_000,
    "batcat": 500_000,
    "bitcoin-on-another-chain": None,
    "twin-one": 1_000,
    "twin-two": 101,
    "ghost-one": 0,
}


@pytest.fixture(autouse=True)
def _no_list_of_another_test() -> Iterator[None]:
    coin_lists.clear()
    yield
    coin_lists.clear()


@pytest.fixture
def provider(http_server: ScriptedServer) -> Iterator[CoinGecko]:
    def markets(request: ReceivedRequest) -> Answer:
        ids = [coin_id for coin_id in request.query["ids"].split(",") if coin_id in CAPS]
        rows = [
            {"id": coin_id, "market_cap": CAPS[coin_id], "market_cap_rank": rank}
            for rank, coin_id in enumerate(ids, start=1)
        ]
        return Answer(body=rows)

    http_server.script("/coins/list", Answer(body=payload("coingecko_coins_list.json")))
    http_server.handle("/coins/markets", markets)
    made = build_provider(http_server.url)
    yield made
    made.close()


def resolve(provider: CoinGecko, *requests: MarketRequest) -> tuple[list[Listing], list[Any]]:
    resolution = provider.resolve_listings(requests)
    return list(resolution.listings), list(resolution.problems)


def test_coin_ten_times_larger_than_any_other_is_meant(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    [bitcoin, ethereum], problems = resolve(
        provider, MarketRequest("BTC-EUR"), MarketRequest("ETH-USD")
    )
    assert not problems
    assert bitcoin == Listing(
        "coingecko", "bitcoin", "BTC-EUR", "EUR", "Bitcoin", "btc", chosen_by="resolved", rank=1
    )
    assert (ethereum.provider_id, ethereum.chosen_by) == ("ethereum", "resolved")
    asked = http_server.requests[-1].query["ids"].split(",")
    assert asked == ["bitcoin", "batcat", "bitcoin-on-another-chain"]


def test_coins_of_similar_size_are_listed_for_the_operator_to_choose(provider: CoinGecko) -> None:
    listings, [problem] = resolve(provider, MarketRequest("TWIN-USD"))
    assert not listings
    assert problem == MarketProblem(
        "TWIN-USD",
        "AmbiguousSymbol",
        "TWIN may mean 2 coins at CoinGecko: twin-one (Twin One, rank 1), "
        "twin-two (Twin Two, rank 2). Pin one with TWIN-USD=<id>.",
    )


def test_exactly_ten_times_is_enough(provider: CoinGecko, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CAPS, "twin-two", 100)
    [twin], problems = resolve(provider, MarketRequest("TWIN-USD"))
    assert (twin.provider_id, problems) == ("twin-one", [])


def test_coins_without_market_cap_are_never_guessed(provider: CoinGecko) -> None:
    _, [problem] = resolve(provider, MarketRequest("GH-USD"))
    assert problem.error_class == "AmbiguousSymbol"
    assert "ghost-two (Ghost Two, no rank)" in problem.message


def test_pinned_id_wins_and_needs_no_call(provider: CoinGecko, http_server: ScriptedServer) -> None:
    listings, problems = resolve(
        provider,
        MarketRequest("TWIN-USD", "twin-two"),
        MarketRequest("SPX", "spx6900"),
        MarketRequest("X-USD", "no such coin [yet]"),
    )
    assert [each.provider_id for each in listings] == ["twin-two", "spx6900", "no such coin [yet]"]
    assert [each.quote for each in listings] == ["USD", "USD", "USD"]
    assert {each.chosen_by for each in listings} == {"pinned"}
    assert (problems, http_server.requests) == ([], [])


@pytest.mark.parametrize(
    ("request_", "kind", "part"),
    [
        (MarketRequest("SPX"), "UnsupportedMarket", "SPX is an index or share; CoinGecko lists"),
        (MarketRequest("DAX"), "UnsupportedMarket", "Pin an id with DAX=<id> to use it anyway"),
        (MarketRequest("BTC-USDT"), "UnsupportedMarket", "no prices in USDT. Ask for BTC-USD"),
        (MarketRequest("BTC-ZZZ", "bitcoin"), "UnsupportedMarket", "no prices in ZZZ"),
        (MarketRequest("A-USD", "a,b"), "InvalidRequest", "'a,b', which can't be an id"),
        (MarketRequest("NOPE-USD"), "NotFound", "CoinGecko lists no coin with the symbol NOPE."),
    ],
)
def test_market_that_cannot_be_served_is_a_problem_of_its_own(
    request_: MarketRequest, kind: str, part: str, provider: CoinGecko
) -> None:
    listings, [problem] = resolve(provider, request_, MarketRequest("ETH-USD"))
    assert [each.symbol for each in listings] == ["ETH-USD"]
    assert (problem.symbol, problem.error_class) == (request_.symbol, kind)
    assert part in problem.message


def test_symbol_with_a_dot_or_a_dash_is_looked_up_whole(provider: CoinGecko) -> None:
    [listing], problems = resolve(provider, MarketRequest("LONE.E-BTC"))
    assert (listing.provider_id, listing.quote, problems) == ("lonely", "BTC", [])


def test_pinned_markets_are_served_when_the_list_is_away(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    http_server.script("/coins/list", Answer(500))
    [listing], [problem] = resolve(
        provider, MarketRequest("BTC-USD", "bitcoin"), MarketRequest("ETH-USD")
    )
    assert listing.provider_id == "bitcoin"
    assert (problem.symbol, problem.error_class) == ("ETH-USD", "TransientProviderError")
    with pytest.raises(TransientProviderError, match="answered 500"):
        provider.resolve_listings([MarketRequest("ETH-USD"), MarketRequest("SPX")])


def test_list_is_asked_for_once_a_day(provider: CoinGecko, http_server: ScriptedServer) -> None:
    for _ in range(3):
        provider.resolve_listings([MarketRequest("ETH-USD")])
    assert [found.provider_id for found in provider.search("eth")] == ["ethereum"]
    assert [request.path for request in http_server.requests] == ["/coins/list"]


def test_empty_list_is_an_error_and_not_kept(
    provider: CoinGecko, http_server: ScriptedServer
) -> None:
    http_server.script("/coins/list", Answer(body=[]))
    with pytest.raises(TransientProviderError, match="empty list of coins"):
        provider.search("btc")
    assert coin_lists.find(http_server.url) is None


def test_search_puts_the_closest_first(provider: CoinGecko) -> None:
    found = [listing.provider_id for listing in provider.search(" BTC ")]
    assert found == ["batcat", "bitcoin", "bitcoin-on-another-chain"]
    assert [listing.provider_id for listing in provider.search("[old]")] == ["boringdao-[old]"]
    assert list(provider.search("  ")) == []
    assert len(provider.search("o")) <= 25


def test_lists_are_forgotten_after_a_day_and_beyond_four() -> None:
    now = [0.0]
    cache = CoinListCache(lambda: now[0])
    lists = {f"http://{n}": CoinList([CoinEntry("a", "a", "A")]) for n in range(5)}
    for url, coins in lists.items():
        cache.keep(url, coins)
    assert cache.find("http://0") is None
    assert cache.find("http://4") is lists["http://4"]
    now[0] = 24 * 3600
    assert cache.find("http://4") is None


@pytest.mark.parametrize(
    ("symbol", "coin_id", "base"),
    [
        ("btc", "bitcoin", "BTC"),
        ("usdc.e", "bridged-usdc", "USDC.E"),
        ("figr_heloc", "figure-heloc", "FIGR_HELOC"),
        (" ＡＢ ", "fullwidth", "AB"),
        ("bsc-usd", "binance-bridged-usdt", "BINANCE-BRIDGED-USDT"),
        ("", "boringdao-[old]", "BORINGDAO-OLD"),
        ("币", "bi-an", "BI-AN"),
        ("x" * 31, "y" * 70, "Y" * 30),
        ("‟", "-5", "5"),
        ("", "_", "ID-5F"),
    ],
)
def test_suggested_symbols(symbol: str, coin_id: str, base: str) -> None:
    assert suggest_base(symbol, coin_id) == base


def test_recorded_list_of_2025_resolves_the_well_known(http_server: ScriptedServer) -> None:
    coins = recorded(recordings("coingecko-coins-list") / "2025-08-03.json.gz")
    page = recorded(recordings("coingecko-daily-top100") / "2025-04-30T010822Z.json.gz")
    http_server.script("/coins/list", Answer(body=coins))
    http_server.script("/coins/markets", Answer(body=page))
    provider = build_provider(http_server.url)
    known = {"BTC": "bitcoin", "ETH": "ethereum", "USDT": "tether", "SOL": "solana"}
    known |= {"XRP": "ripple", "DOGE": "dogecoin", "USDC": "usd-coin", "PEPE": "pepe"}
    resolution = provider.resolve_listings([MarketRequest(f"{base}-USD") for base in known])
    provider.close()
    chosen = {each.symbol.removesuffix("-USD"): each.provider_id for each in resolution.listings}
    assert chosen == known
    ids = [each.query["ids"].split(",") for each in http_server.requests if "ids" in each.query]
    assert all(len(each) <= 250 for each in ids)
