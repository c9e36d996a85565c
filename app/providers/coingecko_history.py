"""CoinGecko's market_chart made into candles: points gathered by time, never by position."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from itertools import groupby, pairwise

import msgspec

from app.domain import DAY, Candle, CandleBasis, Granularity, Listing, RejectedRow
from app.providers.coingecko_payloads import (
    RAW_CHARACTERS,
    BadRow,
    MarketChart,
    decode_rows,
    read_number,
    reject,
)

HOURLY_DAYS = 90  # beyond, CoinGecko answers with one point a day
FEWEST_DAYS = 2  # one day alone would come in steps of 5 minutes
MOST_REJECTED = 50
_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Point:
    """One price at one instant, with its own text."""

    at: datetime
    price: Decimal
    raw: str


@dataclass(frozen=True, slots=True)
class Span:
    """What was asked for: candles that opened in `[start, end)`, seen from `now`."""

    granularity: Granularity
    start: datetime
    end: datetime
    now: datetime
    most_days: int

    @property
    def days(self) -> int:
        """The `days` to ask for: whole days back from now, within what the plan and steps allow."""
        most = min(self.most_days, HOURLY_DAYS) if self._needs_hours else self.most_days
        return max(FEWEST_DAYS, min(most, -((self.start - self.now) // DAY)))

    @property
    def covered_from(self) -> datetime:
        """The first instant that the answer covers wholly."""
        return max(self.start, self.now - self.days * DAY)

    @property
    def _needs_hours(self) -> bool:
        return self.granularity is Granularity.HOURLY


def read_points(chart: MarketChart, listing: Listing) -> tuple[list[Point], list[RejectedRow]]:
    """The points in the order of time, and those set aside (50 at most, the last one a count)."""
    points: list[Point] = []
    rejected: list[RejectedRow] = []
    refused = 0
    for row in map(bytes, chart.prices):
        try:
            points.append(_read_point(row))
        except BadRow as error:
            refused += 1
            if refused < MOST_REJECTED:
                rejected.append(reject(row, error, kind="candle", listing=listing))
    if refused >= MOST_REJECTED:
        more = BadRow("more_bad_points", f"{refused - MOST_REJECTED + 1:,} more points are bad.")
        rejected.append(reject(b"", more, kind="candle", listing=listing))
    return sorted(points, key=lambda point: point.at), rejected


def _read_point(row: bytes) -> Point:
    try:
        pair = decode_rows(row)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRow("bad_shape", "A point of the history is no list of two.") from error
    if len(pair) != 2:
        raise BadRow("bad_shape", f"A point of the history has {len(pair)} parts instead of 2.")
    price = read_number(msgspec.Raw(pair[1]), "The price")
    if price is None or price <= 0:
        raise BadRow("no_price", "A point of the history has no price above 0.")
    return Point(_read_milliseconds(pair[0]), price, row.decode())


def _read_milliseconds(text: bytes) -> datetime:
    value = read_number(msgspec.Raw(text), "The time")
    if value is None or text[:1] == b'"':
        raise BadRow("bad_time", "A point of the history has no time.")
    seconds = value / 1000
    if not _EARLIEST.timestamp() <= seconds < _LATEST.timestamp():
        raise BadRow("bad_time", "The time is not in milliseconds between 2009 and 2100.")
    whole = timedelta(milliseconds=int(value))
    return datetime(1970, 1, 1, tzinfo=UTC) + whole


def build_candles(points: Sequence[Point], listing: Listing, span: Span) -> Iterator[Candle]:
    """One candle for each interval with points, in order; without volume, which is rolling here.

    A candle is final once its interval is over and a later point proves that the answer reached
    beyond it: the trailing point, which is "now", always lies in an open candle.
    """
    if not points:
        return
    known_until = min(span.now, points[-1].at)
    for opened_at, group in groupby(points, lambda point: span.granularity.floor(point.at)):
        if span.covered_from <= opened_at < span.end:
            yield _build_candle(list(group), listing, span.granularity, opened_at, known_until)


def _build_candle(
    points: Sequence[Point],
    listing: Listing,
    granularity: Granularity,
    opened_at: datetime,
    known_until: datetime,
) -> Candle:
    prices = [point.price for point in points]
    return Candle(
        listing=listing,
        granularity=granularity,
        opened_at=opened_at,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        average=_mean(prices),
        volatility=_volatility(prices),
        sample_count=len(prices),
        first_observed_at=points[0].at,
        last_observed_at=points[-1].at,
        is_final=opened_at + granularity.step <= known_until,
        basis=CandleBasis.PROVIDER,
        raw=f"[{','.join(point.raw for point in points)}]"[:RAW_CHARACTERS],
    )


def _mean(prices: Sequence[Decimal]) -> Decimal:
    total = Decimal(0)
    for price in prices:
        total = _EXACT.add(total, price)
    return total / len(prices)


def _volatility(prices: Sequence[Decimal]) -> Decimal | None:
    """The sample deviation of the simple returns from point to point, with 12 digits."""
    returns = [float(after / before) - 1 for before, after in pairwise(prices)]
    if len(returns) < 2 or not all(map(math.isfinite, returns)):
        return None
    return Decimal(f"{statistics.stdev(returns):.12g}")
