"""Which market of an exchange a symbol means: the right one, or a plain refusal."""

from datetime import timedelta

import pytest

from app.domain import Granularity, Listing, MarketRequest
from app.providers.ccxt import Ccxt
from app.providers.ccxt_markets import MarketList
from app.providers.ccxt_resolve import Resolver
from tests.providers.ccxt_setup import (
    NOW,
    Open,
    forget_markets,
    listing,
    open_ccxt,
)
from tests.servers import ScriptedServer

__all__ = ["forget_markets", "open_ccxt"]


def only_problem(provider: Ccxt, symbol: str, pinned_id: str | None = None) -> tuple[str, str]:
    """The class and the sentence of the one problem of this request."""
    resolution = provider.resolve_listings([MarketRequest(symbol, pinned_id)])
    assert not resolution.listings
    (problem,) = resolution.problems
    assert problem.symbol == symbol
    return problem.error_class, problem.message


def only_listing(provider: Ccxt, symbol: str, pinned_id: str | None = None) -> Listing:
    """The one listing of this request."""
    resolution = provider.resolve_listings([MarketRequest(symbol, pinned_id)])
    assert not resolution.problems
    (found,) = resolution.listings
    return found


def test_a_listing_names_the_exchange_and_its_own_id(open_ccxt: Open) -> None:
    found = only_listing(open_ccxt("kraken"), "BTC-USD")
    assert found.provider_id == "kraken:XXBTZUSD"
    assert (found.quote, found.chosen_by) == ("USD", "resolved")
    assert (found.provider_symbol, found.name) == ("BTC/USD", "BTC/USD at Kraken")


def test_a_stablecoin_is_not_usd_unless_a_setting_says_so(open_ccxt: Open) -> None:
    kind, text = only_problem(open_ccxt("binance"), "BTC-USD")
    assert kind == "NotFound"
    assert "BTC/USDC and BTC/USDT" in text
    assert "CCXT_USD_STABLECOINS" in text


@pytest.mark.parametrize(
    ("coins", "market_id"),
    [("USDT", "BTCUSDT"), ("USDC,USDT", "BTCUSDC"), ("USDT,USDC", "BTCUSDT")],
)
def test_the_first_stablecoin_with_a_market_wins(
    open_ccxt: Open, coins: str, market_id: str
) -> None:
    found = only_listing(open_ccxt("binance", usd_stablecoins=coins), "BTC-USD")
    assert (found.provider_id, found.quote) == (f"binance:{market_id}", "USD")
    assert found.name.startswith("BTC/USD")
    assert market_id.removeprefix("BTC") in found.name


def test_a_market_in_usd_itself_goes_before_any_stablecoin(open_ccxt: Open) -> None:
    found = only_listing(open_ccxt("kraken", usd_stablecoins="USDT"), "BTC-USD")
    assert found.provider_id == "kraken:XXBTZUSD"


def test_stablecoins_stand_for_no_other_currency(open_ccxt: Open) -> None:
    kind, _ = only_problem(open_ccxt("binance", usd_stablecoins="USDT"), "BTC-EUR")
    assert kind == "NotFound"


def test_what_is_not_traded_at_present_is_not_chosen(open_ccxt: Open) -> None:
    provider = open_ccxt("binance", usd_stablecoins="USDT")
    assert only_problem(provider, "LUNA-USDT")[0] == "NotFound"
    # ccxt knows that Kraken still calls LUNA what others call LUNC.
    assert only_problem(open_ccxt("kraken"), "LUNC-USD")[0] == "NotFound"


@pytest.mark.parametrize(
    ("symbol", "pinned_id", "kind", "said"),
    [
        ("BTC-USD", "kraken:NOPE", "NotFound", "no spot market with the id 'NOPE'"),
        ("BTC-USD", "bitcoin", "InvalidRequest", "kraken:<id>"),
        ("BTC-USD", "binance:BTCUSDT", "OtherExchange", "BTC-USD=kraken:XXBTZUSD"),
        ("BTC-USD", "kraken:XXBTZEUR", "UnsupportedMarket", "is in EUR"),
        ("BTC-USD", "kraken:XBTUSDT", "UnsupportedMarket", "CCXT_USD_STABLECOINS"),
        ("LUNC-USD", "kraken:LUNAUSD", "NotTraded", "not traded at present"),
        ("SPX", None, "UnsupportedMarket", "index or share"),
        ("NOPE-USD", None, "NotFound", "no open market of NOPE in USD"),
    ],
)
def test_refusals_say_why(
    open_ccxt: Open, symbol: str, pinned_id: str | None, kind: str, said: str
) -> None:
    found, text = only_problem(open_ccxt("kraken"), symbol, pinned_id)
    assert found == kind
    assert said in text
    assert text.endswith(".")


