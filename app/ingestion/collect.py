"""The part of a run that talks to the provider: no transaction is open while it lasts."""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from app.domain import (
    HOUR,
    Candle,
    Granularity,
    Listing,
    MarketProblem,
    MarketRequest,
    RejectedRow,
    Snapshot,
)
from app.errors import PermanentProviderError
from app.ingestion.context import RunContext
from app.ingestion.listings import DISCOVERED, PINNED, Key, KnownListings, load_known
from app.ingestion.validation import storable_rejection
from app.providers.base import Capabilities

DISCOVERY_QUOTE = "USD"
# A gap this long at the end of a history is worth one of a limited number of calls.
WORTH_A_CALL = timedelta(hours=2)
# The base of a window of the whole look-back is the close before its start.
BASE_STEPS = 2
# A provider answers with all candles of a call in memory, of about 1 kB each.
CANDLES_PER_CALL = 50_000
_LAST_CANDLES = """
    SELECT l.provider_id, l.quote, c.opened_at
    FROM listing l CROSS JOIN LATERAL (
        SELECT opened_at FROM market_aggregate a
        WHERE a.market_id = l.market_id AND a.provider = l.provider
          AND a.granularity = 'hourly' AND a.is_final
        ORDER BY opened_at DESC LIMIT 1
    ) c
    WHERE l.provider = :provider
"""


@dataclass(slots=True)
class Collected:
    """Rows as the provider gave them, before validation; its candles are in the run's history.

    `rejected_count` is the number of rows that the provider itself set aside.
    """

    listings: list[Listing] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    rejected_count: int = 0
    problems: list[MarketProblem] = field(default_factory=list)
    history_from: dict[Key, datetime] = field(default_factory=dict)


def collect(context: RunContext, engine: Engine, got: Collected) -> None:
    """Resolve listings, then fetch snapshots and the missing part of their history into `got`.

    Raises `ProviderError` when the provider did not deliver, `RunStopped` at a safe point.
    """
    provider, order = context.provider, context.order
    with engine.connect() as connection:
        known = load_known(connection, provider.name)
        last_candles = _load_last_candles(connection, provider.name)
    named = _resolve(context, known, order.selection.requests, got)
    context.check_stop()
    _fetch_ranked(context, named, got)
    context.check_stop()
    ranked = {listing.key for listing in got.listings}
    _fetch_named(context, [item for item in named.values() if item.key not in ranked], got)
    _fetch_history(context, known, last_candles, got)
    context.check_stop()


def _set_aside(context: RunContext, got: Collected, rows: Sequence[RejectedRow]) -> None:
    """Keep the rows that the provider itself could not read."""
    context.set_aside(map(storable_rejection, rows))
    got.rejected_count += len(rows)


def _load_last_candles(connection: Connection, provider: str) -> dict[Key, datetime]:
    rows = connection.execute(text(_LAST_CANDLES), {"provider": provider})
    return {(provider, row.provider_id, row.quote): row.opened_at for row in rows}


def _resolve(
    context: RunContext, known: KnownListings, requests: Sequence[MarketRequest], got: Collected
) -> dict[Key, Listing]:
    """The listing of every request: the stored one, else the provider's choice."""
    found: list[tuple[str, Listing]] = []
    unknown = []
    for request in requests:
        listing = known.find(request)
        if listing:
            found.append((request.symbol, listing))
        else:
            unknown.append(request)
    if unknown:
        resolution = context.provider.resolve_listings(unknown)
        found += [(listing.symbol, listing) for listing in resolution.listings]
        got.problems += resolution.problems
    # A pinned id always wins.
    found.sort(key=lambda item: item[1].chosen_by != PINNED)
    return _each_once(found, got)


def _each_once(found: Iterable[tuple[str, Listing]], got: Collected) -> dict[Key, Listing]:
    """The listings by key; a second symbol of one listing is a problem of that market."""
    named: dict[Key, Listing] = {}
    symbols: dict[Key, str] = {}
    for symbol, listing in found:
        first = symbols.setdefault(listing.key, symbol)
        if first == symbol:
            named[listing.key] = listing
            continue
        message = (
            f"{symbol} is {listing.provider_id} at {listing.provider}, which is followed as "
            f"{first} already. Name only one of them."
        )
        got.problems.append(MarketProblem(symbol, "SameListing", message))
    return named


def _fetch_ranked(context: RunContext, named: Mapping[Key, Listing], got: Collected) -> None:
    """The largest markets; one that was asked for by name goes by that name."""
    top = context.order.selection.top
    if not top:
        return
    ranked = context.provider.fetch_ranked(top, DISCOVERY_QUOTE)
    got.listings += [_as_named(listing, named.get(listing.key)) for listing in ranked.listings]
    got.snapshots += ranked.snapshots.rows
    _set_aside(context, got, ranked.snapshots.rejected)
    got.problems += ranked.snapshots.problems


