"""Reading markets: the latest snapshots, one market with all that is known of it, its candles."""

import re
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.domain import Granularity
from app.errors import InvalidRequest, NotFound
from app.services.paging import check_limit, read_cursor, write_cursor
from app.services.views import (
    CandleView,
    ComparisonView,
    LatestSnapshot,
    ListingView,
    MarketDetail,
    MarketPage,
    MarketView,
    RoiStatisticView,
    SnapshotPage,
)

MOST_CANDLES = 5000
# What a list can be sorted by: a number, its absence last; ties are broken by symbol.
SORTS = {
    "rank": "coalesce(rank, 1000000 + market_id)",
    "price": "price",
    "volume": "volume",
    "roi_1h": "roi_1h_pct",
    "roi_24h": "roi_24h_pct",
    "roi_7d": "roi_7d_pct",
    "roi_30d": "roi_30d_pct",
    "age": "-extract(epoch FROM observed_at)",
}
_SNAPSHOT = """
    m.id AS market_id, m.symbol, m.name, m.asset_type, m.quote, s.provider, s.observed_at,
    s.stored_at, s.run_id, s.price, s.volume, s.market_cap, s.volatility, s.roi_1h_pct,
    s.roi_24h_pct, s.roi_7d_pct, s.roi_30d_pct, s.derived, s.flags
"""
_NEWEST = """
    CROSS JOIN LATERAL (
        SELECT * FROM market_snapshot s
        WHERE s.market_id = l.market_id AND s.provider = l.provider
        ORDER BY s.observed_at DESC LIMIT 1
    ) s
"""
_SPARKLINES = """
    SELECT n.market_id, array_agg(a.close::float8 ORDER BY a.opened_at) AS closes
    FROM unnest(CAST(:market_ids AS int[]), CAST(:providers AS text[]),
                CAST(:observed AS timestamptz[])) AS n(market_id, provider, observed_at)
    JOIN market_aggregate a ON a.market_id = n.market_id AND a.provider = n.provider
         AND a.granularity = 'hourly' AND a.opened_at > n.observed_at - interval '7 days'
         AND a.opened_at <= n.observed_at
    WHERE extract(hour FROM a.opened_at)::int % 3 = 2
       OR a.opened_at > n.observed_at - interval '3 hours'
    GROUP BY n.market_id
"""
_MARKETS = """
    SELECT m.id, m.symbol, m.name, m.asset_type, m.quote, m.former_symbols, m.created_at,
           coalesce(jsonb_agg(jsonb_build_object(
               'provider', l.provider, 'provider_id', l.provider_id, 'quote', l.quote,
               'provider_symbol', l.provider_symbol, 'name', l.name, 'rank', l.rank,
               'chosen_by', l.chosen_by, 'seen_at', l.seen_at) ORDER BY l.provider)
               FILTER (WHERE l.id IS NOT NULL), '[]') AS listings
    FROM market m LEFT JOIN listing l ON l.market_id = m.id
"""
_STATISTICS = """
    SELECT DISTINCT ON (r.provider, r."window") r.*
    FROM market_roi_statistic r WHERE r.market_id = :market_id
    ORDER BY r.provider, r."window", r.last_at DESC
"""
_COMPARISONS = """
    SELECT a.symbol, b.symbol AS against_symbol, c.*
    FROM (
        SELECT DISTINCT ON (market_id, against_market_id, provider) *
        FROM market_comparison
        WHERE market_id = :market_id OR against_market_id = :market_id
        ORDER BY market_id, against_market_id, provider, observed_at DESC
    ) c
    JOIN market a ON a.id = c.market_id JOIN market b ON b.id = c.against_market_id
    ORDER BY a.symbol, b.symbol LIMIT 50
"""
_CANDLES = """
    SELECT opened_at, open, high, low, close, volume, average, volatility, change_pct,
           sample_count, is_final, basis, provider
    FROM market_aggregate
    WHERE market_id = :market_id AND provider = :provider AND granularity = :granularity
      AND (CAST(:start AS timestamptz) IS NULL OR opened_at >= :start)
      AND (CAST(:end AS timestamptz) IS NULL OR opened_at < :end)
    ORDER BY opened_at DESC LIMIT :limit
"""
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(E[+-]?[0-9]{1,3})?")
_WINDOW_ORDER = {"1h": 0, "24h": 1, "7d": 2, "30d": 3}


