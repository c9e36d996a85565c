"""Dead runs at their rows: whose connections are ended, how far a lease goes, what is said."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from app.database.identity import runs_name
from app.domain import RunStatus
from app.ingestion.dead_runs import (
    DeadRun,
    NextAttempt,
    Succession,
    Verdict,
    close_dead_run,
    judge_dead_run,
    load_dead_runs,
    take_up,
)
from app.ingestion.run_row import RunTicket, beat
from tests.ingestion.making import empty

LEASE = 60
OPEN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, owner, heartbeat_at, lease_until,
                               deadline_at, cancel_requested_at)
    VALUES (:id, 'running', 'scheduler', 'mock', :owner, now() - interval '1 hour',
            now() - interval '1 second', now() + make_interval(secs => :left),
            CASE WHEN :is_cancelled THEN now() END)
"""
VERDICT = Verdict(RunStatus.ABANDONED, "Abandoned", "Nothing was kept.")
SUCCESSION = Succession(max_attempts=3, is_polled=True, lease_seconds=LEASE, poll_seconds=5)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    empty(engine)
    yield engine
    empty(engine)
    engine.dispose()


def leave_dead(engine: Engine, *, left: float = 600, is_cancelled: bool = False) -> RunTicket:
    """A run whose lease is over; its deadline is that many seconds away."""
    values: dict[str, Any] = {"id": uuid4(), "owner": f"host:1:{uuid4().hex[:6]}", "left": left}
    with engine.begin() as connection:
        connection.execute(text(OPEN), values | {"is_cancelled": is_cancelled})
    return RunTicket(values["id"])


def see_dead(engine: Engine) -> DeadRun:
    with engine.connect() as connection:
        (run,) = load_dead_runs(connection)
    return run


def take(engine: Engine, run: DeadRun) -> NextAttempt | None:
    with engine.begin() as connection:
        return take_up(connection, run, fingerprint="", lease_seconds=LEASE)


def status_of(engine: Engine, run_id: UUID) -> tuple[str, int]:
    with engine.connect() as connection:
        query = text("SELECT status, attempt FROM ingestion_run WHERE id = :id")
        row = connection.execute(query, {"id": run_id}).one()
    return row.status, row.attempt


@contextmanager
def work_of(url: str, owner: str) -> Iterator[Connection]:
    """An open transaction of a run's owner."""
    engine = create_engine(url, connect_args={"application_name": runs_name(owner)})
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        yield connection
        connection.invalidate()
    engine.dispose()


def lives(connection: Connection) -> bool:
    try:
        connection.execute(text("SELECT 1"))
    except DBAPIError:
        return False
    return True


def test_owner_that_beats_again_in_time_keeps_run_and_connections(
    engine: Engine, database_url: str
) -> None:
    ticket = leave_dead(engine)
    seen = see_dead(engine)
    with work_of(database_url, seen.owner) as work:
        assert beat(engine, ticket, lease_seconds=LEASE) == "alive"
        assert take(engine, seen) is None
        with engine.begin() as connection:
            assert not close_dead_run(connection, seen, VERDICT)
        assert lives(work)
    assert status_of(engine, ticket.run_id) == ("running", 1)


def test_who_takes_a_run_up_ends_the_connections_of_its_owner(
    engine: Engine, database_url: str
) -> None:
    leave_dead(engine)
    seen = see_dead(engine)
    with work_of(database_url, seen.owner) as work:
        taken = take(engine, seen)
        assert taken is not None
        assert taken.attempt == 2
        assert not lives(work)


@contextmanager
def other_role(engine: Engine, url: str) -> Iterator[Engine]:
    """Connections of a role that may work on the tables, but not end those of the owner's role."""
    role = f"second_{uuid4().hex[:8]}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD 'second-password'"))
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
    other = create_engine(make_url(url).set(username=role, password="second-password"))
    try:
        yield other
    finally:
        other.dispose()
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_run_is_taken_up_by_a_role_that_may_not_end_the_owners_connections(
    engine: Engine, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = leave_dead(engine)
    seen = see_dead(engine)
    with work_of(database_url, seen.owner) as work, other_role(engine, database_url) as other:
        with caplog.at_level(logging.WARNING):
            assert take(other, seen) == NextAttempt(2, pytest.approx(600, abs=60))
        assert lives(work)
    assert caplog.messages.count("connections not ended") == 1
    assert beat(engine, ticket, lease_seconds=LEASE) == "lost"


def test_lease_goes_no_further_than_one_lease_beyond_the_deadline(engine: Engine) -> None:
    ticket = leave_dead(engine, left=-LEASE / 2)
    assert beat(engine, ticket, lease_seconds=LEASE) == "late"
    with engine.connect() as connection:
        assert not load_dead_runs(connection)
    with engine.begin() as connection:
        connection.execute(text("UPDATE ingestion_run SET deadline_at = now() - interval '61 s'"))
    assert beat(engine, ticket, lease_seconds=LEASE) == "late"
    assert see_dead(engine).is_overrun


@pytest.mark.parametrize(("is_cancelled", "status"), [(False, "failed"), (True, "cancelled")])
def test_run_that_outlives_its_deadline_is_closed_with_the_true_reason(
    engine: Engine, *, is_cancelled: bool, status: str
) -> None:
    ticket = leave_dead(engine, left=-2 * LEASE, is_cancelled=is_cancelled)
    beat(engine, ticket, lease_seconds=LEASE)
    seen = see_dead(engine)
    verdict = judge_dead_run(seen, SUCCESSION)
    assert verdict is not None
    assert verdict.message.startswith(
        f"The process {seen.owner} ran past the run's deadline and did not stop; "
    )
    with engine.begin() as connection:
        assert close_dead_run(connection, seen, verdict)
    assert status_of(engine, ticket.run_id) == (status, 1)
