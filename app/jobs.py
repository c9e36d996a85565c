"""What the scheduler does in every web process, and how it is started and stopped.

Every process does every job; rows in the database see to it that the work is done once.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.domain import Trigger
from app.errors import AppError
from app.extensions import db
from app.job_clock import JobClock
from app.services.alert_watch import watch_alerts
from app.services.execution import describe_failure
from app.services.house import House
from app.services.job_states import ALERTS, INGEST, PRUNE, REAPER, record_job
from app.services.pauses import end_pause
from app.services.pruning import prune_when_due
from app.services.ticks import run_due_tick

logger = logging.getLogger(__name__)

CLOCK = "tapedeck_job_clock"
SKEW_SECONDS = 5.0
Work = Callable[[House], object]


def start_jobs(app: Flask) -> None:
    """Start the jobs of this process; call it after the fork, once a process."""
    house: House = app.extensions["tapedeck"]
    if not house.settings.scheduler_enabled:
        return
    clock = JobClock(app, house.pulse, every_seconds=house.settings.scheduler_poll_seconds)
    for name, work in JOBS.items():
        clock.add(name, partial(do_job, app, name, work))
    app.extensions[CLOCK] = clock
    clock.start()
    logger.info("scheduler started", extra={"expression": house.settings.schedule.expression})


def stop_jobs(
    app: Flask, *, grace_seconds: float, still_here: Callable[[], None] = lambda: None
) -> None:
    """Claim no more ticks, let the active run finish within the grace time, then let go.

    `still_here` is called every second meanwhile.
    """
    house: House = app.extensions["tapedeck"]
    clock: JobClock | None = app.extensions.pop(CLOCK, None)
    if clock is not None:
        clock.stop()
    house.runner.shutdown(grace_seconds=grace_seconds, still_here=still_here)


def do_job(app: Flask, name: str, work: Work) -> None:
    """Do one job once and note what came of it; the next time tries again, so trouble is told."""
    house: House = app.extensions["tapedeck"]
    started = time.monotonic()
    trouble = "Something unforeseen went wrong; the log has the details."
    with app.app_context():
        try:
            work(house)
            trouble = ""
        except (AppError, SQLAlchemyError) as error:
            trouble = describe_failure(error)[2]
            logger.warning("job failed", extra={"job": name, "reason": trouble})
        finally:
            _note(house, name, time.monotonic() - started, trouble)


def _note(house: House, name: str, seconds: float, trouble: str) -> None:
    try:
        db.session.rollback()
        record_job(
            db.session,
            name,
            duration_ms=round(seconds * 1000),
            trouble=trouble,
            every_seconds=house.settings.scheduler_poll_seconds,
        )
    except SQLAlchemyError as error:
        logger.warning("job not noted", extra={"job": name, "reason": type(error).__name__})


def _ingest(house: House) -> None:
    """Run the due tick by the database's clock, the one that all hosts share."""
    now: datetime = db.session.execute(text("SELECT clock_timestamp()")).scalar_one()
    skew_seconds = (house.clock() - now).total_seconds()
    if abs(skew_seconds) > SKEW_SECONDS:
        fields = {"seconds": round(skew_seconds, 1)}
        logger.warning("clock differs from the database's", extra=fields)
    end_pause(db.session, now=now)
    run_due_tick(db.session, house, trigger=Trigger.SCHEDULER, now=now)


def _reap(house: House) -> None:
    house.runner.take_up_dead_runs()


def _watch_alerts(house: House) -> None:
    watch_alerts(db.engine, house)


def _prune(house: House) -> None:
    prune_when_due(house.runner.engine, house.settings, now=house.clock())


JOBS: dict[str, Work] = {INGEST: _ingest, REAPER: _reap, ALERTS: _watch_alerts, PRUNE: _prune}
