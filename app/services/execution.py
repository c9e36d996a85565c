"""One run from its open row to its final status, in a thread of its own with a heartbeat."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from app.errors import AppError, RunStopped
from app.failpoints import reach
from app.ingestion.context import Haul, Recorder, RunContext, RunOrder, StageCounts, StopSignal
from app.ingestion.dead_runs import Succession
from app.ingestion.pipeline import RunReport, run_pipeline
from app.ingestion.run_log import RunLog, keep_run_log
from app.ingestion.run_row import (
    RunRecorder,
    RunTicket,
    close_with_error,
    close_with_report,
)
from app.logs import bind
from app.metrics_counting import observe_provider_call
from app.providers.base import ProviderContext, provider_class
from app.services.failures import describe_failure
from app.services.handover import hand_over
from app.services.heartbeat import Heartbeat
from app.services.outcome import Outcome, find_outcome
from app.settings import ProviderSettings

logger = logging.getLogger(__name__)
Listener = Callable[[str, StageCounts | None], None]
# The point of `app.failpoints` at the beginning of a stage.
_POINTS = {
    "fetch": "fetch",
    "candles": "mid-merge",
    "comparisons": "comparisons",
    "cache": "cache",
}


@dataclass(frozen=True, slots=True)
class RunTools:
    """What executing a run needs besides its order."""

    engine: Engine
    provider_settings: Mapping[str, ProviderSettings]
    clock: Callable[[], datetime]
    lease_seconds: float
    heartbeat_seconds: float
    deadline_seconds: float
    succession: Succession
    replace_cache: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Execution:
    """One attempt of a run that this process works on.

    `is_done` is set when the attempt is over; `is_closed` tells that it gave the run its final
    status, so that nobody else goes on with it.
    """

    ticket: RunTicket
    order: RunOrder
    provider: str
    stop: StopSignal = field(default_factory=StopSignal)
    is_done: threading.Event = field(default_factory=threading.Event)
    is_closed: bool = False
    report: RunReport | None = None  # once all that is left is to commit
    listener: Listener = lambda name, counts: None


def execute(execution: Execution, tools: RunTools) -> None:
    """Work on the run until it has a final status; never raises."""
    heart = Heartbeat(
        tools.engine,
        execution.ticket,
        execution.stop,
        every_seconds=tools.heartbeat_seconds,
        lease_seconds=tools.lease_seconds,
    )
    heart.start()
    with bind(run_id=execution.ticket.run_id):
        try:
            with keep_run_log(tools.engine, execution.ticket) as log:
                _run(execution, tools, log, heart)
        finally:
            execution.is_done.set()
            heart.rest()


def give_back(execution: Execution, tools: RunTools) -> None:
    """Leave a run that was claimed while this process stops to another, or close it; never raises.

    No heartbeat of it may have begun.
    """
    execution.stop.stop("shutdown")
    with bind(run_id=execution.ticket.run_id):
        if not hand_over(tools.engine, execution.ticket, tools.succession):
            _close_failed(execution, tools, None, execution.stop.as_error())
        execution.is_done.set()


def build_context(execution: Execution, tools: RunTools) -> RunContext:
    """The provider and the bounds of one pass."""
    seconds = execution.ticket.seconds_left
    seconds = tools.deadline_seconds if seconds is None else seconds
    name = execution.provider

    def note_call(outcome: str, seconds: float) -> None:
        price = provider_class(name).credits_per_call
        observe_provider_call(provider=name, outcome=outcome, seconds=seconds, price=price)
        reach("mid-fetch")

    surroundings = ProviderContext(
        clock=tools.clock,
        deadline_at=tools.clock() + timedelta(seconds=seconds),
        stop=execution.stop,
        on_call=note_call,
    )
    return RunContext(
        order=execution.order,
        provider=provider_class(name)(tools.provider_settings[name], surroundings),
        stop=execution.stop,
        deadline=time.monotonic() + seconds,
        clock=tools.clock,
    )


def _run(execution: Execution, tools: RunTools, log: RunLog, heart: Heartbeat) -> None:
    recorder = _Announcer(RunRecorder(tools.engine, execution.ticket), execution.listener, log)
    logger.info(
        "run started",
        extra={"provider": execution.provider, "attempt": execution.ticket.attempt},
    )
    context = None
    try:
        context = build_context(execution, tools)
        run_pipeline(context, tools.engine, recorder, _closer(execution))
    except Exception as error:
        # Whoever noticed the stop first may not know why; the signal does.
        is_stop = isinstance(error, RunStopped) and execution.stop.is_set()
        cause = execution.stop.as_error() if is_stop else error
        outcome = _outcome(execution, tools, cause)
        if outcome is Outcome.KEPT:
            _finish(execution, tools, recorder)
        elif outcome is Outcome.LOST and not _is_left(execution, tools, heart, cause):
            _close_failed(execution, tools, context, cause)
    else:
        reach("after-commit")
        _finish(execution, tools, recorder)
    finally:
        if context is not None:
            context.close()


def _closer(execution: Execution) -> Callable[[Connection, RunReport], None]:
    def close(connection: Connection, report: RunReport) -> None:
        close_with_report(connection, execution.ticket, report)
        execution.report = report

    return close


def _outcome(execution: Execution, tools: RunTools, error: Exception) -> Outcome:
    if execution.report is None:
        return Outcome.LOST
    return find_outcome(
        tools.engine,
        execution.ticket,
        error,
        stop=execution.stop,
        patience_seconds=tools.lease_seconds,
    )


def _finish(execution: Execution, tools: RunTools, recorder: Recorder) -> None:
    execution.is_closed = True
    if execution.report is not None:
        _log_end(execution.report)
    _replace_cache(tools, recorder)


def _replace_cache(tools: RunTools, recorder: Recorder) -> None:
    """The data is committed by now, so whatever happens here cannot fail the run."""
    counts = StageCounts()
    try:
        recorder.stage_started("cache")
        tools.replace_cache()
        recorder.stage_finished("cache", counts, status="succeeded")
    except (AppError, SQLAlchemyError, OSError) as error:
        logger.warning("cache not replaced", extra={"reason": str(error)})


def _is_left(execution: Execution, tools: RunTools, heart: Heartbeat, error: Exception) -> bool:
    """True when the run was cut short by the end of this process, and another goes on with it."""
    if not isinstance(error, RunStopped) or error.reason != "shutdown":
        return False
    heart.rest()
    return hand_over(tools.engine, execution.ticket, tools.succession)


def _close_failed(
    execution: Execution, tools: RunTools, context: RunContext | None, error: Exception
) -> None:
    status, error_class, message = describe_failure(error)
    logger.error(
        "run failed",
        extra={"status": status.value, "error_class": error_class, "reason": message},
        exc_info=error if error_class == "UnexpectedError" else None,
    )
    if isinstance(error, RunStopped) and error.reason == "lease_lost":
        return
    counts = context.counts if context else {}
    haul = context.haul if context else Haul()
    try:
        close_with_error(
            tools.engine,
            execution.ticket,
            status=status,
            error_class=error_class,
            message=message,
            problems=haul.problems,
            rejected=context.rejected if context else None,
            counts=counts.get("fetch"),
        )
    except (RunStopped, SQLAlchemyError) as trouble:
        # The lease runs out; then the run is taken up again, or closed with that reason.
        logger.warning("run not closed", extra={"reason": type(trouble).__name__})
    else:
        execution.is_closed = True


def _log_end(report: RunReport) -> None:
    totals = report.totals
    logger.info(
        "run finished",
        extra={
            "status": report.status.value,
            "fetched": totals.fetched,
            "inserted": totals.inserted,
            "updated": totals.updated,
            "unchanged": totals.unchanged,
            "rejected": totals.rejected,
            "problems": len(report.problems),
        },
    )


class _Announcer:
    """Tells the run's rows, the log and a listener about every stage."""

    def __init__(self, recorder: Recorder, listener: Listener, log: RunLog) -> None:
        self._recorder, self._listener, self._log = recorder, listener, log
        self._started = 0.0

    def stage_started(self, name: str) -> None:
        self._started = time.monotonic()
        self._recorder.stage_started(name)
        reach(_POINTS.get(name, ""))
        self._listener(name, None)

    def stage_finished(self, name: str, counts: StageCounts, *, status: str) -> None:
        self._recorder.stage_finished(name, counts, status=status)
        reach("fetched" if name == "fetch" else "")
        self._listener(name, counts)
        with bind(stage=name):
            logger.info(
                "stage finished",
                extra={
                    "status": status,
                    "duration_ms": round((time.monotonic() - self._started) * 1000),
                    "inserted": counts.inserted,
                    "updated": counts.updated,
                    "unchanged": counts.unchanged,
                    "rejected": counts.rejected,
                },
            )
        self._log.store_lines()
