"""Calls side by side: answers in order, errors in their place, an end on the first stop."""

import threading
from contextvars import ContextVar

import pytest

from app.errors import ProviderError, RunStopped, TransientProviderError
from app.providers.parallel import call_each

run_id: ContextVar[str] = ContextVar("run_id", default="none")


@pytest.mark.parametrize("threads", [1, 4])
def test_answers_come_in_the_order_of_the_items_and_errors_in_their_place(threads: int) -> None:
    def work(item: int) -> str:
        if item == 3:
            raise TransientProviderError("three")
        return f"{run_id.get()} {item}"

    run_id.set("r1")
    answers = call_each(work, range(6), threads=threads)
    assert isinstance(answers[3], ProviderError)
    assert [answers[n] for n in (0, 1, 2, 4, 5)] == ["r1 0", "r1 1", "r1 2", "r1 4", "r1 5"]


def test_stop_is_raised_and_nothing_more_begins() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise RunStopped("cancelled", "stop")
        gate.wait(0.3)

    with pytest.raises(RunStopped):
        call_each(work, range(20), threads=2)
    assert len(begun) < 10


def test_nothing_asked_is_nothing_answered() -> None:
    assert call_each(str, [], threads=4) == []
