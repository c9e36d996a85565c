"""What the tests of alerts are made of: a clock in the hand, runs, and findings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from app.alerts.addresses import Reach
from app.alerts.facts import Followed
from app.alerts.judging import RunFact
from app.alerts.outbox import Policy
from app.alerts.rules import Finding, Severity
from app.alerts.watch import WatchOrder, judge_all
from app.alerts.webhook import Webhook
from app.cron import CronSchedule
from app.domain import RunStatus
from app.models import Alert, IngestionRun

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = bytes(range(32))


class ManualClock:
    """The time, moved by hand."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **length: float) -> datetime:
        """Go on by so much; the instant then."""
        self.now += timedelta(**length)
        return self.now


def finding(rule: str = "run_failed", subject: str = "mock", **values: Any) -> Finding:
    """Trouble, unless told otherwise."""
    defaults = {"is_trouble": True, "title": "A title", "text": "A text."}
    return Finding(rule, subject, **(defaults | values))


def run_fact(status: RunStatus = RunStatus.FAILED, **values: Any) -> RunFact:
    """A full run of the mock provider that took a second."""
    fact = RunFact(
        id=UUID(int=7),
        provider="mock",
        status=status,
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=1),
        duration_ms=1000,
        is_full=True,
        fetched=100,
        rejected=0,
        problem_count=0,
        error_message="It went wrong." if status is RunStatus.FAILED else None,
        median_ms=1000.0,
        median_of=20,
    )
    return replace(fact, **values)


def add_run(
    engine: Engine, status: RunStatus | str, *, at: datetime, seconds: float = 1, **values: Any
) -> UUID:
    """Store a run that finished at that instant; its id."""
    run_id = uuid4()
    defaults: dict[str, Any] = {
        "id": run_id,
        "status": str(status),
        "trigger": "scheduler",
        "provider": "mock",
        "owner": "test",
        "started_at": at - timedelta(seconds=seconds),
        "lease_until": at,
        "deadline_at": at,
        "finished_at": at,
        "duration_ms": round(seconds * 1000),
        "error_message": "It went wrong." if str(status) == "failed" else None,
    }
    with engine.begin() as connection:
        connection.execute(IngestionRun.__table__.insert().values(**(defaults | values)))  # type: ignore[attr-defined]
    return run_id


def order(now: datetime, **values: Any) -> WatchOrder:
    """A round of an installation that runs every quarter of an hour and tells of everything."""
    defaults: dict[str, Any] = {
        "now": now,
        "followed": Followed("mock", ("BTC-USD", "ETH-USD"), 0, has_history=True),
        "schedule": CronSchedule("*/15 * * * *"),
        "schedule_name": "ingestion",
        "stale_after": timedelta(minutes=30),
        "min_severity": Severity.INFO,
    }
    return WatchOrder(**(defaults | values))


def judge(engine: Engine, now: datetime, **values: Any) -> int:
    """One round in a transaction of its own."""
    with engine.begin() as connection:
        return judge_all(connection, order(now, **values))


def webhook(url: str, **values: Any) -> Webhook:
    """A receiver on this machine."""
    defaults: dict[str, Any] = {
        "reach": Reach(loopback=True),
        "keys": (KEY,),
        "min_severity": Severity.INFO,
    }
    return Webhook(url, **(defaults | values))


def steady(**values: Any) -> Policy:
    """The product's policy without jitter."""
    return replace(Policy(), jitter=0, **values)


def alerts(engine: Engine) -> list[tuple[str, str, str]]:
    """(rule, subject, state) of every alert, in order."""
    with engine.connect() as connection:
        table = Alert.__table__
        rows = connection.execute(
            text(f"SELECT rule, subject, state FROM {table.name} ORDER BY id")
        )
        return [(row.rule, row.subject, row.state) for row in rows]


def column(engine: Engine, statement: str, **values: Any) -> list[Any]:
    """The first column of what a query finds."""
    with engine.connect() as connection:
        return list(connection.execute(text(statement), values).scalars())


def run_statement(engine: Engine, statement: str, **values: Any) -> None:
    """Execute and commit."""
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def notices(connection: Connection) -> list[str]:
    """The kinds of all notices, in order."""
    return list(connection.execute(text("SELECT kind FROM alert_notice ORDER BY id")).scalars())


def observe(engine: Engine, market: int, at: datetime) -> None:
    """Store that a market was observed then."""
    run_statement(
        engine,
        "INSERT INTO market_snapshot (market_id, provider, observed_at, price, run_id) "
        "VALUES (:market, 'mock', :at, 1, gen_random_uuid())",
        market=market,
        at=at,
    )
