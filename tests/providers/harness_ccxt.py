"""ccxt for the contract tests: Binance behind a server of its own, with USDT counting as USD."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.domain import MarketRequest
from tests.providers.ccxt_setup import NOW, build_ccxt, listing, serve_binance
from tests.providers.harness import Harness
from tests.servers import ScriptedServer


@contextmanager
def harness() -> Iterator[Harness]:
    """Two markets in USDT, one of them pinned."""
    with ScriptedServer() as server:
        serve_binance(server)
        yield Harness(
            now=NOW,
            build=lambda context: build_ccxt(
                server.url, context, exchange="binance", usd_stablecoins="USDT"
            ),
            requests=[MarketRequest("BTC-USD"), MarketRequest("ETH-USD", "binance:ETHUSDT")],
            unknown=listing("binance:NOSUCH", "NO-USD"),
            search_text="btc",
        )
