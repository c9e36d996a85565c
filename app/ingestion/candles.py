"""Storing candles: the provider's own, hours from snapshots, days and weeks from what is finer.

Only the intervals that this run touched are derived again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, repeat

from sqlalchemy import Connection, text

from app.analytics.candles import (
    DerivedCandle,
    derive_candles,
    merge_candles,
)
from app.database.bulk import merge_chunk, merge_rows, read_columns
from app.domain import CandleBasis, Granularity
from app.ingestion.context import RunContext, StageCounts
from app.ingestion.history import Hours
from app.ingestion.targets import CANDLES, candle_rows
from app.ingestion.weeks import days_of, week_of, weeks_of_days

Interval = tuple[int, datetime]
Openings = Mapping[int, Collection[datetime]]
"""The openings of intervals by market."""

INTERVALS_PER_STEP = 7_500
WEEKS_PER_STEP = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
_FINER = """
    SELECT a.market_id, extract(epoch FROM a.opened_at)::bigint, a.open, a.high, a.low, a.close,
           a.volume, a.average, a.sample_count,
           (extract(epoch FROM a.first_observed_at) * 1000000)::bigint,
           (extract(epoch FROM a.last_observed_at) * 1000000)::bigint, a.basis
    FROM unnest(%(market_ids)s::int[], %(opened)s::timestamptz[]) AS n(market_id, opened_at)
    JOIN market_aggregate a ON a.market_id = n.market_id AND a.provider = %(provider)s
         AND a.granularity = %(granularity)s
         AND a.opened_at >= n.opened_at AND a.opened_at < n.opened_at + interval '7 days'
