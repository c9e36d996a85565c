"""What the scheduler does in every web process, and how it is started and stopped.

Every process does every job; rows in the database see to it that the work is done once.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import partial

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.database.connect import Database
from app.domain import Trigger
from app.errors import AppError, RunStopped
from app.extensions import db
from app.job_clock import JobClock
from app.services.alert_watch import deliver_alerts, judge_when_due
from app.services.failures import describe_failure
from app.services.figure_keeping import keep_figures, keep_last_figures
from app.services.finalisation import finish_candles
from app.services.house import House
from app.services.job_states import (
    ALERTS,
    DELIVERY,
    FIGURES,
    FINISH,
    INGEST,
    PARTITIONS,
    PRUNE,
    REAPER,
    record_job,
)
from app.services.pauses import end_pause
from app.services.pruning import prepare_months_when_due, prune_when_due
from app.services.ticks import load_shared_time, run_due_tick

logger = logging.getLogger(__name__)

CLOCK = "tapedeck_job_clock"
SKEW_SECONDS = 5.0


class Turn(Enum):
    """What a job says whose time has not come: nothing was done, and nothing is noted."""

    NOT_DUE = "not due"


# It may answer as of when everything was done.
Work = Callable[[House], datetime | Turn | None]


def start_jobs(app: Flask) -> None:
    """Start the jobs of this process; call it after the fork, once a process."""
    house: House = app.extensions["tapedeck"]
    _database(app).watch.attend_requests()
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
    with app.app_context():
        keep_last_figures(db.engine, now=house.clock())
    _database(app).watch.dismiss_requests()


def _database(app: Flask) -> Database:
    database: Database = app.extensions["tapedeck_database"]
    return database


def do_job(app: Flask, name: str, work: Work) -> None:
    """Do one job once and note what came of it; the next time tries again, so trouble is told.

    Of a job that was not due, or that the end of this process broke off, nothing is noted.
    """
    house: House = app.extensions["tapedeck"]
    started = time.monotonic()
    trouble: str | None = "Something unforeseen went wrong; the log has the details."
    as_of = None
    with app.app_context():
        try:
            answer = work(house)
            as_of = answer if isinstance(answer, datetime) else None
            trouble = None if answer is Turn.NOT_DUE else ""
        except RunStopped:
            trouble = None
        except (AppError, SQLAlchemyError) as error:
            trouble = describe_failure(error)[2]
            logger.warning("job failed", extra={"job": name, "reason": trouble})
        finally:
            if trouble is not None:
                _note(house, name, time.monotonic() - started, trouble, as_of)


def _note(house: House, name: str, seconds: float, trouble: str, as_of: datetime | None) -> None:
    try:
        db.session.rollback()
        record_job(
            db.session,
            name,
            duration_ms=round(seconds * 1000),
            trouble=trouble,
            every_seconds=house.settings.scheduler_poll_seconds,
            as_of=as_of,
        )
    except SQLAlchemyError as error:
        logger.warning("job not noted", extra={"job": name, "reason": type(error).__name__})


def _ingest(house: House) -> datetime:
    """Run the due tick by the database's clock, and say when this host's differs from it.

    Answers as of when it looked: a tick that became due since then was not seen.
    """
    now = load_shared_time(db.session)
    skew_seconds = (house.clock() - now).total_seconds()
    if abs(skew_seconds) > SKEW_SECONDS:
        fields = {"seconds": round(skew_seconds, 1)}
        logger.warning("clock differs from the database's", extra=fields)
    end_pause(db.session, now=now)
    run_due_tick(db.session, house, trigger=Trigger.SCHEDULER, now=now)
    return now


def _reap(house: House) -> None:
    house.runner.take_up_dead_runs()


def _judge_alerts(house: House) -> None:
    judge_when_due(db.engine, house)


def _deliver_alerts(house: House) -> None:
    deliver_alerts(db.engine, house)


def _finish_candles(house: House) -> Turn | None:
    return _due(finish_candles(house.runner.engine) is not None)


def _prepare_months(house: House) -> Turn | None:
    return _due(prepare_months_when_due(house.runner.engine, now=house.clock()) is not None)


def _prune(house: House) -> Turn | None:
    done = prune_when_due(house.runner.engine, house.settings, now=house.clock())
    return _due(done is not None)


def _keep_figures(house: House) -> Turn | None:
    return _due(keep_figures(db.engine, now=house.clock()))


def _due(was_due: bool) -> Turn | None:
    return None if was_due else Turn.NOT_DUE


JOBS: dict[str, Work] = {
    INGEST: _ingest,
    REAPER: _reap,
    FINISH: _finish_candles,
    ALERTS: _judge_alerts,
    DELIVERY: _deliver_alerts,
    PARTITIONS: _prepare_months,
    PRUNE: _prune,
    FIGURES: _keep_figures,
}
