"""CoinGecko for the contract tests: a scripted server that knows two coins and their history."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from app.domain import Listing, MarketRequest
from tests.providers.coingecko_setup import build_provider
from tests.providers.harness import Harness
from tests.servers import Answer, ReceivedRequest, ScriptedServer

NOW = datetime(2025, 4, 16, 10, 37, 12, tzinfo=UTC)
COINS = [
    {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"},
    {"id": "ethereum", "symbol": "eth", "name": "Ethereum"},
]


@contextmanager
def harness() -> Iterator[Harness]:
    """CoinGecko behind a server of its own."""
    with ScriptedServer() as server:
        server.handle("/coins/list", lambda request: Answer(body=COINS))
        server.handle("/coins/markets", _markets)
        for coin in COINS:
            server.handle(f"/coins/{coin['id']}/market_chart", _market_chart)
        yield Harness(
            now=NOW,
            build=lambda context: build_provider(server.url, context),
            requests=[MarketRequest("BTC-USD"), MarketRequest("ETH-USD", "ethereum")],
            unknown=Listing("coingecko", "no-such-coin", "NO-USD"),
            search_text="bit",
        )


def _markets(request: ReceivedRequest) -> Answer:
    asked = request.query.get("ids")
    rows = [
        _row(coin, rank) for rank, coin in enumerate(COINS, 1)
        if asked is None or coin["id"] in asked.split(",")
    ]  # fmt: skip
    return Answer(body=rows[: int(request.query["per_page"])])


def _row(coin: dict[str, str], rank: int) -> dict[str, Any]:
    return {
        **coin,
        "current_price": 83266.12 / rank,
        "market_cap": 1652026911163 // rank,
        "market_cap_rank": rank,
        "total_volume": 26817917729,
        "last_updated": (NOW - timedelta(minutes=rank)).isoformat().replace("+00:00", "Z"),
    }


def _market_chart(request: ReceivedRequest) -> Answer:
    start = NOW - timedelta(days=int(request.query["days"]))
    hours = int((NOW - start) / timedelta(hours=1))
    instants = [start + timedelta(hours=hour, seconds=hour % 7) for hour in range(hours)] + [NOW]
    prices = [
        [int(at.timestamp() * 1000), 80_000 + 10.5 * number] for number, at in enumerate(instants)
    ]
    return Answer(body={"prices": prices, "market_caps": [], "total_volumes": []})
