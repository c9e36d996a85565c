"""How the routes that start a run wait for it and tell what became of it."""

from collections.abc import Iterator
from datetime import datetime

from flask import request, url_for
from pydantic import Field

from app.domain import RunStatus, Trigger
from app.extensions import db
from app.services.runs import load_run
from app.services.views import RunView
from app.web.api.runs import CountsResource, MarketProblemResource
from app.web.house import house
from app.web.openapi import AnswerModel

MAX_WAIT_SECONDS = 25


class RunResult(AnswerModel):
    """What a finished run did."""

    run_id: str = Field(validation_alias="id")
    trigger: Trigger
    provider: str
    started_at: datetime
    completed_at: datetime | None = Field(validation_alias="finished_at")
    duration_ms: int | None
    markets_requested: int
    markets_ingested: int
    snapshots_ingested: int
    aggregates_ingested: int
    comparisons_ingested: int
    roi_stats_ingested: int
    counts: CountsResource
    problems: list[MarketProblemResource]


class RunError(AnswerModel):
    """Why a run failed."""

    error_class: str = Field(serialization_alias="class")
    message: str


class RunOutcome(AnswerModel):
    """What became of a run; `result` is null while it is running, `error` unless it failed."""

    status: RunStatus
    run_id: str
    result: RunResult | None = None
    error: RunError | None = None


def wait_for_run(run_id: str) -> RunView:
    """The run, finished or as it stands when the caller's patience (at most 25 s) is over."""
    # Waiting with an open transaction would hold a connection for nothing.
    db.session.close()
    patience = wait_seconds(request.headers.get("Prefer", ""))
    if patience:
        house().runner.wait(run_id, timeout_seconds=patience)
    return load_run(db.session, run_id).run


def wait_seconds(prefer: str) -> float:
    """The patience a `Prefer` header (RFC 7240) grants: none for `respond-async`, or `wait=N`."""
    preferences = dict(_preferences(prefer))
    patience = preferences.get("wait", "")
    if patience.isascii() and patience.isdigit():
        return min(int(patience[:3]), MAX_WAIT_SECONDS)
    return 0 if "respond-async" in preferences else MAX_WAIT_SECONDS


def outcome_members(run: RunView) -> dict[str, object]:
    """The members of a `RunOutcome`."""
    members: dict[str, object] = {"status": run.status, "run_id": run.id}
    if run.is_active:
        return members
    members["result"] = RunResult.model_validate(run)
    if run.error_class is not None:
        members["error"] = RunError(error_class=run.error_class, message=run.error_message or "")
    return members


def outcome_status(run: RunView) -> int:
    """200 for a finished run, 202 for one that goes on."""
    return 202 if run.is_active else 200


def outcome_headers(run: RunView) -> dict[str, str]:
    """Where the run is to be found."""
    return {"Location": url_for("api.show_run", run_id=run.id)}


def _preferences(prefer: str) -> Iterator[tuple[str, str]]:
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        yield name.strip().lower(), value.strip().strip('"')
