"""Snapshots from an exchange's tickers: one call for all of them, or one for each market."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.domain import MarketProblem, RejectedRow, Snapshot
from app.errors import ProviderError
from app.providers.base import Batch
from app.providers.ccxt_calls import Calls, Faulty
from app.providers.ccxt_http import Refused, problem_class
from app.providers.ccxt_markets import Place
from app.providers.ccxt_numbers import BadRow, raw_text, read_milliseconds, read_number, reject

# So many names fit into an address; beyond, the whole list is asked for.
MOST_NAMED = 100


@dataclass(slots=True)
class _Collected:
    snapshots: list[Snapshot] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    problems: list[MarketProblem] = field(default_factory=list)

    def take(self, place: Place, ticker: Mapping[str, Any] | Faulty) -> None:
        """A ticker as the snapshot of its listing, or set aside."""
        try:
            if isinstance(ticker, Faulty):
                raise ticker.error
            self.snapshots.append(_snapshot(place, ticker))
        except BadRow as error:
            raw = ticker.row if isinstance(ticker, Faulty) else ticker.get("info", ticker)
            row = reject(raw, error, kind="snapshot", listing=place.listing)
            self.rejected.append(row)

    def fail(self, place: Place, error: ProviderError) -> None:
        """What went wrong with one market."""
        symbol = place.listing.symbol
        text = _ended(f"{symbol} ({place.market.symbol}): {error}")
        self.problems.append(MarketProblem(symbol, problem_class(error), text))

    def batch(self) -> Batch[Snapshot]:
        return Batch(self.snapshots, self.rejected, self.problems)


def fetch_snapshots(calls: Calls, places: Sequence[Place], *, singly: bool) -> Batch[Snapshot]:
    """The present ticker of each place; a missing one is a problem, a bad one a rejected row.

    Raises ProviderError when the one call, or each of several, failed, and not only because the
    exchange does not have the markets.
    """
    collected = _Collected()
    if singly or not calls.has_all_tickers:
        _take_each(calls, places, collected)
    else:
        _take_all(calls, places, collected)
    return collected.batch()


def _take_all(calls: Calls, places: Sequence[Place], collected: _Collected) -> None:
    symbols = sorted({place.market.symbol for place in places})
    try:
        tickers = calls.tickers(symbols if len(symbols) <= MOST_NAMED else None)
    except Refused:
        # One that the exchange has taken away since spoils the call for all.
        _take_each(calls, places, collected)
        return
    for place in places:
        ticker = tickers.get(place.market.symbol)
        if ticker is None:
            text = f"{calls.label} sent no ticker of {place.market.symbol}."
            collected.problems.append(MarketProblem(place.listing.symbol, "NotFound", text))
        else:
            collected.take(place, ticker)


def _take_each(calls: Calls, places: Sequence[Place], collected: _Collected) -> None:
    failures: list[ProviderError] = []
    for place in places:
        try:
            collected.take(place, calls.ticker(place.market.symbol))
        except ProviderError as error:
            failures.append(error)
            collected.fail(place, error)
    outages = [error for error in failures if not isinstance(error, Refused)]
    if outages and len(failures) == len(places):
        raise outages[0]


def _snapshot(place: Place, ticker: Mapping[str, Any]) -> Snapshot:
    observed = ticker.get("timestamp")
    last = ticker.get("last")
    return Snapshot(
        listing=place.listing,
        observed_at=None if observed is None else read_milliseconds(observed),
        price=read_number(ticker.get("close") if last is None else last, "The price"),
        volume=read_number(ticker.get("quoteVolume"), "The volume"),
        raw=raw_text(ticker.get("info", {})),
    )


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
