"""The token of the stored data: read over one connection that may die at any time."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from app.cache import Entry, key
from app.models.versions import NEW_ALERTS_VERSION
from app.services.data_version import DataVersion
from tests.ingestion.making import Tape, build_snapshot, tape_on


@pytest.fixture
def tape(database_url: str) -> Iterator[Tape]:
    """The pipeline over empty tables."""
    with tape_on(database_url) as tape:
        yield tape


@pytest.fixture
def connect(database_url: str) -> Callable[[], Any]:
    """Opens a connection of psycopg2."""
    url = make_url(database_url).set(drivername="postgresql")
    return lambda: psycopg2.connect(url.render_as_string(hide_password=False))


@pytest.fixture
def version(tape: Tape, connect: Callable[[], Any]) -> Iterator[DataVersion]:
    """The reader under test."""
    version = DataVersion(connect)
    yield version
    version.close()


def test_without_data_there_is_no_token(version: DataVersion) -> None:
    assert version.read() == "none"


def test_the_token_changes_with_the_data_and_only_then(version: DataVersion, tape: Tape) -> None:
    tape.run([build_snapshot("5")])
    first = version.read()
    tape.run([build_snapshot("5")])
    assert version.read() == first
    tape.run([build_snapshot("6")])
    assert version.read() not in (first, "none")


def test_everything_at_once_still_fits_into_a_key_of_the_cache(
    version: DataVersion, tape: Tape
) -> None:
    tape.run([build_snapshot("5")])
    before = version.read_all()
    with tape.engine.begin() as connection:
        connection.execute(text(NEW_ALERTS_VERSION))
        connection.execute(
            text(
                "INSERT INTO schedule_pause (schedule, paused_at, paused_by, reason) "
                "SELECT unnest(ARRAY['ingestion', 'another one']), now(), 'me', 'a test'"
            )
        )
    after = version.read_all()
    assert (after.data, after.runs == before.runs) == (before.data, False)
    assert key(Entry.OVERVIEW, generation=f"{after.data}.{after.runs}")


def test_a_connection_that_died_is_opened_again(version: DataVersion, tape: Tape) -> None:
    version.read()
    tape.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert version.read() == "none"


def test_a_database_that_is_away_is_told_as_such() -> None:
    version = DataVersion(lambda: psycopg2.connect(host="127.0.0.1", port=1, dbname="x"))
    for _ in range(2):
        with pytest.raises(OperationalError):
            version.read()


def test_many_threads_may_read_at_once(version: DataVersion) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.extend(version.read() for _ in range(20)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["none"] * 160


class Counted:
    """A reader over a connection that counts its questions, at a time that stands still."""

    def __init__(self, connect: Callable[[], Any], lag_seconds: float) -> None:
        self.now = 100.0
        self.reads = 0
        self.version = DataVersion(connect, lag_seconds=lag_seconds, clock=lambda: self.now)
        ask = self.version._ask

        def count() -> Any:
            self.reads += 1
            self.now += 0.001
            return ask()

        self.version._ask = count  # type: ignore[method-assign]


@pytest.fixture
def counted(tape: Tape, connect: Callable[[], Any]) -> Iterator[Counted]:
    """A reader that may be 20 ms behind."""
    counted = Counted(connect, 0.02)
    yield counted
    counted.version.close()


def test_what_was_just_read_serves_for_most_of_the_lag(counted: Counted) -> None:
    counted.version.read()
    counted.now += 0.014
    counted.version.read()
    assert counted.reads == 1
    counted.now += 0.002
    counted.version.read()
    assert counted.reads == 2


def test_one_asks_ahead_of_time_and_the_others_do_not_wait(counted: Counted) -> None:
    counted.version.read()
    counted.now += 0.017
    with counted.version._renewal:
        assert counted.version.read() == "none"
        assert counted.reads == 1
        counted.now += 0.01  # beyond the lag nobody may answer from memory
        counted.version.read()
    assert counted.reads == 2


def test_who_was_told_of_a_change_sees_it_at_once(counted: Counted, tape: Tape) -> None:
    assert counted.version.read() == "none"
    tape.run([build_snapshot("5")])
    assert counted.version.read() == "none"
    counted.version.forget()
    assert counted.version.read() != "none"


def test_without_lag_every_request_asks(tape: Tape, connect: Callable[[], Any]) -> None:
    counted = Counted(connect, 0)
    counted.version.read()
    tape.run([build_snapshot("5")])
    assert counted.version.read() != "none"
    assert counted.reads == 2
    counted.version.close()


def test_who_waited_takes_an_answer_that_was_asked_for_after_them(
    tape: Tape, connect: Callable[[], Any]
) -> None:
    version = DataVersion(connect)
    begun, go_on = threading.Event(), threading.Event()
    ask, asked = version._ask, []

    def slow() -> Any:
        asked.append(threading.get_ident())
        begun.set()
        assert go_on.wait(30)
        return ask()

    version._ask = slow  # type: ignore[method-assign]
    first = threading.Thread(target=version.read)
    first.start()
    assert begun.wait(30)
    waiting = Semaphored(version._lock)
    version._lock = waiting  # type: ignore[assignment]
    others = [threading.Thread(target=version.read) for _ in range(4)]
    for thread in others:
        thread.start()
    for _ in others:
        assert waiting.arrived.acquire(timeout=30)
    go_on.set()
    for thread in (first, *others):
        thread.join(30)
    # The first one's question is older than theirs; one of them asks for all.
    assert len(asked) == 2
    version.close()


class Semaphored:
    """A lock that says when somebody comes to wait at it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self.arrived = threading.Semaphore(0)

    def __enter__(self) -> None:
        self.arrived.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
