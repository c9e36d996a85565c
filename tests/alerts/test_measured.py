"""What the rules measured last, as whoever looks at them reads it."""

from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.alerts.facts import report_signals
from app.alerts.judging import SignalFact
from app.alerts.measured import Measured, load_measured
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK
from tests.alerts.conftest import AddMarket
from tests.alerts.making import NOON, add_run, judge, observe

MINUTE = timedelta(minutes=1)


def measured(engine: Engine, provider: str = "mock") -> dict[str, Measured]:
    with Session(engine) as session:
        return dict(load_measured(session, provider))


def test_nothing_is_known_before_the_first_round(engine: Engine) -> None:
    assert measured(engine) == {}


def test_a_figure_stays_with_its_moment_until_it_is_measured_again(engine: Engine) -> None:
    add_run(engine, "failed", at=NOON)
    judge(engine, NOON)
    judge(engine, NOON + MINUTE / 2)
    found = measured(engine)
    assert found["run_failed"] == Measured("failed", NOON)
    assert found["no_success"].measured_at == NOON + MINUTE / 2
    add_run(engine, "succeeded", at=NOON + MINUTE)
    judge(engine, NOON + 2 * MINUTE)
    assert measured(engine)["run_failed"] == Measured("succeeded", NOON + 2 * MINUTE)


def test_markets_in_trouble_are_counted_when_they_are_looked_at(
    engine: Engine, add_market: AddMarket
) -> None:
    late = add_market("BTC-USD")
    observe(engine, late, NOON - timedelta(days=1))
    observe(engine, add_market("ETH-USD"), NOON)
    judge(engine, NOON)
    assert measured(engine)["market_stale"] == Measured("1 of 2 markets", NOON)
    observe(engine, late, NOON)
    judge(engine, NOON + MINUTE / 2)
    assert measured(engine)["market_stale"] == Measured("1 of 2 markets", NOON)
    judge(engine, NOON + MINUTE)
    assert measured(engine)["market_stale"] == Measured("0 of 2 markets", NOON + MINUTE)


def test_what_processes_see_is_a_figure_and_so_is_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        report_signals(connection, [SignalFact(CACHE_FALLBACK, "", "refused")], source="one")
    judge(engine, NOON)
    found = measured(engine)
    assert (found[CACHE_FALLBACK].value, found[BREAKER_OPEN].value) == ("1 process", "none")


def test_figures_of_another_provider_are_not_shown(engine: Engine) -> None:
    add_run(engine, "failed", at=NOON)
    judge(engine, NOON)
    assert measured(engine, "coingecko") == {}
