"""Alerts while their senders are killed, and receivers that are down, slow, gone or redirecting.

`TAPEDECK_FAULTS=full` runs the whole of it: 1,200 alerts and 300 kills; else a short form.
"""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text

from app.alerts.outbox import Policy, Queued, enqueue
from app.alerts.rules import Severity
from app.alerts.sending import try_one
from app.alerts.signature import webhook_id
from app.domain import Trigger
from app.extensions import db
from app.models import Alert, AlertNotice
from app.services.alert_watch import watch_alerts
from tests.alerts.making import ManualClock, column, steady, webhook
from tests.apps import bare_app
from tests.faults.alert_sender import send_carelessly, send_for_ever
from tests.servers import Answer, ReceivedRequest, ScriptedServer

IS_FULL = os.environ.get("TAPEDECK_FAULTS") == "full"
ALERTS, KILLS = (1200, 300) if IS_FULL else (150, 20)
SENDERS = 3
STATUSES = "SELECT status FROM alert_delivery"
CONTEXT = get_context("forkserver")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    names = ", ".join(Alert.metadata.tables)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield engine
    engine.dispose()


def queue_alerts(engine: Engine, count: int, *, first: int) -> dict[str, int]:
    """So many notices in deliveries of their own; the id each is sent under, with its number."""
    now = datetime.now(UTC) - timedelta(hours=1)
    sent_as = {}
    with engine.begin() as connection:
        for number in range(first, first + count):
            values = {
                "kind": "fired",
                "noticed_at": now,
                "fired_at": now,
                "rule": f"rule-{number}",
                "subject": "",
                "severity": "critical",
                "title": f"Alert {number}",
                "text": "",
            }
            statement = AlertNotice.__table__.insert().returning(AlertNotice.id)  # type: ignore[attr-defined]
            notice = connection.execute(statement, values).scalar_one()
            queued = [Queued(notice, f"rule-{number}", Severity.CRITICAL)]
            enqueue(connection, queued, min_severity=Severity.INFO, now=now, policy=Policy())
            delivery: UUID = connection.execute(
                text("SELECT delivery_id FROM alert_notice WHERE id = :id"), {"id": notice}
            ).scalar_one()
            sent_as[webhook_id(delivery)] = number
    return sent_as


class Receiver:
    """Takes its time, fails a tenth of what it is asked, and notes which alerts it took.

    `begun` lets the killer strike while a send is under way.
    """

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        self.begun = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._luck = random.Random(7)
        self._pause = threading.Event()

    def __call__(self, request: ReceivedRequest) -> Answer:
        identity = request.headers["webhook-id"]
        with self._lock:
            self.bodies.setdefault(identity, set()).add(request.body)
            fails = self._luck.random() < 0.1
            self.taken[identity] += not fails
        self.begun.release()
        self._pause.wait(0.02)
        return Answer(500 if fails else 200)


def start_sender(database_url: str, receiver_url: str) -> ForkServerProcess:
    process = CONTEXT.Process(target=send_for_ever, args=(database_url, receiver_url), daemon=True)
    process.start()
    return process


def kill_and_replace(
    senders: list[ForkServerProcess], receiver: Receiver, start: tuple[str, str]
) -> None:
    """Kill a sender at a moment when one has just begun to send; another takes its place."""
    while receiver.begun.acquire(blocking=False):
        pass
    receiver.begun.acquire(timeout=2)
    victim = senders.pop(random.randrange(len(senders)))
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    senders.append(start_sender(*start))


def await_settled(engine: Engine) -> None:
    pause = threading.Event()
    for _ in range(1200):
        if "waiting" not in column(engine, STATUSES):
            return
        pause.wait(0.05)
    pytest.fail(f"not everything was settled: {Counter(column(engine, STATUSES))}")


