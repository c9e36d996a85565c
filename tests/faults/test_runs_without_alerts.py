"""An alert never fails or delays a run, whatever becomes of receivers and of the alerts' tables."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from app.alerts.outbox import Policy
from app.domain import Trigger
from app.extensions import db
from app.jobs import JOBS, do_job
from app.services.alert_watch import watch_alerts
from app.services.house import House
from app.services.job_states import ALERTS
from tests.alerts.making import column, run_statement
from tests.apps import bare_app
from tests.faults.alert_queue import queue_alerts
from tests.servers import Answer, ScriptedServer
from tests.web.real_app import empty_tables

STATUSES = "SELECT status FROM alert_delivery"
RUNS = "SELECT status FROM ingestion_run"
OUTCOMES = "SELECT outcome FROM alert_attempt"
# A sender that has all the time it wants, so that no test depends on how fast a run is.
PATIENT = Policy(timeout=600, loop=600)
HASTY = Policy(tries=(0,) * 10_000, jitter=0, timeout=0.5)


@contextmanager
def house_with(database_url: str, receiver_url: str) -> Iterator[House]:
    """The whole application over empty tables, with that receiver."""
    values = {"alert_webhook_url": receiver_url, "ingestion_lookback_days": 1}
    with bare_app(database_url, **values) as app:
        empty_tables(app)
        yield app.extensions["tapedeck"]


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The whole application over empty tables, with a receiver that nobody is."""
    with bare_app(database_url, alert_webhook_url="http://127.0.0.1:9/hook") as app:
        empty_tables(app)
        yield app


def finish_run(house: House) -> None:
    run_id = house.runner.start(trigger=Trigger.CLI)
    assert house.runner.wait(run_id, timeout_seconds=120)


def test_a_silent_receiver_delays_no_run_and_holds_no_transaction(
    database_url: str, http_server: ScriptedServer
) -> None:
    release = threading.Event()
    http_server.script("/hook", Answer(200, hold=release))
    with (
        house_with(database_url, f"{http_server.url}/hook") as house,
        ThreadPoolExecutor(1) as pool,
    ):
        queue_alerts(db.engine, 1, first=0)
        round_of_alerts = pool.submit(watch_alerts, db.engine, house, policy=PATIENT)
        http_server.wait_for_requests(1)
        open_transactions = column(
            db.engine,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
            "AND state LIKE 'idle in transaction%'",
        )
        finish_run(house)
        assert not round_of_alerts.done()
        release.set()
        round_of_alerts.result(timeout=60)
        assert open_transactions == []
        assert column(db.engine, RUNS) == ["succeeded"]
        assert column(db.engine, STATUSES) == ["sent"]


@contextmanager
def black_hole() -> Iterator[str]:
    """An address of this machine that answers no packet: its queue of connections is full."""
    with socket.socket() as deaf, socket.socket() as in_queue:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        in_queue.connect(deaf.getsockname())
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}/hook"


def test_a_receiver_in_a_black_hole_delays_no_run(database_url: str) -> None:
    stop = threading.Event()

    def send_for_ever(engine: Engine, house: House) -> None:
        # So that a run always meets a sender that waits, however long the run takes.
        while not stop.is_set():
            watch_alerts(engine, house, policy=HASTY)

    with (
        black_hole() as url,
        house_with(database_url, url) as house,
        ThreadPoolExecutor(1) as pool,
    ):
        queue_alerts(db.engine, 1, first=0)
        sender = pool.submit(send_for_ever, db.engine, house)
        try:
            while not column(db.engine, OUTCOMES):
                assert not stop.wait(0.02)
                assert not sender.done()
            finish_run(house)
        finally:
            stop.set()
        sender.result(timeout=60)
        assert column(db.engine, RUNS) == ["succeeded"]
        assert column(db.engine, STATUSES) == ["waiting"]
        assert set(column(db.engine, OUTCOMES)) <= {"timeout", "unreachable"}


def test_a_run_needs_no_table_of_alerts(app: Flask) -> None:
    tables = "alert, alert_notice, alert_delivery, alert_watch, alert_signal, alert_snooze"
    with db.engine.connect() as other:
        other.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
        finish_run(app.extensions["tapedeck"])
        other.rollback()
    assert column(db.engine, RUNS) == ["succeeded"]


def test_alerts_that_are_broken_fail_their_own_job_and_no_run(app: Flask) -> None:
    house = app.extensions["tapedeck"]
    run_statement(db.engine, "ALTER TABLE alert_watch RENAME TO lost")
    try:
        do_job(app, ALERTS, JOBS[ALERTS])
        finish_run(house)
        do_job(app, ALERTS, JOBS[ALERTS])
    finally:
        run_statement(db.engine, "ALTER TABLE lost RENAME TO alert_watch")
    assert column(db.engine, RUNS) == ["succeeded"]
    assert column(db.engine, "SELECT trouble <> '' FROM job_state WHERE name = 'alerts'") == [True]
