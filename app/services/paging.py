"""Keyset cursors: where the next page starts, as an opaque text for addresses."""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

from app.errors import InvalidRequest

LARGEST_PAGE = 250


def write_cursor(values: Sequence[Any]) -> str:
    """The cursor that continues after a row with these sort values."""
    text = json.dumps([None if value is None else str(value) for value in values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, length: int) -> list[str | None] | None:
    """The sort values in a cursor, None without one; `InvalidRequest` when it is none of ours."""
    if not cursor:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        values = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError):
        raise InvalidRequest("The cursor is not one that this server gave out.") from None
    if not isinstance(values, list) or len(values) != length:
        raise InvalidRequest("The cursor belongs to another list.")
    if not all(value is None or _is_storable(value) for value in values):
        raise InvalidRequest("The cursor is not one that this server gave out.")
    return values


def _is_storable(value: object) -> bool:
    """True for text that PostgreSQL can take: no NUL, no lone surrogate."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


def check_limit(limit: int) -> int:
    """The page size, or `InvalidRequest` when it is out of range."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidRequest(f"limit is {limit}, but must be 1 to {LARGEST_PAGE}.")
    return limit
