"""What the Compare page shows: courses rebased to 100, ratios and spreads, and the matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import text

from app.analytics.comparisons import ComparisonPoint, PricePoint, build_comparison_series
from app.analytics.courses import Course, build_courses
from app.database.base import AnySession
from app.domain import DAY, Granularity
from app.services.chosen_markets import (
    ChosenMarket,
    choose_markets,
    end_with_present,
    load_closes,
    load_returns,
    load_states,
)
from app.services.comparisons import (
    LEAST_COMPARED,
    MOST_COMPARED,
    ComparisonSet,
    Correlations,
    compare_with_first,
    correlate,
)

SHOWN_AT_FIRST = 3
MOST_SUGGESTED = 250
_KNOWN = """
    SELECT m.symbol, m.name FROM market m JOIN listing l ON l.market_id = m.id
    WHERE l.provider = :provider
    ORDER BY l.rank IS NULL, l.rank, m.id LIMIT :limit
"""


class ChartRange(StrEnum):
    """How far back the charts reach, and so the candles that they are made of."""

    D7 = "7d"
    D30 = "30d"
    D90 = "90d"
    Y1 = "1y"

    @property
    def days(self) -> int:
        """The length of the range."""
        return {"7d": 7, "30d": 30, "90d": 90, "1y": 365}[self.value]

    @property
    def grid(self) -> Granularity:
        """Hourly closes for a month, daily ones beyond: at most 721 points a line."""
        return Granularity.HOURLY if self.days <= 30 else Granularity.DAILY


@dataclass(frozen=True, slots=True)
class KnownMarket:
    """A market that may be chosen."""

    symbol: str
    name: str


@dataclass(frozen=True, slots=True)
class PairCourse:
    """Ratio and spread (since the first point) of `market` over the first market."""

    market: ChosenMarket
    against: ChosenMarket
    points: tuple[ComparisonPoint, ...]


@dataclass(frozen=True, slots=True)
class ComparedMarkets:
    """Two to five markets over a range that ends at the newest observation of any of them.

    `courses` and `pairs` are in the order of `markets`, `pairs` without the first. `start` and
    `end` are None while there is no data.
    """

    markets: tuple[ChosenMarket, ...]
    span: ChartRange
    start: datetime | None
    end: datetime | None
    courses: tuple[Course, ...]
    pairs: tuple[PairCourse, ...]
    latest: ComparisonSet
    correlations: Correlations

    @property
    def base_at(self) -> datetime | None:
        """The instant at which every line stands at 100."""
        return max((course.base[0] for course in self.courses if course.base), default=None)


def load_known_markets(session: AnySession, *, provider: str) -> tuple[KnownMarket, ...]:
    """The first 250 markets by rank, for choosing; one query."""
    values = {"provider": provider, "limit": MOST_SUGGESTED}
    return tuple(KnownMarket(*row) for row in session.execute(text(_KNOWN), values))


def load_compared(
    session: AnySession, symbols: Sequence[str], *, span: ChartRange, provider: str
) -> ComparedMarkets:
    """Everything about these markets side by side; four queries.

    `NotFound` for an unknown market, `InvalidRequest` for fewer than two or more than five.
    """
    markets = choose_markets(session, symbols, least=LEAST_COMPARED, most=MOST_COMPARED)
    states = load_states(session, markets, provider=provider)
    returns = load_returns(session, states, provider=provider)
    end = max((state.observed_at for state in states.values()), default=None)
    start = end - span.days * DAY if end else None
    closes: dict[int, list[PricePoint]] = {}
    if start and end:
        closes = load_closes(
            session, markets, provider=provider, granularity=span.grid, start=start, end=end
        )
        closes = end_with_present(closes, states)
    courses = build_courses(closes)
    return ComparedMarkets(
        markets=markets,
        span=span,
        start=start,
        end=end,
        courses=tuple(courses.get(market.market_id, Course(())) for market in markets),
        pairs=_pairs(markets, closes),
        latest=compare_with_first(markets, states, returns, provider=provider),
        correlations=correlate(markets, states, returns, provider=provider),
    )


def _pairs(
    markets: Sequence[ChosenMarket], closes: Mapping[int, Sequence[PricePoint]]
) -> tuple[PairCourse, ...]:
    first, *others = markets
    return tuple(
        PairCourse(
            market=other,
            against=first,
            points=tuple(
                build_comparison_series(
                    closes.get(other.market_id, ()), closes.get(first.market_id, ())
                )
            ),
        )
        for other in others
    )
