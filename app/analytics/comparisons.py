"""Two markets against each other: at one moment, and over time for a chart."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from app.analytics.correlations import PairFigures, ReturnTable, measure_pairs
from app.analytics.rounding import WIDE, change_pct, divide, is_usable, plain, to_ratio
from app.domain import HOUR, Comparison, NullReason, Window

# Two observations further apart than this are not one moment: the length of a usual schedule.
JOIN_TOLERANCE = timedelta(minutes=15)

Pair = tuple[int, int]
PricePoint = tuple[datetime, Decimal]


@dataclass(frozen=True, slots=True)
class MarketState:
    """A market's latest observation: price and volume in the quote currency, ROI in per cent."""

    market_id: int
    observed_at: datetime
    price: Decimal
    volume: Decimal | None = None
    roi_pct: Mapping[Window, Decimal | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparisonPoint:
    """One joined moment of two price series; `roi_spread` in percentage points, first - second."""

    observed_at: datetime
    price_ratio: Decimal
    roi_spread: Decimal | None


def build_comparisons(
    pairs: Sequence[Pair],
    states: Mapping[int, MarketState],
    *,
    returns: ReturnTable,
    tolerance: timedelta = JOIN_TOLERANCE,
) -> list[Comparison]:
    """One comparison a pair of different markets that both have a state, in the order of `pairs`.

    `observed_at` is the later of the two observations. Further apart than `tolerance`, ratios and
    spreads are None with `not_simultaneous`; correlation and beta are not touched by that, they
    join the returns of the same grid slots (30 days of hourly returns, at least 80 % of them in
    common, counted in `sample_count`). Ratios are first over second to 28 significant digits, half
    to even; spreads are exact differences; correlation and beta carry 12 digits, beta being that of
    the first market on the second. A volume that is missing, or zero under the line, is
    `no_volume`. Raises `ValueError` for a pair of one market with itself.
    """
    if any(first == second for first, second in pairs):
        raise ValueError("a market can't be compared with itself")
    known = [pair for pair in pairs if pair[0] in states and pair[1] in states]
    figures = measure_pairs(
        returns,
        returns.rows_of([first for first, _ in known]),
        returns.rows_of([second for _, second in known]),
    )
    return [
        _compare(states[first], states[second], movement, tolerance)
        for (first, second), movement in zip(known, _movements(figures, returns), strict=True)
    ]


def build_comparison_series(
    first: Iterable[PricePoint],
    second: Iterable[PricePoint],
    *,
    tolerance: timedelta = JOIN_TOLERANCE,
    window: Window | None = None,
    step: timedelta = HOUR,
) -> list[ComparisonPoint]:
    """Price ratio and ROI spread of two series of (instant, price) over time, for charts.

    Each point of `first` is joined with the nearest of `second` (the earlier of two equally near),
    and left out when that is further away than `tolerance`. The spread is the difference of the
    changes since the first joined point, or over `window`: since the last joined point at or before
    its start, no older than one `step`, else None. Prices not above zero are left out.
    """
    joined = _join(_ordered(first), _ordered(second), tolerance)
    instants = [instant for instant, _, _ in joined]
    points = []
    for position, (instant, price, against) in enumerate(joined):
        base = 0 if window is None else _base(instants, position, window.length, step)
        spread = None
        if base is not None:
            _, base_price, base_against = joined[base]
            spread = _difference(change_pct(base_price, price), change_pct(base_against, against))
        points.append(ComparisonPoint(instant, divide(price, against), spread))
    return points


@dataclass(frozen=True, slots=True)
class _Movement:
    count: int
    correlation: Decimal | None
    beta: Decimal | None
    reason: NullReason


def _movements(figures: PairFigures, returns: ReturnTable) -> list[_Movement]:
    return [
        _Movement(
            count,
            to_ratio(correlation),
            to_ratio(beta),
            NullReason.INSUFFICIENT_SAMPLES if count < returns.needed else NullReason.ZERO_VARIANCE,
        )
        for count, correlation, beta in zip(
            figures.count.tolist(),
            figures.correlation.tolist(),
            figures.beta.tolist(),
            strict=True,
        )
    ]


def _compare(
    first: MarketState, second: MarketState, movement: _Movement, tolerance: timedelta
) -> Comparison:
    is_one_moment = abs(first.observed_at - second.observed_at) <= tolerance
    values = _values(first, second) if is_one_moment else dict.fromkeys(_REASONS)
    reasons = {
        name: (_REASONS[name] if is_one_moment else NullReason.NOT_SIMULTANEOUS).value
        for name, value in values.items()
        if value is None
    }
    if movement.correlation is None:
        reasons["correlation_30d"] = movement.reason.value
    if movement.beta is None:
        reasons["beta_30d"] = movement.reason.value
    return Comparison(
        market_id=first.market_id,
        against_market_id=second.market_id,
        observed_at=max(first.observed_at, second.observed_at),
        correlation_30d=movement.correlation,
        beta_30d=movement.beta,
        sample_count=movement.count,
        null_reasons=reasons,
        **values,
    )


# Why a field is None when both observations are of one moment.
_REASONS = {
    "price_ratio": NullReason.INSUFFICIENT_SAMPLES,
    "volume_ratio": NullReason.NO_VOLUME,
    "roi_spread_1h": NullReason.INSUFFICIENT_SAMPLES,
    "roi_spread_24h": NullReason.INSUFFICIENT_SAMPLES,
    "roi_spread_7d": NullReason.INSUFFICIENT_SAMPLES,
    "roi_spread_30d": NullReason.INSUFFICIENT_SAMPLES,
}


def _values(first: MarketState, second: MarketState) -> dict[str, Decimal | None]:
    has_prices = is_usable(first.price) and is_usable(second.price)
    spreads = {
        f"roi_spread_{window.value}": _spread(first.roi_pct.get(window), second.roi_pct.get(window))
        for window in Window
    }
    return {
        "price_ratio": divide(first.price, second.price) if has_prices else None,
        "volume_ratio": _volume_ratio(first.volume, second.volume),
        **spreads,
    }


def _volume_ratio(first: Decimal | None, second: Decimal | None) -> Decimal | None:
    if first is None or not is_usable(second) or second is None:
        return None
    return divide(first, second) if first.is_finite() and first >= 0 else None


def _spread(first: Decimal | None, second: Decimal | None) -> Decimal | None:
    return None if first is None or second is None else _difference(first, second)


def _difference(first: Decimal, second: Decimal) -> Decimal:
    return plain(WIDE.subtract(first, second))


def _ordered(points: Iterable[PricePoint]) -> list[PricePoint]:
    return sorted((point for point in points if is_usable(point[1])), key=lambda point: point[0])


def _join(
    first: Sequence[PricePoint], second: Sequence[PricePoint], tolerance: timedelta
) -> list[tuple[datetime, Decimal, Decimal]]:
    instants = [instant for instant, _ in second]
    joined = []
    for instant, price in first:
        after = bisect_left(instants, instant)
        near = min(
            range(max(after - 1, 0), min(after + 1, len(instants))),
            key=lambda position: abs(instants[position] - instant),
            default=None,
        )
        if near is not None and abs(instants[near] - instant) <= tolerance:
            joined.append((max(instant, instants[near]), price, second[near][1]))
    return joined


def _base(
    instants: Sequence[datetime], position: int, length: timedelta, step: timedelta
) -> int | None:
    start = instants[position] - length
    base = bisect_right(instants, start, 0, position) - 1
    return base if base >= 0 and start - instants[base] <= step else None
