"""ROI statistics against a plain loop over one market, and what holds for every series."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analytics.closes import CloseRow, CloseSeries
from app.analytics.ratios import max_drawdown, sharpe, simple_returns, sortino, win_rate
from app.analytics.returns import build_roi_statistics
from app.domain import RoiStatistic, Window
from tests.analytics.making import HOUR, LATER, START

RATIOS = ("sharpe", "sortino", "volatility", "max_drawdown", "win_rate", "calmar")
EDGES = [datetime(*day, tzinfo=UTC) for day in ((2024, 2, 28), (2025, 10, 25), (2024, 12, 31))]
prices = st.decimals(min_value=Decimal("0.5"), max_value=Decimal(50), places=6)


@st.composite
def markets(draw: st.DrawFn) -> list[CloseRow]:
    """Rows of one to three markets: a few prices repeated over up to 180 hours, with holes."""
    rows: list[CloseRow] = []
    for market_id in range(1, draw(st.integers(1, 3)) + 1):
        hours = draw(st.integers(1, 180))
        cycle = draw(st.lists(prices, min_size=1, max_size=12))
        holes = draw(st.sets(st.integers(0, hours), max_size=4))
        zeros = draw(st.sets(st.integers(0, hours), max_size=2))
        for hour in set(range(hours)) - holes:
            price = Decimal(0) if hour in zeros else cycle[hour % len(cycle)]
            rows.append((market_id, START + hour * HOUR, price))
        if draw(st.booleans()):
            minutes = draw(st.integers(1, 59))
            rows.append(
                (market_id, START + hours * HOUR + timedelta(minutes=minutes), draw(prices))
            )
    return rows


def plain_figures(rows: Sequence[CloseRow], length: timedelta) -> dict[str, float | None]:
    """The definitions written as a loop over one market's closes, without arrays."""
    usable = {at: close for _, at, close in rows if close is not None and close > 0}
    last_at = max(usable)
    start = last_at - length
    on_grid = {
        at: float(close) for at, close in usable.items() if (at - START) % HOUR == timedelta(0)
    }
    base_at = max((at for at in on_grid if start - HOUR <= at <= start), default=None)
    inside = sorted(at for at in on_grid if start < at <= last_at)
    first_slot = last_at - (last_at - START) % HOUR - length
    returns = [
        on_grid[at] / on_grid[at - HOUR] - 1
        for at in inside
        if at - HOUR in on_grid and at - HOUR >= first_slot
    ]
    path = [*([] if base_at is None else [on_grid[base_at]]), *(on_grid[at] for at in inside)]
    if last_at not in on_grid:
        path.append(float(usable[last_at]))
    return {
        "roi_pct": None
        if base_at is None
        else float((usable[last_at] / usable[base_at] - 1) * 100),
        "count": len(returns),
        "max_drawdown": None if len(path) < 2 else deepest_fall(path),
        "volatility": stdev(returns) if len(returns) > 1 else None,
        "mean": fmean(returns) if returns else None,
        "downside": sqrt(fmean(min(r, 0) ** 2 for r in returns)) if returns else None,
    }


def deepest_fall(path: Sequence[float]) -> float:
    return min(value / max(path[: place + 1]) - 1 for place, value in enumerate(path))


def check(row: RoiStatistic, plain: dict[str, float | None]) -> None:
    """One statistic against the plain loop."""
    assert row.sample_count == plain["count"]
    for name in ("roi_pct", "max_drawdown"):
        ours, theirs = getattr(row, name), plain[name]
        assert (ours is None) == (theirs is None), name
        assert theirs is None or float(ours) == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    if row.volatility is not None:
        assert float(row.volatility) == pytest.approx(plain["volatility"], rel=1e-9, abs=1e-11)
    if row.sharpe is not None:
        expected = (plain["mean"] or 0.0) / (plain["volatility"] or 1.0)
        assert float(row.sharpe) == pytest.approx(expected, rel=1e-7, abs=1e-9)
    if row.sortino is not None:
        expected = (plain["mean"] or 0.0) / (plain["downside"] or 1.0)
        assert float(row.sortino) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(markets())
