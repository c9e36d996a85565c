"""The log of a run as its page shows it: its last lines, kept beside the run's row.

The lines are those of the log itself, with the same secrets masked. They are written in one
statement when a stage or the run ends; a line that can't be written is lost, the run is not.
"""

import json
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.ingestion.run_row import RunTicket
from app.logs import LineFormatter, bound

logger = logging.getLogger(__name__)

LINES_KEPT = 200
# In characters; of longer texts the end is kept, where an exception says what went wrong.
TEXT_KEPT = 2_000
_COLUMNS = ("level", "logger", "stage", "event")
_LEFT_OUT = (*_COLUMNS, "timestamp", "run_id", "attempt")
_INSERT = """
    INSERT INTO run_log_line
        (run_id, attempt, position, logged_at, level, logger, stage, event, fields)
    SELECT :id, :attempt, l.position, l.logged_at, l.level, l.logger, l.stage, l.event, l.fields
    FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS l(
        position int, logged_at timestamptz, level text, logger text, stage text, event text,
        fields jsonb)
    ON CONFLICT (run_id, attempt, position) DO NOTHING
"""
_PRUNE = """
    DELETE FROM run_log_line
    WHERE run_id = :id AND attempt = :attempt AND position < :oldest
"""


class RunLog(logging.Handler):
    """Collects what is logged under a run's id, from whatever thread; writes when it is told to."""

    def __init__(self, engine: Engine, ticket: RunTicket) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(LineFormatter())
        self._engine, self._ticket = engine, ticket
        self._run_id = str(ticket.run_id)
        self._waiting: deque[dict[str, Any]] = deque(maxlen=LINES_KEPT)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record in mind, if it belongs to the run."""
        if bound("run_id") != self._run_id:
            return
        try:
            line = _read(self.format(record))
        except (TypeError, ValueError):
            return  # the log itself says what could not be written
        self._waiting.append(line | {"position": self._count})
        self._count += 1

    def store_lines(self) -> None:
        """Write what has come since the last time; trouble is logged and goes no further."""
        self.acquire()  # what logging holds while it emits
        lines = list(self._waiting)
        self._waiting.clear()
        self.release()
        if not lines:
            return
        values = self._ticket.values | {"lines": _as_json(lines)}
        try:
            with self._engine.begin() as connection:
                connection.execute(text(_INSERT), values)
                if self._count > LINES_KEPT:
                    oldest = {"oldest": self._count - LINES_KEPT}
                    connection.execute(text(_PRUNE), self._ticket.values | oldest)
        except (SQLAlchemyError, OSError) as error:
            logger.warning("run log not stored", extra={"reason": type(error).__name__})


@contextmanager
def keep_run_log(engine: Engine, ticket: RunTicket) -> Iterator[RunLog]:
    """Keep what is logged under the run's id inside the block."""
    log = RunLog(engine, ticket)
    root = logging.getLogger()
    root.addHandler(log)
    try:
        yield log
    finally:
        root.removeHandler(log)
        log.store_lines()


def _read(line: str) -> dict[str, Any]:
    """A line of the log as a row without its run."""
    found = json.loads(line)
    row = {name: str(found.get(name, ""))[-TEXT_KEPT:] for name in _COLUMNS}
    fields = {name: _short(value) for name, value in found.items() if name not in _LEFT_OUT}
    return row | {"logged_at": found["timestamp"], "fields": fields}


def _short(value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(value)
    return value[-TEXT_KEPT:] if isinstance(value, str) else value


def _as_json(lines: list[dict[str, Any]]) -> str:
    """JSON that PostgreSQL takes: no NUL, no half of a surrogate pair."""
    dumped = json.dumps(lines, ensure_ascii=False).replace("\\u0000", "\\ufffd")
    return dumped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
