"""A batch of 250 rows into five million stored candles against the same into ten thousand."""

import random
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import Engine, text

from app.analytics.candles import DerivedCandle
from app.database.base import Base
from app.database.bulk import merge_rows
from app.domain import HOUR
from app.ingestion.targets import CANDLES, candle_rows
from benchmarks.figures import Figure, at_most, interleave, ratio, say, seconds, timed
from benchmarks.postgres import BenchServer, add_markets, pooled
from benchmarks.tape import START, make_candle

BATCH = 250
ROUNDS = 40
WARM_UP = 5
LARGE, SMALL = (5_000, 1_000), (250, 40)  # markets, hours
_FILL = """
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
        close, volume, average, volatility, change_pct, sample_count, is_final, basis, run_id)
    SELECT m, 'mock', 'hourly', :start + h * interval '1 hour', 100 + h / 7.0, 101 + h / 7.0,
           99 + h / 7.0, 100 + h / 7.0, 5000.25, 100 + h / 7.0, 0.0123, 0.5, 60, true, 'provider',
           gen_random_uuid()
    FROM generate_series(1, :markets) m, generate_series(0, :hours - 1) h
"""


class Stored:
    """A table that holds so much already, and the next hour of 250 of its markets."""

    def __init__(self, url: str, markets: int, hours: int) -> None:
        self._engine = pooled(url)
        self._markets = random.Random(3).sample(range(1, markets + 1), BATCH)
        self._next = START + hours * HOUR
        self._batch: list[DerivedCandle] = []
        add_markets(self._engine, markets)
        fill(self._engine, "market_aggregate", _FILL, start=START, markets=markets, hours=hours)

    def new(self) -> float:
        """Seconds for the next hour."""
        chance = random.Random(5)
        self._batch = [
            make_candle(market, self._next, chance.uniform(1, 9), chance.uniform(1, 9), chance)
            for market in self._markets
        ]
        self._next += timedelta(hours=1)
        return self.same()

    def same(self) -> float:
        """Seconds for that hour again."""
        return timed(self._merge)

    def _merge(self) -> None:
        with self._engine.begin() as connection:
            merge_rows(connection, CANDLES, candle_rows(self._batch, "mock"), run_id=uuid4())


def fill(engine: Engine, table: str, statement: str, **values: object) -> None:
    """Store rows that the server makes, the key and its checks coming after them; then vacuum."""
    key = ", ".join(column.name for column in Base.metadata.tables[table].primary_key)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
        connection.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT pk_{table}"))
        connection.execute(text(statement), values)
        connection.execute(
            text(f"ALTER TABLE {table} ADD CONSTRAINT pk_{table} PRIMARY KEY ({key})")
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))


def measure(server: BenchServer) -> list[Figure]:
    """Many short rounds, the two tables taking turns."""
    say("  storing 5,000,000 candles")
    large, small = (
        Stored(server.database(name), *size)
        for name, size in (("growth_large", LARGE), ("growth_small", SMALL))
    )
    tasks = {
        "small new": small.new,
        "small same": small.same,
        "large new": large.new,
        "large same": large.same,
    }
    interleave(tasks, rounds=WARM_UP)
    taken = interleave(tasks, rounds=ROUNDS)
    for name in ("growth_large", "growth_small"):
        server.drop(name)
    return [
        at_most(
            f"growth-{kind}",
            ratio(taken[f"large {kind}"], taken[f"small {kind}"]),
            1.3,
            f"250 rows: {seconds(taken[f'large {kind}'])} with 5,000,000 stored, "
            f"{seconds(taken[f'small {kind}'])} with 10,000",
        )
        for kind in ("new", "same")
    ]
