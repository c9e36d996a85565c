"""Rounds of judging on a real database: every run once, markets, signals, groups, snoozes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from app.alerts.facts import Followed, load_markets, report_signals
from app.alerts.judging import SignalFact
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK
from app.domain import RunStatus
from app.logs import register_secret
from tests.alerts.conftest import AddMarket
from tests.alerts.making import (
    NOON,
    ManualClock,
    add_run,
    alerts,
    column,
    judge,
    observe,
    run_statement,
)

KINDS = "SELECT kind FROM alert_notice ORDER BY id"
RUN_KINDS = "SELECT kind FROM alert_notice WHERE rule = 'run_failed' ORDER BY id"
HOUR = timedelta(hours=1)


def add_hours(engine: Engine, market: int, first: datetime, *, missing: tuple[int, ...]) -> None:
    for hour in set(range(30)) - set(missing):
        run_statement(
            engine,
            "INSERT INTO market_aggregate (market_id, provider, granularity, opened_at, open, high,"
            " low, close, sample_count, is_final, basis, run_id) VALUES (:market, 'mock', 'hourly',"
            " :at, 1, 1, 1, 1, 1, true, 'provider', gen_random_uuid())",
            market=market,
            at=first + hour * HOUR,
        )


def test_every_run_since_the_last_round_is_judged_once_in_its_order(engine: Engine) -> None:
    judge(engine, NOON)
    add_run(engine, "succeeded", at=NOON)
    judge(engine, NOON)
    for minute, status in enumerate(("failed", "succeeded", "failed", "failed"), start=1):
        add_run(engine, status, at=NOON + timedelta(minutes=minute))
    assert judge(engine, NOON + timedelta(minutes=5)) == 3
    assert column(engine, KINDS) == ["fired", "resolved", "fired"]
    assert judge(engine, NOON + timedelta(minutes=6)) == 0
    states = [state for _, _, state in alerts(engine)]
    assert states == ["resolved", "firing"]


def test_old_history_is_not_told_when_alerts_are_new(engine: Engine) -> None:
    for minute in range(10):
        add_run(engine, "failed" if minute % 2 else "succeeded", at=NOON + minute * HOUR / 60)
    judge(engine, NOON + HOUR / 4)
    assert alerts(engine) == [("run_failed", "mock", "firing")]


def test_a_run_that_is_still_going_is_judged_when_it_is_over(engine: Engine) -> None:
    judge(engine, NOON)
    run_id = add_run(engine, "running", at=NOON, finished_at=None, duration_ms=None)
    judge(engine, NOON + HOUR / 60)
    run_statement(
        engine,
        "UPDATE ingestion_run SET status = 'failed', finished_at = :at WHERE id = :id",
        at=NOON + HOUR / 30,
        id=run_id,
    )
    judge(engine, NOON + HOUR / 20)
    assert alerts(engine) == [("run_failed", "mock", "firing")]


def test_runs_of_another_provider_or_a_backfill_are_not_judged(engine: Engine) -> None:
    judge(engine, NOON)
    add_run(engine, "failed", at=NOON, provider="other")
    add_run(engine, "failed", at=NOON + HOUR / 60, trigger="backfill")
    judge(engine, NOON + HOUR / 30)
    assert alerts(engine) == []


def test_a_slow_run_is_compared_with_the_median_of_those_before(engine: Engine) -> None:
    judge(engine, NOON)
    for minute in range(6):
        add_run(engine, "succeeded", at=NOON + minute * HOUR / 60, seconds=2)
    add_run(engine, "succeeded", at=NOON + HOUR / 6, seconds=7)
    judge(engine, NOON + HOUR / 5)
    assert alerts(engine) == [("run_slow", "mock", "firing")]


def test_no_success_is_counted_in_due_ticks(engine: Engine, clock: ManualClock) -> None:
    add_run(engine, "succeeded", at=clock.now)
    judge(engine, clock.advance(minutes=44))
    assert alerts(engine) == []
    judge(engine, clock.advance(minutes=1))
    assert alerts(engine) == [("no_success", "", "pending")]
    judge(engine, clock.advance(minutes=2))
    assert alerts(engine) == [("no_success", "", "firing")]
    add_run(engine, "partial", at=clock.now)
    judge(engine, clock.advance(seconds=5))
    assert ("no_success", "", "resolved") in alerts(engine)


@pytest.mark.parametrize(
    "values", [{"trigger": "backfill"}, {"symbols": ["BTC-USD"]}, {"provider": "other"}]
)
def test_other_runs_do_not_hide_that_none_brings_data(
    engine: Engine, clock: ManualClock, values: dict[str, Any]
) -> None:
    add_run(engine, "succeeded", at=clock.now)
    clock.advance(minutes=45)
    add_run(engine, "succeeded", at=clock.now, **values)
    judge(engine, clock.now)
    judge(engine, clock.advance(minutes=2))
    assert alerts(engine) == [("no_success", "", "firing")]


def test_a_provider_that_is_new_gets_its_time(engine: Engine, clock: ManualClock) -> None:
    add_run(engine, "succeeded", at=clock.now - 30 * HOUR, provider="other")
    add_run(engine, "succeeded", at=clock.now, seconds=0, provider="other")
    judge(engine, clock.advance(minutes=44))
    assert alerts(engine) == []
    add_run(engine, "failed", at=clock.now, seconds=60)
    judge(engine, clock.advance(minutes=10))
    assert alerts(engine) == [("run_failed", "mock", "firing")]
    judge(engine, clock.advance(minutes=35))
    assert ("no_success", "", "pending") in alerts(engine)


def test_a_pause_stops_the_judging_of_success_and_is_told_after_a_day(
    engine: Engine, clock: ManualClock
) -> None:
    add_run(engine, "succeeded", at=clock.now)
    run_statement(
        engine,
        "INSERT INTO schedule_pause (schedule, paused_at, paused_by, reason) "
        "VALUES ('ingestion', :at, 'Ada', 'moving')",
        at=clock.now,
    )
    judge(engine, clock.advance(hours=23))
    assert alerts(engine) == []
    judge(engine, clock.advance(hours=2))
    assert alerts(engine) == [("schedule_paused", "", "firing")]
    run_statement(engine, "DELETE FROM schedule_pause")
    add_run(engine, "succeeded", at=clock.now)
    judge(engine, clock.advance(seconds=5))
    assert alerts(engine) == [("schedule_paused", "", "resolved")]


def test_stale_markets_are_told_and_their_return_too(
    engine: Engine, clock: ManualClock, add_market: AddMarket
) -> None:
    fresh, stale = add_market("BTC-USD"), add_market("ETH-USD")
    unfollowed = add_market("OLD-USD")
    for market, minutes in ((fresh, 1), (stale, 40), (unfollowed, 400)):
        observe(engine, market, clock.now - timedelta(minutes=minutes))
    judge(engine, clock.now)
    judge(engine, clock.advance(minutes=2))
    assert alerts(engine) == [("market_stale", "ETH-USD", "firing")]
    observe(engine, stale, clock.now)
    judge(engine, clock.advance(minutes=2))
    assert alerts(engine) == [("market_stale", "ETH-USD", "resolved")]


def test_a_renamed_market_is_still_followed(engine: Engine, add_market: AddMarket) -> None:
    add_market("RENDER-USD")
    run_statement(engine, "UPDATE market SET former_symbols = '{RNDR-USD}'")
    followed = Followed("mock", ("RNDR-USD",), 0, has_history=False)
    with engine.connect() as connection:
        found = load_markets(connection, followed, until=None)
    assert [market.symbol for market in found] == ["RENDER-USD"]


def test_of_the_top_only_who_holds_a_rank_is_followed(
    engine: Engine, add_market: AddMarket
) -> None:
    for symbol, rank in (("A-USD", 1), ("OUT-USD", 2), ("IN-USD", 2), ("C-USD", 3)):
        add_market(symbol, rank=rank)
    followed = Followed("mock", (), 2, has_history=False)
    with engine.connect() as connection:
        found = load_markets(connection, followed, until=None)
    assert sorted(market.symbol for market in found) == ["A-USD", "IN-USD"]


def test_a_gap_of_the_last_day_is_told_after_half_an_hour(
    engine: Engine, clock: ManualClock, add_market: AddMarket
) -> None:
    market = add_market("BTC-USD")
    # A run at noon: the last whole hour but one ends at 11:00, so the day begins at 11:00 too.
    add_run(engine, "succeeded", at=clock.now)
    add_hours(engine, market, NOON - 30 * HOUR, missing=(2, 10, 11))
    judge(engine, clock.now)
    judge(engine, clock.advance(minutes=30))
    assert alerts(engine) == [("data_gap", "BTC-USD", "firing")]
    assert column(engine, "SELECT value FROM alert") == ["2 hours"]


def test_a_market_is_expected_from_its_first_candle_on(
    engine: Engine, add_market: AddMarket
) -> None:
    market = add_market("BTC-USD")
    add_hours(engine, market, NOON - 3 * HOUR, missing=tuple(range(2, 30)))
    with engine.connect() as connection:
        (found,) = load_markets(connection, Followed("mock", ("BTC-USD",), 0, True), until=NOON)
    assert (found.expected_hours, found.present_hours) == (2, 2)


def signal(engine: Engine, *signals: SignalFact, source: str = "one") -> None:
    with engine.begin() as connection:
        report_signals(connection, signals, source=source)


def test_a_troubled_cache_counts_until_the_last_process_is_well(
    engine: Engine, clock: ManualClock
) -> None:
    trouble = SignalFact(CACHE_FALLBACK, "", "refused")
    for source in ("one", "two"):
        signal(engine, trouble, source=source)
    judge(engine, clock.now)
    judge(engine, clock.advance(minutes=1))
    assert alerts(engine) == [(CACHE_FALLBACK, "", "firing")]
    signal(engine, source="one")
    judge(engine, clock.advance(seconds=5))
    assert alerts(engine) == [(CACHE_FALLBACK, "", "firing")]
    signal(engine, source="two")
    judge(engine, clock.advance(seconds=5))
    assert alerts(engine) == [(CACHE_FALLBACK, "", "resolved")]


def test_what_a_dead_process_saw_is_forgotten(engine: Engine, clock: ManualClock) -> None:
    signal(engine, SignalFact(BREAKER_OPEN, "coingecko", "open"))
    judge(engine, clock.now)
    assert alerts(engine) == [(BREAKER_OPEN, "coingecko", "firing")]
    run_statement(engine, "UPDATE alert_signal SET reported_at = reported_at - interval '4 min'")
    judge(engine, clock.advance(seconds=5))
    assert alerts(engine) == [(BREAKER_OPEN, "coingecko", "resolved")]


def test_a_reminder_comes_after_four_hours_and_not_before(
    engine: Engine, clock: ManualClock
) -> None:
    add_run(engine, "failed", at=clock.now)
    told = []
    for _ in range(9):
        # Ticks go by too, which is an alert of its own; here only the failed run is looked at.
        judge(engine, clock.now)
        told.append(len(column(engine, f"{KINDS[:-12]} WHERE rule = 'run_failed'")))
        clock.advance(hours=1)
    assert told == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_a_snooze_holds_until_it_is_over(engine: Engine, clock: ManualClock) -> None:
    run_statement(
        engine,
        "INSERT INTO alert_snooze (rule, subject, until_at, snoozed_by) "
        "VALUES ('run_failed', 'mock', :until, 'Ada')",
        until=clock.now + HOUR / 2,
    )
    add_run(engine, "failed", at=clock.now)
    assert judge(engine, clock.now) == 0
    assert alerts(engine) == [("run_failed", "mock", "firing")]
    assert judge(engine, clock.advance(minutes=30)) == 1


def test_many_that_judge_at_once_tell_everything_once(engine: Engine) -> None:
    judge(engine, NOON)
    for minute in range(20):
        add_run(engine, "succeeded" if minute % 2 else "failed", at=NOON + minute * HOUR / 60)
    later = NOON + HOUR
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: judge(engine, later), range(16)))
    fired = column(engine, f"{KINDS[:-12]} WHERE rule = 'run_failed'")
    assert len(fired) == 20
    assert sum(counts) == len(column(engine, KINDS))


def test_a_round_too_early_is_skipped_and_a_clock_set_back_is_not_waited_for(
    engine: Engine,
) -> None:
    every = {"every": timedelta(seconds=4)}
    add_run(engine, "failed", at=NOON)
    assert judge(engine, NOON, **every) == 1
    add_run(engine, "succeeded", at=NOON + timedelta(seconds=2))
    assert judge(engine, NOON + timedelta(seconds=3), **every) == 0
    assert judge(engine, NOON - HOUR, **every) == 1


def test_a_run_from_the_future_hides_no_run_after_it(engine: Engine, clock: ManualClock) -> None:
    judge(engine, clock.now)
    # For one run the database's clock was an hour ahead.
    add_run(engine, "succeeded", at=clock.now + HOUR)
    judge(engine, clock.now + HOUR)
    for status in ("failed", "failed", "succeeded", "failed"):
        clock.advance(minutes=5)
        add_run(engine, status, at=clock.now)
        judge(engine, clock.now)
        judge(engine, clock.advance(seconds=20))
    assert column(engine, RUN_KINDS) == ["fired", "resolved", "fired"]


def test_a_failed_run_from_the_future_is_told_once_and_ended_by_the_next(
    engine: Engine, clock: ManualClock
) -> None:
    judge(engine, clock.now)
    add_run(engine, "failed", at=clock.now + HOUR)
    judge(engine, clock.now + HOUR)
    judge(engine, clock.advance(seconds=5))
    add_run(engine, "failed", at=clock.now + HOUR)
    judge(engine, clock.now + HOUR)
    add_run(engine, "succeeded", at=clock.advance(minutes=5))
    # Nor are they judged again when their time comes.
    for _ in range(200):
        judge(engine, clock.now)
        clock.advance(seconds=20)
    assert column(engine, RUN_KINDS) == ["fired", "resolved"]


def test_no_success_counts_on_while_a_success_lies_in_the_future(
    engine: Engine, clock: ManualClock
) -> None:
    add_run(engine, "succeeded", at=clock.now)
    add_run(engine, "succeeded", at=clock.now + HOUR)
    judge(engine, clock.advance(minutes=45))
    judge(engine, clock.advance(minutes=2))
    assert ("no_success", "", "firing") in alerts(engine)


def test_a_wait_and_a_reminder_begin_anew_when_the_clock_was_set_back(
    engine: Engine, clock: ManualClock, add_market: AddMarket
) -> None:
    observe(engine, add_market("BTC-USD"), clock.now - 2 * HOUR)
    add_run(engine, "failed", at=clock.now + HOUR)
    judge(engine, clock.now + HOUR)
    assert ("market_stale", "BTC-USD", "pending") in alerts(engine)
    judge(engine, clock.now)
    judge(engine, clock.advance(minutes=2))
    assert ("market_stale", "BTC-USD", "firing") in alerts(engine)
    judge(engine, clock.advance(hours=4))
    assert column(engine, RUN_KINDS) == ["fired", "reminded"]


def test_rounds_whose_clock_was_read_in_another_order_are_no_clock_set_back(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    every = {"every": timedelta(seconds=4)}
    add_run(engine, "failed", at=NOON)
    assert judge(engine, NOON, **every) == 1
    add_run(engine, "succeeded", at=NOON + timedelta(seconds=2))
    assert judge(engine, NOON - timedelta(milliseconds=3), **every) == 0
    assert "clock was set back" not in caplog.messages
    assert judge(engine, NOON - HOUR, **every) == 1
    assert "clock was set back" in caplog.messages


def test_a_secret_in_a_reason_is_not_stored(engine: Engine) -> None:
    register_secret("s3cr3t-in-a-reason")
    add_run(engine, RunStatus.FAILED, at=NOON, error_message="key=s3cr3t-in-a-reason")
    judge(engine, NOON)
    stored = column(engine, "SELECT text FROM alert") + column(
        engine, "SELECT text FROM alert_notice"
    )
    assert "s3cr3t" not in "".join(stored)
