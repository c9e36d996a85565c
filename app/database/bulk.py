"""The one bulk-load path: COPY into a staging table, then one set-based merge.

Rows that are already stored with the same values are joined away before anything is written, so a
repeated batch leaves no dead row and almost no WAL. Keys are unique within a batch (the last row of
a key wins) and rows are written in key order, so concurrent writers meet in the same order. Where
nothing is stored between the first and the last key yet, COPY goes into the table itself, and so
do rows that have no key of their own.
"""

import gc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import Any
from zlib import crc32

import psycopg2
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from app.database.chunks import Chunk, ValueChunk
from app.database.copy_text import NULL
from app.database.merge_target import MergeTarget
from app.database.spool_file import FilePart
from app.database.transactions import run_in_transaction

__all__ = [
    "PROVENANCE",
    "MergeCounts",
    "MergeTarget",
    "append_lines",
    "merge_chunk",
    "merge_rows",
    "read_columns",
    "run_in_transaction",
]

PROVENANCE = ("run_id", "stored_at")
CHUNK_ROWS = 20_000
READ_BYTES = 65_536
# Fewer rows are not worth asking whether they are all new.
MANY_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """What a merge did to the table, in rows."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "MergeCounts") -> "MergeCounts":
        return MergeCounts(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.unchanged + other.unchanged,
        )

    @property
    def total(self) -> int:
        """All rows given, each key once."""
        return self.inserted + self.updated + self.unchanged


def merge_rows(
    connection: Connection, target: MergeTarget, rows: Iterable[Sequence[Any]], *, run_id: Any
) -> MergeCounts:
    """Insert new rows, update changed ones, leave the others alone; within the open transaction.

    Each row holds the values of `target.columns`; memory stays bounded by one chunk, however many
    rows there are. A key that comes again in a later chunk is merged again. The counts are those
    of what this call did, also where another writer merges the same rows meanwhile. Raises
    `sqlalchemy.exc.DBAPIError` when the database refuses a value.
    """
    counts = MergeCounts()
    pending = iter(rows)
    is_done = False
    while not is_done:
        with _paused_collection():
            chunk = list(islice(pending, CHUNK_ROWS))
            is_done = not chunk
            if chunk:
                ready = ValueChunk(target, chunk)
                counts += merge_chunk(connection, target, ready, run_id=run_id)
                del ready
            del chunk
    return counts


def merge_chunk(
    connection: Connection, target: MergeTarget, chunk: Chunk, *, run_id: Any
) -> MergeCounts:
    """Like `merge_rows`, for the rows of a chunk that is ready."""
    with _cursor(connection, f"merge into {target.table.name}") as cursor:
        if len(chunk) >= MANY_ROWS and _insert(cursor, target, chunk, run_id):
            return MergeCounts(inserted=len(chunk))
        inserted, updated = _stage_and_merge(cursor, target, chunk, run_id)
    return MergeCounts(inserted, updated, len(chunk) - inserted - updated)


def append_lines(
    connection: Connection, table: Table, columns: Sequence[str], lines: FilePart
) -> None:
    """Add rows that have no key of their own: finished text of these columns, in UTF-8.

    Raises `sqlalchemy.exc.DBAPIError` when the database refuses a value.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f"COPY {table.name} ({names}) FROM STDIN (NULL '{NULL}', ENCODING 'UTF8')"
    with _cursor(connection, f"append to {table.name}") as cursor:
        cursor.copy_expert(statement, lines, READ_BYTES)


@contextmanager
def _paused_collection() -> Iterator[None]:
    """Keep the garbage collector from walking through all rows again and again.

    It would take twice the time of all else that happens on this side, and find nothing: rows
    have no cycles.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_columns(
    connection: Connection, query: str, values: Mapping[str, Any]
) -> list[list[bytes]]:
    """The columns of `query` as texts, read by COPY: several times faster than fetching rows.

    `query` has psycopg2's named placeholders (`%(name)s`) and yields values without tab, backslash
    or line break: numbers, instants and the like. A null is `\\N`. Raises `DBAPIError`.
    """
    sink = BytesIO()
    with _cursor(connection, "COPY TO STDOUT") as cursor:
        bound = cursor.mogrify(query, values).decode()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT", sink)
    lines = sink.getvalue()
    if not lines:
        return []
    width = lines[: lines.index(b"\n")].count(b"\t") + 1
    cells = lines[:-1].replace(b"\n", b"\t").split(b"\t")
    return [cells[column::width] for column in range(width)]


@contextmanager
def _cursor(connection: Connection, statement: str) -> Iterator[Any]:
    """A cursor of psycopg2 whose errors come as SQLAlchemy's, `statement` standing for the SQL."""
    if not connection.in_transaction():
        connection.begin()
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor:
        try:
            yield cursor
        except psycopg2.Error as error:
            raise _wrapped(connection, statement, error) from error


def _wrapped(connection: Connection, statement: str, error: Any) -> BaseException:
    is_lost = connection.dialect.is_disconnect(error, connection.connection, None)
    if is_lost:
        connection.invalidate(error)
    wrapped: BaseException = DBAPIError.instance(
        statement, None, error, psycopg2.Error, connection_invalidated=is_lost
    )
    return wrapped


