"""The rate budget and the breaker on a clock of the test's own."""

import threading

from app.providers.http_limits import Breaker, RateBudget, channel_to


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_no_minute_ever_sees_more_than_the_budget() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    turns = []
    for step in range(40):
        clock.now += step % 7
        turns.append(budget.reserve(5))
    assert turns == sorted(turns)
    assert all(later - earlier >= 60 for earlier, later in zip(turns, turns[5:], strict=False))
    assert turns[:5] == [1000, 1001, 1003, 1006, 1010]


def test_turn_given_back_is_taken_by_the_next() -> None:
    budget = RateBudget(Clock())
    assert [budget.reserve(2) for _ in range(3)] == [1000, 1000, 1060]
    budget.give_back(1060)
    assert budget.reserve(2) == 1060


def test_threads_together_stay_within_the_budget() -> None:
    budget = RateBudget(Clock())
    turns: list[float] = []
    threads = [
        threading.Thread(target=lambda: turns.extend(budget.reserve(10) for _ in range(25)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(turns) == [1000 + 60 * (number // 10) for number in range(200)]


def test_provider_is_left_alone_as_long_as_it_asks_but_not_for_days() -> None:
    clock = Clock()
    budget = RateBudget(clock)
    budget.hold(100)
    budget.hold(5)
    clock.now += 40
    assert budget.hold_seconds() == 60
    budget.hold(999_999)
    assert budget.hold_seconds() == 300
    clock.now += 301
    assert budget.hold_seconds() == 0


def test_breaker_lets_one_call_try_after_its_rest() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(5):
        assert breaker.admit() is None
        breaker.fail("It answered 500")
    assert (breaker.admit(), breaker.describe()) == (60, ("open", 5, 60, "It answered 500"))
    clock.now += 60
    assert breaker.describe()[0] == "half_open"
    assert breaker.admit() is None
    assert breaker.admit() is not None
    breaker.fail()
    assert breaker.admit() == 60


def test_breaker_closes_after_a_try_that_succeeds() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(5):
        breaker.fail("It answered 500")
    clock.now += 60
    breaker.admit()
    breaker.forget_trial()
    assert breaker.admit() is None
    breaker.succeed()
    assert breaker.describe() == ("closed", 0, 0, "")


def test_failures_count_only_in_a_row() -> None:
    breaker = Breaker(Clock())
    for _ in range(4):
        breaker.fail()
    breaker.succeed()
    for _ in range(4):
        breaker.fail()
    assert breaker.admit() is None


def test_one_channel_per_provider_and_address() -> None:
    assert channel_to("a", "http://x") is channel_to("a", "http://x")
    assert channel_to("a", "http://x") is not channel_to("a", "http://y")
