"""The watch on slow queries: a statement over the threshold leaves a line, never its parameters."""

import logging
import time
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

logger = logging.getLogger(__name__)

STATEMENT_LENGTH = 500
_STARTED = "tapedeck_started"


def watch_slow_queries(engine: Engine, *, threshold_ms: int) -> None:
    """Log every statement of the engine that takes `threshold_ms` or longer, failed or not."""

    def begin(_conn: Any, _cursor: Any, _sql: str, _args: Any, context: Any, _many: bool) -> None:
        if context is not None:
            setattr(context, _STARTED, time.perf_counter())

    def finish(_conn: Any, _cursor: Any, sql: str, _args: Any, context: Any, _many: bool) -> None:
        _judge(context, sql, threshold_ms, failed=False)

    def fail(failure: ExceptionContext) -> None:
        _judge(failure.execution_context, failure.statement or "", threshold_ms, failed=True)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", finish)
    event.listen(engine, "handle_error", fail)


def _judge(context: Any, statement: str, threshold_ms: int, *, failed: bool) -> None:
    started = getattr(context, _STARTED, None)
    if started is None:
        return
    duration_ms = (time.perf_counter() - started) * 1000
    if duration_ms < threshold_ms:
        return
    text = " ".join(statement.split())[:STATEMENT_LENGTH]
    fields = {"duration_ms": round(duration_ms, 1), "statement": text, "failed": failed}
    logger.warning("slow query", extra=fields)
