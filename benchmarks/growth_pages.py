"""Every page and list with 10,000 markets and 100,000 runs stored against 1,000 of each."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine, text

from app import create_app
from app.extensions import cache
from app.services.house import House
from app.services.operation_views import LookBack
from app.services.paging import write_cursor
from app.services.snapshot_order import SORTS
from benchmarks.figures import Figure, at_most, ratio, say, seconds, timed
from benchmarks.postgres import BenchServer, load, pooled
from benchmarks.stored import store_markets, store_runs, tidy

LARGE, SMALL = (10_000, 100_000), (1_000, 1_000)  # markets, runs
SNAPSHOTS, HOURS = 20, 72  # of each market
ROUNDS = 15
WARM_UP = 3
BAR = 2.0
# RUN stands for the newest run, DELIVERY for the newest delivery. Of an export the first part is
# read. A search finds as many of many markets as of few, or nothing: then all are looked through.
_COMPARED = "markets=M00001-USD,M00002-USD,M00003-USD"
_OVERVIEW = {
    "overview": "/",
    "overview-page": f"/?cursor={write_cursor(['500', 'M00500-USD'])}",
    "overview-search": "/?search=m0001",
    "overview-search-none": "/?search=nothing",
    "overview-search-all": "/?search=usd",
    "overview-search-by-price": "/?search=m0001&sort=-price",
    **{f"overview-by-{name}": f"/?sort={name}" for name in (*SORTS, "symbol")},
    **{f"overview-by-{name}-down": f"/?sort=-{name}" for name in (*SORTS, "symbol")},
    "state": "/fragments/state",
    "recent-runs": "/fragments/recent-runs",
    "snapshots": "/fragments/snapshots",
    "snapshots-search": "/fragments/snapshots?search=m0001",
    "snapshots-by-price": "/fragments/snapshots?sort=-price",
    "progress": "/fragments/progress",
    "progress-run": "/fragments/progress/RUN",
}
_RUNS = {
    "runs": "/runs",
    "runs-partial": "/runs?status=partial",
    "runs-failed": "/runs?status=failed&period=7d",
    "runs-long": "/runs?period=30d&min_seconds=1",
    "runs-by-trigger": "/runs?trigger=cron",
    "runs-by-trigger-none": "/runs?trigger=cli",
    "runs-by-provider": "/runs?provider=mock",
    "runs-by-provider-none": "/runs?provider=nobody",
    "runs-search": "/runs?search=429",
    "runs-search-none": "/runs?search=nowhere",
    "runs-fragment": "/fragments/runs",
    "run": "/runs/RUN",
    "run-errors": "/runs/RUN?level=error&moved=10",
    "run-fragment": "/fragments/runs/RUN",
}
_MARKETS = {
    "markets": "/markets",
    "markets-page": f"/markets?cursor={write_cursor(['M00500-USD'])}",
    "markets-fresh": "/markets?freshness=fresh",
    "markets-late": "/markets?freshness=late",
    "markets-never": "/markets?freshness=never",
    "markets-by-kind": "/markets?asset_type=index",
    "markets-by-provider": "/markets?provider=mock",
    "markets-by-provider-none": "/markets?provider=nobody",
    "markets-search": "/markets?search=m0001",
    "markets-search-none": "/markets?search=nothing",
    "markets-search-all": "/markets?search=usd",
    "markets-by-all": "/markets?search=usd&asset_type=index&provider=mock&freshness=fresh",
    "market": "/markets/M00007-USD",
    "market-daily": "/markets/M00007-USD?granularity=daily",
    "market-facts": "/fragments/markets/M00007-USD/facts",
    "market-sheet": "/fragments/markets/M00007-USD/sheet",
    "market-candles": "/fragments/markets/M00007-USD/candles",
    "data-watch": "/fragments/data-watch",
    "compare": f"/compare?{_COMPARED}",
    "compare-blank": "/compare",
    "compare-fragment": f"/fragments/compare?{_COMPARED}",
}
_OPERATOR = {
    **{f"operations-{span}": f"/operations?range={span}" for span in LookBack},
    "schedule": "/schedule",
    "schedule-preview": "/schedule?expression=@hourly",
    "schedule-state": "/fragments/schedule-state",
    "schedule-ticks": "/fragments/ticks",
    "schedule-jobs": "/fragments/jobs",
    "schedule-preview-fragment": "/fragments/schedule-preview?expression=@hourly",
    "alerts": "/alerts",
    "alerts-open": "/fragments/alerts-open",
    "alerts-history": "/alerts/history",
    "alerts-history-by-rule": "/alerts/history?rule=run_failed&severity=warning",
    "alerts-rules": "/alerts/rules",
    "alerts-deliveries": "/alerts/deliveries",
    "alerts-deliveries-dead": "/alerts/deliveries?status=dead",
    "alerts-deliveries-sent": "/alerts/deliveries?status=sent",
    "alerts-delivery": "/alerts/deliveries/DELIVERY",
    "settings": "/settings",
    "about": "/about",
}
_MACHINES = {
    "badge": "/badge.svg",
    "badge-json": "/badge.json",
    "ready": "/readyz",
    "prometheus": "/metrics",
    "api-metrics": "/api/metrics",
    "api-snapshots": "/api/snapshots/latest?limit=250",
    "api-snapshots-by-price": "/api/snapshots/latest?limit=250&sort=-price",
    "api-markets": "/api/markets?limit=250",
    "api-markets-search": "/api/markets?search=m0001",
    "api-market": "/api/markets/M00007-USD",
    "api-candles": "/api/markets/M00007-USD/candles?granularity=hourly",
    "api-chart": "/api/markets/M00007-USD/chart?granularity=hourly&points=100",
    "api-comparisons": f"/api/comparisons?{_COMPARED}",
    "api-series": "/api/comparisons/series?market=M00001-USD&against=M00002-USD",
    "api-correlations": f"/api/correlations?{_COMPARED}",
    "api-runs": "/api/runs?limit=250",
    "api-runs-by-trigger": "/api/runs?limit=250&trigger=backfill",
    "api-run": "/api/runs/RUN",
    "api-alerts": "/api/alerts?limit=250",
    "api-alerts-rules": "/api/alerts/rules",
    "api-deliveries": "/api/alerts/deliveries?limit=250",
    "api-delivery": "/api/alerts/deliveries/DELIVERY",
    "api-schedule": "/api/schedule?ticks=500",
    "export-snapshots": "/api/exports/snapshots.csv",
    "export-snapshots-of-one": "/api/exports/snapshots.csv?market=M00007-USD",
    "export-candles": "/api/exports/candles.csv",
    "export-roi-statistics": "/api/exports/roi-statistics.csv",
    "export-comparisons": "/api/exports/comparisons.csv",
    "export-runs": "/api/exports/runs.csv",
    "export-rejected-rows": "/api/exports/rejected-rows.csv",
}
ADDRESSES: Mapping[str, str] = {**_OVERVIEW, **_RUNS, **_MARKETS, **_OPERATOR, **_MACHINES}


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
