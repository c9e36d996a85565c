"""The door for an external cron: it runs the tick that is due, and only that."""

from datetime import datetime
from typing import Literal

from flask import request
from werkzeug.exceptions import MethodNotAllowed

from app.domain import RunStatus, Trigger
from app.errors import RunAlreadyActive
from app.extensions import db
from app.services.runs import load_active_run
from app.services.schedule import run_due_tick
from app.web.api.outcomes import (
    RunError,
    RunResult,
    outcome_headers,
    outcome_members,
    outcome_status,
    wait_for_run,
)
from app.web.auth import require_cron_secret
from app.web.house import house
from app.web.openapi import Access, AnswerModel, Reply, operation
from app.web.problems import Prefetched


class CronOutcome(AnswerModel):
    """What became of the tick due at `dueAt`.

    `outcome` is `started` by this call, `already_ran` by an earlier one, or `skipped` because
    another run was active when it was due; then there is no run to tell of.
    """

    outcome: Literal["started", "already_ran", "skipped"]
    due_at: datetime
    status: RunStatus | None = None
    run_id: str | None = None
    result: RunResult | None = None
    error: RunError | None = None


@operation(
    summary="Run the due tick",
    answers={200: CronOutcome, 202: CronOutcome},
    problems=[403, 405, 409],
    access=Access.CRON,
)
def run_cron() -> Reply:
    """Run the tick that is due now, exactly once however often and from wherever it is asked for.

    The claim is the one of the built-in scheduler: a second call for the same tick starts nothing
    and tells of the same run. Waits as `/api/ingest` does. 409 while another run is active, 503
    while CRON_SECRET is not set. Never cached; refused to browsers that fetch ahead.
    """
    _refuse_harmless_looking()
    require_cron_secret()
    tick = run_due_tick(db.session, house(), trigger=Trigger.CRON)
    if tick.status == "active":
        raise RunAlreadyActive(tick.run_id)
    run_id = tick.run_id or _run_being_started(tick.due_at)
    if not run_id:
        return Reply(CronOutcome(outcome="skipped", due_at=tick.due_at))
    run = wait_for_run(run_id)
    members = outcome_members(run) | {"outcome": tick.status, "due_at": tick.due_at}
    outcome = CronOutcome.model_validate(members)
    return Reply(outcome, outcome_status(run), outcome_headers(run))


def _run_being_started(due_at: datetime) -> str:
    """The run of a tick that somebody else claimed a moment ago, empty where there is none."""
    active = load_active_run(db.session)
    return active.id if active and active.due_at == due_at else ""


def _refuse_harmless_looking() -> None:
    """HEAD and prefetches promise to change nothing, which this door cannot."""
    if request.method == "HEAD":
        raise MethodNotAllowed(valid_methods=["GET", "POST"])
    purpose = f"{request.headers.get('Sec-Purpose', '')} {request.headers.get('Purpose', '')}"
    if "prefetch" in purpose.lower() or "prerender" in purpose.lower():
        raise Prefetched()
