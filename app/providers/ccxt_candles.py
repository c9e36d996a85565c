"""Candles of an exchange, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.domain import Candle, Granularity, RejectedRow
from app.errors import TransientProviderError
from app.providers.ccxt_calls import Calls, CandleRow, Faulty
from app.providers.ccxt_exchanges import Known
from app.providers.ccxt_markets import Place
from app.providers.ccxt_numbers import (
    BadRow,
    raw_text,
    read_milliseconds,
    read_number,
    reject,
    to_milliseconds,
)

MOST_REJECTED = 50
# How far to go on over a page without candles where ccxt does not say how long a page is.
ASSUMED_PAGE = 200


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: candles that opened in `[start, end)`, seen from `now`."""

    granularity: Granularity
    start: datetime
    end: datetime
    now: datetime

    @property
    def first(self) -> datetime:
        """The first opening within the span."""
        floor = self.granularity.floor(self.start)
        return floor if floor == self.start else floor + self.granularity.step


@dataclass(slots=True)
class CandleReader:
    """Reads the candles of one market after the other into `candles`, bad rows into `rejected`."""

    calls: Calls
    known: Known
    span: Span
    candles: list[Candle] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)

    def read(self, place: Place) -> None:
        """The candles of one market in order, each once.

        Raises ProviderError; what came before is kept.
        """
        for page in self._pages(place):
            self.candles.extend(page)

    def _pages(self, place: Place) -> Iterator[list[Candle]]:
        step, since = self.span.granularity.step, self.span.first
        size = self.calls.candles_per_call
        calls_left = self._most_calls(size or ASSUMED_PAGE)
        until = min(self.span.end, self.span.now)
        while since < until:
            if not calls_left:
                raise TransientProviderError(
                    f"{self.calls.label} gives the history of {place.market.symbol} in too small "
                    f"pieces; it is kept up to {since:%Y-%m-%d %H:%M}"
                )
            calls_left -= 1
            page = self._page(place, since, size)
            yield page
            # No candle means that nothing was traded, or not yet: look further on.
            last = page[-1].opened_at if page else since + step * ((size or ASSUMED_PAGE) - 1)
            since = last + step

    def _most_calls(self, size: int) -> int:
        steps = -(-(self.span.end - self.span.first) // self.span.granularity.step)
        return 2 * -(-max(steps, 0) // size) + 2

    def _page(self, place: Place, since: datetime, size: int | None) -> list[Candle]:
        rows = self.calls.candles(
            place.market.symbol, self.span.granularity, to_milliseconds(since), size
        )
        found: dict[datetime, Candle] = {}
        for candle in self._readable(place, rows):
            if since <= candle.opened_at < self.span.end:
                found[candle.opened_at] = candle
        return [found[opened_at] for opened_at in sorted(found)]

    def _readable(self, place: Place, rows: Sequence[CandleRow | Faulty]) -> Iterator[Candle]:
        for row in rows:
            try:
                if isinstance(row, Faulty):
                    raise row.error
                yield self._candle(place, row)
            except BadRow as error:
                if len(self.rejected) < MOST_REJECTED:
                    self.rejected.append(
                        reject(row.row, error, kind="candle", listing=place.listing)
                    )

    def _candle(self, place: Place, row: CandleRow) -> Candle:
        opened_at = read_milliseconds(row.values[0])
        names = ("The open", "The high", "The low", "The close")
        prices = [
            read_number(value, name) for value, name in zip(row.values[1:5], names, strict=True)
        ]
        if any(price is None for price in prices):
            raise BadRow("no_price", "A candle lacks one of its four prices.")
        opening, high, low, close = (price for price in prices if price is not None)
        return Candle(
            listing=place.listing,
            granularity=self.span.granularity,
            opened_at=opened_at,
            open=opening,
            high=high,
            low=low,
            close=close,
            volume=self.known.quote_volume(row.row),
            is_final=opened_at + self.span.granularity.step <= self.span.now,
            raw=raw_text(row.row),
        )
