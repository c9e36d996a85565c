"""Candles made from the rows of files, worked out while they are read."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import overload

import numpy as np
from numpy.typing import NDArray

from app.domain import Candle, Granularity, Listing
from app.providers.files_folder import Rows
from app.providers.files_layout import Kind, money
from app.providers.files_shelf import RAW_BYTES, BadLine, BadLines, bad_line
from app.providers.files_table import Integers, Table
from app.providers.files_values import EPOCH, BadRow, read_number

Bad = tuple[Table, BadLine]
"""A row that was set aside, and where it is from."""
Columns = tuple[Integers, Integers, Integers]
_MICROS = timedelta(microseconds=1)
_NEVER = np.iinfo(np.int64).min // 2
# Sums of numbers of at most 200 characters, whatever their exponents up to 999, stay exact.
_EXACT = Context(prec=2_500)


@dataclass(frozen=True, slots=True)
class CandleRow:
    """The numbers of one row of a candle file."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None


@dataclass(frozen=True, slots=True)
class Span:
    """What was asked for: candles that opened in `[start, end)`, seen from `now`."""

    granularity: Granularity
    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The candles of one listing before they are made: which rows go into which.

    `part_of` says for each row, in the order of time, in which of `parts` it lies, `row_of` where
    there; `edges` where the rows of each candle begin, `opened` when it opens. Everything after
    `known_until` may still change.
    """

    listing: Listing
    span: Span
    parts: Sequence[Rows]
    part_of: Integers
    row_of: Integers
    edges: Integers
    opened: Integers
    known_until: int

    def __len__(self) -> int:
        return len(self.opened)

    def candle(self, number: int) -> Candle:
        """One candle of the listing."""
        edges = range(int(self.edges[number]), int(self.edges[number + 1]))
        rows = [read_row(*self._place(each), self.listing.quote) for each in edges]
        is_prices = self.parts[0].table.layout.kind is Kind.PRICES
        opened = int(self.opened[number])
        closed = opened + self.span.granularity.step // _MICROS
        return Candle(
            listing=self.listing,
            granularity=self.span.granularity,
            opened_at=instant(opened),
            open=rows[0].open,
            high=max(row.high for row in rows),
            low=min(row.low for row in rows),
            close=rows[-1].close,
            volume=None if is_prices else total([row.volume for row in rows]),
            sample_count=len(rows),
            first_observed_at=self._observed_at(edges[0]) if is_prices else None,
            last_observed_at=self._observed_at(edges[-1]) if is_prices else None,
            is_final=closed <= min(self.known_until, micros_of(self.span.now)),
            raw=self._raw(edges),
        )

    def _place(self, number: int) -> tuple[Rows, int]:
        return self.parts[int(self.part_of[number])], int(self.row_of[number])

    def _observed_at(self, number: int) -> datetime:
        part, row = self._place(number)
        return instant(int(part.series.micros[row]))

    def _raw(self, edges: Sequence[int]) -> str:
        text = row_text(*self._place(edges[0]))
        return text if len(edges) == 1 else f"{text} and {len(edges) - 1} more rows"


class FileCandles(Sequence[Candle]):
    """All candles of the first plan, then of the next; each is made when it is read."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = [plan for plan in plans if len(plan)]
        self._first = [0]
        for plan in self._plans:
            self._first.append(self._first[-1] + len(plan))

    def __len__(self) -> int:
        return self._first[-1]

    @overload
    def __getitem__(self, index: int) -> Candle: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candle]: ...
    def __getitem__(self, index: int | slice) -> Candle | list[Candle]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        place = bisect_right(self._first, number) - 1
        return self._plans[place].candle(number - self._first[place])


