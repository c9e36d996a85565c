"""Reading markets: the latest snapshots, one market with all that is known of it, its candles."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.domain import Granularity, Window
from app.errors import InvalidRequest, NotFound
from app.services.market_sql import (
    MARKET_IS_FOUND,
    MARKET_WITH_LISTINGS,
    NEWEST,
    SNAPSHOT_COLUMNS,
)
from app.services.paging import check_limit, read_cursor, write_cursor
from app.services.searching import like_pattern, searchable
from app.services.snapshot_order import SnapshotOrder
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
# Closes of the 7 days before a snapshot `s`: every third hour and the newest. As text, since that
# is the quickest way of a NUMERIC to a float, and one that takes prices no double can hold for 0.
_CLOSES = """
    SELECT string_agg(a.close::text, ' ' ORDER BY a.opened_at) AS closes
    FROM market_aggregate a
    WHERE a.market_id = s.market_id AND a.provider = s.provider AND a.granularity = 'hourly'
      AND a.opened_at > s.observed_at - interval '7 days' AND a.opened_at <= s.observed_at
      AND (extract(hour FROM a.opened_at)::int % 3 = 2
           OR a.opened_at > s.observed_at - interval '3 hours')
"""
_SPARKLINES = f"""
    SELECT s.market_id, c.closes
    FROM unnest(CAST(:market_ids AS int[]), CAST(:providers AS text[]),
                CAST(:observed AS timestamptz[])) AS s(market_id, provider, observed_at)
    CROSS JOIN LATERAL ({_CLOSES}) c
    WHERE c.closes IS NOT NULL
"""  # noqa: S608 - made of the constants above
_OF_MARKET = f"""
    SELECT {SNAPSHOT_COLUMNS}, c.closes
    FROM market m JOIN listing l ON l.market_id = m.id {NEWEST}
    CROSS JOIN LATERAL ({_CLOSES}) c
    WHERE m.id = :market_id ORDER BY s.observed_at DESC, s.provider
"""  # noqa: S608
_PAGE = f"""
    {MARKET_WITH_LISTINGS} WHERE m.id IN (
        SELECT m.id FROM market m WHERE m.symbol > :after AND {MARKET_IS_FOUND}
        ORDER BY m.symbol LIMIT :limit
    ) GROUP BY m.id ORDER BY m.symbol
"""  # noqa: S608
# One look into the index for each window and provider, however long the history is.
_STATISTICS = f"""
    SELECT r.*
    FROM listing l CROSS JOIN unnest(ARRAY[{", ".join(f"'{window}'" for window in Window)}]) AS w
    CROSS JOIN LATERAL (
        SELECT * FROM market_roi_statistic
        WHERE market_id = l.market_id AND provider = l.provider AND "window" = w
        ORDER BY last_at DESC LIMIT 1
    ) r
    WHERE l.market_id = :market_id
"""  # noqa: S608 - made of an enumeration
# Those that the market is first of: from one to the next in the index. Those that it is second of:
# may be every market, so they are taken by symbol until there are enough.
_COMPARISONS = """
    WITH RECURSIVE other(id) AS (
        (SELECT against_market_id FROM market_comparison
         WHERE market_id = :market_id ORDER BY against_market_id LIMIT 1)
        UNION ALL
        SELECT (SELECT c.against_market_id FROM market_comparison c
                WHERE c.market_id = :market_id AND c.against_market_id > o.id
                ORDER BY c.against_market_id LIMIT 1)
        FROM other o WHERE o.id IS NOT NULL
    ), forward AS (
        SELECT c.* FROM other o JOIN listing l ON l.market_id = :market_id
        CROSS JOIN LATERAL (
            SELECT * FROM market_comparison
            WHERE market_id = :market_id AND against_market_id = o.id AND provider = l.provider
            ORDER BY observed_at DESC LIMIT 1
        ) c
    ), backward AS (
        SELECT c.* FROM market o JOIN listing l ON l.market_id = o.id
        CROSS JOIN LATERAL (
            SELECT * FROM market_comparison
            WHERE market_id = o.id AND against_market_id = :market_id AND provider = l.provider
            ORDER BY observed_at DESC LIMIT 1
        ) c
        WHERE EXISTS (SELECT FROM market_comparison WHERE against_market_id = :market_id)
        ORDER BY o.symbol LIMIT 50
    )
    SELECT a.symbol, b.symbol AS against_symbol, c.*
    FROM (SELECT * FROM forward UNION ALL SELECT * FROM backward) c
    JOIN market a ON a.id = c.market_id JOIN market b ON b.id = c.against_market_id
    ORDER BY a.symbol, b.symbol, c.provider LIMIT 50
"""
_CANDLES = """
    WITH chosen AS (
        SELECT m.id, (SELECT l.provider FROM listing l WHERE l.market_id = m.id
                      ORDER BY l.seen_at DESC, l.provider LIMIT 1) AS provider
        FROM market m WHERE m.symbol = :symbol OR m.former_symbols @> ARRAY[CAST(:symbol AS text)]
        ORDER BY m.symbol <> :symbol LIMIT 1
    )
    SELECT a.opened_at, a.open, a.high, a.low, a.close, a.volume, a.average, a.volatility,
           a.change_pct, a.sample_count, a.is_final, a.basis, a.provider, a.run_id
    FROM chosen c JOIN market_aggregate a ON a.market_id = c.id AND a.provider = c.provider
    WHERE a.granularity = :granularity
      AND (CAST(:start AS timestamptz) IS NULL OR a.opened_at >= :start)
      AND (CAST(:end AS timestamptz) IS NULL OR a.opened_at < :end)
    ORDER BY a.opened_at DESC LIMIT :limit
