"""Which closes are read for the figures of a run."""

from datetime import timedelta
from decimal import Decimal

from app.domain import DAY, HOUR, Granularity
from app.ingestion.close_spans import Span, spans_of
from tests.ingestion.making import MINUTE, NOW

PRICE = Decimal(1)
REACH = 30 * DAY + 3 * HOUR
HOURLY, DAILY = Granularity.HOURLY, Granularity.DAILY


def spans(ages: dict[int, timedelta], grids: dict[int, Granularity] | None = None) -> list[Span]:
    present = {market: (NOW - age, PRICE) for market, age in ages.items()}
    return list(spans_of(present, grids or {}, now=NOW))


def test_present_prices_of_all_markets_are_one_span_until_now() -> None:
    ages = {2: 5 * MINUTE, 1: -MINUTE, 3: 29 * DAY}
    assert spans(ages) == [Span(HOURLY, (2, 1, 3), NOW - 29 * DAY - REACH, NOW)]
    assert spans({}) == []


def test_an_old_price_has_a_span_of_its_own_that_ends_with_it() -> None:
    recent, old, oldest = spans({1: MINUTE, 2: 1000 * DAY, 3: 1001 * DAY, 4: 2000 * DAY})
    assert recent == Span(HOURLY, (1,), NOW - MINUTE - REACH, NOW)
    assert old == Span(HOURLY, (2, 3), NOW - 1001 * DAY - REACH, NOW - 1000 * DAY)
    assert oldest.market_ids == (4,)


def test_markets_of_days_are_read_on_their_grid() -> None:
    days, hours = spans({1: HOUR, 2: HOUR}, {2: DAILY})
    assert (days.grid, days.market_ids, days.start) == (DAILY, (2,), NOW - HOUR - 33 * DAY)
    assert (hours.grid, hours.market_ids, hours.start) == (HOURLY, (1,), NOW - HOUR - REACH)
