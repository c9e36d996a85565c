"""Whole answers kept for a moment: a GET that was just answered is answered again before Flask.

A view declares its answer fit for that by `keep_hot`, naming the version of the data it was made
from. It is given again to requests that are the same in all that an answer may depend on, cookie
and authorization included, while that version is stored, and for `HOT_SECONDS` at most: so no
session, no limit and no switch is ever passed by for longer.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from flask import request
from sqlalchemy.exc import SQLAlchemyError

from app.metrics_counting import observe_cache_read
from app.services.data_version import DataVersion, Versions
from app.web.request_log import (
    REQUEST_ID_HEADER,
    choose_request_id,
    record_request,
    route_template,
)
from app.web.security import SAFE_METHODS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOT_SECONDS: Final = 1.0
MOST_ANSWERS: Final = 512
MOST_BYTES: Final = 16 * 1024 * 1024
_SLOT: Final = "tapedeck.hot_answer"
_DEPENDS_ON: Final = (
    "PATH_INFO",
    "QUERY_STRING",
    "SCRIPT_NAME",
    "HTTP_HOST",
    "wsgi.url_scheme",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_AUTHORIZATION",
    "HTTP_COOKIE",
    "HTTP_IF_NONE_MATCH",
)
# One request that has a body or wants less than all goes its own way.
_PECULIAR: Final = frozenset({"CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_RANGE"})
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Mark:
    data: str
    runs: str | None
    route: str

    def fits(self, present: Versions) -> bool:
        return present.data == self.data and self.runs in (None, present.runs)


@dataclass(frozen=True, slots=True)
class _Answer:
    mark: _Mark
    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ends_at: float


def keep_hot(data: str, *, runs: str | None = None) -> None:
    """The answer to this request, made from the data of version `data`, may be given again.

    `runs` is the version of runs and pauses where it shows those too.
    """
    request.environ[_SLOT] = _Mark(data, runs, route_template())


class HotAnswers:
    """Stands before the application; thread-safe, and bounded in entries and bytes."""

    def __init__(
        self,
        inner: "WSGIApplication",
        *,
        data_version: DataVersion,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner = inner
        self._data_version = data_version
        self._clock = clock
        self._lock = Lock()
        self._answers: dict[Key, _Answer] = {}
        self._bytes = 0

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or any(map(environ.get, _PECULIAR)):
            return self._pass(environ, start_response)
        began = time.perf_counter()
        key = tuple(map(environ.get, _DEPENDS_ON))
        answer = self._answers.get(key)
        if answer is None or not self._is_current(answer):
            return self._ask(key, environ, start_response)
        request_id = choose_request_id(environ)
        start_response(answer.status, [*answer.headers, (REQUEST_ID_HEADER, request_id)])
        observe_cache_read("memory")
        record_request(
            method="GET",
            route=answer.mark.route,
            status=int(answer.status[:3]),
            seconds=time.perf_counter() - began,
            request_id=request_id,
        )
        return [answer.body]

    def _pass(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in SAFE_METHODS:
            return self._inner(environ, start_response)
        statuses: list[str] = []

        def begin(status: str, *more: Any) -> Any:
            statuses.append(status)
            return start_response(status, *more)

        try:
            return self._inner(environ, begin)
        finally:
            # Whoever changed something sees the change with the next request, whichever process
            # that comes to; what was refused holds no thread for it.
            if statuses and statuses[-1] < "400":
                self._data_version.settle()
            else:
                self._data_version.forget()

    def _is_current(self, answer: _Answer) -> bool:
        if answer.ends_at <= self._clock():
            return False
        try:
            return answer.mark.fits(self._data_version.read_all())
        except SQLAlchemyError:
            return False

    def _ask(
        self, key: Key, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def begin(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            begun.append((status, headers))
            return start_response(status, headers, *more)

        body = self._inner(environ, begin)
        mark = environ.get(_SLOT)
        if not isinstance(mark, _Mark) or len(begun) != 1:
            return body
        whole = _read_whole(body)
        self._keep(key, mark, *begun[0], whole)
        return [whole]

    def _keep(
        self, key: Key, mark: _Mark, status: str, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        is_personal = any(name.lower() == "set-cookie" for name, _ in headers)
        if is_personal or status[:3] not in ("200", "304"):
            return
        shared = tuple(pair for pair in headers if pair[0] != REQUEST_ID_HEADER)
        ends_at = self._clock() + HOT_SECONDS
        answer = _Answer(mark, status, shared, body, ends_at)
        with self._lock:
            self._put(key, answer)

    def _put(self, key: Key, answer: _Answer) -> None:
        self._drop(key)
        self._answers[key] = answer
        self._bytes += len(answer.body)
        while len(self._answers) > MOST_ANSWERS or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._answers)))

    def _drop(self, key: Key) -> None:
        dropped = self._answers.pop(key, None)
        if dropped is not None:
            self._bytes -= len(dropped.body)


def _read_whole(body: Iterable[bytes]) -> bytes:
    try:
        return b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
