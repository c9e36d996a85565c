"""The room around APScheduler: jobs at an interval, and a watchdog that keeps them going.

APScheduler waits for a time of day. When the wall clock is set back it would wait that much longer,
and when its thread dies nothing says so; the watchdog counts by the steady clock and sees both.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from apscheduler.schedulers import SchedulerAlreadyRunningError, SchedulerNotRunningError
from flask import Flask
from flask_apscheduler import APScheduler

from app.extensions import scheduler
from app.services.pulse import Pulse

logger = logging.getLogger(__name__)

# A job that was due twice and not begun is called again before the third time.
PERIODS_OF_PATIENCE = 2.0
LOOKS_A_PERIOD = 4
END_SECONDS = 2.0
# No thread or memory to be had; a job or a scheduler that went away between two questions.
TROUBLE = (
    RuntimeError,
    OSError,
    MemoryError,
    LookupError,
    AttributeError,
    SchedulerAlreadyRunningError,
    SchedulerNotRunningError,
)


class JobClock:
    """The jobs of one process; start it after the fork."""

    def __init__(self, app: Flask, pulse: Pulse, *, every_seconds: float) -> None:
        self._app = app
        self._pulse = pulse
        self._every = every_seconds
        self._jobs: dict[str, Callable[[], None]] = {}
        self._scheduler: APScheduler = scheduler
        self._stopping = threading.Event()
        self._hanging: set[str] = set()
        self._watchdog = self._new_watchdog()

    def add(self, name: str, work: Callable[[], None]) -> None:
        """Have `work` done every period: one at a time, and once for several missed times."""
        self._jobs[name] = work

    def start(self) -> None:
        """Begin; the first time is one period from now."""
        # A job that takes longer than its period is no trouble worth a line each time.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._start_scheduler()
        self._watchdog.start()

    def stop(self) -> None:
        """Begin no job any more; one that is at work goes on."""
        self._stopping.set()
        if self._watchdog.is_alive():
            self._watchdog.join(END_SECONDS)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._pulse.forget_all()

    def _start_scheduler(self) -> None:
        self._scheduler.init_app(self._app)
        for name in self._jobs:
            self._pulse.expect(name)
            self._scheduler.add_job(
                id=name,
                func=self._do,
                args=[name],
                trigger="interval",
                seconds=self._every,
                max_instances=1,
                coalesce=True,
                misfire_grace_time=None,
                replace_existing=True,
            )
        self._scheduler.start()

    def _do(self, name: str) -> None:
        if self._stopping.is_set():
            return
        self._pulse.begin(name)
        try:
            self._jobs[name]()
        finally:
            self._pulse.end(name)

    def _new_watchdog(self) -> threading.Thread:
        return threading.Thread(target=self._watch, name="job-watchdog", daemon=True)

    def _watch(self) -> None:
        """Look until the stop; what nobody foresaw ends this thread, and another follows it."""
        try:
            while not self._stopping.wait(self._every / LOOKS_A_PERIOD):
                self._look()
        finally:
            if not self._stopping.is_set():
                logger.error("watchdog died", exc_info=True)
                self._watchdog = self._new_watchdog()
                self._watchdog.start()

    def _look(self) -> None:
        try:
            if not self._is_alive():
                self._restart()
                return
            for name in self._jobs:
                self._look_after(name)
        except TROUBLE as error:
            logger.exception("watchdog stumbled", extra={"reason": type(error).__name__})

    def _is_alive(self) -> bool:
        thread = getattr(self._scheduler.scheduler, "_thread", None)
        return thread is not None and thread.is_alive()

    def _restart(self) -> None:
        logger.error("scheduler thread died", extra={"jobs": list(self._jobs)})
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        # One that was shut down cannot be started again, so a new one takes its place.
        self._scheduler = APScheduler()
        if not self._stopping.is_set():
            self._start_scheduler()

    def _look_after(self, name: str) -> None:
        quiet_seconds = self._pulse.quiet_seconds(name)
        if quiet_seconds < PERIODS_OF_PATIENCE * self._every:
            self._hanging.discard(name)
        elif self._pulse.is_at_work(name):
            self._tell_hanging(name, quiet_seconds)
        else:
            self._call_again(name, quiet_seconds)

    def _tell_hanging(self, name: str, quiet_seconds: float) -> None:
        if name not in self._hanging:
            self._hanging.add(name)
            fields = {"job": name, "seconds": round(quiet_seconds, 1)}
            logger.warning("job takes long", extra=fields)

    def _call_again(self, name: str, quiet_seconds: float) -> None:
        fields = {"job": name, "seconds": round(quiet_seconds, 1)}
        logger.warning("job was not begun in time", extra=fields)
        job = self._scheduler.get_job(name)
        if job is None:
            self._restart()
            return
        self._pulse.expect(name)
        job.modify(next_run_time=datetime.now(job.trigger.timezone))
