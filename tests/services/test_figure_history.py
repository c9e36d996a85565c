"""What the processes counted, put down by the hour and read back over a stretch of time."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.extensions import db
from app.services.figure_history import FigureHistory, load_figure_history
from app.services.figure_keeping import keep_figures, keep_last_figures
from app.tallies import Kind, count, take
from tests.apps import bare_app
from tests.services.seeding import NOW, execute, seeded_app

HOUR = timedelta(hours=1)
START = NOW.replace(minute=0) - 2 * HOUR
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application over empty tables; nothing has been counted."""
    with seeded_app(database_url) as app:
        take()
        yield app


def put_down(**ago: float) -> None:
    assert keep_figures(db.engine, now=NOW - timedelta(**ago), every_seconds=0)


def look(step: timedelta = HOUR) -> FigureHistory:
    return load_figure_history(db.session, start=START, end=START + 3 * HOUR, step=step)


def test_two_processes_add_up_in_one_hour(app: Flask) -> None:
    for seconds, errors in ((0.002, 0), (0.002, 0), (0.2, 1)):
        count(Kind.REQUEST, seconds=seconds, errors=errors)
        put_down()
    bucket = look().buckets[-1]
    assert (bucket.requests, bucket.request_errors) == (3, 1)
    assert (bucket.request_p50_ms, bucket.request_p90_ms) == (4, 205)


def test_hours_stay_apart_and_are_joined_in_longer_steps(app: Flask) -> None:
    for hours in (0, 1, 1):
        count(Kind.CALL, "coingecko", seconds=0.3, billed=1)
        put_down(hours=hours)
    assert [bucket.calls for bucket in look().buckets] == [0, 2, 1]
    assert [(bucket.calls, bucket.credits) for bucket in look(3 * HOUR).buckets] == [(3, 3)]


def test_cache_reads_are_told_by_who_answered(app: Flask) -> None:
    for answerer in ("memory", "memory", "built"):
        count(Kind.READ, answerer)
    put_down()
    assert look().buckets[-1].reads == {"memory": 2, "built": 1}


def test_an_hour_without_figures_has_no_times(app: Flask) -> None:
    bucket = look().buckets[0]
    assert (bucket.requests, bucket.request_p50_ms, bucket.call_p90_ms) == (0, None, None)


def test_what_took_longer_than_every_class_is_told_as_the_longest(app: Flask) -> None:
    count(Kind.CALL, "mock", seconds=600)
    put_down()
    assert look().buckets[-1].call_p50_ms == 60_000


def test_a_size_is_noted_when_it_changes_and_holds_until_it_changes_again(app: Flask) -> None:
    count(Kind.READ, "built")
    put_down(hours=2)
    execute("UPDATE storage_size SET bytes = bytes - 1 WHERE name = ''")
    count(Kind.READ, "built")
    put_down()
    whole = look().sizes[0]
    assert whole.name == ""
    first, second, third = whole.sizes
    assert first is not None
    assert third is not None
    assert first == second < third
    with db.engine.connect() as connection:
        noted = "SELECT name, count(*) FROM storage_size GROUP BY name"
        counts = dict(connection.execute(text(noted)).all())
    assert counts[""] == 2
    assert counts["market"] == 1


def test_what_could_not_be_put_down_is_put_down_the_next_time(app: Flask) -> None:
    count(Kind.READ, "memory")
    with bare_app(NOWHERE), pytest.raises(OperationalError):
        keep_figures(db.engine, now=NOW, every_seconds=0)
    put_down()
    assert look().buckets[-1].reads == {"memory": 1}


def test_a_process_that_ends_without_database_ends_all_the_same() -> None:
    count(Kind.READ, "memory")
    with bare_app(NOWHERE):
        keep_last_figures(db.engine, now=NOW)
    take()
