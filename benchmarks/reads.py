"""The latest snapshots of 5,000 markets, with ten million snapshots stored and with a few."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.services.markets import load_latest_snapshots
from benchmarks.figures import Figure, at_most, interleave, ratio, say, seconds, timed
from benchmarks.growth import fill
from benchmarks.postgres import BenchServer, add_markets, pooled

MARKETS = 5_000
LARGE, SMALL = 2_000, 20  # snapshots a market
ROUNDS = 25
WARM_UP = 3
_FILL = """
    INSERT INTO market_snapshot (market_id, provider, observed_at, price, volume, market_cap,
        volatility, roi_1h_pct, roi_24h_pct, roi_7d_pct, roi_30d_pct, run_id)
    SELECT m, 'mock', now() - h * interval '5 minutes', 100 + h / 7.0 + m, 5000.25 * m, 1e9 / m,
           0.0123, 0.1, 0.2, 0.3, 0.4, gen_random_uuid()
    FROM generate_series(:count, 1, -1) h, generate_series(1, :markets) m
"""
# As the run does that stores them.
_NOTE = """
    UPDATE listing l SET observed_at = (
        SELECT s.observed_at FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1)
"""


class Tape:
    """Stored snapshots, in the order in which runs would have brought them."""

    def __init__(self, url: str, count: int) -> None:
        self._engine = pooled(url)
        add_markets(self._engine, MARKETS)
        fill(self._engine, "market_snapshot", _FILL, count=count, markets=MARKETS)
        with self._engine.begin() as connection:
            connection.execute(text(_NOTE))

    def read(self) -> float:
        """Seconds for a page by price: the newest snapshot of every market has to be read."""
        return timed(self._read)

    def _read(self) -> None:
        with Session(self._engine) as session:
            page = load_latest_snapshots(session, provider="mock", sort="-price", limit=250)
        if len(page.rows) != 250:
            raise AssertionError("the page is not full")


def measure(server: BenchServer) -> list[Figure]:
    """The same page over both, taking turns."""
    say("  storing 10,000,000 snapshots")
    large = Tape(server.database("reads_large"), LARGE)
    small = Tape(server.database("reads_small"), SMALL)
    tasks = {"small": small.read, "large": large.read}
    interleave(tasks, rounds=WARM_UP)
    taken = interleave(tasks, rounds=ROUNDS)
    for name in ("reads_large", "reads_small"):
        server.drop(name)
    return [
        at_most(
            "latest-snapshots",
            ratio(taken["large"], taken["small"]),
            1.5,
            f"{seconds(taken['large'])} with 10,000,000 stored, {seconds(taken['small'])} with "
            "100,000; 5,000 markets, page of 250",
        )
    ]
