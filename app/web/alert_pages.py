"""The pages about alerts: what is wrong now and was, the rules, and what was sent to whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.alerts.rules import RULES, Severity
from app.errors import InvalidRequest, NotFound
from app.extensions import db
from app.services.alert_deliveries import (
    load_deliveries,
    load_delivery,
    load_receiver,
    replay_deliveries,
    send_test,
)
from app.services.alert_views import DeliveryDetail
from app.services.alert_watch import load_rules
from app.services.alerts import (
    load_alerts,
    load_open_alerts,
    snooze_alert,
)
from app.web.addresses import read_choice
from app.web.house import house
from app.web.pages import REQUESTED_BY

alerts = Blueprint("alerts", __name__, url_prefix="/alerts")

DELIVERY_STATES = ("waiting", "sent", "dead")
SNOOZES = {60: "1 hour", 240: "4 hours", 1440: "1 day", 10_080: "7 days"}
LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class AlertQuery:
    """Which alerts of the past to show."""

    rule: str | None = None
    severity: Severity | None = None
    cursor: str | None = None

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """The query of an address; InvalidRequest for a rule or severity that does not exist."""
        rule = args.get("rule", "").strip()
        if rule and rule not in RULES:
            raise InvalidRequest(f"rule must be one of {', '.join(RULES)}.")
        return cls(
            rule=rule or None,
            severity=read_choice(Severity, "severity", args),
            cursor=args.get("cursor") or None,
        )

    @property
    def is_filtered(self) -> bool:
        """True where the address narrows the alerts."""
        return bool(self.rule or self.severity)

    def address(self, **changes: str | None) -> dict[str, Any]:
        """The arguments of an address with these filters and `changes`, at the newest alert."""
        kept = {"rule": self.rule, "severity": self.severity, "cursor": None} | changes
        return {name: str(value) for name, value in kept.items() if value}


@dataclass(frozen=True, slots=True)
class SnoozeForm:
    """The form of a snooze as it was filled in for an alert; `problem` is what is wrong with it.

    Without a problem `about` names what was snoozed.
    """

    alert_id: int
    minutes: str = ""
    reason: str = ""
    about: str = ""
    problem: str = ""
    field: str = "minutes"

    @classmethod
    def submit(cls, alert_id: int, form: Mapping[str, str]) -> Self:
        """Snooze as the form says, or say what is wrong with it; NotFound for no such alert."""
        minutes = form.get("minutes", "").strip()[:20]
        reason = form.get("reason", "")[:LONGEST_REASON]
        try:
            alert = snooze_alert(
                db.session,
                house(),
                alert_id,
                minutes=read_minutes(form),
                author=REQUESTED_BY,
                reason=reason,
            )
        except InvalidRequest as error:
            return cls(alert_id, minutes, reason, problem=str(error))
        return cls(alert_id, minutes, reason, about=f"{alert.title} {alert.subject}".strip())


@alerts.get("")
def now() -> str:
    """What is wrong now, and where people are told of it."""
    return _open_page()


@alerts.get("/history")
def history() -> str:
    """Every alert, newest first."""
    query = AlertQuery.read(request.args)
    page = load_alerts(
        db.session, house(), rule=query.rule, severity=query.severity, cursor=query.cursor
    )
    return render_template(
        "pages/alert_history.html",
        page=page,
        query=query,
        rules=RULES.values(),
        severities=list(reversed(Severity)),
    )


@alerts.get("/rules")
def rules() -> str:
    """The rules with what they measure now."""
    return render_template("pages/alert_rules.html", rules=load_rules(db.session, house()))


@alerts.get("/deliveries")
def deliveries() -> str:
    """What was or is to be sent, newest first."""
    status = read_delivery_state(request.args)
    cursor = request.args.get("cursor") or None
    return render_template(
        "pages/deliveries.html",
        page=load_deliveries(db.session, status=status, cursor=cursor),
        receiver=load_receiver(db.session, house()),
        status=status or "",
        states=["", *DELIVERY_STATES],
        cursor=cursor,
    )


@alerts.get("/deliveries/<delivery_id>")
def delivery(delivery_id: str) -> str:
    """One delivery with each of its tries."""
    return render_template("pages/delivery.html", detail=load_delivery(db.session, delivery_id))


@alerts.post("/<alert_id>/snooze")
def snooze(alert_id: str) -> Response | tuple[str, int]:
    """Tell nobody of this rule and subject for a while; 0 minutes end that."""
    asked = SnoozeForm.submit(read_alert_id(alert_id), request.form)
    if asked.problem:
        return _open_page(asked), 422
    ends = int(asked.minutes) == 0
    told = f"“{asked.about}” is told of again."
    flash(told if ends else f"Nobody is told of “{asked.about}” for now.", "info")
    return redirect(url_for(".now"), code=303)


@alerts.post("/test")
def test() -> Response:
    """Send a test to the receiver, and show how it went."""
    detail = send_test(db.session, db.engine, house())
    flash(_told(detail), "info" if detail.delivery.status == "sent" else "error")
    return redirect(url_for(".delivery", delivery_id=detail.delivery.id), code=303)


@alerts.post("/replay")
def replay() -> Response:
    """Queue dead deliveries anew, the one that is named or all."""
    chosen = request.form.getlist("id")
    count = replay_deliveries(db.session, house(), *chosen)
    noun = "delivery waits" if count == 1 else "deliveries wait"
    nothing = "Nothing was dead, other than what later news have overtaken."
    flash(f"{count} {noun} to be sent again." if count else nothing, "info")
    return redirect(url_for(".deliveries"), code=303)


def read_delivery_state(args: Mapping[str, str]) -> str | None:
    """The state that an address names; InvalidRequest for another than there are."""
    given = args.get("status", "").strip()
    if given and given not in DELIVERY_STATES:
        raise InvalidRequest(f"status must be one of {', '.join(DELIVERY_STATES)}.")
    return given or None


def read_alert_id(given: str) -> int:
    """The number of an alert in an address; NotFound where it is none."""
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise NotFound(f"There is no alert {given[:40]}.")
    return int(given)


def read_minutes(form: Mapping[str, str]) -> int:
    """The length of a snooze as it was chosen; InvalidRequest where it is no number."""
    given = form.get("minutes", "").strip()
    if not given.isascii() or not given.isdigit() or len(given) > 9:
        raise InvalidRequest("minutes must be a whole number.")
    return int(given)


def _open_page(refused: SnoozeForm | None = None) -> str:
    return render_template(
        "pages/alerts.html",
        alerts=load_open_alerts(db.session, house()),
        receiver=load_receiver(db.session, house()),
        snoozes=SNOOZES,
        refused=refused,
    )


def _told(detail: DeliveryDetail) -> str:
    if detail.delivery.status == "sent":
        return "The receiver took the test."
    return f"The test did not arrive: {detail.delivery.error or 'no answer is known.'}"
