"""The application as the fault tests run it: ticks every few seconds, rows that carry a signature.

Every attempt of a run draws a signature and gives it as the price of all its markets, so rows of
two attempts, or a part of one, can be told in the tables.
"""

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, islice, takewhile
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

from flask import Flask
from sqlalchemy import Connection, text

from app import create_app, jobs
from app.database.bulk import MergeCounts
from app.domain import Candle, Granularity, Listing, MarketRequest, Snapshot
from app.extensions import db
from app.ingestion import run_row, snapshots
from app.market_list import parse_markets
from app.providers import http_limits
from app.providers.base import (
    Batch,
    Capabilities,
    Provider,
    Resolution,
    provider_classes,
    register,
)
from app.services.alert_watch import watch_alerts
from app.services.job_states import ALERTS, DELIVERY
from app.settings import Settings
from app.settings_loader import LoadedSettings, load_settings
from tests.faults import wrong_clock
from tests.faults.alert_sender import HASTY

PROVIDER = "signed"
MARKETS = 20
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


class Signed(Provider):
    """Gives every market the same price, drawn anew by each attempt, after a moment's thought."""

    thinking: ClassVar[tuple[float, float]] = (0, 0.2)
    held: ClassVar[Event | None] = None  # nothing is answered until it is set

    @property
    def capabilities(self) -> Capabilities:
        """Snapshots only."""
        return Capabilities(batch_size=1000)

    def resolve_listings(self, requests: Sequence[MarketRequest]) -> Resolution:
        """Every symbol is its own id."""
        return Resolution([Listing(PROVIDER, one.symbol, one.symbol) for one in requests])

    def fetch_snapshots(self, listings: Sequence[Listing]) -> Batch[Snapshot]:
        """The signature as price of all."""
        signature = Decimal(random.randrange(1, 10**15))
        self.context.stop.wait(random.uniform(*self.thinking))
        if self.held is not None:
            self.held.wait()
        self.context.on_call("ok", 0.1)
        now = self.context.clock()
        return Batch([Snapshot(listing, now, signature) for listing in listings])

    def fetch_candles(
        self, listings: Sequence[Listing], granularity: Granularity, start: datetime, end: datetime
    ) -> Batch[Candle]:
        """None: what is derived from snapshots is enough."""
        return Batch()


