"""The one bulk-load path: COPY into a staging table, then one set-based merge.

Rows that are already stored with the same values are joined away before anything is written, so a
repeated batch leaves no dead row and almost no WAL. Keys are unique within a batch (the last row of
a key wins) and rows are written in key order, so concurrent writers meet in the same order.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import Any
from zlib import crc32

from sqlalchemy import Boolean, Connection, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

PROVENANCE = ("run_id", "stored_at")
CHUNK_ROWS = 50_000
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


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


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """A table to merge into; the key is its primary key.

    `columns` are those the rows carry, in their order. `guard` is an SQL condition over `s` (the
    staged row) and `t` (the stored one): where it is false a stored row is left as it is.
    """

    table: Table
    columns: tuple[str, ...]
    guard: str = "true"

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the key columns."""
        return tuple(column.name for column in self.table.primary_key)


def merge_rows(
    connection: Connection, target: MergeTarget, rows: Iterable[Sequence[Any]], *, run_id: Any
) -> MergeCounts:
    """Insert new rows, update changed ones, leave the others alone; within the open transaction.

    Each row holds the values of `target.columns`; memory stays bounded by one chunk. Raises
    `sqlalchemy.exc.DBAPIError` or `psycopg2.Error` when the database refuses a value.
    """
    counts = MergeCounts()
    pending = iter(rows)
    while chunk := list(islice(pending, CHUNK_ROWS)):
        counts += _merge_chunk(connection, target, chunk, run_id)
    return counts


def read_columns(
    connection: Connection, query: str, values: Mapping[str, Any]
) -> list[list[bytes]]:
    """The columns of `query` as texts, read by COPY: several times faster than fetching rows.

    `query` has psycopg2's named placeholders (`%(name)s`) and yields values without tab, backslash
    or line break: numbers, instants and the like. A null is `\\N`.
    """
    sink = BytesIO()
    with _cursor(connection) as cursor:
        bound = cursor.mogrify(query, values).decode()
        cursor.copy_expert(f"COPY ({bound}) TO STDOUT", sink)
    lines = sink.getvalue()
    if not lines:
        return []
    width = lines[: lines.index(b"\n")].count(b"\t") + 1
    cells = lines[:-1].replace(b"\n", b"\t").split(b"\t")
    return [cells[column::width] for column in range(width)]


class _Lines:
    """A readable file over formatted lines, so that COPY never needs the whole text at once."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def read(self, size: int = -1) -> str:
        return "".join(islice(self._lines, 2000))


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


def _merge_chunk(
    connection: Connection, target: MergeTarget, chunk: list[Sequence[Any]], run_id: Any
) -> MergeCounts:
    places = [target.columns.index(name) for name in target.key]
    unique = {tuple(row[place] for place in places): row for row in chunk}
    create, copy, merge = _statements(target)
    with _cursor(connection) as cursor:
        cursor.execute(create)
        cursor.copy_expert(copy, _Lines(_format_rows(target, unique.values())))
        cursor.execute(merge, (str(run_id),))
        inserted, updated = cursor.fetchone()
    return MergeCounts(inserted, updated, len(unique) - inserted - updated)


@lru_cache(maxsize=64)
def _statements(target: MergeTarget) -> tuple[str, str, str]:
    """The three statements of a merge: empty staging table, COPY, merge."""
    table = target.table.name
    staging = f"staging_{table}_{crc32(','.join(target.columns).encode()):08x}"
    names = ", ".join(f'"{name}"' for name in target.columns)
    values = [name for name in target.columns if name not in target.key]
    staged, stored = (", ".join(f'{side}."{name}"' for name in values) for side in "st")
    same_key = " AND ".join(f't."{name}" = s."{name}"' for name in target.key)
    key = ", ".join(f'"{name}"' for name in target.key)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in [*values, *PROVENANCE])
    create = f"""
        CREATE TEMP TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS AS
        SELECT {names} FROM {table} WITH NO DATA;
        TRUNCATE {staging}
    """  # noqa: S608 - names come from the models, never from outside
    merge = f"""
        WITH changed AS MATERIALIZED (
            SELECT s.*, t."{target.key[0]}" IS NOT NULL AS is_stored
            FROM {staging} s LEFT JOIN {table} t ON {same_key}
            WHERE t."{target.key[0]}" IS NULL
               OR (({target.guard}) AND ({staged}) IS DISTINCT FROM ({stored}))
        ), written AS (
            INSERT INTO {table} ({names}, run_id, stored_at)
            SELECT {names}, %s::uuid, clock_timestamp() FROM changed ORDER BY {key}
            ON CONFLICT ({key}) DO UPDATE SET {sets}
        )
        SELECT count(*) FILTER (WHERE NOT is_stored), count(*) FILTER (WHERE is_stored)
        FROM changed
    """  # noqa: S608
    return create, f"COPY {staging} ({names}) FROM STDIN", merge


def _format_rows(target: MergeTarget, rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    formats = [_formatter(target.table.c[name].type) for name in target.columns]
    for row in rows:
        cells = [
            _NULL if value is None else form(value)
            for form, value in zip(formats, row, strict=True)
        ]
        yield "\t".join(cells) + "\n"


def _formatter(kind: Any) -> Callable[[Any], str]:
    if isinstance(kind, JSONB):
        return lambda value: json.dumps(value, sort_keys=True).translate(_ESCAPES)
    if isinstance(kind, ARRAY):
        return lambda value: _array(value).translate(_ESCAPES)
    if isinstance(kind, Text):
        return lambda value: value.translate(_ESCAPES)
    if isinstance(kind, (Boolean, Numeric)):
        return str
    return _format_plain


@lru_cache(maxsize=4096)
def _format_instant(value: datetime) -> str:
    return value.isoformat()


def _format_plain(value: Any) -> str:
    return _format_instant(value) if isinstance(value, datetime) else str(value)


def _array(items: Iterable[str]) -> str:
    quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    return "{" + ",".join(quoted) + "}"
