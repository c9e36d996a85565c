"""What deserves an alert: runs, markets, the schedule and what processes see."""

from datetime import timedelta

import pytest

from app.alerts.judging import (
    MarketFact,
    RunFact,
    ScheduleFact,
    SignalFact,
    breaker_detail,
    judge_markets,
    judge_run,
    judge_schedule,
    judge_signals,
)
from app.alerts.rules import BREAKER_OPEN, CACHE_FALLBACK, RULES, Finding, Severity
from app.domain import RunStatus
from tests.alerts.making import NOON, run_fact

LIMIT = timedelta(minutes=30)


def troubles(run: RunFact) -> set[str]:
    return {one.rule for one in judge_run(run) if one.is_trouble}


def settled(run: RunFact) -> set[str]:
    return {one.rule for one in judge_run(run) if not one.is_trouble}


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.ABANDONED])
def test_a_failed_or_dead_run_is_trouble_and_says_why(status: RunStatus) -> None:
    found = next(judge_run(run_fact(status, error_message="The host is away.")))
    assert (found.rule, found.subject, found.is_trouble) == ("run_failed", "mock", True)
    assert "The host is away." in found.text
    assert RULES[found.rule].severity is Severity.CRITICAL


def test_a_full_success_settles_every_rule_of_runs() -> None:
    run = run_fact(RunStatus.SUCCEEDED)
    assert troubles(run) == set()
    assert settled(run) == {"run_failed", "run_partial", "rows_rejected", "run_slow"}


def test_a_success_of_a_few_markets_settles_nothing() -> None:
    assert list(judge_run(run_fact(RunStatus.SUCCEEDED, is_full=False))) == []


def test_a_failure_of_a_few_markets_is_trouble_all_the_same() -> None:
    assert troubles(run_fact(RunStatus.FAILED, is_full=False)) == {"run_failed"}


def test_a_failed_run_says_nothing_about_being_partial() -> None:
    assert "run_partial" not in troubles(run_fact()) | settled(run_fact())


def test_a_partial_run_settles_the_failure_and_is_trouble_of_its_own() -> None:
    run = run_fact(RunStatus.PARTIAL, problem_count=2, rejected=3)
    assert troubles(run) == {"run_partial"}
    assert "run_failed" in settled(run)
    partial = next(one for one in judge_run(run) if one.rule == "run_partial")
    assert "2 markets could not be served and 3 rows were set aside" in partial.text


def test_what_is_one_is_not_told_as_many() -> None:
    run = run_fact(RunStatus.PARTIAL, problem_count=1, rejected=1)
    partial = next(one for one in judge_run(run) if one.rule == "run_partial")
    assert "1 market could not be served and 1 row was set aside." in partial.text
    (gap,) = found_in(market(present_hours=23))
    assert gap.text == "1 hour of the last 24 has no candle."


def test_a_cancelled_run_says_nothing() -> None:
    assert list(judge_run(run_fact(RunStatus.CANCELLED))) == []


@pytest.mark.parametrize(("rejected", "is_trouble"), [(20, False), (21, True)])
def test_rejected_rows_count_above_a_fifth(rejected: int, is_trouble: bool) -> None:
    run = run_fact(RunStatus.PARTIAL, rejected=rejected)
    assert ("rows_rejected" in troubles(run)) == is_trouble


@pytest.mark.parametrize(
    ("values", "is_trouble"),
    [
        ({"duration_ms": 3001}, True),
        ({"duration_ms": 3000}, False),
        ({"duration_ms": 900, "median_ms": 10.0}, False),
        ({"duration_ms": 9000, "median_of": 4}, False),
        ({"duration_ms": 9000, "median_ms": None, "median_of": 0}, False),
    ],
)
def test_slow_is_over_three_medians_and_worth_a_word(
    values: dict[str, float], is_trouble: bool
) -> None:
    run = run_fact(RunStatus.SUCCEEDED, **values)
    assert ("run_slow" in troubles(run)) == is_trouble


def market(**values: object) -> MarketFact:
    defaults = {
        "symbol": "BTC-USD",
        "asset_type": "crypto",
        "observed_at": NOON,
        "expected_hours": 24,
        "present_hours": 24,
    }
    return MarketFact(**(defaults | values))  # type: ignore[arg-type]


def found_in(fact: MarketFact) -> list[Finding]:
    return list(judge_markets([fact], now=NOON, limit=LIMIT))


def test_a_market_is_stale_beyond_the_limit_and_no_sooner() -> None:
    assert found_in(market(observed_at=NOON - LIMIT)) == []
    (stale,) = found_in(market(observed_at=NOON - LIMIT - timedelta(seconds=1)))
    assert (stale.rule, stale.subject, stale.market) == ("market_stale", "BTC-USD", "BTC-USD")


def test_a_market_without_any_observation_is_not_called_stale() -> None:
    assert found_in(market(observed_at=None)) == []


def test_a_gap_is_trouble_for_a_market_that_never_closes() -> None:
    (gap,) = found_in(market(present_hours=21))
    assert (gap.rule, gap.value) == ("data_gap", "3 hours")
    assert found_in(market(present_hours=21, asset_type="index")) == []


def test_three_due_ticks_without_data_are_trouble() -> None:
    for ticks, is_trouble in ((2, False), (3, True)):
        found = {one.rule: one for one in judge_schedule(ScheduleFact(NOON, ticks), now=NOON)}
        assert found["no_success"].is_trouble is is_trouble
        assert not found["schedule_paused"].is_trouble


def test_while_paused_success_is_not_judged_but_the_pause_is() -> None:
    for hours, is_trouble in ((24, False), (25, True)):
        fact = ScheduleFact(NOON, 99, paused_at=NOON - timedelta(hours=hours), paused_by="Ada")
        (found,) = judge_schedule(fact, now=NOON)
        assert (found.rule, found.is_trouble) == ("schedule_paused", is_trouble)
        assert "Ada" in found.text


def test_many_processes_with_one_trouble_are_one_finding() -> None:
    signals = [SignalFact(CACHE_FALLBACK, "", "refused")] * 3
    (found,) = judge_signals(signals)
    assert (found.key, found.value) == ((CACHE_FALLBACK, ""), "3 processes")


def test_a_half_open_breaker_is_over_once_a_run_succeeded() -> None:
    waiting = SignalFact(BREAKER_OPEN, "coingecko", "half_open")
    over = SignalFact(BREAKER_OPEN, "coingecko", "half_open", succeeded_since=True)
    again = SignalFact(BREAKER_OPEN, "coingecko", "open", succeeded_since=True)
    assert [len(list(judge_signals([one]))) for one in (waiting, over, again)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (SignalFact(CACHE_FALLBACK, "", "out of memory"), "Redis fails 1 process: out of memory."),
        (SignalFact(CACHE_FALLBACK, "", ""), "Redis fails 1 process."),
        (SignalFact(BREAKER_OPEN, "kraken", "open"), "The breaker is open in 1 process."),
        (
            SignalFact(BREAKER_OPEN, "kraken", breaker_detail("half_open", "Kraken: answered 500")),
            "The breaker is open in 1 process. The last failure: Kraken: answered 500",
        ),
    ],
)
def test_what_a_process_sees_is_told_with_its_reason(signal: SignalFact, expected: str) -> None:
    (found,) = judge_signals([signal])
    assert found.text == expected


def test_a_half_open_breaker_with_a_reason_is_over_too() -> None:
    detail = breaker_detail("half_open", "Kraken answered 500")
    assert not list(judge_signals([SignalFact(BREAKER_OPEN, "kraken", detail, True)]))
