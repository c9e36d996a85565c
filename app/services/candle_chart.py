"""Candles for a chart: never more than it can show, however long the time asked for."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, text

from app.analytics.rounding import change_pct
from app.database.base import AnySession
from app.domain import EPOCH_MONDAY, HOUR, Granularity
from app.errors import InvalidRequest, NotFound
from app.services.searching import searchable

CHART_POINTS = 800
# Lengths that people count in: parts of a day, some days, then weeks, enough for every time.
_USUAL_HOURS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, *(168 * 2**power for power in range(15)))
WIDEST_HOURS = 168 * 1024
_SERIES = """
    FROM market_aggregate a
    WHERE a.market_id = s.market_id AND a.provider = s.provider AND a.granularity = :granularity
"""
_WITHIN = f"""{_SERIES}
      AND a.opened_at >= COALESCE(s.start, '-infinity')
      AND a.opened_at < COALESCE(CAST(:end AS timestamptz), 'infinity')
"""
# What is stored, what of it is asked for, how long a candle has to be, and then the candles. The
# cuts lie on fixed marks, so the first and the last candle may both be parts of one.
_CHART = f"""
    WITH series AS (
        SELECT m.id AS market_id, l.provider
        FROM market m LEFT JOIN listing l ON l.market_id = m.id
        WHERE m.symbol = :symbol OR m.former_symbols @> ARRAY[CAST(:symbol AS text)]
        ORDER BY m.symbol <> :symbol, l.seen_at DESC NULLS LAST LIMIT 1
    ), stored AS MATERIALIZED (
        SELECT s.*, (SELECT min(a.opened_at) {_SERIES}) AS oldest,
               (SELECT max(a.opened_at) {_SERIES}) AS newest
        FROM series s
    ), asked AS (
        SELECT s.*, COALESCE(CAST(:start AS timestamptz),
                             newest + :step - CAST(:span AS interval)) AS start
        FROM stored s
    ), held AS MATERIALIZED (
        SELECT s.*, (SELECT min(a.opened_at) {_WITHIN}) AS first,
               (SELECT max(a.opened_at) {_WITHIN}) AS last
        FROM asked s
    ), cut AS MATERIALIZED (
        SELECT s.*, COALESCE(CAST(:width AS interval), (
            SELECT min(w) FROM unnest(CAST(:widths AS interval[])) w
            WHERE CASE WHEN w = :step THEN last - first < w * :points
                  ELSE last - first + :step <= w * (:points - 1) END
        )) AS width
        FROM held s
    ), framed AS MATERIALIZED (
        SELECT s.*, date_bin(width, last, :origin) + width AS upper,
               GREATEST(date_bin(width, first, :origin),
                        date_bin(width, last, :origin) - width * (:points - 1)) AS lower
        FROM cut s
    )
    SELECT s.start AS asked_from, s.newest, s.width,
           COALESCE(s.oldest < COALESCE(s.lower, s.start), false) AS has_older, c.*
    FROM framed s LEFT JOIN LATERAL (
        SELECT date_bin(s.width, a.opened_at, :origin) AS opened_at,
               (array_agg(open ORDER BY a.opened_at))[1] AS open, max(high) AS high,
               min(low) AS low, (array_agg(close ORDER BY a.opened_at DESC))[1] AS close,
               CASE WHEN count(volume) = count(*) THEN sum(volume) END AS volume,
               bool_and(is_final) AS is_final, count(*) AS candle_count,
               sum(sample_count) AS sample_count,
               CASE WHEN count(*) = 1 THEN min(basis) END AS basis,
               CASE WHEN count(*) = 1 THEN min(run_id::text) END AS run_id
        {_SERIES} AND a.opened_at >= s.lower AND a.opened_at < s.upper
        GROUP BY 1
    ) c ON true
    ORDER BY c.opened_at
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class ChartCandle:
    """`candle_count` stored candles drawn as one; money in the quote currency, exact.

    `basis` and `run_id` tell of a single stored candle what it was made from and who wrote it;
    of merged ones they are None.
    """

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    is_final: bool
    candle_count: int
    sample_count: int
    basis: str | None = None
    run_id: str | None = None

    @property
    def change_pct(self) -> Decimal:
        """From open to close, in per cent."""
        return change_pct(self.open, self.close)


@dataclass(frozen=True, slots=True)
class CandleChart:
    """Candles oldest first, each `width` long, a multiple of the granularity.

    `has_older` tells that there are stored candles before the first, `newest_at` when the newest
    stored one opened, `asked_from` where the time asked for begins; None is as far as they reach.
    """

    granularity: Granularity
    width: timedelta
    candles: tuple[ChartCandle, ...]
    has_older: bool = False
    newest_at: datetime | None = None
    asked_from: datetime | None = None

    @property
    def width_hours(self) -> int:
        """The width in hours."""
        return self.width // HOUR

    @property
    def is_merged(self) -> bool:
        """True where a candle may stand for several stored ones."""
        return self.width > self.granularity.step


def load_candle_chart(
    session: AnySession,
    symbol: str,
    *,
    granularity: Granularity,
    start: datetime | None = None,
    end: datetime | None = None,
    span: timedelta | None = None,
    points: int = CHART_POINTS,
    width_hours: int | None = None,
) -> CandleChart:
    """The candles of `[start, end)`, consecutive ones merged until there are at most `points`.

    A merged candle is that of the longer interval: it opens with the first, closes with the last
    and has the extremes of all; its volume is their sum, None as soon as one has none. Intervals
    begin at fixed marks (days at midnight, weeks on Monday), and the ends of the time are moved
    outward to them. Without `start` the time is the newest `span` of what is stored, or all of it.
    With `width_hours` the candles are so long, and only the newest `points` come. Of several
    providers the one seen last counts. One query. `NotFound` for an unknown symbol,
    `InvalidRequest` for less than two points or a width that no candles fill.
    """
    _check(points, width_hours, granularity)
    values: dict[str, Any] = {
        "symbol": searchable(symbol).upper(),
        "granularity": granularity.value,
        "step": granularity.step,
        "start": start,
        "end": end,
        "span": span,
        "points": points,
        "width": None if width_hours is None else width_hours * HOUR,
        "widths": [hours * HOUR for hours in usual_hours(granularity)],
        "origin": EPOCH_MONDAY,
    }
    rows = session.execute(text(_CHART), values).mappings().all()
    if not rows:
        raise NotFound(f"There is no market {symbol[:80]}.")
    return CandleChart(
        granularity=granularity,
        width=rows[0]["width"] or granularity.step,
        candles=tuple(_build_candle(row) for row in rows if row["opened_at"]),
        has_older=rows[0]["has_older"],
        newest_at=rows[0]["newest"],
        asked_from=rows[0]["asked_from"],
    )


def usual_hours(granularity: Granularity) -> tuple[int, ...]:
    """How long, in hours, the candles of a chart may be, the shortest first."""
    return tuple(hours for hours in _USUAL_HOURS if not hours * HOUR % granularity.step)


def _check(points: int, width_hours: int | None, granularity: Granularity) -> None:
    if points < 2:
        raise InvalidRequest(f"points is {points}, but must be at least 2.")
    if width_hours is None:
        return
    if not 1 <= width_hours <= WIDEST_HOURS or width_hours * HOUR % granularity.step:
        raise InvalidRequest(f"{granularity} candles can't be drawn {width_hours} hours long.")


def _build_candle(row: RowMapping) -> ChartCandle:
    return ChartCandle(**{name: row[name] for name in ChartCandle.__dataclass_fields__})
