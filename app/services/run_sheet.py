"""One run in full: its stages, what it changed, the runs it is read beside, and its log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import RunStatus
from app.services.rejected_rows import RejectedFilter
from app.services.run_changes import (
    RunChanges,
    RunRelatives,
    load_run_changes,
    load_run_relatives,
)
from app.services.runs import known_uuid, load_run
from app.services.views import RunDetail, RunView

LEVELS = ("info", "warning", "error")
# What a level shows: its own lines and the worse ones.
_SHOWN = {
    "info": ("info", "warning", "error", "critical"),
    "warning": ("warning", "error", "critical"),
    "error": ("error", "critical"),
}
_LOG = """
    SELECT attempt, logged_at, level, logger, stage, event, fields FROM run_log_line
    WHERE run_id = :id ORDER BY attempt, position
"""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a run's log; `fields` is what it says besides the event."""

    attempt: int
    logged_at: datetime
    level: str
    logger: str
    stage: str
    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogTail:
    """The last lines of a run at `level` and worse, oldest first; `counts` of every level."""

    level: str = "info"
    lines: tuple[LogLine, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunSheet:
    """All that the page of a run shows; `changes` is None where nothing was stored (yet)."""

    detail: RunDetail
    log: LogTail
    relatives: RunRelatives
    changes: RunChanges | None = None


def load_run_sheet(
    session: AnySession,
    run_id: str,
    *,
    level: str = "info",
    rejected: RejectedFilter | None = None,
) -> RunSheet:
    """One run in five queries at most; `NotFound` for an unknown id."""
    detail = load_run(session, run_id, rejected=rejected)
    run = detail.run
    log = load_log_tail(session, run_id, level=level)
    if run.is_active:
        return RunSheet(detail, log, RunRelatives())
    relatives = load_run_relatives(session, run)
    return RunSheet(detail, log, relatives, _changes(session, run, relatives))


def load_log_tail(session: AnySession, run_id: str, *, level: str = "info") -> LogTail:
    """What is kept of a run's log, at `level` and worse."""
    rows = session.execute(text(_LOG), {"id": known_uuid(run_id)})
    lines = [LogLine(**row._mapping) for row in rows]
    counts = {name: sum(line.level in _SHOWN[name] for line in lines) for name in LEVELS}
    shown = tuple(line for line in lines if line.level in _SHOWN[level])
    return LogTail(level=level, lines=shown, counts=counts)


def _changes(session: AnySession, run: RunView, relatives: RunRelatives) -> RunChanges | None:
    if run.status not in (RunStatus.SUCCEEDED, RunStatus.PARTIAL):
        return None
    return load_run_changes(session, run, relatives.previous)
