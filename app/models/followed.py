"""Which listings are followed now: the markets that are named, and the `top:N` largest.

What is no longer asked for keeps its history, but its age says nothing about the operation.
"""

from app.models.newest import with_ages

# Parameters: provider, symbols, top. Of two listings with one rank the one seen last holds it. The
# second part has those that are named and not among the first.
_LISTINGS = """
    SELECT * FROM (
        SELECT DISTINCT ON (rank) market_id, provider, observed_at FROM listing
        WHERE provider = :provider AND rank <= :top ORDER BY rank, seen_at DESC, id DESC
    ) largest
    UNION ALL
    SELECT l.market_id, l.provider, l.observed_at FROM listing l
    WHERE l.provider = :provider AND CAST(:symbols AS text[]) <> '{}'
      AND l.market_id IN (SELECT id FROM market
                          WHERE symbol = ANY(CAST(:symbols AS text[]))
                             OR former_symbols && CAST(:symbols AS text[]))
      AND (coalesce(l.rank > :top, true) OR EXISTS (
          SELECT FROM listing o
          WHERE o.provider = l.provider AND coalesce(o.rank, 1000000 + o.market_id) = l.rank
            AND o.rank = l.rank AND (o.seen_at, o.id) > (l.seen_at, l.id)))
"""
FOLLOWED_LISTINGS = f"""
    SELECT f.market_id, f.provider, f.observed_at, m.symbol, m.asset_type
    FROM ({_LISTINGS}) f JOIN market m ON m.id = f.market_id
"""  # noqa: S608 - made of the constant above
# For a WITH: `newest_snapshot` has them with the instant of their newest snapshot, or null. The
# first has no more than the market's id beside it, which is cheaper.
FOLLOWED_AGES = with_ages(_LISTINGS)
FOLLOWED_NEWEST = with_ages(FOLLOWED_LISTINGS, carry=("symbol", "asset_type"))
