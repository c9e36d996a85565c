"""Comparisons of any markets asked for: at the latest moment, over time, and as a matrix.

They are computed from stored snapshots and candles by the functions that a run uses, so a pair that
a run compared has here the figures that the run stored. The clock is not asked: ranges end at the
newest observation, and the same data give the same answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal

from app.analytics.comparisons import (
    ComparisonPoint,
    MarketState,
    build_comparison_series,
    build_comparisons,
)
from app.analytics.correlations import MOST_MARKETS, ReturnTable, correlation_matrix
from app.analytics.courses import thin
from app.database.base import AnySession
from app.domain import DAY, Comparison, Granularity, NullReason, Window
from app.errors import InvalidRequest
from app.services.chosen_markets import (
    ChosenMarket,
    choose_markets,
    end_with_present,
    load_closes,
    load_returns,
    load_states,
)
from app.services.views import ComparisonView

LEAST_COMPARED, MOST_COMPARED = 2, 5
MOST_POINTS = 800
# Up to here a series is made of hourly closes (2 208 of them), beyond of daily ones.
LONGEST_HOURLY = 92 * DAY
USUAL_SPAN = 30 * DAY
_INSTANT = timedelta(microseconds=1)
# 80 % of the 720 hourly returns of 30 days.
_NEEDED = 576
_OWN_FIELDS = ("symbol", "against_symbol", "provider", "run_id")


@dataclass(frozen=True, slots=True)
class ComparisonSet:
    """Each market against the first at the latest moment.

    `without_data` are the symbols of which the provider gave nothing yet; pairs with one of them
    are not in `comparisons`.
    """

    provider: str
    markets: tuple[ChosenMarket, ...]
    comparisons: tuple[ComparisonView, ...]
    without_data: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComparisonSeries:
    """Price ratio and ROI spread of two markets over `[start, end)`, oldest first.

    `point_count` is the number of joined closes, of which `points` keeps at most 800. Without data
    `start` and `end` are None where they were not given.
    """

    market: ChosenMarket
    against: ChosenMarket
    provider: str
    grid: Granularity
    window: Window | None
    start: datetime | None
    end: datetime | None
    point_count: int
    points: tuple[ComparisonPoint, ...]


@dataclass(frozen=True, slots=True)
class Correlations:
    """Correlations of hourly returns over 30 days, row by row in the order of `markets`.

    `steps` is the number of returns in the window, `needed` how many of them two markets must have
    in common. `null_reasons` has a reason where `correlations` has None.
    """

    provider: str
    markets: tuple[ChosenMarket, ...]
    as_of: datetime | None
    grid: Granularity
    steps: int
    needed: int
    correlations: tuple[tuple[Decimal | None, ...], ...]
    sample_counts: tuple[tuple[int, ...], ...]
    null_reasons: tuple[tuple[str | None, ...], ...]


def load_comparisons(
    session: AnySession, symbols: Sequence[str], *, provider: str
) -> ComparisonSet:
    """Two to five markets, each of the others over the first; three queries.

    `NotFound` for an unknown market, `InvalidRequest` for too few or too many.
    """
    markets = choose_markets(session, symbols, least=LEAST_COMPARED, most=MOST_COMPARED)
    states = load_states(session, markets, provider=provider)
    returns = load_returns(session, states, provider=provider)
    return compare_with_first(markets, states, returns, provider=provider)


def load_correlations(
    session: AnySession, symbols: Sequence[str], *, provider: str
) -> Correlations:
    """The correlation matrix of two to fifty markets; three queries.

    `NotFound` for an unknown market, `InvalidRequest` for too few or too many.
    """
    markets = choose_markets(session, symbols, least=LEAST_COMPARED, most=MOST_MARKETS)
    states = load_states(session, markets, provider=provider)
    returns = load_returns(session, states, provider=provider)
    return correlate(markets, states, returns, provider=provider)


def load_comparison_series(
    session: AnySession,
    market: str,
    against: str,
    *,
    provider: str,
    window: Window | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> ComparisonSeries:
    """Price ratio and ROI spread of `market` over `against` in `[start, end)`; three queries.

    Without `end` up to and with the newest observation, without `start` the 30 days before. The
    spread is that since the first point, or over `window`. Up to 92 days hourly closes are joined,
    beyond that daily ones; of more than 800 points those stay that are first, last, or hold the
    lowest or highest ratio or spread of one of 199 equal stretches. `NotFound` for an unknown
    market; `InvalidRequest` for one market twice, an empty range, or a window of 1 h over more than
    92 days.
    """
    first, second = choose_markets(session, (market, against), least=2, most=2)
    states = load_states(session, (first, second), provider=provider)
    newest = max((state.observed_at for state in states.values()), default=None)
    until = end or (newest + _INSTANT if newest else None)
    since = start or (until - USUAL_SPAN if until else None)
    grid = Granularity.HOURLY
    points: tuple[ComparisonPoint, ...] = ()
    if since is not None and until is not None:
        grid = _grid(since, until, window)
        span = _Span(provider, grid, window, since, until)
        points = _load_points(session, first, second, span, states)
    return ComparisonSeries(
        market=first,
        against=second,
        provider=provider,
        grid=grid,
        window=window,
        start=since,
        end=end,
        point_count=len(points),
        points=thin_points(points, MOST_POINTS),
    )


def thin_points(points: Sequence[ComparisonPoint], limit: int) -> tuple[ComparisonPoint, ...]:
    """At most `limit` of the points, the extremes of ratio and spread among them."""
    columns: list[list[float | None]] = [
        [float(point.price_ratio) for point in points],
        [None if point.roi_spread is None else float(point.roi_spread) for point in points],
    ]
    return tuple(points[place] for place in thin(columns, limit))


def compare_with_first(
    markets: Sequence[ChosenMarket],
    states: Mapping[int, MarketState],
    returns: ReturnTable,
    *,
    provider: str,
) -> ComparisonSet:
    """Every market but the first over the first, from what was loaded of them."""
    first, *others = markets
    pairs = [(other.market_id, first.market_id) for other in others]
    symbols = {market.market_id: market.symbol for market in markets}
    return ComparisonSet(
        provider=provider,
        markets=tuple(markets),
        comparisons=tuple(
            _view(item, symbols, provider)
            for item in build_comparisons(pairs, states, returns=returns)
        ),
        without_data=tuple(market.symbol for market in markets if market.market_id not in states),
    )


def correlate(
    markets: Sequence[ChosenMarket],
    states: Mapping[int, MarketState],
    returns: ReturnTable,
    *,
    provider: str,
) -> Correlations:
    """The matrix of what was loaded of these markets."""
    matrix = correlation_matrix(returns, [market.market_id for market in markets])
    return Correlations(
        provider=provider,
        markets=tuple(markets),
        as_of=max((state.observed_at for state in states.values()), default=None),
        grid=returns.grid,
        steps=Window.D30.length // returns.grid.step,
        needed=_NEEDED,
        correlations=matrix.correlations,
        sample_counts=matrix.sample_counts,
        null_reasons=tuple(
            tuple(map(_reason, values, counts))
            for values, counts in zip(matrix.correlations, matrix.sample_counts, strict=True)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """What part of which candles a series is made of."""

    provider: str
    grid: Granularity
    window: Window | None
    start: datetime
    end: datetime


def _load_points(
    session: AnySession,
    first: ChosenMarket,
    second: ChosenMarket,
    span: _Span,
    states: Mapping[int, MarketState],
) -> tuple[ComparisonPoint, ...]:
    """The joined points in `[start, end)`; a window's bases lie before them."""
    reach = span.window.length + span.grid.step if span.window else timedelta(0)
    closes = load_closes(
        session,
        (first, second),
        provider=span.provider,
        granularity=span.grid,
        start=span.start - reach,
        end=span.end,
    )
    closes = end_with_present(closes, states)
    points = build_comparison_series(
        closes[first.market_id],
        closes[second.market_id],
        window=span.window,
        step=span.grid.step,
    )
    return tuple(point for point in points if span.start <= point.observed_at < span.end)


def _grid(start: datetime, end: datetime, window: Window | None) -> Granularity:
    if start >= end:
        raise InvalidRequest("start must be before end, and before the newest observation.")
    if end - start <= LONGEST_HOURLY:
        return Granularity.HOURLY
    if window is Window.H1:
        raise InvalidRequest(
            f"Spreads over 1h need hourly closes, which serve at most {LONGEST_HOURLY.days} days."
        )
    return Granularity.DAILY


def _reason(value: Decimal | None, count: int) -> str | None:
    if value is not None:
        return None
    is_short = count < _NEEDED
    return (NullReason.INSUFFICIENT_SAMPLES if is_short else NullReason.ZERO_VARIANCE).value


def _view(item: Comparison, symbols: Mapping[int, str], provider: str) -> ComparisonView:
    names = {field.name for field in fields(ComparisonView)} - set(_OWN_FIELDS)
    return ComparisonView(
        symbol=symbols[item.market_id],
        against_symbol=symbols[item.against_market_id],
        provider=provider,
        **{name: getattr(item, name) for name in names},
    )
