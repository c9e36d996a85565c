"""What is seen of a run whose transaction lost a conflict: its stages, its log, its end."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from app.domain import RunStatus, Trigger
from app.extensions import db
from tests.ingestion.test_conflicts import PEACE, TROUBLE
from tests.services.seeding import execute
from tests.services.test_runner import Deck, deck_on

SERIES = ("snapshot", "aggregate", "comparison", "roi_statistic")


@pytest.fixture
def deck(database_url: str) -> Iterator[Deck]:
    """The application over empty tables."""
    with deck_on(database_url) as deck:
        yield deck
        execute(PEACE)


def make_trouble(table: str, *, times: int = 1) -> None:
    execute(TROUBLE.format(table=table, times=times, code="40P01"))


def log_of(run_id: str) -> list[str]:
    query = text("SELECT event FROM run_log_line WHERE run_id = :id ORDER BY position")
    with db.engine.connect() as connection:
        return list(connection.execute(query, {"id": run_id}).scalars())


def test_a_repeated_run_shows_every_stage_once_with_the_counts_of_one_pass(deck: Deck) -> None:
    make_trouble("market_roi_statistic")
    detail = deck.run()
    assert detail.run.status is RunStatus.SUCCEEDED
    assert {stage.status for stage in detail.stages} == {"succeeded"}
    assert len({stage.name for stage in detail.stages}) == len(detail.stages)
    stored = sum(deck.count(f"market_{name}") for name in SERIES)
    assert (
        detail.run.counts.inserted
        == sum(stage.counts.inserted for stage in detail.stages)
        == stored
    )
    assert log_of(detail.run.id).count("transaction repeated") == 1


def test_while_it_is_repeated_only_stages_before_the_active_one_are_shown(deck: Deck) -> None:
    seen: list[list[str]] = []

    def look(name: str, counts: object) -> None:
        if name == "history" and counts is None:
            query = text("SELECT name || ' ' || status FROM run_stage ORDER BY position")
            with deck.runner.engine.connect() as connection:
                seen.append(list(connection.execute(query).scalars()))

    make_trouble("market_roi_statistic")
    run_id = deck.runner.start(trigger=Trigger.MANUAL, listener=look)
    assert deck.runner.wait(run_id, timeout_seconds=30)
    assert seen == [["fetch succeeded", "validate succeeded", "history running"]] * 2


def test_a_run_that_gives_up_says_why_and_keeps_nothing(deck: Deck) -> None:
    make_trouble("market_comparison", times=10**6)
    detail = deck.run()
    assert (detail.run.status, detail.run.error_class) == (RunStatus.FAILED, "StorageConflict")
    assert "got in the way 3 times in a row" in (detail.run.error_message or "")
    statuses = {stage.name: stage.status for stage in detail.stages}
    assert statuses["history"] == statuses["candles"] == "rolled_back"
    assert statuses["comparisons"] == "failed"
    assert detail.run.counts.inserted == sum(deck.count(f"market_{name}") for name in SERIES) == 0


def test_a_run_that_was_taken_over_meanwhile_is_not_stored_by_the_repetition(deck: Deck) -> None:
    histories: list[str] = []

    def take_over(name: str, counts: object) -> None:
        if name == "history" and counts is None:
            histories.append(name)
        if len(histories) == 2:
            histories.append("taken over")
            with deck.runner.engine.begin() as connection:
                connection.execute(text("UPDATE ingestion_run SET attempt = attempt + 1"))

    make_trouble("market_roi_statistic")
    run_id = deck.runner.start(trigger=Trigger.MANUAL, listener=take_over)
    deck.runner.shutdown(grace_seconds=30)
    assert histories == ["history", "history", "taken over"]
    assert deck.count("market") == 0
    assert deck.detail(run_id).run.status is RunStatus.RUNNING