def load_latest_snapshots(
    session: AnySession,
    *,
    provider: str,
    search: str = "",
    sort: str = "rank",
    cursor: str | None = None,
    limit: int = 50,
) -> SnapshotPage:
    """The newest snapshot of each market at one provider; two queries however many there are.

    `sort` is a name in `SORTS` or `symbol`, with `-` in front for the other direction.
    `InvalidRequest` for an unknown sort, a bad cursor or a limit out of range.
    """
    order = _Order(sort)
    values: dict[str, Any] = {
        "limit": check_limit(limit) + 1,
        "search": _pattern(search),
        "provider": provider,
    }
    after = order.read(cursor)
    statement = f"""
        WITH latest AS (
            SELECT {_SNAPSHOT}, l.rank
            FROM market m JOIN listing l ON l.market_id = m.id AND l.provider = :provider {_NEWEST}
            WHERE :search = '' OR m.symbol ILIKE :search OR m.name ILIKE :search
        )
        SELECT *, {order.key} AS sort_key FROM latest
        WHERE {order.condition if after else "true"}
        ORDER BY {order.by} LIMIT :limit
    """  # noqa: S608 - made of the constants above
    rows = session.execute(text(statement), values | (after or {})).mappings().all()
    shown = rows[:limit]
    lines = _load_sparklines(session, shown)
    return SnapshotPage(
        rows=tuple(_snapshot(row, lines.get(row["market_id"], ())) for row in shown),
        next_cursor=order.write(shown[-1]) if len(rows) > limit else None,
    )


def load_markets(
    session: AnySession, *, search: str = "", cursor: str | None = None, limit: int = 100
) -> MarketPage:
    """Markets with their listings, by symbol."""
    after = read_cursor(cursor, 1)
    values = {
        "limit": check_limit(limit) + 1,
        "search": _pattern(search),
        "after": (after[0] or "") if after else "",
    }
    where = """
        WHERE m.symbol > :after AND (:search = '' OR m.symbol ILIKE :search OR m.name ILIKE :search)
        GROUP BY m.id ORDER BY m.symbol LIMIT :limit
    """
    rows = session.execute(text(_MARKETS + where), values).mappings().all()
    shown = rows[:limit]
    return MarketPage(
        markets=tuple(_market(row) for row in shown),
        next_cursor=write_cursor([shown[-1]["symbol"]]) if len(rows) > limit else None,
    )


def load_market(session: AnySession, symbol: str) -> MarketDetail:
    """One market with its newest snapshot a provider, statistics and comparisons.

    A former symbol finds it too. `NotFound` for an unknown one.
    """
    row = _find_market(session, symbol)
    values = {"market_id": row["id"]}
    snapshots = (
        session.execute(
            text(
                f"SELECT {_SNAPSHOT} FROM market m JOIN listing l ON l.market_id = m.id {_NEWEST} "  # noqa: S608
                "WHERE m.id = :market_id ORDER BY s.observed_at DESC"
            ),
            values,
        )
        .mappings()
        .all()
    )
    lines = _load_sparklines(session, snapshots[:1])
    return MarketDetail(
        market=_market(row),
        snapshots=tuple(
            _snapshot(item, lines.get(item["market_id"], ()) if item is snapshots[0] else ())
            for item in snapshots
        ),
        roi_statistics=_load_statistics(session, values),
        comparisons=_load_comparisons(session, values),
    )


def load_candles(
    session: AnySession,
    symbol: str,
    *,
    granularity: Granularity,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int = 500,
) -> tuple[CandleView, ...]:
    """The newest candles that opened in `[start, end)`, oldest first, of one provider.

    Of several providers the one seen last counts. `NotFound`, or `InvalidRequest` for a limit.
    """
    if not 1 <= limit <= MOST_CANDLES:
        raise InvalidRequest(f"limit is {limit}, but must be 1 to {MOST_CANDLES}.")
    market = _market(_find_market(session, symbol))
    if not market.listings:
        return ()
    newest = max(market.listings, key=lambda listing: listing.seen_at)
    values = {
        "market_id": _find_market(session, symbol)["id"],
        "provider": newest.provider,
        "granularity": granularity.value,
        "start": start,
        "end": end,
        "limit": limit,
    }
    rows = session.execute(text(_CANDLES), values).mappings().all()
    return tuple(CandleView(**row) for row in reversed(rows))