@pytest.mark.timeout(900 if IS_FULL else 120)
def test_killed_senders_lose_nothing_and_repeat_under_the_same_id(
    engine: Engine, database_url: str, http_server: ScriptedServer
) -> None:
    receiver = Receiver()
    http_server.handle("/hook", receiver)
    CONTEXT.set_forkserver_preload(["tests.faults.alert_sender"])
    start = (database_url, f"{http_server.url}/hook")
    senders = [start_sender(*start) for _ in range(SENDERS)]
    sent_as: dict[str, int] = {}
    try:
        for _ in range(KILLS):
            sent_as |= queue_alerts(engine, ALERTS // KILLS, first=len(sent_as))
            kill_and_replace(senders, receiver, start)
        await_settled(engine)
    finally:
        for sender in senders:
            sender.kill()
            sender.join()
    taken = {identity for identity, count in receiver.taken.items() if count}
    repeats = sum(count - 1 for count in receiver.taken.values() if count > 1)
    interrupted = column(engine, "SELECT 1 FROM alert_attempt WHERE outcome = 'sending'")
    print(
        f"{len(sent_as)} alerts, {KILLS} kills: {len(interrupted)} tries cut short, "
        f"{repeats} repeats, {len(set(sent_as) - taken)} lost"
    )
    assert taken == set(sent_as)
    assert set(column(engine, STATUSES)) == {"sent"}
    assert {len(bodies) for bodies in receiver.bodies.values()} == {1}
    assert interrupted


def test_the_oracle_sees_what_a_careless_sender_loses(
    engine: Engine, database_url: str, http_server: ScriptedServer
) -> None:
    receiver = Receiver()
    http_server.handle("/hook", receiver)
    sent_as = queue_alerts(engine, 100, first=0)
    hook = webhook(f"{http_server.url}/hook")
    send_carelessly(engine, hook)
    taken = {identity for identity, count in receiver.taken.items() if count}
    assert set(column(engine, STATUSES)) == {"sent"}
    assert len(set(sent_as) - taken) > 0


@pytest.fixture
def app(database_url: str, http_server: ScriptedServer, engine: Engine) -> Iterator[Flask]:
    """The whole application with a receiver of this machine."""
    values = {"alert_webhook_url": f"{http_server.url}/hook", "ingestion_lookback_days": 1}
    with bare_app(database_url, **values) as app:
        yield app


def test_a_silent_receiver_delays_no_run_and_holds_no_transaction(
    app: Flask, engine: Engine, http_server: ScriptedServer
) -> None:
    release, house = threading.Event(), app.extensions["tapedeck"]
    http_server.script("/hook", Answer(200, hold=release))
    queue_alerts(engine, 1, first=0)
    with ThreadPoolExecutor(1) as pool:
        round_of_alerts = pool.submit(watch_alerts, db.engine, house)
        http_server.wait_for_requests(1)
        open_transactions = column(
            engine,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND state LIKE 'idle in transaction%'",
        )
        run_id = house.runner.start(trigger=Trigger.CLI)
        assert house.runner.wait(run_id, timeout_seconds=60)
        assert not round_of_alerts.done()
        release.set()
        round_of_alerts.result(timeout=30)
    assert open_transactions == []
    assert column(engine, "SELECT status FROM ingestion_run") == ["succeeded"]
    assert column(engine, STATUSES) == ["sent"]


RECEIVERS = {
    "500": Answer(500),
    "429": Answer(429, headers={"Retry-After": "60"}),
    "reset": Answer(reset=True),
    "redirect": Answer(307, headers={"Location": "ELSEWHERE"}),
    "silent": Answer(hold=threading.Event()),
    "404": Answer(404),
}


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_that_was_in_trouble_gets_everything_when_it_is_well(
    name: str, engine: Engine, http_server: ScriptedServer
) -> None:
    clock, policy = ManualClock(datetime.now(UTC)), steady(timeout=0.2)
    with ScriptedServer() as elsewhere:
        elsewhere.script("/", Answer(200))
        trouble = RECEIVERS[name]
        if "Location" in trouble.headers:
            trouble = replace(trouble, headers={"Location": f"{elsewhere.url}/"})
        http_server.script("/hook", trouble, trouble, Answer(200))
        sent_as = queue_alerts(engine, 1, first=0)
        hook = webhook(f"{http_server.url}/hook")
        for _ in range(3):
            try_one(engine, hook, clock=clock, policy=policy, seconds=5)
            clock.advance(hours=3)
        assert elsewhere.requests == []
    assert column(engine, STATUSES) == ["sent"]
    carried = [request.headers["webhook-id"] for request in http_server.requests]
    assert (len(carried), set(carried)) == (3, set(sent_as))
