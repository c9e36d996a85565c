"""Storing comparisons and ROI statistics, both derived from what is stored by now."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from app.analytics.closes import CloseSeries
from app.analytics.returns import Conventions, build_roi_statistics
from app.database.bulk import merge_rows
from app.domain import AssetType, Granularity, RoiStatistic
from app.ingestion.close_spans import grids_of, reach, read_closes
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.targets import ROI_STATISTICS, roi_rows

REACH = reach(Granularity.HOURLY)
# What makes a statistic a new one; a later instant with the same figures does not.
FIGURES = (
    "roi_pct",
    "sharpe",
    "sortino",
    "max_drawdown",
    "volatility",
    "calmar",
    "win_rate",
    "sample_count",
    "periods_per_year",
    "risk_free_rate",
    "minimum_acceptable_return",
)
_NEWEST = f"""
    SELECT n.market_id, w."window", {", ".join("s." + name for name in FIGURES)}
    FROM unnest(CAST(:market_ids AS int[]), CAST(:last AS timestamptz[])) AS n(market_id, last_at)
    CROSS JOIN unnest(CAST(:windows AS text[])) AS w("window")
    CROSS JOIN LATERAL (
        SELECT * FROM market_roi_statistic r
        WHERE r.market_id = n.market_id AND r.provider = :provider AND r."window" = w."window"
          AND r.last_at <= n.last_at
        ORDER BY r.last_at DESC LIMIT 1
    ) s
"""  # noqa: S608 - the column names stand above


def store_roi_statistics(context: RunContext, connection: Connection) -> StageCounts:
    """Merge the statistics of every market that this run saw; unchanged figures are not stored."""
    present = present_prices(context)
    statistics = build_roi_statistics(
        closes_with_present(context, connection, present),
        as_of=max([context.order.now, *(observed_at for observed_at, _ in present.values())]),
        asset_types=_asset_types(context),
        conventions=Conventions(
            risk_free_rate=Decimal(str(context.order.risk_free_rate)),
            minimum_acceptable_return=Decimal(str(context.order.minimum_acceptable_return)),
            days_per_year=context.order.days_per_year,
        ),
    )
    counts = StageCounts()
    newest = _load_newest(
        context, connection, {item.market_id: item.last_at for item in statistics}
    )
    changed = [item for item in statistics if not _is_known(item, newest)]
    rows = roi_rows(changed, context.provider.name)
    counts.add(merge_rows(connection, ROI_STATISTICS, rows, run_id=context.order.run_id))
    counts.unchanged += len(statistics) - len(changed)
    return counts


def present_prices(context: RunContext) -> dict[int, tuple[datetime, Decimal]]:
    """The newest (instant, price) of each market in this run."""
    prices: dict[int, tuple[datetime, Decimal]] = {}
    for row in context.haul.snapshots:
        market_id = context.haul.market_ids[row.snapshot.listing.key]
        known = prices.get(market_id)
        if known is None or known[0] <= row.observed_at:
            prices[market_id] = (row.observed_at, row.price)
    return prices


def closes_with_present(
    context: RunContext, connection: Connection, present: dict[int, tuple[datetime, Decimal]]
) -> Iterator[CloseSeries]:
    """Blocks of closes of 30 days on one grid each, every market ending with its present price."""
    seen: set[int] = set()
    for block in read_closes(context, connection, present):
        ids = set(block.market_ids.tolist())
        seen |= ids
        yield block.with_present({market_id: present[market_id] for market_id in ids})
    grids = grids_of(context)
    rest: dict[Granularity, list[tuple[int, datetime, Decimal]]] = defaultdict(list)
    for market_id, (observed_at, price) in sorted(present.items()):
        if market_id not in seen:
            grid = grids.get(market_id, Granularity.HOURLY)
            rest[grid].append((market_id, observed_at, price))
    for grid, rows in rest.items():
        yield CloseSeries.from_rows(rows, grid=grid)


def _asset_types(context: RunContext) -> dict[int, AssetType]:
    return {
        context.haul.market_ids[listing.key]: listing.asset_type
        for listing in context.haul.listings
        if listing.key in context.haul.market_ids
    }


def _load_newest(
    context: RunContext, connection: Connection, last_at: Mapping[int, datetime]
) -> dict[tuple[int, str], Any]:
    values = {
        "provider": context.provider.name,
        "market_ids": list(last_at),
        "last": list(last_at.values()),
        "windows": ["1h", "24h", "7d", "30d"],
    }
    rows = connection.execute(text(_NEWEST), values)
    return {(row.market_id, row.window): row for row in rows}


def _is_known(item: RoiStatistic, newest: dict[tuple[int, str], Any]) -> bool:
    """True when the newest statistic until then says the same."""
    stored = newest.get((item.market_id, item.window.value))
    return stored is not None and all(
        getattr(stored, name) == getattr(item, name) for name in FIGURES
    )
