"""When the breaker opens, who may probe, and what it remembers for Redis."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from app.cache_breaker import Breaker, CacheMode, Changes, Patience, change_of
from app.metrics_counting import process_samples

START = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """Seconds that pass when the test says so, for both clocks of the breaker."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(Patience(), everything="ours:", clock=clock, now=clock.now)


def nothing() -> None:
    """Keep nothing."""


def test_it_opens_at_the_first_failure_and_says_since_when_and_why(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert breaker.state.mode is CacheMode.REDIS
    clock.seconds = 7
    breaker.open("read-only")
    breaker.open("connection lost")
    state = breaker.state
    assert (state.mode, state.since, state.reason) == (CacheMode.FALLBACK, clock.now(), "read-only")
    assert [record.message for record in caplog.records] == ["cache fell back to memory"]


def test_one_slow_answer_is_forgiven_but_not_three_in_a_row(breaker: Breaker) -> None:
    for seconds in (0.06, 0.06, 0.001, 0.06, 0.06):
        breaker.answered(seconds)
    assert not breaker.is_open
    breaker.answered(0.06)
    assert breaker.is_open
    assert breaker.claim_probe()


def test_one_caller_probes_and_the_next_waits_for_its_time(breaker: Breaker, clock: Clock) -> None:
    breaker.open("connection lost")
    assert not breaker.claim_probe()
    clock.seconds = 1
    assert [breaker.claim_probe() for _ in range(5)] == [True, False, False, False, False]
    breaker.probe_failed("no answer in time")
    assert not breaker.claim_probe()
    clock.seconds = 2
    assert breaker.claim_probe()
    assert breaker.state.reason == "no answer in time"
    assert breaker.state.since == START


def test_it_closes_only_when_redis_was_told_everything(breaker: Breaker, clock: Clock) -> None:
    breaker.open("connection lost", lost=change_of(["a"]))
    breaker.keep_while_open(change_of(["b"]), nothing)
    assert breaker.take_lost() == Changes(names={"a", "b"})
    breaker.keep_while_open(change_of(["c"]), nothing)
    assert not breaker.close(nothing)
    assert breaker.take_lost() == Changes(names={"c"})
    clock.seconds = 9
    assert breaker.close(nothing)
    assert (breaker.state.mode, breaker.state.since) == (CacheMode.REDIS, clock.now())


def test_what_a_failed_probe_could_not_tell_is_told_later(breaker: Breaker) -> None:
    breaker.open("connection lost", lost=change_of(["a"]))
    lost = breaker.take_lost()
    breaker.keep_while_open(change_of(["b"]), nothing)
    breaker.probe_failed("connection lost", lost=lost)
    assert breaker.take_lost() == Changes(names={"a", "b"})


def test_more_changes_than_it_can_remember_become_a_sweep(breaker: Breaker) -> None:
    breaker.open("connection lost")
    for number in range(10_001):
        breaker.keep_while_open(change_of([f"name{number}"]), nothing)
    assert breaker.take_lost() == Changes(prefixes={"ours:"})


def test_while_closed_nothing_is_kept_in_memory(breaker: Breaker) -> None:
    kept: list[str] = []
    assert not breaker.keep_while_open(change_of(["a"]), lambda: kept.append("a"))
    breaker.open("connection lost", keep=lambda: kept.append("b"))
    assert breaker.keep_while_open(change_of(["c"]), lambda: kept.append("c"))
    assert kept == ["b", "c"]


def test_coming_back_is_logged_with_the_time_away(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breaker.open("connection lost")
    clock.seconds = 12.5
    breaker.close(nothing)
    assert caplog.records[-1].message == "cache is back on redis"
    assert vars(caplog.records[-1])["away_seconds"] == 12.5
    assert breaker.opening_count == 1


def test_the_metrics_follow_the_mode(breaker: Breaker) -> None:
    def modes() -> set[str]:
        samples = [one for one in process_samples() if one.name == "cache_mode" and one.value]
        return {one.labels["mode"] for one in samples}

    breaker.open("refused")
    assert modes() == {"fallback"}
    breaker.close(nothing)
    assert modes() == {"redis"}
