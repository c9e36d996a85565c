"""A stand-in for CoinGecko: pages of 250 coins, each answered after 100 ms.

`python -m benchmarks.pages` prints its port and serves until its standard input ends.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE_ROWS = 250
LATENCY_SECONDS = 0.1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(LATENCY_SECONDS)
        number = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
        body = page(number)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing to say."""


@lru_cache
def page(number: int) -> bytes:
    """One page of the ranking, about as long as CoinGecko's."""
    return json.dumps(
        [_coin(PAGE_ROWS * (number - 1) + row + 1) for row in range(PAGE_ROWS)]
    ).encode()


def _coin(rank: int) -> dict[str, object]:
    changes = {
        f"price_change_percentage_{window}_in_currency": 1.2345678901234567 / rank
        for window in ("1h", "24h", "7d", "30d")
    }
    return changes | {
        "id": f"coin-{rank}",
        "symbol": f"c{rank}",
        "name": f"Coin {rank}",
        "image": f"coins/images/{rank}/large/coin-{rank}.png?1696501400",
        "current_price": 100_000 / rank + 0.123456789,
        "market_cap": 10**12 // rank,
        "market_cap_rank": rank,
        "fully_diluted_valuation": 10**12 // rank,
        "total_volume": 10**10 // rank,
        "high_24h": 100_001 / rank,
        "low_24h": 99_999 / rank,
        "price_change_24h": -1435.9708415788919 / rank,
        "price_change_percentage_24h": -1.69531,
        "market_cap_change_24h": -28_000_000_000 / rank,
        "circulating_supply": 19_851_884.0,
        "total_supply": 19_851_884.0,
        "max_supply": 21_000_000.0,
        "ath": 108_786 / rank,
        "ath_change_percentage": -23.4,
        "ath_date": "2025-01-20T09:11:54.494Z",
        "last_updated": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }


@contextmanager
def serving() -> Iterator[str]:
    """The address of a stand-in in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pages"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.communicate()


def main() -> None:
    """Serve until the parent is gone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
