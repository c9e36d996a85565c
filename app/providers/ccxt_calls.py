"""The calls of ccxt that we use, with every row apart: a bad one spoils none of its neighbours."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.domain import Granularity
from app.errors import PermanentProviderError
from app.providers.ccxt_http import CcxtHttp, Refused
from app.providers.ccxt_numbers import BadRow, refuse_huge_exponents
from app.providers.ccxt_package import PARSE_ERRORS, refusal_class

TIMEFRAMES: Mapping[Granularity, str] = {Granularity.HOURLY: "1h", Granularity.DAILY: "1d"}


@dataclass(frozen=True, slots=True)
class Faulty:
    """A row of the exchange that ccxt could not read, and why."""

    row: Any
    error: BadRow


@dataclass(frozen=True, slots=True)
class CandleRow:
    """A candle: ccxt's list of time, open, high, low, close and volume, and the exchange's row."""

    values: Sequence[Any]
    row: Any


class Calls:
    """Asks one exchange object. Every call raises ProviderError, or RunStopped."""

    def __init__(self, exchange: Any, http: CcxtHttp) -> None:
        self.label = http.label
        self._exchange = exchange
        self._http = http
        self._read_candles: list[CandleRow | Faulty] = []
        self._faulty: dict[str, Faulty] = {}
        exchange.parse_ticker = self._apart(exchange.parse_ticker, self._faulty_ticker)
        exchange.parse_ohlcv = self._noted(exchange.parse_ohlcv)

    @property
    def has_all_tickers(self) -> bool:
        """True where one call gives the tickers of several markets."""
        return bool(self._exchange.has.get("fetchTickers"))

    @property
    def granularities(self) -> frozenset[Granularity]:
        """The candles that the exchange offers."""
        if not self._exchange.has.get("fetchOHLCV"):
            return frozenset()
        offered = self._exchange.timeframes or {}
        return frozenset(each for each, name in TIMEFRAMES.items() if name in offered)

    @property
    def candles_per_call(self) -> int | None:
        """The most candles of one answer; None where ccxt does not say."""
        spot = (self._exchange.features or {}).get("spot") or {}
        limit = (spot.get("fetchOHLCV") or {}).get("limit")
        return limit if isinstance(limit, int) and limit > 0 else None

    def load_markets(self) -> Sequence[Mapping[str, Any]]:
        """The spot markets of the exchange, as ccxt describes them."""
        try:
            with self._guarded():
                return list(self._exchange.load_markets().values())
        except Refused as error:
            raise PermanentProviderError(str(error), status=error.status) from error

    def tickers(self, symbols: Sequence[str] | None) -> Mapping[str, Mapping[str, Any] | Faulty]:
        """The tickers by ccxt's symbol: of these markets, or of all."""
        self._faulty.clear()
        with self._guarded():
            found = self._exchange.fetch_tickers(symbols)
            return {**found, **self._faulty}

    def ticker(self, symbol: str) -> Mapping[str, Any] | Faulty:
        """The ticker of one market."""
        self._faulty.clear()
        with self._guarded():
            found: Mapping[str, Any] = self._exchange.fetch_ticker(symbol)
            return next(iter(self._faulty.values()), found)

    def candles(
        self, symbol: str, granularity: Granularity, since: int, limit: int | None
    ) -> Sequence[CandleRow | Faulty]:
        """The candles that the exchange answers with; `since` in milliseconds."""
        self._read_candles = []
        with self._guarded():
            found = self._exchange.fetch_ohlcv(symbol, TIMEFRAMES[granularity], since, limit)
            # A few exchanges make their candles without the step that shows us the rows.
            return self._read_candles or [CandleRow(values, values) for values in found]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except refusal_class() as error:
            raise self._http.failure(error) from error
        except PARSE_ERRORS as error:
            text = f"{self.label} sent JSON of another shape ({type(error).__name__})"
            raise PermanentProviderError(text) from error

    def _apart(
        self, parse: Callable[..., Any], stand_in: Callable[[Faulty, Any], Any]
    ) -> Callable[..., Any]:
        def read(row: Any, market: Any = None) -> Any:
            try:
                refuse_huge_exponents(row)
                return parse(row, market)
            except BadRow as error:
                return stand_in(Faulty(row, error), market)
            except PARSE_ERRORS as error:
                text = f"The row has another shape ({type(error).__name__})."
                return stand_in(Faulty(row, BadRow("bad_shape", text)), market)

        return read

    def _faulty_ticker(self, faulty: Faulty, market: Any) -> dict[str, Any]:
        symbol = (market or self._market_named_in(faulty.row)).get("symbol")
        if symbol is not None:
            self._faulty[symbol] = faulty
        return {"symbol": symbol}

    def _market_named_in(self, row: Any) -> dict[str, Any]:
        texts = row.values() if isinstance(row, dict) else ()
        known = self._exchange.markets_by_id
        named = (known[text][0] for text in texts if isinstance(text, str) and text in known)
        return next(named, {})

    def _noted(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def note_faulty(faulty: Faulty, market: Any) -> list[None]:
            self._read_candles.append(faulty)
            return [None] * 6

        def parse_and_note(row: Any, market: Any = None) -> Any:
            values = parse(row, market)
            self._read_candles.append(CandleRow(values, row))
            return values

        return self._apart(parse_and_note, note_faulty)
