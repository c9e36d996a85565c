"""Candles of exchanges: exact, page by page, each hour once, and failures market by market."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain import Candle, Granularity
from app.errors import PermanentProviderError
from app.providers.ccxt import Ccxt
from tests.providers.ccxt_setup import (
    MARKETS_OF,
    NOW,
    SERVERS,
    Open,
    build_ccxt,
    forget_markets,
    listing,
    listings_of,
    open_ccxt,
    price_at,
)
from tests.providers.coingecko_setup import build_context, recordings
from tests.servers import Answer, ReceivedRequest, ScriptedServer

__all__ = ["forget_markets", "open_ccxt"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURLY, DAILY = Granularity.HOURLY, Granularity.DAILY
KLINES = "/api/v3/klines"


def fetch(
    provider: Ccxt, exchange: str, granularity: Granularity, start: datetime, end: datetime = NOW
) -> list[Candle]:
    """The candles of the exchange's first market, without a problem."""
    asked = listings_of(provider, MARKETS_OF[exchange][0])
    batch = provider.fetch_candles(asked, granularity, start, end)
    assert not batch.problems
    assert not batch.rejected
    return list(batch.rows)


@pytest.mark.parametrize("exchange", SERVERS)
def test_candles_are_what_the_exchange_wrote(open_ccxt: Open, exchange: str) -> None:
    start = NOW - 20 * HOUR
    candles = fetch(open_ccxt(exchange), exchange, HOURLY, start)
    first = HOURLY.floor(start) + HOUR
    assert [each.opened_at for each in candles] == [first + HOUR * number for number in range(20)]
    volumes = {"binance": Decimal("17296.89307540"), "kraken": Decimal("750018.750600015")}
    for candle in candles:
        second = int(candle.opened_at.timestamp())
        assert candle.open == price_at(second)
        assert candle.close == price_at(second + 3600)
        assert (candle.high, candle.low) == (61_000, 59_000)
        assert candle.volume == volumes.get(exchange)
        assert candle.is_final == (candle.closed_at <= NOW)
    assert not candles[-1].is_final


@pytest.mark.parametrize("exchange", SERVERS)
def test_days_are_offered_as_well(open_ccxt: Open, exchange: str) -> None:
    candles = fetch(open_ccxt(exchange), exchange, DAILY, NOW - 40 * DAY)
    assert len(candles) == 40
    assert {DAILY.floor(each.opened_at) == each.opened_at for each in candles} == {True}
    assert [each.is_final for each in candles] == [True] * 39 + [False]


@pytest.mark.parametrize(("exchange", "pages"), [("binance", 3), ("coinbaseexchange", 8)])
def test_long_history_comes_in_pages_of_the_exchanges_length(
    open_ccxt: Open, http_server: ScriptedServer, exchange: str, pages: int
) -> None:
    provider = open_ccxt(exchange)
    candles = fetch(provider, exchange, HOURLY, NOW - 95 * DAY)
    assert len(candles) == 95 * 24
    assert len({each.opened_at for each in candles}) == len(candles)
    asked = [each for each in http_server.requests if each.path.endswith(("klines", "candles"))]
    assert len(asked) == pages


def test_kraken_keeps_720_hours_and_is_not_asked_for_more(open_ccxt: Open) -> None:
    provider = open_ccxt("kraken")
    assert provider.capabilities.history_days == 30
    assert len(fetch(provider, "kraken", HOURLY, NOW - 60 * DAY)) == 720


def test_start_and_end_bound_the_openings(open_ccxt: Open) -> None:
    start, end = HOURLY.floor(NOW - 50 * HOUR), HOURLY.floor(NOW - 30 * HOUR)
    candles = fetch(open_ccxt("kraken"), "kraken", HOURLY, start, end)
    assert (candles[0].opened_at, candles[-1].opened_at) == (start, end - HOUR)


