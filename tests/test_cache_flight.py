"""One builds, the others wait, and every way this can end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.cache_flight import SingleFlight


def build_nothing() -> str:
    """Stand where nothing may be built."""
    raise AssertionError("built twice")


def test_who_comes_second_gets_the_value_of_the_first() -> None:
    flights = SingleFlight()
    flight, is_first = flights.join("page")
    flight.outcome.set_result("built")
    assert is_first
    assert flights.share("page", build_nothing) == "built"


def test_who_waits_is_woken_with_the_value() -> None:
    flights = SingleFlight()
    flight, _ = flights.join("page")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(flights.share, "page", build_nothing) for _ in range(4)]
        flight.outcome.set_result("built")
        assert [waiter.result() for waiter in waiting] == ["built"] * 4


@pytest.mark.parametrize("error", [LookupError("no such market"), TimeoutError("frozen")])
def test_who_comes_second_gets_the_failure_of_the_first(error: Exception) -> None:
    flights = SingleFlight()
    flight, _ = flights.join("page")
    flight.outcome.set_exception(error)
    with pytest.raises(type(error), match=str(error)):
        flights.share("page", build_nothing)


def test_a_failure_ends_the_flight() -> None:
    flights = SingleFlight()
    with pytest.raises(AssertionError):
        flights.share("page", build_nothing)
    assert flights.share("page", lambda: "built") == "built"


def test_the_end_of_the_first_thread_is_not_shared() -> None:
    flights = SingleFlight()

    def be_ended() -> str:
        raise SystemExit

    flight, _ = flights.join("page")
    with pytest.raises(SystemExit), flight:
        be_ended()
    assert flight.outcome.cancelled()
    flights.join("page")[0].outcome.cancel()
    assert flights.share("page", lambda: "built") == "built"


def test_patience_ends_and_the_waiter_builds_for_itself() -> None:
    flights = SingleFlight(patience_seconds=0.01)
    flights.join("page")
    assert flights.share("page", lambda: "built") == "built"


def test_different_subjects_do_not_wait_for_each_other() -> None:
    flights = SingleFlight()
    both = threading.Barrier(2, timeout=5)

    def build(name: str) -> str:
        both.wait()
        return name

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(flights.share, name, lambda n=name: build(n)) for name in "ab"]
        assert [future.result() for future in found] == ["a", "b"]
