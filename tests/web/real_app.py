"""The whole application on the real database, with the mock provider behind it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import text

from app import create_app
from app.extensions import db
from app.services.house import House
from tests.apps import load

MARKETS = "BTC-USD,ETH-USD,SPX"


@contextmanager
def real_app(
    database_url: str, folder: Path, *, mock: Mapping[str, Any] | None = None, **values: Any
) -> Iterator[Flask]:
    """The application of these settings over empty tables; its runs are over when it is.

    No context is pushed, so that every request of a client has its own, as on a server.
    """
    defaults = {
        "ingestion_markets": MARKETS,
        "ingestion_lookback_days": 2,
        "scheduler_enabled": False,
    }
    app = create_app(load(database_url, folder, {"mock": mock or {}}, **(defaults | values)))
    empty_tables(app)
    house: House = app.extensions["tapedeck"]
    try:
        yield app
    finally:
        house.runner.shutdown(grace_seconds=0)
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def empty_tables(app: Flask) -> None:
    """Leave nothing of the tests before."""
    names = ", ".join(table.name for table in db.metadata.sorted_tables)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def count_rows(app: Flask, table: str) -> int:
    """How many rows a table has."""
    with app.app_context(), db.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
