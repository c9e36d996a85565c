"""Comparisons over JSON: markets against each other now, over time, and as a matrix."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from app.cache import Entry
from app.domain import Granularity, Window
from app.extensions import db
from app.services.comparisons import (
    Correlations,
    load_comparison_series,
    load_comparisons,
    load_correlations,
)
from app.web.addresses import read_symbols
from app.web.api.markets import ComparisonResource, Instant
from app.web.api.paging import Words
from app.web.house import house
from app.web.openapi import AnswerModel, QueryModel, operation

Symbols = Annotated[
    str, StringConstraints(min_length=1, max_length=6000, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class ComparisonsQuery(QueryModel):
    """Which markets."""

    markets: Symbols = Field(description="2 to 5 symbols joined by commas; the first is the base.")


class CorrelationsQuery(QueryModel):
    """Which markets."""

    markets: Symbols = Field(description="2 to 50 symbols joined by commas.")


class ComparisonSeriesQuery(QueryModel):
    """Which two markets, over which part of the past: `[start, end)`."""

    market: Words = Field(min_length=1, description="A symbol: the market above the line.")
    against: Words = Field(min_length=1, description="A symbol: the market below the line.")
    window: Window | None = Field(
        default=None, description="Spread over this look-back; without it since the first point."
    )
    start: Instant | None = Field(
        default=None, description="ISO 8601 with zone, or a date (UTC); 30 days before the end."
    )
    end: Instant | None = Field(
        default=None, description="Exclusive; as `start`. Without it up to the newest observation."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError("start must be before end")
        return self


class ChosenMarketResource(AnswerModel):
    """A market that was asked for."""

    symbol: str
    name: str
    quote: str
    asset_type: str


class ComparisonsResource(AnswerModel):
    """Each market over the first, at the latest moment; `withoutData` has no snapshot yet."""

    provider: str
    markets: list[ChosenMarketResource]
    comparisons: list[ComparisonResource]
    without_data: list[str]


class ComparisonPointResource(AnswerModel):
    """One joined moment; the spread is in percentage points."""

    observed_at: datetime
    price_ratio: Decimal
    roi_spread: Decimal | None


class ComparisonSeriesResource(AnswerModel):
    """Ratio and spread over time, oldest first.

    `pointCount` is how many closes were joined, of which `points` holds 800 at most.
    """

    market: ChosenMarketResource
    against: ChosenMarketResource
    provider: str
    grid: Granularity
    window: Window | None
    start: datetime | None
    end: datetime | None
    point_count: int
    points: list[ComparisonPointResource]


class CorrelationsResource(AnswerModel):
    """Square matrices in the order of `symbols`; a null correlation has its reason beside it.

    `needed` of the `steps` returns must be common to both markets.
    """

    provider: str
    symbols: list[str]
    as_of: datetime | None
    grid: Granularity
    steps: int
    needed: int
    correlations: list[list[Decimal | None]]
    sample_counts: list[list[int]]
    null_reasons: list[list[str | None]]

    @classmethod
    def of(cls, found: Correlations) -> "CorrelationsResource":
        """The resource of what the service computed."""
        return cls(
            provider=found.provider,
            symbols=[market.symbol for market in found.markets],
            as_of=found.as_of,
            grid=found.grid,
            steps=found.steps,
            needed=found.needed,
            correlations=[list(row) for row in found.correlations],
            sample_counts=[list(row) for row in found.sample_counts],
            null_reasons=[list(row) for row in found.null_reasons],
        )


@operation(
    summary="Compare markets",
    query=ComparisonsQuery,
    answers={200: ComparisonsResource},
    problems=[404],
    cached=Entry.COMPARISONS,
)
def list_comparisons(*, query: ComparisonsQuery) -> ComparisonsResource:
    """Two to five markets at the latest moment, each of the others over the first."""
    found = load_comparisons(
        db.session,
        read_symbols(query.markets),
        provider=house().settings.ingestion_provider,
    )
    return ComparisonsResource.model_validate(found)


@operation(
    summary="Compare two markets over time",
    query=ComparisonSeriesQuery,
    answers={200: ComparisonSeriesResource},
    problems=[404],
    cached=Entry.COMPARISONS,
)
def show_comparison_series(*, query: ComparisonSeriesQuery) -> ComparisonSeriesResource:
    """Price ratio and ROI spread for a chart: hourly up to 92 days, daily beyond, 800 points."""
    found = load_comparison_series(
        db.session,
        query.market,
        query.against,
        provider=house().settings.ingestion_provider,
        window=query.window,
        start=query.start,
        end=query.end,
    )
    return ComparisonSeriesResource.model_validate(found)


@operation(
    summary="Correlate markets",
    query=CorrelationsQuery,
    answers={200: CorrelationsResource},
    problems=[404],
    cached=Entry.COMPARISONS,
)
def list_correlations(*, query: CorrelationsQuery) -> CorrelationsResource:
    """The correlation matrix of up to fifty markets, of hourly returns over 30 days."""
    found = load_correlations(
        db.session,
        read_symbols(query.markets),
        provider=house().settings.ingestion_provider,
    )
    return CorrelationsResource.of(found)
