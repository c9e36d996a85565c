"""Rows beyond their retention: counted, and deleted a bounded batch at a time.

Each series (what a key is without its instant) is found by one look-up in the primary key, and its
old rows by another, so the cost is that of the series and of the rows that go, not of those that
stay. The newest row of a series always stays. Rows that somebody else has locked are passed over,
so a delete never waits for a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from app.database.partitions import SNAPSHOTS, series_walk
from app.database.run_counts import count_finished_runs

Amount = tuple[int, int]
"""Rows, and what they take in bytes."""


@dataclass(frozen=True, slots=True)
class SeriesTable:
    """A table whose primary key is `series` and then the instant `column`.

    `only` narrows the series down by an SQL condition over `s`. `whole` is the table in which the
    newest row of a series is looked for, where that is not the table itself.
    """

    name: str
    column: str
    series: tuple[str, ...]
    only: str = "true"
    whole: str = ""


def candles_of(granularity: str) -> SeriesTable:
    """The candles of one granularity."""
    series = ("market_id", "provider", "granularity")
    return SeriesTable("market_aggregate", "opened_at", series, f"s.granularity = '{granularity}'")


PAST_SNAPSHOTS = SeriesTable(
    SNAPSHOTS.past, SNAPSHOTS.column, SNAPSHOTS.series, whole=SNAPSHOTS.name
)
COMPARISONS = SeriesTable(
    "market_comparison", "observed_at", ("market_id", "against_market_id", "provider")
)
STATISTICS = SeriesTable("market_roi_statistic", "last_at", ("market_id", "provider", '"window"'))
TICKS = SeriesTable("schedule_tick", "due_at", ("schedule",))
FIGURES = SeriesTable("process_figure", "began_at", ("kind", "name"))
SIZES = SeriesTable("storage_size", "measured_at", ("name",))

# The last run of each status stays: pages and metrics tell of it.
_OLD_RUNS = """
    SELECT r.id FROM ingestion_run r
    WHERE r.started_at < :before AND r.finished_at IS NOT NULL AND r.id NOT IN (
        SELECT DISTINCT ON (status) id FROM ingestion_run ORDER BY status, started_at DESC, id DESC
    )
"""
_OLD_REJECTED = """
    SELECT j.id FROM ingestion_run r JOIN rejected_row j ON j.run_id = r.id
    WHERE r.started_at < :before
"""
_COUNT_RUNS = f"""
    SELECT count(*) AS rows, coalesce(sum(pg_column_size(r)), 0) AS bytes
    FROM ingestion_run r WHERE r.id IN ({_OLD_RUNS})
"""  # noqa: S608 - made of the constants above
_COUNT_REJECTED = f"""
    SELECT count(*) AS rows, coalesce(sum(pg_column_size(j)), 0) AS bytes
    FROM rejected_row j WHERE j.id IN ({_OLD_REJECTED})
"""  # noqa: S608
# Counters must never fall, so only that goes which was added up.
_PICK_RUNS = f"""
    {_OLD_RUNS} AND r.is_counted
    ORDER BY r.started_at, r.id LIMIT :limit FOR UPDATE OF r SKIP LOCKED