def _insert(cursor: Any, target: MergeTarget, chunk: Chunk, run_id: Any) -> bool:
    """Copy rows that are all new into the table; False, and nothing done, when they are not."""
    statements = _statements(target)
    cursor.execute(statements.probe, (chunk.first_key, chunk.last_key))
    if cursor.fetchone() is not None:
        return False
    cursor.execute("SAVEPOINT bulk_insert")
    try:
        cursor.copy_expert(statements.insert, chunk.open(constants=(run_id,)))
    except UniqueViolation:  # another writer was faster, or the database orders texts otherwise
        cursor.execute("ROLLBACK TO SAVEPOINT bulk_insert; RELEASE SAVEPOINT bulk_insert")
        return False
    cursor.execute("RELEASE SAVEPOINT bulk_insert")
    return True


def _stage_and_merge(
    cursor: Any, target: MergeTarget, chunk: Chunk, run_id: Any
) -> tuple[int, int]:
    """The rows inserted and updated."""
    statements = _statements(target)
    cursor.execute(statements.prepare)
    cursor.copy_expert(statements.copy, chunk.open())
    cursor.execute(statements.merge, (str(run_id),))
    inserted, updated = cursor.fetchone()
    cursor.execute(statements.clean)
    return inserted, updated


@dataclass(frozen=True, slots=True)
class _Statements:
    """The SQL of a merge.

    `probe` finds a stored key from one to another, `insert` copies into the table; else `prepare`
    makes an empty staging table, `copy` fills it, `merge` empties it into the table and `clean`
    undoes what `prepare` did.
    """

    probe: str
    insert: str
    prepare: str
    copy: str
    merge: str
    clean: str


@lru_cache(maxsize=64)
def _statements(target: MergeTarget) -> _Statements:
    names = ", ".join(f'"{name}"' for name in target.columns)
    staging = f"staging_{target.table.name}_{crc32(names.encode()):08x}"
    # The staging table is empty before and after every merge, and the transaction's end empties it.
    prepare = f"""
        CREATE TEMP TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS AS
        SELECT {names} FROM {target.table.name} WITH NO DATA;
        SET LOCAL enable_seqscan = off
    """  # noqa: S608 - names come from the models, never from outside
    key = ", ".join(f'"{name}"' for name in target.key)
    return _Statements(
        probe=f"""
            SELECT 1 FROM {target.table.name} WHERE ({key}) >= %s AND ({key}) <= %s
            ORDER BY {key} LIMIT 1
        """,  # noqa: S608
        insert=f"COPY {target.table.name} ({names}, run_id) FROM STDIN (NULL '{NULL}')",
        prepare=prepare,
        copy=f"COPY {staging} ({names}) FROM STDIN (NULL '{NULL}')",
        merge=_merge_statement(target, staging, names),
        clean=f"SET LOCAL enable_seqscan TO DEFAULT; TRUNCATE {staging}",
    )


def _merge_statement(target: MergeTarget, staging: str, names: str) -> str:
    """One statement that writes what is new or changed and counts both.

    Each staged row looks its key up in the primary key, whatever the planner knows of the table:
    the lateral LIMIT rules joins out that read all of it, and `enable_seqscan` is off because the
    estimate for a table that was empty a moment ago is. So the cost is that of the batch, and rows
    are written in the order they were staged in. What another writer stores in between meets the
    same conditions again in ON CONFLICT. An updated row is stamped a microsecond later than an
    inserted one: this tells them apart in RETURNING, on partitioned tables too.
    """
    table, key = target.table.name, ", ".join(f'"{name}"' for name in target.key)
    values = [name for name in target.columns if name not in target.key]
    same_key = " AND ".join(f't."{name}" = s."{name}"' for name in target.key)
    changed = f"({target.guard}) AND ({_of('s', values)}) IS DISTINCT FROM ({_of('t', values)})"
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in [*values, "run_id"])
    return f"""
        WITH stamp AS MATERIALIZED (SELECT clock_timestamp() AS at),
        written AS (
            INSERT INTO {table} AS t ({names}, run_id, stored_at)
            SELECT {_of("s", target.columns)}, %s::uuid, (SELECT at FROM stamp)
            FROM {staging} s LEFT JOIN LATERAL (
                SELECT * FROM {table} t WHERE {same_key} LIMIT 1
            ) t ON true
            WHERE t."{target.key[0]}" IS NULL OR ({changed})
            ON CONFLICT ({key}) DO UPDATE
            SET {sets}, stored_at = excluded.stored_at + interval '1 microsecond'
            WHERE {_STAGED.sub("excluded.", changed)}
            RETURNING stored_at = (SELECT at FROM stamp) AS is_new
        )
        SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written
    """  # noqa: S608


_STAGED = re.compile(r"\bs\.")


def _of(side: str, names: Iterable[str]) -> str:
    return ", ".join(f'{side}."{name}"' for name in names)
