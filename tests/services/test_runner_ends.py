"""The ends of a run that are hard to tell: a lost answer, a stuck provider, a stopping process."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from app.database.patient_connection import PatientConnection
from app.domain import RunStatus, Trigger
from app.errors import RunStopped
from app.extensions import db
from app.ingestion.context import StopSignal
from app.ingestion.run_row import RunTicket
from app.providers.mock import Mock
from app.services.house import House
from app.services.outcome import Outcome, find_outcome
from app.services.runs import load_run
from tests.apps import bare_app
from tests.ingestion.making import released
from tests.web.real_app import count_rows, empty_tables

DUE_AT = datetime(2026, 3, 4, 10, 15, tzinfo=UTC)
CLAIM = """
    INSERT INTO schedule_tick (schedule, due_at, status, claimed_by, reason)
    VALUES ('ingestion', :due_at, 'claimed', 'other', '')
"""
QUICK = {
    "scheduler_enabled": True,
    "ingestion_lookback_days": 0,
    "run_lease_seconds": 3,
    "run_heartbeat_seconds": 0.5,
}


@pytest.fixture
def house(database_url: str) -> Iterator[House]:
    with bare_app(database_url, **QUICK) as app:
        empty_tables(app)
        yield app.extensions["tapedeck"]


def lose_answer(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Have the connection die at the commit of a run's data, after that commit or rollback."""
    is_due = threading.Event()
    finish, commit = getattr(PatientConnection, end), PatientConnection.commit

    def commit_or_die(self: PatientConnection) -> None:
        if not is_due.is_set() or not threading.current_thread().name.startswith("run-"):
            commit(self)
            return
        is_due.clear()
        finish(self)
        self.close()
        raise psycopg2.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(PatientConnection, "commit", commit_or_die)
    monkeypatch.setattr(
        "app.ingestion.run_row.reach", lambda name: is_due.set() if name == "before-commit" else ()
    )


@pytest.mark.parametrize(
    ("end", "status", "event"),
    [("commit", "succeeded", "run finished"), ("rollback", "failed", "run failed")],
)
def test_run_whose_commit_was_not_answered_says_what_became_of_it(
    house: House, monkeypatch: pytest.MonkeyPatch, end: str, status: str, event: str
) -> None:
    lose_answer(monkeypatch, end)
    run_id = house.runner.start(trigger=Trigger.MANUAL)
    house.runner.shutdown(grace_seconds=30)
    assert load_run(db.session, run_id).run.status == status
    said = text("SELECT event FROM run_log_line WHERE event IN ('run finished', 'run failed')")
    assert db.session.execute(said).scalars().all() == [event]


def test_outcome_is_unknown_while_the_database_cannot_be_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = create_engine("postgresql+psycopg2://127.0.0.1:1/none")
    error = OperationalError("COMMIT", {}, psycopg2.OperationalError("gone"))
    with caplog.at_level(logging.WARNING):
        found = find_outcome(
            nowhere, RunTicket(uuid4()), error, stop=StopSignal(), patience_seconds=0
        )
    assert found is Outcome.UNKNOWN
    assert "not known whether the run was kept" in caplog.messages


def await_true(house: House, question: str) -> None:
    """Look for dead runs until the database says yes."""
    pause = threading.Event()
    for _ in range(300):
        house.runner.take_up_dead_runs()
        db.session.rollback()
        if db.session.execute(text(question)).scalar():
            return
        pause.wait(0.1)
    raise AssertionError(f"it never became true: {question}")


def test_run_that_hangs_beyond_its_deadline_is_closed_though_its_heart_beats(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def hang(self: Mock, listings: object) -> Any:
        begun.set()
        released(release)
        raise RuntimeError("let go")

    monkeypatch.setattr(Mock, "fetch_snapshots", hang)
    run_id = house.runner.start(trigger=Trigger.MANUAL)
    try:
        released(begun)
        db.session.execute(text("UPDATE ingestion_run SET deadline_at = now() - interval '9 s'"))
        db.session.commit()
        await_true(house, "SELECT status <> 'running' FROM ingestion_run")
        assert house.runner.wait(run_id, timeout_seconds=0)
    finally:
        release.set()
        house.runner.shutdown(grace_seconds=30)
    run = load_run(db.session, run_id).run
    assert (run.status, run.error_class, run.attempt) == (RunStatus.FAILED, "deadline", 1)
    assert "ran past the run's deadline and did not stop" in str(run.error_message)


def test_claim_that_the_shutdown_overtakes_is_handed_over(house: House, database_url: str) -> None:
    other, is_shut = create_engine(database_url), threading.Event()
    with ThreadPoolExecutor(2) as pool, other.connect() as holder:
        holder.execute(text(CLAIM), {"due_at": DUE_AT})
        start = pool.submit(house.runner.start, trigger=Trigger.SCHEDULER, due_at=DUE_AT)
        await_true(
            house,
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database() AND query LIKE '%schedule_tick%'",
        )
        end = pool.submit(house.runner.shutdown, grace_seconds=0, still_here=is_shut.set)
        released(is_shut)
        holder.rollback()
        run_id = start.result(30)
        end.result(30)
    other.dispose()
    assert not house.runner._active
    begun = text("SELECT count(*) FROM run_log_line WHERE event = 'run started'")
    assert db.session.execute(begun).scalar() == 0
    run = load_run(db.session, run_id).run
    assert (run.status, run.attempt) == (RunStatus.RUNNING, 1)
    assert db.session.execute(
        text("SELECT lease_until <= clock_timestamp() FROM ingestion_run")
    ).scalar()
    with bare_app(database_url, **QUICK) as app:
        next_house: House = app.extensions["tapedeck"]
        await_true(next_house, "SELECT status = 'succeeded' FROM ingestion_run")


def test_nothing_is_claimed_once_the_shutdown_has_begun(database_url: str) -> None:
    with bare_app(database_url, **QUICK) as app:
        empty_tables(app)
        runner = app.extensions["tapedeck"].runner
        runner.shutdown(grace_seconds=0)
        with pytest.raises(RunStopped, match="begins no run any more"):
            runner.start(trigger=Trigger.SCHEDULER, due_at=DUE_AT)
        with pytest.raises(RunStopped):
            runner.take_up_dead_runs()
        assert [count_rows(app, name) for name in ("schedule_tick", "ingestion_run")] == [0, 0]
