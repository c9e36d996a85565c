"""Candles on their way from the provider into the transaction, a chunk of them in memory at a time.

They are judged and written as finished text as they come, so that the memory of a run does not grow
with the history it fetches; of what is kept only the openings stay at hand, four bytes each.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Self

from app.analytics.candles import complete_candle
from app.database.bulk import CHUNK_ROWS
from app.database.chunks import Chunk
from app.database.spool import RowSpool
from app.domain import EPOCH_MONDAY, HOUR, Candle, Granularity, RejectedRow
from app.ingestion.targets import CANDLES, candle_rows
from app.ingestion.validation import Key, validate_candles

# The market is numbered when its listing is stored.
_NO_MARKET = 0
_NO_HOURS = array("i")

SetAside = Callable[[Sequence[RejectedRow]], None]


class History:
    """The candles of one run. Used as a context manager: what it keeps ends with the block.

    `good_count` candles are to be stored.
    """

    def __init__(self) -> None:
        self.good_count = 0
        self._hours: dict[tuple[Granularity, Key], array[int]] = {}
        self._spool = RowSpool(CANDLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def fill(
        self,
        candles: Iterable[Candle],
        *,
        provider: str,
        now: Callable[[], datetime],
        asked: Collection[Key],
        set_aside: SetAside,
    ) -> None:
        """Judge and keep candles while they are read; `StorageError` where there is no room.

        Bad ones are handed to `set_aside`, those too of listings that are not `asked`, or that lie
        in the future of `now()`.
        """
        pending = iter(candles)
        while chunk := list(islice(pending, CHUNK_ROWS)):
            good, bad = validate_candles(chunk, now=now(), asked=asked)
            del chunk
            set_aside(bad)
            self._keep(good, provider)

    def chunks(self, market_ids: Mapping[Key, int]) -> Iterator[Chunk]:
        """What is to be merged into `CANDLES`, now that the listings have their markets."""
        return self._spool.chunks(market_ids)

    def hours_by_market(
        self, market_ids: Mapping[Key, int], granularity: Granularity = Granularity.HOURLY
    ) -> dict[int, "Hours"]:
        """The hours of each market at which candles of that granularity open."""
        return {
            market_ids[key]: Hours(hours)
            for (each, key), hours in self._hours.items()
            if each is granularity
        }

    def _keep(self, candles: Sequence[Candle], provider: str) -> None:
        if not candles:
            return
        groups: dict[Key, list[Candle]] = defaultdict(list)
        for candle in candles:
            groups[candle.listing.key].append(candle)
        self._spool.add({key: _rows(group, provider) for key, group in groups.items()})
        for key, group in groups.items():
            for candle in group:
                place = (candle.granularity, key)
                self._hours.setdefault(place, array("i")).append(_hour_of(candle.opened_at))
        self.good_count += len(candles)


class Hours:
    """Some hours of one market."""

    def __init__(self, numbers: "array[int]" = _NO_HOURS) -> None:
        self._numbers = numbers

    def __contains__(self, opened_at: datetime) -> bool:
        return _hour_of(opened_at) in self._numbers

    def intervals(self, granularity: Granularity) -> set[datetime]:
        """The openings of the intervals that these hours lie in."""
        width = granularity.step // HOUR
        numbers = {number // width for number in self._numbers}
        return {EPOCH_MONDAY + number * granularity.step for number in numbers}


def _rows(candles: Iterable[Candle], provider: str) -> Iterator[tuple[object, ...]]:
    """Rows for `CANDLES` without their first column."""
    complete = (complete_candle(_NO_MARKET, candle) for candle in candles)
    return (row[1:] for row in candle_rows(complete, provider))


def _hour_of(opened_at: datetime) -> int:
    """The number of an hour, counted from a Monday."""
    span: timedelta = opened_at - EPOCH_MONDAY
    return span // HOUR
