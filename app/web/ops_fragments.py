"""The refreshable parts of the operator's pages."""

from flask import Blueprint, Response, make_response, render_template, request

from app.extensions import db
from app.services.alerts import load_open_alerts
from app.services.schedule import load_schedule
from app.web.alert_pages import SNOOZES
from app.web.fragments import keep_nothing
from app.web.house import house
from app.web.ops import Preview

ops_fragments = Blueprint("ops_fragments", __name__, url_prefix="/fragments")
ops_fragments.after_request(keep_nothing)


@ops_fragments.get("/schedule-state")
def schedule_state() -> str:
    """Whether the schedule runs, and its next ticks."""
    schedule = load_schedule(db.session, house(), ticks=1)
    return render_template("fragments/_schedule_state.html", schedule=schedule)


@ops_fragments.get("/ticks")
def ticks() -> str:
    """What became of the last ticks."""
    schedule = load_schedule(db.session, house())
    return render_template("fragments/_ticks.html", schedule=schedule)


@ops_fragments.get("/jobs")
def jobs() -> str:
    """The jobs of the scheduler."""
    schedule = load_schedule(db.session, house())
    return render_template("fragments/_jobs.html", schedule=schedule)


@ops_fragments.get("/schedule-preview")
def schedule_preview() -> Response:
    """What another expression would mean; 422 with what is wrong with it."""
    preview = Preview.read(request.args)
    body = render_template("fragments/_schedule_preview.html", preview=preview)
    return make_response(body, 422 if preview.problem else 200)


@ops_fragments.get("/alerts-open")
def alerts_open() -> str:
    """What is wrong now."""
    alerts = load_open_alerts(db.session, house())
    return render_template("fragments/_alerts_open.html", alerts=alerts, snoozes=SNOOZES)
