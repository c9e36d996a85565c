"""Transactions that lose a conflict: done again, once, and given up in the end."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.database.transactions import run_in_transaction
from app.errors import RunStopped, StorageConflict

CONFLICT = "DO $$ BEGIN RAISE SQLSTATE '{}'; END $$"
TOUCH = "UPDATE reel SET touched = touched + 1 WHERE id = :id"


@pytest.fixture(scope="module")
def engine(fresh_database_url: str) -> Iterator[Engine]:
    engine = create_engine(fresh_database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE reel (id int PRIMARY KEY, touched int NOT NULL)"))
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _two_reels(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE reel; INSERT INTO reel VALUES (1, 0), (2, 0)"))


def touches(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT touched FROM reel ORDER BY id")).scalars())


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_conflict_is_tried_again_and_done_once(engine: Engine, code: str) -> None:
    tried = []

    def work(connection: Connection) -> str:
        tried.append(1)
        connection.execute(text(TOUCH), {"id": 1})
        if len(tried) < 3:
            connection.execute(text(CONFLICT.format(code)))
        return "done"

    assert run_in_transaction(engine, work, attempts=3) == "done"
    assert touches(engine) == [1, 0]


def test_the_last_conflict_is_told_with_its_reason(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def work(connection: Connection) -> None:
        tried.append(1)
        connection.execute(text(TOUCH), {"id": 1})
        connection.execute(text(CONFLICT.format("40001")))

    with pytest.raises(StorageConflict, match="2 times in a row") as caught:
        run_in_transaction(engine, work, attempts=2)
    assert isinstance(caught.value.__cause__, DBAPIError)
    assert [record.message for record in caplog.records] == [
        "transaction repeated",
        "transaction given up",
    ]
    assert len(tried) == 2
    assert touches(engine) == [0, 0]


def test_what_the_pause_raises_ends_the_attempts(engine: Engine) -> None:
    tried, waited = [], []

    def work(connection: Connection) -> None:
        tried.append(1)
        connection.execute(text(CONFLICT.format("40P01")))

    def pause(seconds: float) -> None:
        waited.append(seconds)
        raise RunStopped("cancelled", "Enough.")

    with pytest.raises(RunStopped):
        run_in_transaction(engine, work, pause=pause)
    assert (len(tried), len(waited)) == (1, 1)
    assert 0 < waited[0] < 1


def test_other_errors_are_raised_at_once(engine: Engine) -> None:
    tried = []

    def work(connection: Connection) -> None:
        tried.append(1)
        connection.execute(text("INSERT INTO reel VALUES (1, 0)"))

    with pytest.raises(IntegrityError):
        run_in_transaction(engine, work)
    assert len(tried) == 1


def test_a_real_deadlock_is_tried_again(engine: Engine) -> None:
    both_hold_one = threading.Barrier(2, timeout=30)

    def touch(order: Sequence[int]) -> int:
        attempts = []

        def work(connection: Connection) -> int:
            attempts.append(1)
            connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            for number in order:
                connection.execute(text(TOUCH), {"id": number})
                if len(attempts) == 1 and number == order[0]:
                    both_hold_one.wait()
            return len(attempts)

        return run_in_transaction(engine, work)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(touch, [(1, 2), (2, 1)])) == [1, 2]
    assert touches(engine) == [2, 2]
