"""What the listing routes have in common: page size, cursor and harmless text."""

from typing import Annotated

from pydantic import Field, StringConstraints

from app.web.openapi import QueryModel

MAX_PAGE = 250
# Printable text: no control characters, of which PostgreSQL could not even store NUL.
Words = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[\x21-\x7e]+$")]
CURSOR_HELP = "The `nextCursor` of the page before."


class PageQuery(QueryModel):
    """Which page, and how long."""

    cursor: Cursor | None = Field(default=None, description=CURSOR_HELP)
    limit: int = Field(default=50, ge=1, le=MAX_PAGE, description="Entries on a page.")
