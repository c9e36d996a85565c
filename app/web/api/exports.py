"""What is stored as CSV files, streamed row by row."""

import threading
from collections.abc import Generator
from itertools import chain
from typing import Annotated, Any, Self
from uuid import UUID

from flask import Response
from pydantic import Field, RootModel, model_validator
from werkzeug.exceptions import TooManyRequests

from app.domain import Granularity
from app.errors import NotFound
from app.extensions import db
from app.services.exports import ExportFilter, ExportKind, export_csv
from app.web.api.markets import Instant
from app.web.api.paging import Words
from app.web.openapi import Endpoint, Operation, QueryModel, read_query

MEDIA_TYPE = "text/csv"
# Each holds a thread and a connection for as long as its reader takes.
MOST_AT_ONCE = 2
RETRY_AFTER_SECONDS = 10

_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class ExportQuery(QueryModel):
    """Which rows; a filter that the kind does not have is refused."""

    market: Annotated[Words, Field(min_length=1)] | None = Field(
        default=None, description="A symbol; not of runs."
    )
    granularity: Granularity | None = Field(default=None, description="Of candles only.")
    start: Instant | None = Field(default=None, description="ISO 8601 with zone, or a date (UTC).")
    end: Instant | None = Field(default=None, description="Exclusive; as `start`.")
    run: UUID | None = Field(default=None, description="The id of a run; of rejected rows only.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("start must be before end")
        return self


class ExportText(RootModel[str]):
    """CSV as in RFC 4180, UTF-8, with a header line."""


class ExportEndpoint(Endpoint):
    """An operation that answers with a stream instead of a model."""

    def __call__(self, **path: Any) -> Response:
        """The file; problems known before its first row are answered as problems."""
        return self._view(**path, query=read_query(ExportQuery))  # type: ignore[return-value]


def stream_export(*, kind: str, query: ExportQuery) -> Response:
    """Every stored row of a kind as CSV, oldest first within a market, in one consistent view.

    Numbers are exact as stored, without exponents; instants are ISO 8601 in UTC. A text that a
    spreadsheet might run as a formula has an apostrophe in front. At most two exports run at a time
    in a process.
    """
    if kind not in set(ExportKind):
        raise NotFound(f"There is no export {kind[:40]}; there are {', '.join(ExportKind)}.")
    parts = _in_turn(export_csv(db.engine, ExportKind(kind), ExportFilter(**dict(query))))
    # What can go wrong goes wrong before the first part, and can still be told.
    response = Response(chain([next(parts)], parts), mimetype=MEDIA_TYPE)
    response.call_on_close(parts.close)
    response.headers["Content-Type"] = f"{MEDIA_TYPE}; charset=utf-8; header=present"
    response.headers["Content-Disposition"] = f'attachment; filename="tapedeck-{kind}.csv"'
    return response


def _in_turn(parts: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """The parts, while one of the places is taken."""
    if not _places.acquire(blocking=False):
        raise TooManyRequests(
            f"{MOST_AT_ONCE} exports are running; try again when one is done.",
            retry_after=RETRY_AFTER_SECONDS,
        )
    try:
        yield from parts
    finally:
        _places.release()


export_rows = ExportEndpoint(
    Operation(
        summary="Export rows",
        answers={200: ExportText},
        problems=(404,),
        query=ExportQuery,
        media_type=MEDIA_TYPE,
    ),
    stream_export,  # type: ignore[arg-type]
)
