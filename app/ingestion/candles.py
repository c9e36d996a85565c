"""Storing candles: the provider's own, hours from snapshots, and days and weeks from hours.

Only the intervals that this run touched are derived again.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, text

from app.analytics.candles import (
    DerivedCandle,
    complete_candle,
    derive_candles,
    merge_candles,
)
from app.database.bulk import merge_rows, read_columns
from app.domain import CandleBasis, Granularity
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.targets import CANDLES, candle_rows

Interval = tuple[int, datetime]
MARKETS_PER_STEP = 250
_SNAPSHOTS = """
    SELECT s.market_id, (extract(epoch FROM s.observed_at) * 1000000)::bigint, s.price
    FROM unnest(%(market_ids)s::int[], %(opened)s::timestamptz[]) AS n(market_id, opened_at)
    JOIN market_snapshot s ON s.market_id = n.market_id AND s.provider = %(provider)s
         AND s.observed_at >= n.opened_at AND s.observed_at < n.opened_at + interval '1 hour'
"""
_OVER = """
    SELECT market_id, granularity, opened_at FROM market_aggregate
    WHERE provider = :provider AND NOT is_final AND opened_at < :now
"""
_HOURS = """
    SELECT a.market_id, extract(epoch FROM a.opened_at)::bigint, a.open, a.high, a.low, a.close,
           a.volume, a.average, a.sample_count,
           (extract(epoch FROM a.first_observed_at) * 1000000)::bigint,
           (extract(epoch FROM a.last_observed_at) * 1000000)::bigint, a.basis
    FROM unnest(%(market_ids)s::int[], %(opened)s::timestamptz[], %(closed)s::timestamptz[])
         AS n(market_id, opened_at, closed_at)
    JOIN market_aggregate a ON a.market_id = n.market_id AND a.provider = %(provider)s
         AND a.granularity = 'hourly'
         AND a.opened_at >= n.opened_at AND a.opened_at < n.closed_at
"""


def store_history(context: RunContext, connection: Connection) -> StageCounts:
    """Merge the candles the provider gave."""
    haul = context.haul
    counts = StageCounts(fetched=len(haul.candles))
    candles = (
        complete_candle(haul.market_ids[candle.listing.key], candle) for candle in haul.candles
    )
    rows = candle_rows(candles, context.provider.name)
    counts.add(merge_rows(connection, CANDLES, rows, run_id=context.order.run_id))
    return counts


def store_derived_candles(context: RunContext, connection: Connection) -> StageCounts:
    """Derive the touched hours from snapshots, then the touched days and weeks from hours."""
    counts = StageCounts()
    over = _load_over(context, connection)
    hours = _touched_hours(context) | over[Granularity.HOURLY]
    _derive_hours(context, connection, hours, counts)
    for granularity in (Granularity.DAILY, Granularity.WEEKLY):
        touched = {(market, granularity.floor(opened)) for market, opened in hours}
        intervals = sorted(touched | over[granularity])
        _derive_coarser(context, connection, granularity, intervals, counts)
    return counts


def _load_over(context: RunContext, connection: Connection) -> dict[Granularity, set[Interval]]:
    """Stored open candles whose interval has ended by now."""
    over: dict[Granularity, set[Interval]] = {granularity: set() for granularity in Granularity}
    values = {"provider": context.provider.name, "now": context.order.now}
    for row in connection.execute(text(_OVER), values):
        granularity = Granularity(row.granularity)
        if row.opened_at + granularity.step <= context.order.now:
            over[granularity].add((row.market_id, row.opened_at))
    return over


def _hours_of_snapshots(context: RunContext) -> set[Interval]:
    haul = context.haul
    return {
        (haul.market_ids[row.snapshot.listing.key], Granularity.HOURLY.floor(row.observed_at))
        for row in haul.snapshots
    }


def _touched_hours(context: RunContext) -> set[Interval]:
    haul = context.haul
    given = {(haul.market_ids[row.listing.key], row.opened_at) for row in haul.candles}
    return given | _hours_of_snapshots(context)


def _derive_hours(
    context: RunContext, connection: Connection, touched: set[Interval], counts: StageCounts
) -> None:
    given = {
        (context.haul.market_ids[row.listing.key], row.opened_at) for row in context.haul.candles
    }
    for part in _parts(sorted(touched - given)):
        values = {
            "provider": context.provider.name,
            "market_ids": [market for market, _ in part],
            "opened": [opened for _, opened in part],
        }
        columns = read_columns(connection, _SNAPSHOTS, values)
        observations = [
            (int(market), _instant(observed), Decimal(price.decode()))
            for market, observed, price in zip(*columns, strict=True)
        ]
        derived = derive_candles(observations, Granularity.HOURLY, now=context.order.now)
        _merge(context, connection, derived, counts)


def _derive_coarser(
    context: RunContext,
    connection: Connection,
    granularity: Granularity,
    touched: Sequence[Interval],
    counts: StageCounts,
) -> None:
    for part in _parts(touched):
        context.check_stop()
        hours = _load_hours(connection, context.provider.name, part, granularity.step)
        derived = merge_candles(hours, granularity, now=context.order.now)
        _merge(context, connection, derived, counts)


def _load_hours(
    connection: Connection, provider: str, intervals: Sequence[Interval], step: timedelta
) -> list[DerivedCandle]:
    values = {
        "provider": provider,
        "market_ids": [market for market, _ in intervals],
        "opened": [opened for _, opened in intervals],
        "closed": [opened + step for _, opened in intervals],
    }
    return [_hour(cells) for cells in zip(*read_columns(connection, _HOURS, values), strict=True)]


def _hour(cells: Sequence[bytes]) -> DerivedCandle:
    """A stored hour with what coarser candles are made from."""
    number = [_decimal(cell) for cell in cells[2:8]]
    opening, high, low, close, volume, average = number
    assert opening is not None
    assert high is not None
    assert low is not None
    assert close is not None
    return DerivedCandle(
        market_id=int(cells[0]),
        granularity=Granularity.HOURLY,
        opened_at=datetime.fromtimestamp(int(cells[1]), UTC),
        open=opening,
        high=high,
        low=low,
        close=close,
        volume=volume,
        average=average,
        volatility=None,
        change_pct=None,
        sample_count=int(cells[8]),
        first_observed_at=None if cells[9] == b"\\N" else _instant(cells[9]),
        last_observed_at=None if cells[10] == b"\\N" else _instant(cells[10]),
        is_final=True,
        basis=CandleBasis(cells[11].decode()),
    )


def _merge(
    context: RunContext,
    connection: Connection,
    candles: Iterable[DerivedCandle],
    counts: StageCounts,
) -> None:
    rows = candle_rows(candles, context.provider.name)
    counts.add(merge_rows(connection, CANDLES, rows, run_id=context.order.run_id))


def _parts(intervals: Sequence[Interval]) -> Iterable[Sequence[Interval]]:
    """The intervals some thousand hours at a time, whole markets mostly staying together."""
    size = MARKETS_PER_STEP * 30
    return (intervals[start : start + size] for start in range(0, len(intervals), size))


def _instant(micros: bytes) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))


def _decimal(cell: bytes) -> Decimal | None:
    return None if cell == b"\\N" else Decimal(cell.decode())
