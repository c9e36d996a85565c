"""The token of the stored data: read over one connection that may die at any time."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

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
