"""Reading runs: lists, one run with its stages, and the active one."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, RowMapping, text

from app.database.base import AnySession
from app.domain import MarketProblem, RunStatus, Trigger
from app.errors import InvalidRequest, NotFound
from app.ingestion.stages import TITLES
from app.services.paging import check_limit, read_cursor, write_cursor
from app.services.views import (
    Counts,
    RejectedRowView,
    RunDetail,
    RunPage,
    RunView,
    StageView,
)

REJECTED_SHOWN = 100
EXPECTED_MS = """
    (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.duration_ms)::int
     FROM (SELECT duration_ms FROM ingestion_run
           WHERE status IN ('succeeded', 'partial')
           ORDER BY started_at DESC LIMIT 20) d)
"""
RUN_COLUMNS = """
    SELECT id, status, trigger, provider, symbols, requested_by, due_at, parent_run_id,
           config_fingerprint, attempt, owner, started_at, deadline_at, cancel_requested_at,
           finished_at, duration_ms, stage, markets_requested, markets_ingested,
           snapshots_ingested, aggregates_ingested, comparisons_ingested, roi_stats_ingested,
           fetched, inserted, updated, unchanged, rejected, error_class, error_message,
           problem_count
"""


def load_runs(
    session: AnySession,
    *,
    status: RunStatus | None = None,
    trigger: Trigger | None = None,
    provider: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> RunPage:
    """Runs that fit every filter, newest first; `InvalidRequest` on a bad cursor or limit."""
    filters = {"status": status, "trigger": trigger, "provider": provider}
    values: dict[str, Any] = {name: value for name, value in filters.items() if value}
    conditions = [f"{name} = :{name}" for name in values]
    values["limit"] = check_limit(limit) + 1
    after = read_cursor(cursor, 2)
    if after:
        conditions.append("(started_at, id) < (CAST(:after AS timestamptz), CAST(:last AS uuid))")
        values |= {"after": _instant(after[0]), "last": _run_uuid(after[1])}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = (
        f"{RUN_COLUMNS}, '[]'::jsonb AS problems FROM ingestion_run {where} "
        "ORDER BY started_at DESC, id DESC LIMIT :limit"
    )
    rows = session.execute(text(statement), values).mappings().all()
    shown = rows[:limit]
    more = len(rows) > limit
    return RunPage(
        runs=tuple(build_run(row) for row in shown),
        next_cursor=write_cursor([shown[-1]["started_at"], shown[-1]["id"]]) if more else None,
    )


def load_run(session: AnySession, run_id: str) -> RunDetail:
    """One run with its stages and first rejected rows; `NotFound` for an unknown id."""
    statement = text(
        f"{RUN_COLUMNS}, problems, {EXPECTED_MS} AS expected_ms FROM ingestion_run WHERE id = :id"
    )
    values = {"id": _known_uuid(run_id)}
    row = session.execute(statement, values).mappings().first()
    if row is None:
        raise NotFound(f"There is no run {run_id}.")
    run = build_run(row)
    return RunDetail(
        run=run,
        stages=_load_stages(session, run),
        rejected=_load_rejected(session, values) if run.counts.rejected else (),
    )


def load_active_run(session: AnySession) -> RunView | None:
    """The run that works now, if any."""
    statement = text(
        f"{RUN_COLUMNS}, '[]'::jsonb AS problems, {EXPECTED_MS} AS expected_ms "
        "FROM ingestion_run WHERE status = 'running'"
    )
    row = session.execute(statement).mappings().first()
    return build_run(row) if row else None


def build_run(row: RowMapping) -> RunView:
    """A run's row as people see it."""
    return RunView(
        id=str(row["id"]),
        status=RunStatus(row["status"]),
        trigger=Trigger(row["trigger"]),
        provider=row["provider"],
        requested_by=row["requested_by"],
        due_at=row["due_at"],
        attempt=row["attempt"],
        owner=row["owner"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        deadline_at=row["deadline_at"],
        cancel_requested_at=row["cancel_requested_at"],
        duration_ms=row["duration_ms"],
        stage=row["stage"],
        symbols=tuple(row["symbols"]),
        markets_requested=row["markets_requested"],
        markets_ingested=row["markets_ingested"],
        snapshots_ingested=row["snapshots_ingested"],
        aggregates_ingested=row["aggregates_ingested"],
        comparisons_ingested=row["comparisons_ingested"],
        roi_stats_ingested=row["roi_stats_ingested"],
        counts=_counts(row),
        error_class=row["error_class"],
        error_message=row["error_message"],
        problem_count=row["problem_count"],
        problems=tuple(MarketProblem(**problem) for problem in row["problems"]),
        config_fingerprint=row["config_fingerprint"],
        parent_run_id=str(row["parent_run_id"]) if row["parent_run_id"] else None,
        expected_ms=row.get("expected_ms"),
    )


def _counts(row: RowMapping) -> Counts:
    return Counts(
        fetched=row["fetched"],
        inserted=row["inserted"],
        updated=row["updated"],
        unchanged=row["unchanged"],
        rejected=row["rejected"],
    )


def _load_stages(session: AnySession, run: RunView) -> tuple[StageView, ...]:
    statement = text("SELECT * FROM run_stage WHERE run_id = :id AND attempt = :attempt")
    rows = session.execute(statement, {"id": run.id, "attempt": run.attempt}).mappings()
    known = {row["name"]: row for row in rows}
    return tuple(
        _stage(name, title, known[name])
        if name in known
        else StageView(name=name, title=title, status="pending" if run.is_active else "skipped")
        for name, title in TITLES.items()
    )


def _stage(name: str, title: str, row: RowMapping) -> StageView:
    return StageView(
        name=name,
        title=title,
        status=row["status"],
        started_at=row["started_at"],
        duration_ms=row["duration_ms"],
        counts=_counts(row),
        detail=row["detail"],
    )


def _load_rejected(session: AnySession, values: dict[str, Any]) -> tuple[RejectedRowView, ...]:
    statement = text(
        "SELECT kind, symbol, provider_id, reason, detail, raw, observed_at FROM rejected_row "
        "WHERE run_id = :id ORDER BY id LIMIT :limit"
    )
    rows = session.execute(statement, values | {"limit": REJECTED_SHOWN})
    return tuple(_rejected(row) for row in rows)


def _rejected(row: Row[Any]) -> RejectedRowView:
    return RejectedRowView(**row._mapping)


def _known_uuid(run_id: str) -> UUID:
    try:
        return UUID(run_id)
    except ValueError:
        raise NotFound(f"There is no run {run_id[:80]}.") from None


def _run_uuid(value: str | None) -> UUID:
    try:
        return UUID(value or "")
    except ValueError:
        raise InvalidRequest("The cursor is not one that this server gave out.") from None


def _instant(value: str | None) -> datetime:
    try:
        return datetime.fromisoformat(value or "")
    except ValueError:
        raise InvalidRequest("The cursor is not one that this server gave out.") from None
