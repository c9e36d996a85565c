"""Runs over JSON: their history, one in full, and the request to stop one."""

from datetime import datetime

from flask import url_for
from pydantic import AliasChoices, Field

from app.domain import RunStatus, Trigger
from app.extensions import db
from app.services.runs import load_run, load_runs
from app.services.views import RunDetail
from app.web.api.paging import PageQuery, Words
from app.web.house import house
from app.web.openapi import AnswerModel, Reply, operation


class RunsQuery(PageQuery):
    """Which runs."""

    status: RunStatus | None = None
    trigger: Trigger | None = None
    provider: Words | None = None


class CountsResource(AnswerModel):
    """Rows by what became of them."""

    fetched: int
    inserted: int
    updated: int
    unchanged: int
    rejected: int


class MarketProblemResource(AnswerModel):
    """A market that could not be served, and why."""

    symbol: str
    error_class: str
    message: str


class RunResource(AnswerModel):
    """One run. `durationMs` is null and `completedAt` too until it has finished."""

    id: str
    status: RunStatus
    trigger: Trigger
    provider: str
    requested_by: str
    due_at: datetime | None
    attempt: int
    started_at: datetime
    completed_at: datetime | None = Field(
        validation_alias=AliasChoices("finished_at", "completed_at")
    )
    deadline_at: datetime
    cancel_requested_at: datetime | None
    duration_ms: int | None
    stage: str
    symbols: list[str]
    markets_requested: int
    markets_ingested: int
    snapshots_ingested: int
    aggregates_ingested: int
    comparisons_ingested: int
    roi_stats_ingested: int
    counts: CountsResource
    error_class: str | None
    error_message: str | None
    problem_count: int


class RunPageResource(AnswerModel):
    """Runs, newest first."""

    runs: list[RunResource]
    next_cursor: str | None


class StageResource(AnswerModel):
    """One step of a run."""

    name: str
    title: str
    status: str
    started_at: datetime | None
    duration_ms: int | None
    counts: CountsResource
    detail: str


class RejectedRowResource(AnswerModel):
    """A provider row that was set aside, with its own text."""

    kind: str
    symbol: str | None
    provider_id: str | None
    reason: str
    detail: str
    raw: str
    observed_at: datetime | None


class LostAttemptResource(AnswerModel):
    """An attempt whose process gave no sign of life any more."""

    attempt: int
    owner: str
    silent_since: datetime
    noticed_at: datetime
    noticed_by: str


class RunDetailResource(RunResource):
    """A run with its stages in order, its problems and its first rejected rows."""

    problems: list[MarketProblemResource]
    stages: list[StageResource]
    rejected_rows: list[RejectedRowResource]
    lost_attempts: list[LostAttemptResource]

    @classmethod
    def of(cls, detail: RunDetail) -> "RunDetailResource":
        """The resource of what the service loaded."""
        run = RunResource.model_validate(detail.run).model_dump(by_alias=False)
        lists = {
            "problems": detail.run.problems,
            "stages": detail.stages,
            "rejected_rows": detail.rejected,
            "lost_attempts": detail.lost_attempts,
        }
        return cls.model_validate(run | lists)


@operation(summary="List runs", query=RunsQuery, answers={200: RunPageResource})
def list_runs(*, query: RunsQuery) -> RunPageResource:
    """Runs, newest first, narrowed by status, trigger or provider."""
    page = load_runs(
        db.session,
        status=query.status,
        trigger=query.trigger,
        provider=query.provider,
        cursor=query.cursor,
        limit=query.limit,
    )
    return RunPageResource.model_validate(page)


@operation(summary="Show a run", answers={200: RunDetailResource}, problems=[404])
def show_run(*, run_id: str) -> RunDetailResource:
    """One run with its stages, the markets it could not serve and its rejected rows."""
    return RunDetailResource.of(load_run(db.session, run_id))


@operation(
    summary="Stop a run",
    answers={200: RunDetailResource, 202: RunDetailResource},
    problems=[404],
)
def cancel_run(*, run_id: str) -> Reply:
    """Ask a run to end at its next safe point, keeping nothing of it.

    202 while it still has to notice, 200 where it was already finished (which changes nothing).
    """
    house().runner.cancel(run_id)
    detail = load_run(db.session, run_id)
    status = 202 if detail.run.is_active else 200
    location = url_for("api.show_run", run_id=detail.run.id)
    return Reply(RunDetailResource.of(detail), status, {"Location": location})
