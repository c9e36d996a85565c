"""How the mock provider misbehaves when told to: bad rows, stale rows, failing markets."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from app.domain import EPOCH_MONDAY, Candle, Listing, Snapshot
from app.market_list import parse_symbol
from app.providers.mock_paths import hashed_fraction

Row = TypeVar("Row")

# The fault of a market's bad rows is another one so many seconds later.
RUN_SECONDS = 900
HOUR_SECONDS = 3600
STALE_AGES = tuple(timedelta(hours=hours) for hours in (2, 9, 26, 80, 200))


def _with_price(price: str) -> Callable[[Snapshot], Snapshot]:
    return lambda row: replace(row, price=Decimal(price))


def _negative_price(row: Snapshot) -> Snapshot:
    return replace(row, price=(row.price or Decimal(1)).copy_negate())


def _future_time(row: Snapshot) -> Snapshot:
    return replace(row, observed_at=(row.observed_at or EPOCH_MONDAY) + timedelta(days=2))


_SNAPSHOT_FAULTS: Sequence[Callable[[Snapshot], Snapshot]] = (
    _with_price("NaN"),
    _with_price("Infinity"),
    _with_price("0"),
    _negative_price,
    lambda row: replace(row, price=None),
    _with_price("1E+400"),
    lambda row: replace(row, observed_at=None),
    _future_time,
)
_CANDLE_FAULTS: Sequence[Callable[[Candle], Candle]] = (
    lambda row: replace(row, high=row.low / 2),
    lambda row: replace(row, close=Decimal("NaN")),
    lambda row: replace(row, open=Decimal(0)),
    lambda row: replace(row, low=row.low.copy_negate()),
)


@dataclass(frozen=True, slots=True)
class FailingMarkets:
    """Which markets fail: those named, or the first `count` different ones a run asks for."""

    count: int = 0
    symbols: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "FailingMarkets":
        """Read `3` or `SPX,ETH-USD`; `ValueError` says what is wrong."""
        if text.strip().isascii() and text.strip().isdigit():
            return cls(count=int(text))
        names = [part for part in text.split(",") if part.strip()]
        if not names:
            raise ValueError("it names no market")
        return cls(symbols=frozenset(map(parse_symbol, names)))


class Faults:
    """The faults of one run; the same rows are bad or stale whoever asks for them, and when."""

    def __init__(
        self, *, seed: int, bad_share: float, stale_share: float, failing: FailingMarkets
    ) -> None:
        self._seed = seed
        self._bad_share = bad_share
        self._stale_share = stale_share
        self._failing = failing
        self._failed: dict[str, None] = {}

    def fails(self, listing: Listing) -> bool:
        """True when this market is to fail in this run."""
        if len(self._failed) < self._failing.count:
            self._failed[listing.symbol] = None
        return listing.symbol in self._failing.symbols or listing.symbol in self._failed

    def observed_at(self, listing: Listing, now: datetime) -> datetime:
        """The present, or long ago for a stale row."""
        if not self._hits("stale", self._stale_share, listing, now):
            return now
        choice = hashed_fraction(self._seed, "age", listing.provider_id, listing.quote)
        return now - STALE_AGES[int(choice * len(STALE_AGES))]

    def spoil_snapshot(self, row: Snapshot, now: datetime) -> Snapshot:
        """The row, or a bad one in its place, with its raw text."""
        if self._hits("bad", self._bad_share, row.listing, now):
            row = self._due(_SNAPSHOT_FAULTS, row.listing, now, RUN_SECONDS)(row)
        return replace(row, raw=raw_text(row))

    def spoil_candle(self, row: Candle) -> Candle:
        """The candle, or a bad one in its place; only bad ones carry raw text."""
        if not self._hits("bad", self._bad_share, row.listing, row.opened_at):
            return row
        row = self._due(_CANDLE_FAULTS, row.listing, row.opened_at, HOUR_SECONDS)(row)
        return replace(row, raw=raw_text(row))

    def _hits(self, kind: str, share: float, listing: Listing, instant: datetime) -> bool:
        if share <= 0:
            return False
        names = (self._seed, kind, listing.provider_id, listing.quote, int(instant.timestamp()))
        return hashed_fraction(*names) < share

    def _due(
        self,
        faults: Sequence[Callable[[Row], Row]],
        listing: Listing,
        instant: datetime,
        seconds: int,
    ) -> Callable[[Row], Row]:
        """The fault whose turn it is: markets begin at different ones, and all move on together."""
        first = int(len(faults) * hashed_fraction(self._seed, "fault", listing.provider_id))
        return faults[(first + int(instant.timestamp()) // seconds) % len(faults)]


def raw_text(row: Snapshot | Candle) -> str:
    """The row as the JSON that a provider would have sent."""
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    values["listing"] = row.listing.provider_id
    del values["raw"]
    return json.dumps(
        {key: value for key, value in values.items() if value is not None}, default=str
    )
