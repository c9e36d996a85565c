"""How often one client may guess."""

from app.web import throttle
from app.web.throttle import Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_client_waits_after_its_last_allowed_failure() -> None:
    clock = Clock()
    guesses = Throttle(limit=2, window_seconds=60, clock=clock)
    guesses.record_failure("a")
    assert guesses.wait_seconds("a") == 0
    clock.now = 10
    guesses.record_failure("a")
    assert guesses.wait_seconds("a") == 50
    assert guesses.wait_seconds("b") == 0


def test_a_client_may_try_again_when_the_window_is_over() -> None:
    clock = Clock()
    guesses = Throttle(limit=1, window_seconds=60, clock=clock)
    guesses.record_failure("a")
    clock.now = 59.5
    assert guesses.wait_seconds("a") == 1
    clock.now = 60
    assert guesses.wait_seconds("a") == 0


def test_a_success_clears_the_count() -> None:
    guesses = Throttle(limit=1, window_seconds=60, clock=Clock())
    guesses.record_failure("a")
    guesses.forget("a")
    assert guesses.wait_seconds("a") == 0


def test_many_clients_do_not_fill_the_memory() -> None:
    guesses = Throttle(limit=1, window_seconds=60, clock=Clock())
    for number in range(throttle.MAX_CLIENTS + 5):
        guesses.record_failure(f"client {number}")
    assert guesses.wait_seconds("client 0") == 0
    assert guesses.wait_seconds(f"client {throttle.MAX_CLIENTS + 4}") > 0
    assert len(guesses._failures) == throttle.MAX_CLIENTS
