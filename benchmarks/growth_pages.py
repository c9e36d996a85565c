"""Every page and list with 10,000 markets and 100,000 runs stored against 1,000 of each."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, text

from app import create_app
from app.extensions import cache
from app.services.house import House
from benchmarks.figures import Figure, at_most, ratio, say, seconds, timed
from benchmarks.postgres import BenchServer, load, pooled
from benchmarks.stored import store_markets, store_runs, tidy

LARGE, SMALL = (10_000, 100_000), (1_000, 1_000)  # markets, runs
SNAPSHOTS, HOURS = 20, 72  # of each market
ROUNDS = 15
WARM_UP = 3
BAR = 2.0
# RUN stands for the newest run, DELIVERY for the newest delivery. Of an export the first part is
# read.
ADDRESSES: Mapping[str, str] = {
    "overview": "/",
    "runs": "/runs",
    "runs-failed": "/runs?status=failed&period=7d",
    "runs-search": "/runs?search=429",
    "run": "/runs/RUN",
    "markets": "/markets",
    "markets-late": "/markets?freshness=late",
    "markets-search": "/markets?search=m0001",
    "market": "/markets/M00007-USD",
    "compare": "/compare?markets=M00001-USD,M00002-USD,M00003-USD",
    "operations": "/operations?range=7d",
    "schedule": "/schedule",
    "alerts": "/alerts",
    "alerts-history": "/alerts/history",
    "alerts-rules": "/alerts/rules",
    "alerts-deliveries": "/alerts/deliveries",
    "alerts-delivery": "/alerts/deliveries/DELIVERY",
    "settings": "/settings",
    "about": "/about",
    "badge": "/badge.svg",
    "prometheus": "/metrics",
    "api-metrics": "/api/metrics",
    "api-snapshots": "/api/snapshots/latest?limit=250",
    "api-snapshots-by-price": "/api/snapshots/latest?limit=250&sort=-price",
    "api-markets": "/api/markets?limit=250",
    "api-market": "/api/markets/M00007-USD",
    "api-candles": "/api/markets/M00007-USD/candles?granularity=hourly",
    "api-comparisons": "/api/comparisons?markets=M00001-USD,M00002-USD,M00003-USD",
    "api-runs": "/api/runs?limit=250",
    "api-runs-by-trigger": "/api/runs?limit=250&trigger=backfill",
    "api-run": "/api/runs/RUN",
    "api-alerts": "/api/alerts?limit=250",
    "api-deliveries": "/api/alerts/deliveries?limit=250",
    "api-schedule": "/api/schedule?ticks=500",
    "export-snapshots": "/api/exports/snapshots.csv",
    "export-candles": "/api/exports/candles.csv",
    "export-roi-statistics": "/api/exports/roi-statistics.csv",
    "export-runs": "/api/exports/runs.csv",
}


class Deck:
    """The whole application over so much data, asked in this process."""

    def __init__(self, url: str, folder: Path, *, markets: int, runs: int) -> None:
        self._engine = pooled(url)
        store_markets(self._engine, markets, snapshots=SNAPSHOTS, hours=HOURS)
        store_runs(self._engine, runs)
        tidy(self._engine)
        settings = {"ingestion_provider": "mock", "ingestion_markets": f"top:{markets}"}
        self._app = create_app(load(url, folder, **settings))
        self._house: House = self._app.extensions["tapedeck"]
        self._client = self._app.test_client()
        self._ids = {name: _newest(self._engine, table) for name, table in _NEWEST.items()}

    def read(self, address: str) -> float:
        """Seconds for an answer that no cache has."""
        for name, value in self._ids.items():
            address = address.replace(name, value)
        self._forget()
        return timed(lambda: self._ask(address))

    def _ask(self, address: str) -> None:
        answer = self._client.get(address)
        parts = answer.iter_encoded()
        body = next(parts) if "/exports/" in address else b"".join(parts)
        answer.close()
        if answer.status_code != 200 or not body:
            raise AssertionError(f"{address} answers {answer.status}")

    def _forget(self) -> None:
        with self._app.app_context():
            cache.clear()
        with self._engine.begin() as connection:
            connection.execute(text(_NEW_VERSION))
        self._house.data_version.forget()


_NEWEST = {
    "RUN": "ingestion_run ORDER BY started_at",
    "DELIVERY": "alert_delivery ORDER BY created_at",
}
_NEW_VERSION = """
    INSERT INTO data_version (kind) VALUES ('data')
    ON CONFLICT (kind) DO UPDATE SET token = gen_random_uuid()
"""


def _newest(engine: Engine, rows: str) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text(f"SELECT id FROM {rows} DESC LIMIT 1")).scalar_one())


def measure(server: BenchServer) -> list[Figure]:
    """Every address of both decks, taking turns."""
    say("  storing 10,000 markets and 100,000 runs")
    decks = {}
    for name, (markets, runs) in {"small": SMALL, "large": LARGE}.items():
        url = server.database(f"pages_{name}")
        decks[name] = Deck(url, server.folder, markets=markets, runs=runs)
    figures = [_measure(name, address, decks) for name, address in ADDRESSES.items()]
    for name in decks:
        server.drop(f"pages_{name}")
    return figures


def _measure(name: str, address: str, decks: Mapping[str, Deck]) -> Figure:
    taken: dict[str, list[float]] = {size: [] for size in decks}
    for number in range(WARM_UP + ROUNDS):
        for size, deck in decks.items():
            spent = deck.read(address)
            if number >= WARM_UP:
                taken[size].append(spent)
    detail = (
        f"{seconds(taken['large'])} with 10,000 markets and 100,000 runs, "
        f"{seconds(taken['small'])} with 1,000 of each"
    )
    return at_most(f"pages-{name}", ratio(taken["large"], taken["small"]), BAR, detail)
