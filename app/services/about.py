"""What is running: version, schema, database, processes; and the state of the data in one word."""

import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.cache_breaker import CacheState
from app.database.base import AnySession
from app.database.identity import process_name
from app.domain import DAY
from app.ingestion.tick_row import INGESTION
from app.services.health import schema_head
from app.services.house import House
from app.services.overview import load_overview
from app.version import VERSION

UNREACHABLE = "unreachable"
PROCESSES_SHOWN = 50
_DATABASE = """
    SELECT (SELECT string_agg(version_num, ', ') FROM alembic_version) AS schema,
           current_setting('server_version') AS version,
           pg_postmaster_start_time() AS started_at,
           pg_database_size(current_database()) AS bytes,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database()) AS connections,
           current_setting('max_connections')::int AS most_connections
"""
# Whoever claimed a tick or worked on a run within a day; processes leave no other trace.
_PROCESSES = """
    SELECT name, max(seen_at) AS seen_at, min(seen_at) AS first_at,
           count(*) FILTER (WHERE did = 'tick') AS ticks,
           count(*) FILTER (WHERE did = 'run') AS runs
    FROM (
        SELECT claimed_by AS name, claimed_at AS seen_at, 'tick' AS did FROM schedule_tick
        WHERE schedule = :schedule AND claimed_at > :since
          AND due_at > CAST(:since AS timestamptz) - interval '7 days'
        UNION ALL
        SELECT owner, heartbeat_at, 'run' FROM ingestion_run
        WHERE started_at > :since
    ) d
    WHERE name <> '' GROUP BY name ORDER BY seen_at DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The PostgreSQL behind it; `schema` is its revision, `expected_schema` the code's."""

    version: str
    started_at: datetime
    schema: str
    expected_schema: str
    bytes: int
    connections: int
    most_connections: int

    @property
    def is_current(self) -> bool:
        """True where the schema is the one that the code expects."""
        return self.schema == self.expected_schema


@dataclass(frozen=True, slots=True)
class ProcessTrace:
    """A process that claimed a tick or worked on a run within a day."""

    name: str
    first_at: datetime
    seen_at: datetime
    ticks: int
    runs: int


@dataclass(frozen=True, slots=True)
class About:
    """This installation; `process` and `started_at` are of the process that answers."""

    version: str
    python: str
    process: str
    started_at: datetime
    workers: int
    threads: int
    scheduler_enabled: bool
    cache: CacheState
    is_embedded: bool
    database: DatabaseFacts
    processes: tuple[ProcessTrace, ...]


def load_about(session: AnySession, house: House) -> About:
    """The facts in two queries."""
    settings = house.settings
    values = {"schedule": INGESTION, "since": house.clock() - DAY, "limit": PROCESSES_SHOWN}
    row = session.execute(text(_DATABASE)).one()
    traces = session.execute(text(_PROCESSES), values)
    return About(
        version=VERSION,
        python=platform.python_version(),
        process=process_name(),
        started_at=house.started_at,
        workers=settings.web_workers,
        threads=settings.web_threads,
        scheduler_enabled=settings.scheduler_enabled,
        cache=house.cache_state(),
        is_embedded=settings.database_url is None,
        database=_database(row),
        processes=tuple(ProcessTrace(**trace._mapping) for trace in traces),
    )


def load_level(session: AnySession, house: House) -> str:
    """The state of the data in one word: that of the overview, or `unreachable`."""
    try:
        return load_overview(session, house).state.level
    except SQLAlchemyError:
        session.rollback()
        return UNREACHABLE


def _database(row: Any) -> DatabaseFacts:
    return DatabaseFacts(
        version=row.version,
        started_at=row.started_at,
        schema=row.schema or "none",
        expected_schema=schema_head(),
        bytes=row.bytes,
        connections=row.connections,
        most_connections=row.most_connections,
    )