class _Order:
    """One way to sort the latest snapshots, and where a page of it starts."""

    def __init__(self, sort: str) -> None:
        self.is_descending = sort.startswith("-")
        self.name = sort.removeprefix("-")
        if self.name not in SORTS and self.name != "symbol":
            known = ", ".join([*SORTS, "symbol"])
            raise InvalidRequest(f"sort is {sort[:40]!r}, but must be one of {known}, or -NAME.")
        sign = "-" if self.is_descending else ""
        self.key = "NULL::numeric" if self.name == "symbol" else f"({sign}({SORTS[self.name]}))"
        direction, relation = ("DESC", "<") if self._is_reversed_symbol else ("ASC", ">")
        self.by = f"({self.key}) IS NULL, {self.key}, symbol {direction}"
        self.condition = f"symbol {relation} :symbol"
        if self.name != "symbol":
            self.condition = (
                f"(({self.key}) IS NULL, coalesce({self.key}, 0), symbol) > "
                "(CAST(:is_null AS boolean), CAST(:value AS numeric), :symbol)"
            )

    @property
    def _is_reversed_symbol(self) -> bool:
        return self.name == "symbol" and self.is_descending

    def write(self, row: RowMapping) -> str:
        return write_cursor([row["sort_key"], row["symbol"]])

    def read(self, cursor: str | None) -> dict[str, Any] | None:
        values = read_cursor(cursor, 2)
        if values is None:
            return None
        value, symbol = values
        if self.name == "symbol":
            return {"symbol": symbol or ""}
        if not _NUMBER.fullmatch(value or "0"):
            raise InvalidRequest("The cursor belongs to another list.")
        return {"is_null": value is None, "value": value or "0", "symbol": symbol or ""}


def _pattern(search: str) -> str:
    """A LIKE pattern for what people type; empty for nothing."""
    cleaned = search.strip()[:100].replace("\x00", "")
    if not cleaned:
        return ""
    escaped = cleaned.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _find_market(session: AnySession, symbol: str) -> RowMapping:
    wanted = symbol.strip().upper().replace("\x00", "")[:100]
    where = """
        WHERE m.symbol = :symbol OR :symbol = ANY(m.former_symbols)
        GROUP BY m.id ORDER BY m.symbol <> :symbol LIMIT 1
    """
    row = session.execute(text(_MARKETS + where), {"symbol": wanted}).mappings().first()
    if row is None:
        raise NotFound(f"There is no market {symbol[:80]}.")
    return row


def _load_sparklines(
    session: AnySession, rows: list[RowMapping] | tuple[RowMapping, ...] | Any
) -> dict[int, tuple[float, ...]]:
    if not rows:
        return {}
    values = {
        "market_ids": [row["market_id"] for row in rows],
        "providers": [row["provider"] for row in rows],
        "observed": [row["observed_at"] for row in rows],
    }
    found = session.execute(text(_SPARKLINES), values)
    return {row.market_id: tuple(row.closes) for row in found}


def _snapshot(row: RowMapping, sparkline: tuple[float, ...]) -> LatestSnapshot:
    names = set(LatestSnapshot.__dataclass_fields__) - {
        "sparkline",
        "derived",
        "flags",
        "run_id",
    }
    return LatestSnapshot(
        **{name: row[name] for name in names},
        run_id=str(row["run_id"]) if row["run_id"] else None,
        derived=frozenset(row["derived"]),
        flags=tuple(row["flags"]),
        sparkline=sparkline,
    )


def _market(row: RowMapping) -> MarketView:
    return MarketView(
        symbol=row["symbol"],
        name=row["name"],
        asset_type=row["asset_type"],
        quote=row["quote"],
        former_symbols=tuple(row["former_symbols"]),
        created_at=row["created_at"],
        listings=tuple(
            ListingView(**item | {"seen_at": datetime.fromisoformat(item["seen_at"])})
            for item in row["listings"]
        ),
    )


def _load_statistics(session: AnySession, values: dict[str, Any]) -> tuple[RoiStatisticView, ...]:
    names = tuple(RoiStatisticView.__dataclass_fields__)
    rows = session.execute(text(_STATISTICS), values).mappings()
    found = [RoiStatisticView(**{name: row[name] for name in names}) for row in rows]
    return tuple(sorted(found, key=lambda item: (item.provider, _WINDOW_ORDER[item.window])))


def _load_comparisons(session: AnySession, values: dict[str, Any]) -> tuple[ComparisonView, ...]:
    names = tuple(ComparisonView.__dataclass_fields__)
    rows = session.execute(text(_COMPARISONS), values).mappings()
    return tuple(ComparisonView(**{name: row[name] for name in names}) for row in rows)
