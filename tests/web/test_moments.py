"""Values that are the same for everybody at one moment."""

from collections.abc import Callable, Hashable
from threading import Event, Thread

import pytest

from app.web.moments import Moments


class Clock:
    """A time that goes on when told so."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


class Built:
    """Builds values and remembers how often."""

    def __init__(self, moments: Moments[str]) -> None:
        self._moments = moments
        self.count = 0

    def read(self, name: Hashable = "page") -> str:
        """The value under `name`."""
        return self._moments.read(name, self._build)

    def _build(self) -> str:
        self.count += 1
        return f"value {self.count}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def built(clock: Clock) -> Built:
    return Built(Moments(seconds=1, most=3, clock=clock))


def test_a_value_is_built_once_until_its_second_is_over(built: Built, clock: Clock) -> None:
    assert [built.read(), built.read()] == ["value 1", "value 1"]
    clock.now += 1
    assert built.read() == "value 2"


def test_other_names_have_other_values(built: Built) -> None:
    assert [built.read("a"), built.read("b"), built.read("a")] == ["value 1", "value 2", "value 1"]


def test_there_is_room_for_a_few_only(built: Built) -> None:
    for name in "abcd":
        built.read(name)
    assert len(built._moments._kept) <= 3
    assert built.read("d") == "value 4"


def test_what_failed_is_not_kept() -> None:
    def fail() -> str:
        raise ValueError("no")

    moments: Moments[str] = Moments(seconds=1, most=3)
    with pytest.raises(ValueError, match="no"):
        moments.read("page", fail)
    assert moments.read("page", lambda: "fine") == "fine"


def test_those_who_miss_together_share_one_building() -> None:
    moments: Moments[str] = Moments(seconds=1, most=3)
    begun, go_on = Event(), Event()
    found: list[str] = []

    def slowly() -> str:
        begun.set()
        assert go_on.wait(30)
        return "the one"

    def read(build: Callable[[], str]) -> None:
        found.append(moments.read("page", build))

    first = Thread(target=read, args=(slowly,))
    first.start()
    assert begun.wait(30)
    second = Thread(target=read, args=(lambda: "another",))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    # The second either waited for the first or found what it had kept.
    assert found == ["the one", "the one"]
