"""Whether the process lives and whether it can serve, for probes and load balancers."""

from typing import Literal

from flask import Blueprint

from app.extensions import db
from app.services.health import check_readiness
from app.web.house import house
from app.web.openapi import Access, AnswerModel, Reply, operation

health = Blueprint("health", __name__)


class LivenessResource(AnswerModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadinessResource(AnswerModel):
    """Whether the process can serve, and the state of each part."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, str]


@operation(summary="Is the process alive?", answers={200: LivenessResource}, access=Access.OPEN)
def healthz() -> LivenessResource:
    """Always the same answer; asks nothing of the database."""
    return LivenessResource()


@operation(
    summary="Can the process serve?",
    answers={200: ReadinessResource, 503: ReadinessResource},
    access=Access.OPEN,
)
def readyz() -> Reply:
    """200 when database, schema and scheduler are in order, else 503 with the part that is not."""
    readiness = check_readiness(db.session, house())
    body = ReadinessResource(
        status="ready" if readiness.ready else "not_ready", parts=readiness.parts
    )
    return Reply(body, 200 if readiness.ready else 503)


health.add_url_rule("/healthz", endpoint="healthz", view_func=healthz, methods=["GET"])
health.add_url_rule("/readyz", endpoint="readyz", view_func=readyz, methods=["GET"])
