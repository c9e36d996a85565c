"""Runs found by filters, with the counts of every other choice."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app.domain import RunStatus, Trigger
from app.errors import InvalidRequest
from app.extensions import db
from app.services import run_search
from app.services.run_search import RunFilter, load_run_facets, search_runs
from tests.services.seeding import add_run, execute, seeded_app


@pytest.fixture(scope="module")
def app(fresh_database_url: str) -> Iterator[Flask]:
    """Thirty runs, one an hour: every third failed, every second by the scheduler."""
    with seeded_app(fresh_database_url) as app:
        for number in range(30):
            status = "succeeded" if number % 3 else "failed"
            trigger = "scheduler" if number % 2 else "manual"
            error = None if number % 3 else f"The provider answered HTTP {400 + number}."
            add_run(status, trigger=trigger, error=error)
        execute(
            "UPDATE ingestion_run r SET started_at = now() - n.place * interval '1 hour', "
            "duration_ms = n.place * 1000 FROM (SELECT id, row_number() OVER (ORDER BY "
            "coalesce(substring(error_message, 'HTTP ([0-9]+)'), '9'), id) AS place "
            "FROM ingestion_run) n WHERE n.id = r.id"
        )
        yield app


def find(**wanted: object) -> list[str]:
    page = search_runs(db.session, RunFilter(**wanted), limit=250)  # type: ignore[arg-type]
    return [run.id for run in page.runs]


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 30),
        ({"status": RunStatus.FAILED}, 10),
        ({"trigger": Trigger.CRON}, 0),
        ({"status": RunStatus.FAILED, "trigger": Trigger.MANUAL}, 5),
        ({"period": timedelta(hours=5, minutes=30)}, 5),
        ({"min_duration_ms": 28_000}, 3),
        ({"search": "http 42"}, 3),
        ({"search": "%"}, 0),
        ({"search": "_"}, 0),
        ({"provider": "coingecko"}, 0),
    ],
)
def test_filters_narrow_and_go_together(app: Flask, wanted: dict[str, object], count: int) -> None:
    assert len(find(**wanted)) == count


def test_a_run_is_found_by_its_id_and_by_the_beginning_of_it(app: Flask) -> None:
    run_id = find()[17]
    assert find(search=run_id) == [run_id]
    assert run_id in find(search=run_id[:8])


def test_a_run_is_found_by_a_symbol_it_was_asked_for_or_could_not_serve(app: Flask) -> None:
    asked, refused = find()[:2]
    execute("UPDATE ingestion_run SET symbols = '{DOGE-USD}' WHERE id = :id", id=asked)
    execute(
        "UPDATE ingestion_run SET problem_count = 1, problems = CAST(:p AS jsonb) WHERE id = :id",
        id=refused,
        p='[{"symbol": "DOGE-USD", "error_class": "NotFound", "message": "gone"}]',
    )
    assert set(find(search="doge")) == {asked, refused}


def test_pages_follow_each_other_under_filters(app: Flask) -> None:
    wanted = RunFilter(status=RunStatus.SUCCEEDED)
    first = search_runs(db.session, wanted, limit=12)
    second = search_runs(db.session, wanted, limit=12, cursor=first.next_cursor)
    assert [run.id for run in (*first.runs, *second.runs)] == find(status=RunStatus.SUCCEEDED)
    assert second.next_cursor is None


def test_a_facet_counts_what_its_choice_would_show(app: Flask) -> None:
    facets = load_run_facets(db.session, RunFilter(status=RunStatus.FAILED))
    assert facets.statuses == {"failed": 10, "succeeded": 20}
    assert facets.triggers == {"manual": 5, "scheduler": 5}
    assert facets.total == 10


def test_every_filter_bears_upon_the_counts(app: Flask) -> None:
    wanted = {"period": timedelta(hours=20, minutes=30), "min_duration_ms": 11_000}
    facets = load_run_facets(db.session, RunFilter(**wanted))  # type: ignore[arg-type]
    assert facets.total == len(find(**wanted)) == 10


def test_the_marks_are_the_median_and_the_ninetieth_percentile_of_good_runs(app: Flask) -> None:
    facets = load_run_facets(db.session, RunFilter())
    # The good runs took 11 to 30 seconds.
    assert (facets.median_ms, facets.p90_ms) == (20_500, 28_100)


def test_without_a_run_there_are_no_marks(app: Flask) -> None:
    facets = load_run_facets(db.session, RunFilter(period=timedelta(seconds=1)))
    assert (facets.total, facets.median_ms, facets.is_capped) == (0, None, False)


def test_counts_look_at_the_newest_runs_only(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_search, "COUNTED", 12)
    facets = load_run_facets(db.session, RunFilter())
    assert (facets.total, facets.is_capped) == (12, True)


def test_a_cursor_of_somebody_else_is_refused(app: Flask) -> None:
    with pytest.raises(InvalidRequest):
        search_runs(db.session, RunFilter(), cursor="x")