@dataclass(frozen=True, slots=True)
class EverySeconds:
    """A schedule that is due every so many seconds; to the program it is like a cron expression."""

    seconds: float
    expression: str = "every few seconds"
    timezone: str = "UTC"

    def upcoming(self, after: datetime) -> Iterator[datetime]:
        """The due instants after `after`."""
        first = int((after - EPOCH).total_seconds() // self.seconds) + 1
        return (EPOCH + timedelta(seconds=self.seconds * number) for number in count(first))

    def next_after(self, instant: datetime) -> datetime:
        """The first due instant after."""
        return next(self.upcoming(instant))

    def latest_until(self, instant: datetime) -> datetime:
        """The last due instant at or before."""
        return self.next_after(instant) - timedelta(seconds=self.seconds)

    def due_between(self, after: datetime, until: datetime, *, limit: int = 1000) -> list[datetime]:
        """The due instants in `(after, until]`."""
        return list(islice(takewhile(lambda due: due <= until, self.upcoming(after)), limit))

    def describe(self) -> str:
        """In words."""
        return f"every {self.seconds} seconds"


@dataclass(frozen=True, slots=True)
class Plan:
    """How one process is set up; times in seconds."""

    url: str
    folder: Path
    tick: float = 1.0
    poll: float = 0.1
    lease: float = 1.0
    beat: float = 0.25
    skew: float = 0.0
    max_attempts: int = 3
    failpoint: str = ""
    broken: str = ""
    thinking: tuple[float, float] = (0, 0.2)
    webhook: str = ""
    polls: str = ""  # a file for the instants of its looks; its clock jumps at signals

    def with_failpoint(self, name: str) -> "Plan":
        """The same, to be killed at that point."""
        return replace(self, failpoint=name)


def build(plan: Plan) -> Flask:
    """The application of a plan. Its times are shorter than the settings would allow."""
    if PROVIDER not in provider_classes():
        register(PROVIDER)(Signed)
    prepare(plan)
    if plan.broken:
        BREAKS[plan.broken]()
    settings = Settings(
        database_url=plan.url,
        instance_path=plan.folder,
        ingestion_provider=PROVIDER,
        ingestion_markets=",".join(f"M{number:02}-USD" for number in range(MARKETS)),
        ingestion_lookback_days=0,
        run_max_attempts=plan.max_attempts,
        alert_webhook_url=plan.webhook or None,
    ).model_copy(
        update={
            "run_lease_seconds": plan.lease,
            "run_heartbeat_seconds": plan.beat,
            "scheduler_poll_seconds": plan.poll,
        }
    )
    groups = {name: cls.Settings() for name, cls in provider_classes().items()}
    return create_app(LoadedSettings(settings, groups), clock=wrong_clock.clock)


def prepare(plan: Plan) -> None:
    """Have this process follow a schedule of seconds, by a wall clock that is wrong."""
    Settings.schedule = property(lambda self: EverySeconds(plan.tick))  # type: ignore[assignment]
    Signed.thinking = plan.thinking
    if plan.webhook:
        jobs.JOBS[ALERTS] = lambda house: watch_alerts(db.engine, house, policy=HASTY)
        jobs.JOBS.pop(DELIVERY, None)
    else:
        # Judging alerts is tested elsewhere and would take most of the time here.
        jobs.JOBS.pop(ALERTS, None)
        jobs.JOBS.pop(DELIVERY, None)
    if plan.skew:
        wrong_clock.be_wrong_by(plan.skew)
    if plan.polls:
        wrong_clock.obey(Path(plan.polls))


def _take_fence_off() -> None:
    """Anybody may close and keep alive any run, whoever works on it."""
    anyone = "id = :id AND (CAST(:attempt AS int) IS NOT NULL)"
    run_row._CLOSE = run_row._CLOSE.replace(run_row._MINE, anyone)
    run_row._BEAT = run_row._BEAT.replace(run_row._MINE, anyone)


def _commit_every_row() -> None:
    """Snapshots appear one by one, as with a program that keeps no transaction."""
    merge = snapshots.merge_rows

    def one_by_one(connection: Connection, target: Any, rows: Any, *, run_id: Any) -> Any:
        total = MergeCounts()
        for row in rows:
            total += merge(connection, target, [row], run_id=run_id)
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
        return total

    snapshots.merge_rows = one_by_one  # type: ignore[attr-defined]


BREAKS = {"no fence": _take_fence_off, "commit per row": _commit_every_row}


def from_environment() -> Flask:
    """For gunicorn: `tests.faults.deck:from_environment()`."""
    return build(
        Plan(
            url=os.environ["DATABASE_URL"],
            folder=Path(os.environ["INSTANCE_PATH"]),
            tick=float(os.environ["FAULTS_TICK"]),
            poll=0.5,
            lease=3,
            beat=0.5,
            skew=float(os.environ["FAULTS_SKEW"]),
            thinking=_two_numbers(os.environ["FAULTS_THINKING"]),
            webhook=os.environ.get("FAULTS_WEBHOOK", ""),
        )
    )


def _two_numbers(words: str) -> tuple[float, float]:
    first, second = words.split()
    return float(first), float(second)


def asking_coingecko() -> Flask:
    """For gunicorn: the application as its settings say, with a provider's breaker that rests less.

    The schedule is never due; runs are started by hand.
    """
    http_limits.BREAKER_SECONDS = float(os.environ["FAULTS_BREAKER_SECONDS"])
    groups = {name: cls.Settings for name, cls in provider_classes().items()}
    loaded = load_settings(groups, env_file=None)
    values = {
        "ingestion_provider": "coingecko",
        "ingestion_markets": parse_markets("BTC-USD=bitcoin"),
        "ingestion_cron_expression": "0 0 1 1 *",
        "ingestion_lookback_days": 0,
        "scheduler_poll_seconds": 0.5,
    }
    return create_app(replace(loaded, settings=loaded.settings.model_copy(update=values)))


def with_a_slow_page() -> Flask:
    """For gunicorn: the application, and `/slow`, whose statement takes the seconds asked for."""
    app = from_environment()

    @app.get("/slow/<float:seconds>")
    def slow(seconds: float) -> str:
        db.session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return "done"

    return app
