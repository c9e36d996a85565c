"""The door for an external cron: it runs the tick that is due, and only that."""

import time
from datetime import datetime
from typing import Literal

from flask import request
from werkzeug.exceptions import MethodNotAllowed

from app.domain import RunStatus, Trigger
from app.errors import RunAlreadyActive
from app.extensions import db
from app.services.schedule import TickOutcome, run_due_tick
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

CLAIM_PATIENCE_SECONDS = 2.0
CLAIM_POLL_SECONDS = 0.05


class CronOutcome(AnswerModel):
    """What became of the tick due at `dueAt`.

    `outcome` is `started` by this call, `already_ran` by an earlier one, `skipped` because another
    run was active when it was due, or `claimed` by somebody who has yet to start its run. In the
    last two cases there is no run to tell of.
    """

    outcome: Literal["started", "already_ran", "skipped", "claimed"]
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
    tick = _settled_tick()
    if tick.status == "active":
        raise RunAlreadyActive(tick.run_id)
    if not tick.run_id:
        status = 202 if tick.status == "claimed" else 200
        members = {"outcome": tick.status, "due_at": tick.due_at}
        return Reply(CronOutcome.model_validate(members), status)
    run = wait_for_run(tick.run_id)
    members = outcome_members(run) | {"outcome": tick.status, "due_at": tick.due_at}
    return Reply(CronOutcome.model_validate(members), outcome_status(run), outcome_headers(run))


def _settled_tick() -> TickOutcome:
    """The due tick, once a claim of somebody else has become a run, or after two seconds."""
    deadline = time.monotonic() + CLAIM_PATIENCE_SECONDS
    while True:
        tick = run_due_tick(db.session, house(), trigger=Trigger.CRON)
        if tick.status != "claimed" or time.monotonic() > deadline:
            return tick
        db.session.close()
        time.sleep(CLAIM_POLL_SECONDS)


def _refuse_harmless_looking() -> None:
    """HEAD and prefetches promise to change nothing, which this door cannot."""
    if request.method == "HEAD":
        raise MethodNotAllowed(valid_methods=["GET", "POST"])
    purpose = f"{request.headers.get('Sec-Purpose', '')} {request.headers.get('Purpose', '')}"
    if "prefetch" in purpose.lower() or "prerender" in purpose.lower():
        raise Prefetched()
