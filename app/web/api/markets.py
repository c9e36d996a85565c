"""Markets over JSON: the list, everything known about one, and its candles."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from app.cache import Entry
from app.domain import Granularity
from app.extensions import db
from app.services.markets import load_candles, load_market, load_markets
from app.web.api.paging import CURSOR_HELP, MAX_PAGE, Cursor, Words
from app.web.api.snapshots import SnapshotResource
from app.web.openapi import AnswerModel, QueryModel, operation

MAX_CANDLES = 1_000
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _instant_text(value: object) -> object:
    """Take a date for its midnight in UTC; refuse bare numbers, whose unit is anybody's guess."""
    if isinstance(value, str) and not _DATE.match(value):
        raise ValueError("not an ISO 8601 instant such as 2026-01-31T00:00:00Z")
    if isinstance(value, str) and _DATE.fullmatch(value):
        return f"{value}T00:00:00Z"
    return value


Instant = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST), BeforeValidator(_instant_text)]


class MarketsQuery(QueryModel):
    """Which markets."""

    search: Words = Field(default="", description="Part of a symbol or name.")
    cursor: Cursor | None = Field(default=None, description=CURSOR_HELP)
    limit: int = Field(default=100, ge=1, le=MAX_PAGE, description="Entries on a page.")


class SpanQuery(QueryModel):
    """Candles of one granularity that open in [start, end)."""

    granularity: Granularity = Granularity.DAILY
    start: Instant | None = Field(default=None, description="ISO 8601 with zone, or a date (UTC).")
    end: Instant | None = Field(default=None, description="Exclusive; as `start`.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("start must be before end")
        return self


class CandlesQuery(SpanQuery):
    """Which candles: those that open in [start, end), at most `limit` of them."""

    limit: int = Field(default=500, ge=1, le=MAX_CANDLES)


class ListingResource(AnswerModel):
    """A market's id at one provider, and how it was chosen."""

    provider: str
    provider_id: str
    quote: str
    provider_symbol: str
    name: str
    rank: int | None
    chosen_by: str
    seen_at: datetime


class MarketResource(AnswerModel):
    """A market that is followed."""

    symbol: str
    name: str
    asset_type: str
    quote: str
    former_symbols: list[str]
    created_at: datetime
    listings: list[ListingResource]


class MarketPageResource(AnswerModel):
    """Markets by symbol."""

    markets: list[MarketResource]
    next_cursor: str | None


class RoiStatisticResource(AnswerModel):
    """Statistics over one window; `nullReasons` says why a number is missing.

    `roiPct` is per cent, `maxDrawdown` a fraction from -1 to 0, ratios are per step of `grid`.
    """

    window: str
    provider: str
    grid: str
    first_at: datetime | None
    last_at: datetime
    sample_count: int
    expected_count: int
    periods_per_year: int
    risk_free_rate: Decimal
    minimum_acceptable_return: Decimal
    roi_pct: Decimal | None
    sharpe: Decimal | None
    sortino: Decimal | None
    max_drawdown: Decimal | None
    volatility: Decimal | None
    calmar: Decimal | None
    win_rate: Decimal | None
    sharpe_annualised: Decimal | None
    sortino_annualised: Decimal | None
    volatility_annualised: Decimal | None
    null_reasons: dict[str, str]


class ComparisonResource(AnswerModel):
    """The market against another at one moment; spreads are percentage points."""

    symbol: str
    against_symbol: str
    provider: str
    observed_at: datetime
    price_ratio: Decimal | None
    volume_ratio: Decimal | None
    roi_spread_1h: Decimal | None
    roi_spread_24h: Decimal | None
    roi_spread_7d: Decimal | None
    roi_spread_30d: Decimal | None
    correlation_30d: Decimal | None
    beta_30d: Decimal | None
    sample_count: int
    null_reasons: dict[str, str]


class MarketDetailResource(AnswerModel):
    """Everything the newest run knows about a market."""

    market: MarketResource
    snapshots: list[SnapshotResource]
    roi_statistics: list[RoiStatisticResource]
    comparisons: list[ComparisonResource]


class CandleResource(AnswerModel):
    """One interval `[openedAt, openedAt + granularity)`; `basis` says what it was made from."""

    opened_at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    average: Decimal | None
    volatility: Decimal | None
    change_pct: Decimal | None
    sample_count: int
    is_final: bool
    basis: str
    provider: str


class CandlesResource(AnswerModel):
    """Candles of one granularity, oldest first."""

    granularity: Granularity
    candles: list[CandleResource]


@operation(
    summary="List markets",
    query=MarketsQuery,
    answers={200: MarketPageResource},
    cached=Entry.MARKETS,
)
def list_markets(*, query: MarketsQuery) -> MarketPageResource:
    """The markets that are followed, by symbol."""
    page = load_markets(db.session, search=query.search, cursor=query.cursor, limit=query.limit)
    return MarketPageResource.model_validate(page)


@operation(
    summary="Show a market",
    answers={200: MarketDetailResource},
    problems=[404],
    cached=Entry.MARKET,
)
def show_market(*, symbol: str) -> MarketDetailResource:
    """A market with its newest snapshots, statistics and comparisons; old symbols still work."""
    return MarketDetailResource.model_validate(load_market(db.session, symbol))


@operation(
    summary="List candles",
    query=CandlesQuery,
    answers={200: CandlesResource},
    problems=[404],
    cached=Entry.CANDLES,
)
def list_candles(*, symbol: str, query: CandlesQuery) -> CandlesResource:
    """The stored candles of a market, oldest first; without `start` the newest `limit`."""
    candles = load_candles(
        db.session,
        symbol,
        granularity=query.granularity,
        start=query.start,
        end=query.end,
        limit=query.limit,
    )
    return CandlesResource.model_validate({"granularity": query.granularity, "candles": candles})