def plan_candles(
    listing: Listing, rows: Sequence[Rows], span: Span
) -> tuple[Plan | None, list[Bad]]:
    """What can be made from the rows of a listing, and the rows that can't be read.

    Of several steps the coarsest that fits is taken; prices only where there are no candles. Of
    two files that hold the same moment the later by name counts. None where nothing fits.
    """
    parts = _fitting(rows, span.granularity)
    if not parts:
        return None, []
    step = span.granularity.step // _MICROS
    first = -(-micros_of(span.start) // step) * step
    last = min(-(-micros_of(span.end) // step) * step, micros_of(span.now) + 1)
    folds = parts[0].series.step != span.granularity.step
    joined = _joined(parts, first, last)
    is_good, bad = _readable(listing, parts, joined, folds=folds)
    bad += _unreadable_in(parts, first, last)
    micros, part_of, row_of = joined if not bad else (column[is_good] for column in joined)
    # A row that is a candle by itself keeps its time, so that one off the grid is seen to be wrong.
    opened = micros // step * step if folds else micros
    edges = np.flatnonzero(np.diff(opened, prepend=_NEVER))
    plan = Plan(
        listing, span, parts, part_of, row_of,
        edges=np.append(edges, len(opened)),
        opened=opened[edges],
        known_until=max(map(known_until, parts)),
    )  # fmt: skip
    return plan, bad


def _fitting(rows: Sequence[Rows], granularity: Granularity) -> list[Rows]:
    steps = {
        each.series.step
        for each in rows
        if each.table.layout.kind is Kind.CANDLES
        and each.series.step
        and not granularity.step % each.series.step
    }
    if steps:
        return [
            each
            for each in rows
            if each.table.layout.kind is Kind.CANDLES and each.series.step == max(steps)
        ]
    return [each for each in rows if each.table.layout.kind is Kind.PRICES]


def _joined(parts: Sequence[Rows], first: int, last: int) -> Columns:
    """The rows of all parts in `[first, last)` by time, each moment once: time, part and row."""
    found = []
    for number, part in enumerate(parts):
        low, high = np.searchsorted(part.series.micros, [first, last])
        row = np.arange(low, high)
        found.append((part.series.micros[low:high], np.full(len(row), number), row))
    micros, part_of, row_of = (np.concatenate(column) for column in zip(*found, strict=True))
    if len(parts) == 1:
        return micros, part_of, row_of
    order = np.lexsort((part_of, micros))
    micros, part_of, row_of = micros[order], part_of[order], row_of[order]
    is_last = np.diff(micros, append=_NEVER) != 0
    return micros[is_last], part_of[is_last], row_of[is_last]


def _readable(
    listing: Listing, parts: Sequence[Rows], joined: Columns, *, folds: bool
) -> tuple[NDArray[np.bool_], list[Bad]]:
    """Which rows can be read, and those that can't."""
    micros, part_of, row_of = joined
    is_good = np.ones(len(micros), np.bool_)
    bad = [BadLines() for _ in parts]
    for place in range(len(micros)):
        number, row = int(part_of[place]), int(row_of[place])
        try:
            values = read_row(parts[number], row, listing.quote)
            if folds:
                _refuse_unsound(values)
        except BadRow as error:
            is_good[place] = False
            bad[number].add(bad_row(parts[number], row, error))
    told = [
        (part.table, each) for part, lines in zip(parts, bad, strict=True) for each in lines.all()
    ]
    return is_good, told


def bad_row(part: Rows, row: int, error: BadRow) -> BadLine:
    """A row whose time is good, but nothing else."""
    number, micros = int(part.series.numbers[row]), int(part.series.micros[row])
    return bad_line(number, micros, error, part.table.raw(part.series, row))


def _unreadable_in(parts: Sequence[Rows], first: int, last: int) -> list[Bad]:
    return [
        (part.table, line)
        for part in parts
        for line in part.series.bad
        if first <= line.micros < last
    ]


def read_row(rows: Rows, row: int, quote: str) -> CandleRow:
    """The numbers of one row; of a price all four are the same. Raises `BadRow`."""
    layout = rows.table.layout
    cells = layout.read(rows.table.raw(rows.series, row))
    if layout.kind is Kind.PRICES:
        price = _needed(money(cells, "price", quote), "the price")
        return CandleRow(price, price, price, price, None)
    return CandleRow(
        _needed(cells["open"], "open"),
        _needed(cells["high"], "high"),
        _needed(cells["low"], "low"),
        _needed(cells["close"], "close"),
        read_number(money(cells, "volume", quote), "the volume"),
    )


def _needed(text: str | None, what: str) -> Decimal:
    value = read_number(text, what)
    if value is None:
        raise BadRow("value_missing", f"{what} is missing")
    return value


def _refuse_unsound(row: CandleRow) -> None:
    """One of many rows that make a candle must not spoil it."""
    if row.low <= 0:
        raise BadRow("price_not_positive", "a price is not above zero")
    if not row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high:
        raise BadRow("outside_extremes", "open or close lies outside low and high")


def known_until(part: Rows) -> int:
    """The moment up to which a file tells everything.

    The last candle of a file that was written before the candle closed may still change.
    """
    if not len(part.series.micros):
        return 0
    last = int(part.series.micros[-1])
    closed = last + (part.series.step or timedelta(0)) // _MICROS
    return closed if closed <= part.table.copy.identity.modified_ns // 1000 else last


def total(volumes: Sequence[Decimal | None]) -> Decimal | None:
    """The exact sum; None where one is missing."""
    result = Decimal(0)
    for volume in volumes:
        if volume is None:
            return None
        result = _EXACT.add(result, volume)
    return volumes[0] if len(volumes) == 1 else result


def row_text(rows: Rows, row: int) -> str:
    """A row with its file and number, as it is kept with what is rejected."""
    number = int(rows.series.numbers[row])
    raw = rows.table.raw(rows.series, row)[:RAW_BYTES].decode(errors="replace")
    return f"{rows.table.describe(number)}: {raw}"


def instant(micros: int) -> datetime:
    """Microseconds since 1970 as aware UTC."""
    return EPOCH + micros * _MICROS


def micros_of(at: datetime) -> int:
    """An aware instant in microseconds since 1970."""
    return (at - EPOCH) // _MICROS
