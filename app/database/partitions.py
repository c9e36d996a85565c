"""Monthly partitions: which there are, cutting new months ahead, dropping months that are over.

The months of a table follow each other without a gap, and its first and last partition are open to
the past and to the future, so no row is ever refused. There is no default partition: with one,
PostgreSQL cannot read the partitions in the order of time, and looks for the newest row of a market
in all of them instead of in the newest.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

from sqlalchemy import Connection, text

MOST_MONTHS = 60
"""Months that are made at once."""
MOST_MOVED = 200_000
"""Rows that are moved into their months at once: readers wait for as long as it takes."""
_BOUND = re.compile(r"FROM \((.+?)\) TO \((.+?)\)")
_LOAD = """
    SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = CAST(:table AS regclass)
"""
_PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')"


@dataclass(frozen=True, slots=True)
class MonthlyTable:
    """A table partitioned by range over the instant `column`; `series` is the rest of its key."""

    name: str
    column: str
    series: tuple[str, ...]

    @property
    def past(self) -> str:
        """The name of the partition that is open to the past."""
        return f"{self.name}_past"

    @property
    def future(self) -> str:
        """The name of the partition that is open to the future."""
        return f"{self.name}_future"


SNAPSHOTS = MonthlyTable("market_snapshot", "observed_at", ("market_id", "provider"))


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of the rows in `[start, end)`; None is open to the past or to the future."""

    name: str
    start: datetime | None
    end: datetime | None


def first_of_month(instant: datetime, months: int = 0) -> datetime:
    """The beginning (UTC) of the month that holds `instant`, or of one so many months later."""
    here = instant.astimezone(UTC)
    number = here.year * 12 + here.month - 1 + months
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def months_between(start: datetime, end: datetime) -> list[datetime]:
    """The beginnings of months from `start` up to and without `end`; both are such beginnings."""
    length = (end.year - start.year) * 12 + end.month - start.month
    return [first_of_month(start, number) for number in range(length)]


def load_partitions(connection: Connection, table: MonthlyTable) -> list[Partition]:
    """The partitions of a table from the past to the future, without a gap between them."""
    found = []
    for name, bounds in connection.execute(text(_LOAD), {"table": table.name}):
        match = _BOUND.search(bounds)
        if match is None:
            raise ValueError(f"The partition {name} of {table.name} has no range: {bounds}.")
        found.append(Partition(name, _bound(match[1]), _bound(match[2])))
    return sorted(found, key=lambda part: part.start or datetime.min.replace(tzinfo=UTC))


def is_declared(connection: Connection) -> Callable[..., bool]:
    """Alembic's `include_name`: every name but those of partitions, which no model declares.

    The database is asked at the first name, as a migration must begin its transaction itself.
    """

    @cache
    def partitions() -> frozenset[str]:
        return frozenset(connection.execute(text(_PARTITIONS)).scalars())

    return lambda name, kind, parents: kind != "table" or name not in partitions()


def split_statements(table: MonthlyTable, boundaries: Sequence[datetime | None]) -> list[str]:
    """The SQL that makes a partition between each two of the boundaries; None is an open end."""
    return [
        f"CREATE TABLE {_name(table, start, end)} PARTITION OF {table.name} "
        f"FOR VALUES FROM ({_literal(start, 'MINVALUE')}) TO ({_literal(end, 'MAXVALUE')})"
        for start, end in pairwise(boundaries)
    ]


def lock_months(connection: Connection, table: MonthlyTable) -> None:
    """Wait until nobody else uses the table, and keep everybody out until the transaction ends.

    A run locks `market` before the tables that refer to it, and so does this: the reverse order
    could deadlock, as new partitions take a lock on `market` for their foreign key.
    """
    connection.execute(text("LOCK TABLE market IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(text(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE"))


def missing_months(connection: Connection, table: MonthlyTable, *, until: datetime) -> list[str]:
    """The names of the partitions that the months up to the one of `until` still need."""
    months = _months_ahead(load_partitions(connection, table)[-1], until)
    return [_name(table, start, end) for start, end in pairwise(months)]


def cut_months(
    connection: Connection, table: MonthlyTable, *, until: datetime
) -> tuple[Partition, ...]:
    """Give each month up to the one of `until` its partition; the new ones.

    Rows that the partition of the future took in meanwhile are moved to their months. Where they
    are more than `MOST_MOVED`, the partition itself is closed after its newest row instead and
    stays in one piece. The caller holds the lock of `lock_months`.
    """
    known = load_partitions(connection, table)
    future = known[-1]
    if not _months_ahead(future, until):
        return ()
    if _has_more_rows(connection, table.future, MOST_MOVED):
        future = _close_future(connection, table, future)
    if months := _months_ahead(future, until):
        _recut(connection, table, [future], [*months, None], f"SELECT * FROM {table.future}")  # noqa: S608
    names = {part.name for part in known}
    return tuple(part for part in load_partitions(connection, table) if part.name not in names)


def past_months(parts: Sequence[Partition], before: datetime) -> list[Partition]:
    """The partitions between the open ones all of whose rows are older than `before`."""
    return [part for part in parts if part.start and part.end and part.end <= before]


