"""The state of the data in one word, by the clock, the schedule and the last runs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from app.domain import Trigger
from app.extensions import db
from app.services.house import House
from app.services.overview import freshness_limit, load_overview
from app.services.views import Overview
from tests.apps import bare_app
from tests.ingestion.making import empty
from tests.services.seeding import NOW, add_markets, add_run, execute, seeded_app

MARKETS = "BTC-USD,ETH-USD,SPX"


class Deck:
    """The application over the mock provider, with a clock that is set by hand."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        self.now = NOW
        with bare_app(database_url):
            empty(db.engine)

    def look(self, **values: object) -> Overview:
        """The overview as it is now."""
        with self._app(**values) as app:
            return load_overview(db.session, app.extensions["tapedeck"])

    def run(self, *, fail: str = "none", bad_rows: float = 0, **values: object) -> None:
        """A finished run at the present moment."""
        with self._app({"fail": fail, "bad_rows": bad_rows}, **values) as app:
            runner = app.extensions["tapedeck"].runner
            assert runner.wait(runner.start(trigger=Trigger.MANUAL), timeout_seconds=30)

    def _app(self, mock: dict[str, object] | None = None, **values: object):  # type: ignore[no-untyped-def]
        settings = {"ingestion_markets": MARKETS, "ingestion_lookback_days": 0} | values
        return bare_app(
            self.database_url, providers={"mock": mock or {}}, clock=lambda: self.now, **settings
        )


@pytest.fixture
def deck(database_url: str) -> Deck:
    """Nothing has been collected yet."""
    return Deck(database_url)


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    """The application over empty tables at a set moment."""
    with seeded_app(database_url, ingestion_markets="A-USD,B-USD") as app:
        yield app


def test_before_the_first_run_the_state_is_empty(deck: Deck) -> None:
    view = deck.look()
    assert (view.state.level, view.market_count, view.last_run) == ("empty", 0, None)


def test_after_a_run_the_data_is_good(deck: Deck) -> None:
    deck.run()
    view = deck.look()
    assert (view.state.level, view.market_count) == ("good", 3)
    assert view.last_run is not None
    assert view.active_run is None


def test_data_older_than_two_intervals_is_late(deck: Deck) -> None:
    deck.run()
    levels = []
    for minutes in (1, 29, 31, 600):
        deck.now = NOW + timedelta(minutes=minutes)
        levels.append(deck.look().state.level)
    assert levels == ["good", "good", "late", "late"]


def test_a_failed_last_run_is_failing_though_the_data_is_fresh(deck: Deck) -> None:
    deck.run()
    deck.run(fail="permanent")
    state = deck.look().state
    assert state.level == "failing"
    assert "HTTP 401" in state.headline + state.reason


def test_a_first_run_that_fails_is_failing(deck: Deck) -> None:
    deck.run(fail="transient")
    assert deck.look().state.level == "failing"


def test_a_good_run_after_failures_is_good_again(deck: Deck) -> None:
    deck.run(fail="permanent")
    deck.run()
    assert deck.look().state.level == "good"


def test_a_partial_run_is_good_and_says_what_is_missing(deck: Deck) -> None:
    deck.run(fail="market", bad_rows=0)
    state = deck.look().state
    assert state.level == "good"
    assert "1 market could not be served" in state.reason


def test_the_next_run_is_told_only_while_the_scheduler_is_on(deck: Deck) -> None:
    assert deck.look().next_tick_at is None
    assert deck.look(scheduler_enabled=True).next_tick_at == NOW.replace(minute=30)


def test_one_late_market_of_several_is_told_by_name(app: Flask) -> None:
    add_markets(["A-USD", "B-USD"])
    add_run()
    execute("UPDATE market_snapshot SET observed_at = :at WHERE market_id = 2",
            at=NOW - timedelta(hours=5))  # fmt: skip
    state = load_overview(db.session, app.extensions["tapedeck"]).state
    assert state.level == "late"
    assert "B-USD" in state.headline + state.reason
    assert "5 h" in state.headline + state.reason


def test_the_oldest_of_several_late_markets_is_told_and_of_two_as_old_the_first_by_symbol(
    database_url: str,
) -> None:
    with seeded_app(database_url, ingestion_markets="A-USD,C-USD,B-USD") as app:
        add_markets(["A-USD", "C-USD", "B-USD"])
        add_run()
        for market_id, hours in ((1, 5), (2, 7), (3, 7)):
            execute("UPDATE market_snapshot SET observed_at = :at WHERE market_id = :id",
                    at=NOW - timedelta(hours=hours), id=market_id)  # fmt: skip
        headline = load_overview(db.session, app.extensions["tapedeck"]).state.headline
    assert headline.startswith("B-USD and 2 more of 3 markets are late, up to 7 h old")


def test_a_market_that_is_no_longer_followed_is_not_late(app: Flask) -> None:
    add_markets(["A-USD", "B-USD", "GONE-USD"])
    add_run()
    execute("UPDATE market_snapshot SET observed_at = :at WHERE market_id = 3",
            at=NOW - timedelta(days=5))  # fmt: skip
    view = load_overview(db.session, app.extensions["tapedeck"])
    assert (view.state.level, view.market_count) == ("good", 2)


def test_a_coin_that_left_the_ranking_is_not_late(database_url: str) -> None:
    with seeded_app(database_url, ingestion_markets="top:2") as app:
        add_markets(["A-USD", "B-USD", "C-USD"])
        add_run()
        # C took the second rank from B.
        execute("UPDATE listing SET rank = 1 WHERE market_id = 1")
        execute("UPDATE listing SET rank = 2, seen_at = :at WHERE market_id = 2",
                at=NOW - timedelta(hours=1))  # fmt: skip
        execute("UPDATE listing SET rank = 2 WHERE market_id = 3")
        execute("UPDATE market_snapshot SET observed_at = :at WHERE market_id = 2",
                at=NOW - timedelta(hours=1))  # fmt: skip
        view = load_overview(db.session, app.extensions["tapedeck"])
    assert (view.state.level, view.market_count) == ("good", 2)


@pytest.mark.parametrize(
    ("expression", "now", "hours"),
    [
        ("*/15 * * * *", NOW, 0.5),
        ("* * * * *", NOW, 1 / 6),
        ("0 * * * *", NOW, 2),
        ("0 6 * * *", NOW, 48),
        # On a Sunday, and on the Monday while its run may still work, Friday's data is the newest.
        ("0 9 * * 1-5", datetime(2026, 3, 8, 12, tzinfo=UTC), 144),
        ("0 9 * * 1-5", datetime(2026, 3, 9, 9, 1, tzinfo=UTC), 144),
        ("0 9 * * 1-5", datetime(2026, 3, 11, 12, tzinfo=UTC), 48),
    ],
)
def test_how_old_data_may_be_follows_the_schedule(
    database_url: str, expression: str, now: datetime, hours: float
) -> None:
    with bare_app(database_url, ingestion_cron_expression=expression) as app:
        house: House = app.extensions["tapedeck"]
        assert freshness_limit(house, now) == timedelta(hours=hours)


def test_the_newest_runs_come_first(app: Flask) -> None:
    ids = [add_run(at=NOW - timedelta(minutes=n)) for n in range(60)]
    view = load_overview(db.session, app.extensions["tapedeck"])
    assert [run.id for run in view.recent_runs] == ids[: len(view.recent_runs)]
    assert len(view.recent_runs) >= 20
