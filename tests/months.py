"""Plain helpers for the tests of partitions and pruning: months laid out, rows at instants."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from app.database.partitions import (
    SNAPSHOTS,
    first_of_month,
    load_partitions,
    months_between,
    split_statements,
)

RUN = UUID(int=1)


def day(month: int, number: int = 15, *, year: int = 2026) -> datetime:
    return datetime(year, month, number, 12, tzinfo=UTC)


def lay_out(connection: Connection, first: datetime, last: datetime) -> None:
    """Empty every table, and give the snapshots the months from `first` to `last`."""
    connection.execute(
        text(
            "TRUNCATE market, listing, ingestion_run, run_stage, rejected_row, schedule_tick, "
            "market_snapshot, market_aggregate, market_comparison, market_roi_statistic, "
            "run_count, job_state, data_version RESTART IDENTITY CASCADE"
        )
    )
    for part in load_partitions(connection, SNAPSHOTS):
        connection.execute(text(f"DROP TABLE {part.name}"))
    start, end = first_of_month(first), first_of_month(last, 1)
    for statement in split_statements(SNAPSHOTS, [None, *months_between(start, end), end, None]):
        connection.execute(text(statement))
    connection.execute(
        text(
            "INSERT INTO market (symbol, asset_type, quote) VALUES ('BTC-USD', 'crypto', 'USD'), "
            "('ETH-USD', 'crypto', 'USD'), ('SPX', 'index', 'USD')"
        )
    )


def store_snapshots(
    connection: Connection, market_id: int, instants: Iterable[datetime], provider: str = "mock"
) -> None:
    connection.execute(
        text(
            "INSERT INTO market_snapshot (market_id, provider, observed_at, price, run_id) "
            "VALUES (:market_id, :provider, :at, 1, :run)"
        ),
        [{"market_id": market_id, "provider": provider, "at": at, "run": RUN} for at in instants],
    )


def stored(connection: Connection) -> dict[str, set[tuple[int, datetime]]]:
    """The market and instant of every snapshot, by the partition it lies in."""
    rows = connection.execute(
        text("SELECT tableoid::regclass::text AS part, market_id, observed_at FROM market_snapshot")
    )
    found: dict[str, set[tuple[int, datetime]]] = {}
    for row in rows:
        found.setdefault(row.part, set()).add((row.market_id, row.observed_at))
    return found


def names(connection: Connection) -> list[str]:
    """The names of the partitions without that of their table, from the past to the future."""
    return [
        part.name.removeprefix("market_snapshot_")
        for part in load_partitions(connection, SNAPSHOTS)
    ]
