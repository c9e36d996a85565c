"""Runs: listed newest first, narrowed, paged, and one in full."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain import RunStatus, Trigger
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.paging import write_cursor
from app.services.runs import load_active_run, load_run, load_runs
from tests.services.seeding import NOW, add_run, execute, seeded_app

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    """Thirty runs, three of which start at one moment each."""
    with seeded_app(fresh_database_url) as app:
        for number in range(30):
            add_run(
                "failed" if number % 3 == 0 else "succeeded",
                at=NOW - timedelta(minutes=number // 3),
                trigger="scheduler" if number % 2 else "manual",
            )
        yield app


def walk(limit: int, **filters: object) -> list[str]:
    """The ids of all pages, one after the other."""
    ids: list[str] = []
    cursor = None
    for _ in range(40):
        page = load_runs(db.session, cursor=cursor, limit=limit, **filters)  # type: ignore[arg-type]
        ids += [run.id for run in page.runs]
        cursor = page.next_cursor
        if cursor is None:
            return ids
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [1, 4, 29, 30, 31])
def test_every_run_is_on_exactly_one_page(app: Flask, limit: int) -> None:
    ids = walk(limit)
    assert len(ids) == len(set(ids)) == 30


def test_runs_come_newest_first(app: Flask) -> None:
    instants = [run.started_at for run in load_runs(db.session, limit=30).runs]
    assert instants == sorted(instants, reverse=True)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"status": RunStatus.FAILED}, 10),
        ({"trigger": Trigger.MANUAL}, 15),
        ({"status": RunStatus.FAILED, "trigger": Trigger.MANUAL}, 5),
        ({"provider": "mock"}, 30),
        ({"provider": "nobody"}, 0),
        ({"status": RunStatus.CANCELLED}, 0),
    ],
)
def test_filters_narrow_the_list_on_every_page(
    app: Flask, filters: dict[str, object], count: int
) -> None:
    assert len(walk(3, **filters)) == count


CURSORS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.none(), st.text()), max_size=3).map(write_cursor),
    st.tuples(st.datetimes().map(str), st.uuids()).map(write_cursor),
    st.tuples(st.text(), st.uuids()).map(write_cursor),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=CURSORS)
def test_a_cursor_of_ones_own_making_is_a_page_or_refused(app: Flask, cursor: str) -> None:
    with suppress(InvalidRequest):
        load_runs(db.session, cursor=cursor)


@pytest.mark.parametrize("run_id", ["", "x", "1", UNKNOWN, "\0", "\ud800", "z" * 5000])
def test_an_unknown_run_is_not_found(app: Flask, run_id: str) -> None:
    with pytest.raises(NotFound):
        load_run(db.session, run_id)


def test_a_run_without_stages_shows_all_of_them_as_skipped(app: Flask) -> None:
    detail = load_run(db.session, walk(1)[0])
    assert {stage.status for stage in detail.stages} == {"skipped"}
    assert detail.run.expected_ms == 1000


def test_no_run_is_active(app: Flask) -> None:
    assert load_active_run(db.session) is None


def test_the_expected_time_is_the_median_of_the_last_twenty_good_runs(database_url: str) -> None:
    with seeded_app(database_url):
        for number in range(45):
            status = ("failed", "partial", "succeeded", "succeeded")[min(number // 10, 3)]
            add_run(status, at=NOW - timedelta(minutes=number))
        # The last ten partial ones took 10 ms, and the ten good ones before them 30 ms.
        execute("UPDATE ingestion_run SET duration_ms = 10 WHERE status = 'partial'")
        execute("UPDATE ingestion_run SET duration_ms = 30 WHERE status = 'succeeded'")
        newest = load_runs(db.session, limit=1).runs[0].id
        assert load_run(db.session, newest).run.expected_ms == 20
