"""The run's own row: opened, kept alive and closed apart from the data it brings.

The attempt number is the fencing token: every update is conditional on it, so a process that lost
its lease cannot close a run that another one took up. All instants are the database's.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from app.database.identity import process_name
from app.database.run_counts import count_finished_runs
from app.database.transactions import keep_brief
from app.domain import MarketProblem, RunStatus, Trigger
from app.errors import RunAlreadyActive, RunStopped
from app.failpoints import reach
from app.ingestion.context import StageCounts
from app.ingestion.dead_runs import Succession, close_unattended_runs
from app.ingestion.pipeline import RunReport
from app.ingestion.rejected_rows import RejectedRows
from app.ingestion.stages import TITLES

PROBLEMS_KEPT = 1000
_MINE = "id = :id AND attempt = :attempt AND status = 'running'"
_OPEN = """
    INSERT INTO ingestion_run (id, status, trigger, provider, symbols, requested_by, due_at,
                               parent_run_id, config_fingerprint, owner, lease_until, deadline_at)
    VALUES (:id, 'running', :trigger, :provider, :symbols, :requested_by, :due_at,
            (SELECT id FROM ingestion_run WHERE id = :parent_run_id), :fingerprint, :owner,
            clock_timestamp() + make_interval(secs => :lease),
            clock_timestamp() + make_interval(secs => :deadline))
"""
_IS_CANCELLED = f"""
    SELECT cancel_requested_at IS NOT NULL FROM ingestion_run WHERE {_MINE}
"""  # noqa: S608 - the condition stands above
# A run that does not heed its deadline is as good as dead one lease later.
_BEAT = f"""
    UPDATE ingestion_run
    SET heartbeat_at = clock_timestamp(),
        lease_until = least(clock_timestamp(), deadline_at) + make_interval(secs => :lease)
    WHERE {_MINE}
    RETURNING cancel_requested_at IS NOT NULL AS is_cancelled,
              deadline_at <= clock_timestamp() AS is_late
"""  # noqa: S608 - the condition stands above
_STATUS = """
    SELECT status FROM ingestion_run WHERE id = :id AND attempt = :attempt FOR SHARE
"""
_CLOSE = f"""
    UPDATE ingestion_run
    SET status = :status, finished_at = clock_timestamp(), stage = '',
        duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000,
        markets_requested = :markets_requested, markets_ingested = :markets_ingested,
        snapshots_ingested = :snapshots, aggregates_ingested = :aggregates,
        comparisons_ingested = :comparisons, roi_stats_ingested = :roi_stats,
        fetched = :fetched, inserted = :inserted, updated = :updated, unchanged = :unchanged,
        rejected = :rejected, rejected_reasons = CAST(:rejected_reasons AS jsonb),
        error_class = :error_class, error_message = :error_message,
        problem_count = :problem_count, problems = CAST(:problems AS jsonb)
    WHERE {_MINE}
"""  # noqa: S608
# A stage that begins again, its transaction being repeated, begins with nothing behind it.
_STAGE_STARTED = """
    WITH later AS (
        DELETE FROM run_stage
        WHERE run_id = :id AND attempt = :attempt AND position > :position
    )
    INSERT INTO run_stage (run_id, attempt, position, name, status, started_at)
    VALUES (:id, :attempt, :position, :name, 'running', clock_timestamp())
    ON CONFLICT (run_id, attempt, position) DO UPDATE
    SET status = excluded.status, started_at = excluded.started_at, duration_ms = NULL, fetched = 0,
        inserted = 0, updated = 0, unchanged = 0, rejected = 0, detail = ''
"""
_STAGE_FINISHED = """
    UPDATE run_stage
    SET status = :status, fetched = :fetched, inserted = :inserted, updated = :updated,
        unchanged = :unchanged, rejected = :rejected, detail = :detail,
        duration_ms = extract(epoch FROM clock_timestamp() - started_at) * 1000
    WHERE run_id = :id AND attempt = :attempt AND name = :name
"""
_ROLLED_BACK = """
    UPDATE run_stage SET status = 'rolled_back', inserted = 0, updated = 0, unchanged = 0
    WHERE run_id = :id AND attempt = :attempt AND status = 'succeeded'
      AND name NOT IN ('fetch', 'validate')
