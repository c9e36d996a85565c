"""Which candles a run asks for, the missing and the corrected, and what it remembers of that."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Connection, text

from app.domain import Granularity, Listing
from app.ingestion.listings import Key, KnownListings
from app.providers.base import Capabilities, OwnCandles

# A gap of so many candles at the end of a history is worth one of a limited number of calls.
WORTH_A_CALL = 2
# The base of a window of the whole look-back is the close before its start.
BASE_STEPS = 2
# A provider answers with all candles of a call in memory, of about 1 kB each.
CANDLES_PER_CALL = 50_000
# Coarser candles that were derived from others say nothing of what the provider gave.
_LAST_CANDLES = """
    SELECT g.granularity, l.provider_id, l.quote, c.opened_at
    FROM listing l CROSS JOIN unnest(CAST(:granularities AS text[])) AS g(granularity)
    CROSS JOIN LATERAL (
        SELECT opened_at FROM market_aggregate a
        WHERE a.market_id = l.market_id AND a.provider = l.provider
          AND a.granularity = g.granularity AND a.is_final
          AND (a.granularity = 'hourly' OR a.basis = 'provider')
        ORDER BY opened_at DESC LIMIT 1
    ) c
    WHERE l.provider = :provider
"""

_NOTE = """
    UPDATE listing l
    SET history_from = coalesce(n.asked, l.history_from),
        history_state = coalesce(n.state, l.history_state)
    FROM unnest(CAST(:ids AS text[]), CAST(:quotes AS text[]), CAST(:asked AS timestamptz[]),
                CAST(:states AS text[])) AS n(provider_id, quote, asked, state)
    WHERE l.provider = :provider AND l.provider_id = n.provider_id AND l.quote = n.quote
      AND (l.history_from, l.history_state) IS DISTINCT FROM
          (coalesce(n.asked, l.history_from), coalesce(n.state, l.history_state))
"""

LastCandles = Mapping[tuple[Granularity, Key], datetime]
"""When the last final candle of a listing opened."""


def load_last_candles(connection: Connection, provider: str, able: Capabilities) -> LastCandles:
    """Those of the granularities that this provider may be asked for."""
    may_be_asked = able.granularities if able.is_recorded else able.finest
    values = {"provider": provider, "granularities": sorted(may_be_asked)}
    rows = connection.execute(text(_LAST_CANDLES), values)
    return {
        (Granularity(row.granularity), (provider, row.provider_id, row.quote)): row.opened_at
        for row in rows
    }


def is_changed(own: OwnCandles, key: Key, known: KnownListings) -> bool:
    """True where candles of the past may have been corrected since all were read last."""
    if own.state is None:
        return False
    return not own.state or own.state != known.history_states.get(key)


def split_calls(
    wanted: Mapping[datetime, Sequence[Listing]], granularity: Granularity, *, now: datetime
) -> Iterator[tuple[datetime, Sequence[Listing]]]:
    """What to ask for from when on, so many listings at a time that the answer stays small."""
    for start, listings in sorted(wanted.items()):
        candles = max(1, -((start - now) // granularity.step))
        size = max(1, CANDLES_PER_CALL // candles)
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
    granularity: Granularity = Granularity.HOURLY,
    changed: Collection[Key] = (),
    newest: Mapping[Key, datetime] = MappingProxyType({}),
) -> dict[datetime, list[Listing]]:
    """Which listings need candles from which opening on, within the provider's budget of calls.

    A listing whose look-back was never asked for, or whose past has `changed`, comes first; one
    with candles continues where the last final one ends. Without a budget every listing continues
    in every run; with one only those whose history ends more than two candles ago, the one that
    lags most first. A look-back counts from `now`, or from `newest` where that is earlier.
    """
    step = granularity.step
    fresh: list[tuple[datetime, Listing]] = []
    lagging: list[tuple[datetime, Listing]] = []
    for listing in listings:
        end = min(now, newest.get(listing.key, now))
        since = granularity.floor(end - lookback) - BASE_STEPS * step
        asked = history_from.get(listing.key)
        last = last_candles.get(listing.key)
        if asked is None or asked > since + step:
            fresh.append((since, listing))
        elif listing.key in changed:
            fresh.append((min(asked, since), listing))
        elif last is None:
            continue
        elif able.candle_calls_per_run is None or now - last > (1 + WORTH_A_CALL) * step:
            lagging.append((max(last + step, since), listing))
    planned: dict[datetime, list[Listing]] = defaultdict(list)
    lagging.sort(key=lambda item: item[0])
    for start, listing in (fresh + lagging)[: able.candle_calls_per_run]:
        planned[start].append(listing)
    return planned


def note_history(
    connection: Connection,
    provider: str,
    asked: Mapping[Key, datetime],
    states: Mapping[Key, str],
) -> None:
    """Remember from which instant on each history was asked for, and its state when it was read."""
    keys = list(dict.fromkeys((*asked, *states)))
    if not keys:
        return
    values = {
        "provider": provider,
        "ids": [key[1] for key in keys],
        "quotes": [key[2] for key in keys],
        "asked": [asked.get(key) for key in keys],
        "states": [states.get(key) for key in keys],
    }
    connection.execute(text(_NOTE), values)
