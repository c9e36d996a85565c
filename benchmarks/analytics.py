"""Time and peak memory of the derived numbers: statistics, comparisons and candles at scale.

`python -m benchmarks.analytics` prints a table; each measurement has a process of its own, so that
its peak memory is its own. Making the input is not timed. Seconds are the processor's, the best of
three rounds: what other work on the machine takes away is no growth of ours.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing import get_context

import numpy as np

from app.analytics.candles import DerivedCandle, derive_candles, merge_candles
from app.analytics.closes import CloseSeries
from app.analytics.comparisons import MarketState, build_comparisons
from app.analytics.correlations import build_return_table, join_return_tables
from app.analytics.instants import to_micros
from app.analytics.returns import build_roi_statistics
from app.analytics.snapshots import derive_snapshot_fields
from app.domain import CandleBasis, Granularity
from benchmarks.figures import Figure, at_most, interleave, peak_megabytes, ratio, seconds

START = datetime(2025, 1, 6, tzinfo=UTC)
HOURS = 723  # thirty days and what the base may need
END = START + timedelta(hours=HOURS - 1)
MARKETS_PER_READ = 500
# Ten times the markets may take eleven times as long.
GROWTH_LIMIT = 11.0
JUDGED = "ROI statistics, 4 windows"
MEMORY_LIMIT_MB = 1000.0
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one measured task took; `rows` is what it gave."""

    task: str
    markets: int
    rows: int
    seconds: float
    peak_mb: float


class Texts(Sequence[Decimal | None]):
    """Decimals made from their texts when they are read, as the pipeline reads them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return (
            Texts(self._texts[index]) if isinstance(index, slice) else Decimal(self._texts[index])
        )


def close_blocks(markets: int) -> Iterator[CloseSeries]:
    """Random walks of hourly closes, some hundred markets at a time."""
    generator = np.random.default_rng(7)
    instants = to_micros(START) + np.arange(HOURS) * 3_600_000_000
    for first in range(0, markets, MARKETS_PER_READ):
        ids = np.arange(first, min(first + MARKETS_PER_READ, markets)) + 1
        steps = generator.normal(0, 0.01, (len(ids), HOURS))
        closes = np.round(100 * np.exp(np.cumsum(steps, axis=1)), 10).ravel()
        yield CloseSeries(
            np.repeat(ids, HOURS),
            np.tile(instants, len(ids)),
            closes,
            Texts(list(map(str, closes))),
        )


def time_blocks(markets: int, work: Callable[[CloseSeries], int]) -> tuple[float, int]:
    """Seconds inside `work` over all blocks, and the sum of what it returns."""
    seconds, rows = 0.0, 0
    for block in close_blocks(markets):
        started = time.process_time()
        rows += work(block)
        seconds += time.process_time() - started
    return seconds, rows


def statistics(markets: int) -> tuple[float, int]:
    """Four windows of every market; all rows are kept, as a run keeps them."""
    kept = []

    def work(block: CloseSeries) -> int:
        rows = build_roi_statistics(block, as_of=END)
        kept.extend(rows)
        return len(rows)

    return time_blocks(markets, work)


def snapshot_fields(markets: int) -> tuple[float, int]:
    """Volatility and ROI of every market's present price."""
    present = {number + 1: (END + timedelta(minutes=20), Decimal(100)) for number in range(markets)}
    return time_blocks(markets, lambda block: len(derive_snapshot_fields(block, present)))


def comparisons(markets: int) -> tuple[float, int]:
    """Every market against the first, with correlation and beta over thirty days."""
    tables = []

    def work(block: CloseSeries) -> int:
        tables.append(build_return_table(block, as_of=END))
        return 0

    seconds, _ = time_blocks(markets, work)
    states = {
        number + 1: MarketState(number + 1, END, Decimal(100 + number), Decimal(5))
        for number in range(markets)
    }
    pairs = [(number + 1, 1) for number in range(1, markets)]
    started = time.process_time()
    rows = build_comparisons(pairs, states, returns=join_return_tables(tables))
    return seconds + time.process_time() - started, len(rows)


