"""Puts down what the processes counted, by the hour, and how large the tables are."""

import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.database.transactions import keep_brief, run_in_transaction
from app.domain import Granularity
from app.tallies import Tallies, give_back, take

logger = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
# Every process adds to the same rows; classes that one of them does not know are added as they are.
_ADD = """
    INSERT INTO process_figure AS f (kind, name, began_at, count, errors, credits, seconds, spread)
    VALUES (:kind, :name, :hour, :count, :errors, :credits, :seconds, CAST(:spread AS bigint[]))
    ON CONFLICT (kind, name, began_at) DO UPDATE SET
        count = f.count + excluded.count, errors = f.errors + excluded.errors,
        credits = f.credits + excluded.credits, seconds = f.seconds + excluded.seconds,
        spread = ARRAY(
            SELECT coalesce(kept, 0) + coalesce(new, 0)
            FROM unnest(f.spread, excluded.spread) WITH ORDINALITY AS u (kept, new, place)
            ORDER BY place
        )
"""
# The partitions of a table count as the table.
TABLE_SIZES = """
    SELECT coalesce(pg_partition_root(c.oid), c.oid)::regclass::text AS name,
           sum(pg_total_relation_size(c.oid))::bigint AS total_bytes,
           sum(pg_indexes_size(c.oid))::bigint AS index_bytes,
           sum(greatest(coalesce(t.n_live_tup, 0), 0))::bigint AS rows
    FROM pg_class c LEFT JOIN pg_stat_user_tables t ON t.relid = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
    GROUP BY 1
"""
_MEASURE = f"""
    INSERT INTO storage_size (name, measured_at, bytes)
    SELECT t.name, :hour, t.bytes
    FROM (SELECT name, total_bytes AS bytes FROM ({TABLE_SIZES}) measured
          UNION ALL SELECT '', pg_database_size(current_database())) t
    LEFT JOIN LATERAL (
        SELECT s.bytes FROM storage_size s WHERE s.name = t.name
        ORDER BY s.measured_at DESC LIMIT 1
    ) last ON true
    WHERE t.bytes IS DISTINCT FROM last.bytes
    ON CONFLICT (name, measured_at) DO NOTHING
"""  # noqa: S608 - the inner statement is a constant


def keep_figures(engine: Engine, *, now: datetime, every_seconds: float = EVERY_SECONDS) -> bool:
    """Add what this process counted to the hour of `now`; True when it was due.

    It is due `every_seconds` after the last time. Raises `sqlalchemy.exc.SQLAlchemyError`; what was
    counted then waits for the next time.
    """
    taken = take(every_seconds=every_seconds)
    if not taken:
        return False
    hour = Granularity.HOURLY.floor(now)
    try:
        run_in_transaction(engine, lambda connection: _keep(connection, taken, hour))
    except BaseException:
        give_back(taken)
        raise
    return True


def keep_last_figures(engine: Engine, *, now: datetime) -> None:
    """Put down what is left before the process goes; without a database it is lost."""
    try:
        keep_figures(engine, now=now, every_seconds=0)
    except SQLAlchemyError as error:
        logger.warning("figures lost", extra={"reason": type(error).__name__})


def _keep(connection: Connection, taken: Tallies, hour: datetime) -> None:
    keep_brief(connection)
    connection.execute(text(_MEASURE), {"hour": hour})
    # In one order everywhere, so that no two processes wait for each other.
    connection.execute(text(_ADD), [_row(taken, key, hour) for key in sorted(taken)])


def _row(taken: Tallies, key: tuple[Any, str], hour: datetime) -> dict[str, Any]:
    kind, name = key
    tally = taken[key]
    return {
        "kind": kind.value,
        "name": name,
        "hour": hour,
        "count": tally.count,
        "errors": tally.errors,
        "credits": tally.credits,
        "seconds": tally.seconds,
        "spread": tally.spread,
    }