def test_a_pinned_id_may_name_another_coin_but_no_other_money(open_ccxt: Open) -> None:
    found = only_listing(open_ccxt("kraken"), "GOLD-USD", "kraken:XETHZUSD")
    assert (found.provider_id, found.chosen_by) == ("kraken:XETHZUSD", "pinned")


def test_listings_of_another_exchange_are_not_asked_for_here(open_ccxt: Open) -> None:
    provider = open_ccxt("kraken")
    stored = [listing("binance:BTCUSDT", "BTC-USD"), listing("kraken:XETHZUSD", "ETH-USD")]
    batch = provider.fetch_snapshots(stored)
    assert [row.listing.symbol for row in batch.rows] == ["ETH-USD"]
    assert [each.error_class for each in batch.problems] == ["OtherExchange"]
    start = NOW - timedelta(hours=3)
    history = provider.fetch_candles(stored, Granularity.HOURLY, start, NOW)
    assert {row.listing.symbol for row in history.rows} == {"ETH-USD"}
    assert [each.error_class for each in history.problems] == ["OtherExchange"]


def test_delisted_market_of_a_listing_is_a_problem_of_it_alone(open_ccxt: Open) -> None:
    stored = [
        listing("coinbaseexchange:XRP-USD", "XRP-USD"),
        listing("coinbaseexchange:BTC-USD", "B"),
    ]
    batch = open_ccxt("coinbaseexchange").fetch_snapshots(stored)
    assert [each.error_class for each in batch.problems] == ["NotTraded"]
    assert [row.listing.symbol for row in batch.rows] == ["B"]


def test_search_finds_open_markets_by_symbol_and_id(open_ccxt: Open) -> None:
    provider = open_ccxt("kraken")
    assert [each.symbol for each in provider.search("xbt")] == ["BTC-EUR", "BTC-USD", "BTC-USDT"]
    assert [each.provider_id for each in provider.search("eth/")] == ["kraken:XETHZUSD"]
    assert not provider.search("luna")
    assert not provider.search(" ")


def test_contracts_are_no_markets(open_ccxt: Open, http_server: ScriptedServer) -> None:
    provider = open_ccxt("bitstamp")
    found = only_listing(provider, "BTC-USD")
    assert found.provider_id == "bitstamp:btcusd"
    assert only_problem(provider, "BTC-USD", "bitstamp:btcusd-perp")[0] == "NotFound"


def row(market_id: str, symbol: str = "A/USD", **fields: object) -> dict[str, object]:
    base, _, quote = symbol.partition("/")
    named = {"id": market_id, "symbol": symbol, "base": base, "quote": quote}
    return {**named, "spot": True, "active": True, **fields}


def test_two_markets_of_one_id_or_symbol_are_both_left_out() -> None:
    rows = [
        row("a", "A/USD"),
        row("b", "A/USD"),
        row("c", "C/USD"),
        row("c", "D/USD"),
        row("e", "E/USD"),
    ]
    markets = MarketList(rows)
    assert len(markets) == 1
    assert markets.with_id("a") is None
    assert markets.with_id("e") is not None


def test_two_markets_of_one_pair_are_for_the_operator_to_choose() -> None:
    rows = [row("a", "A/USD"), {**row("b", "A/USD"), "symbol": "A/USD-2"}]
    choice = Resolver("tape", "Tape", MarketList(rows)).choose(MarketRequest("A-USD"))
    assert not isinstance(choice, Listing)
    assert choice.error_class == "AmbiguousSymbol"
    assert "tape:a, tape:b" in choice.message


def test_a_stablecoin_that_no_longer_counts_as_usd_is_not_asked_for(open_ccxt: Open) -> None:
    stored = only_listing(open_ccxt("binance", usd_stablecoins="USDT"), "BTC-USD")
    batch = open_ccxt("binance").fetch_snapshots([stored])
    assert not batch.rows
    assert [each.error_class for each in batch.problems] == ["UnsupportedMarket"]
