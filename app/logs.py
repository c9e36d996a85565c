"""The log: one JSON object a line on stderr, with run id, request id and stage, without secrets.

Keys of every line: `timestamp` (UTC, ISO 8601, milliseconds), `level`, `logger`, `event` (the
constant message), then what is bound to the context and what the call gave in `extra`, and
`exception` where there is one. A key of `extra` that would hide one of the first four gets a `_`.
"""

import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from io import StringIO
from threading import Event, Thread
from time import sleep
from typing import Any, Final, TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

# Longer texts are cut, in characters: messages and fields at the end, an exception at its start,
# because its last lines say what went wrong.
TEXT_LENGTH: Final = 8_192
EXCEPTION_LENGTH: Final = 16_384
ITEMS: Final = 100
DEPTH: Final = 5
MASK: Final = "***"
SHORTEST_SECRET: Final = 4

# How long the line of a request may wait to be written, in seconds.
WAIT_SECONDS: Final = 0.05
_PLENTIFUL = frozenset({"app.web.request_log"})
_NOISY = ("urllib3", "apscheduler", "werkzeug", "asyncio")
_RESERVED = ("timestamp", "level", "logger", "event")
_SENSITIVE_KEY = re.compile(
    r"(?:^|_)(?:password|passwd|secret|token|api_key|authorization|cookie|dsn)$", re.IGNORECASE
)
# What stands before the @ of an address, also where a password holds / or @ (hence greedy).
_USERINFO = re.compile(r"://(?:[^\s:/?#@\"'<>]{0,256}:[^\s\"'<>]{0,256}|[^\s/?#@\"'<>]{1,256})@")

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound_log_fields", default={})  # noqa: B039
_secrets: set[str] = set()
_secret_pattern: re.Pattern[str] | None = None


@contextmanager
def bind(
    *, run_id: object = None, request_id: object = None, stage: object = None
) -> Iterator[None]:
    """Put these fields on every line logged inside the block, in this thread or task."""
    given = {"run_id": run_id, "request_id": request_id, "stage": stage}
    fields = {key: str(value) for key, value in given.items() if value is not None}
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bound(field: str) -> str | None:
    """What the lines logged here and now carry as `run_id`, `request_id` or `stage`."""
    return _bound.get().get(field)


def register_secret(value: str | None) -> None:
    """Mask this value wherever it is about to be logged, as it is or escaped for an address.

    Values of under `SHORTEST_SECRET` characters are left alone: masking them would garble all else.
    """
    global _secret_pattern
    secret = (value or "").strip()
    if len(secret) < SHORTEST_SECRET:
        return
    _secrets.update({secret, quote(secret, safe=""), repr(secret)[1:-1]})
    longest_first = sorted(_secrets, key=len, reverse=True)
    _secret_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """The text with registered secrets and the user and password of addresses masked."""
    if _secret_pattern is not None:
        text = _secret_pattern.sub(MASK, text)
    return _USERINFO.sub(f"://{MASK}@", text) if "://" in text else text


