"""The SQL that several reads of markets share; `m` is a market, `l` a listing, `s` a snapshot."""

SNAPSHOT_COLUMNS = """
    m.id AS market_id, m.symbol, m.name, m.asset_type, m.quote, s.provider, s.observed_at,
    s.stored_at, s.run_id, s.price, s.volume, s.market_cap, s.volatility, s.roi_1h_pct,
    s.roi_24h_pct, s.roi_7d_pct, s.roi_30d_pct, s.derived, s.flags
"""
NEWEST = """
    CROSS JOIN LATERAL (
        SELECT * FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1
    ) s
"""
# Those that were renamed are found apart, so that the planner can tell from `searched` alone how
# many markets there will be.
MARKET_IS_FOUND = """
    (:search = '' OR m.searched LIKE lower(:search) OR m.id = ANY(ARRAY(
        SELECT r.id FROM market r WHERE r.former_symbols <> '{}'
        AND EXISTS (SELECT FROM unnest(r.former_symbols) AS former WHERE former ILIKE :search))))
"""
MARKET_WITH_LISTINGS = """
    SELECT m.id, m.symbol, m.name, m.asset_type, m.quote, m.former_symbols, m.created_at,
           coalesce(jsonb_agg(jsonb_build_object(
               'provider', l.provider, 'provider_id', l.provider_id, 'quote', l.quote,
               'provider_symbol', l.provider_symbol, 'name', l.name, 'rank', l.rank,
               'chosen_by', l.chosen_by, 'seen_at', l.seen_at) ORDER BY l.provider)
               FILTER (WHERE l.id IS NOT NULL), '[]') AS listings
    FROM market m LEFT JOIN listing l ON l.market_id = m.id
"""
