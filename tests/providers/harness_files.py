"""Files for the contract tests: candles, a symbol column, and prices as JSON lines."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from app.domain import Listing, MarketRequest
from app.providers.files import Files, FilesSettings
from tests.providers.files_setup import NOW, hour, hours
from tests.providers.harness import Harness

HOURS = 24 * 14


@contextmanager
def harness() -> Iterator[Harness]:
    """The files need no server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "BTC-USD_1h.csv").write_text(hours(-HOURS, 1))
        (folder / "exchange.csv").write_text(_with_symbols())
        (folder / "SPX.jsonl").write_text(_prices())
        yield Harness(
            now=NOW,
            build=lambda context: Files(FilesSettings(folder=folder), context),
            requests=[
                MarketRequest("BTC-USD"),
                MarketRequest("ETH-EUR", "ETH/EUR"),
                MarketRequest("SPX"),
            ],
            unknown=Listing("files", "no-such-market", "NO-USD"),
            search_text="btc",
        )


def _with_symbols() -> str:
    rows = [
        f"{symbol},{int(hour(number).timestamp())},10.5,12,9,11.25,7"
        for number in range(-HOURS, 1)
        for symbol in ("ETH/EUR", "LTC/EUR")
    ]
    return "\n".join(["symbol,unix,Open,High,Low,Close,Volume", *rows, ""])


def _prices() -> str:
    moments = [NOW - timedelta(minutes=20 * number) for number in range(3 * HOURS)]
    rows = [{"timestamp": moment.isoformat(), "price": 5_100.25} for moment in moments]
    return "".join(json.dumps(row) + "\n" for row in rows)
