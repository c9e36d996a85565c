"""What the scheduler runs in every web process, and how it is started and stopped."""

import logging
from typing import Any

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.domain import Trigger
from app.errors import AppError
from app.extensions import db, scheduler
from app.services.house import House
from app.services.schedule import close_dead_runs, run_due_tick

logger = logging.getLogger(__name__)


def start_jobs(app: Flask) -> None:
    """Start polling for due ticks; call it after the fork, once a process."""
    house: House = app.extensions["tapedeck"]
    if not house.settings.scheduler_enabled:
        return
    scheduler.init_app(app)
    scheduler.add_job(
        id="poll",
        func=poll,
        args=[app],
        trigger="interval",
        seconds=house.settings.scheduler_poll_seconds,
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    scheduler.start()
    logger.info("scheduler started", extra={"expression": house.settings.schedule.expression})


def stop_jobs(app: Flask, *, grace_seconds: float) -> None:
    """Claim no more ticks, let the active run finish within the grace time, then let go."""
    house: House = app.extensions["tapedeck"]
    if scheduler.running:
        scheduler.shutdown(wait=False)
    house.runner.shutdown(grace_seconds=grace_seconds)


def poll(app: Flask) -> None:
    """Close runs whose process died, then run the tick that is due, if any."""
    house: House = app.extensions["tapedeck"]
    with app.app_context():
        _attempt("dead runs not closed", lambda: close_dead_runs(db.session))
        _attempt("tick not run", lambda: run_due_tick(db.session, house, trigger=Trigger.SCHEDULER))


def _attempt(event: str, job: Any) -> None:
    """The next poll tries again, so trouble is only told."""
    try:
        job()
    except (AppError, SQLAlchemyError) as error:
        db.session.rollback()
        logger.warning(event, extra={"reason": type(error).__name__})