"""


@dataclass(frozen=True, slots=True)
class RunTicket:
    """What a process needs to work on a run: its id and the attempt it holds."""

    run_id: UUID
    attempt: int = 1
    seconds_left: float | None = None  # until the deadline; None: all of the time a run has

    @property
    def values(self) -> dict[str, Any]:
        """As parameters of the statements here."""
        return {"id": self.run_id, "attempt": self.attempt}


def owner_name() -> str:
    """Who works on a run: the name of this process."""
    return process_name()


def open_run(
    connection: Connection,
    run_id: UUID,
    *,
    trigger: Trigger,
    provider: str,
    symbols: Sequence[str],
    requested_by: str,
    due_at: datetime | None,
    fingerprint: str,
    succession: Succession,
    deadline_seconds: float,
    parent_run_id: UUID | None = None,
) -> RunTicket:
    """Take the single place of an active run; `RunAlreadyActive` names who has it.

    A dead run that nobody goes on with is closed and makes room. `parent_run_id` names the run
    that this one repeats; one that does not exist (any more) is left out.
    """
    close_unattended_runs(connection, succession)
    count_finished_runs(connection)
    values = {
        "id": run_id,
        "trigger": trigger.value,
        "provider": provider,
        "symbols": list(symbols),
        "requested_by": requested_by,
        "due_at": due_at,
        "parent_run_id": parent_run_id,
        "fingerprint": fingerprint,
        "owner": process_name(),
        "lease": succession.lease_seconds,
        "deadline": deadline_seconds,
    }
    try:
        with connection.begin_nested():
            connection.execute(text(_OPEN), values)
    except IntegrityError:
        active = connection.execute(
            text("SELECT id FROM ingestion_run WHERE status = 'running'")
        ).scalar()
        raise RunAlreadyActive(str(active or run_id)) from None
    return RunTicket(run_id)


def beat(engine: Engine, ticket: RunTicket, *, lease_seconds: float) -> str:
    """Renew the lease, if only to one lease after the deadline.

    Answers `alive`, `cancelled`, `late` (the deadline is over) or `lost`.
    """
    with engine.begin() as connection:
        row = connection.execute(text(_BEAT), ticket.values | {"lease": lease_seconds}).first()
    if row is None:
        return "lost"
    if row.is_cancelled:
        return "cancelled"
    return "late" if row.is_late else "alive"


def is_kept(engine: Engine, ticket: RunTicket) -> bool:
    """True when this attempt's data and final status are committed.

    Waits for a transaction that is still being committed. Raises `SQLAlchemyError` where the
    database can't say.
    """
    with engine.begin() as connection:
        keep_brief(connection)
        status = connection.execute(text(_STATUS), ticket.values).scalar()
    return status in (RunStatus.SUCCEEDED, RunStatus.PARTIAL)


def is_cancelled(engine: Engine, ticket: RunTicket) -> bool:
    """True when somebody asked the run to stop."""
    with engine.connect() as connection:
        return bool(connection.execute(text(_IS_CANCELLED), ticket.values).scalar())


def close_with_report(connection: Connection, ticket: RunTicket, report: RunReport) -> None:
    """Set the final status inside the data's transaction; `RunStopped` when the lease is lost."""
    reach("before-close")
    values = _report_values(report)
    _close(connection, ticket, values | {"error_class": None, "error_message": None})
    reach("before-commit")


def close_with_error(
    engine: Engine,
    ticket: RunTicket,
    *,
    status: RunStatus,
    error_class: str,
    message: str,
    problems: Sequence[MarketProblem] = (),
    rejected: RejectedRows | None = None,
    counts: StageCounts | None = None,
) -> None:
    """Close a run of which nothing was kept, with the reason and what was set aside."""
    totals = counts or StageCounts()
    report = RunReport(
        status=status,
        markets_requested=0,
        markets_ingested=0,
        ingested={},
        totals=StageCounts(fetched=totals.fetched, rejected=rejected.count if rejected else 0),
        problems=tuple(problems),
        rejected=(),
        rejected_reasons=rejected.reasons if rejected else {},
    )
    with engine.begin() as connection:
        if rejected:
            rejected.store(connection)
        connection.execute(text(_ROLLED_BACK), ticket.values)
        values = _report_values(report)
        _close(connection, ticket, values | {"error_class": error_class, "error_message": message})


class RunRecorder:
    """Writes each stage's beginning and end at once, outside the data's transaction."""

    def __init__(self, engine: Engine, ticket: RunTicket) -> None:
        self._engine, self._ticket = engine, ticket

    def stage_started(self, name: str) -> None:
        """Show that a stage runs."""
        values = self._ticket.values | {"name": name, "position": list(TITLES).index(name)}
        with self._engine.begin() as connection:
            connection.execute(text(_STAGE_STARTED), values)
            # The condition stands above.
            statement = f"UPDATE ingestion_run SET stage = :name WHERE {_MINE}"  # noqa: S608
            connection.execute(text(statement), values)

    def stage_finished(self, name: str, counts: StageCounts, *, status: str) -> None:
        """Show what a stage did."""
        values = self._ticket.values | {
            "name": name,
            "status": status,
            "fetched": counts.fetched,
            "inserted": counts.inserted,
            "updated": counts.updated,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "detail": counts.detail,
        }
        with self._engine.begin() as connection:
            connection.execute(text(_STAGE_FINISHED), values)


def _report_values(report: RunReport) -> dict[str, Any]:
    totals = report.totals
    kept = report.problems[:PROBLEMS_KEPT]
    return {
        "status": report.status.value,
        "markets_requested": report.markets_requested,
        "markets_ingested": report.markets_ingested,
        "snapshots": report.ingested.get("snapshots", 0),
        "aggregates": report.ingested.get("aggregates", 0),
        "comparisons": report.ingested.get("comparisons", 0),
        "roi_stats": report.ingested.get("roi_stats", 0),
        "fetched": totals.fetched,
        "inserted": totals.inserted,
        "updated": totals.updated,
        "unchanged": totals.unchanged,
        "rejected": totals.rejected,
        "rejected_reasons": json.dumps(report.rejected_reasons),
        "problem_count": len(report.problems),
        "problems": json.dumps([asdict(problem) for problem in kept]),
    }


def _close(connection: Connection, ticket: RunTicket, values: dict[str, Any]) -> None:
    if connection.execute(text(_CLOSE), ticket.values | values).rowcount != 1:
        raise RunStopped(
            "lease_lost", "The run was taken over or closed by another process; nothing was kept."
        )
