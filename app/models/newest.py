"""The newest snapshot of many listings at once, without a look into the history of each.

How new the newest snapshot of a listing is, the listing knows itself. What it says is read from
where the newest ones lie together: a look into each market's history costs a distant page of a
large index for each of them, but the newest of all are side by side at the end of an index by time.
Only what is not found so is looked up in its own history.
"""

from collections.abc import Sequence

_LOOK_UP = """
    SELECT * FROM market_snapshot s
    WHERE s.market_id = l.market_id AND s.provider = l.provider
    ORDER BY s.observed_at DESC LIMIT 1
"""
_AGES = """
    SELECT l.market_id, l.provider, l.observed_at {carried} FROM ({listings}) l
    WHERE l.observed_at IS NOT NULL
    UNION ALL
    SELECT l.market_id, l.provider, o.observed_at {carried}
    FROM ({listings}) l LEFT JOIN LATERAL ({look_up}) o ON true
    WHERE l.observed_at IS NULL
"""
# As many of the newest snapshots are read as there are listings: where all are kept up to date, the
# newest of each is among them. The order is that of `ix_market_snapshot_newest`, an index by an
# expression, lest PostgreSQL takes it for the newest of one market and reads what all others
# brought since.
_VALUES = """
    newest AS (
        SELECT DISTINCT ON (market_id, provider) * FROM (
            SELECT market_id, provider, observed_at, {column} FROM market_snapshot
            ORDER BY observed_at AT TIME ZONE 'UTC' DESC LIMIT (SELECT count(*) FROM listing)
        ) recent ORDER BY market_id, provider, observed_at DESC
    ), asked AS MATERIALIZED (
        SELECT l.market_id, l.provider, n.observed_at, n.{column} {carried}
        FROM ({listings}) l
        LEFT JOIN newest n ON n.market_id = l.market_id AND n.provider = l.provider
    ), newest_snapshot AS (
        SELECT * FROM asked WHERE observed_at IS NOT NULL
        UNION ALL
        SELECT l.market_id, l.provider, o.observed_at, o.{column} {carried}
        FROM asked l CROSS JOIN LATERAL ({look_up}) o
        WHERE l.observed_at IS NULL
    )
"""


def select_ages(listings: str, *, carry: Sequence[str] = ()) -> str:
    """The SQL of a row for each listing, with `observed_at` null only where there is no snapshot.

    `listings` is the SQL, evaluated twice, of rows of `listing` with its `market_id`, `provider`
    and `observed_at`, and the columns `carry`. The rows have the same columns.
    """
    return _AGES.format(listings=listings, carried=_list(carry), look_up=_LOOK_UP)


def with_ages(listings: str, *, carry: Sequence[str] = ()) -> str:
    """Named queries for a WITH, of which `newest_snapshot` is `select_ages` of them.

    For `listings` that cost something: they are evaluated once.
    """
    ages = select_ages("TABLE asked", carry=carry)
    return f"asked AS MATERIALIZED ({listings}), newest_snapshot AS ({ages})"


def with_values(listings: str, column: str, *, carry: Sequence[str] = ()) -> str:
    """Named queries for a WITH, of which `newest_snapshot` has a row for each listing with data.

    `listings` is the SQL of rows with `market_id`, `provider` and the columns `carry`. A row of
    `newest_snapshot` has these, and `observed_at` and `column` of the newest snapshot.
    """
    return _VALUES.format(listings=listings, column=column, carried=_list(carry), look_up=_LOOK_UP)


def _list(carried: Sequence[str]) -> str:
    return "".join(f", l.{name}" for name in carried)
