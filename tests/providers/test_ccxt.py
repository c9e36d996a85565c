"""Snapshots of exchanges over real HTTP: exact, each market's own, and bad rows alone."""

import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain import MarketRequest
from app.errors import PermanentProviderError, TransientProviderError
from app.providers.ccxt_package import build_exchange
from tests.providers.ccxt_setup import (
    MARKETS_OF,
    NOW,
    SERVERS,
    Open,
    binance_ticker,
    build_ccxt,
    forget_markets,
    kraken_ticker,
    listing,
    listings_of,
    open_ccxt,
)
from tests.providers.coingecko_setup import payload, recordings
from tests.servers import Answer, ScriptedServer

__all__ = ["forget_markets", "open_ccxt"]
TICKERS = "/api/v3/ticker/24hr"


@pytest.mark.parametrize("exchange", SERVERS)
def test_snapshots_are_what_the_exchange_wrote(open_ccxt: Open, exchange: str) -> None:
    provider = open_ccxt(exchange)
    asked = listings_of(provider, *MARKETS_OF[exchange])
    batch = provider.fetch_snapshots(asked)
    assert not batch.problems
    assert not batch.rejected
    assert [row.listing for row in batch.rows] == asked
    expected = {
        "binance": ("73346.14000000", "9254480.36011840", NOW - timedelta(seconds=1)),
        # The volume is ccxt's product of what was traded and its average price.
        "bitstamp": ("73285", "9586192.71102062", NOW),
        # It gives its volume in the base currency alone.
        "coinbaseexchange": ("73367.8", "None", NOW - timedelta(seconds=1, milliseconds=730)),
        # It gives no time.
        "kraken": ("73380.60000", "42760586.421038015904", None),
    }
    for row in batch.rows:
        price, volume, observed_at = expected[exchange]
        assert (str(row.price), str(row.volume)) == (price, volume)
        assert row.observed_at == observed_at
        assert row.roi_24h_pct is None


