"""The part of a run that talks to the provider: no transaction is open while it lasts."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.domain import (
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
from app.ingestion.history_plan import (
    LastCandles,
    is_changed,
    load_last_candles,
    plan_history,
    split_calls,
)
from app.ingestion.listings import DISCOVERED, PINNED, Key, KnownListings, load_known
from app.ingestion.validation import storable_rejection
from app.providers.base import OwnCandles

DISCOVERY_QUOTE = "USD"


@dataclass(slots=True)
class Collected:
    """Rows as the provider gave them, before validation; its candles are in the run's history.

    `rejected_count` is the number of rows that the provider itself set aside; `own_candles` says
    which candles were asked for, and `unread` of which listings not all of them came.
    """

    listings: list[Listing] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    rejected_count: int = 0
    problems: list[MarketProblem] = field(default_factory=list)
    history_from: dict[Key, datetime] = field(default_factory=dict)
    own_candles: dict[Key, OwnCandles] = field(default_factory=dict)
    unread: set[Key] = field(default_factory=set)

    @property
    def history_states(self) -> dict[Key, str]:
        """The state of the candles that were read, of each listing of which it is known."""
        return {
            key: own.state
            for key, own in self.own_candles.items()
            if own.state and key not in self.unread
        }


def collect(context: RunContext, engine: Engine, got: Collected) -> None:
    """Resolve listings, then fetch snapshots and the missing part of their history into `got`.

    Raises `ProviderError` when the provider did not deliver, `RunStopped` at a safe point.
    """
    provider, order = context.provider, context.order
    with engine.connect() as connection:
        known = load_known(connection, provider.name)
        last_candles = load_last_candles(connection, provider.name, provider.capabilities)
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
    context: RunContext, known: KnownListings, last_candles: LastCandles, got: Collected
) -> None:
    """Ask for the provider's own candles of each listing, those of a day before its hours."""
    able = context.provider.capabilities
    if not context.order.lookback_days or not able.granularities:
        return
    missing = _missing(got)
    listings = [listing for listing in got.listings if listing.key not in missing]
    got.own_candles = {each.key: context.provider.own_candles(each) for each in listings}
    for granularity in sorted(able.granularities, key=lambda each: -each.step):
        holding = [
            each for each in listings if granularity in got.own_candles[each.key].granularities
        ]
        wanted = _plan(context, known, last_candles, got, holding, granularity)
        context.history.fill(
            _fetch_candles(context, known, wanted, granularity, got),
            provider=context.provider.name,
            now=context.latest_now,
            asked={listing.key for listing in got.listings},
            set_aside=context.set_aside,
        )


def _plan(
    context: RunContext,
    known: KnownListings,
    last_candles: LastCandles,
    got: Collected,
    listings: Sequence[Listing],
    granularity: Granularity,
) -> dict[datetime, list[Listing]]:
    able = context.provider.capabilities
    return plan_history(
        listings,
        {key: at for (each, key), at in last_candles.items() if each is granularity},
        known.history_from,
        able,
        now=context.order.now,
        lookback=timedelta(days=min(context.order.lookback_days, able.history_days)),
        granularity=granularity,
        changed={key for key, own in got.own_candles.items() if is_changed(own, key, known)},
        newest=_newest(got) if able.is_recorded else {},
    )


def _newest(got: Collected) -> dict[Key, datetime]:
    """When the newest snapshot of each listing was observed, by what it says itself."""
    newest: dict[Key, datetime] = {}
    for row in got.snapshots:
        if row.observed_at is not None:
            newest[row.listing.key] = max(
                row.observed_at, newest.get(row.listing.key, row.observed_at)
            )
    return newest


def _fetch_candles(
    context: RunContext,
    known: KnownListings,
    wanted: Mapping[datetime, Sequence[Listing]],
    granularity: Granularity,
    got: Collected,
) -> Iterator[Candle]:
    """The candles of one call after the other; what else comes with them goes into `got`."""
    for start, listings in split_calls(wanted, granularity, now=context.order.now):
        context.check_stop()
        problems = yield from _call(context, listings, granularity, start, got)
        failed = {problem.symbol for problem in problems}
        for listing in listings:
            if listing.symbol in failed:
                got.unread.add(listing.key)
                continue
            before = got.history_from.get(listing.key, start)
            got.history_from[listing.key] = min(
                start, before, known.history_from.get(listing.key, start)
            )


def _call(
    context: RunContext,
    listings: Sequence[Listing],
    granularity: Granularity,
    start: datetime,
    got: Collected,
) -> Generator[Candle, None, Sequence[MarketProblem]]:
    """The candles of one call, and in the end its problems; nothing else of it stays."""
    batch = context.provider.fetch_candles(listings, granularity, start, context.order.now)
    yield from batch.rows
    _set_aside(context, got, batch.rejected)
    got.problems += batch.problems
    return batch.problems


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
