"""The identity of a request, the one line that the log keeps of it, and its place in the counts."""

import logging
import re
import time
import uuid
from contextlib import ExitStack
from typing import Any

from flask import Flask, Response, g, request

from app.logs import bind
from app.metrics_counting import observe_request

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
UNMATCHED_ROUTE = "(unmatched)"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def current_request_id() -> str:
    """The id of the request that is being served."""
    if "request_id" not in g:
        g.request_id = choose_request_id(request.environ)
    return str(g.request_id)


def choose_request_id(environ: dict[str, Any]) -> str:
    """The caller's `X-Request-Id` where it is harmless, else one made for this request."""
    given = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def route_template() -> str:
    """The route as it is declared (`/api/runs/<run_id>`), so that ids make no new names."""
    return request.url_rule.rule if request.url_rule else UNMATCHED_ROUTE


def record_request(
    *, method: str, route: str, status: int, seconds: float, request_id: str
) -> None:
    """Log and count one request that was answered after `seconds`."""
    logger.info(
        "request served",
        extra={
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "request_id": request_id,
        },
    )
    observe_request(method=method, route=route, status=status, seconds=seconds)


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
    response.headers[REQUEST_ID_HEADER] = current_request_id()
    record_request(
        method=request.method if request.method in _KNOWN_METHODS else "OTHER",
        route=route_template(),
        status=response.status_code,
        seconds=time.perf_counter() - g.get("request_started", time.perf_counter()),
        request_id=current_request_id(),
    )
    return response


def _unbind(_error: BaseException | None) -> None:
    bindings: ExitStack | None = g.pop("request_bindings", None)
    if bindings is not None:
        bindings.close()
