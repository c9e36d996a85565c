"""A wall clock that is wrong and jumps, and a scheduler's thread that dies: each at a signal."""

import ctypes
import signal
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from apscheduler.schedulers import base

from app import job_clock, jobs
from app.services.house import House
from app.services.job_states import INGEST

ON, BACK, KILL = signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP
_JUMPS = {ON: 3600.0, BACK: -3600.0}
_error_seconds = 0.0


def clock() -> datetime:
    """The time as this process sees it."""
    return datetime.now(UTC) + timedelta(seconds=_error_seconds)


def be_wrong_by(seconds: float) -> None:
    """Have this process see that much more than the true time, its scheduler too."""
    global _error_seconds
    _error_seconds = seconds
    base.datetime = job_clock.datetime = _Wrong  # type: ignore[misc]


def obey(polls: Path) -> None:
    """Note every look for a due tick, and jump or lose the scheduler's thread at a signal."""
    be_wrong_by(_error_seconds)
    look = jobs.JOBS[INGEST]

    def noted(house: House) -> datetime | None:
        note(polls)
        return look(house)

    jobs.JOBS[INGEST] = noted
    for number in _JUMPS:
        signal.signal(number, _jump)
    signal.signal(KILL, _kill_thread)


def note(polls: Path) -> None:
    """Write down the present, by the steady clock that all processes share."""
    with polls.open("a") as file:
        file.write(f"{time.monotonic()}\n")


def longest_gap(polls: Path, since: float, until: float) -> float:
    """The longest time without a look in that time, beginning with the last look before it."""
    seen = sorted(float(line) for line in polls.read_text().splitlines())
    before: Sequence[float] = [one for one in seen if one <= since][-1:]
    inside = [*before, *(one for one in seen if since < one <= until), until]
    return max(later - earlier for earlier, later in pairwise(inside))


class _Wrong(datetime):
    """The wall clock as a host with a wrong one sees it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        """The time with its error."""
        return datetime.now(tz) + timedelta(seconds=_error_seconds)


def _jump(number: int, frame: FrameType | None) -> None:
    be_wrong_by(_error_seconds + _JUMPS[signal.Signals(number)])


def _kill_thread(number: int, frame: FrameType | None) -> None:
    thread = next(one for one in threading.enumerate() if one.name == "APScheduler")
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
    )
