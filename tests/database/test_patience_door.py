"""The door: a bound on threads, a queue in order, and nobody waits longer than it makes sense."""

import threading
from collections.abc import Callable

from app.database.patience_door import Door

ENOUGH_SECONDS = 10


def waits(seconds: float) -> bool:
    return True


def queue_up(door: Door, work: Callable[[], None], *, is_urgent: bool = False) -> threading.Thread:
    """A thread that works inside once it is let in; this returns when it queues."""
    asked = threading.Event()

    def note(seconds: float) -> bool:
        asked.set()
        return True

    def go() -> None:
        assert door.enter(note, is_urgent=is_urgent)
        work()
        door.leave()

    thread = threading.Thread(target=go)
    thread.start()
    assert asked.wait(ENOUGH_SECONDS)
    return thread


def test_places_go_to_those_who_wait_longest() -> None:
    door, order = Door(1), []
    assert door.enter(waits)
    threads = [queue_up(door, lambda name=name: order.append(name)) for name in "abc"]
    door.leave()
    for thread in threads:
        thread.join(ENOUGH_SECONDS)
    assert order == ["a", "b", "c"]
    assert door.left_at > 0


def test_who_is_in_the_middle_of_a_transaction_goes_first() -> None:
    door, order = Door(1), []
    assert door.enter(waits)
    threads = [queue_up(door, lambda: order.append("new")) for _ in range(2)]
    threads.append(queue_up(door, lambda: order.append("midway"), is_urgent=True))
    door.leave()
    for thread in threads:
        thread.join(ENOUGH_SECONDS)
    assert order == ["midway", "new", "new"]


def test_whoever_does_not_wait_on_leaves_the_queue() -> None:
    door, refused = Door(1), threading.Event()
    assert door.enter(waits)

    def give_up() -> None:
        if not door.enter(lambda seconds: seconds == 0):
            refused.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    thread.join(ENOUGH_SECONDS)
    assert refused.is_set()
    door.leave()
    # Nobody queues any more, so the place is free at once.
    assert door.enter(lambda seconds: False)


def test_thread_inside_enters_again_without_another_place() -> None:
    door = Door(1)
    assert all(door.enter(lambda seconds: False) for _ in range(3))
    door.leave()
    door.leave()
    refused: list[bool] = []
    thread = threading.Thread(target=lambda: refused.append(door.enter(lambda seconds: False)))
    thread.start()
    thread.join(ENOUGH_SECONDS)
    assert refused == [False]
    door.leave()
    assert door.enter(lambda seconds: False)


def test_no_more_are_inside_than_there_are_places() -> None:
    door, lock, count, most = Door(3), threading.Lock(), [0], [0]

    def visit() -> None:
        for _ in range(50):
            assert door.enter(waits)
            with lock:
                count[0] += 1
                most[0] = max(most[0], count[0])
            with lock:
                count[0] -= 1
            door.leave()

    threads = [threading.Thread(target=visit) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENOUGH_SECONDS)
    assert count == [0]
    assert 1 <= most[0] <= 3
