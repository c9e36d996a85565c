"""The identity of a request and the one line that the log keeps of it."""

import logging
import re
import time
import uuid
from contextlib import ExitStack

from flask import Flask, Response, g, request

from app.logs import bind
from app.metrics import observe_request

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
UNMATCHED_ROUTE = "(unmatched)"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def current_request_id() -> str:
    """The caller's `X-Request-Id` where it is harmless, else one made for this request."""
    if "request_id" not in g:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)


def route_template() -> str:
    """The route as it is declared (`/api/runs/<run_id>`), so that ids make no new names."""
    return request.url_rule.rule if request.url_rule else UNMATCHED_ROUTE


def init_app(app: Flask) -> None:
    """Give every request an id and a line in the log. Must come before every other hook."""
    app.before_request(_open)
    app.after_request(_close)
    app.teardown_request(_unbind)


def _open() -> None:
    g.request_started = time.perf_counter()
    g.request_bindings = ExitStack()
    g.request_bindings.enter_context(bind(request_id=current_request_id()))


def _close(response: Response) -> Response:
    seconds = time.perf_counter() - g.get("request_started", time.perf_counter())
    method = request.method if request.method in _KNOWN_METHODS else "OTHER"
    route, status = route_template(), response.status_code
    response.headers[REQUEST_ID_HEADER] = current_request_id()
    logger.info(
        "request served",
        extra={
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
        },
    )
    observe_request(method=method, route=route, status=status, seconds=seconds)
    return response


def _unbind(_error: BaseException | None) -> None:
    bindings: ExitStack | None = g.pop("request_bindings", None)
    if bindings is not None:
        bindings.close()
