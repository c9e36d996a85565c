"""The rejected rows of a run, some at a time: all of them, or those of one reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.database.base import AnySession
from app.errors import InvalidRequest
from app.services.paging import read_cursor, write_cursor
from app.services.views import RejectedRowView

ROWS_SHOWN = 100
# Rows of markets themselves come first, and a run keeps as many problems.
_MOST_SET_ASIDE = 1000
# Less than the largest bigint.
_NUMBER = re.compile("[0-9]{1,18}")
_FIELDS = ("kind", "symbol", "provider_id", "reason", "detail", "raw", "observed_at")
_SELECT = f"SELECT id, {', '.join(_FIELDS)} FROM rejected_row"  # noqa: S608 - names
# A column of a statement about `ingestion_run`.
SET_ASIDE = f"""
    (SELECT coalesce(jsonb_agg(DISTINCT symbol), '[]') FROM (
         SELECT kind, symbol FROM rejected_row WHERE run_id = ingestion_run.id
         ORDER BY id LIMIT {_MOST_SET_ASIDE}) j
     WHERE kind = 'snapshot' AND symbol IS NOT NULL)
"""  # noqa: S608 - a number


@dataclass(frozen=True, slots=True)
class RejectedFilter:
    """Which rejected rows: of one reason or of any, from the start or after a cursor."""

    reason: str | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class RejectedPage:
    """Rows in the order in which they were stored; `next_cursor` is None on the last page."""

    rows: tuple[RejectedRowView, ...] = ()
    next_cursor: str | None = None


def load_rejected(session: AnySession, run_id: UUID, wanted: RejectedFilter) -> RejectedPage:
    """At most 100 rejected rows of a run; `InvalidRequest` for a bad cursor."""
    values: dict[str, Any] = {"id": run_id, "limit": ROWS_SHOWN + 1, "reason": wanted.reason}
    values["after"] = _read_id(wanted.cursor)
    conditions = ["run_id = :id", "id > :after"]
    if wanted.reason:
        conditions.append("reason = :reason")
    statement = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY id LIMIT :limit"
    found = session.execute(text(statement), values).mappings().all()
    shown = found[:ROWS_SHOWN]
    more = len(found) > ROWS_SHOWN
    return RejectedPage(
        tuple(RejectedRowView(**{name: row[name] for name in _FIELDS}) for row in shown),
        write_cursor([shown[-1]["id"]]) if more else None,
    )


def order_reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent reason first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _read_id(cursor: str | None) -> int:
    after = read_cursor(cursor, 1)
    if after is None:
        return 0
    number = after[0] or ""
    if not _NUMBER.fullmatch(number):
        raise InvalidRequest("The cursor is not one that this server gave out.")
    return int(number)
