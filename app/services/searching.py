"""What people type into a search field, made safe for a query."""

from app.ingestion.validation import storable_text

LONGEST_SEARCH = 100


def like_pattern(search: str) -> str:
    """A LIKE pattern for what people type; empty for nothing."""
    cleaned = searchable(search)
    if not cleaned:
        return ""
    escaped = cleaned.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def searchable(given: str) -> str:
    """At most 100 characters of what somebody typed, all of which PostgreSQL takes."""
    return storable_text(given.strip(), LONGEST_SEARCH)
