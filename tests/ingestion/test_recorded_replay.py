"""86 recorded days of CoinGecko's top 100 through the whole pipeline, over real HTTP."""

import gzip
import json
import os
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.domain import RunStatus, Trigger
from app.extensions import db
from app.services.runs import load_run
from tests.apps import bare_app
from tests.servers import Answer, ScriptedServer

TABLES = ("market_snapshot", "market_aggregate", "market_comparison", "market_roi_statistic")
PAGE = "/coins/markets"


class Tape:
    """The recorded days in order, played to an application whose clock stands at each fetch."""

    def __init__(self, folder: Path) -> None:
        self.days = json.loads((folder / "index.json").read_text())
        self.bodies = [gzip.decompress((folder / day["file"]).read_bytes()) for day in self.days]
        self.position = 0

    def now(self) -> datetime:
        return datetime.fromisoformat(self.days[self.position]["fetched_at"])

    def answer(self, request: Any) -> Answer:
        return Answer(body=self.bodies[self.position], headers={"Content-Type": "application/json"})

    def rows(self) -> list[dict[str, Any]]:
        """Every recorded row, numbers as the recorded text."""
        pages = [json.loads(body, parse_float=Decimal, parse_int=Decimal) for body in self.bodies]
        return [row for page in pages if isinstance(page, list) for row in page]


@pytest.fixture(scope="module")
def tape() -> Tape:
    root = os.environ.get("TAPEDECK_RECORDINGS")
    if not root:
        pytest.skip("TAPEDECK_RECORDINGS is not set: no recorded data on this machine")
    return Tape(Path(root) / "coingecko-daily-top100")


@pytest.fixture(scope="module")
def played(tape: Tape, fresh_database_url: str) -> Iterator[tuple[Flask, list[str]]]:
    """The application after all days were played once, and the ids of the runs."""
    with ScriptedServer() as server:
        server.handle(PAGE, tape.answer)
        settings = {
            "base_url": server.url,
            "requests_per_minute": 100_000,
            "history_markets_per_run": 0,
        }
        with bare_app(
            fresh_database_url,
            providers={"coingecko": settings},
            clock=tape.now,
            ingestion_provider="coingecko",
            ingestion_markets="top:100",
        ) as app:
            yield app, play(app, tape)


def play(app: Flask, tape: Tape) -> list[str]:
    runner = app.extensions["tapedeck"].runner
    db.session.remove()
    run_ids = []
    for position in range(len(tape.days)):
        tape.position = position
        run_ids.append(runner.start(trigger=Trigger.BACKFILL))
        assert runner.wait(run_ids[-1], timeout_seconds=60)
    return run_ids


def count(table: str) -> int:
    with db.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_85_days_succeed_and_the_error_body_fails(
    played: tuple[Flask, list[str]], tape: Tape
) -> None:
    statuses = [load_run(db.session, run_id).run.status for run_id in played[1]]
    assert statuses.count(RunStatus.SUCCEEDED) == 85
    failed = statuses.index(RunStatus.FAILED)
    assert "error-body" in tape.days[failed]["file"]
    run = load_run(db.session, played[1][failed]).run
    assert "temporarily unavailable" in (run.error_message or "")
    assert (run.counts.inserted, run.counts.updated) == (0, 0)


def test_snapshots_are_the_distinct_listing_and_time_pairs(
    played: tuple[Flask, list[str]], tape: Tape
) -> None:
    distinct = {(row["id"], row["last_updated"]) for row in tape.rows()}
    assert count("market_snapshot") == len(distinct)


def test_every_price_is_stored_as_it_was_recorded(
    played: tuple[Flask, list[str]], tape: Tape
) -> None:
    statement = text(
        "SELECT l.provider_id, s.observed_at, s.price, s.market_cap FROM market_snapshot s "
        "JOIN listing l ON l.market_id = s.market_id AND l.provider = s.provider"
    )
    stored = {
        (row.provider_id, row.observed_at): (row.price, row.market_cap)
        for row in db.session.execute(statement)
    }
    for row in tape.rows():
        key = (row["id"], datetime.fromisoformat(row["last_updated"]))
        assert stored[key] == (row["current_price"], row["market_cap"])


def test_symbols_of_coins_stay_apart(played: tuple[Flask, list[str]], tape: Tape) -> None:
    listings = count("listing")
    assert listings == len({row["id"] for row in tape.rows()})
    assert count("market") == listings
    symbols = db.session.execute(
        text(
            "SELECT m.symbol, l.provider_id FROM market m JOIN listing l ON l.market_id = m.id "
            "WHERE l.provider_symbol = 'wbtc' OR l.provider_id = 'bitcoin'"
        )
    ).all()
    assert ("BTC-USD", "bitcoin") in [tuple(row) for row in symbols]


def test_a_second_replay_adds_and_changes_no_row(
    played: tuple[Flask, list[str]], tape: Tape
) -> None:
    before = {table: count(table) for table in TABLES}
    again = play(played[0], tape)
    assert {table: count(table) for table in TABLES} == before
    runs = [load_run(db.session, run_id).run for run_id in again]
    changed = [
        (run.started_at, run.counts) for run in runs if run.counts.inserted or run.counts.updated
    ]
    assert changed == []