def merged_candles(markets: int) -> tuple[float, int]:
    """Thirty days of hourly candles to days, and those to weeks."""
    hours = [START + timedelta(hours=hour) for hour in range(720)]
    prices = [Decimal(f"{100 + number / 7:.10f}") for number in range(5000)]
    fine = [
        DerivedCandle(
            market, Granularity.HOURLY, hour, price, price, price, price, price, price,
            None, None, 4, hour, hour, True, CandleBasis.SNAPSHOTS,
        )
        for market in range(markets)
        for number, hour in enumerate(hours)
        for price in (prices[(market + number) % 5000],)
    ]  # fmt: skip
    started = time.process_time()
    days = merge_candles(fine, Granularity.DAILY, now=END)
    weeks = merge_candles(days, Granularity.WEEKLY, now=END)
    return time.process_time() - started, len(days) + len(weeks)


def derived_candles(markets: int) -> tuple[float, int]:
    """A day of observations every fifteen minutes to hourly candles."""
    observations = [
        (market, START + timedelta(minutes=15 * step), Decimal(100 + step))
        for market in range(markets)
        for step in range(96)
    ]
    started = time.process_time()
    rows = derive_candles(observations, Granularity.HOURLY, now=END)
    return time.process_time() - started, len(rows)


TASKS: dict[str, Callable[[int], tuple[float, int]]] = {
    JUDGED: statistics,
    "snapshot fields": snapshot_fields,
    "comparisons, 30-day beta": comparisons,
    "candles from observations": derived_candles,
    "candles from hours": merged_candles,
}
# Seven million candles at once are no task of a run: it works through some hundred markets a time.
LARGEST = {"candles from hours": 1_000}


def measure(task: str, markets: int) -> Measurement:
    """Run one task in this process: its best time of some rounds and the process's peak memory."""
    taken, rows = min(TASKS[task](markets) for _ in range(ROUNDS))
    return Measurement(task, markets, rows, taken, peak_megabytes())


def measure_alone(task: str, markets: int) -> Measurement:
    """The same in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, task, markets).result()


def measure_growth() -> list[Figure]:
    """Ten times the markets may take eleven times the time, in bounded memory."""
    figures = []
    for name, task in (("statistics", "ROI statistics, 4 windows"),
                       ("comparisons", "comparisons, 30-day beta")):  # fmt: skip
        peaks: list[float] = []

        def take(markets: int, task: str = task, peaks: list[float] = peaks) -> float:
            taken = measure_alone(task, markets)
            peaks.append(taken.peak_mb)
            return taken.seconds

        taken = interleave({"few": lambda: take(1_000), "many": lambda: take(10_000)})
        detail = (
            f"10,000 markets in {seconds(taken['many'])}, 1,000 in {seconds(taken['few'])}; "
            f"peak {max(peaks):.0f} MB"
        )
        growth = ratio(taken["many"], taken["few"])
        figures += [
            at_most(f"analytics-{name}", growth, GROWTH_LIMIT, detail),
            at_most(f"analytics-{name}-memory", max(peaks) / MEMORY_LIMIT_MB, 1, "of 1,000 MB"),
        ]
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 when statistics grow or weigh more than they may."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--markets", type=int, nargs="+", default=[1_000, 10_000])
    sizes = parser.parse_args(arguments).markets
    print(f"{'task':28}{'markets':>9}{'rows':>9}{'seconds':>9}{'peak MB':>9}{'growth':>8}")
    is_good = True
    for task in TASKS:
        first: Measurement | None = None
        for markets in sizes:
            if markets > LARGEST.get(task, markets):
                continue
            taken = measure_alone(task, markets)
            first = first or taken
            growth = taken.seconds / first.seconds
            print(
                f"{task:28}{markets:>9}{taken.rows:>9}{taken.seconds:>9.2f}"
                f"{taken.peak_mb:>9.0f}{growth:>7.1f}x"
            )
            is_good &= taken.peak_mb <= MEMORY_LIMIT_MB
            if task == JUDGED:
                is_good &= growth <= max(1.0, GROWTH_LIMIT * markets / first.markets / 10)
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
