"""The operator's pages: metrics, schedule, settings and what is running."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response

from app.errors import InvalidRequest
from app.extensions import db
from app.services.about import load_about
from app.services.operation_views import LookBack
from app.services.operations import load_operations
from app.services.overview import freshness_limit
from app.services.process_figures import load_process_figures
from app.services.schedule import (
    UpcomingTicks,
    load_schedule,
    pause_schedule,
    preview_schedule,
    resume_schedule,
)
from app.settings_loader import LoadedSettings
from app.settings_report import EffectiveSetting, effective_settings
from app.web.addresses import read_choice
from app.web.compare_charts import swatch
from app.web.house import house
from app.web.operation_trends import build_trends
from app.web.ops_words import length_words, mark_of, size_words
from app.web.pages import REQUESTED_BY
from app.web.trends import bucket_words, draw_outcomes, instants

ops = Blueprint("ops", __name__)

SETTINGS = "tapedeck_settings"
LONGEST_EXPRESSION = 200
LONGEST_FIELD = 500
MOST_MINUTES = 366 * 24 * 60
KEPT = "kept"


@ops.record_once
def add_words(state: BlueprintSetupState) -> None:
    """Hand the operator's templates what they call, macros included."""
    state.app.jinja_env.globals.update(mark_of=mark_of, swatch=swatch)
    state.app.jinja_env.filters.update(size=size_words, lasting=length_words)


@dataclass(frozen=True, slots=True)
class Preview:
    """Another expression as it was typed, and what it would mean or what is wrong with it."""

    expression: str = ""
    timezone: str = ""
    upcoming: UpcomingTicks | None = None
    problem: str = ""

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The preview that an address asks for; empty without an expression."""
        expression = args.get("expression", "").strip()
        timezone = args.get("timezone", "").strip()[:LONGEST_EXPRESSION]
        if not expression:
            return cls(timezone=timezone)
        try:
            found = preview_schedule(house(), expression=expression, timezone=timezone or None)
        except InvalidRequest as error:
            kept = expression[:LONGEST_EXPRESSION]
            return cls(expression=kept, timezone=timezone, problem=str(error))
        return cls(expression=expression, timezone=timezone, upcoming=found)


# How the message begins that is about a field of the form.
_ABOUT = {
    "reason": "The reason",
    "author": "The author",
    "minutes": "The length",
    "until": "The end",
}


@dataclass(frozen=True, slots=True)
class PauseForm:
    """The form of a pause as it was filled in; `problem` is what is wrong with its `field`."""

    reason: str = ""
    author: str = ""
    minutes: str = ""
    until: str = ""
    problem: str = ""
    field: str = ""

    @classmethod
    def submit(cls, form: Mapping[str, str]) -> Self:
        """Pause the schedule as the form says, or say what is wrong with it."""
        kept = {name: form.get(name, "").strip()[:LONGEST_FIELD] for name in _ABOUT}
        try:
            pause_schedule(
                db.session,
                house(),
                reason=form.get("reason", ""),
                author=form.get("author", "").strip() or REQUESTED_BY,
                until=read_end(form, now=house().clock()),
            )
        except InvalidRequest as error:
            message = str(error)
            field = next(name for name, start in _ABOUT.items() if message.startswith(start))
            return cls(**kept, problem=message, field=field)
        return cls(**kept)


@ops.get("/operations")
def operations() -> str:
    """How the operation went over a stretch of time, and what the processes counted."""
    look_back = read_choice(LookBack, "range", request.args) or LookBack.DAY
    found = load_operations(db.session, house(), look_back)
    limit = freshness_limit(house(), house().clock())
    return render_template(
        "pages/operations.html",
        operations=found,
        trends=build_trends(found, limit=limit),
        outcomes=draw_outcomes(found.buckets),
        instants=instants(found.buckets, look_back),
        bucket_words=bucket_words,
        figures=load_process_figures(),
        look_backs=list(LookBack),
        cache=house().cache_state(),
    )


@ops.get("/schedule")
def schedule() -> tuple[str, int]:
    """When runs are due, what became of the last ticks, and the jobs."""
    preview = Preview.read(request.args)
    return _schedule_page(preview), 422 if preview.problem else 200


@ops.post("/schedule/pause")
def pause() -> Response | tuple[str, int]:
    """Start no more runs for ticks, until an end or until somebody resumes."""
    asked = PauseForm.submit(request.form)
    if asked.problem:
        return _schedule_page(Preview(), asked), 422
    flash("The schedule is paused. Runs by hand still work.", "warning")
    return redirect(url_for(".schedule"), code=303)


@ops.post("/schedule/resume")
def resume() -> Response:
    """Run ticks again from the next one on."""
    was_paused = resume_schedule(db.session, house(), author=REQUESTED_BY)
    words = "The schedule runs again." if was_paused else "The schedule was not paused."
    flash(words, "info")
    return redirect(url_for(".schedule"), code=303)


@ops.get("/settings")
def settings() -> str:
    """The values in force and where they came from, secrets hidden."""
    everything = effective_settings(_loaded())
    given = [setting for setting in everything if setting.origin != "default"]
    only_given = request.args.get("show") == "given"
    return render_template(
        "pages/settings.html",
        sections=_by_section(given if only_given else everything),
        only_given=only_given,
        given_count=len(given),
        total=len(everything),
        warnings=_loaded().warnings,
    )


@ops.get("/about")
def about() -> str:
    """Version, schema, database and processes."""
    return render_template("pages/about.html", about=load_about(db.session, house()))


def read_end(form: Mapping[str, str], *, now: datetime) -> datetime | None:
    """When a pause ends: the instant of `until` (UTC), else `minutes` from now, else never.

    With `kept` for the minutes it is the end that the pause had. `InvalidRequest` for what is none.
    """
    until, minutes = form.get("until", "").strip(), form.get("minutes", "").strip()
    if minutes == KEPT:
        until, minutes = until or form.get("kept_until", "").strip(), ""
    if until:
        try:
            return datetime.fromisoformat(until).replace(tzinfo=UTC)
        except ValueError:
            raise InvalidRequest("The end must be a date and a time.") from None
    if not minutes:
        return None
    if not minutes.isascii() or not minutes.isdigit() or not 0 < int(minutes[:9]) <= MOST_MINUTES:
        raise InvalidRequest("The length of the pause must be 1 minute to 366 days.")
    return now + timedelta(minutes=int(minutes[:9]))


def _schedule_page(preview: Preview, refused: PauseForm | None = None) -> str:
    return render_template(
        "pages/schedule.html",
        schedule=load_schedule(db.session, house()),
        preview=preview,
        refused=refused,
    )


def _loaded() -> LoadedSettings:
    found: LoadedSettings = current_app.extensions[SETTINGS]
    return found


def _by_section(settings: list[EffectiveSetting]) -> dict[str, list[EffectiveSetting]]:
    sections: dict[str, list[EffectiveSetting]] = {}
    for setting in settings:
        sections.setdefault(setting.section, []).append(setting)
    return sections
