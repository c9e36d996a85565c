"""Columns of closes: sorting, the present price, and blocks of whole markets."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import numpy as np

from app.analytics.closes import CloseSeries, as_blocks, lay_out
from app.domain import Granularity
from tests.analytics.making import LATER, START, hours, series


class ReadOnDemand(Sequence[Decimal | None]):
    """A lazy sequence that remembers how many of its members were read."""

    def __init__(self, texts: Sequence[str], reads: list[str] | None = None) -> None:
        self.texts, self.reads = texts, [] if reads is None else reads

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return ReadOnDemand(self.texts[index], self.reads)
        self.reads.append(self.texts[index])
        return Decimal(self.texts[index])


def test_rows_in_any_order_are_sorted_and_the_last_given_of_an_instant_stays() -> None:
    rows = [(2, hours(1), Decimal(5)), (1, hours(1), Decimal(2)), (1, hours(0), Decimal(1))]
    closes = CloseSeries.from_rows([*rows, (1, hours(1), Decimal(3))])
    assert closes.market_ids.tolist() == [1, 1, 2]
    assert list(closes.exact) == [1, 3, 5]
    assert closes.closes.tolist() == [1.0, 3.0, 5.0]


def test_present_price_ends_the_market_and_hides_what_is_not_older() -> None:
    rows = [(m, hours(h), Decimal(10 * m + h)) for m in (1, 2, 3) for h in range(3)]
    present = {
        2: (hours(1.5), Decimal("21.5")),
        9: (hours(4), Decimal(90)),
        1: (hours(5), Decimal(15)),
    }
    closes = CloseSeries.from_rows(rows).with_present(present)
    assert closes.market_ids.tolist() == [1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 9]
    assert list(closes.exact) == [10, 11, 12, 15, 20, 21, Decimal("21.5"), 30, 31, 32, 90]
    assert closes.closes.tolist() == [float(close or 0) for close in closes.exact]
    assert closes.with_present({}) is closes


def test_present_price_at_the_instant_of_a_close_replaces_it() -> None:
    closes = series([1, 2, 3]).with_present({1: (hours(2), Decimal(7))})
    assert list(closes.exact) == [1, 2, 7]


def test_present_price_comes_to_markets_without_any_close() -> None:
    closes = CloseSeries.from_rows([]).with_present({4: (hours(0), Decimal(2))})
    assert (closes.market_ids.tolist(), list(closes.exact)) == ([4], [2])


def test_exact_closes_are_read_only_where_they_are_asked_for() -> None:
    texts = ReadOnDemand([str(10 + hour) for hour in range(50)])
    micros = np.asarray([int((hours(h) - hours(0)).total_seconds()) for h in range(50)]) * 10**6
    start = series([1]).instants[0]
    closes = CloseSeries(
        np.ones(50, np.int64), start + micros, np.arange(50) + 10.0, texts, Granularity.HOURLY
    ).with_present({1: (hours(49.5), Decimal(99))})
    [block] = closes.blocks()
    assert texts.reads == []
    assert (block.exact[0], block.exact[-1], texts.reads) == (10, 99, ["10"])


def test_blocks_hold_whole_markets_and_lose_nothing() -> None:
    rows = [(m, hours(h), Decimal(m)) for m in range(1, 8) for h in range(m)]
    blocks = list(CloseSeries.from_rows(rows).blocks(markets=3))
    assert [sorted(set(block.market_ids.tolist())) for block in blocks] == [
        [1, 2, 3],
        [4, 5, 6],
        [7],
    ]
    assert sum(map(len, blocks)) == len(rows)
    assert list(as_blocks([])) == []
    assert list(CloseSeries.from_rows([]).blocks()) == []


def test_matrix_is_aligned_at_each_markets_last_slot() -> None:
    rows = [(1, hours(h), Decimal(h + 1)) for h in (0, 1, 3)]
    rows += [(2, hours(h), Decimal(h + 1)) for h in (5, 6, 6.25)]
    matrix = lay_out(CloseSeries.from_rows(rows), as_of=LATER, slots=4)
    assert matrix.positions.tolist() == [[0, 1, -1, 2], [-1, -1, 3, 4]]
    assert matrix.last_prices.tolist() == [4.0, 7.25]
    assert (matrix.last_at - matrix.last_slot_at).tolist() == [0, 15 * 60 * 10**6]


def test_matrix_ends_at_the_instant_asked_for() -> None:
    matrix = lay_out(series([1, 2, 3, 4]), as_of=START + timedelta(hours=2, minutes=59), slots=2)
    assert matrix.prices.tolist() == [[2.0, 3.0]]
    nothing = lay_out(series([1, 2]), as_of=START - timedelta(hours=1), slots=2)
    assert nothing.prices.shape == (0, 2)


def test_closes_between_two_slots_count_only_as_the_last() -> None:
    rows = [(1, hours(h), Decimal(1)) for h in (0, 0.5, 1, 1.25, 2)]
    matrix = lay_out(CloseSeries.from_rows(rows), as_of=LATER, slots=3)
    assert matrix.positions.tolist() == [[0, 2, 4]]
