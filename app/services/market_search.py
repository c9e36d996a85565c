"""Finding markets: narrowed by kind, provider and freshness, with how many of each there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.domain import AssetType
from app.models.newest import select_ages
from app.services.market_sql import MARKET_IS_FOUND, MARKET_WITH_LISTINGS, NEWEST
from app.services.markets import build_market
from app.services.paging import check_limit, read_cursor, write_cursor
from app.services.searching import like_pattern
from app.services.views import MarketView


class Freshness(StrEnum):
    """How old the newest snapshot of a market is against the limit of the schedule."""

    FRESH = "fresh"
    LATE = "late"
    NEVER = "never"


_IS_WANTED = f"""
    m.symbol > :after AND {MARKET_IS_FOUND}
    AND (:asset_type = '' OR m.asset_type = :asset_type)
    AND (:provider = '' OR EXISTS (
        SELECT FROM listing l WHERE l.market_id = m.id AND l.provider = :provider))
"""
_OF_PROVIDER = "(:provider = '' OR l.provider = :provider)"
_AGES = select_ages(f"SELECT * FROM listing l WHERE {_OF_PROVIDER}")  # noqa: S608
_WITH_AGE = f"SELECT a.market_id FROM ({_AGES}) a WHERE a.observed_at"  # noqa: S608
_IS_OF_AGE = {
    Freshness.FRESH: f"m.id IN ({_WITH_AGE} >= :late_before)",
    # Of several providers the newest counts.
    Freshness.LATE: f"m.id IN ({_WITH_AGE} < :late_before) AND NOT EXISTS "
    f"({_WITH_AGE} >= :late_before AND a.market_id = m.id)",
    Freshness.NEVER: f"NOT EXISTS ({_WITH_AGE} IS NOT NULL AND a.market_id = m.id)",
}
_ROWS = f"""
    SELECT f.*, n.*
    FROM ({MARKET_WITH_LISTINGS} WHERE m.id IN (SELECT id FROM chosen) GROUP BY m.id) f
    LEFT JOIN LATERAL (
        SELECT s.observed_at, s.provider AS seen_at_provider, s.price, s.roi_24h_pct
        FROM listing l {NEWEST}
        WHERE l.market_id = f.id AND {_OF_PROVIDER} ORDER BY s.observed_at DESC LIMIT 1
    ) n ON true
    ORDER BY f.symbol
"""  # noqa: S608 - made of the constants above
_FACETS = """
    SELECT 'asset_type' AS facet, asset_type AS value, count(*) AS markets FROM market GROUP BY 2
    UNION ALL
    SELECT 'provider', provider, count(*) FROM listing GROUP BY 2
"""


@dataclass(frozen=True, slots=True)
class MarketFilter:
    """Which markets; with `provider` only what that provider lists and sent."""

    search: str = ""
    asset_type: AssetType | None = None
    provider: str | None = None
    freshness: Freshness | None = None


@dataclass(frozen=True, slots=True)
class MarketRow:
    """A market of the list with its newest snapshot; `is_late` judges its age."""

    market: MarketView
    observed_at: datetime | None
    price: Decimal | None
    roi_24h_pct: Decimal | None
    provider: str | None
    is_late: bool


@dataclass(frozen=True, slots=True)
class FoundMarkets:
    """Markets by symbol; `next_cursor` asks for the page after, None on the last."""

    rows: tuple[MarketRow, ...]
    next_cursor: str | None


def search_markets(
    session: AnySession,
    wanted: MarketFilter,
    *,
    now: datetime,
    limit_age: timedelta,
    cursor: str | None = None,
    limit: int = 100,
) -> FoundMarkets:
    """Markets that fit, by symbol, in one query; late is what is older than `limit_age` at `now`.

    `InvalidRequest` for a bad cursor or limit.
    """
    after = read_cursor(cursor, 1)
    late_before = now - limit_age
    values = {
        "limit": check_limit(limit) + 1,
        "search": like_pattern(wanted.search),
        "after": (after[0] or "") if after else "",
        "asset_type": wanted.asset_type or "",
        "provider": wanted.provider or "",
        "late_before": late_before,
    }
    rows = session.execute(text(_statement(wanted.freshness)), values).mappings().all()
    shown = rows[:limit]
    return FoundMarkets(
        rows=tuple(_row(row, late_before) for row in shown),
        next_cursor=write_cursor([shown[-1]["symbol"]]) if len(rows) > limit else None,
    )


def count_markets(session: AnySession) -> Mapping[str, Mapping[str, int]]:
    """How many markets there are: under `asset_type` by kind, under `provider` by provider."""
    counts: dict[str, dict[str, int]] = {"asset_type": {}, "provider": {}}
    for row in session.execute(text(_FACETS)):
        counts[row.facet][row.value] = row.markets
    return {facet: dict(sorted(values.items())) for facet, values in counts.items()}


def _statement(freshness: Freshness | None) -> str:
    """The SQL of a page; without an age only its own markets' snapshots are looked up."""
    is_of_age = _IS_OF_AGE[freshness] if freshness else "true"
    return f"""
        WITH chosen AS (
            SELECT m.id FROM market m WHERE {_IS_WANTED} AND {is_of_age}
            ORDER BY m.symbol LIMIT :limit
        ) {_ROWS}
    """  # noqa: S608


def _row(row: RowMapping, late_before: datetime) -> MarketRow:
    observed_at = row["observed_at"]
    return MarketRow(
        market=build_market(row),
        observed_at=observed_at,
        price=row["price"],
        roi_24h_pct=row["roi_24h_pct"],
        provider=row["seen_at_provider"],
        is_late=observed_at is not None and observed_at < late_before,
    )
