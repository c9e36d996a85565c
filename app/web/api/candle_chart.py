"""Candle charts over JSON: a time of any length in at most as many candles as can be drawn."""

from datetime import datetime
from decimal import Decimal

from pydantic import Field

from app.cache import Entry
from app.domain import Granularity
from app.extensions import db
from app.services.candle_chart import CHART_POINTS, WIDEST_HOURS, load_candle_chart
from app.web.api.markets import SpanQuery
from app.web.openapi import AnswerModel, operation


class ChartQuery(SpanQuery):
    """Which time to draw, and in how many candles."""

    points: int = Field(
        default=CHART_POINTS,
        ge=2,
        le=CHART_POINTS,
        description="At most so many candles; consecutive ones are merged until that holds.",
    )
    width_hours: int | None = Field(
        default=None,
        ge=1,
        le=WIDEST_HOURS,
        description="The length of a candle, as `widthHours` of an answer before, to go on with "
        "older ones; of more than `points` the newest come.",
    )


class ChartCandleResource(AnswerModel):
    """One interval `[openedAt, openedAt + widthHours)`, exact, of `candleCount` stored candles."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    is_final: bool
    candle_count: int


class CandleChartResource(AnswerModel):
    """Candles oldest first, each `widthHours` long; `hasOlder` tells of stored ones before them."""

    granularity: Granularity
    width_hours: int
    has_older: bool
    candles: list[ChartCandleResource]


@operation(
    summary="Show a candle chart",
    query=ChartQuery,
    answers={200: CandleChartResource},
    problems=[404],
    cached=Entry.CANDLES,
)
def show_candle_chart(*, symbol: str, query: ChartQuery) -> CandleChartResource:
    """The candles of a market for a chart, oldest first; without `start` all there are.

    Where there are more than `points`, consecutive ones are merged: open of the first, highest
    high, lowest low, close of the last, sum of the volumes (null as soon as one has none). Merged
    candles begin at fixed marks, days at midnight UTC and weeks on Monday, and the time asked for
    is widened to whole ones. The exact stored candles are at `/candles`.
    """
    chart = load_candle_chart(
        db.session,
        symbol,
        granularity=query.granularity,
        start=query.start,
        end=query.end,
        points=query.points,
        width_hours=query.width_hours,
    )
    return CandleChartResource.model_validate(chart)
