"""What a process has counted and not yet put down: taken once, and given back when that failed."""

import threading
from collections.abc import Iterator

import pytest

from app.metrics_counting import observe_cache_read, observe_provider_call, observe_request
from app.tallies import BOUNDS, Kind, Tally, count, give_back, take


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    take()
    yield
    take()


def test_what_is_taken_is_not_there_a_second_time() -> None:
    count(Kind.READ, "memory")
    assert take()[Kind.READ, "memory"].count == 1
    assert take() == {}


def test_nothing_is_taken_before_it_is_time() -> None:
    count(Kind.READ, "memory")
    assert take(every_seconds=3600) == {}
    assert take()[Kind.READ, "memory"].count == 1


def test_what_was_given_back_is_added_to_what_came_since() -> None:
    count(Kind.CALL, "mock", seconds=0.3, errors=1, billed=2)
    taken = take()
    count(Kind.CALL, "mock", seconds=0.3)
    give_back(taken)
    tally = take()[Kind.CALL, "mock"]
    assert (tally.count, tally.errors, tally.credits, tally.spread[6]) == (2, 1, 2, 2)


def test_durations_are_spread_over_classes_with_one_for_the_longest() -> None:
    for seconds in (0.001, BOUNDS[0], 0.0051, 61):
        count(Kind.REQUEST, seconds=seconds)
    spread = take()[Kind.REQUEST, ""].spread
    assert (spread[0], spread[1], spread[-1], sum(spread)) == (2, 1, 1, 4)
    assert len(spread) == len(BOUNDS) + 1


def test_sums_of_different_classes_are_added_as_far_as_they_go() -> None:
    tally = Tally(spread=[1])
    tally.add(Tally(spread=[1, 2]))
    assert tally.spread == [2, 2]


def test_no_event_is_lost_between_threads() -> None:
    def work() -> None:
        for _ in range(500):
            count(Kind.READ, "built")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    found = sum(tally.count for _ in range(50) for tally in take().values())
    for thread in threads:
        thread.join()
    found += sum(tally.count for tally in take().values())
    assert found == 2000


def test_metrics_count_into_the_tallies_what_failed_and_what_is_billed() -> None:
    observe_request(method="GET", route="/", status=503, seconds=0.1)
    observe_request(method="GET", route="/", status=404, seconds=0.1)
    for outcome in ("ok", "bad_body", "timeout", "stopped"):
        observe_provider_call(provider="coingecko", outcome=outcome, seconds=1, price=1)
    observe_cache_read("redis")
    taken = take()
    assert (taken[Kind.REQUEST, ""].count, taken[Kind.REQUEST, ""].errors) == (2, 1)
    calls = taken[Kind.CALL, "coingecko"]
    assert (calls.count, calls.errors, calls.credits) == (4, 2, 2)
    assert taken[Kind.READ, "redis"].count == 1
