"""What the tests of ccxt share: local servers that answer as four exchanges do, and providers."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.domain import Listing, MarketRequest
from app.providers.base import ProviderContext
from app.providers.ccxt import Ccxt, CcxtSettings, market_lists
from app.providers.http import CallLimits
from tests.providers.coingecko_setup import QUICK, build_context, payload
from tests.servers import Answer, ReceivedRequest, ScriptedServer

NOW = datetime(2025, 4, 16, 10, 37, 12, tzinfo=UTC)
HOUR = 3600
Row = list[object]


def build_ccxt(
    url: str,
    context: ProviderContext | None = None,
    *,
    exchange: str = "kraken",
    limits: CallLimits = QUICK,
    **settings: Any,
) -> Ccxt:
    """The provider at a local server, with a budget that does not hinder."""
    values = {"exchange": exchange, "base_url": url, "requests_per_minute": 100_000, **settings}
    return Ccxt(CcxtSettings(**values), context or build_context(now=NOW), limits=limits)


def listings_of(provider: Ccxt, *symbols: str) -> list[Listing]:
    """The provider's own listings of these symbols, each of which it must have."""
    resolution = provider.resolve_listings([MarketRequest(symbol) for symbol in symbols])
    assert not resolution.problems
    return list(resolution.listings)


def listing(provider_id: str, symbol: str, quote: str = "USD") -> Listing:
    """A listing as it would be stored."""
    return Listing("ccxt", provider_id, symbol, quote=quote)


def price_at(second: int) -> Decimal:
    """A price with nine places for every instant, which no float holds."""
    return Decimal(60_000) + Decimal(second % 1_000_000_007) / Decimal(10**9)


