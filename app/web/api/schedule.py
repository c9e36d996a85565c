"""The schedule over JSON: its ticks and jobs, other expressions, pausing and resuming."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from app.domain import RunStatus, TickStatus
from app.extensions import db
from app.services.schedule import (
    TICKS_SHOWN_AT_MOST,
    ScheduleView,
    load_schedule,
    pause_schedule,
    preview_schedule,
    resume_schedule,
)
from app.web.house import house
from app.web.openapi import AnswerModel, BodyModel, QueryModel, operation

AUTHOR = "api"
Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ScheduleQuery(QueryModel):
    """How much of the past."""

    ticks: int = Field(default=50, ge=1, le=TICKS_SHOWN_AT_MOST, description="Ticks shown.")


class PreviewQuery(QueryModel):
    """Another schedule."""

    expression: Words = Field(description="Five cron fields, or a macro such as @hourly.")
    timezone: Words | None = Field(default=None, description="A zone; that of the settings.")


class PauseBody(BodyModel):
    """Why, by whom, and until when; without an end until it is resumed."""

    reason: str = Field(min_length=1, max_length=500)
    author: str = Field(default=AUTHOR, min_length=1, max_length=100)
    until: datetime | None = None


class ResumeBody(BodyModel):
    """By whom."""

    author: str = Field(default=AUTHOR, min_length=1, max_length=100)


class UpcomingResource(AnswerModel):
    """An expression in words, and when it is due next."""

    expression: str
    timezone: str
    words: str
    next_ticks: list[datetime]


class PauseResource(AnswerModel):
    """The pause in force."""

    paused_at: datetime
    paused_by: str
    reason: str
    until_at: datetime | None


class TickResource(AnswerModel):
    """One due moment, and what became of it."""

    due_at: datetime
    status: TickStatus
    claimed_by: str
    claimed_at: datetime
    delay_seconds: float
    reason: str
    run_id: str | None
    run_status: RunStatus | None
    duration_ms: int | None


class JobResource(AnswerModel):
    """A job of the scheduler with its last and next time."""

    name: str
    title: str
    last_at: datetime | None
    last_by: str
    duration_ms: int | None
    trouble: str
    next_at: datetime | None


class ScheduleResource(UpcomingResource):
    """The schedule with its last ticks, newest first, and its jobs."""

    is_enabled: bool
    is_paused: bool
    pause: PauseResource | None
    poll_seconds: float
    ticks: list[TickResource]
    jobs: list[JobResource]

    @classmethod
    def of(cls, view: ScheduleView) -> "ScheduleResource":
        """The resource of what the service loaded."""
        upcoming = UpcomingResource.model_validate(view.upcoming).model_dump(by_alias=False)
        names = ("is_enabled", "is_paused", "pause", "poll_seconds", "ticks", "jobs")
        return cls.model_validate(upcoming | {name: getattr(view, name) for name in names})


@operation(summary="Show the schedule", query=ScheduleQuery, answers={200: ScheduleResource})
def show_schedule(*, query: ScheduleQuery) -> ScheduleResource:
    """The expression in words, the next ticks, the pause in force, the last ticks and the jobs."""
    return ScheduleResource.of(load_schedule(db.session, house(), ticks=query.ticks))


@operation(
    summary="Preview a schedule",
    query=PreviewQuery,
    answers={200: UpcomingResource},
    problems=[422],
)
def preview_ticks(*, query: PreviewQuery) -> UpcomingResource:
    """What another expression would mean: its words and its next five ticks. Changes nothing."""
    found = preview_schedule(house(), expression=query.expression, timezone=query.timezone)
    return UpcomingResource.model_validate(found)


@operation(
    summary="Pause the schedule",
    body=PauseBody,
    answers={200: ScheduleResource},
    problems=[422],
)
def pause_ticks(*, body: PauseBody) -> ScheduleResource:
    """Start no run for a tick from now on; runs by hand still start, and an active one goes on.

    A second call replaces reason, author and end.
    """
    pause_schedule(db.session, house(), reason=body.reason, author=body.author, until=body.until)
    return ScheduleResource.of(load_schedule(db.session, house()))


@operation(
    summary="Resume the schedule",
    body=ResumeBody,
    answers={200: ScheduleResource},
    problems=[422],
)
def resume_ticks(*, body: ResumeBody) -> ScheduleResource:
    """Run ticks again from the next one on; changes nothing where the schedule is not paused."""
    resume_schedule(db.session, house(), author=body.author)
    return ScheduleResource.of(load_schedule(db.session, house()))
