"""Wall clocks that jump and a scheduler thread that dies: how soon the job is done again."""

import ctypes
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from apscheduler.schedulers import base
from flask import Flask

from app import job_clock
from app.job_clock import JobClock
from app.services.pulse import Pulse
from tests.faults.bench import Finding

PERIOD = 0.5
POLLS = 3


def clock_jumps() -> Finding:
    """The clock an hour on, an hour back, and the scheduler's thread killed."""
    finding = Finding("clock +1 h, -1 h; scheduler thread killed", "")
    parts = []
    for name, spoil in (("+1 h", _jump(1)), ("-1 h", _jump(-1)), ("thread", _kill_thread)):
        polls = _polls_until_done_again(spoil)
        parts.append(f"{name}: {polls:.1f} polls")
        # One more for a poll that is due in the middle of the look.
        if polls > POLLS + 1:
            finding.problems.append(f"after {name} the job came back only after {polls:.1f} polls")
    finding.figures = ", ".join(parts)
    return finding


def _polls_until_done_again(spoil: Callable[[], Callable[[], None]]) -> float:
    done = threading.Event()
    clock = JobClock(Flask("faults"), Pulse(), every_seconds=PERIOD)
    clock.add("job", done.set)
    clock.start()
    try:
        assert done.wait(20)
        restore = spoil()
        done.clear()
        started = time.monotonic()
        assert done.wait(60)
        took = time.monotonic() - started
        restore()
        # Back to the true time, which is another jump.
        done.clear()
        assert done.wait(60)
    finally:
        clock.stop()
    return took / PERIOD


def _jump(hours: int) -> Callable[[], Callable[[], None]]:
    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(hours=hours)

    def spoil() -> Callable[[], None]:
        base.datetime = job_clock.datetime = Jumped  # type: ignore[misc]
        return restore

    def restore() -> None:
        base.datetime = job_clock.datetime = datetime  # type: ignore[misc]

    return spoil


def _kill_thread() -> Callable[[], None]:
    thread = next(one for one in threading.enumerate() if one.name == "APScheduler")
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )
    return lambda: None
