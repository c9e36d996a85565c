"""One market but for its candles: what is known of it now, its history, how whole that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text

from app.database.base import AnySession
from app.errors import InvalidRequest, NotFound
from app.services.market_quality import (
    HAS_GAPS,
    HOURS_WITH_RUNS,
    OPENINGS,
    MarketQuality,
    judge_quality,
    quality_values,
)
from app.services.market_sql import MARKET_WITH_LISTINGS, SNAPSHOT_COLUMNS
from app.services.markets import build_market, build_snapshot, load_comparisons, load_statistics
from app.services.paging import read_cursor, write_cursor
from app.services.searching import searchable
from app.services.views import LatestSnapshot, MarketDetail

SNAPSHOTS_SHOWN = 25
_MARKET = f"""
    SELECT found.*, openings,
           CASE WHEN {HAS_GAPS} THEN {HOURS_WITH_RUNS} ELSE '{{}}' END AS runs
    FROM ({MARKET_WITH_LISTINGS}
          WHERE m.symbol = :symbol OR m.former_symbols @> ARRAY[CAST(:symbol AS text)]
          GROUP BY m.id ORDER BY m.symbol <> :symbol LIMIT 1) found
    CROSS JOIN LATERAL (SELECT {OPENINGS} AS openings) o
"""  # noqa: S608 - made of constants
# The newest of each provider, and beside them one page of the history.
_SNAPSHOTS = f"""
    SELECT {SNAPSHOT_COLUMNS}, s.is_newest
    FROM market m
    JOIN listing l ON l.market_id = m.id
    CROSS JOIN LATERAL (
        (SELECT *, true AS is_newest FROM market_snapshot
         WHERE market_id = l.market_id AND provider = l.provider
         ORDER BY observed_at DESC LIMIT 1)
        UNION ALL
        (SELECT *, false FROM market_snapshot
         WHERE market_id = l.market_id AND provider = l.provider
           AND (CAST(:after AS timestamptz) IS NULL
                OR (observed_at, provider) < (CAST(:after AS timestamptz), :after_provider))
         ORDER BY observed_at DESC LIMIT :limit)
    ) s
    WHERE m.id = :market_id
    ORDER BY s.observed_at DESC, s.provider DESC
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class SnapshotHistory:
    """Observations of a market, newest first; `next_cursor` asks for the older ones."""

    rows: tuple[LatestSnapshot, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MarketSheet:
    """What is shown of a market beside its chart; `quality` is None without hourly candles."""

    detail: MarketDetail
    history: SnapshotHistory
    quality: MarketQuality | None


def load_market_sheet(
    session: AnySession,
    symbol: str,
    *,
    now: datetime,
    cursor: str | None = None,
) -> MarketSheet:
    """One market in four queries.

    A former symbol finds it too. `NotFound` for an unknown one, `InvalidRequest` for a bad cursor.
    """
    spans = quality_values(now)
    values: dict[str, Any] = {"symbol": searchable(symbol).upper(), **spans}
    row = session.execute(text(_MARKET), values).mappings().first()
    if row is None:
        raise NotFound(f"There is no market {symbol[:80]}.")
    key = {"market_id": row["id"]}
    newest, history = _load_snapshots(session, key, cursor)
    detail = MarketDetail(
        market=build_market(row),
        snapshots=newest,
        roi_statistics=load_statistics(session, key),
        comparisons=load_comparisons(session, key),
    )
    return MarketSheet(
        detail=detail,
        history=history,
        quality=judge_quality(row["openings"], row["runs"], until=spans["quality_until"]),
    )


def _load_snapshots(
    session: AnySession, key: dict[str, Any], cursor: str | None
) -> tuple[tuple[LatestSnapshot, ...], SnapshotHistory]:
    after, provider = _read_cursor(cursor)
    values = key | {"after": after, "after_provider": provider, "limit": SNAPSHOTS_SHOWN + 1}
    rows = session.execute(text(_SNAPSHOTS), values).mappings().all()
    newest = tuple(build_snapshot(row) for row in rows if row["is_newest"])
    return newest, _history([row for row in rows if not row["is_newest"]])


def _history(rows: Sequence[RowMapping]) -> SnapshotHistory:
    shown = rows[:SNAPSHOTS_SHOWN]
    more = len(rows) > SNAPSHOTS_SHOWN
    last = write_cursor([shown[-1]["observed_at"], shown[-1]["provider"]]) if more else None
    return SnapshotHistory(tuple(build_snapshot(row) for row in shown), last)


def _read_cursor(cursor: str | None) -> tuple[datetime | None, str]:
    values = read_cursor(cursor, 2)
    if values is None:
        return None, ""
    try:
        return datetime.fromisoformat(values[0] or ""), values[1] or ""
    except ValueError:
        raise InvalidRequest("The cursor is not one that this server gave out.") from None
