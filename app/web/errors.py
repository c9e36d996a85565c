"""What a failed request is told: a page for people, a problem for programs, never the inside."""

import logging
from dataclasses import dataclass, field
from html import escape

from flask import Flask, Response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from jinja2 import Template
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app.errors import (
    AppError,
    InvalidRequest,
    NotFound,
    RunAlreadyActive,
    RunStopped,
    StorageError,
)
from app.web.problems import CODES, MAX_DETAILS, problem_response, title_of
from app.web.request_log import current_request_id
from app.web.security import SAFE_METHODS

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "5"
TITLES = {
    400: "Not understood",
    403: "Not allowed",
    404: "Nothing here",
    405: "Not this way",
    413: "Too much at once",
    422: "That cannot be done",
    429: "Too many requests",
    500: "Internal error",
    503: "The database does not answer",
}
MESSAGES = {
    400: "The request could not be understood.",
    401: "This needs the operator token.",
    403: "This is not allowed.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request is larger than 64 kB.",
    415: "The body must be JSON.",
    429: "Too many requests; try again in a moment.",
    500: "Something failed inside. The log has the details under the request id.",
    503: "The database cannot be reached at the moment; try again in a few seconds.",
}
PLAIN_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{status} {title}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="stylesheet" href="/static/css/app.css"></head><body><main>'
    '<section class="panel error-page"><p class="error-status">{status}</p><h1>{title}</h1>'
    "<p>{message}</p><p>Request <code>{request_id}</code></p>"
    '<p><a href="/">Overview</a></p></section></main></body></html>\n'
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A refusal before it takes the shape of a page or a problem."""

    status: int
    message: str
    code: str
    headers: dict[str, str] = field(default_factory=dict)
    details: list[str] | None = None
    run_id: str | None = None
    title: str = ""  # of the page, where it is not that of the status


def init_app(app: Flask) -> None:
    """Install the handlers; from here on no exception reaches the server."""
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(CSRFError, _on_stale_form)
    app.register_error_handler(AppError, _on_app_error)
    for database_error in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(database_error, _on_database_error)
    app.register_error_handler(Exception, _on_unexpected_error)


def prefers_problem() -> bool:
    """Whether the caller is a program: anything under /api, or one that would rather have JSON."""
    if request.path == "/api" or request.path.startswith("/api/"):
        return True
    offers = ["text/html", "application/json", "application/problem+json"]
    return request.accept_mimetypes.best_match(offers, default="text/html") != "text/html"


def _on_http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if error.response is not None:
        return error.get_response()
    if status >= 500 and not hasattr(error, "problem_code"):
        logger.error("request failed", exc_info=error)
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    failure = Failure(
        status=status,
        message=_message(error, status),
        code=getattr(error, "problem_code", CODES.get(status, "error")),
        headers=headers,
        details=list(getattr(error, "details", ()))[:MAX_DETAILS] or None,
    )
    return _respond(failure)


def _message(error: HTTPException, status: int) -> str:
    own_words = error.description != type(error).description or hasattr(error, "problem_code")
    if own_words and error.description:
        return error.description
    return MESSAGES.get(status, error.description or title_of(status))


def _on_stale_form(error: CSRFError) -> Response:
    return _respond(Failure(403, "This form has expired; load its page again.", "stale_form"))


def _on_app_error(error: AppError) -> Response:
    match error:
        case NotFound():
            return _respond(Failure(404, str(error) or MESSAGES[404], CODES[404]))
        case InvalidRequest():
            details = list(error.details[:MAX_DETAILS]) or None
            return _respond(Failure(422, str(error), CODES[422], details=details))
        case RunAlreadyActive():
            headers = {"Location": url_for("api.show_run", run_id=error.run_id)}
            return _respond(
                Failure(409, str(error), CODES[409], headers=headers, run_id=error.run_id)
            )
        case StorageError():
            return _on_database_error(error)
        case RunStopped():
            return _respond(_stopping(error))
        case _:
            return _on_unexpected_error(error)


def _stopping(error: RunStopped) -> Failure:
    """A run was asked of a process that ends; the one that follows, or another, takes it."""
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return Failure(503, str(error), "stopping", headers=headers, title="This process is stopping")


def _on_database_error(error: Exception) -> Response:
    # The statement and its values stay out of the log: SQLAlchemy's own text repeats them.
    cause = error.orig if isinstance(error, DBAPIError) else error
    logger.warning(
        "database unavailable",
        extra={"error_class": type(cause).__name__, "error": str(cause).strip()[:300]},
    )
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return _respond(Failure(503, MESSAGES[503], CODES[503], headers=headers))


def _on_unexpected_error(error: Exception) -> Response:
    logger.error("request failed", exc_info=error)
    return _respond(Failure(500, MESSAGES[500], CODES[500]))


def _respond(failure: Failure) -> Response:
    if not prefers_problem():
        return _page(failure)
    return problem_response(
        status=failure.status,
        code=failure.code,
        detail=failure.message,
        headers=failure.headers,
        details=failure.details,
        runId=failure.run_id,
    )


def _page(failure: Failure) -> Response:
    values = {
        "status": failure.status,
        "title": failure.title or TITLES.get(failure.status, title_of(failure.status)),
        "message": failure.message,
        "request_id": current_request_id(),
        "details": failure.details,
        # What was sent in a form must not be sent again by a click or by itself.
        "is_repeatable": request.method in SAFE_METHODS,
    }
    names: list[str | Template] = [f"errors/{failure.status}.html", "errors/error.html"]
    try:
        html = render_template(names, **values)
    except Exception:
        # The page may need what has just failed; its reader gets a plain one.
        logger.warning("error page failed", exc_info=True)
        html = PLAIN_PAGE.format(**{name: escape(str(value)) for name, value in values.items()})
    response = Response(html, failure.status, mimetype="text/html")
    response.headers.update(failure.headers)
    return response