def _as_named(ranked: Listing, named: Listing | None) -> Listing:
    if named is None or named.chosen_by == DISCOVERED:
        return ranked
    return replace(ranked, symbol=named.symbol, chosen_by=named.chosen_by)


def _fetch_named(context: RunContext, listings: Sequence[Listing], got: Collected) -> None:
    if not listings:
        return
    batch = context.provider.fetch_snapshots(listings)
    got.listings += listings
    got.snapshots += batch.rows
    _set_aside(context, got, batch.rejected)
    got.problems += batch.problems


def _fetch_history(
    context: RunContext,
    known: KnownListings,
    last_candles: Mapping[Key, datetime],
    got: Collected,
) -> None:
    """Ask for hourly candles from where the stored ones end, or for the whole look-back."""
    able = context.provider.capabilities
    if not context.order.lookback_days or Granularity.HOURLY not in able.granularities:
        return
    missing = _missing(got)
    wanted = plan_history(
        [listing for listing in got.listings if listing.key not in missing],
        last_candles,
        known.history_from,
        able,
        now=context.order.now,
        lookback=timedelta(days=min(context.order.lookback_days, able.history_days)),
    )
    context.history.fill(
        _fetch_candles(context, known, wanted, got),
        provider=context.provider.name,
        now=context.latest_now,
        asked={listing.key for listing in got.listings},
        set_aside=context.set_aside,
    )


def _fetch_candles(
    context: RunContext,
    known: KnownListings,
    wanted: Mapping[datetime, Sequence[Listing]],
    got: Collected,
) -> Iterator[Candle]:
    """The candles of one call after the other; what else comes with them goes into `got`."""
    for start, listings in _calls(wanted, now=context.order.now):
        context.check_stop()
        problems = yield from _call(context, listings, start, got)
        failed = {problem.symbol for problem in problems}
        got.history_from |= {
            listing.key: min(start, known.history_from.get(listing.key, start))
            for listing in listings
            if listing.symbol not in failed
        }


def _call(
    context: RunContext, listings: Sequence[Listing], start: datetime, got: Collected
) -> Generator[Candle, None, Sequence[MarketProblem]]:
    """The candles of one call, and in the end its problems; nothing else of it stays."""
    batch = context.provider.fetch_candles(listings, Granularity.HOURLY, start, context.order.now)
    yield from batch.rows
    _set_aside(context, got, batch.rejected)
    got.problems += batch.problems
    return batch.problems


def _calls(
    wanted: Mapping[datetime, Sequence[Listing]], *, now: datetime
) -> Iterator[tuple[datetime, Sequence[Listing]]]:
    """What to ask for from when on, so many listings at a time that the answer stays small."""
    for start, listings in sorted(wanted.items()):
        hours = max(1, -((start - now) // HOUR))
        size = max(1, CANDLES_PER_CALL // hours)
        for first in range(0, len(listings), size):
            yield start, listings[first : first + size]


def plan_history(
    listings: Iterable[Listing],
    last_candles: Mapping[Key, datetime],
    history_from: Mapping[Key, datetime],
    able: Capabilities,
    *,
    now: datetime,
    lookback: timedelta,
) -> dict[datetime, list[Listing]]:
    """Which listings need candles from which opening on, within the provider's budget of calls.

    A listing whose look-back was never asked for comes first; one with candles continues where the
    last final one ends. Without a budget every listing continues in every run; with one only those
    whose history ends more than two hours ago, the one that lags most first.
    """
    since = Granularity.HOURLY.floor(now - lookback) - BASE_STEPS * HOUR
    fresh: list[tuple[datetime, Listing]] = []
    lagging: list[tuple[datetime, Listing]] = []
    for listing in listings:
        asked = history_from.get(listing.key)
        last = last_candles.get(listing.key)
        if asked is None or asked > since + HOUR:
            fresh.append((since, listing))
        elif last is None:
            continue
        elif able.candle_calls_per_run is None or now - last > HOUR + WORTH_A_CALL:
            lagging.append((max(last + HOUR, since), listing))
    planned: dict[datetime, list[Listing]] = defaultdict(list)
    lagging.sort(key=lambda item: item[0])
    for start, listing in (fresh + lagging)[: able.candle_calls_per_run]:
        planned[start].append(listing)
    return planned


def _missing(got: Collected) -> set[Key]:
    """Listings without a snapshot in this answer: their history is not asked for either."""
    present = {row.listing.key for row in got.snapshots}
    return {listing.key for listing in got.listings} - present


def refuse_empty(context: RunContext, good: int) -> None:
    """Raise `PermanentProviderError` when not one snapshot can be kept."""
    if good:
        return
    problems = context.haul.problems
    reasons = "; ".join(problem.message for problem in problems[:3])
    rejected = context.rejected.count
    message = f"{context.provider.name} delivered no usable snapshot"
    if rejected:
        message += f"; {rejected} rows were rejected"
    raise PermanentProviderError(f"{message}{': ' + reasons if reasons else '.'}")
