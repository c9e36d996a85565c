"""Reading the markets a caller names: who they are, their newest observation, their closes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text

from app.analytics.comparisons import MarketState, PricePoint
from app.analytics.correlations import ReturnTable, build_return_table
from app.analytics.instants import from_micros
from app.database.base import AnySession
from app.database.bulk import read_columns
from app.domain import Granularity, Window
from app.errors import InvalidRequest, NotFound
from app.ingestion.closes import load_close_blocks
from app.ingestion.statistics import REACH

LONGEST_SYMBOL = 100
NAMES_SHOWN = 10
_MARKETS = """
    WITH wanted AS (
        SELECT symbol, place FROM unnest(CAST(:symbols AS text[])) WITH ORDINALITY n(symbol, place)
    )
    SELECT w.symbol AS given, m.id, m.symbol, m.name, m.quote, m.asset_type
    FROM wanted w JOIN market m ON m.symbol = w.symbol
    UNION ALL
    SELECT w.symbol, m.id, m.symbol, m.name, m.quote, m.asset_type
    FROM market m JOIN wanted w ON w.symbol = ANY(m.former_symbols)
    WHERE m.former_symbols && CAST(:symbols AS text[])
"""
_STATES = """
    SELECT n.market_id, s.observed_at, s.price, s.volume,
           s.roi_1h_pct, s.roi_24h_pct, s.roi_7d_pct, s.roi_30d_pct
    FROM unnest(CAST(:market_ids AS int[])) AS n(market_id)
    CROSS JOIN LATERAL (
        SELECT * FROM market_snapshot s
        WHERE s.market_id = n.market_id AND s.provider = :provider
        ORDER BY s.observed_at DESC LIMIT 1
    ) s
"""
_CLOSES = """
    SELECT market_id,
           (extract(epoch FROM CASE WHEN is_final THEN opened_at + %(step)s
                                    ELSE last_observed_at END) * 1000000)::bigint,
           close
    FROM market_aggregate
    WHERE provider = %(provider)s AND granularity = %(granularity)s
      AND market_id = ANY(%(market_ids)s)
      AND opened_at >= %(start)s AND opened_at < %(end)s
      AND (is_final OR last_observed_at IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class ChosenMarket:
    """A market that a caller named."""

    market_id: int
    symbol: str
    name: str
    quote: str
    asset_type: str


def choose_markets(
    session: AnySession, symbols: Sequence[str], *, least: int, most: int
) -> tuple[ChosenMarket, ...]:
    """The markets of these symbols, present or former, in their order; one query.

    A market named twice counts once. `InvalidRequest` for fewer than `least` or more than `most`
    different ones, `NotFound` for unknown ones.
    """
    wanted = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))
    if len(wanted) > most:
        raise InvalidRequest(f"{len(wanted)} markets are given, but at most {most} are taken.")
    found = _find(session, wanted)
    unknown = [symbol[:80] for symbol in wanted if symbol not in found]
    if unknown:
        raise NotFound(f"There is no market {', '.join(unknown[:NAMES_SHOWN])}.")
    chosen = {found[symbol].market_id: found[symbol] for symbol in wanted}
    if len(chosen) < least:
        raise InvalidRequest(f"Name {least} to {most} different markets, joined by commas.")
    return tuple(chosen.values())


def load_states(
    session: AnySession, markets: Iterable[ChosenMarket], *, provider: str
) -> dict[int, MarketState]:
    """The newest observation of each market that has one at `provider`; one query."""
    values = {"market_ids": [market.market_id for market in markets], "provider": provider}
    return {
        row.market_id: MarketState(
            market_id=row.market_id,
            observed_at=row.observed_at,
            price=row.price,
            volume=row.volume,
            roi_pct=dict(zip(Window, row[4:], strict=True)),
        )
        for row in session.execute(text(_STATES), values)
    }


def load_closes(
    session: AnySession,
    markets: Sequence[ChosenMarket],
    *,
    provider: str,
    granularity: Granularity,
    start: datetime,
    end: datetime,
) -> dict[int, list[PricePoint]]:
    """(instant, close) of the candles that hold a close in `[start, end]`, by market; one query.

    A close holds at the end of its candle, that of an open candle at its last observation.
    """
    closes: dict[int, list[PricePoint]] = {market.market_id: [] for market in markets}
    values = {
        "market_ids": list(closes),
        "provider": provider,
        "granularity": granularity.value,
        "step": granularity.step,
        "start": start - granularity.step,
        "end": end,
    }
    columns = read_columns(session.connection(), _CLOSES, values)
    for market_id, micros, close in zip(*columns, strict=True):
        instant = from_micros(int(micros))
        if start <= instant <= end:
            closes[int(market_id)].append((instant, Decimal(close.decode())))
    return closes


def end_with_present(
    closes: Mapping[int, list[PricePoint]], states: Mapping[int, MarketState]
) -> dict[int, list[PricePoint]]:
    """The closes of each market and, where its newest observation is younger, that one last."""
    ended = {market: sorted(points) for market, points in closes.items()}
    for market, points in ended.items():
        state = states.get(market)
        if state and (not points or points[-1][0] < state.observed_at):
            points.append((state.observed_at, state.price))
    return ended


def load_returns(
    session: AnySession, states: Mapping[int, MarketState], *, provider: str
) -> ReturnTable:
    """Hourly returns of the 30 days before the newest of `states`; one query, as a run reads them.

    So a pair that a run compared gets the very figures that the run stored.
    """
    if not states:
        return build_return_table((), as_of=from_micros(0))
    as_of = max(state.observed_at for state in states.values())
    present = {market: (state.observed_at, state.price) for market, state in states.items()}
    blocks = load_close_blocks(
        session.connection(),
        provider=provider,
        market_ids=list(states),
        start=as_of - REACH,
        end=as_of,
    )
    return build_return_table(
        (
            block.with_present(
                {market: present[market] for market in set(block.market_ids.tolist())}
            )
            for block in blocks
        ),
        as_of=as_of,
    )


def _find(session: AnySession, symbols: Sequence[str]) -> dict[str, ChosenMarket]:
    """The market of each symbol; who bears it now goes before who bore it once."""
    known = [symbol.replace("\x00", "") for symbol in symbols if len(symbol) <= LONGEST_SYMBOL]
    if not known:
        return {}
    rows = session.execute(text(_MARKETS), {"symbols": known}).all()
    bearers = sorted(rows, key=lambda row: row.symbol == row.given)
    return {
        row.given: ChosenMarket(row.id, row.symbol, row.name, row.quote, row.asset_type)
        for row in bearers
    }