def candle_rows(
    start: int, end: int, step: int, build: Callable[[int, Sequence[Decimal]], Row]
) -> list[Row]:
    """Rows for every opening in `[start, end)` (seconds): open, high, low and close."""
    first = -(-start // step) * step
    return [
        build(second, (price_at(second), Decimal(61_000), Decimal(59_000), price_at(second + step)))
        for second in range(first, end, step)
    ]


def serve_kraken(server: ScriptedServer, now: datetime = NOW, *, hours_kept: int = 720) -> None:
    """Kraken: candles only of the last 720 intervals, all figures as text, no time in tickers."""
    server.script("/0/public/Assets", Answer(body=payload("ccxt_kraken_assets.json")))
    server.script("/0/public/AssetPairs", Answer(body=payload("ccxt_kraken_asset_pairs.json")))
    server.handle("/0/public/Ticker", _kraken_tickers)
    server.handle("/0/public/OHLC", lambda asked: _kraken_candles(asked, now, hours_kept))


def _kraken_tickers(asked: ReceivedRequest) -> Answer:
    known = json.loads(payload("ccxt_kraken_asset_pairs.json"))["result"]
    names = asked.query["pair"].split(",") if "pair" in asked.query else list(known)
    if not set(names) <= set(known):
        return Answer(body={"error": ["EQuery:Unknown asset pair"]})
    return Answer(body={"error": [], "result": {name: kraken_ticker() for name in names}})


def kraken_ticker(last: str = "73380.60000") -> dict[str, Any]:
    """One row of Kraken's /Ticker."""
    return {
        "a": ["73380.70000", "1", "1.000"],
        "b": ["73380.60000", "1", "1.000"],
        "c": [last, "0.00160710"],
        "v": ["165.16072288", "598.03698452"],
        "p": ["72647.97204", "71501.57520"],
        "t": [6405, 21103],
        "l": ["71321.80000", "68666.00000"],
        "h": ["73580.00000", "73580.00000"],
        "o": "71450.70000",
    }


def _kraken_candles(asked: ReceivedRequest, now: datetime, hours_kept: int) -> Answer:
    step = int(asked.query["interval"]) * 60
    end = int(now.timestamp())
    start = max(int(asked.query["since"]) + 1, end - step * hours_kept)
    rows = candle_rows(start, end, step, _kraken_candle)
    result = {asked.query["pair"]: rows, "last": end - step}
    return Answer(body={"error": [], "result": result})


def _kraken_candle(second: int, prices: Sequence[Decimal]) -> Row:
    return [second, *map(str, prices), "60001.5", "12.50000001", 34]


def serve_binance(server: ScriptedServer, now: datetime = NOW) -> None:
    """Binance: pages of up to 1,000 candles from a start on, quote volume in each."""
    server.script("/api/v3/exchangeInfo", Answer(body=payload("ccxt_binance_exchange_info.json")))
    server.handle("/api/v3/ticker/24hr", lambda asked: _binance_tickers(asked, now))
    server.handle("/api/v3/klines", lambda asked: _binance_candles(asked, now))


def _binance_tickers(asked: ReceivedRequest, now: datetime) -> Answer:
    known = [each["symbol"] for each in _binance_symbols()]
    wanted = json.loads(asked.query["symbols"]) if "symbols" in asked.query else known
    wanted = [asked.query["symbol"]] if "symbol" in asked.query else wanted
    if not set(wanted) <= set(known):
        return Answer(status=400, body={"code": -1121, "msg": "Invalid symbol."})
    rows = [binance_ticker(symbol, now) for symbol in wanted]
    return Answer(body=rows[0] if "symbol" in asked.query else rows)


def _binance_symbols() -> list[dict[str, Any]]:
    symbols: list[dict[str, Any]] = json.loads(payload("ccxt_binance_exchange_info.json"))[
        "symbols"
    ]
    return symbols


def binance_ticker(symbol: str, now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """One row of Binance's /ticker/24hr, a second old."""
    closed = int(now.timestamp() * 1000) - 1000
    return {
        "symbol": symbol,
        "priceChange": "1186.64000000",
        "priceChangePercent": "1.644",
        "weightedAvgPrice": "71621.93721726",
        "prevClosePrice": "72172.18000000",
        "lastPrice": "73346.14000000",
        "lastQty": "0.00610000",
        "bidPrice": "73267.15000000",
        "bidQty": "0.11775000",
        "askPrice": "73345.89000000",
        "askQty": "0.00010000",
        "openPrice": "72159.50000000",
        "highPrice": "73559.04000000",
        "lowPrice": "69008.63000000",
        "volume": "129.21293000",
        "quoteVolume": "9254480.36011840",
        "openTime": closed - 86_400_000,
        "closeTime": closed,
        "firstId": 28389293,
        "lastId": 28407382,
        "count": 18090,
        **changes,
    }


def _binance_candles(asked: ReceivedRequest, now: datetime) -> Answer:
    step = {"1h": HOUR, "1d": 24 * HOUR}[asked.query["interval"]]
    limit = int(asked.query["limit"])
    assert limit <= 1000
    start = int(asked.query["startTime"]) // 1000
    rows = candle_rows(start, int(now.timestamp()), step, _binance_candle)
    return Answer(body=rows[:limit])


def _binance_candle(second: int, prices: Sequence[Decimal]) -> Row:
    opened = second * 1000
    texts = map(str, prices)
    return [opened, *texts, "0.23592000", opened + 3_599_999, "17296.89307540", 55, "0.2", "9", "0"]


def serve_coinbase(server: ScriptedServer, now: datetime = NOW) -> None:
    """Coinbase Exchange: 300 candles a window, newest first, numbers unquoted, low before high."""
    server.script("/currencies", Answer(body=[]))
    server.script("/products", Answer(body=payload("ccxt_coinbase_products.json")))
    for product in ("BTC-USD", "ETH-USD"):
        server.handle(f"/products/{product}/ticker", lambda asked: _coinbase_ticker(now))
        server.handle(f"/products/{product}/candles", lambda asked: _coinbase_candles(asked, now))


def _coinbase_ticker(now: datetime) -> Answer:
    return Answer(
        body={
            "ask": "73369.19",
            "bid": "73360.34",
            "volume": "1207.50668151",
            "trade_id": 18502105,
            "price": "73367.8",
            "size": "0.00730812",
            "time": f"{now - timedelta(seconds=2):%Y-%m-%dT%H:%M:%S}.270099Z",
        }
    )


def _coinbase_candles(asked: ReceivedRequest, now: datetime) -> Answer:
    step = int(asked.query["granularity"])
    start, end = (
        int(datetime.fromisoformat(asked.query[name]).timestamp()) for name in ("start", "end")
    )
    assert (end - start) / step < 300
    rows = candle_rows(start, min(end + 1, int(now.timestamp())), step, _coinbase_candle)
    lines = ",".join(f"[{','.join(map(str, row))}]" for row in reversed(rows))
    return Answer(body=f"[{lines}]")


def _coinbase_candle(second: int, prices: Sequence[Decimal]) -> Row:
    opened, high, low, close = prices
    return [second, low, high, opened, close, "1.56794406"]


def serve_bitstamp(server: ScriptedServer, now: datetime = NOW) -> None:
    """Bitstamp: one list of all tickers, candles as objects with all figures as text."""
    server.script("/api/v2/markets/", Answer(body=payload("ccxt_bitstamp_markets.json")))
    rows = [_bitstamp_ticker(pair, now) for pair in ("BTC/USD", "ETH/USD", "BTC/USD-PERP")]
    server.script("/api/v2/ticker/", Answer(body=rows))
    for pair in ("btcusd", "ethusd"):
        server.handle(f"/api/v2/ohlc/{pair}/", lambda asked: _bitstamp_candles(asked, now))


def _bitstamp_ticker(pair: str, now: datetime) -> dict[str, Any]:
    return {
        "timestamp": str(int(now.timestamp())),
        "open": "71448",
        "high": "73656",
        "low": "68626",
        "last": "73285",
        "volume": "135.29692054",
        "vwap": "70853",
        "bid": "73353",
        "ask": "73367",
        "side": "0",
        "open_24": "72144",
        "percent_change_24": "1.58",
        "pair": pair,
    }


def _bitstamp_candles(asked: ReceivedRequest, now: datetime) -> Answer:
    step, start = int(asked.query["step"]), int(asked.query["start"])
    end = min(int(asked.query["end"]) + 1, int(now.timestamp()))
    rows = candle_rows(start, end, step, lambda second, prices: [second, *prices])
    names = ("timestamp", "open", "high", "low", "close")
    ohlc = [
        {**dict(zip(names, map(str, row), strict=True)), "volume": "0.01076655"} for row in rows
    ]
    return Answer(body={"data": {"pair": "BTC/USD", "ohlc": ohlc[: int(asked.query["limit"])]}})


SERVERS = {
    "binance": serve_binance,
    "bitstamp": serve_bitstamp,
    "coinbaseexchange": serve_coinbase,
    "kraken": serve_kraken,
}
MARKETS_OF = {
    name: ("BTC-USDT", "ETH-USDT") if name == "binance" else ("BTC-USD", "ETH-USD")
    for name in SERVERS
}
Open = Callable[..., Ccxt]


@pytest.fixture(autouse=True)
def forget_markets() -> Iterator[None]:
    """No list of markets outlives the server it came from."""
    market_lists.clear()
    yield
    market_lists.clear()


@pytest.fixture
def open_ccxt(http_server: ScriptedServer) -> Iterator[Open]:
    """Makes providers that ask an exchange at the test's own server, and closes them."""
    opened: list[Ccxt] = []

    def make(exchange: str, **options: Any) -> Ccxt:
        SERVERS[exchange](http_server)
        opened.append(build_ccxt(http_server.url, exchange=exchange, **options))
        return opened[-1]

    yield make
    for provider in opened:
        provider.close()
