"""Finding runs: narrowed by what one looks for, with the counts of every other choice beside it.

However many runs are stored, a page looks at `COUNTED` of them at most, and at them in an index
that holds all it filters and counts by; a text is looked for in the newest `SEARCHED` only.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.domain import RunStatus, Trigger
from app.services.paging import check_limit
from app.services.runs import (
    AFTER_CURSOR,
    EXPECTED_MS,
    NEWEST_FIRST,
    RUN_COLUMNS,
    build_run_page,
    read_run_cursor,
)
from app.services.searching import like_pattern
from app.services.views import RunPage

COUNTED = 10_000
SEARCHED = 5_000
# What a text is looked for in; what was wrong with single markets stands in `problems`.
_TEXT = """
    concat_ws(' ', id::text, error_class, error_message, array_to_string(symbols, ' '),
              CASE WHEN problem_count > 0 THEN problems::text END) ILIKE :pattern
"""
_MARKS = """
    percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY duration_ms)
        FILTER (WHERE status IN ('succeeded', 'partial'))
"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; `period` reaches back from now, `search` is part of an id, error or symbol."""

    status: RunStatus | None = None
    trigger: Trigger | None = None
    provider: str | None = None
    period: timedelta | None = None
    min_duration_ms: int | None = None
    search: str = ""


@dataclass(frozen=True, slots=True)
class RunFacets:
    """How many runs each choice would show if the others stay as they are.

    `is_capped` tells that only the newest `looked_at` runs were counted. The marks are the median
    and the 90th percentile of the durations of good runs in the period, None without any.
    """

    statuses: Mapping[str, int] = field(default_factory=dict)
    triggers: Mapping[str, int] = field(default_factory=dict)
    providers: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    is_capped: bool = False
    looked_at: int = COUNTED
    median_ms: float | None = None
    p90_ms: float | None = None


def search_runs(
    session: AnySession, wanted: RunFilter, *, cursor: str | None = None, limit: int = 50
) -> RunPage:
    """Runs that fit, newest first, in one query; `InvalidRequest` on a bad cursor or limit."""
    conditions, values = _narrow(wanted)
    chosen = {"status": wanted.status, "trigger": wanted.trigger, "provider": wanted.provider}
    for name, value in chosen.items():
        if value:
            conditions.append(f"{name} = :{name}")
            values[name] = str(value)
    if wanted.min_duration_ms:
        conditions.append("duration_ms >= :min_duration_ms")
        values["min_duration_ms"] = wanted.min_duration_ms
    after = read_run_cursor(cursor)
    if after:
        conditions.append(AFTER_CURSOR)
        values |= after
    values["limit"] = check_limit(limit) + 1
    statement = f"""
        WITH found AS MATERIALIZED (
            SELECT id FROM ({_newest(wanted, conditions)}) newest
            WHERE {_TEXT if wanted.search else "true"}
            {NEWEST_FIRST} LIMIT :limit
        )
        {RUN_COLUMNS}, '[]'::jsonb AS problems,
            CASE WHEN status = 'running' THEN {EXPECTED_MS} END AS expected_ms
        FROM ingestion_run WHERE id IN (SELECT id FROM found) {NEWEST_FIRST}
    """  # noqa: S608 - made of the constants above
    return build_run_page(session.execute(text(statement), values).mappings().all(), limit)


def load_run_facets(session: AnySession, wanted: RunFilter) -> RunFacets:
    """The counts beside the filters, in one query over the newest runs of the period."""
    conditions, values = _narrow(wanted)
    values["min_duration_ms"] = wanted.min_duration_ms
    # An index is read twice sooner than what it told is put aside; a text is looked for once.
    kept = "MATERIALIZED" if wanted.search else "NOT MATERIALIZED"
    statement = f"""
        WITH found AS {kept} (
            SELECT status, trigger, provider, duration_ms
            FROM ({_newest(wanted, conditions)}) newest
            WHERE {_TEXT if wanted.search else "true"}
        )
        SELECT status, trigger, provider, false AS is_total, count(*) AS looked_at,
               count(*) FILTER (WHERE CAST(:min_duration_ms AS int) IS NULL
                                OR duration_ms >= :min_duration_ms) AS runs, NULL AS marks
        FROM found GROUP BY status, trigger, provider
        UNION ALL
        SELECT NULL, NULL, NULL, true, count(*), 0, {_MARKS} FROM found
    """  # noqa: S608
    rows = session.execute(text(statement), values).mappings().all()
    total = next(row for row in rows if row["is_total"])
    return _count(wanted, [row for row in rows if not row["is_total"]], total)


def _narrow(wanted: RunFilter) -> tuple[list[str], dict[str, Any]]:
    """The conditions that counts and list share."""
    conditions: list[str] = ["true"]
    values: dict[str, Any] = {}
    if wanted.period:
        conditions.append("started_at > now() - CAST(:period AS interval)")
        values["period"] = wanted.period
    if wanted.search:
        values["pattern"] = like_pattern(wanted.search)
    exact = _whole_id(wanted.search)
    if exact:
        conditions.append("id = :exact")
        values["exact"] = exact
    return conditions, values


def _newest(wanted: RunFilter, conditions: list[str]) -> str:
    """The newest runs that fit the conditions, only as far back as is looked."""
    columns, most = "id, started_at, status, trigger, provider, duration_ms", COUNTED
    if wanted.search:
        columns, most = "*", SEARCHED
    where = " AND ".join(conditions)
    return f"SELECT {columns} FROM ingestion_run WHERE {where} {NEWEST_FIRST} LIMIT {most}"  # noqa: S608


def _count(wanted: RunFilter, rows: list[RowMapping], total: RowMapping) -> RunFacets:
    chosen = {"status": wanted.status, "trigger": wanted.trigger, "provider": wanted.provider}
    counts: dict[str, Counter[str]] = {name: Counter() for name in chosen}
    matching = 0
    for row in rows:
        misses = [name for name, value in chosen.items() if value and row[name] != value]
        matching += 0 if misses else row["runs"]
        for name in chosen:
            if not misses or misses == [name]:
                counts[name][row[name]] += row["runs"]
    looked_at = SEARCHED if wanted.search else COUNTED
    median_ms, p90_ms = total["marks"] or (None, None)
    return RunFacets(
        statuses=counts["status"],
        triggers=counts["trigger"],
        providers=counts["provider"],
        total=matching,
        is_capped=total["looked_at"] >= looked_at,
        looked_at=looked_at,
        median_ms=median_ms,
        p90_ms=p90_ms,
    )


def _whole_id(search: str) -> UUID | None:
    try:
        return UUID(search.strip())
    except ValueError:
        return None
