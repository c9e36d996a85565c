"""The watch on slow queries, on the session's PostgreSQL."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from app.database.slow_queries import STATEMENT_LENGTH, watch_slow_queries


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def slow_queries(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.message == "slow query"]


def test_slow_statement_leaves_a_line_without_its_parameters(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    watch_slow_queries(engine, threshold_ms=50)
    with engine.connect() as connection:
        query = text("SELECT pg_sleep(:nap),\n    :word")
        connection.execute(query, {"nap": 0.06, "word": "confidential"})
    (record,) = slow_queries(caplog)
    assert record.duration_ms >= 50
    assert record.statement == "SELECT pg_sleep(%(nap)s), %(word)s"
    assert record.failed is False
    assert "confidential" not in str(record.__dict__)


def test_fast_statement_leaves_none(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    watch_slow_queries(engine, threshold_ms=600_000)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert slow_queries(caplog) == []


def test_slow_statement_that_fails_is_told_too(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    watch_slow_queries(engine, threshold_ms=50)
    with engine.connect() as connection:
        connection.execute(text("SET statement_timeout = 60"))
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_sleep(30)"))
    (record,) = slow_queries(caplog)
    assert record.failed is True


def test_long_statement_is_cut(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    watch_slow_queries(engine, threshold_ms=0)
    with engine.connect() as connection:
        connection.execute(text("SELECT " + "1 + " * 1000 + "1"))
    assert max(len(record.statement) for record in slow_queries(caplog)) == STATEMENT_LENGTH
