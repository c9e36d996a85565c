"""Storing comparisons: the configured pairs, or every market against the first."""

from collections.abc import Sequence

from sqlalchemy import Connection

from app.analytics.comparisons import build_comparisons
from app.analytics.correlations import build_return_table
from app.database.bulk import merge_rows
from app.domain import Granularity
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.statistics import closes_with_present, present_prices
from app.ingestion.targets import COMPARISONS, comparison_rows


def store_comparisons(context: RunContext, connection: Connection) -> StageCounts:
    """Merge a comparison for each pair of which both markets are in this run."""
    counts = StageCounts()
    pairs = pairs_of(context)
    if not pairs:
        return counts
    involved = {market_id for pair in pairs for market_id in pair}
    present = {key: value for key, value in present_prices(context).items() if key in involved}
    table = build_return_table(
        # Returns of an hour and of a day have nothing to do with each other.
        (
            block
            for block in closes_with_present(context, connection, present)
            if block.grid is Granularity.HOURLY
        ),
        as_of=max(observed_at for observed_at, _ in present.values()),
    )
    comparisons = build_comparisons(pairs, context.haul.states, returns=table)
    rows = comparison_rows(comparisons, context.provider.name)
    counts.add(merge_rows(connection, COMPARISONS, rows, run_id=context.order.run_id))
    return counts


def pairs_of(context: RunContext) -> Sequence[tuple[int, int]]:
    """The pairs of market ids to compare, both present in this run."""
    haul = context.haul
    by_symbol = {
        listing.symbol: haul.market_ids[listing.key]
        for listing in haul.listings
        if haul.market_ids[listing.key] in haul.states
    }
    wanted = context.order.comparisons
    if wanted is not None:
        return [
            (by_symbol[first], by_symbol[second])
            for first, second in wanted
            if first in by_symbol and second in by_symbol
        ]
    ids = list(by_symbol.values())
    return [(market_id, ids[0]) for market_id in dict.fromkeys(ids) if market_id != ids[0]]