def configure_logging(level: str, *, stream: TextIO | None = None) -> None:
    """Send all logs as JSON lines to `stream` (stderr); a second call replaces the first."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _JsonHandler)]:
        root.removeHandler(handler)
    root.addHandler(_JsonHandler(stream or sys.stderr))
    root.setLevel(level.upper())
    # No line says which thread or process it comes from, so nobody needs to look that up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class LineFormatter(JsonFormatter):
    """A log record as one line of JSON that any parser takes."""

    def __init__(self) -> None:
        super().__init__(timestamp=False)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Order the keys, rename what would hide one of ours, clean every value."""
        given: dict[str, Any] = {}
        super().add_fields(given, record, {})
        given.update(message_dict)
        given.pop("message", None)
        exception = given.pop("exc_info", None)
        event = str(given.pop("event", "")) if isinstance(record.msg, dict) else record.message
        log_data.update(
            timestamp=_utc(datetime.fromtimestamp(record.created, UTC)),
            level=record.levelname.lower(),
            logger=record.name,
            event=_cut(event),
            **_bound.get(),
        )
        for key, value in list(given.items())[:ITEMS]:
            name = _cut(str(key))
            log_data[f"{name}_" if name in _RESERVED else name] = _clean_item(name, value)
        if exception:
            log_data["exception"] = _cut_start(str(exception))

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """ASCII only, so that no terminal or parser sees a line break that JSON allows."""
        return str(self.json_serializer(log_data, allow_nan=False, ensure_ascii=True))


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes lines; a record that can't be written becomes a line that says so.

    Lines of requests wait for each other a moment and are written together: with a write each,
    the threads of a busy server stand in line for it. Any other line is written at once, after
    those that wait.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(LineFormatter())
        self._waiting = StringIO()
        self._has_waiting = Event()
        self._writer: Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or let it wait if it is one of a request that went well."""
        if record.name not in _PLENTIFUL or record.levelno >= logging.WARNING:
            self._write_waiting()
            super().emit(record)
            return
        shown, self.stream = self.stream, self._waiting
        try:
            super().emit(record)
        finally:
            self.stream = shown
        if not self._has_waiting.is_set():
            self._has_waiting.set()
            self._start_writer()

    def flush(self) -> None:
        """Write what waits."""
        if self.stream is not self._waiting:
            self._write_waiting()
            super().flush()

    def _start_writer(self) -> None:
        # In the process that logs: no thread outlives a fork.
        if self._writer is None or not self._writer.is_alive():
            self._writer = Thread(target=self._write_now_and_then, name="log", daemon=True)
            self._writer.start()

    def _write_now_and_then(self) -> None:
        while True:
            self._has_waiting.wait()
            sleep(WAIT_SECONDS)
            self._has_waiting.clear()
            self.acquire()
            try:
                self._write_waiting()
            finally:
                self.release()

    def _write_waiting(self) -> None:
        lines = self._waiting.getvalue()
        if lines:
            self._waiting.seek(0)
            self._waiting.truncate()
            with suppress(OSError, ValueError):  # nobody is there to read, or no longer
                self.stream.write(lines)
                self.stream.flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if isinstance(error, (OSError, RecursionError)) or self.stream.closed:
            return
        substitute = logging.LogRecord(
            record.name, record.levelno, record.pathname, record.lineno,
            "log record could not be written", None, None,
        )  # fmt: skip
        substitute.error = type(error).__name__
        substitute.line = f"{record.pathname}:{record.lineno}"
        self.stream.write(self.format(substitute) + self.terminator)


def _clean_item(key: str, value: object, depth: int = 0) -> object:
    return MASK if value and _is_sensitive(key) else _clean(value, depth)


@lru_cache(maxsize=1024)
def _is_sensitive(key: str) -> bool:
    return _SENSITIVE_KEY.search(key) is not None


def _clean(value: object, depth: int) -> object:
    """A value that JSON can carry: numbers stay numbers, all else becomes redacted text."""
    match value:
        case str():
            return _cut(value)
        case None | bool():
            return value
        case int():
            return int(value) if abs(value) < 2**63 else hex(value)
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case Decimal():
            return _plain(value)
        case datetime():
            return _utc(value)
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case Mapping() if depth < DEPTH:
            items = list(value.items())[:ITEMS]
            return {_cut(str(key)): _clean_item(str(key), one, depth + 1) for key, one in items}
        case list() | tuple() | Set() if depth < DEPTH:
            return [_clean(one, depth + 1) for one in list(value)[:ITEMS]]
        case BaseException():
            return _cut(f"{type(value).__name__}: {value}")
    return _cut(str(value))


def _plain(value: Decimal) -> str:
    """Digits without an exponent, unless there would be hundreds of zeros."""
    return f"{value:f}" if value.is_finite() and abs(value.adjusted()) <= 60 else str(value)


def _utc(instant: datetime) -> str:
    text = instant.isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _cut(text: str) -> str:
    text = redact(text)
    if len(text) <= TEXT_LENGTH:
        return text
    return f"{text[:TEXT_LENGTH]}… ({len(text) - TEXT_LENGTH} characters more)"


def _cut_start(text: str) -> str:
    text = redact(text)
    if len(text) <= EXCEPTION_LENGTH:
        return text
    return f"({len(text) - EXCEPTION_LENGTH} characters before) …{text[-EXCEPTION_LENGTH:]}"
