"""A whole run with the mock provider: the second against the first, 1,000 markets with history."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from flask import Flask
from sqlalchemy import text

from app import create_app
from app.domain import Trigger
from app.extensions import db
from app.services.house import House
from benchmarks.figures import Figure, at_most, interleave, ratio, seconds, timed
from benchmarks.postgres import BenchServer, load

MARKETS = 1_000
DAYS = 30
FIRST = datetime(2026, 7, 27, 12, 7, tzinfo=UTC)
LATER = timedelta(minutes=5)
LONGEST_SECONDS = 900


class Collecting:
    """A new installation each round: its first run, and the one five minutes later."""

    def __init__(self, server: BenchServer) -> None:
        self._server = server
        self._numbers = count()
        self._name = ""
        self._app: Flask | None = None
        self._now = FIRST

    def first(self) -> float:
        """Seconds of the first run, which has all the history to fetch and store."""
        self.close()
        self._name, self._now = f"run_{next(self._numbers)}", FIRST
        url = self._server.database(self._name)
        self._app = installation(url, self._server.folder, clock=lambda: self._now)
        return timed(self._run)

    def second(self) -> float:
        """Seconds of the run after it."""
        self._now += LATER
        return timed(self._run)

    def close(self) -> None:
        """Let go of the database of this round."""
        if self._app is not None:
            leave(self._app)
            self._server.drop(self._name)

    def _run(self) -> None:
        assert self._app is not None
        ingest(self._app)


def installation(
    url: str, folder: Path, *, clock: Callable[[], datetime], markets: int = MARKETS
) -> Flask:
    """An application that follows the largest mock markets, with 30 days of history."""
    loaded = load(
        url,
        folder,
        ingestion_provider="mock",
        ingestion_markets=f"top:{markets}",
        ingestion_lookback_days=DAYS,
        run_deadline_seconds=LONGEST_SECONDS,
    )
    return create_app(loaded, clock=clock)


def ingest(app: Flask) -> None:
    """One run to its end; AssertionError when it does not succeed."""
    runner = _house(app).runner
    run_id = runner.start(trigger=Trigger.CLI)
    if not runner.wait(run_id, timeout_seconds=LONGEST_SECONDS):
        raise AssertionError("the run is not done")
    with runner.engine.connect() as connection:
        query = text("SELECT status FROM ingestion_run WHERE id = :id")
        status = connection.execute(query, {"id": run_id}).scalar_one()
    if status != "succeeded":
        raise AssertionError(f"the run {status}")


def leave(app: Flask) -> None:
    """Close what the application has open."""
    _house(app).runner.shutdown(grace_seconds=0)
    _house(app).data_version.close()
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def run_once(url: str, folder: Path, *, markets: int) -> None:
    """A first run into the empty database at `url`."""
    app = installation(url, folder, clock=lambda: FIRST, markets=markets)
    ingest(app)
    leave(app)


def _house(app: Flask) -> House:
    house: House = app.extensions["tapedeck"]
    return house


def measure(server: BenchServer) -> list[Figure]:
    """First and second run, each round in a database of its own."""
    collecting = Collecting(server)
    taken = interleave({"first": collecting.first, "second": collecting.second})
    collecting.close()
    return [
        at_most(
            "run-again",
            ratio(taken["second"], taken["first"]),
            0.35,
            f"second run {seconds(taken['second'])}, first {seconds(taken['first'])}; "
            f"{MARKETS:,} markets, {DAYS} days of hours",
        )
    ]
