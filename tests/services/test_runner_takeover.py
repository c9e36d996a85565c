"""Dead runs: who takes them up, how they are closed, and that a zombie's commit is refused."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from app.domain import RunStatus, Trigger
from app.errors import RunAlreadyActive, RunStopped
from app.extensions import db
from app.ingestion.run_row import RunTicket, beat, close_with_error
from app.services.handover import hand_over
from app.services.house import House
from app.services.runs import load_run
from app.services.takeover import succession_of
from app.services.views import RunView
from tests.apps import bare_app
from tests.web.real_app import empty_tables

DEAD = """
    INSERT INTO ingestion_run (id, status, trigger, provider, symbols, attempt, owner, heartbeat_at,
                               lease_until, deadline_at, cancel_requested_at)
    VALUES (:id, 'running', :trigger, :provider, CAST(:symbols AS text[]), :attempt, 'host:1:abc',
            now() - interval '1 hour', now() - make_interval(secs => :dead_for),
            now() + make_interval(secs => :left), CASE WHEN :cancelled THEN now() END)
"""


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    with bare_app(database_url, scheduler_enabled=True, ingestion_lookback_days=0) as app:
        empty_tables(app)
        yield app


@pytest.fixture
def house(app: Flask) -> House:
    house: House = app.extensions["tapedeck"]
    return house


def leave_dead(**values: Any) -> str:
    """A run whose process died, as its row tells."""
    given = {
        "id": uuid4(),
        "trigger": "scheduler",
        "provider": "mock",
        "symbols": [],
        "attempt": 1,
        "dead_for": 1,
        "left": 100,
        "cancelled": False,
    } | values
    db.session.execute(text(DEAD), given)
    db.session.commit()
    return str(given["id"])


def look(house: House, run_id: str) -> RunView:
    """The run after one look for dead runs, finished if it was taken up."""
    house.runner.take_up_dead_runs()
    house.runner.wait(run_id, timeout_seconds=30)
    db.session.rollback()
    return load_run(db.session, run_id).run


@pytest.mark.parametrize("trigger", ["scheduler", "cron", "manual"])
def test_dead_run_is_taken_up_as_the_next_attempt(house: House, trigger: str) -> None:
    run = look(house, leave_dead(trigger=trigger, symbols=["ETH-USD"]))
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)
    assert (run.markets_ingested, run.symbols) == (1, ("ETH-USD",))
    (lost,) = load_run(db.session, run.id).lost_attempts
    assert (lost.attempt, lost.owner, lost.noticed_by) == (1, "host:1:abc", run.owner)


def test_run_that_died_three_times_is_failed(house: House) -> None:
    run = look(house, leave_dead(attempt=3))
    assert (run.status, run.attempt, run.error_class) == ("failed", 3, "AttemptsExhausted")
    assert "attempt 3 and the last" in str(run.error_message)


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ({"trigger": "cli"}, "abandoned", "no sign of life"),
        ({"trigger": "backfill"}, "abandoned", "no sign of life"),
        ({"left": -1}, "abandoned", "deadline is over"),
        ({"cancelled": True}, "cancelled", "had been asked to stop"),
        ({"provider": "gone"}, "failed", "no provider 'gone'"),
        ({"symbols": ["NO-USD"]}, "failed", "NO-USD"),
    ],
)
def test_dead_run_that_nobody_may_take_up_is_closed_with_the_reason(
    house: House, values: dict[str, Any], status: str, words: str
) -> None:
    run = look(house, leave_dead(**values))
    assert (run.status, run.attempt) == (status, 1)
    assert words in str(run.error_message)


def test_with_one_attempt_allowed_a_dead_run_is_abandoned(database_url: str) -> None:
    with bare_app(database_url, scheduler_enabled=True, run_max_attempts=1) as app:
        empty_tables(app)
        run = look(app.extensions["tapedeck"], leave_dead())
    assert run.status == "abandoned"


def test_without_a_scheduler_the_next_start_closes_a_dead_run(database_url: str) -> None:
    with bare_app(database_url, ingestion_lookback_days=0) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        dead = leave_dead()
        assert house.runner.wait(house.runner.start(trigger=Trigger.CRON), timeout_seconds=30)
        assert load_run(db.session, dead).run.status == "abandoned"


def test_start_waits_for_a_dead_run_to_be_taken_up_but_not_for_ever(house: House) -> None:
    dead = leave_dead()
    with pytest.raises(RunAlreadyActive, match=dead):
        house.runner.start(trigger=Trigger.MANUAL)
    db.session.execute(text("UPDATE ingestion_run SET lease_until = now() - interval '2 minutes'"))
    db.session.commit()
    house.runner.start(trigger=Trigger.MANUAL)
    run = load_run(db.session, dead).run
    assert run.status == "abandoned"
    assert "nobody took the run up" in str(run.error_message)


def test_start_leaves_a_dead_run_to_the_polls_that_are_rarer_than_the_lease_is_long(
    database_url: str,
) -> None:
    rare = {"run_lease_seconds": 3, "run_heartbeat_seconds": 1, "scheduler_poll_seconds": 60}
    with bare_app(database_url, scheduler_enabled=True, ingestion_lookback_days=0, **rare) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        dead = leave_dead(dead_for=60)
        with pytest.raises(RunAlreadyActive, match=dead):
            house.runner.start(trigger=Trigger.MANUAL)
        assert (look(house, dead).status, load_run(db.session, dead).run.attempt) == (
            RunStatus.SUCCEEDED,
            2,
        )


def test_of_many_that_notice_one_takes_the_run_up(house: House) -> None:
    run_id = leave_dead()
    threads = [threading.Thread(target=house.runner.take_up_dead_runs) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert look(house, run_id).attempt == 2


def test_living_run_is_left_alone(house: House) -> None:
    run_id = leave_dead(dead_for=-30)
    house.runner.take_up_dead_runs()
    assert load_run(db.session, run_id).run.attempt == 1


def test_zombie_neither_beats_nor_closes_what_another_took_up(house: House) -> None:
    run_id = leave_dead()
    zombie = RunTicket(UUID(run_id), 1)
    assert look(house, run_id).attempt == 2
    assert beat(house.runner.engine, zombie, lease_seconds=60) == "lost"
    with pytest.raises(RunStopped, match="taken over"):
        close_with_error(
            house.runner.engine, zombie, status=RunStatus.FAILED, error_class="x", message="x"
        )
    assert load_run(db.session, run_id).run.status == "succeeded"


def test_taking_up_ends_the_transaction_of_a_process_that_stands_still(
    house: House, database_url: str
) -> None:
    run_id = leave_dead()
    arguments = {"application_name": "tapedeck runs host:1:abc"}
    zombie = create_engine(database_url, connect_args=arguments)
    with zombie.connect() as connection:
        connection.execute(text("UPDATE ingestion_run SET stage = 'candles'"))
        assert look(house, run_id).status == "succeeded"
        connection.invalidate()
    zombie.dispose()


def test_run_asked_to_stop_by_another_process_hears_of_it(database_url: str) -> None:
    slow = {"mock": {"delay_seconds": 60}}
    with bare_app(database_url, providers=slow) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        run_id = house.runner.start(trigger=Trigger.MANUAL)
        db.session.execute(text("UPDATE ingestion_run SET cancel_requested_at = now()"))
        db.session.commit()
        assert house.runner.wait(run_id, timeout_seconds=30)
        assert load_run(db.session, run_id).run.status == "cancelled"


def cut_short(database_url: str, trigger: Trigger = Trigger.MANUAL, **values: Any) -> RunView:
    """A run in the middle of which its process was asked to stop, without any grace."""
    slow = {"mock": {"delay_seconds": 60}}
    with bare_app(database_url, providers=slow, **({"scheduler_enabled": True} | values)) as app:
        empty_tables(app)
        house: House = app.extensions["tapedeck"]
        run_id = house.runner.start(trigger=trigger)
        house.runner.shutdown(grace_seconds=0)
        return load_run(db.session, run_id).run


def test_run_that_a_stopping_process_cannot_finish_is_taken_up_at_once(
    house: House, database_url: str
) -> None:
    left = cut_short(database_url)
    assert (left.status, left.attempt) == (RunStatus.RUNNING, 1)
    run = look(house, left.id)
    assert (run.status, run.attempt) == (RunStatus.SUCCEEDED, 2)


@pytest.mark.parametrize(
    "values",
    [{"trigger": Trigger.CLI}, {"run_max_attempts": 1}, {"scheduler_enabled": False}],
    ids=["from the shell", "one attempt", "nobody looks"],
)
def test_run_that_nobody_may_take_up_is_closed_by_its_stopping_process(
    database_url: str, values: dict[str, Any]
) -> None:
    run = cut_short(database_url, **values)
    assert (run.status, run.error_class) == (RunStatus.FAILED, "shutdown")
    assert "asked to stop" in str(run.error_message)


def test_cancelled_run_is_not_left_to_another_process(house: House) -> None:
    run_id = leave_dead(dead_for=-30, cancelled=True)
    succession = succession_of(house.settings)
    assert not hand_over(house.runner.engine, RunTicket(UUID(run_id), 1), succession)
