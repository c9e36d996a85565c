"""Runs from their start to their end, as every face starts them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from app.domain import RunStatus, Trigger
from app.errors import InvalidRequest, NotFound, RunAlreadyActive
from app.extensions import db
from app.ingestion import pipeline
from app.ingestion.stages import STORING
from app.services.house import House
from app.services.runs import load_run
from app.services.views import RunDetail
from tests.apps import bare_app
from tests.ingestion.making import empty
from tests.services.seeding import NOW
from tests.web.real_app import count_rows

MARKETS = "BTC-USD,ETH-USD,SPX"


class Deck:
    """The application over the mock provider."""

    def __init__(self, house: House, app: Any) -> None:
        self.house, self.app, self.runner = house, app, house.runner

    def run(self, **values: Any) -> RunDetail:
        """A finished run."""
        run_id = self.runner.start(**({"trigger": Trigger.MANUAL} | values))
        assert self.runner.wait(run_id, timeout_seconds=30)
        return self.detail(run_id)

    def detail(self, run_id: str) -> RunDetail:
        """The run as it is now."""
        db.session.remove()
        return load_run(db.session, run_id)

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return count_rows(self.app, table)


@contextmanager
def deck_on(database_url: str, *, is_clean: bool = True, **mock: Any) -> Iterator[Deck]:
    """The application, over empty tables unless told otherwise."""
    with bare_app(
        database_url,
        providers={"mock": mock},
        clock=lambda: NOW,
        ingestion_markets=MARKETS,
        ingestion_lookback_days=1,
    ) as app:
        if is_clean:
            empty(db.engine)
        yield Deck(app.extensions["tapedeck"], app)


@pytest.fixture
def deck(database_url: str) -> Iterator[Deck]:
    """The application over empty tables."""
    with deck_on(database_url) as deck:
        yield deck


def test_a_run_that_succeeds_tells_all_about_itself(deck: Deck) -> None:
    detail = deck.run(requested_by="me")
    run = detail.run
    assert (run.status, run.trigger, run.requested_by) == (
        RunStatus.SUCCEEDED,
        Trigger.MANUAL,
        "me",
    )
    assert (run.markets_requested, run.markets_ingested, run.snapshots_ingested) == (3, 3, 3)
    assert {stage.status for stage in detail.stages} == {"succeeded"}
    assert run.counts.inserted == sum(
        deck.count(f"market_{name}")
        for name in ("snapshot", "aggregate", "comparison", "roi_statistic")
    )
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at


def test_a_second_run_at_the_same_moment_changes_nothing_and_says_so(deck: Deck) -> None:
    deck.run()
    again = deck.run().run
    assert again.status is RunStatus.SUCCEEDED
    assert (again.counts.inserted, again.counts.updated) == (0, 0)
    assert again.counts.unchanged > 0
    assert (again.snapshots_ingested, again.aggregates_ingested) == (0, 0)


@pytest.mark.parametrize("place", range(len(STORING)))
def test_a_stage_that_breaks_rolls_everything_back_and_shows_it(
    deck: Deck, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    def broken(context: object, connection: object) -> Any:
        raise RuntimeError("secret detail")

    stages = [*STORING]
    stages[place] = replace(stages[place], store=broken)
    monkeypatch.setattr(pipeline, "STORING", tuple(stages))
    detail = deck.run()
    statuses = {stage.name: stage.status for stage in detail.stages}
    names = [stage.name for stage in STORING]
    assert statuses["fetch"] == statuses["validate"] == "succeeded"
    assert [statuses[name] for name in names[:place]] == ["rolled_back"] * place
    assert statuses[names[place]] == "failed"
    assert {statuses[name] for name in (*names[place + 1 :], "cache")} == {"skipped"}
    assert detail.run.error_class == "UnexpectedError"
    assert "secret detail" not in (detail.run.error_message or "")
    assert (deck.count("market"), detail.run.counts.inserted) == (0, 0)


def test_a_row_that_the_database_refuses_fails_the_run_with_its_words(
    deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: object, connection: Any) -> Any:
        connection.exec_driver_sql("SELECT 1 / 0")

    stages = (*STORING[:-1], replace(STORING[-1], store=broken))
    monkeypatch.setattr(pipeline, "STORING", stages)
    run = deck.run().run
    assert (run.status, run.error_class) == (RunStatus.FAILED, "StorageError")
    assert run.error_message == "The database refused the work: division by zero"
    assert deck.count("market") == 0


def test_a_cancelled_run_ends_soon_and_keeps_nothing(database_url: str) -> None:
    with deck_on(database_url, delay_seconds=60) as deck:
        run_id = deck.runner.start(trigger=Trigger.MANUAL)
        deck.runner.cancel(run_id)
        assert deck.runner.wait(run_id, timeout_seconds=30)
        run = deck.detail(run_id).run
        assert run.status is RunStatus.CANCELLED
        assert run.error_message == "The run was cancelled before it was done."
        assert run.cancel_requested_at is not None
        assert deck.count("market") == 0
        deck.runner.cancel(run_id)
        assert deck.detail(run_id).run.status is RunStatus.CANCELLED


def test_a_second_start_is_told_which_run_is_active(database_url: str) -> None:
    with deck_on(database_url, delay_seconds=60) as deck:
        run_id = deck.runner.start(trigger=Trigger.MANUAL)
        with pytest.raises(RunAlreadyActive) as caught:
            deck.runner.start(trigger=Trigger.CRON)
        assert caught.value.run_id == run_id
        assert not deck.runner.wait(run_id, timeout_seconds=0)
        deck.runner.cancel(run_id)
        assert deck.runner.wait(run_id, timeout_seconds=30)
        assert deck.count("ingestion_run") == 1


def test_after_a_failed_run_the_data_is_as_it_was(database_url: str) -> None:
    with deck_on(database_url) as deck:
        deck.run()
        before = deck.count("market_aggregate")
    with deck_on(database_url, is_clean=False, fail="transient") as deck:
        run = deck.run().run
        assert run.status is RunStatus.FAILED
        assert run.error_class == "TransientProviderError"
        assert deck.count("market_aggregate") == before


@pytest.mark.parametrize(("fail_markets", "count"), [("1", 2), ("2", 1), ("SPX,ETH-USD", 1)])
def test_markets_that_fail_are_named_and_the_others_kept(
    database_url: str, fail_markets: str, count: int
) -> None:
    with deck_on(database_url, fail="market", fail_markets=fail_markets) as deck:
        run = deck.run().run
        shown = deck.app.test_client().get(f"/runs/{run.id}").text
        assert (run.status, run.markets_ingested) == (RunStatus.PARTIAL, count)
        assert (run.markets_requested, run.problem_count) == (3, 3 - count)
        assert all(problem.message in shown for problem in run.problems)
        assert deck.count("market_snapshot") == count


def test_every_market_failing_fails_the_run(database_url: str) -> None:
    with deck_on(database_url, fail="market", fail_markets="3") as deck:
        run = deck.run().run
        assert run.status is RunStatus.FAILED
        assert "delivered no usable snapshot" in (run.error_message or "")
        assert (run.problem_count, deck.count("market")) == (3, 0)


def test_bad_rows_are_kept_aside_with_their_raw_text(database_url: str) -> None:
    with deck_on(database_url, bad_rows=0.5) as deck:
        detail = deck.run()
        assert detail.run.status in (RunStatus.PARTIAL, RunStatus.FAILED)
        assert detail.run.counts.rejected == deck.count("rejected_row") > 0
        assert all(row.reason and row.detail and row.raw for row in detail.rejected)


@pytest.mark.parametrize("symbols", [["btc-usd"], [" BTC-USD "], ["BTC-USD", "btc-usd"]])
def test_a_symbol_is_understood_however_it_is_written(deck: Deck, symbols: list[str]) -> None:
    assert deck.run(symbols=symbols).run.markets_requested == 1


def test_symbols_that_are_not_followed_are_listed_and_no_run_begins(deck: Deck) -> None:
    unknown = [f"X{n}-USD" for n in range(30)] + ["", "no symbol", "x" * 5000]
    with pytest.raises(InvalidRequest) as caught:
        deck.runner.start(trigger=Trigger.MANUAL, symbols=["BTC-USD", *unknown])
    assert str(caught.value).startswith("33 of 34 symbols are not followed: X0-USD, X1-USD")
    assert len(caught.value.details) == 10
    assert deck.count("ingestion_run") == 0


def test_an_unknown_provider_is_refused(deck: Deck) -> None:
    with pytest.raises(InvalidRequest, match="There is no provider 'nobody'"):
        deck.runner.start(trigger=Trigger.MANUAL, provider="nobody")


@pytest.mark.parametrize("run_id", ["", "x", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_run_cannot_be_cancelled(deck: Deck, run_id: str) -> None:
    with pytest.raises(NotFound):
        deck.runner.cancel(run_id)


def test_a_preview_stores_nothing(deck: Deck) -> None:
    report = deck.runner.preview(symbols=["SPX"])
    assert (report.status, report.markets_ingested) == (RunStatus.SUCCEEDED, 1)
    assert [deck.count(table) for table in ("market", "ingestion_run", "run_stage")] == [0, 0, 0]