"""
_PICK_REJECTED = f"{_OLD_REJECTED} AND r.is_counted LIMIT :limit FOR UPDATE OF j SKIP LOCKED"
# What goes with its run, by the foreign key.
_BELONGINGS = {
    "stages": "run_stage",
    "log lines": "run_log_line",
    "lost attempts": "lost_attempt",
}


def count_old(connection: Connection, table: SeriesTable, *, before: datetime) -> Amount:
    """The rows older than `before` that would go."""
    statement = f"""
        WITH RECURSIVE {series_walk(table.name, table.series)}
        SELECT count(*) AS rows, coalesce(sum(o.bytes), 0) AS bytes FROM series s {_old_rows(table)}
    """  # noqa: S608 - names come from the code, never from outside
    return _amount(connection, statement, {"before": before})


def delete_old(
    connection: Connection, table: SeriesTable, *, before: datetime, limit: int
) -> Amount:
    """Delete at most `limit` of the rows older than `before`; what went."""
    statement = f"""
        WITH RECURSIVE {series_walk(table.name, table.series)},
        doomed AS (
            SELECT o.place, o.bytes FROM series s {_old_rows(table, "FOR UPDATE SKIP LOCKED")}
            LIMIT :limit
        ),
        gone AS (
            DELETE FROM {table.name} t USING doomed d WHERE t.ctid = d.place RETURNING d.bytes
        )
        SELECT count(*) AS rows, coalesce(sum(bytes), 0) AS bytes FROM gone
    """  # noqa: S608
    return _amount(connection, statement, {"before": before, "limit": limit})


def count_old_runs(connection: Connection, *, before: datetime) -> Mapping[str, Amount]:
    """The finished runs that started before then and would go, and what belongs to them."""
    values = {"before": before}
    runs = _amount(connection, _COUNT_RUNS, values)
    return {"runs": runs} | _count_belongings(connection, _OLD_RUNS, values)


def delete_old_runs(
    connection: Connection, *, before: datetime, limit: int
) -> Mapping[str, Amount]:
    """Delete at most `limit` of these runs with all that belongs to them; what went.

    Their counts live on in `run_count`.
    """
    count_finished_runs(connection)
    values = {"ids": _pick(connection, _PICK_RUNS, before, limit)}
    belongings = _count_belongings(connection, "SELECT unnest(CAST(:ids AS uuid[]))", values)
    return {"runs": _delete(connection, "ingestion_run", values["ids"])} | belongings


def count_old_rejected(connection: Connection, *, before: datetime) -> Amount:
    """The rejected rows of runs that started before then."""
    return _amount(connection, _COUNT_REJECTED, {"before": before})


def delete_old_rejected(connection: Connection, *, before: datetime, limit: int) -> Amount:
    """Delete at most `limit` of them; their counts live on in `run_count`."""
    count_finished_runs(connection)
    ids = _pick(connection, _PICK_REJECTED, before, limit)
    return _delete(connection, "rejected_row", ids)


def _old_rows(table: SeriesTable, lock: str = "") -> str:
    """SQL of the old rows `o` of each series `s`: their place and size."""
    same = " AND ".join(f"t.{name} = s.{name}" for name in table.series)
    return f"""
        CROSS JOIN LATERAL (
            SELECT t.{table.column} AS at FROM {table.whole or table.name} t
            WHERE {same} ORDER BY t.{table.column} DESC LIMIT 1
        ) newest
        CROSS JOIN LATERAL (
            SELECT t.ctid AS place, pg_column_size(t) AS bytes FROM {table.name} t
            WHERE {same} AND t.{table.column} < LEAST(CAST(:before AS timestamptz), newest.at)
            ORDER BY t.{table.column} {lock}
        ) o
        WHERE {table.only}
    """  # noqa: S608


def _count_belongings(
    connection: Connection, runs: str, values: dict[str, Any]
) -> dict[str, Amount]:
    found = {}
    for what, table in _BELONGINGS.items():
        statement = f"""
            SELECT count(*) AS rows, coalesce(sum(pg_column_size(b)), 0) AS bytes
            FROM {table} b WHERE b.run_id IN ({runs})
        """  # noqa: S608
        found[what] = _amount(connection, statement, values)
    return found


def _pick(connection: Connection, statement: str, before: datetime, limit: int) -> list[Any]:
    values = {"before": before, "limit": limit}
    return list(connection.execute(text(statement), values).scalars())


def _delete(connection: Connection, table: str, ids: Sequence[Any]) -> Amount:
    amount = _amount(
        connection,
        "SELECT count(*) AS rows, coalesce(sum(pg_column_size(t)), 0) AS bytes "  # noqa: S608
        f"FROM {table} t WHERE id = ANY(:ids)",
        {"ids": ids},
    )
    connection.execute(text(f"DELETE FROM {table} WHERE id = ANY(:ids)"), {"ids": ids})  # noqa: S608
    return amount


def _amount(connection: Connection, statement: str, values: dict[str, Any]) -> Amount:
    row = connection.execute(text(statement), values).one()
    return int(row.rows), int(row.bytes)
