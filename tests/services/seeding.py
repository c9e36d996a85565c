"""Tables filled by a few statements, so that services can be read without running a pipeline."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from sqlalchemy import text

from app.extensions import db
from tests.apps import bare_app
from tests.ingestion.making import empty

NOW = datetime(2026, 3, 4, 10, 20, tzinfo=UTC)
_MARKETS = """
    INSERT INTO market (symbol, name, asset_type, quote)
    SELECT symbol, 'Name of ' || symbol, 'crypto', 'USD' FROM unnest(:symbols) AS symbol;
    INSERT INTO listing (market_id, provider, provider_id, quote, chosen_by, seen_at, rank)
    SELECT id, 'mock', lower(symbol), 'USD', 'discovered', :now, nullif(id % 50, 7) FROM market
"""
# Few different values, so that there are ties; every third one is missing.
_SNAPSHOTS = """
    INSERT INTO market_snapshot (market_id, provider, observed_at, price, volume, roi_1h_pct,
        roi_24h_pct, roi_7d_pct, roi_30d_pct, run_id)
    SELECT id, 'mock', CAST(:now AS timestamptz) - (id % 5) * interval '1 minute',
        (id % 4 + 1) * 0.0000025, nullif(id % 3, 0), nullif(id % 3, 0) - 1.5,
        nullif(id % 3, 1) * -1e-9, nullif(id % 4, 2), NULL, gen_random_uuid()
    FROM market
"""
_CANDLES = """
    INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high, low,
        close, sample_count, is_final, basis, run_id)
    SELECT m.id, 'mock', 'hourly',
        date_trunc('hour', CAST(:now AS timestamptz)) - n * interval '1 hour',
        1, 2, 1, 1 + m.id / 1e6, 1, true, 'provider', gen_random_uuid()
    FROM market m CROSS JOIN generate_series(1, :hours) AS n
"""
_RUN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, started_at, lease_until,
        deadline_at, finished_at, duration_ms, rejected, error_message)
    VALUES (gen_random_uuid(), :status, :trigger, 'mock', 'nobody:1', :at, :at, :at, :at, 1000,
        :rejected, :error)
    RETURNING id::text
"""


@contextmanager
def seeded_app(database_url: str, *, now: datetime = NOW, **values: Any) -> Iterator[Flask]:
    """The application over empty tables, its clock standing still."""
    with bare_app(database_url, clock=lambda: now, **values) as app:
        empty(db.engine)
        yield app


def add_markets(symbols: Sequence[str], *, hours: int = 0) -> None:
    """Markets with a snapshot each, and so many hours of candles."""
    values = {"symbols": list(symbols), "now": NOW, "hours": hours}
    with db.engine.begin() as connection:
        for statement in (*_MARKETS.split(";"), _SNAPSHOTS, _CANDLES):
            connection.execute(text(statement), values)
        connection.execute(text("ANALYZE"))


def add_run(
    status: str = "succeeded",
    *,
    at: datetime = NOW,
    trigger: str = "manual",
    rejected: int = 0,
    error: str | None = None,
) -> str:
    """A finished run; its id."""
    values = {"status": status, "trigger": trigger, "at": at, "rejected": rejected, "error": error}
    with db.engine.begin() as connection:
        return str(connection.execute(text(_RUN), values).scalar_one())


def execute(statement: str, **values: Any) -> None:
    """One statement, committed."""
    with db.engine.begin() as connection:
        connection.execute(text(statement), values)
