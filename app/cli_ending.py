"""How a command of the shell ends early: its run is cancelled first, whichever signal ends it."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.services.runner import Runner

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_SECONDS = 0.5
# A run hears of its end at the next safe point.
END_SECONDS = 30


class Ending:
    """Whether somebody asked this process to end; who asks twice will not wait."""

    def __init__(self) -> None:
        self.is_asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Hear a signal; the second raises `KeyboardInterrupt`."""
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True


@contextmanager
def ending_kindly() -> Iterator[Ending]:
    """Within the block INT, TERM and HUP ask for the end instead of bringing it.

    At once they would leave the run to its lease, and an embedded server running. A signal that is
    ignored (nohup) stays so.
    """
    ending = Ending()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    heard = {number: one for number, one in handlers.items() if one is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, ending.ask)
    try:
        yield ending
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def await_run(
    runner: Runner, run_id: str, ending: Ending, *, at_most_seconds: float = math.inf
) -> None:
    """Return once the run is over; asked to end, or when its time is up, cancel it first."""
    give_up_at = time.monotonic() + at_most_seconds
    while not ending.is_asked and time.monotonic() < give_up_at:
        if runner.wait(run_id, timeout_seconds=LOOK_SECONDS):
            return
    runner.cancel(run_id)
    runner.wait(run_id, timeout_seconds=END_SECONDS)