def test_statistics_are_what_a_plain_loop_over_each_market_gives(rows: list[CloseRow]) -> None:
    statistics = build_roi_statistics(CloseSeries.from_rows(rows), as_of=LATER)
    usable = {market for market, _, close in rows if close}
    assert {row.market_id for row in statistics} == usable
    for row in statistics:
        own = [given_row for given_row in rows if given_row[0] == row.market_id]
        check(row, plain_figures(own, row.window.length))
        assert row.max_drawdown is None or -1 <= row.max_drawdown <= 0
        assert row.win_rate is None or 0 <= row.win_rate <= 1


@given(markets(), st.randoms(use_true_random=False))
def test_order_of_arrival_and_cutting_into_blocks_change_nothing(
    rows: list[CloseRow], random: object
) -> None:
    whole = CloseSeries.from_rows(rows)
    expected = build_roi_statistics(whole, as_of=LATER)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert build_roi_statistics(CloseSeries.from_rows(shuffled), as_of=LATER) == expected
    single = build_roi_statistics(whole.blocks(markets=1), as_of=LATER)
    assert sorted(single, key=key) == sorted(expected, key=key)


def key(row: RoiStatistic) -> tuple[int, str]:
    return row.market_id, row.window.value


@given(markets(), st.decimals(min_value=Decimal("1E-9"), max_value=Decimal("1E9"), places=9))
def test_scaling_all_prices_by_a_constant_changes_no_ratio(
    rows: list[CloseRow], factor: Decimal
) -> None:
    scaled = [(market, at, close and close * factor) for market, at, close in rows]
    before = build_roi_statistics(CloseSeries.from_rows(rows), as_of=LATER)
    after = build_roi_statistics(CloseSeries.from_rows(scaled), as_of=LATER)
    for old, new in zip(before, after, strict=True):
        assert (new.roi_pct, new.null_reasons) == (old.roi_pct, old.null_reasons)
        for name in RATIOS:
            if getattr(old, name) is not None:
                expected = pytest.approx(float(getattr(old, name)), rel=1e-6, abs=1e-9)
                assert float(getattr(new, name)) == expected, name


@given(
    markets(),
    st.sampled_from(EDGES),
)
def test_leap_days_clock_changes_and_year_ends_change_no_number(
    rows: list[CloseRow], day: datetime
) -> None:
    shift = day - START
    moved = [(market, at + shift, close) for market, at, close in rows]
    before = build_roi_statistics(CloseSeries.from_rows(rows), as_of=LATER)
    after = build_roi_statistics(CloseSeries.from_rows(moved), as_of=LATER + shift)
    for old, new in zip(before, after, strict=True):
        assert new.last_at == old.last_at + shift
        assert (new.sharpe, new.roi_pct, new.null_reasons) == (
            old.sharpe,
            old.roi_pct,
            old.null_reasons,
        )


@given(st.lists(prices, min_size=169, max_size=169))
def test_scalar_formulas_say_what_the_stored_statistic_says(closes: list[Decimal]) -> None:
    rows = [(1, START + step * HOUR, close) for step, close in enumerate(closes)]
    [row] = build_roi_statistics(CloseSeries.from_rows(rows), as_of=LATER, windows=[Window.D7])
    returns = simple_returns(closes)
    for name, value in (
        ("sharpe", sharpe(returns)),
        ("sortino", sortino(returns)),
        ("max_drawdown", max_drawdown(closes)),
        ("win_rate", win_rate(returns)),
    ):
        stored = getattr(row, name)
        assert (stored is None) == (value is None)
        assert value is None or float(stored) == pytest.approx(value, rel=1e-11, abs=1e-11)
