"""What is stored as CSV: any number of rows through a server-side cursor, in bounded memory.

The text follows RFC 4180 in UTF-8. Numbers are the database's own digits: exact as stored, without
exponents. A text cell that a spreadsheet might run as a formula gets an apostrophe in front.
"""

import csv
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from io import StringIO
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from app.domain import Granularity
from app.errors import InvalidRequest, NotFound
from app.services.export_columns import SOURCES, Column, Source

ROWS_PER_BATCH = 2000
_KNOWN = """
    SELECT 1 FROM market
    WHERE symbol = :symbol OR former_symbols @> ARRAY[CAST(:symbol AS text)]
"""
# What spreadsheets take for the beginning of a formula, or skip on the way to one.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class ExportKind(StrEnum):
    """What can be exported."""

    SNAPSHOTS = "snapshots"
    CANDLES = "candles"
    ROI_STATISTICS = "roi-statistics"
    COMPARISONS = "comparisons"
    RUNS = "runs"
    REJECTED_ROWS = "rejected-rows"


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Which rows: of one market, of one granularity, of the time in `[start, end)`, of one run."""

    market: str | None = None
    granularity: Granularity | None = None
    start: datetime | None = None
    end: datetime | None = None
    run: UUID | None = None


def export_csv(
    engine: Engine, kind: ExportKind, wanted: ExportFilter
) -> Generator[bytes, None, None]:
    """The header line, then the rows in parts of some hundred kilobytes.

    `engine` lends one connection until the iterator ends or is closed; all rows are of one moment.
    At the first part it raises `InvalidRequest` for a filter that the kind does not have and
    `NotFound` for an unknown market; rejected rows may name a market that was never followed.
    """
    source = SOURCES[kind.value]
    statement, values = _query(source, wanted)
    with engine.connect() as connection:
        if kind is not ExportKind.REJECTED_ROWS:
            _check_market(connection, values.get("market"))
        streamed = connection.execution_options(
            stream_results=True, max_row_buffer=ROWS_PER_BATCH
        ).execute(text(statement), values)
        yield _lines([[column.name for column in source.columns]])
        for rows in streamed.partitions(ROWS_PER_BATCH):
            yield _lines(_cells(source.columns, row) for row in rows)


def guard(cell: str) -> str:
    """A text cell that no spreadsheet runs."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _check_market(connection: Connection, symbol: str | None) -> None:
    if symbol and connection.execute(text(_KNOWN), {"symbol": symbol}).first() is None:
        raise NotFound(f"There is no market {symbol[:80]}.")


def _query(source: Source, wanted: ExportFilter) -> tuple[str, Mapping[str, Any]]:
    values = {
        "market": wanted.market.strip().upper().replace("\x00", "") if wanted.market else None,
        "granularity": wanted.granularity.value if wanted.granularity else None,
        "start": wanted.start,
        "end": wanted.end,
        "run": wanted.run,
    }
    if wanted.start and wanted.end and wanted.start >= wanted.end:
        raise InvalidRequest("start must be before end.")
    given = {name: value for name, value in values.items() if value is not None}
    conditions = source.conditions
    for name in given:
        if name not in conditions:
            raise InvalidRequest(f"{name} is no filter of this export.")
    where = " AND ".join(conditions[name] for name in given) or "true"
    columns = ", ".join(f"{column.sql} AS {column.name}" for column in source.columns)
    return f"SELECT {columns} FROM {source.tables} WHERE {where} ORDER BY {source.order}", given  # noqa: S608


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> list[str]:
    return [
        "" if cell is None else guard(cell) if column.is_text else cell
        for column, cell in zip(columns, row, strict=True)
    ]


def _lines(rows: Iterator[list[str]] | Sequence[list[str]]) -> bytes:
    sink = StringIO(newline="")
    csv.writer(sink, lineterminator="\r\n").writerows(rows)
    return sink.getvalue().encode()