"""
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

    `sort` is a name in `SORTS` (snapshot_order) or `symbol`; a `-` in front turns it around.
    `InvalidRequest` for an unknown sort, a bad cursor or a limit out of range.
    """
    order = SnapshotOrder(sort)
    after = order.read(cursor)
    values: dict[str, Any] = {
        "limit": check_limit(limit) + 1,
        "search": like_pattern(search),
        "provider": provider,
    }
    statement = text(order.statement(is_first=not after))
    rows = session.execute(statement, values | after).mappings().all()
    shown = rows[:limit]
    lines = _load_sparklines(session, shown)
    return SnapshotPage(
        rows=tuple(build_snapshot(row, lines.get(row["market_id"], ())) for row in shown),
        next_cursor=order.write(shown[-1]) if len(rows) > limit else None,
    )


def load_markets(
    session: AnySession, *, search: str = "", cursor: str | None = None, limit: int = 100
) -> MarketPage:
    """Markets with their listings, by symbol."""
    after = read_cursor(cursor, 1)
    values = {
        "limit": check_limit(limit) + 1,
        "search": like_pattern(search),
        "after": (after[0] or "") if after else "",
    }
    rows = session.execute(text(_PAGE), values).mappings().all()
    shown = rows[:limit]
    return MarketPage(
        markets=tuple(build_market(row) for row in shown),
        next_cursor=write_cursor([shown[-1]["symbol"]]) if len(rows) > limit else None,
    )


def load_market(session: AnySession, symbol: str) -> MarketDetail:
    """One market with its newest snapshot a provider, statistics and comparisons.

    A former symbol finds it too. `NotFound` for an unknown one.
    """
    row = find_market(session, symbol)
    values = {"market_id": row["id"]}
    snapshots = session.execute(text(_OF_MARKET), values).mappings()
    return MarketDetail(
        market=build_market(row),
        snapshots=tuple(
            build_snapshot(item, _read_closes(item["closes"] or "")) for item in snapshots
        ),
        roi_statistics=load_statistics(session, values),
        comparisons=load_comparisons(session, values),
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
    values = {
        "symbol": searchable(symbol).upper(),
        "granularity": granularity.value,
        "start": start,
        "end": end,
        "limit": limit,
    }
    rows = session.execute(text(_CANDLES), values).mappings().all()
    if not rows:
        find_market(session, symbol)
    return tuple(build_candle(row) for row in reversed(rows))


def find_market(session: AnySession, symbol: str) -> RowMapping:
    """The row that `build_market` reads, by present or former symbol; `NotFound` otherwise."""
    wanted = searchable(symbol).upper()
    where = """
        WHERE m.symbol = :symbol OR m.former_symbols @> ARRAY[CAST(:symbol AS text)]
        GROUP BY m.id ORDER BY m.symbol <> :symbol LIMIT 1
    """
    row = session.execute(text(MARKET_WITH_LISTINGS + where), {"symbol": wanted}).mappings().first()
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
    return {row.market_id: _read_closes(row.closes) for row in found}


_SNAPSHOT_FIELDS = tuple(
    field.name
    for field in fields(LatestSnapshot)
    if field.name not in ("sparkline", "derived", "flags", "run_id")
)


def _read_closes(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


def build_snapshot(row: RowMapping, sparkline: tuple[float, ...] = ()) -> LatestSnapshot:
    """A snapshot's row as people see it."""
    return LatestSnapshot(
        **{name: row[name] for name in _SNAPSHOT_FIELDS},
        run_id=str(row["run_id"]) if row["run_id"] else None,
        derived=frozenset(row["derived"]),
        flags=tuple(row["flags"]),
        sparkline=sparkline,
    )


def build_market(row: RowMapping) -> MarketView:
    """A market's row, its listings as JSON, as people see it."""
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


def load_statistics(session: AnySession, values: dict[str, Any]) -> tuple[RoiStatisticView, ...]:
    """The newest statistics of the market `market_id` by provider and window."""
    names = tuple(RoiStatisticView.__dataclass_fields__)
    rows = session.execute(text(_STATISTICS), values).mappings()
    found = [RoiStatisticView(**_with_run(row, names)) for row in rows]
    return tuple(sorted(found, key=lambda item: (item.provider, _WINDOW_ORDER[item.window])))


def load_comparisons(session: AnySession, values: dict[str, Any]) -> tuple[ComparisonView, ...]:
    """The newest comparisons of the market `market_id`, by symbol."""
    names = tuple(ComparisonView.__dataclass_fields__)
    rows = session.execute(text(_COMPARISONS), values).mappings()
    return tuple(ComparisonView(**_with_run(row, names)) for row in rows)


def build_candle(row: RowMapping) -> CandleView:
    """A candle's row as people see it."""
    return CandleView(**_with_run(row, tuple(CandleView.__dataclass_fields__)))


def _with_run(row: RowMapping, names: tuple[str, ...]) -> dict[str, Any]:
    """The named columns, the id of the run that wrote them as text."""
    return {name: row[name] for name in names} | {"run_id": str(row["run_id"])}
