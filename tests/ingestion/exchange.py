"""The whole application over CoinGecko, which is a scripted server on this machine."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.domain import Trigger
from app.extensions import db
from app.services.house import House
from app.services.runs import load_run
from app.services.views import RunDetail
from tests.apps import bare_app
from tests.ingestion.making import DATA_TABLES, empty
from tests.servers import Answer, ScriptedServer

MARKETS_PATH = "/coins/markets"
NOW = datetime(2026, 3, 4, 10, 20, tzinfo=UTC)


class Clock:
    """A clock that stands until it is told otherwise."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Deck:
    """The application, its provider and its clock."""

    def __init__(self, app: Flask, server: ScriptedServer, clock: Clock) -> None:
        self.app, self.server, self.clock = app, server, clock
        self.house: House = app.extensions["tapedeck"]

    @property
    def client(self) -> FlaskClient:
        """A browser without script."""
        return self.app.test_client()

    def ingest(self, *answers: Answer, **values: Any) -> RunDetail:
        """A finished run over these answers of /coins/markets."""
        if answers:
            self.server.script(MARKETS_PATH, *answers)
        run_id = self.house.runner.start(**({"trigger": Trigger.MANUAL} | values))
        assert self.house.runner.wait(run_id, timeout_seconds=30)
        db.session.remove()
        return load_run(db.session, run_id)

    def rows(self, query: str) -> list[Any]:
        """The rows of a query, a single column as its values."""
        with db.engine.connect() as connection:
            found = connection.execute(text(query)).all()
        return [row[0] if len(row) == 1 else tuple(row) for row in found]

    def data(self) -> Mapping[str, Any]:
        """Every row of the data, and the version that caches go by."""
        tables = ("market", "listing", "data_version", *DATA_TABLES)
        return {name: self.rows(f"SELECT to_jsonb(t)::text FROM {name} t ORDER BY 1")
                for name in tables}  # fmt: skip


@contextmanager
def coingecko_deck(
    database_url: str, *, markets: str = "BTC-USD=bitcoin", **coingecko: Any
) -> Iterator[Deck]:
    """The application over empty tables, every run asking a scripted CoinGecko."""
    clock = Clock()
    with ScriptedServer() as server:
        settings = {
            "base_url": server.url,
            "requests_per_minute": 100_000,
            "history_markets_per_run": 0,
        }
        with bare_app(
            database_url,
            providers={"coingecko": settings | coingecko},
            clock=clock,
            ingestion_provider="coingecko",
            ingestion_markets=markets,
        ) as app:
            empty(db.engine)
            yield Deck(app, server, clock)


def row(coin_id: str = "bitcoin", **values: Any) -> dict[str, Any]:
    """A row of /coins/markets; what is not given is plain."""
    plain = {
        "id": coin_id,
        "symbol": "btc",
        "name": "Bitcoin",
        "current_price": 65000.5,
        "market_cap": 1_300_000_000_000,
        "market_cap_rank": 1,
        "total_volume": 25_000_000_000,
        "last_updated": "2026-03-04T10:19:30.000Z",
    }
    return plain | values


def page(*rows: dict[str, Any] | str) -> Answer:
    """A good answer; a row may be given as its JSON text, to hold what Python's JSON can't."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in rows]
    return Answer(body=f"[{','.join(texts)}]")


def with_price(text: str, coin_id: str = "bitcoin") -> str:
    """A row whose price is this JSON text."""
    return json.dumps(row(coin_id, current_price=None)).replace(
        '"current_price": null', f'"current_price": {text}'
    )
