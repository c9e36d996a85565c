"""Errors as RFC 9457 problem details: one shape for every refusal of the API."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flask import Response, current_app, request
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import BadRequest, Forbidden, ServiceUnavailable, Unauthorized
from werkzeug.http import HTTP_STATUS_CODES

from app.web.request_log import current_request_id

MEDIA_TYPE = "application/problem+json"
MAX_DETAILS = 10
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "run_already_active",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}


class Problem(BaseModel):
    """What went wrong. `code` is for programs, `detail` for people."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = Field(description="The name of the HTTP status.")
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="A short, stable word for the kind of problem.")
    request_id: str = Field(
        alias="requestId", description="The same as in the X-Request-Id header and in the log."
    )
    details: list[str] | None = Field(default=None, description="Up to ten single faults.")
    run_id: str | None = Field(default=None, alias="runId", description="The run in the way.")


class MalformedBody(BadRequest):
    """The body is not what the route declares; `details` names up to ten faults."""

    problem_code: ClassVar[str] = "malformed_body"

    def __init__(self, description: str, details: Sequence[str] = ()) -> None:
        super().__init__(description)
        self.details = tuple(details)


class CrossOrigin(Forbidden):
    """A browser sent this change on behalf of another site, or cannot say that it did not."""

    problem_code: ClassVar[str] = "cross_origin"
    description = "Changes are accepted from this site's own pages only."


class Prefetched(Forbidden):
    """A browser asked ahead of its user; nothing that changes anything may answer that."""

    problem_code: ClassVar[str] = "prefetch"
    description = "This address changes something and is not to be fetched ahead."


class TokenRequired(Unauthorized):
    """The bearer token is missing or wrong."""

    def __init__(self, description: str) -> None:
        super().__init__(
            description, www_authenticate=WWWAuthenticate("bearer", {"realm": "tapedeck"})
        )


class DoorShut(ServiceUnavailable):
    """The door has no key: its secret is not set."""

    problem_code: ClassVar[str] = "not_configured"


def title_of(status: int) -> str:
    """The name of an HTTP status, the same on every Python."""
    return HTTP_STATUS_CODES.get(status, "Error")


def problem_response(
    *,
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """A problem+json response; `members` are extension members, left out where they are None."""
    body = {
        "type": "about:blank",
        "title": title_of(status),
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "requestId": current_request_id(),
    }
    body |= {name: value for name, value in members.items() if value is not None}
    response = Response(current_app.json.dumps(body) + "\n", status, mimetype=MEDIA_TYPE)
    response.headers.update(headers or {})
    return response
