"""Candles for a chart: never more than it can show, however long the time asked for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import EPOCH_MONDAY, Granularity
from app.errors import InvalidRequest, NotFound

CHART_POINTS = 800
_MARKET = """
    SELECT m.id, l.provider
    FROM market m LEFT JOIN listing l ON l.market_id = m.id
    WHERE m.symbol = :symbol OR :symbol = ANY(m.former_symbols)
    ORDER BY m.symbol <> :symbol, l.seen_at DESC NULLS LAST LIMIT 1
"""
_STORED = """
    FROM market_aggregate
    WHERE market_id = :market_id AND provider = :provider AND granularity = :granularity
      AND (CAST(:start AS timestamptz) IS NULL OR opened_at >= :start)
      AND (CAST(:end AS timestamptz) IS NULL OR opened_at < :end)
"""
_BOUNDS = f"SELECT min(opened_at) AS first, max(opened_at) AS last {_STORED}"
_BARS = f"""
    SELECT date_bin(:width, opened_at, :origin) AS opened_at,
           (array_agg(open ORDER BY opened_at))[1] AS open, max(high) AS high, min(low) AS low,
           (array_agg(close ORDER BY opened_at DESC))[1] AS close,
           CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume,
           bool_and(is_final) AS is_final, count(*) AS candle_count
    {_STORED}
    GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class ChartCandle:
    """`candle_count` stored candles drawn as one; money in the quote currency, exact."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    is_final: bool
    candle_count: int


@dataclass(frozen=True, slots=True)
class CandleChart:
    """Candles oldest first, each at most `width` long; `width` is a multiple of the granularity."""

    granularity: Granularity
    width: timedelta
    candles: tuple[ChartCandle, ...]


def load_candle_chart(
    session: AnySession,
    symbol: str,
    *,
    granularity: Granularity,
    start: datetime | None = None,
    end: datetime | None = None,
    points: int = CHART_POINTS,
) -> CandleChart:
    """The candles that opened in `[start, end)`, so many drawn as one that `points` are enough.

    A candle made of several opens with the first, closes with the last and keeps their extremes;
    its volume is their sum, None as soon as one has none. Of several providers the one seen last
    counts. `NotFound` for an unknown symbol, `InvalidRequest` for less than two points.
    """
    if points < 2:
        raise InvalidRequest(f"points is {points}, but must be at least 2.")
    wanted = symbol.strip().upper().replace("\x00", "")[:100]
    market = session.execute(text(_MARKET), {"symbol": wanted}).first()
    if market is None:
        raise NotFound(f"There is no market {symbol[:80]}.")
    values = {
        "market_id": market.id,
        "provider": market.provider,
        "granularity": granularity.value,
        "start": start,
        "end": end,
    }
    bounds = session.execute(text(_BOUNDS), values).one()
    if bounds.first is None:
        return CandleChart(granularity, granularity.step, ())
    width = _width(bounds.last - bounds.first, granularity.step, points)
    rows = session.execute(text(_BARS), values | {"width": width, "origin": EPOCH_MONDAY})
    return CandleChart(granularity, width, tuple(ChartCandle(**row) for row in rows.mappings()))


def _width(span: timedelta, step: timedelta, points: int) -> timedelta:
    """The smallest multiple of `step` that cuts the span, wherever it starts, into `points`."""
    intervals = span // step + 1
    if intervals <= points:
        return step
    # The cuts lie on fixed marks, so the first and last candle may both be parts of one.
    return step * -(-intervals // (points - 1))
