"""The newest snapshot of many listings at once, without a look into the history of each.

How new the newest snapshot of a listing is, the listing knows itself. What it says is read from
where the newest ones lie together: a look into each market's history costs a distant page of a
large index for each of them, but the newest of all are side by side at the end of an index by time.
Only what is not found so is looked up in its own history.
"""

from collections.abc import Sequence

# OFFSET 0 keeps the planner from looking up an instant once for every place that names it. What a
# CASE or coalesce does not ask for is not looked up at all.
_AGES = """
    SELECT l.market_id, l.provider, coalesce(l.observed_at, (
        SELECT s.observed_at FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1)) AS observed_at {carried}
    FROM ({listings}) l OFFSET 0
"""
# At least as many of the newest snapshots are read as there are listings (their highest id is told
# sooner than their count): where all are kept up to date, the newest of each is among them. The
# order is that of `ix_market_snapshot_newest`, an index by an expression, lest PostgreSQL takes it
# for the newest of one market and reads what all others brought since.
_VALUES = """
    newest_snapshot AS (
        SELECT l.market_id, l.provider, coalesce(l.recent_at, (l.found).observed_at) AS observed_at,
               CASE WHEN l.recent_at IS NULL THEN (l.found).{column} ELSE l.{column} END AS {column}
               {carried}
        FROM (
            SELECT l.market_id, l.provider, r.observed_at AS recent_at, r.{column},
                   CASE WHEN r.observed_at IS NULL THEN (
                       SELECT s FROM market_snapshot s
                       WHERE s.market_id = l.market_id AND s.provider = l.provider
                       ORDER BY s.observed_at DESC LIMIT 1) END AS found {carried}
            FROM ({listings}) l LEFT JOIN (
                SELECT market_id, provider, observed_at, {column} FROM market_snapshot
                ORDER BY observed_at AT TIME ZONE 'UTC' DESC LIMIT (SELECT max(id) FROM listing)
            ) r ON r.market_id = l.market_id AND r.provider = l.provider
               AND r.observed_at = l.observed_at
            OFFSET 0
        ) l
        WHERE coalesce(l.recent_at, (l.found).observed_at) IS NOT NULL
    )
"""


def select_ages(listings: str, *, carry: Sequence[str] = ()) -> str:
    """The SQL of a row for each listing, with `observed_at` null only where there is no snapshot.

    `listings` is the SQL of rows of `listing` with its `market_id`, `provider` and `observed_at`,
    and the columns `carry`. The rows have the same columns.
    """
    return _AGES.format(listings=listings, carried=_list(carry))


def with_ages(listings: str, *, carry: Sequence[str] = ()) -> str:
    """A named query for a WITH: `newest_snapshot` is `select_ages` of the listings."""
    return f"newest_snapshot AS ({select_ages(listings, carry=carry)})"


def with_values(listings: str, column: str, *, carry: Sequence[str] = ()) -> str:
    """A named query for a WITH: `newest_snapshot` has a row for each listing with data.

    `listings` is as for `select_ages`. A row has its columns, and `observed_at` and `column` of the
    newest snapshot.
    """
    return _VALUES.format(listings=listings, column=column, carried=_list(carry))


def _list(carried: Sequence[str]) -> str:
    return "".join(f", l.{name}" for name in carried)
