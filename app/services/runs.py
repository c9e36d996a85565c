"""Reading runs: lists, one run with its stages, and the active one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.domain import MarketProblem, RunStatus, Trigger
from app.errors import InvalidRequest, NotFound
from app.ingestion.stages import TITLES
from app.services.paging import check_limit, read_cursor, write_cursor
from app.services.rejected_rows import (
    SET_ASIDE,
    RejectedFilter,
    RejectedPage,
    load_rejected,
    order_reasons,
)
from app.services.views import (
    Counts,
    LostAttemptView,
    RunDetail,
    RunPage,
    RunView,
    StageView,
)

NEWEST_FIRST = "ORDER BY started_at DESC, id DESC"
AFTER_CURSOR = "(started_at, id) < (CAST(:after AS timestamptz), CAST(:last AS uuid))"
# Each status by its own index: however long nothing but failures came, 40 runs are looked at.
EXPECTED_MS = """
    (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.duration_ms)::int
     FROM (SELECT r.duration_ms
           FROM (VALUES ('succeeded'), ('partial')) good (status) CROSS JOIN LATERAL (
               SELECT started_at, duration_ms FROM ingestion_run
               WHERE status = good.status ORDER BY started_at DESC LIMIT 20
           ) r
           ORDER BY r.started_at DESC LIMIT 20) d)
"""
_STAGES = """
    (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM run_stage s
     WHERE s.run_id = ingestion_run.id AND s.attempt = ingestion_run.attempt)
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
    after = read_run_cursor(cursor)
    if after:
        conditions.append(AFTER_CURSOR)
        values |= after
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = (
        f"{RUN_COLUMNS}, '[]'::jsonb AS problems FROM ingestion_run {where} "
        f"{NEWEST_FIRST} LIMIT :limit"
    )
    rows = session.execute(text(statement), values).mappings().all()
    return build_run_page(rows, limit)


def build_run_page(rows: Sequence[RowMapping], limit: int) -> RunPage:
    """A page of at most `limit` runs from that many rows and, if there is more, one besides."""
    shown = rows[:limit]
    more = len(rows) > limit
    return RunPage(
        runs=tuple(build_run(row) for row in shown),
        next_cursor=write_cursor([shown[-1]["started_at"], shown[-1]["id"]]) if more else None,
    )


def read_run_cursor(cursor: str | None) -> dict[str, Any]:
    """The values of `AFTER_CURSOR`, none without a cursor; `InvalidRequest` for a bad one."""
    after = read_cursor(cursor, 2)
    return {"after": _instant(after[0]), "last": _run_uuid(after[1])} if after else {}


def load_run(
    session: AnySession, run_id: str, *, rejected: RejectedFilter | None = None
) -> RunDetail:
    """One run with its stages and 100 rejected rows, the first ones unless `rejected` says else.

    `NotFound` for an unknown id, `InvalidRequest` for a bad cursor.
    """
    statement = text(
        f"{RUN_COLUMNS}, problems, rejected_reasons, {EXPECTED_MS} AS expected_ms, "
        f"{_STAGES} AS stages, {SET_ASIDE} AS set_aside "
        "FROM ingestion_run WHERE id = :id"
    )
    values = {"id": known_uuid(run_id)}
    row = session.execute(statement, values).mappings().first()
    if row is None:
        raise NotFound(f"There is no run {run_id}.")
    run = build_run(row)
    page = RejectedPage()
    if run.counts.rejected:
        page = load_rejected(session, values["id"], rejected or RejectedFilter())
    return RunDetail(
        run=run,
        stages=_stages(run, row["stages"]),
        rejected=page.rows,
        lost_attempts=_load_lost_attempts(session, values) if run.attempt > 1 else (),
        rejected_reasons=order_reasons(row["rejected_reasons"]),
        rejected_cursor=page.next_cursor,
        set_aside=tuple(row["set_aside"]),
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


def _counts(row: Mapping[Any, Any]) -> Counts:
    return Counts(
        fetched=row["fetched"],
        inserted=row["inserted"],
        updated=row["updated"],
        unchanged=row["unchanged"],
        rejected=row["rejected"],
    )


def _stages(run: RunView, rows: list[dict[str, Any]]) -> tuple[StageView, ...]:
    known = {row["name"]: row for row in rows}
    return tuple(
        _stage(name, title, known[name])
        if name in known
        else StageView(name=name, title=title, status="pending" if run.is_active else "skipped")
        for name, title in TITLES.items()
    )


def _stage(name: str, title: str, row: dict[str, Any]) -> StageView:
    return StageView(
        name=name,
        title=title,
        status=row["status"],
        started_at=datetime.fromisoformat(row["started_at"]),
        duration_ms=row["duration_ms"],
        counts=_counts(row),
        detail=row["detail"],
    )


def _load_lost_attempts(session: AnySession, values: dict[str, Any]) -> tuple[LostAttemptView, ...]:
    statement = text(
        "SELECT attempt, owner, silent_since, noticed_at, noticed_by FROM lost_attempt "
        "WHERE run_id = :id ORDER BY attempt"
    )
    return tuple(LostAttemptView(**row._mapping) for row in session.execute(statement, values))


def known_uuid(run_id: str) -> UUID:
    """The id of a run as an address gives it; `NotFound` for what can be none."""
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
