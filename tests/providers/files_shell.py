"""`flask ingest` over a folder into a real database, and what is stored then."""

from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from click.testing import Result
from flask import Flask
from sqlalchemy import text

from app.extensions import db
from tests.apps import bare_app

Row = tuple[Decimal, ...]


class Shell:
    """`flask ingest` over one folder; each call is an application of its own, as in a shell."""

    def __init__(self, database_url: str, folder: Path, now: datetime, markets: str) -> None:
        self.database_url, self._folder = database_url, folder
        self._now, self._markets = now, markets

    def open(self) -> AbstractContextManager[Flask]:
        return bare_app(
            self.database_url,
            providers={"files": {"folder": self._folder}},
            clock=lambda: self._now,
            ingestion_provider="files",
            ingestion_markets=self._markets,
            ingestion_lookback_days=3650,
        )

    def ingest(self) -> Result:
        with self.open() as app:
            return app.test_cli_runner().invoke(args=["ingest"])


def stored(symbol: str, granularity: str) -> dict[datetime, Row]:
    """The final candles of a market with their prices and volume."""
    statement = text(
        "SELECT opened_at, open, high, low, close, volume FROM market_aggregate a "
        "JOIN market m ON m.id = a.market_id "
        "WHERE symbol = :symbol AND granularity = :granularity AND is_final"
    )
    with db.engine.connect() as connection:
        rows = connection.execute(statement, {"symbol": symbol, "granularity": granularity})
        return {row[0]: tuple(row[1:]) for row in rows}


def one(statement: str) -> Any:
    with db.engine.connect() as connection:
        return connection.execute(text(statement)).one()


def rows(statement: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]