def test_nineteen_places_survive_as_text_and_as_a_bare_number(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")
    rows = [
        json.dumps(binance_ticker("BTCUSDT", lastPrice="0.1234567890123456789")),
        json.dumps(binance_ticker("ETHUSDT", lastPrice="@")).replace(
            '"@"', "0.1234567890123456789"
        ),
    ]
    http_server.script(TICKERS, Answer(body=f"[{','.join(rows)}]"))
    prices = [row.price for row in provider.fetch_snapshots(asked).rows]
    assert prices == [Decimal("0.1234567890123456789")] * 2
    assert [str(price) for price in prices] == ["0.1234567890123456789"] * 2


def test_one_call_serves_all_markets_where_the_exchange_has_one(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")
    http_server.requests.clear()
    provider.fetch_snapshots(asked)
    (request,) = http_server.requests
    assert request.query == {"symbols": '["BTCUSDT","ETHUSDT"]'}
    assert request.headers["User-Agent"] == "Tapedeck"
    assert "Cookie" not in request.headers


def test_coinbase_is_asked_market_by_market_for_its_list_is_coarser(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("coinbaseexchange")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    http_server.requests.clear()
    provider.fetch_snapshots(asked)
    paths = [request.path for request in http_server.requests]
    assert paths == ["/products/BTC-USD/ticker", "/products/ETH-USD/ticker"]


def test_beyond_a_hundred_markets_the_whole_list_is_asked_for(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    symbols = [f"C{number}USDT" for number in range(101)]
    template = json.loads(payload("ccxt_binance_exchange_info.json"))
    rows = [
        {**template["symbols"][0], "symbol": name, "baseAsset": name.removesuffix("USDT")}
        for name in symbols
    ]
    provider = open_ccxt("binance")
    http_server.script("/api/v3/exchangeInfo", Answer(body={**template, "symbols": rows}))
    http_server.script(TICKERS, Answer(body=[binance_ticker(name) for name in symbols]))
    asked = listings_of(provider, *(f"C{number}-USDT" for number in range(101)))
    assert len(provider.fetch_snapshots(asked).rows) == 101
    assert http_server.requests[-1].query == {}


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"lastPrice": "1e99999"}, "number_out_of_range"),
        ({"quoteVolume": "1E+999999999"}, "number_out_of_range"),
        ({"lastPrice": "1,234.5"}, "not_a_number"),
        ({"lastPrice": "NaN"}, "not_a_number"),
        ({"lastPrice": "1" * 5000}, "number_too_long"),
        ({"closeTime": 4}, "bad_time"),
        ({"closeTime": 10**18}, "bad_time"),
    ],
)
def test_bad_row_is_rejected_alone(
    open_ccxt: Open, http_server: ScriptedServer, figures: dict[str, Any], reason: str
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")
    rows = [binance_ticker("BTCUSDT", **figures), binance_ticker("ETHUSDT")]
    http_server.script(TICKERS, Answer(body=rows))
    batch = provider.fetch_snapshots(asked)
    assert [row.listing.symbol for row in batch.rows] == ["ETH-USDT"]
    (rejected,) = batch.rejected
    assert (rejected.reason, rejected.symbol) == (reason, "BTC-USDT")
    assert rejected.raw.startswith('{"symbol":"BTCUSDT"')
    assert len(rejected.raw) <= 4096
    assert not batch.problems


def test_an_identifier_that_looks_like_a_number_is_none(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    rows = [binance_ticker("BTCUSDT", hash="0x3e12345f", note="7e12345 and more")]
    http_server.script(TICKERS, Answer(body=rows))
    batch = provider.fetch_snapshots(listings_of(provider, "BTC-USDT"))
    assert len(batch.rows) == 1
    assert not batch.rejected


def test_row_that_ccxt_stumbles_over_is_rejected_alone(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("kraken")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    rows = {"XXBTZUSD": {**kraken_ticker(), "v": ["a", "b"]}, "XETHZUSD": kraken_ticker()}
    http_server.script("/0/public/Ticker", Answer(body={"error": [], "result": rows}))
    batch = provider.fetch_snapshots(asked)
    assert [row.listing.symbol for row in batch.rows] == ["ETH-USD"]
    assert [(row.symbol, row.reason) for row in batch.rejected] == [("BTC-USD", "bad_shape")]


@pytest.mark.parametrize("last", [None, True, [1], ""])
def test_a_price_that_the_exchange_does_not_give_is_not_worked_out(
    open_ccxt: Open, http_server: ScriptedServer, last: object
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")
    rows = [binance_ticker("BTCUSDT", lastPrice=last), binance_ticker("ETHUSDT", lastPrice="0")]
    http_server.script(TICKERS, Answer(body=rows))
    # What is no price is left to the pipeline's rules.
    assert [row.price for row in provider.fetch_snapshots(asked).rows] == [None, Decimal(0)]


def test_market_taken_away_since_does_not_spoil_the_call_for_the_others(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")

    def without_ether(request: Any) -> Answer:
        if "ETHUSDT" in request.query_string:
            return Answer(status=400, body={"code": -1121, "msg": "Invalid symbol."})
        return Answer(body=binance_ticker("BTCUSDT"))

    http_server.handle(TICKERS, without_ether)
    batch = provider.fetch_snapshots(asked)
    assert [row.listing.symbol for row in batch.rows] == ["BTC-USDT"]
    assert [(each.symbol, each.error_class) for each in batch.problems] == [
        ("ETH-USDT", "NotFound")
    ]


def test_ticker_missing_from_the_answer_is_a_problem_of_its_market(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT", "ETH-USDT")
    http_server.script(TICKERS, Answer(body=[binance_ticker("BTCUSDT")]))
    batch = provider.fetch_snapshots(asked)
    assert [each.symbol for each in batch.problems] == ["ETH-USDT"]
    assert len(batch.rows) == 1


def test_unknown_product_of_coinbase_is_a_problem_of_its_market(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("coinbaseexchange")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    http_server.script("/products/ETH-USD/ticker", Answer(status=404, body={"message": "NotFound"}))
    batch = provider.fetch_snapshots(asked)
    assert [row.listing.symbol for row in batch.rows] == ["BTC-USD"]
    (problem,) = batch.problems
    assert (problem.symbol, problem.error_class) == ("ETH-USD", "NotFound")


def test_each_of_several_calls_failing_raises(open_ccxt: Open, http_server: ScriptedServer) -> None:
    provider = open_ccxt("coinbaseexchange")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    for product in ("BTC-USD", "ETH-USD"):
        http_server.script(f"/products/{product}/ticker", Answer(status=500, body={}))
    with pytest.raises(TransientProviderError):
        provider.fetch_snapshots(asked)


def test_markets_are_asked_for_once_an_hour(open_ccxt: Open, http_server: ScriptedServer) -> None:
    requests = [MarketRequest("BTC-USD")]
    first = open_ccxt("kraken").resolve_listings(requests)
    http_server.requests.clear()
    later = open_ccxt("kraken")
    assert later.resolve_listings(requests) == first
    assert not http_server.requests
    assert later.fetch_snapshots(first.listings).rows
    assert [request.path for request in http_server.requests] == ["/0/public/Ticker"]


def test_empty_list_of_markets_is_not_believed(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    http_server.script("/api/v3/exchangeInfo", Answer(body={"symbols": []}))
    with pytest.raises(TransientProviderError, match="empty list"):
        provider.resolve_listings([MarketRequest("BTC-USDT")])


def test_exchange_that_was_not_tried_works_with_a_plain_word(
    http_server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "app.providers.ccxt"):
        provider = build_ccxt(http_server.url, exchange="bitfinex")
    assert provider.capabilities.granularities
    (record,) = [each for each in caplog.records if each.name == "app.providers.ccxt"]
    assert record.__dict__["exchange"] == "bitfinex"
    provider.close()


def test_exchange_that_the_installed_ccxt_lacks_is_refused() -> None:
    with pytest.raises(PermanentProviderError, match="no exchange"):
        build_exchange("nowhere", lambda *_: None)


@pytest.mark.parametrize("exchange", ["binanceus", "bitstamp", "coinbaseexchange", "kraken"])
def test_recorded_tickers_read_as_ccxt_reads_them(exchange: str) -> None:
    folder = recordings("exchanges-ccxt-2024-03-13")
    document = json.loads((folder / "btc-usdt-five-exchanges.json").read_text("utf-8"))
    recorded = document["exchanges"][exchange]["ticker"]
    built = build_exchange(exchange, lambda *_: None)
    body = recorded["httpResponse"]
    row = body["result"]["XBTUSDT"] if exchange == "kraken" else body
    ticker = built.parse_ticker(row, {"symbol": "BTC/USDT"})
    expected = recorded["parsed"]
    assert Decimal(ticker["last"]) == Decimal(expected["last"])
    assert ticker["timestamp"] == expected["timestamp"]
    volume = ticker["quoteVolume"]
    assert volume == expected["quoteVolume"] or (
        abs(Decimal(volume) - Decimal(expected["quoteVolume"])) < Decimal("0.000001")
    )


def test_time_of_a_ticker_is_read_to_the_millisecond(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    http_server.script(TICKERS, Answer(body=[binance_ticker("BTCUSDT", closeTime=1710328244727)]))
    (row,) = provider.fetch_snapshots([listing("binance:BTCUSDT", "BTC-USDT", "USDT")]).rows
    assert row.observed_at == datetime(2024, 3, 13, 11, 10, 44, 727_000, tzinfo=UTC)
