"""Which closes the figures of a run rest on: those of the 30 days before each market's price."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from app.analytics.closes import CloseSeries
from app.domain import DAY, Granularity
from app.ingestion.context import RunContext

LONGEST = 30 * DAY
# A window's base may be a step older than its start, which lies between two slots.
STEPS_BEFORE = 3
Present = Mapping[int, tuple[datetime, Decimal]]
"""The newest (instant, price) of markets."""


@dataclass(frozen=True, slots=True)
class Span:
    """Closes to be read at once: on one grid, of markets whose prices are of about one time."""

    grid: Granularity
    market_ids: tuple[int, ...]
    start: datetime
    end: datetime


def reach(grid: Granularity) -> timedelta:
    """How far before a price the closes of its longest window begin."""
    return LONGEST + STEPS_BEFORE * grid.step


def grids_of(context: RunContext) -> dict[int, Granularity]:
    """The markets that are not on the hourly grid: recorded ones of which there are days only."""
    return {
        market_id: Granularity.DAILY
        for market_id, granularities in context.recorded_markets().items()
        if Granularity.HOURLY not in granularities
    }


def read_closes(
    context: RunContext, connection: Connection, present: Present
) -> Iterator[CloseSeries]:
    """Stored closes before the present price of each market, in blocks of one grid each."""
    for span in spans_of(present, grids_of(context), now=context.order.now):
        yield from context.closes.read(
            connection,
            provider=context.provider.name,
            market_ids=span.market_ids,
            start=span.start,
            end=span.end,
            grid=span.grid,
        )


def spans_of(
    present: Present, grids: Mapping[int, Granularity], *, now: datetime
) -> Iterator[Span]:
    """What to read for these prices, those of the last 30 days together, older ones by month.

    One old price would else have the years since then read for all other markets.
    """
    groups: dict[tuple[Granularity, int], dict[int, datetime]] = defaultdict(dict)
    for market_id, (observed_at, _) in present.items():
        age = max(0, (now - observed_at) // LONGEST)
        groups[grids.get(market_id, Granularity.HOURLY), age][market_id] = observed_at
    for (grid, age), observed in sorted(groups.items()):
        end = max(observed.values()) if age else now
        yield Span(grid, tuple(observed), min(observed.values()) - reach(grid), end)
