"""The newest observation of a market in its files."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np

from app.domain import DAY, Listing, Snapshot
from app.providers.files_candles import (
    Bad,
    bad_row,
    instant,
    known_until,
    micros_of,
    read_row,
    row_text,
    total,
)
from app.providers.files_folder import Rows
from app.providers.files_layout import Cells, Kind, money
from app.providers.files_shelf import BadLines
from app.providers.files_values import BadRow, read_number

# As much as a clock elsewhere may be ahead.
AHEAD = timedelta(minutes=5)
MOST_AHEAD = 20
_MICROS = timedelta(microseconds=1)
_FIGURES = (
    "market_cap",
    "volatility",
    "roi_1h_pct",
    "roi_24h_pct",
    "roi_7d_pct",
    "roi_30d_pct",
)


def newest_snapshot(
    listing: Listing, rows: Sequence[Rows], now: datetime
) -> tuple[Snapshot | None, list[Bad]]:
    """The newest row that can be read, and those beside or after it that can't.

    A candle is observed when it closes, and only if it is final then. Of several files the one with
    the newest observation speaks, prices before candles and those before coarser ones.
    """
    found: list[tuple[datetime, bool, timedelta, int, Snapshot]] = []
    bad: list[Bad] = []
    for part in rows:
        is_price = part.table.layout.kind is Kind.PRICES
        lines = BadLines()
        bad += [*_ahead(part, now), *((part.table, line) for line in part.series.bad)]
        for row in _candidates(part, now):
            try:
                snapshot = _snapshot(listing, part, row)
            except BadRow as error:
                lines.add(bad_row(part, row, error))
                continue
            moment = snapshot.observed_at or now
            since = int(part.series.micros[row])
            found.append((moment, is_price, -_step(part), since, snapshot))
            break
        bad += [(part.table, line) for line in lines.all()]
    if not found:
        return None, bad
    *_, since, snapshot = max(found, key=lambda each: each[:3])
    return snapshot, [each for each in bad if each[1].micros >= since]


def _candidates(part: Rows, now: datetime) -> Iterator[int]:
    """The rows that are over by now, newest first."""
    step = _step(part) // _MICROS
    until = micros_of(now)
    if step:
        until = min(until, known_until(part)) - step
    count = int(np.searchsorted(part.series.micros, until, side="right"))
    return iter(range(count - 1, -1, -1))


def _step(part: Rows) -> timedelta:
    return part.series.step or timedelta(0)


def _ahead(part: Rows, now: datetime) -> list[Bad]:
    """Rows of the future, the first of them."""
    start = int(np.searchsorted(part.series.micros, micros_of(now + AHEAD), side="right"))
    error = BadRow("time_in_future", "its time lies in the future")
    last = min(start + MOST_AHEAD, len(part.series.micros))
    return [(part.table, bad_row(part, row, error)) for row in range(start, last)]


def _snapshot(listing: Listing, part: Rows, row: int) -> Snapshot:
    """One row as an observation; raises `BadRow`."""
    layout, quote = part.table.layout, listing.quote
    cells = layout.read(part.table.raw(part.series, row))
    price = money(cells, "price" if layout.kind is Kind.PRICES else "close", quote)
    if read_number(price, "the price") is None:
        raise BadRow("value_missing", "the price is missing")
    return Snapshot(
        listing=listing,
        observed_at=instant(int(part.series.micros[row])) + _step(part),
        price=read_number(price, "the price"),
        volume=_day_volume(part, row, cells, quote),
        raw=row_text(part, row),
        **{field: read_number(cells.get(field), field) for field in _FIGURES},
    )


def _day_volume(part: Rows, row: int, cells: Cells, quote: str) -> Decimal | None:
    """The volume of the 24 hours before: as the file tells, or the sum of its candles if whole."""
    step = _step(part)
    if part.table.layout.kind is Kind.PRICES or step == DAY:
        return read_number(money(cells, "volume", quote), "the volume")
    if part.table.layout.kind is not Kind.CANDLES or step > DAY:
        return None
    first = row + 1 - DAY // step
    if first < 0 or part.series.micros[row] - part.series.micros[first] != (DAY - step) // _MICROS:
        return None
    try:
        return total([read_row(part, each, quote).volume for each in range(first, row + 1)])
    except BadRow:
        return None