"""


def store_history(context: RunContext, connection: Connection) -> StageCounts:
    """Merge the candles the provider gave."""
    history, run_id = context.history, context.order.run_id
    counts = StageCounts(fetched=history.good_count)
    for chunk in history.chunks(context.haul.market_ids):
        context.check_stop()
        counts.add(merge_chunk(connection, CANDLES, chunk, run_id=run_id))
    context.closes.forget()
    return counts


def store_derived_candles(context: RunContext, connection: Connection) -> StageCounts:
    """Derive the touched hours from snapshots, then the touched days and weeks from finer candles.

    No hour of a recorded market is made of snapshots: they only repeat what its candles say.
    """
    counts = StageCounts()
    over = _load_over(context, connection)
    market_ids = context.haul.market_ids
    given = context.history.hours_by_market(market_ids)
    days = context.history.hours_by_market(market_ids, Granularity.DAILY)
    bare = _without(_join(_hours_of_snapshots(context), over[Granularity.HOURLY]), given)
    for market_id in context.recorded_markets():
        bare.pop(market_id, None)
    _derive_hours(context, connection, bare, counts)
    _derive_coarser(context, connection, Touched(given, days, bare, over), counts)
    return counts


@dataclass(frozen=True, slots=True)
class Touched:
    """What of each market has changed: hours and days the provider gave, other hours, what is over.

    `days` are the hours at which the days open.
    """

    given: Mapping[int, Hours]
    days: Mapping[int, Hours]
    bare: Openings
    over: Mapping[Granularity, Openings]

    def intervals(self, market_id: int, granularity: Granularity) -> set[datetime]:
        """The days or weeks of a market to derive again."""
        days = self.days if granularity is Granularity.WEEKLY else {}
        return {
            *self.given.get(market_id, Hours()).intervals(granularity),
            *days.get(market_id, Hours()).intervals(granularity),
            *map(granularity.floor, self.bare.get(market_id, ())),
            *self.over[granularity].get(market_id, ()),
        }

    def weeks(self) -> Iterator[Interval]:
        """The weeks in which anything is to be derived, market by market."""
        for market_id in sorted(self._market_ids()):
            # A day that is over may lie in a week that nothing touched.
            days = map(Granularity.WEEKLY.floor, self.intervals(market_id, Granularity.DAILY))
            weeks = {*days, *self.intervals(market_id, Granularity.WEEKLY)}
            yield from ((market_id, week) for week in sorted(weeks))

    def _market_ids(self) -> set[int]:
        return {*self.given, *self.days, *self.bare}.union(*self.over.values())


def _load_over(context: RunContext, connection: Connection) -> dict[Granularity, Openings]:
    """Stored open candles whose interval has ended by now."""
    over: dict[Granularity, dict[int, set[datetime]]] = {
        granularity: defaultdict(set) for granularity in Granularity
    }
    values = {"provider": context.provider.name, "now": context.order.now}
    for row in connection.execute(text(_OVER), values):
        granularity = Granularity(row.granularity)
        if row.opened_at + granularity.step <= context.order.now:
            over[granularity][row.market_id].add(row.opened_at)
    return dict(over)


def _hours_of_snapshots(context: RunContext) -> Openings:
    haul = context.haul
    hours: dict[int, set[datetime]] = defaultdict(set)
    for row in haul.snapshots:
        market_id = haul.market_ids[row.snapshot.listing.key]
        hours[market_id].add(Granularity.HOURLY.floor(row.observed_at))
    return hours


def _join(one: Openings, other: Openings) -> Openings:
    return {
        market_id: {*one.get(market_id, ()), *other.get(market_id, ())}
        for market_id in one.keys() | other.keys()
    }


def _without(openings: Openings, those: Mapping[int, Hours]) -> dict[int, Collection[datetime]]:
    return {
        market_id: {each for each in opened if each not in those.get(market_id, Hours())}
        for market_id, opened in openings.items()
    }


def _derive_hours(
    context: RunContext, connection: Connection, hours: Openings, counts: StageCounts
) -> None:
    intervals = _intervals(hours)
    for start in range(0, len(intervals), INTERVALS_PER_STEP):
        columns = _read(context, connection, _SNAPSHOTS, intervals[start:][:INTERVALS_PER_STEP])
        observations = [
            (int(market), _instant(observed), Decimal(price.decode()))
            for market, observed, price in zip(*columns, strict=True)
        ]
        derived = derive_candles(observations, Granularity.HOURLY, now=context.order.now)
        _merge(context, connection, derived, counts)
    if counts.inserted or counts.updated:
        context.closes.forget()


def _derive_coarser(
    context: RunContext, connection: Connection, touched: Touched, counts: StageCounts
) -> None:
    """Days and weeks, some weeks at a time, their hours being read once for both."""
    pending = touched.weeks()
    while weeks := list(islice(pending, WEEKS_PER_STEP)):
        context.check_stop()
        hours = _load_finer(context, connection, weeks, Granularity.HOURLY)
        market_ids = {market_id for market_id, _ in weeks}
        for granularity in (Granularity.DAILY, Granularity.WEEKLY):
            openings = {each: touched.intervals(each, granularity) for each in market_ids}
            finer = list(_inside(hours, openings, granularity))
            days: Iterable[DerivedCandle] = ()
            if granularity is Granularity.WEEKLY and context.may_give_days():
                finer, days = _parts_of_weeks(context, connection, finer, weeks, openings)
            for parts in (finer, days):
                derived = merge_candles(parts, granularity, now=context.order.now)
                _merge(context, connection, derived, counts)


def _parts_of_weeks(
    context: RunContext,
    connection: Connection,
    hours: Sequence[DerivedCandle],
    weeks: Sequence[Interval],
    openings: Openings,
) -> tuple[list[DerivedCandle], list[DerivedCandle]]:
    """The hours of some weeks and the days of the others, as they are stored by now."""
    weeks = [(market_id, week) for market_id, week in weeks if week in openings[market_id]]
    days = _load_finer(context, connection, weeks, Granularity.DAILY)
    chosen = weeks_of_days(days, hours, now=context.order.now)
    return [hour for hour in hours if week_of(hour) not in chosen], days_of(days, chosen)


def _inside(
    hours: Iterable[DerivedCandle], openings: Openings, granularity: Granularity
) -> Iterator[DerivedCandle]:
    """The hours of the given intervals."""
    floor = _Floor(granularity)
    return (hour for hour in hours if floor(hour.opened_at) in openings[hour.market_id])


class _Floor:
    """Granularity.floor, remembered: the same few hundred openings come for every market."""

    def __init__(self, granularity: Granularity) -> None:
        self._granularity = granularity
        self._known: dict[datetime, datetime] = {}

    def __call__(self, opened_at: datetime) -> datetime:
        floor = self._known.get(opened_at)
        if floor is None:
            floor = self._known[opened_at] = self._granularity.floor(opened_at)
        return floor


def _intervals(openings: Openings) -> list[Interval]:
    return sorted((market_id, opened) for market_id in openings for opened in openings[market_id])


def _read(
    context: RunContext,
    connection: Connection,
    query: str,
    intervals: Sequence[Interval],
    **more: str,
) -> list[list[bytes]]:
    values = {
        "provider": context.provider.name,
        "market_ids": [market for market, _ in intervals],
        "opened": [opened for _, opened in intervals],
        **more,
    }
    return read_columns(connection, query, values)


def _load_finer(
    context: RunContext,
    connection: Connection,
    weeks: Sequence[Interval],
    granularity: Granularity,
) -> list[DerivedCandle]:
    """Stored hours or days of the weeks, with what coarser candles are made from."""
    columns = _read(context, connection, _FINER, weeks, granularity=granularity)
    if not columns:
        return []
    markets, openings, *numbers, counts, first_observed, last_observed, bases = columns
    seconds = {cell: _instant(cell + b"000000") for cell in set(openings)}
    basis = {cell: CandleBasis(cell.decode()) for cell in set(bases)}
    opened, high, low, close, volume, average = map(_decimals, numbers)
    return list(
        map(
            DerivedCandle,
            map(int, markets),
            repeat(granularity),
            map(seconds.__getitem__, openings),
            opened,
            high,
            low,
            close,
            volume,
            average,
            repeat(None),
            repeat(None),
            map(int, counts),
            map(_instant_or_none, first_observed),
            map(_instant_or_none, last_observed),
            repeat(True),
            map(basis.__getitem__, bases),
        )
    )


def _merge(
    context: RunContext,
    connection: Connection,
    candles: Iterable[DerivedCandle],
    counts: StageCounts,
) -> None:
    rows = candle_rows(candles, context.provider.name)
    counts.add(merge_rows(connection, CANDLES, rows, run_id=context.order.run_id))


def _instant(micros: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))


def _instant_or_none(micros: bytes) -> datetime | None:
    return None if micros == b"\\N" else _instant(micros)


def _decimals(cells: Sequence[bytes]) -> list[Decimal | None]:
    """Exact numbers of a column; decoded as one text, which is faster than cell by cell."""
    texts = b"\t".join(cells).decode().split("\t")
    return [None if cell == "\\N" else Decimal(cell) for cell in texts]