def test_market_that_is_younger_than_the_span_is_searched_to_its_first_candle(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("coinbaseexchange")
    asked = listings_of(provider, "BTC-USD")
    born = int((NOW - 3 * DAY).timestamp())

    def young(request: ReceivedRequest) -> Answer:
        end = datetime.fromisoformat(request.query["end"]).timestamp()
        hours = range(-(-born // 3600) * 3600, int(min(end + 1, NOW.timestamp())), 3600)
        return Answer(body=[[second, 1.25, 2.5, 2, 2, 3.5] for second in hours])

    http_server.handle("/products/BTC-USD/candles", young)
    batch = provider.fetch_candles(asked, HOURLY, NOW - 60 * DAY, NOW)
    assert not batch.problems
    assert len(batch.rows) == 72
    assert batch.rows[0].low == Decimal("1.25")


def test_exchange_that_gives_one_candle_at_a_time_is_not_asked_for_ever(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT")

    def stingy(request: ReceivedRequest) -> Answer:
        return Answer(body=[[int(request.query["startTime"]), "2", "3", "1", "2", "1", 0, "2"]])

    http_server.handle(KLINES, stingy)
    batch = provider.fetch_candles(asked, HOURLY, NOW - 9 * DAY, NOW)
    (problem,) = batch.problems
    assert problem.error_class == "TransientProviderError"
    assert "too small pieces" in problem.message
    assert len(batch.rows) == sum(each.path == KLINES for each in http_server.requests) == 4


def test_bad_candle_is_rejected_alone(open_ccxt: Open, http_server: ScriptedServer) -> None:
    provider = open_ccxt("binance")
    asked = listings_of(provider, "BTC-USDT")
    second = int(HOURLY.floor(NOW - 5 * HOUR).timestamp())
    rows: list[Any] = [
        [(second + 3600 * number) * 1000, "2", "3", "1", "2", "1", 0, "2"] for number in range(5)
    ]
    rows[1][4] = "1e99999"
    rows[2][4] = None
    rows[3][0] = "yesterday"
    http_server.script(KLINES, Answer(body=rows))
    batch = provider.fetch_candles(asked, HOURLY, NOW - 6 * HOUR, NOW)
    assert [each.opened_at.hour for each in batch.rows] == [5, 9]
    reasons = [each.reason for each in batch.rejected]
    assert reasons[:3] == ["number_out_of_range", "no_price", "bad_time"]


def test_failed_market_is_a_problem_and_the_others_are_served(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("coinbaseexchange")
    asked = listings_of(provider, "BTC-USD", "ETH-USD")
    http_server.script("/products/BTC-USD/candles", Answer(status=500, body={}))
    batch = provider.fetch_candles(asked, HOURLY, NOW - 5 * HOUR, NOW)
    assert {each.listing.symbol for each in batch.rows} == {"ETH-USD"}
    assert [(each.symbol, each.error_class) for each in batch.problems] == [
        ("BTC-USD", "TransientProviderError")
    ]


def test_history_of_no_market_is_asked_for_when_none_is_wanted(
    open_ccxt: Open, http_server: ScriptedServer
) -> None:
    provider = open_ccxt("kraken", history_markets_per_run=0)
    assert provider.capabilities.granularities == frozenset()
    batch = provider.fetch_candles([listing("kraken:XXBTZUSD", "BTC-USD")], HOURLY, NOW - DAY, NOW)
    assert not batch.rows
    assert not http_server.requests


def test_weeks_are_refused_for_they_begin_on_other_days(open_ccxt: Open) -> None:
    with pytest.raises(PermanentProviderError, match="weekly"):
        fetch(open_ccxt("kraken"), "kraken", Granularity.WEEKLY, NOW - 30 * DAY)


@pytest.mark.parametrize("exchange", ["binanceus", "bitstamp", "coinbaseexchange", "kraken"])
def test_recorded_candles_read_as_ccxt_reads_them(
    http_server: ScriptedServer, exchange: str
) -> None:
    folder = recordings("exchanges-ccxt-2024-03-13")
    document = json.loads((folder / "btc-usdt-five-exchanges.json").read_text("utf-8"))
    recorded = document["exchanges"][exchange]["ohlcv_1h"]
    provider = build_ccxt(http_server.url, build_context(now=NOW), exchange=exchange)
    calls = provider._calls
    body = recorded["httpResponse"]
    if exchange == "kraken":
        body = body["result"]["XBTUSDT"]
    rows = body["data"]["ohlc"] if exchange == "bitstamp" else body
    for row in rows:
        provider._exchange.parse_ohlcv(row)
    read = {each.values[0]: each.values for each in calls._read_candles}
    for expected in recorded["parsed"]:
        figures = [Decimal(str(figure)) for figure in read[expected[0]][1:]]
        assert figures == [Decimal(str(figure)) for figure in expected[1:]]
    provider.close()
