"""Candles for a chart: never more than it can show, however long the time asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from sqlalchemy import text

from app.database.base import AnySession
from app.domain import EPOCH_MONDAY, HOUR, WEEK, Granularity
from app.errors import InvalidRequest, NotFound
from app.services.searching import searchable

CHART_POINTS = 800
WIDEST_HOURS = 24 * 7 * 1024
_USUAL_HOURS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168)
_MARKET = """
    SELECT m.id, l.provider
    FROM market m LEFT JOIN listing l ON l.market_id = m.id
    WHERE m.symbol = :symbol OR :symbol = ANY(m.former_symbols)
    ORDER BY m.symbol <> :symbol, l.seen_at DESC NULLS LAST LIMIT 1
"""
_SERIES = """
    FROM market_aggregate
    WHERE market_id = :market_id AND provider = :provider AND granularity = :granularity
"""
_WITHIN = f"""{_SERIES}
      AND (CAST(:start AS timestamptz) IS NULL OR opened_at >= :start)
      AND (CAST(:end AS timestamptz) IS NULL OR opened_at < :end)
"""
_BOUNDS = f"""
    SELECT (SELECT min(opened_at) {_SERIES}) AS oldest,
           (SELECT min(opened_at) {_WITHIN}) AS first, (SELECT max(opened_at) {_WITHIN}) AS last
"""
_BARS = f"""
    SELECT date_bin(:width, opened_at, :origin) AS opened_at,
           (array_agg(open ORDER BY opened_at))[1] AS open, max(high) AS high, min(low) AS low,
           (array_agg(close ORDER BY opened_at DESC))[1] AS close,
           CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume,
           bool_and(is_final) AS is_final, count(*) AS candle_count
    {_WITHIN}
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
    """Candles oldest first, each `width` long, a multiple of the granularity.

    `has_older` tells that there are stored candles before the first.
    """

    granularity: Granularity
    width: timedelta
    candles: tuple[ChartCandle, ...]
    has_older: bool = False

    @property
    def width_hours(self) -> int:
        """The width in hours."""
        return self.width // HOUR


def load_candle_chart(
    session: AnySession,
    symbol: str,
    *,
    granularity: Granularity,
    start: datetime | None = None,
    end: datetime | None = None,
    points: int = CHART_POINTS,
    width_hours: int | None = None,
) -> CandleChart:
    """The candles of `[start, end)`, consecutive ones merged until there are at most `points`.

    A merged candle is that of the longer interval: it opens with the first, closes with the last
    and has the extremes of all; its volume is their sum, None as soon as one has none. Intervals
    begin at fixed marks (days at midnight, weeks on Monday), and the ends of the time are moved
    outward to them. With `width_hours` the candles are so long, and only the newest `points` come.
    Of several providers the one seen last counts. `NotFound` for an unknown symbol,
    `InvalidRequest` for less than two points or a width that no candles fill.
    """
    _check(points, width_hours, granularity)
    values = _find_series(session, symbol) | {"granularity": granularity.value}
    bounds = session.execute(text(_BOUNDS), values | {"start": start, "end": end}).one()
    if bounds.first is None:
        has_older = bounds.oldest is not None and start is not None and bounds.oldest < start
        return CandleChart(granularity, granularity.step, (), has_older)
    if width_hours is None:
        width = _fitting_width(bounds.last - bounds.first, granularity.step, points)
    else:
        width = width_hours * HOUR
    last = _floor(bounds.last, width)
    first = max(_floor(bounds.first, width), last - (points - 1) * width)
    shown = {"start": first, "end": last + width, "width": width, "origin": EPOCH_MONDAY}
    rows = session.execute(text(_BARS), values | shown)
    candles = tuple(ChartCandle(**row) for row in rows.mappings())
    return CandleChart(granularity, width, candles, bounds.oldest < first)


def _check(points: int, width_hours: int | None, granularity: Granularity) -> None:
    if points < 2:
        raise InvalidRequest(f"points is {points}, but must be at least 2.")
    if width_hours is None:
        return
    if not 1 <= width_hours <= WIDEST_HOURS or width_hours * HOUR % granularity.step:
        raise InvalidRequest(f"{granularity} candles can't be drawn {width_hours} hours long.")


def _find_series(session: AnySession, symbol: str) -> dict[str, Any]:
    wanted = searchable(symbol).upper()
    market = session.execute(text(_MARKET), {"symbol": wanted}).first()
    if market is None:
        raise NotFound(f"There is no market {symbol[:80]}.")
    return {"market_id": market.id, "provider": market.provider}


def _fitting_width(span: timedelta, step: timedelta, points: int) -> timedelta:
    """The smallest usual width that cuts the span, wherever it starts, into `points`."""
    intervals = span // step + 1
    if intervals <= points:
        return step
    # The cuts lie on fixed marks, so the first and last candle may both be parts of one.
    least = step * -(-intervals // (points - 1))
    return next(width for width in _usual_widths(step) if width >= least)


def _usual_widths(step: timedelta) -> Iterator[timedelta]:
    """Widths that people count in: parts of a day, some days, weeks."""
    yield from (hours * HOUR for hours in _USUAL_HOURS if not hours * HOUR % step)
    for power in count(1):
        yield WEEK * 2**power


def _floor(instant: datetime, width: timedelta) -> datetime:
    return instant - (instant - EPOCH_MONDAY) % width
