"""What is known of single exchanges beyond what ccxt tells: the list of those that were tried."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from app.providers.ccxt_numbers import read_number

_EXACT = Context(prec=60)
LONGEST_HISTORY_DAYS = 3650

QuoteVolume = Callable[[Any], Decimal | None]
"""What was traded in the interval of a candle, in the quote currency, read from its own row."""


def _nothing(row: Any) -> Decimal | None:
    return None


def _at(place: int) -> QuoteVolume:
    """The exchange gives it, at this place of the row."""
    return lambda row: read_number(row[place], "The quote volume") if _has(row, place) else None


def _average_times_volume(average: int, volume: int) -> QuoteVolume:
    """The exchange gives the volume-weighted average price and the volume in the base currency."""

    def read(row: Any) -> Decimal | None:
        if not _has(row, max(average, volume)):
            return None
        price = read_number(row[average], "The average price")
        amount = read_number(row[volume], "The volume")
        return None if price is None or amount is None else _EXACT.multiply(price, amount)

    return read


def _has(row: Any, place: int) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str) and len(row) > place


@dataclass(frozen=True, slots=True)
class Known:
    """How one exchange differs from the rest.

    With `asks_singly` its list of all tickers holds less than the ticker of one market, or is
    coarser. `history_days` is how far back its hourly candles go. `unknown_market` is what it says
    of a market it does not have, where ccxt does not know that.
    """

    quote_volume: QuoteVolume = _nothing
    asks_singly: bool = False
    history_days: int = LONGEST_HISTORY_DAYS
    unknown_market: str | None = None


# These were tried with answers of the shape that their public interface documents.
TRIED: Mapping[str, Known] = {
    "binance": Known(quote_volume=_at(7)),
    "binanceus": Known(quote_volume=_at(7)),
    "bitstamp": Known(),
    # Its list of all markets has one price an hour or so, without a time.
    "coinbaseexchange": Known(asks_singly=True),
    # It answers with the last 720 candles whatever is asked for: 30 days of hours.
    "kraken": Known(
        quote_volume=_average_times_volume(5, 6),
        history_days=30,
        unknown_market="Unknown asset pair",
    ),
}


def known(name: str) -> Known:
    """What is known of an exchange; of one that was not tried, nothing."""
    return TRIED.get(name, Known())