def drop_months(
    connection: Connection, table: MonthlyTable, *, before: datetime
) -> tuple[Partition, ...]:
    """Drop the months that end by `before`, but keep the newest row of each series; those dropped.

    What is kept moves to the partition of the past. The caller holds the lock of `lock_months`.
    """
    parts = load_partitions(connection, table)
    doomed = past_months(parts, before)
    if not doomed:
        return ()
    # Of the partition of the past everything stays: its own old rows are deleted row by row.
    kept = [f"SELECT * FROM {table.past}", *(newest_rows(table, part) for part in doomed)]  # noqa: S608
    boundaries = [None, doomed[-1].end]
    _recut(connection, table, [parts[0], *doomed], boundaries, " UNION ALL ".join(kept))
    return tuple(doomed)


def newest_rows(table: MonthlyTable, part: Partition) -> str:
    """SQL for the rows of a month that are the newest of their series in the whole table."""
    same = " AND ".join(f"t.{name} = s.{name}" for name in table.series)
    newest = f"n.{table.column}"
    return f"""
        (WITH RECURSIVE {series_walk(part.name, table.series)}
        SELECT n.* FROM series s CROSS JOIN LATERAL (
            SELECT * FROM {table.name} t WHERE {same} ORDER BY t.{table.column} DESC LIMIT 1
        ) n WHERE {newest} >= {_literal(part.start)} AND {newest} < {_literal(part.end)})
    """  # noqa: S608 - names come from the code, never from outside


def series_walk(table: str, key: Sequence[str]) -> str:
    """SQL of a recursive `series`: the distinct keys, found by one index look-up each.

    `key` are the leading columns of the primary key. A DISTINCT would read every row.
    """
    names = ", ".join(key)
    last = ", ".join(f"s.{name}" for name in key)
    return f"""series AS (
        (SELECT {names} FROM {table} ORDER BY {names} LIMIT 1)
        UNION ALL
        SELECT n.* FROM series s CROSS JOIN LATERAL (
            SELECT {names} FROM {table} WHERE ({names}) > ({last}) ORDER BY {names} LIMIT 1
        ) n
    )"""  # noqa: S608


def _recut(
    connection: Connection,
    table: MonthlyTable,
    replaced: Iterable[Partition],
    boundaries: Sequence[datetime | None],
    kept: str,
) -> None:
    """Replace neighbouring partitions by others over the same span, keeping the rows of `kept`.

    It costs no more than those rows. DETACH and ATTACH would lock `market` against readers too.
    """
    connection.execute(text(f"CREATE TEMP TABLE kept_rows AS {kept}"))
    for part in replaced:
        connection.execute(text(f"DROP TABLE {part.name}"))
    for statement in split_statements(table, boundaries):
        connection.execute(text(statement))
    connection.execute(text(f"INSERT INTO {table.name} SELECT * FROM kept_rows"))  # noqa: S608
    connection.execute(text("DROP TABLE kept_rows"))


def _close_future(connection: Connection, table: MonthlyTable, future: Partition) -> Partition:
    """Make the partition of the future an ordinary one, and a new one after it; no row is moved."""
    assert future.start is not None
    newest = connection.execute(
        text(f"SELECT max({table.column}) FROM {table.future}")  # noqa: S608
    ).scalar_one()
    end = first_of_month(newest, 1)
    closed = _name(table, future.start, end)
    for statement in (
        f"ALTER TABLE {table.name} DETACH PARTITION {table.future}",
        f"ALTER TABLE {table.future} RENAME TO {closed}",
        f"ALTER TABLE {table.name} ATTACH PARTITION {closed} "
        f"FOR VALUES FROM ({_literal(future.start)}) TO ({_literal(end)})",
        *split_statements(table, [end, None]),
    ):
        connection.execute(text(statement))
    return Partition(table.future, end, None)


def _months_ahead(future: Partition, until: datetime) -> list[datetime]:
    """Where to cut the partition of the future, its beginning first; nothing to do: empty."""
    start, end = future.start, first_of_month(until, 1)
    assert start is not None
    return [*months_between(start, end), end][: MOST_MONTHS + 1] if end > start else []


def _has_more_rows(connection: Connection, name: str, most: int) -> bool:
    statement = f"SELECT count(*) FROM (SELECT FROM {name} LIMIT {most + 1}) first_rows"  # noqa: S608
    return bool(connection.execute(text(statement)).scalar_one() > most)


def _name(table: MonthlyTable, start: datetime | None, end: datetime | None) -> str:
    if start is None:
        return table.past
    return table.future if end is None else f"{table.name}_y{start:%Ym%m}"


def _literal(instant: datetime | None, otherwise: str = "NULL") -> str:
    return f"'{instant:%Y-%m-%d %H:%M:%S}+00'" if instant else otherwise


def _bound(expression: str) -> datetime | None:
    if expression in ("MINVALUE", "MAXVALUE"):
        return None
    return datetime.fromisoformat(expression.strip("'")).astimezone(UTC)
